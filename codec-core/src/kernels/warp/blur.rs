//! Blur steered by sigma.

use super::TAPS;
use crate::kernels::simd::multiversion;

multiversion! {
    /// out = line + sigma * (blurred - line) for the middle of five lines, blurred by [1, 4, 6, 4, 1] / 16 both ways with
    /// its ends repeated. `sums` has room for the line and two more at each end.
    pub(super) fn blur_row(lines: [&[f32]; TAPS], sigma: &[f32], sums: &mut [f32], out: &mut [f32]) = blur
}

#[inline(always)]
fn taps(a: f32, b: f32, c: f32, d: f32, e: f32) -> f32 {
    (a + e) + 4.0 * (b + d) + 6.0 * c
}

#[inline(always)]
fn blur(lines: [&[f32]; TAPS], sigma: &[f32], sums: &mut [f32], out: &mut [f32]) {
    let width = out.len();
    let [a, b, c, d, e] = lines.map(|line| &line[..width]);
    let inner = &mut sums[2..][..width];
    for i in 0..width {
        inner[i] = taps(a[i], b[i], c[i], d[i], e[i]);
    }
    let (first, last) = (sums[2], sums[width + 1]);
    sums[..2].fill(first);
    sums[width + 2..].fill(last);
    let [sa, sb, sc, sd, se] = [0, 1, 2, 3, 4].map(|k| &sums[k..][..width]);
    let sigma = &sigma[..width];
    for i in 0..width {
        let blurred = taps(sa[i], sb[i], sc[i], sd[i], se[i]) * (1.0 / 256.0);
        out[i] = c[i] + sigma[i] * (blurred - c[i]);
    }
}
