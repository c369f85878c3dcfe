//! The reference at all sixteen quarter-sample positions.

use std::ops::Range;

use super::interpolate::filter;
use super::surface::{Surface, extend_row, extend_rows};
use crate::frame::Plane;
use crate::kernels::parallel::{for_bands, split_rows, take_front};
use crate::motion::{BORDER, MotionVector};

/// Samples beyond the visible part that the filters change; further out everything is constant along the border.
const MARGIN: usize = 8;
/// First sample of the filtered part in each direction.
const START: usize = BORDER - MARGIN;

/// A reference plane, interpolated with HEVC's filters.
///
/// Samples between the columns are rounded to 8 bits before the rows are filtered, which the prediction itself does not do: the
/// difference is mostly below one grey level, and time counts.
#[derive(Default)]
pub(super) struct Quarters {
    /// By 4 * (vertical quarter) + horizontal quarter.
    planes: [Surface; 16],
}

impl Quarters {
    /// Interpolates the upper left part of a plane.
    pub fn load(&mut self, plane: &Plane, display: (usize, usize), threads: usize) {
        self.planes[0].load(plane, display, threads);
        self.planes[1..].iter_mut().for_each(|plane| plane.resize(display.0, display.1));
        let stride = self.stride();
        let (width, rows) = (display.0 + 2 * MARGIN, display.1 + 2 * MARGIN);
        let len = width.next_multiple_of(32);
        let (across, down) = self.planes.split_at_mut(4);
        let [whole, fractions @ ..] = across else { unreachable!("there are four planes") };
        let fractions: &mut [Surface; 3] = fractions.try_into().expect("three planes");
        let down: &mut [Surface; 12] = down.try_into().expect("twelve planes");
        for_bands(threads, bands(fractions, rows, threads), |(rows, mut planes)| {
            for (i, row) in rows.enumerate() {
                let at = (START + row) * stride + START - 3;
                let lines = std::array::from_fn(|k| &whole.data[at + k..][..len]);
                let mut out = planes.each_mut().map(|plane| &mut plane[i * stride..][..stride]);
                filter(lines, out.each_mut().map(|out| &mut out[START..][..len]));
                out.into_iter().for_each(|out| extend_row(out, START, width));
            }
        });
        for_bands(threads, fractions, |plane| extend_rows(&mut plane.data, stride, START, rows));
        for_bands(threads, bands(down, rows, threads), |(rows, mut planes)| {
            for (fraction, across) in across.iter().enumerate() {
                for (i, row) in rows.clone().enumerate() {
                    let lines = std::array::from_fn(|k| &across.data[(START + row + k - 3) * stride + START..][..len]);
                    let mut planes = planes.iter_mut().skip(fraction).step_by(4);
                    let mut out = std::array::from_fn(|_| &mut planes.next().expect("three planes")[i * stride..][..stride]);
                    filter(lines, out.each_mut().map(|out: &mut &mut [u8]| &mut out[START..][..len]));
                    out.into_iter().for_each(|out| extend_row(out, START, width));
                }
            }
        });
        for_bands(threads, down, |plane| extend_rows(&mut plane.data, stride, START, rows));
    }

    /// The whole samples.
    pub fn whole(&self) -> &Surface {
        &self.planes[0]
    }

    /// The plane that a vector leads to, and its whole part.
    #[inline]
    pub fn plane(&self, vector: MotionVector) -> (&Surface, (i32, i32)) {
        let plane = &self.planes[(vector.y & 3) as usize * 4 + (vector.x & 3) as usize];
        (plane, (i32::from(vector.x >> 2), i32::from(vector.y >> 2)))
    }

    /// The samples that a vector leads to from (`x`, `y`), for a block of at most 64 samples a side; rows are a
    /// [`Self::stride`] apart.
    #[inline]
    pub fn block(&self, x: usize, y: usize, vector: MotionVector) -> &[u8] {
        let (plane, (dx, dy)) = self.plane(vector);
        plane.block(x as i32 + dx, y as i32 + dy)
    }

    pub fn stride(&self) -> usize {
        self.planes[0].stride
    }
}

/// The filtered rows of some planes in bands: the numbers of the rows, and each plane's whole rows.
fn bands<const N: usize>(planes: &mut [Surface; N], rows: usize, threads: usize) -> Vec<(Range<usize>, [&mut [u8]; N])> {
    let stride = planes[0].stride;
    let mut rest = planes.each_mut().map(|plane| &mut plane.data[START * stride..]);
    let band = |band: Range<usize>| (band.clone(), rest.each_mut().map(|rest| take_front(rest, band.len() * stride)));
    split_rows(rows, 1, threads).map(band).collect()
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
        (((sum >> 6) + 32) >> 6).clamp(0, 255) as u8
    }

    #[test]
    fn blocks_are_the_standards_interpolation_everywhere() {
        let mut rng = SmallRng::seed_from_u64(3);
        for (w, h) in [(1, 1), (13, 7), (64, 20), (263, 5)] {
            // Moderate contrast, so that nothing is clipped between the filters.
            let plane = Plane::from_vec((0..320 * 64).map(|_| rng.random_range(64..192)).collect(), 320, 64).unwrap();
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
                let both = vector.x & 3 != 0 && vector.y & 3 != 0;
                assert!(found.abs_diff(wanted) <= u8::from(both), "{w}x{h} {vector:?} {dx} {dy}: {found} {wanted}");
            }
        }
    }
}
