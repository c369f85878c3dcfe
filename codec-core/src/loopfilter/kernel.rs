//! The filter itself.

use std::ops::Range;

use super::classes::ClassMap;
use super::diamond::{LUMA_PAIRS, reach, taps};
use super::params::{AREA, FRACTION_BITS, Set, area_grid};
use super::samples::{BORDER, STRIP, Samples};
use crate::frame::Plane;
use crate::kernels::parallel::{for_bands, split_rows, take_front};

/// Samples of a strip.
pub(super) type Lanes = [i16; STRIP];

const ONE: i16 = 1 << FRACTION_BITS;
const HALF: i16 = ONE / 2;
/// Steps of multiply-add instructions for the larger diamond: two pairs each, then the centre and the rounding.
const STEPS: usize = LUMA_PAIRS / 2 + 1;

/// A plane's filter, ready to run.
pub(super) struct Filter<'a, const K: usize> {
    samples: &'a Samples,
    sets: &'a [Set<K>],
    /// Of each set, coefficients of two pairs side by side, 4 times; last the centre's and the rounding.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "made for multiply-add instructions"))]
    steps: Vec<[[i16; 8]; STEPS]>,
    classes: &'a ClassMap,
    block: usize,
    areas: &'a [bool],
}

impl<'a, const K: usize> Filter<'a, K> {
    /// `sets`: one for each class. `block`: side of a class's block in this plane's samples, 4, 8 or 16. `areas`: whether they are to be
    /// filtered, in row order.
    pub fn new(samples: &'a Samples, sets: &'a [Set<K>], (classes, block): (&'a ClassMap, usize), areas: &'a [bool]) -> Self {
        debug_assert!(K.is_multiple_of(2) && STRIP.is_multiple_of(block));
        let steps = sets.iter().map(|set| {
            let mut steps = [[0; 8]; STEPS];
            for (step, pairs) in steps.iter_mut().zip(set.chunks_exact(2)) {
                *step = std::array::from_fn(|i| pairs[i % 2].into());
            }
            steps[K / 2] = std::array::from_fn(|i| if i % 2 == 0 { centre(set) } else { HALF });
            steps
        });
        Self { samples, sets, steps: steps.collect(), classes, block, areas }
    }

    /// Writes the filtered samples of `rows` (whole rows of areas, or up to the visible part's end) to `out`, whose first row is the first
    /// of `rows`, with `stride` samples from row to row. Other samples stay as they are.
    pub fn write_rows(&self, rows: Range<usize>, out: &mut [u8], stride: usize) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the instructions that `write` was compiled for.
            return unsafe { x86::write(self, rows, out, stride) };
        }
        self.write_portable(rows, out, stride);
    }

    pub fn write_portable(&self, rows: Range<usize>, out: &mut [u8], stride: usize) {
        self.write_with(
            rows,
            out,
            stride,
            |classes| Weights::new(self, classes),
            |weights, row, left| weights.apply(self, row, left),
        );
    }

    /// Adds to `errors` each filtered area's change of the sum of squared errors against `original`. Up to `threads` threads work.
    pub fn error_changes(&self, original: &Plane, errors: &mut [i64], threads: usize) {
        let (width, height) = (self.samples.width(), self.samples.height());
        let (cols, _) = area_grid(width, height);
        let mut rest = errors;
        let bands: Vec<_> = split_rows(height, AREA, threads.max(1))
            .map(|rows| {
                let len = (rows.len().div_ceil(AREA) * cols).min(rest.len());
                (rows, take_front(&mut rest, len))
            })
            .collect();
        for_bands(threads, bands, |(rows, errors)| self.error_changes_of(original, rows, errors));
    }

    /// Of whole rows of areas, or up to the visible part's end; `errors` starts with the first of these areas.
    fn error_changes_of(&self, original: &Plane, rows: Range<usize>, errors: &mut [i64]) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the instructions that `judge` was compiled for.
            return unsafe { x86::judge(self, original, rows, errors) };
        }
        self.judge_with(
            original,
            rows,
            errors,
            |classes| Weights::new(self, classes),
            |weights, row, left| weights.apply(self, row, left),
        );
    }

    /// Calls `each` for all strips of `rows` in areas to be filtered: with the area, row and column, and the filtered samples, of which
    /// some may lie beyond the visible part. `prepare` makes weights for a strip of blocks, `apply` filters a row of it.
    #[inline(always)]
    fn run<W>(
        &self,
        rows: Range<usize>,
        prepare: impl Fn(&[u8]) -> W,
        apply: impl Fn(&W, usize, usize) -> Lanes,
        mut each: impl FnMut(usize, usize, usize, &Lanes),
    ) {
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
                let weights = prepare(&classes[left / self.block..]);
                for row in top..bottom {
                    each(area, row, left, &apply(&weights, row, left));
                }
            }
        }
    }

    #[inline(always)]
    fn write_with<W>(
        &self,
        rows: Range<usize>,
        out: &mut [u8],
        stride: usize,
        prepare: impl Fn(&[u8]) -> W,
        apply: impl Fn(&W, usize, usize) -> Lanes,
    ) {
        let (first, width) = (rows.start, self.samples.width());
        self.run(rows, prepare, apply, |_, row, left, filtered| {
            let line = &mut out[(row - first) * stride + left..];
            if let Some(line) = line.first_chunk_mut::<STRIP>().filter(|_| left + STRIP <= width) {
                line.iter_mut().zip(filtered).for_each(|(to, &from)| *to = from as u8);
            } else {
                line[..width - left].iter_mut().zip(filtered).for_each(|(to, &from)| *to = from as u8);
            }
        });
    }

    #[inline(always)]
    fn judge_with<W>(
        &self,
        original: &Plane,
        rows: Range<usize>,
        errors: &mut [i64],
        prepare: impl Fn(&[u8]) -> W,
        apply: impl Fn(&W, usize, usize) -> Lanes,
    ) {
        let (width, height) = (self.samples.width(), self.samples.height());
        let first = rows.start / AREA * area_grid(width, height).0;
        self.run(rows, prepare, apply, |area, row, left, filtered| {
            let before = &self.samples.row(row as isize)[BORDER + left..];
            let wanted = &original.row(row)[left..width];
            let sum: i32 = match (wanted.first_chunk::<STRIP>(), before.first_chunk::<STRIP>()) {
                (Some(wanted), Some(before)) => (0..STRIP).map(|i| change(wanted[i], before[i], filtered[i])).sum(),
                _ => wanted.iter().zip(before).zip(filtered).map(|((&w, &b), &f)| change(w, b, f)).sum(),
            };
            errors[area - first] += i64::from(sum);
        });
    }
}

