//! Block motion: a piecewise constant backward flow on a quadtree, in integers.
//!
//! In: the reference and, in the encoder, the frame. Out: vectors as symbols, and the prediction.
//! [`BlockField`] holds one vector for each leaf. `search` finds it in the encoder, `coding` turns it into symbols and back,
//! `compensate` makes the prediction from it. Every step is integer arithmetic, so all machines agree to the bit.

pub mod coding;
mod compensate;
mod field;
mod light;
pub mod overlap;
mod padded;
pub mod search;

pub use coding::{MotionCoder, MotionCosts};
pub use compensate::{BlockCompensator, OverlapMap, PaddedFrame, References};
pub use field::{BlockField, CELL, Golden, Leaf, MAX_COMPONENT, MAX_LOG2, MIN_LOG2, Motion, MotionVector, ROOT};
pub use light::Light;
pub use padded::{BORDER, PaddedPlane};
pub use search::{BlockSearch, Found, Lambda, SearchEffort, Survey, SurveyedBlock};
