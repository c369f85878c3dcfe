//! The filter itself.
//!
//! All sums are 16 bits wide and may wrap on their way: the last one fits, since a set's magnitudes are limited.

use std::ops::Range;

use super::classes::ClassMap;
use super::diamond::{CHROMA_PAIRS, LUMA_PAIRS, reach, taps};
use super::params::{AREA, FRACTION_BITS, Set, area_grid};
use super::samples::{BORDER, STRIP, Samples};
use crate::frame::Plane;
use crate::kernels::simd::multiversion;

type Lanes = [i16; STRIP];

/// A plane's filter, ready to run.
pub(super) struct Filter<'a, const K: usize> {
    pub samples: &'a Samples,
    /// A set for each class.
    pub sets: &'a [Set<K>],
    pub classes: &'a ClassMap,
    /// Side of a class's block in this plane's samples: divides a strip.
    pub block: usize,
    /// Areas to be filtered, in row order.
    pub areas: &'a [bool],
}

impl<const K: usize> Filter<'_, K> {
    /// Calls `each` for all strips of the rows `rows` (which start and end with a block or at the plane's end) in areas to be
    /// filtered: with the area, row and column, and the filtered samples, of which some may lie beyond the visible part.
    #[inline(always)]
    fn run(&self, rows: Range<usize>, mut each: impl FnMut(usize, usize, usize, &Lanes)) {
        let (width, height) = (self.samples.width(), self.samples.height());
        let (area_cols, _) = area_grid(width, height);
        for top in rows.clone().step_by(self.block) {
            let classes = self.classes.row(top / self.block);
            let bottom = (top + self.block).min(rows.end);
            for left in (0..width).step_by(STRIP) {
                let area = top / AREA * area_cols + left / AREA;
                if !self.areas.get(area).is_some_and(|&on| on) {
                    continue;
                }
                let weights = Weights::new(self.sets, &classes[left / self.block..], self.block);
                for row in top..bottom {
                    each(area, row, left, &weights.apply(self.samples, row, left));
                }
            }
        }
    }
}

/// Coefficients of each sample of a strip.
struct Weights<const K: usize> {
    pairs: [Lanes; K],
    centre: Lanes,
}

impl<const K: usize> Weights<K> {
    #[inline(always)]
    fn new(sets: &[Set<K>], classes: &[u8], block: usize) -> Self {
        let mut weights = Self { pairs: [[0; STRIP]; K], centre: [0; STRIP] };
        for (i, &class) in classes.iter().take(STRIP / block).enumerate() {
            let set = &sets[usize::from(class)];
            let mut sum = 0;
            for (pair, &coefficient) in weights.pairs.iter_mut().zip(set) {
                pair[i * block..][..block].fill(coefficient.into());
                sum += i16::from(coefficient);
            }
            weights.centre[i * block..][..block].fill(-2 * sum);
        }
        weights
    }

