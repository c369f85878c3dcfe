//! DCTs of 16, 8 and 4 samples in integers.

use std::sync::LazyLock;

use crate::architecture::linear::wave;

/// Fractional bits of the functions.
const BITS: u32 = 11;
/// Fractional bits that values have between the two dimensions, beside their own.
const BETWEEN: u32 = 2;

/// `[frequency][sample]` of each side, and the other way round.
struct Functions {
    forward: [Vec<i32>; 3],
    back: [Vec<i32>; 3],
}

static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| {
    let value = |side: usize, k: usize, x: usize| (wave(side, k, x) * f64::from(1 << BITS)).round() as i32;
    let matrix = |side: usize, turned: bool| {
        let at = |i: usize| if turned { value(side, i % side, i / side) } else { value(side, i / side, i % side) };
        (0..side * side).map(at).collect()
    };
    Functions { forward: [16, 8, 4].map(|side| matrix(side, false)), back: [16, 8, 4].map(|side| matrix(side, true)) }
});

#[inline(always)]
fn of_side(matrices: &[Vec<i32>; 3], side: usize) -> &[i32] {
    match side {
        16 => &matrices[0],
        8 => &matrices[1],
        _ => &matrices[2],
    }
}

/// Coefficients of a square of `side` samples (16, 8 or 4), row by row, in place.
#[inline(always)]
pub fn forward(block: &mut [i32], side: usize) {
    both(of_side(&FUNCTIONS.forward, side), block, side);
}

/// Samples of a square of coefficients, in place.
#[inline(always)]
pub fn back(block: &mut [i32], side: usize) {
    both(of_side(&FUNCTIONS.back, side), block, side);
}

#[inline(always)]
fn both(matrix: &[i32], block: &mut [i32], side: usize) {
    match side {
        16 => both_of::<16>(matrix, block),
        8 => both_of::<8>(matrix, block),
        _ => both_of::<4>(matrix, block),
    }
}

/// M B M^T. Wraps around where an absurd stream leaves 32 bits, on all machines alike.
#[inline(always)]
fn both_of<const N: usize>(matrix: &[i32], block: &mut [i32]) {
    let mut between = [[0i32; N]; N];
    half::<N, { BITS - BETWEEN }>(matrix, block, &mut between);
    let flat = between;
    let mut out = [[0i32; N]; N];
    half::<N, { BITS + BETWEEN }>(matrix, flat.as_flattened(), &mut out);
    block[..N * N].copy_from_slice(out.as_flattened());
}

/// M B, rounded and transposed.
#[inline(always)]
fn half<const N: usize, const SHIFT: u32>(matrix: &[i32], block: &[i32], out: &mut [[i32; N]; N]) {
    for (i, functions) in matrix.chunks_exact(N).enumerate() {
        let mut sums = [1i32 << (SHIFT - 1); N];
        for (&factor, line) in functions.iter().zip(block.chunks_exact(N)) {
            for (sum, &value) in sums.iter_mut().zip(line) {
                *sum = sum.wrapping_add(factor.wrapping_mul(value));
            }
        }
        for (line, sum) in out.iter_mut().zip(sums) {
            line[i] = sum >> SHIFT;
        }
    }
}
