//! The motion-compensated prediction of a frame.

use super::to_floats;
use super::unpack::to_byte;
use crate::frame::{Frame, chroma_size};
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

    /// Takes the samples of a frame, and its size.
    pub fn load(&mut self, frame: &Frame) {
        self.resize(frame.width(), frame.height());
        for (index, values) in [&mut self.y, &mut self.u, &mut self.v].into_iter().enumerate() {
            let plane = frame.plane(index);
            for (row, line) in values.chunks_exact_mut(plane.width).enumerate() {
                to_floats(plane.row(row), line);
            }
        }
    }

    /// Writes what is predicted beyond the display size `width` x `height`, rounded to 8 bits, into `frame` of the coded size:
    /// nothing is left to code there.
    ///
    /// # Panics
    /// If the display size is larger than `frame`, or `frame` has another size than the prediction.
    pub fn fill_padding(&self, width: usize, height: usize, frame: &mut Frame) {
        let (cw, ch) = chroma_size(width, height);
        for ((plane, (values, stride)), (w, h)) in
            frame.planes_mut().iter_mut().zip(self.planes()).zip([(width, height), (cw, ch), (cw, ch)])
        {
            for row in 0..plane.height {
                let from = if row < h { w } else { 0 };
                let values = &values[row * stride..][from..stride];
                for (sample, &value) in plane.row_mut(row)[from..].iter_mut().zip(values) {
                    *sample = to_byte(value);
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_alone_takes_the_prediction() {
        let (width, height) = (70, 65);
        let mut prediction = Prediction::new(128, 128);
        for (i, values) in [&mut prediction.y, &mut prediction.u, &mut prediction.v].into_iter().enumerate() {
            values.iter_mut().enumerate().for_each(|(j, v)| *v = ((i * 40 + j) % 256) as f32 / 255.0 - 0.5);
        }
        prediction.y[127] = 7.0;
        let mut frame = Frame::new(128, 128);
        frame.planes_mut().iter_mut().for_each(|plane| plane.data.fill(3));
        prediction.fill_padding(width, height, &mut frame);
        for (i, (w, h)) in [(width, height), (35, 33), (35, 33)].into_iter().enumerate() {
            let plane = frame.plane(i);
            for row in 0..plane.height {
                for col in 0..plane.width {
                    let predicted =
                        if (i, row, col) == (0, 0, 127) { 255 } else { ((i * 40 + row * plane.width + col) % 256) as u8 };
                    let expected = if row < h && col < w { 3 } else { predicted };
                    assert_eq!(plane.row(row)[col], expected, "plane {i} at {row}, {col}");
                }
            }
        }
    }
}
