//! Cubic convolution along a row of displacements.

use super::source::Source;
use crate::kernels::simd::{multiversion, whole_to_u32};

/// Samples that are worked on together; rows are multiples of it.
const CHUNK: usize = 16;

multiversion! {
    /// Interpolates the source at (x + dx, row + dy) for each x of a row with the kernel's parameter `a`, and clamps to
    /// -0.5..=0.5.
    pub(crate) fn warp_row(source: &Source, a: f32, row: usize, dx: &[f32], dy: &[f32], out: &mut [f32]) = warp_chunks
}

#[inline(always)]
fn warp_chunks(source: &Source, a: f32, row: usize, dx: &[f32], dy: &[f32], out: &mut [f32]) {
    let chunks = dx.as_chunks::<CHUNK>().0.iter().zip(dy.as_chunks::<CHUNK>().0);
    for (i, (out, (dx, dy))) in out.as_chunks_mut::<CHUNK>().0.iter_mut().zip(chunks).enumerate() {
        warp_chunk(source, a, (i * CHUNK, row), dx, dy, out);
    }
}

#[inline(always)]
fn warp_chunk(source: &Source, a: f32, (col, row): (usize, usize), dx: &[f32; CHUNK], dy: &[f32; CHUNK], out: &mut [f32; CHUNK]) {
    let (mut index, mut wx, mut wy) = ([0u32; CHUNK], [[0f32; CHUNK]; 4], [[0f32; CHUNK]; 4]);
    for i in 0..CHUNK {
        let (left, tx) = split(dx[i] + (col as f32 + i as f32), source.width);
        let (top, ty) = split(dy[i] + row as f32, source.height);
        // The first of the four taps lies one before.
        index[i] = (top - 1) * source.stride as u32 + left - 1;
        let (x, y) = (weights(a, tx), weights(a, ty));
        for k in 0..4 {
            wx[k][i] = x[k];
            wy[k][i] = y[k];
        }
    }
    let mut columns = [[0f32; 4]; CHUNK];
    for (i, column) in columns.iter_mut().enumerate() {
        let first = &source.data[index[i] as usize..];
        let taps = |row: usize| -> &[f32; 4] { first[row * source.stride..].first_chunk().expect("the border holds all taps") };
        let [a, b, c, d] = [taps(0), taps(1), taps(2), taps(3)];
        for j in 0..4 {
            column[j] = (wy[0][i] * a[j] + wy[1][i] * b[j]) + (wy[2][i] * c[j] + wy[3][i] * d[j]);
        }
    }
    for i in 0..CHUNK {
        let column = columns[i];
        let sum = (wx[0][i] * column[0] + wx[1][i] * column[1]) + (wx[2][i] * column[2] + wx[3][i] * column[3]);
        out[i] = sum.clamp(-0.5, 0.5);
    }
}

/// Row or column in the source's memory, at least 1, and the fraction beyond it.
#[inline(always)]
fn split(position: f32, size: usize) -> (u32, f32) {
    let outside = Source::NEAREST_OUTSIDE;
    let inside = position.clamp(-outside, size as f32 - 1.0 + outside) + Source::ORIGIN as f32;
    let whole = inside.floor();
    (whole_to_u32(whole), inside - whole)
}

/// Weights of the samples at -1, 0, 1 and 2 for a position in 0..1.
#[inline(always)]
fn weights(a: f32, t: f32) -> [f32; 4] {
    let near = |t: f32| ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0;
    let far = |t: f32| ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}
