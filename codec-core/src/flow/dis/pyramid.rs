//! Image pyramids with replicated borders.

use crate::frame::Plane;
use crate::kernels::simd::multiversion;

/// Pixels beyond each edge that patches may read: a patch and its interpolation neighbours, and then a vector's width.
pub(super) const BORDER: usize = 16;

/// One scale: each pixel is the mean of 2^scale x 2^scale of the plane's, in 0..=255.
#[derive(Debug, Default)]
pub(super) struct Level {
    pub width: usize,
    pub height: usize,
    /// Values from one row of `data` to the next.
    pub stride: usize,
    data: Vec<f32>,
}

impl Level {
    fn reset(&mut self, width: usize, height: usize) {
        (self.width, self.height) = (width, height);
        self.stride = width + 2 * BORDER;
        self.data.resize(self.stride * (height + 2 * BORDER), 0.0);
    }

    /// Everything from (col, row) on; both may lie up to [`BORDER`] outside of the image.
    #[inline(always)]
    pub fn from(&self, col: isize, row: isize) -> &[f32] {
        let (col, row) = (col + BORDER as isize, row + BORDER as isize);
        &self.data[row as usize * self.stride + col as usize..]
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.data[(row + BORDER) * self.stride + BORDER..][..self.width]
    }

    fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.data[(row + BORDER) * self.stride + BORDER..][..self.width]
    }

    fn replicate_borders(&mut self) {
        let (stride, width, height) = (self.stride, self.width, self.height);
        for line in self.data.chunks_exact_mut(stride).skip(BORDER).take(height) {
            let (first, last) = (line[BORDER], line[BORDER + width - 1]);
            line[..BORDER].fill(first);
            line[BORDER + width..].fill(last);
        }
        for row in 0..BORDER {
            let (top, bottom) = (BORDER * stride, (BORDER + height - 1) * stride);
            self.data.copy_within(top..top + stride, row * stride);
            let to = (BORDER + height + row) * stride;
            self.data.copy_within(bottom..bottom + stride, to);
        }
    }
}

/// Scales 1 (half resolution) to the coarsest of one plane.
#[derive(Debug, Default)]
pub(super) struct Pyramid {
    levels: Vec<Level>,
}

impl Pyramid {
    pub fn level(&self, scale: usize) -> &Level {
        &self.levels[scale - 1]
    }

    /// Fills the scales 1..=`coarsest` from a plane whose sides are multiples of 2^`coarsest`.
    pub fn build(&mut self, plane: &Plane, coarsest: usize) {
        self.levels.resize_with(coarsest, Level::default);
        for scale in 1..=coarsest {
            let (finer, rest) = self.levels.split_at_mut(scale - 1);
            let level = &mut rest[0];
            level.reset(plane.width >> scale, plane.height >> scale);
            for row in 0..level.height {
                let out = level.row_mut(row);
                match finer.last() {
                    None => halve_bytes(plane.row(2 * row), plane.row(2 * row + 1), out),
                    Some(from) => halve(from.row(2 * row), from.row(2 * row + 1), out),
                }
            }
            level.replicate_borders();
        }
    }
}

multiversion! {
    fn halve(upper: &[f32], lower: &[f32], out: &mut [f32]) = halve_rows
}

multiversion! {
    fn halve_bytes(upper: &[u8], lower: &[u8], out: &mut [f32]) = halve_byte_rows
}

#[inline(always)]
fn halve_rows(upper: &[f32], lower: &[f32], out: &mut [f32]) {
    let pairs = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
    for (value, (a, b)) in out.iter_mut().zip(pairs) {
        *value = ((a[0] + a[1]) + (b[0] + b[1])) * 0.25;
    }
}

#[inline(always)]
fn halve_byte_rows(upper: &[u8], lower: &[u8], out: &mut [f32]) {
    let pairs = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
    for (value, (a, b)) in out.iter_mut().zip(pairs) {
        let sum = u16::from(a[0]) + u16::from(a[1]) + u16::from(b[0]) + u16::from(b[1]);
        *value = f32::from(sum) * 0.25;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_means_with_repeated_edges() {
        let data = (0..64 * 64).map(|i| (i * 31 + i / 64 * 7) as u8).collect();
        let plane = Plane::from_vec(data, 64, 64).unwrap();
        let mut pyramid = Pyramid::default();
        pyramid.build(&plane, 3);
        for scale in 1..=3 {
            let (level, block) = (pyramid.level(scale), 1 << scale);
            assert_eq!((level.width, level.height), (64 >> scale, 64 >> scale));
            for row in -(BORDER as isize)..(level.height + BORDER) as isize {
                for col in -(BORDER as isize)..(level.width + BORDER) as isize {
                    let (r, c) =
                        (row.clamp(0, level.height as isize - 1) as usize, col.clamp(0, level.width as isize - 1) as usize);
                    let rows = (r * block..(r + 1) * block).map(|r| &plane.row(r)[c * block..(c + 1) * block]);
                    let sum: u32 = rows.flatten().map(|&v| u32::from(v)).sum();
                    let mean = sum as f32 / (block * block) as f32;
                    assert_eq!(level.from(col, row)[0], mean, "scale {scale} at {row}, {col}");
                }
            }
        }
    }
}
