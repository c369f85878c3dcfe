//! Second moments of what a filter has to work with: all that least squares needs to know about a class.
//!
//! The features of a sample are, for each pair of taps, the pair's sum minus twice the centre, and last the error that the filter should
//! make up for, original minus decoded.

use std::ops::Range;

use super::classes::ClassMap;
use super::diamond::{LUMA_PAIRS, taps};
use super::params::{AREA, FRACTION_BITS, Set, area_grid};
use super::samples::{BORDER, STRIP, Samples};
use crate::frame::Plane;
use crate::kernels::parallel::{for_bands, split_rows};

/// Side of a square whose samples are all of one class, and squares of a strip.
const SIDE: usize = 4;
const SQUARES: usize = STRIP / SIDE;
/// Samples of a square, whose products are summed at once.
const GROUP: usize = SIDE * SIDE;
type Group = [i16; GROUP];
const LANES: usize = GROUP / 2;
/// Most features that there can be, and their products.
const MOST: usize = LUMA_PAIRS + 1;
const PRODUCTS: usize = MOST * (MOST + 1) / 2;
type Features = [[Group; SQUARES]; MOST];
type Lanes = [[i32; LANES]; PRODUCTS];
/// Groups after which 32-bit sums may overflow: each adds two products of at most 510^2.
const FLUSH: u32 = 4000;

/// Sums of products of features over the samples of a class.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Moments<const K: usize> {
    /// Products of pairs with pairs, of pairs with the error, and of the error with itself.
    pub pairs: [[f64; K]; K],
    pub error: [f64; K],
    pub squares: f64,
}

impl<const K: usize> Default for Moments<K> {
    fn default() -> Self {
        Self { pairs: [[0.0; K]; K], error: [0.0; K], squares: 0.0 }
    }
}

impl<const K: usize> Moments<K> {
    pub fn add(&mut self, other: &Self) {
        for i in 0..K {
            for j in 0..K {
                self.pairs[i][j] += other.pairs[i][j];
            }
            self.error[i] += other.error[i];
        }
        self.squares += other.squares;
    }

    /// By how much a set changes the sum of squared errors, but for rounding and clipping.
    pub fn change(&self, set: &Set<K>) -> f64 {
        let unit = f64::from(1 << FRACTION_BITS);
        let mut sum = 0.0;
        for i in 0..K {
            let product: f64 = (0..K).map(|j| self.pairs[i][j] * f64::from(set[j])).sum();
            sum += f64::from(set[i]) * (product / unit - 2.0 * self.error[i]);
        }
        sum / unit
    }
}

/// Gathers the moments of all classes of a plane in integers, so that sums do not depend on their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Gatherer {
    /// One for each band of rows.
    parts: Vec<Part>,
}

/// What a band of rows has given so far, by class.
#[derive(Clone, Debug, Default)]
struct Part {
    lanes: Vec<Lanes>,
    totals: Vec<[i64; PRODUCTS]>,
    groups: Vec<u32>,
}

/// The plane to look at.
pub(super) struct Subject<'a> {
    pub samples: &'a Samples,
    pub original: &'a Plane,
    pub classes: &'a ClassMap,
    /// Side of a class's block in this plane's samples, a multiple of 4.
    pub block: usize,
}

impl Gatherer {
    /// The moments of each class over the areas that are on, found by up to `threads` threads.
    pub fn gather<const K: usize>(
        &mut self,
        subject: &Subject,
        classes: usize,
        areas: &[bool],
        threads: usize,
    ) -> Vec<Moments<K>> {
        let rows: Vec<_> = split_rows(subject.samples.height(), AREA, threads.max(1)).collect();
        self.parts.resize_with(rows.len(), Part::default);
        for_bands(threads, self.parts.iter_mut().zip(rows), |(part, rows)| {
            part.clear(classes);
            part.visit::<K>(subject, areas, rows);
            part.flush_all();
        });
        self.moments(classes)
    }

    /// As [`Self::gather`] on any processor.
    #[cfg(test)]
    pub fn gather_portable<const K: usize>(&mut self, subject: &Subject, classes: usize, areas: &[bool]) -> Vec<Moments<K>> {
        self.parts.resize_with(1, Part::default);
        let part = &mut self.parts[0];
        part.clear(classes);
        part.visit_portable::<K>(subject, areas, 0..subject.samples.height());
        part.flush_all();
        self.moments(classes)
    }

    fn moments<const K: usize>(&self, classes: usize) -> Vec<Moments<K>> {
        let of = |class: usize| {
            let sum = |product: usize| self.parts.iter().map(|part| part.totals[class][product]).sum::<i64>() as f64;
            let mut sums = (0..PRODUCTS).map(sum);
            let mut moments = Moments::default();
            for i in 0..K {
                for j in 0..=i {
                    let sum = sums.next().unwrap_or_default();
                    (moments.pairs[i][j], moments.pairs[j][i]) = (sum, sum);
                }
            }
            moments.error.iter_mut().zip(&mut sums).for_each(|(error, sum)| *error = sum);
            moments.squares = sums.next().unwrap_or_default();
            moments
        };
        (0..classes).map(of).collect()
    }
}

