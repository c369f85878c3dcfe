//! Second moments of what a filter has to work with: all that least squares needs to know about a class.
//!
//! The features of a sample are, for each pair of taps, the pair's sum minus twice the centre, and last the error that the filter should
//! make up for, original minus decoded.

use super::classes::ClassMap;
use super::diamond::taps;
use super::params::{AREA, FRACTION_BITS, Set, area_grid};
use super::samples::{BORDER, Samples};
use crate::frame::Plane;

/// Samples whose products are summed at once: a group of whole rows of a block.
const GROUP: usize = 16;
const LANES: usize = GROUP / 2;
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

/// Gathers the moments of all classes of a plane in integers.
#[derive(Clone, Debug, Default)]
pub(super) struct Gatherer {
    lanes: Vec<[i32; LANES]>,
    totals: Vec<i64>,
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
    /// The moments of each class over the areas that are on.
    pub fn gather<const K: usize>(&mut self, subject: &Subject, classes: usize, areas: &[bool]) -> Vec<Moments<K>> {
        let products = (K + 1) * (K + 2) / 2;
        self.lanes.clear();
        self.lanes.resize(classes * products, [0; LANES]);
        self.totals.clear();
        self.totals.resize(classes * products, 0);
        self.groups.clear();
        self.groups.resize(classes, 0);
        self.visit::<K>(subject, areas);
        (0..classes)
            .map(|class| {
                self.flush(class, products);
                let mut totals = self.totals[class * products..][..products].iter().map(|&total| total as f64);
                let mut moments = Moments::default();
                for i in 0..K {
                    for j in 0..=i {
                        let total = totals.next().unwrap_or_default();
                        (moments.pairs[i][j], moments.pairs[j][i]) = (total, total);
                    }
                }
                moments.error.iter_mut().zip(&mut totals).for_each(|(error, total)| *error = total);
                moments.squares = totals.next().unwrap_or_default();
                moments
            })
            .collect()
    }

    fn flush(&mut self, class: usize, products: usize) {
        let range = class * products..(class + 1) * products;
        for (lanes, total) in self.lanes[range.clone()].iter_mut().zip(&mut self.totals[range]) {
            *total += lanes.iter().map(|&sum| i64::from(sum)).sum::<i64>();
            *lanes = [0; LANES];
        }
        self.groups[class] = 0;
    }

    fn visit<const K: usize>(&mut self, subject: &Subject, areas: &[bool]) {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2")]
            fn wide<const K: usize>(gatherer: &mut Gatherer, subject: &Subject, areas: &[bool]) {
                gatherer.visit_with::<K>(subject, areas, |features, lanes| x86::accumulate::<K>(features, lanes));
            }
            if std::arch::is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has the instructions that `wide` was compiled for.
                return unsafe { wide::<K>(self, subject, areas) };
            }
        }
        self.visit_with::<K>(subject, areas, accumulate);
    }

    #[inline(always)]
    fn visit_with<const K: usize>(
        &mut self,
        subject: &Subject,
        areas: &[bool],
        accumulate: impl Fn(&[[i16; GROUP]], &mut [[i32; LANES]]),
    ) {
        let products = (K + 1) * (K + 2) / 2;
        let (width, height) = (subject.samples.width(), subject.samples.height());
        let (area_cols, _) = area_grid(width, height);
        let mut features = vec![[0; GROUP]; K + 1];
        // Squares of 4x4 samples; all of one are of one class.
        for top in (0..height).step_by(4) {
            let classes = subject.classes.row(top / subject.block);
            for left in (0..width).step_by(4) {
                if !areas[top / AREA * area_cols + left / AREA] {
                    continue;
                }
                let class = usize::from(classes[left / subject.block]);
                fill::<K>(subject, top, left, &mut features);
                if self.groups[class] == FLUSH {
                    self.flush(class, products);
                }
                self.groups[class] += 1;
                accumulate(&features, &mut self.lanes[class * products..][..products]);
            }
        }
    }
}

/// Features of a square of 4x4 samples. Those beyond the visible part are 0.
#[inline(always)]
fn fill<const K: usize>(subject: &Subject, top: usize, left: usize, features: &mut [[i16; GROUP]]) {
    let mut target = [0; GROUP];
    const SIDE: usize = 4;
    let samples = subject.samples;
    let taps = const { taps::<K>() };
    for row in 0..SIDE {
        let line = |offset: isize| &samples.row((top + row) as isize + offset)[BORDER + left - BORDER..][..SIDE + 2 * BORDER];
        let at = |(y, x): (isize, isize)| -> [i16; SIDE] {
            *line(y)[(BORDER as isize + x) as usize..].first_chunk().expect("taps lie within the border")
        };
        let centre = at((0, 0));
        for k in 0..K {
            let (y, x) = taps[k];
            let (one, other) = (at((y, x)), at((-y, -x)));
            for i in 0..SIDE {
                features[k][row * SIDE + i] = one[i] + other[i] - 2 * centre[i];
            }
        }
        let wanted = if top + row < samples.height() { &subject.original.row(top + row)[left..] } else { &[] };
        for i in 0..SIDE {
            let visible = left + i < samples.width() && top + row < samples.height();
            target[row * SIDE + i] = if visible { i16::from(wanted[i]) - centre[i] } else { 0 };
            if !visible {
                features.iter_mut().for_each(|feature| feature[row * SIDE + i] = 0);
            }
        }
    }
    features[K] = target;
}

/// Adds the products of all features with those up to themselves.
#[inline(always)]
fn accumulate(features: &[[i16; GROUP]], lanes: &mut [[i32; LANES]]) {
    let mut lanes = lanes.iter_mut();
    for (i, a) in features.iter().enumerate() {
        for b in &features[..=i] {
            if let Some(lanes) = lanes.next() {
                for (l, sum) in lanes.iter_mut().enumerate() {
                    *sum += i32::from(a[2 * l]) * i32::from(b[2 * l]) + i32::from(a[2 * l + 1]) * i32::from(b[2 * l + 1]);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{GROUP, LANES};

    /// As the portable one.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn accumulate<const K: usize>(features: &[[i16; GROUP]], lanes: &mut [[i32; LANES]]) {
        let load = |k: usize| -> __m256i { bytemuck::cast(features[k]) };
        let mut lanes = lanes.iter_mut();
        for i in 0..=K {
            let a = load(i);
            for j in 0..=i {
                if let Some(lanes) = lanes.next() {
                    let product = _mm256_madd_epi16(a, load(j));
                    *lanes = bytemuck::cast(_mm256_add_epi32(bytemuck::cast(*lanes), product));
                }
            }
        }
    }
}
