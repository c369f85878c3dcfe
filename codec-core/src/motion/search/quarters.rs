//! The reference at all sixteen quarter-sample positions.

use super::interpolate::{horizontal, round, vertical};
use super::surface::{Surface, extend_row, extend_rows};
use crate::frame::Plane;
use crate::kernels::parallel::{for_bands, split_rows, take_front};
use crate::motion::{BORDER, MotionVector};

/// Samples beyond the visible part that the filters change; further out everything is constant along the border.
const MARGIN: usize = 8;
/// Columns that are filtered at a time, so that the rows in between stay in the first cache.
const TILE: usize = 256;

/// A reference plane, interpolated to 8 bits as HEVC predicts from one picture.
#[derive(Default)]
pub(super) struct Quarters {
    /// By 4 * (vertical quarter) + horizontal quarter.
    planes: [Surface; 16],
}

impl Quarters {
    /// Interpolates the upper left part of a plane.
    pub fn load(&mut self, plane: &Plane, display: (usize, usize), threads: usize) {
        let [whole, others @ ..] = &mut self.planes;
        whole.load(plane, display);
        others.iter_mut().for_each(|plane| plane.resize(display.0, display.1));
        let stride = whole.stride;
        let rows = display.1 + 2 * MARGIN;
        let mut rest: [&mut [u8]; 15] = others.each_mut().map(|p| &mut p.data[(BORDER - MARGIN) * stride..]);
        let bands: Vec<_> = split_rows(rows, 1, threads)
            .map(|band| (band.clone(), rest.each_mut().map(|rest| take_front(rest, band.len() * stride))))
            .collect();
        for_bands(threads, bands, |(band, mut out)| filter_rows(whole, band.start, &mut out));
        for plane in others {
            extend_rows(&mut plane.data, stride, BORDER - MARGIN, rows);
        }
    }

    /// The whole samples.
    pub fn whole(&self) -> &Surface {
        &self.planes[0]
    }

    /// The samples that a vector leads to from (`x`, `y`), for a block of at most 64 samples a side; rows are a
    /// [`Self::stride`] apart.
    #[inline]
    pub fn block(&self, x: usize, y: usize, vector: MotionVector) -> &[u8] {
        let plane = &self.planes[(vector.y & 3) as usize * 4 + (vector.x & 3) as usize];
        plane.block(x as i32 + i32::from(vector.x >> 2), y as i32 + i32::from(vector.y >> 2))
    }

    pub fn stride(&self) -> usize {
        self.planes[0].stride
    }
}

/// Fills rows of all fractional planes from row `first` on, counted from [`MARGIN`] rows above the visible part.
fn filter_rows(whole: &Surface, first: usize, out: &mut [&mut [u8]; 15]) {
    let stride = whole.stride;
    let rows = out[0].len() / stride;
    let (start, width) = (BORDER - MARGIN, whole.width + 2 * MARGIN);
    let padded = width.next_multiple_of(16);
    // Horizontally filtered rows; row r of the reference is at r % 8.
    let mut ring = vec![0i16; 8 * TILE];
    for tile in (0..padded).step_by(TILE) {
        let len = TILE.min(padded - tile);
        let left = start + tile;
        for fx in 0..4 {
            for y in 0..rows + 7 {
                let row = (BORDER - MARGIN + first + y - 3) * stride + left;
                horizontal(&whole.data[row - 3..][..len + 7], fx, &mut ring[y % 8 * TILE..][..len]);
                let Some(y) = y.checked_sub(7) else { continue };
                let lines: [&[i16]; 8] = std::array::from_fn(|k| &ring[(y + k) % 8 * TILE..][..len]);
                let at = y * stride + left;
                if fx > 0 {
                    round(lines[3], &mut out[fx - 1][at..][..len]);
                }
                let [a, b, c] = out.get_disjoint_mut([3 + fx, 7 + fx, 11 + fx]).expect("three planes");
                vertical(lines, [&mut a[at..][..len], &mut b[at..][..len], &mut c[at..][..len]]);
            }
        }
    }
    for plane in out {
        for row in plane.chunks_exact_mut(stride) {
            extend_row(row, start, width);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::prelude::*;

    /// Straight from the standard's formulas.
    fn sample(plane: &Plane, (w, h): (usize, usize), x: i32, y: i32, fx: usize, fy: usize) -> u8 {
        const TAPS: [[i32; 8]; 4] = [
            [0, 0, 0, 64, 0, 0, 0, 0],
            [-1, 4, -10, 58, 17, -5, 1, 0],
            [-1, 4, -11, 40, 40, -11, 4, -1],
            [0, 1, -5, 17, 58, -10, 4, -1],
        ];
        let at = |x: i32, y: i32| i32::from(plane.row(y.clamp(0, h as i32 - 1) as usize)[x.clamp(0, w as i32 - 1) as usize]);
        let across = |y: i32| (0..8).map(|k| TAPS[fx][k as usize] * at(x + k - 3, y)).sum::<i32>();
        let sum: i32 = (0..8).map(|k| TAPS[fy][k as usize] * across(y + k - 3)).sum();
        ((sum >> 6) + 32 >> 6).clamp(0, 255) as u8
    }

    #[test]
    fn blocks_equal_the_standards_interpolation_everywhere() {
        let mut rng = SmallRng::seed_from_u64(3);
        for (w, h) in [(1, 1), (13, 7), (64, 20), (263, 5)] {
            let plane = Plane::from_vec((0..320 * 64).map(|_| rng.random()).collect(), 320, 64).unwrap();
            let mut quarters = Quarters::default();
            quarters.load(&plane, (w, h), 1);
            let mut threaded = Quarters::default();
            threaded.load(&plane, (w, h), 3);
            for _ in 0..300 {
                let mut reach = |side: usize| rng.random_range(-400..4 * side as i16 + 400);
                let vector = MotionVector { x: reach(w), y: reach(h) };
                let (dx, dy) = (rng.random_range(0..64), rng.random_range(0..64));
                let found = quarters.block(0, 0, vector)[dy * quarters.stride() + dx];
                assert_eq!(found, threaded.block(0, 0, vector)[dy * quarters.stride() + dx]);
                let (x, y) = (i32::from(vector.x >> 2) + dx as i32, i32::from(vector.y >> 2) + dy as i32);
                let wanted = sample(&plane, (w, h), x, y, (vector.x & 3) as usize, (vector.y & 3) as usize);
                assert_eq!(found, wanted, "{w}x{h} {vector:?} {dx} {dy}");
            }
        }
    }
}
