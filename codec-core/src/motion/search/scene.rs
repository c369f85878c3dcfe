//! Whether a picture is worth predicting: what prediction leaves, against what the picture holds.

use super::hierarchy::Hierarchy;
use super::surface::Surface;
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
                    let half = |v: i16| i32::from(v + 4 >> 3);
                    let prediction = samples(reference, x as i32 + half(vector.x), y as i32 + half(vector.y));
                    satd(&std::array::from_fn(|i| block[i] - prediction[i]))
                };
                inter += candidates.into_iter().flatten().map(residual).min().expect("at least one");
                intra += satd(&block);
            }
        }
        (inter, intra)
    }
}

fn samples(surface: &Surface, x: i32, y: i32) -> [i16; SIDE * SIDE] {
    let block = surface.block(x, y);
    std::array::from_fn(|i| i16::from(block[i / SIDE * surface.stride + i % SIDE]))
}

/// Sum of the absolute values of the Hadamard transform of 8x8 values, without the first.
fn satd(values: &[i16; SIDE * SIDE]) -> u64 {
    let mut v = *values;
    for (step, stride) in [(1, SIDE), (SIDE, 1)] {
        for line in 0..SIDE {
            for half in [1, 2, 4] {
                for i in 0..SIDE {
                    if i & half == 0 {
                        let (a, b) = (line * stride + i * step, line * stride + (i + half) * step);
                        (v[a], v[b]) = (v[a] + v[b], v[a] - v[b]);
                    }
                }
            }
        }
    }
    v[1..].iter().map(|v| u64::from(v.unsigned_abs())).sum()
}
