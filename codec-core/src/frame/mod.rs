//! Planar 4:2:0 frames of 8 bits: owned ones, views into foreign memory, and padding to the coded size.
//!
//! In: a caller's planes. Out: frames of coded size for the networks, and planes for the caller again.

mod owned;
pub(crate) mod pad;
mod plane;
mod view;

pub use owned::Frame;
pub use plane::Plane;
pub(crate) use plane::map;
pub use view::{ChromaViewMut, FrameView, FrameViewMut, PlaneView, PlaneViewMut};

/// Chroma size of a 4:2:0 frame: half of each side, rounded up.
pub const fn chroma_size(width: usize, height: usize) -> (usize, usize) {
    (width.div_ceil(2), height.div_ceil(2))
}
