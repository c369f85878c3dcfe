//! A reference plane with its edges repeated, so that vectors may point beyond it.

use crate::frame::Plane;

/// Samples around a plane: a root and the interpolation's taps lie within it when a block is moved just outside.
pub const BORDER: usize = 80;

/// A plane's visible part, surrounded by [`BORDER`] repeated samples on each side.
///
/// Positions further out need no memory of their own: [`Self::block`] clamps a block's position, and everything that a block
/// beyond the border would read equals what it reads at the border.
#[derive(Clone, Debug, Default)]
pub struct PaddedPlane {
    data: Vec<u8>,
    stride: usize,
    width: usize,
    height: usize,
}

impl PaddedPlane {
    /// Takes the upper left `width` x `height` samples of a plane, keeping the memory where it can.
    ///
    /// # Panics
    /// If a side is 0 or larger than the plane's.
    pub fn load(&mut self, plane: &Plane, width: usize, height: usize) {
        assert!(width > 0 && height > 0 && width <= plane.width && height <= plane.height);
        (self.width, self.height, self.stride) = (width, height, width + 2 * BORDER);
        self.data.resize(self.stride * (height + 2 * BORDER), 0);
        for row in 0..height {
            let line = &mut self.data[(row + BORDER) * self.stride..][..self.stride];
            let samples = &plane.row(row)[..width];
            line[..BORDER].fill(samples[0]);
            line[BORDER..BORDER + width].copy_from_slice(samples);
            line[BORDER + width..].fill(samples[width - 1]);
        }
        let (first, last) = (BORDER * self.stride, (BORDER + height - 1) * self.stride);
        for row in 0..BORDER {
            self.data.copy_within(first..first + self.stride, row * self.stride);
            self.data.copy_within(last..last + self.stride, (BORDER + height + row) * self.stride);
        }
    }

    /// Samples from one row to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Size of the visible part.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// The samples from (`x`, `y`) on, for a block of at most [`ROOT`](super::ROOT) samples a side that is read with up to 4 samples
    /// before and after it. `margin`: samples that are read before the position; the slice starts with them, `margin` rows and
    /// columns up and left of (`x`, `y`).
    pub fn block(&self, x: i32, y: i32, margin: usize) -> &[u8] {
        const REACH: i32 = BORDER as i32 - 8;
        // A block that starts more than its side beyond the visible part sees nothing but repeated samples.
        let x = x.clamp(-REACH, self.width as i32 + 4) + (BORDER - margin) as i32;
        let y = y.clamp(-REACH, self.height as i32 + 4) + (BORDER - margin) as i32;
        &self.data[y as usize * self.stride + x as usize..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_repeated_at_any_distance() {
        let (w, h) = (10, 6);
        let plane = Plane::from_vec((0..120).map(|i| i as u8).collect(), 12, 10).unwrap();
        let mut padded = PaddedPlane::default();
        padded.load(&plane, w, h);
        for (x, y) in [(0, 0), (-3, 2), (7, 5), (-70, -71), (-5000, 3), (9, 4000), (12, -4000), (14, 10)] {
            for (dx, dy) in [(0, 0), (63, 0), (0, 63), (63, 63), (5, 9)] {
                let found = padded.block(x, y, 3)[(dy + 3) * padded.stride() + dx + 3];
                let at = |p: i32, side: usize| p.clamp(0, side as i32 - 1) as usize;
                let wanted = plane.row(at(y + dy as i32, h))[at(x + dx as i32, w)];
                assert_eq!(found, wanted, "{x} {y} + {dx} {dy}");
            }
        }
    }
}
