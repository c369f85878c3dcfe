//! Sums over pixels of what a Gauss-Newton step of a node needs.

use super::PITCH;
use crate::kernels::simd::multiversion;

/// Sums of gx r, gy r, gx gx, gx gy and gy gy over the pixels of a node, each by its weight in the interpolation; (gx, gy) is
/// the gradient of the warped image and r its error.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NodeSums(pub [f32; TERMS]);

const TERMS: usize = 5;

type Block = [[f32; PITCH]; TERMS];

/// The same sums by columns of pixels, for a row of nodes.
pub(super) struct RowSums {
    blocks: Vec<Block>,
}

impl RowSums {
    pub fn new(width: usize) -> Self {
        Self { blocks: vec![Block::default(); width / PITCH] }
    }

    pub fn clear(&mut self) {
        self.blocks.fill(Block::default());
    }

    /// Adds a row of pixels to two rows of nodes by its weights. `lines`: the warped rows above, here and below, with one
    /// value more at either end.
    pub fn add(lines: [&Vec<f32>; 3], current: &[f32], [(a, wa), (b, wb)]: [(&mut Self, f32); 2]) {
        add_row(lines, current, &mut a.blocks, wa, &mut b.blocks, wb);
    }

    /// Sums over columns, each weighted as in the interpolation between nodes; beyond the outermost nodes these count alone.
    pub fn reduce(&self, nodes: &mut [NodeSums]) {
        nodes.fill(NodeSums::default());
        let last = nodes.len() - 1;
        for (i, block) in self.blocks.iter().enumerate() {
            for (term, values) in block.iter().enumerate() {
                let (mut left, mut here, mut right) = (0.0, 0.0, 0.0);
                for (j, value) in values.iter().enumerate() {
                    let offset = (j as f32 + 0.5) / PITCH as f32 - 0.5;
                    here += (1.0 - offset.abs()) * value;
                    left += (-offset).max(0.0) * value;
                    right += offset.max(0.0) * value;
                }
                nodes[i.saturating_sub(1)].0[term] += left;
                nodes[i].0[term] += here;
                nodes[(i + 1).min(last)].0[term] += right;
            }
        }
    }
}

multiversion! {
    fn add_row(lines: [&Vec<f32>; 3], current: &[f32], a: &mut [Block], wa: f32, b: &mut [Block], wb: f32) = add_blocks
}

#[inline(always)]
fn add_blocks(lines: [&Vec<f32>; 3], current: &[f32], a: &mut [Block], wa: f32, b: &mut [Block], wb: f32) {
    let [above, here, below] = lines;
    let blocks = current.as_chunks::<PITCH>().0.iter().zip(a.iter_mut().zip(b));
    for (i, (current, (a, b))) in blocks.enumerate() {
        let at = |line: &[f32], shift: usize| -> [f32; PITCH] {
            *line[i * PITCH + shift..].first_chunk().expect("lines are longer than the row")
        };
        let (left, middle, right) = (at(here, 0), at(here, 1), at(here, 2));
        let (above, below) = (at(above, 1), at(below, 1));
        let mut terms = Block::default();
        for j in 0..PITCH {
            let (gx, gy) = ((right[j] - left[j]) * 0.5, (below[j] - above[j]) * 0.5);
            let error = middle[j] - current[j];
            (terms[0][j], terms[1][j]) = (gx * error, gy * error);
            (terms[2][j], terms[3][j], terms[4][j]) = (gx * gx, gx * gy, gy * gy);
        }
        for (term, (a, b)) in terms.iter().zip(a.iter_mut().zip(b)) {
            for j in 0..PITCH {
                a[j] += wa * term[j];
                b[j] += wb * term[j];
            }
        }
    }
}
