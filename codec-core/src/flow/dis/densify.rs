//! From patches to pixels.

use super::DenseField;
use super::patch::{SIDE, Sampler, row_of};
use super::pyramid::Level;
use super::search::{Grid, position};
use crate::kernels::simd::multiversion;

multiversion! {
    /// Averages the displacements of the patches over each pixel, weighted by 1 / max(1, absolute difference) of what
    /// they make of it (Kroeger et al., equation 3). `field` is all zeros on entry.
    pub(super) fn densify(field: &mut DenseField, grid: &Grid, current: &Level, previous: &Level) = densify_all
}

#[inline(always)]
fn densify_all(field: &mut DenseField, grid: &Grid, current: &Level, previous: &Level) {
    for (i, &(u, v)) in grid.flow.iter().enumerate() {
        let (x, y) = position(i % grid.cols, i / grid.cols, current);
        let sample = Sampler::new(previous, x as f32 + u, y as f32 + v);
        let mut upper = sample.row(0);
        for row in 0..SIDE {
            let lower = sample.row(row + 1);
            let target = row_of(current, x as isize, (y + row) as isize);
            let start = (y + row) * field.width + x;
            let sums = [&mut field.x, &mut field.y, &mut field.weight];
            let [fx, fy, fw] = sums.map(|s| s[start..].first_chunk_mut::<SIDE>().expect("patches lie inside"));
            for j in 0..SIDE {
                let difference = upper[j] + sample.fy * (lower[j] - upper[j]) - target[j];
                let weight = 1.0 / difference.abs().max(1.0);
                fx[j] += weight * u;
                fy[j] += weight * v;
                fw[j] += weight;
            }
            upper = lower;
        }
    }
    for ((x, y), weight) in field.x.iter_mut().zip(&mut field.y).zip(&field.weight) {
        let scale = 1.0 / weight;
        *x *= scale;
        *y *= scale;
    }
}
