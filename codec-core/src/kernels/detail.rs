//! Two bands of detail of a plane, amplified by coarse maps of strengths.

use super::simd::multiversion;
use super::upsample::{Component, UpsampledRow};

/// Rows that a row depends on.
const TAPS: usize = 5;
/// Bands of detail.
pub const BANDS: usize = 2;

/// Bands of a guide times their strengths, row after row.
pub(super) struct Detail<'a> {
    width: usize,
    height: usize,
    strengths: &'a [Component; BANDS],
    weights: [UpsampledRow; BANDS],
    /// The last rows of the guide, row r at r modulo [`TAPS`].
    ring: Vec<f32>,
    sums: [Vec<f32>; BANDS],
    /// The next row of the guide to be read.
    read: usize,
}

impl<'a> Detail<'a> {
    /// Of a plane of the given size, from row `first` on.
    pub fn new(width: usize, height: usize, first: usize, strengths: &'a [Component; BANDS]) -> Self {
        Self {
            width,
            height,
            strengths,
            weights: [(); BANDS].map(|()| UpsampledRow::new(width)),
            ring: vec![0.0; TAPS * width],
            sums: [(); BANDS].map(|()| vec![0.0; width + TAPS - 1]),
            read: first.saturating_sub(TAPS / 2),
        }
    }

    /// Adds the next row to `line`. `guide` writes a row; it is asked for each once, in order.
    pub fn add(&mut self, row: usize, mut guide: impl FnMut(usize, &mut [f32]), line: &mut [f32]) {
        let (width, height) = (self.width, self.height);
        let end = (row + TAPS / 2 + 1).min(height);
        for source in self.read..end {
            guide(source, &mut self.ring[source % TAPS * width..][..width]);
        }
        self.read = end;
        for (weight, strength) in self.weights.iter_mut().zip(self.strengths) {
            weight.sample(strength, row);
        }
        let around = |offset: usize| {
            let row = (row + offset).saturating_sub(TAPS / 2).min(height - 1);
            &self.ring[row % TAPS * width..][..width]
        };
        let weights = self.weights.each_ref().map(UpsampledRow::values);
        add_bands([0, 1, 2, 3, 4].map(around), weights, &mut self.sums, line);
    }
}

multiversion! {
    fn add_bands(lines: [&[f32]; TAPS], weights: [&[f32]; BANDS], sums: &mut [Vec<f32>; BANDS], out: &mut [f32]) = amplify
}

/// `sums` have room for the line and two more at each end.
#[inline(always)]
fn amplify(lines: [&[f32]; TAPS], weights: [&[f32]; BANDS], sums: &mut [Vec<f32>; BANDS], out: &mut [f32]) {
    let width = out.len();
    let [a, b, c, d, e] = lines.map(|line| &line[..width]);
    let [narrow, wide] = sums;
    let (inner3, inner5) = (&mut narrow[2..][..width], &mut wide[2..][..width]);
    for i in 0..width {
        inner3[i] = (b[i] + d[i]) + 2.0 * c[i];
        inner5[i] = (a[i] + e[i]) + 4.0 * (b[i] + d[i]) + 6.0 * c[i];
    }
    for sums in [&mut *narrow, &mut *wide] {
        let (first, last) = (sums[2], sums[width + 1]);
        sums[..2].fill(first);
        sums[width + 2..].fill(last);
    }
    let [na, nb, nc] = [1, 2, 3].map(|k| &narrow[k..][..width]);
    let [wa, wb, wc, wd, we] = [0, 1, 2, 3, 4].map(|k| &wide[k..][..width]);
    let [fine, coarse] = weights.map(|w| &w[..width]);
    for i in 0..width {
        let blur3 = ((na[i] + nc[i]) + 2.0 * nb[i]) * (1.0 / 16.0);
        let blur5 = ((wa[i] + we[i]) + 4.0 * (wb[i] + wd[i]) + 6.0 * wc[i]) * (1.0 / 256.0);
        out[i] += fine[i] * (c[i] - blur3) + coarse[i] * (blur3 - blur5);
    }
}