impl Part {
    fn clear(&mut self, classes: usize) {
        self.lanes.clear();
        self.lanes.resize(classes, [[0; LANES]; PRODUCTS]);
        self.totals.clear();
        self.totals.resize(classes, [0; PRODUCTS]);
        self.groups.clear();
        self.groups.resize(classes, 0);
    }

    fn flush_all(&mut self) {
        (0..self.groups.len()).for_each(|class| self.flush(class));
    }

    fn flush(&mut self, class: usize) {
        for (lanes, total) in self.lanes[class].iter_mut().zip(&mut self.totals[class]) {
            *total += lanes.iter().map(|&sum| i64::from(sum)).sum::<i64>();
            *lanes = [0; LANES];
        }
        self.groups[class] = 0;
    }

    /// Adds the samples of `rows`, which are whole rows of areas or end with the visible part.
    fn visit<const K: usize>(&mut self, subject: &Subject, areas: &[bool], rows: Range<usize>) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the instructions that `visit` was compiled for.
            return unsafe { x86::visit::<K>(self, subject, areas, rows) };
        }
        self.visit_portable::<K>(subject, areas, rows);
    }

    fn visit_portable<const K: usize>(&mut self, subject: &Subject, areas: &[bool], rows: Range<usize>) {
        self.visit_with::<K>(subject, areas, rows, fill::<K>, accumulate::<K>);
    }

    /// `fill` finds the features of the squares of a strip, `accumulate` adds their products.
    #[inline(always)]
    fn visit_with<const K: usize>(
        &mut self,
        subject: &Subject,
        areas: &[bool],
        rows: Range<usize>,
        fill: impl Fn(&Subject, usize, usize, &mut Features),
        accumulate: impl Fn(&Features, Range<usize>, &mut Lanes),
    ) {
        let (width, height) = (subject.samples.width(), subject.samples.height());
        let (area_cols, _) = area_grid(width, height);
        let mut features = [[[0; GROUP]; SQUARES]; MOST];
        for top in rows.step_by(SIDE) {
            let row = subject.classes.row(top / subject.block);
            for left in (0..width).step_by(STRIP) {
                if !areas[top / AREA * area_cols + left / AREA] {
                    continue;
                }
                fill(subject, top, left, &mut features);
                if left + STRIP > width || top + SIDE > height {
                    mask(&mut features, width - left, height - top);
                }
                let mut classes = [usize::MAX; SQUARES];
                let count = SQUARES.min((width - left).div_ceil(SIDE));
                for (square, class) in classes[..count].iter_mut().enumerate() {
                    *class = row[(left + square * SIDE) / subject.block].into();
                }
                let mut square = 0;
                while square < count {
                    let class = classes[square];
                    let run = classes[square..].iter().take_while(|&&other| other == class).count();
                    if self.groups[class] + run as u32 > FLUSH {
                        self.flush(class);
                    }
                    self.groups[class] += run as u32;
                    accumulate(&features, square..square + run, &mut self.lanes[class]);
                    square += run;
                }
            }
        }
    }
}

/// Sets features of samples beyond the visible part, from column `width` and row `height` of the strip on, to 0.
#[cold]
fn mask(features: &mut Features, width: usize, height: usize) {
    for squares in features {
        for (i, sample) in squares.as_flattened_mut().iter_mut().enumerate() {
            let (square, row, col) = (i / GROUP, i % GROUP / SIDE, i % SIDE);
            if square * SIDE + col >= width || row >= height {
                *sample = 0;
            }
        }
    }
}

/// The original's samples in a row of a strip.
#[inline(always)]
fn wanted(subject: &Subject, row: usize, left: usize) -> [u8; STRIP] {
    let mut samples = [0; STRIP];
    // Rows beyond the visible part do not count.
    let line = &subject.original.row(row.min(subject.samples.height() - 1))[left..];
    let count = line.len().min(STRIP);
    samples[..count].copy_from_slice(&line[..count]);
    samples
}

fn fill<const K: usize>(subject: &Subject, top: usize, left: usize, features: &mut Features) {
    let taps = const { taps::<K>() };
    for row in 0..SIDE {
        let lines: [_; 2 * BORDER + 1] = lines(subject, top + row, left);
        let at = |y: isize, x: isize| strip(lines[(BORDER as isize + y) as usize], x);
        let put = |feature: &mut [Group; SQUARES], values: [i16; STRIP]| {
            for (group, values) in feature.iter_mut().zip(values.as_chunks::<SIDE>().0) {
                group[row * SIDE..][..SIDE].copy_from_slice(values);
            }
        };
        let (wanted, centre) = (wanted(subject, top + row, left), at(0, 0));
        for (feature, (y, x)) in features.iter_mut().zip(taps) {
            let (one, other) = (at(y, x), at(-y, -x));
            put(feature, std::array::from_fn(|i| one[i] + other[i] - 2 * centre[i]));
        }
        put(&mut features[K], std::array::from_fn(|i| i16::from(wanted[i]) - centre[i]));
    }
}