    #[inline(always)]
    fn apply(&self, samples: &Samples, row: usize, left: usize) -> Lanes {
        const WIDTH: usize = STRIP + 2 * BORDER;
        let reach = const { reach(K) as isize };
        let mut lines = [&[0; WIDTH]; 2 * BORDER + 1];
        for offset in -reach..=reach {
            let line = samples.row(row as isize + offset)[left..].first_chunk();
            lines[(BORDER as isize + offset) as usize] = line.expect("rows hold whole strips and a border");
        }
        let at = |row: isize, col: isize| -> Lanes {
            let line = lines[(BORDER as isize + row) as usize];
            *line[(BORDER as isize + col) as usize..].first_chunk().expect("taps lie within the border")
        };
        let centre = at(0, 0);
        let mut sum = [0i32; STRIP];
        for i in 0..STRIP {
            sum[i] = i32::from(self.centre[i])*i32::from(centre[i]);
        }
        let taps = const { taps::<K>() };
        for k in 0..K {
            let ((row, col), weights) = (taps[k], &self.pairs[k]);
            let (one, other) = (at(row, col), at(-row, -col));
            for i in 0..STRIP {
                sum[i] = sum[i]+ i32::from(weights[i])*i32::from(one[i] + other[i]);
            }
        }
        let mut out = [0; STRIP];
        for i in 0..STRIP {
            out[i] = (i32::from(centre[i]) + ((sum[i] + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS)).clamp(0, 255) as i16;
        }
        out
    }
}

/// Writes the filtered samples of `rows` to `out`, whose first row is the first of `rows`, with `stride` samples from row to row.
#[inline(always)]
fn write<const K: usize>(filter: &Filter<K>, rows: Range<usize>, out: &mut [u8], stride: usize) {
    let (first, width) = (rows.start, filter.samples.width());
    filter.run(rows, |_, row, left, filtered| {
        let line = &mut out[(row - first) * stride + left..];
        if let Some(line) = line.first_chunk_mut::<STRIP>().filter(|_| left + STRIP <= width) {
            for (to, &from) in line.iter_mut().zip(filtered) {
                *to = from as u8;
            }
        } else {
            line[..width - left].iter_mut().zip(filtered).for_each(|(to, &from)| *to = from as u8);
        }
    });
}

/// Adds to `errors` each area's change of the sum of squared errors against `original`, for the areas that are filtered.
#[inline(always)]
fn judge<const K: usize>(filter: &Filter<K>, original: &Plane, errors: &mut [i64]) {
    let (width, height) = (filter.samples.width(), filter.samples.height());
    filter.run(0..height, |area, row, left, filtered| {
        let before = &filter.samples.row(row as isize)[BORDER + left..];
        let wanted = &original.row(row)[left..width];
        let sum: i32 = match (wanted.first_chunk::<STRIP>(), before.first_chunk::<STRIP>()) {
            (Some(wanted), Some(before)) => (0..STRIP).map(|i| change(wanted[i], before[i], filtered[i])).sum(),
            _ => wanted.iter().zip(before).zip(filtered).map(|((&w, &b), &f)| change(w, b, f)).sum(),
        };
        errors[area] += i64::from(sum);
    });
}

#[inline(always)]
fn change(wanted: u8, before: i16, after: i16) -> i32 {
    let wanted = i32::from(wanted);
    let (before, after) = (i32::from(before) - wanted, i32::from(after) - wanted);
    after * after - before * before
}

multiversion! {
    fn write_luma(filter: &Filter<LUMA_PAIRS>, rows: Range<usize>, out: &mut [u8], stride: usize) = write
}

multiversion! {
    fn write_chroma(filter: &Filter<CHROMA_PAIRS>, rows: Range<usize>, out: &mut [u8], stride: usize) = write
}

multiversion! {
    fn judge_luma(filter: &Filter<LUMA_PAIRS>, original: &Plane, errors: &mut [i64]) = judge
}

multiversion! {
    fn judge_chroma(filter: &Filter<CHROMA_PAIRS>, original: &Plane, errors: &mut [i64]) = judge
}

/// A diamond that there are kernels for.
pub(super) trait Kernel: Sync {
    fn write_rows(&self, rows: Range<usize>, out: &mut [u8], stride: usize);
    fn error_changes(&self, original: &Plane, errors: &mut [i64]);
}

impl Kernel for Filter<'_, LUMA_PAIRS> {
    fn write_rows(&self, rows: Range<usize>, out: &mut [u8], stride: usize) {
        write_luma(self, rows, out, stride);
    }

    fn error_changes(&self, original: &Plane, errors: &mut [i64]) {
        judge_luma(self, original, errors);
    }
}

impl Kernel for Filter<'_, CHROMA_PAIRS> {
    fn write_rows(&self, rows: Range<usize>, out: &mut [u8], stride: usize) {
        write_chroma(self, rows, out, stride);
    }

    fn error_changes(&self, original: &Plane, errors: &mut [i64]) {
        judge_chroma(self, original, errors);
    }
}