/// The coefficient of the centre: all sum to 1. At most 64 + 2 * 12 * 128 in magnitude.
fn centre<const K: usize>(set: &Set<K>) -> i16 {
    ONE - 2 * set.iter().map(|&c| i16::from(c)).sum::<i16>()
}

/// Change of a squared error.
#[inline(always)]
fn change(wanted: u8, before: i16, after: i16) -> i32 {
    let wanted = i32::from(wanted);
    let (before, after) = (i32::from(before) - wanted, i32::from(after) - wanted);
    after * after - before * before
}

/// The rows around one of a strip, each from [`BORDER`] columns before the strip on; the first is [`BORDER`] rows above. Those beyond
/// the reach of K pairs are empty.
type Lines<'a> = [&'a [i16; STRIP + 2 * BORDER]; 2 * BORDER + 1];

#[inline(always)]
fn lines<const K: usize>(samples: &Samples, row: usize, left: usize) -> Lines<'_> {
    let reach = const { reach(K) };
    let mut lines = [&[0; STRIP + 2 * BORDER]; 2 * BORDER + 1];
    for (i, line) in lines.iter_mut().enumerate().filter(|(i, _)| i.abs_diff(BORDER) <= reach) {
        let row = samples.row((row + i) as isize - BORDER as isize);
        *line = row[left..].first_chunk().expect("rows hold whole strips and a border");
    }
    lines
}

/// The samples of a strip at an offset of rows and columns.
#[inline(always)]
fn at<'a>(lines: &Lines<'a>, rows: isize, cols: isize) -> &'a Lanes {
    let line = lines[(BORDER as isize + rows) as usize];
    line[(BORDER as isize + cols) as usize..].first_chunk().expect("taps lie within the border")
}

/// Coefficients of each sample of a strip.
struct Weights<const K: usize> {
    pairs: [Lanes; K],
    centre: Lanes,
}

impl<const K: usize> Weights<K> {
    fn new(filter: &Filter<K>, classes: &[u8]) -> Self {
        let (block, mut weights) = (filter.block, Self { pairs: [[0; STRIP]; K], centre: [0; STRIP] });
        for (i, &class) in classes.iter().take(STRIP / block).enumerate() {
            let set = &filter.sets[usize::from(class)];
            for (pair, &coefficient) in weights.pairs.iter_mut().zip(set) {
                pair[i * block..][..block].fill(coefficient.into());
            }
            weights.centre[i * block..][..block].fill(centre(set));
        }
        weights
    }

