//! Dense motion estimation for the `paper` profile, which only the encoder needs.
//!
//! In: two luma planes. Out: a field of vectors at a quarter of their resolution.

pub mod dis;
#[cfg(test)]
pub(crate) mod testing;

pub use dis::{DisConfig, DisFlow};

use crate::frame::Plane;
use crate::{Error, Result};

/// A backward flow field: current(p) is about previous(p + flow(p)).
#[derive(Clone, Debug, PartialEq)]
pub struct FlowField {
    /// Rows of vectors.
    pub rows: usize,
    /// Columns of vectors.
    pub cols: usize,
    /// NHWC `[rows][cols][2]`: (dx, dy) in pixels of the full resolution.
    pub data: Vec<f32>,
}

impl FlowField {
    /// Repeats the motion at the right and lower edge of the display size `width` x `height` beyond it, where no motion needs
    /// bits. For a field at 1/4 of a frame at least as large.
    ///
    /// # Panics
    /// If a side is 0.
    pub fn pad_beyond(&mut self, width: usize, height: usize) {
        let (inner_cols, inner_rows) = (width.div_ceil(4).min(self.cols), height.div_ceil(4).min(self.rows));
        for row in self.data.chunks_exact_mut(self.cols * 2).take(inner_rows) {
            let edge = [row[inner_cols * 2 - 2], row[inner_cols * 2 - 1]];
            row[inner_cols * 2..].chunks_exact_mut(2).for_each(|vector| vector.copy_from_slice(&edge));
        }
        let line = self.cols * 2;
        let (inner, outer) = self.data.split_at_mut(inner_rows * line);
        for row in outer.chunks_exact_mut(line) {
            row.copy_from_slice(&inner[(inner_rows - 1) * line..]);
        }
    }

    /// Means of 2x2 vectors: takes the estimator's field at 1/4 to 1/8. A last odd row or column is dropped.
    pub fn downsample2(&self) -> Self {
        let (rows, cols) = (self.rows / 2, self.cols / 2);
        let mut data = Vec::with_capacity(rows * cols * 2);
        for row in 0..rows {
            let upper = &self.data[2 * row * self.cols * 2..][..self.cols * 2];
            let lower = &self.data[(2 * row + 1) * self.cols * 2..][..self.cols * 2];
            for (a, b) in upper.chunks_exact(4).zip(lower.chunks_exact(4)) {
                data.push((a[0] + a[2] + b[0] + b[2]) * 0.25);
                data.push((a[1] + a[3] + b[1] + b[3]) * 0.25);
            }
        }
        Self { rows, cols, data }
    }
}

/// Estimates the motion between two luma planes.
pub trait FlowEstimator: Send {
    /// Backward flow from `current` to `previous` at a quarter of their resolution. `lambda` is what an error is worth in
    /// bits ([`crate::quality::lambda`]): where it is low, an estimator should not follow what gains little; infinity
    /// asks for the best prediction.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if the planes differ in size or a side is no positive multiple of 64.
    fn estimate(&mut self, current: &Plane, previous: &Plane, lambda: f64) -> Result<FlowField>;
}

/// Checks what every estimator asks of its input.
fn check_planes(current: &Plane, previous: &Plane) -> Result<()> {
    let (w, h) = (current.width, current.height);
    if (w, h) != (previous.width, previous.height) {
        return Err(Error::InvalidConfig(format!(
            "motion estimation between planes of {w}x{h} and {}x{}: give two planes of the same size",
            previous.width, previous.height
        )));
    }
    if w == 0 || h == 0 || w % 64 != 0 || h % 64 != 0 {
        return Err(Error::InvalidConfig(format!("motion estimation in planes of {w}x{h}: pad both sides to multiples of 64")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_is_repeated_beyond_the_display_size() {
        let data = (0..3 * 4 * 2).map(|i| i as f32).collect();
        let mut field = FlowField { rows: 3, cols: 4, data };
        field.pad_beyond(9, 8);
        let row = |first: f32| [first, first + 1.0, first + 2.0, first + 3.0, first + 4.0, first + 5.0, first + 4.0, first + 5.0];
        assert_eq!(field.data, [row(0.0), row(8.0), row(8.0)].concat());
        let whole = field.clone();
        field.pad_beyond(16, 12);
        assert_eq!(field, whole);
    }

    #[test]
    fn downsampling_takes_means() {
        let data = (0..4 * 2 * 2).map(|i| (i * i) as f32).collect();
        let field = FlowField { rows: 2, cols: 4, data };
        let half = field.downsample2();
        assert_eq!((half.rows, half.cols), (1, 2));
        // dx of the left block: 0, 4, 64, 100; of the right: 16, 36, 144, 196; dy: 1, 9, 81, 121 and 25, 49, 169, 225.
        assert_eq!(half.data, [42.0, 53.0, 98.0, 117.0]);
    }
}
