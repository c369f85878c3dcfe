//! A reference plane with its edges repeated, so that vectors may point beyond it.

use crate::frame::{Plane, map};

/// Samples around a plane: a root and the interpolation's taps lie within it when a block is moved just outside.
pub const BORDER: usize = 80;

/// A plane's visible part, surrounded by [`BORDER`] repeated samples on each side; or two planes, interleaved.
///
/// Positions further out need no memory of their own: [`Self::block`] clamps a block's position, and everything that a block
/// beyond the border would read equals what it reads at the border.
#[derive(Clone, Debug, Default)]
pub struct PaddedPlane {
    data: Vec<u8>,
    stride: usize,
    width: usize,
    height: usize,
    /// Bytes from one position to the next: 1 for a plane, 2 for a pair.
    step: usize,
}

impl PaddedPlane {
    /// Takes the upper left `width` x `height` samples of a plane, keeping the memory where it can.
    ///
    /// # Panics
    /// If a side is 0 or larger than the plane's.
    pub fn load(&mut self, plane: &Plane, width: usize, height: usize) {
        assert!(width > 0 && height > 0 && width <= plane.width && height <= plane.height);
        self.resize(width, height, 1);
        for row in 0..height {
            let line = self.line(row);
            let samples = &plane.row(row)[..width];
            line[..BORDER].fill(samples[0]);
            line[BORDER..BORDER + width].copy_from_slice(samples);
            line[BORDER + width..].fill(samples[width - 1]);
        }
        self.repeat_lines();
    }

    /// Takes the upper left `width` x `height` samples of two planes, interleaved: a position's first sample is followed by its
    /// second one. [`Self::stride`] then counts single samples, two for each position.
    ///
    /// # Panics
    /// If a side is 0 or larger than a plane's.
    pub fn load_pair(&mut self, planes: [&Plane; 2], width: usize, height: usize) {
        assert!(width > 0 && height > 0 && planes.iter().all(|plane| width <= plane.width && height <= plane.height));
        self.resize(width, height, 2);
        for row in 0..height {
            let line = self.line(row).as_chunks_mut::<2>().0;
            let [a, b] = planes.map(|plane| &plane.row(row)[..width]);
            line[..BORDER].fill([a[0], b[0]]);
            for (pair, (&a, &b)) in line[BORDER..].iter_mut().zip(a.iter().zip(b)) {
                *pair = [a, b];
            }
            line[BORDER + width..].fill([a[width - 1], b[width - 1]]);
        }
        self.repeat_lines();
    }

    /// Changes every sample to what `table` holds for it.
    pub fn map(&mut self, table: &[u8; 256]) {
        map(&mut self.data, table);
    }

    fn resize(&mut self, width: usize, height: usize, step: usize) {
        (self.width, self.height, self.step, self.stride) = (width, height, step, (width + 2 * BORDER) * step);
        self.data.resize(self.stride * (height + 2 * BORDER), 0);
    }

    /// A visible row with its border.
    fn line(&mut self, row: usize) -> &mut [u8] {
        &mut self.data[(row + BORDER) * self.stride..][..self.stride]
    }

    /// Fills the border above and below.
    fn repeat_lines(&mut self) {
        let (first, last) = (BORDER * self.stride, (BORDER + self.height - 1) * self.stride);
        for row in 0..BORDER {
            self.data.copy_within(first..first + self.stride, row * self.stride);
            self.data.copy_within(last..last + self.stride, (BORDER + self.height + row) * self.stride);
        }
    }

    /// Bytes from one row to the next.
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
    #[inline]
    pub fn block(&self, x: i32, y: i32, margin: usize) -> &[u8] {
        const REACH: i32 = BORDER as i32 - 8;
        // A block that starts more than its side beyond the visible part sees nothing but repeated samples.
        let x = x.clamp(-REACH, self.width as i32 + 4) + (BORDER - margin) as i32;
        let y = y.clamp(-REACH, self.height as i32 + 4) + (BORDER - margin) as i32;
        &self.data[y as usize * self.stride + x as usize * self.step..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_repeated_at_any_distance() {
        let (w, h) = (10, 6);
        let plane = Plane::from_vec((0..120).map(|i| i as u8).collect(), 12, 10).unwrap();
        let other = Plane::from_vec((0..120).map(|i| 255 - i as u8).collect(), 12, 10).unwrap();
        let (mut padded, mut pair) = (PaddedPlane::default(), PaddedPlane::default());
        padded.load(&plane, w, h);
        pair.load_pair([&plane, &other], w, h);
        for (x, y) in [(0, 0), (-3, 2), (7, 5), (-70, -71), (-5000, 3), (9, 4000), (12, -4000), (14, 10)] {
            for (dx, dy) in [(0, 0), (63, 0), (0, 63), (63, 63), (5, 9)] {
                let found = padded.block(x, y, 3)[(dy + 3) * padded.stride() + dx + 3];
                let at = |p: i32, side: usize| p.clamp(0, side as i32 - 1) as usize;
                let wanted = plane.row(at(y + dy as i32, h))[at(x + dx as i32, w)];
                assert_eq!(found, wanted, "{x} {y} + {dx} {dy}");
                let found = &pair.block(x, y, 3)[(dy + 3) * pair.stride() + 2 * (dx + 3)..][..2];
                assert_eq!(found, [wanted, 255 - wanted], "{x} {y} + {dx} {dy}");
            }
        }
    }
}