    fn apply(&self, filter: &Filter<K>, row: usize, left: usize) -> Lanes {
        let lines = lines::<K>(filter.samples, row, left);
        let centre = at(&lines, 0, 0);
        let mut sum: [i32; STRIP] = std::array::from_fn(|i| i32::from(self.centre[i]) * i32::from(centre[i]) + i32::from(HALF));
        for ((y, x), weights) in const { taps::<K>() }.into_iter().zip(&self.pairs) {
            let (one, other) = (at(&lines, y, x), at(&lines, -y, -x));
            for (i, sum) in sum.iter_mut().enumerate() {
                *sum += i32::from(weights[i]) * i32::from(one[i] + other[i]);
            }
        }
        sum.map(|sum| (sum >> FRACTION_BITS).clamp(0, 255) as i16)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::*;

    /// Coefficients of a strip's blocks, two pairs of taps a step: of samples 0 to 3 and 8 to 11, and of the others, as unpacking orders them.
    struct Steps([[__m256i; 2]; STEPS]);

    #[target_feature(enable = "avx2")]
    pub(super) fn write<const K: usize>(filter: &Filter<K>, rows: Range<usize>, out: &mut [u8], stride: usize) {
        filter.write_with(
            rows,
            out,
            stride,
            |classes| steps(filter, classes),
            |steps, row, left| apply(filter, steps, row, left),
        );
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn judge<const K: usize>(filter: &Filter<K>, original: &Plane, rows: Range<usize>, errors: &mut [i64]) {
        filter.judge_with(
            original,
            rows,
            errors,
            |classes| steps(filter, classes),
            |steps, row, left| apply(filter, steps, row, left),
        );
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn steps<const K: usize>(filter: &Filter<K>, classes: &[u8]) -> Steps {
        // Blocks beyond the last one count as it.
        let of = |quarter: usize| {
            let class = classes.get(quarter * 4 / filter.block).or(classes.last());
            &filter.steps[usize::from(*class.unwrap_or(&0))]
        };
        let [a, b, c, d] = [of(0), of(1), of(2), of(3)];
        let join = |low: &[[i16; 8]; STEPS], high: &[[i16; 8]; STEPS], step: usize| {
            _mm256_set_m128i(bytemuck::cast(high[step]), bytemuck::cast(low[step]))
        };
        let mut steps = [[_mm256_setzero_si256(); 2]; STEPS];
        for (i, step) in steps[..=K / 2].iter_mut().enumerate() {
            *step = [join(a, c, i), join(b, d, i)];
        }
        Steps(steps)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn apply<const K: usize>(filter: &Filter<K>, steps: &Steps, row: usize, left: usize) -> Lanes {
        let lines = lines::<K>(filter.samples, row, left);
        let centre = bytemuck::cast(*at(&lines, 0, 0));
        let [mut even, mut odd] = products(centre, _mm256_set1_epi16(1), steps.0[K / 2]);
        let taps = const { taps::<K>() };
        for step in 0..K / 2 {
            let mut pairs = [centre; 2];
            for (pair, (y, x)) in pairs.iter_mut().zip([taps[2 * step], taps[2 * step + 1]]) {
                let (one, other) = (*at(&lines, y, x), *at(&lines, -y, -x));
                *pair = _mm256_add_epi16(bytemuck::cast(one), bytemuck::cast(other));
            }
            let [more_even, more_odd] = products(pairs[0], pairs[1], steps.0[step]);
            even = _mm256_add_epi32(even, more_even);
            odd = _mm256_add_epi32(odd, more_odd);
        }
        const SHIFT: i32 = FRACTION_BITS as i32;
        let sum = _mm256_packs_epi32(_mm256_srai_epi32::<SHIFT>(even), _mm256_srai_epi32::<SHIFT>(odd));
        bytemuck::cast(_mm256_min_epi16(_mm256_max_epi16(sum, _mm256_setzero_si256()), _mm256_set1_epi16(255)))
    }

    /// Sums of the products of two samples with their coefficients.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn products(a: __m256i, b: __m256i, [even, odd]: [__m256i; 2]) -> [__m256i; 2] {
        [_mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), even), _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), odd)]
    }
}