/// Adds the products of all features of some squares with those up to themselves.
fn accumulate<const K: usize>(features: &Features, squares: Range<usize>, lanes: &mut Lanes) {
    let mut lanes = lanes.iter_mut();
    for i in 0..=K {
        for (j, lanes) in (0..=i).zip(&mut lanes) {
            for square in squares.clone() {
                let (a, b) = (&features[i][square], &features[j][square]);
                // Which lane a product goes to does not matter.
                for (l, sum) in lanes.iter_mut().enumerate() {
                    *sum += i32::from(a[l]) * i32::from(b[l]) + i32::from(a[LANES + l]) * i32::from(b[LANES + l]);
                }
            }
        }
    }
}

/// `N` rows of a strip from [`BORDER`] above `row` on, each from [`BORDER`] columns before the strip on.
#[inline(always)]
fn lines<'a, const N: usize>(subject: &Subject<'a>, row: usize, left: usize) -> [&'a [i16; STRIP + 2 * BORDER]; N] {
    std::array::from_fn(|i| {
        let row = subject.samples.row((row + i) as isize - BORDER as isize);
        row[left..].first_chunk().expect("rows hold whole strips and a border")
    })
}

/// The samples of a strip in one of `lines`, from an offset on. Lines start [`BORDER`] columns before the strip.
#[inline(always)]
fn strip(line: &[i16; STRIP + 2 * BORDER], cols: isize) -> [i16; STRIP] {
    *line[(BORDER as isize + cols) as usize..].first_chunk().expect("taps lie within the border")
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::*;

    #[target_feature(enable = "avx2")]
    pub(super) fn visit<const K: usize>(part: &mut Part, subject: &Subject, areas: &[bool], rows: Range<usize>) {
        part.visit_with::<K>(
            subject,
            areas,
            rows,
            |subject, top, left, features| fill::<K>(subject, top, left, features),
            |features, squares, lanes| accumulate::<K>(features, squares, lanes),
        );
    }

    /// As the portable one.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn fill<const K: usize>(subject: &Subject, top: usize, left: usize, features: &mut Features) {
        let lines: [_; SIDE + 2 * BORDER] = lines(subject, top, left);
        let mut centres = [_mm256_setzero_si256(); SIDE];
        let mut rows = centres;
        for row in 0..SIDE {
            centres[row] = bytemuck::cast(strip(lines[BORDER + row], 0));
            let wanted = _mm256_cvtepu8_epi16(bytemuck::cast(wanted(subject, top + row, left)));
            rows[row] = _mm256_sub_epi16(wanted, centres[row]);
        }
        features[K] = squares(rows);
        let taps = const { taps::<K>() };
        for k in 0..K {
            let (y, x) = taps[k];
            for row in 0..SIDE {
                let one = bytemuck::cast(strip(lines[((BORDER + row) as isize + y) as usize], x));
                let other = bytemuck::cast(strip(lines[((BORDER + row) as isize - y) as usize], -x));
                rows[row] = _mm256_sub_epi16(_mm256_add_epi16(one, other), _mm256_slli_epi16::<1>(centres[row]));
            }
            features[k] = squares(rows);
        }
    }

    /// From 4 rows of 16 samples to 4 squares.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn squares([a, b, c, d]: [__m256i; 4]) -> [Group; SQUARES] {
        let (upper02, upper13) = (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
        let (lower02, lower13) = (_mm256_unpacklo_epi64(c, d), _mm256_unpackhi_epi64(c, d));
        [
            bytemuck::cast(_mm256_permute2x128_si256::<0x20>(upper02, lower02)),
            bytemuck::cast(_mm256_permute2x128_si256::<0x20>(upper13, lower13)),
            bytemuck::cast(_mm256_permute2x128_si256::<0x31>(upper02, lower02)),
            bytemuck::cast(_mm256_permute2x128_si256::<0x31>(upper13, lower13)),
        ]
    }

    /// As the portable one.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn accumulate<const K: usize>(features: &Features, squares: Range<usize>, lanes: &mut Lanes) {
        match squares.len() {
            1 => add::<K, 1>(features, squares.start, lanes),
            2 => add::<K, 2>(features, squares.start, lanes),
            3 => add::<K, 3>(features, squares.start, lanes),
            _ => add::<K, 4>(features, squares.start, lanes),
        }
    }

    /// Adds the products of N squares.
    #[target_feature(enable = "avx2")]
    fn add<const K: usize, const N: usize>(features: &Features, first: usize, lanes: &mut Lanes) {
        let mut rest = &mut lanes[..];
        for i in 0..=K {
            let mut a = [_mm256_setzero_si256(); N];
            for n in 0..N {
                a[n] = bytemuck::cast(features[i][first + n]);
            }
            let (row, next) = rest.split_at_mut(i + 1);
            for (lanes, b) in row.iter_mut().zip(features) {
                let mut sum = bytemuck::cast(*lanes);
                for n in 0..N {
                    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a[n], bytemuck::cast(b[first + n])));
                }
                *lanes = bytemuck::cast(sum);
            }
            rest = next;
        }
    }
}
