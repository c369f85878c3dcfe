//! How much detail the postfilter adds, from place to place.
//!
//! A decoder cannot know whether a smooth place was smooth in the original, or lost its texture to quantisation. An encoder can: it compares the
//! postfilter's picture with the original ([`DetailChooser`]) and sends a [`DetailMap`] along, which multiplies the filter's strength.

mod bands;
mod choose;
mod map;

pub use choose::DetailChooser;
pub use map::DetailMap;
