//! Whether a picture is worth predicting: what prediction leaves, against what the picture holds.

use super::hierarchy::Hierarchy;
use super::surface::Surface;
use crate::kernels::simd::multiversion;
use crate::motion::{BlockField, CELL, MotionVector};

/// Side of the blocks that are compared, at half the size.
const SIDE: usize = 8;

/// Compares prediction with its absence, block by block.
#[derive(Default)]
pub(super) struct Scene {}

impl Scene {
    /// (inter, intra): sums over the visible part, which a block must lie in by at least half.
    pub fn costs(&mut self, hierarchy: &Hierarchy, field: &BlockField, previous: Option<&BlockField>) -> (u64, u64) {
        let (current, reference) = hierarchy.halves();
        let (mut inter, mut intra) = (0, 0);
        for y in (0..current.height).step_by(SIDE) {
            for x in (0..current.width).step_by(SIDE) {
                let block = samples(current, x as i32, y as i32);
                // The largest of the four leaves' places would do as well: it is one vector for 16x16 luma samples.
                let (row, col) = (2 * y / CELL, 2 * x / CELL);
                let at = |field: &BlockField| field.vector(row.min(field.rows() - 1), col.min(field.cols() - 1));
                let candidates = [Some(at(field)), previous.map(at), Some(MotionVector::default())];
                let residual = |vector: MotionVector| {
                    let half = |v: i16| i32::from((v + 4) >> 3);
                    let prediction = samples(reference, x as i32 + half(vector.x), y as i32 + half(vector.y));
                    let mut sum = 0;
                    satd(&std::array::from_fn(|i| block[i] - prediction[i]), &mut sum);
                    sum
                };
                inter += candidates.into_iter().flatten().map(residual).min().expect("at least one");
                satd(&block, &mut intra);
            }
        }
        (inter, intra)
    }
}

fn samples(surface: &Surface, x: i32, y: i32) -> [i16; SIDE * SIDE] {
    let block = surface.block(x, y);
    std::array::from_fn(|i| i16::from(block[i / SIDE * surface.stride + i % SIDE]))
}

multiversion! {
    /// Sum of the absolute values of the Hadamard transform of 8x8 values, without the first.
    fn satd(values: &[i16; SIDE * SIDE], sum: &mut u64) = satd_any
}

#[inline(always)]
fn satd_any(values: &[i16; SIDE * SIDE], sum: &mut u64) {
    let mut v = *values;
    // Along columns, turned, along columns again: the sum does not mind that the result is turned.
    for _ in 0..2 {
        for half in [1, 2, 4] {
            for row in (0..SIDE).filter(|row| row & half == 0) {
                for col in 0..SIDE {
                    let (a, b) = (v[row * SIDE + col], v[(row + half) * SIDE + col]);
                    v[row * SIDE + col] = a + b;
                    v[(row + half) * SIDE + col] = a - b;
                }
            }
        }
        v = std::array::from_fn(|i| v[i % SIDE * SIDE + i / SIDE]);
    }
    *sum += v.iter().map(|v| u64::from(v.unsigned_abs())).sum::<u64>() - u64::from(v[0].unsigned_abs());
}
