//! A plane of the reference as the warp reads it.

use crate::frame::Plane;
use crate::kernels::to_floats;

/// Samples beyond each edge: enough for all four taps at [`Source::NEAREST_OUTSIDE`] of it.
const BORDER: usize = 8;

/// A plane as floats, value/255 - 0.5, with its edge repeated around it, so that taps never need a check.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub width: usize,
    pub height: usize,
    pub stride: usize,
    pub data: Vec<f32>,
}

impl Source {
    /// From this far outside on, all taps of an interpolation read the repeated edge; coordinates are clamped to it.
    pub const NEAREST_OUTSIDE: f32 = 4.0;
    /// Row and column of `data` at which the plane starts.
    pub const ORIGIN: usize = BORDER;

    pub fn load(&mut self, plane: &Plane) {
        (self.width, self.height) = (plane.width, plane.height);
        self.stride = self.width + 2 * BORDER;
        self.data.resize(self.stride * (self.height + 2 * BORDER), 0.0);
        for row in 0..self.height {
            let line = &mut self.data[(row + BORDER) * self.stride..][..self.stride];
            to_floats(plane.row(row), &mut line[BORDER..]);
            let (first, last) = (line[BORDER], line[BORDER + self.width - 1]);
            line[..BORDER].fill(first);
            line[BORDER + self.width..].fill(last);
        }
        let (top, bottom) = (BORDER * self.stride, (BORDER + self.height - 1) * self.stride);
        for row in 0..BORDER {
            self.data.copy_within(top..top + self.stride, row * self.stride);
            let below = (BORDER + self.height + row) * self.stride;
            self.data.copy_within(bottom..bottom + self.stride, below);
        }
    }
}
