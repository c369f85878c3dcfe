//! The motion-compensated prediction of a frame.

use crate::frame::chroma_size;
use crate::{Error, Result};

/// Planar 4:2:0 of floats, value/255 - 0.5, each plane in row order without gaps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    /// Luma width.
    pub width: usize,
    /// Luma height.
    pub height: usize,
    pub y: Vec<f32>,
    pub u: Vec<f32>,
    pub v: Vec<f32>,
}

impl Prediction {
    /// A prediction of zeros (mid-gray).
    pub fn new(width: usize, height: usize) -> Self {
        let mut prediction = Self::default();
        prediction.resize(width, height);
        prediction
    }

    /// Takes another size, keeping the memory where it can; values are unspecified afterwards.
    pub fn resize(&mut self, width: usize, height: usize) {
        let (cw, ch) = chroma_size(width, height);
        (self.width, self.height) = (width, height);
        self.y.resize(width * height, 0.0);
        self.u.resize(cw * ch, 0.0);
        self.v.resize(cw * ch, 0.0);
    }

    /// Planes with their widths: Y, U, V.
    pub(super) fn planes(&self) -> [(&[f32], usize); 3] {
        let (cw, _) = chroma_size(self.width, self.height);
        [(&self.y, self.width), (&self.u, cw), (&self.v, cw)]
    }

    /// Checks the size and that the planes' lengths are those of it.
    pub(super) fn check(&self, width: usize, height: usize) -> Result<()> {
        let (cw, ch) = chroma_size(width, height);
        let lengths = (self.y.len(), self.u.len(), self.v.len());
        if (self.width, self.height) == (width, height) && lengths == (width * height, cw * ch, cw * ch) {
            return Ok(());
        }
        Err(Error::InvalidConfig(format!(
            "prediction of {}x{} with planes of {lengths:?} values, it must be whole and of {width}x{height}",
            self.width, self.height
        )))
    }
}
