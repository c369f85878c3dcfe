//! Where neighbours' vectors blend into a root: strips along the edges of leaves.

use crate::motion::{BlockField, CELL, MotionVector, ROOT, overlap};

/// Cells along a root's side.
pub(super) const CELLS: usize = ROOT / CELL;

/// Which sides of the leaves a pass blends at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// The first pass: upper and lower sides.
    Vertical,
    /// The second pass: left and right sides.
    Horizontal,
}

/// Some cells of a root along one edge, which the same vector from across the edge blends into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strip {
    /// Upper left corner within the root and size, in luma samples.
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
    /// The neighbours' vector.
    pub vector: MotionVector,
    /// Depth of the strip in luma samples: its height in the first pass, its width in the second one.
    pub overlap: usize,
    /// The edge is the lower or the right one.
    pub far: bool,
}

/// Calls `work` for all strips of a pass inside the root whose first cell is (`row`, `col`).
///
/// Leaves need not be known: cells with different vectors are in different leaves. A strip reaches at most half into its leaf, so
/// those of one pass are disjoint, and their order does not matter.
pub(super) fn strips(field: &BlockField, row: usize, col: usize, pass: Pass, mut work: impl FnMut(Strip)) {
    // Cells are addressed across and along the edges.
    let turn = |across: usize, along: usize| match pass {
        Pass::Vertical => (across, along),
        Pass::Horizontal => (along, across),
    };
    let (first, start) = turn(row, col);
    let (end, _) = turn(field.rows(), field.cols());
    for far in [false, true] {
        for across in first..first + CELLS {
            let neighbour = if far { across + 1 } else { across.wrapping_sub(1) };
            if neighbour >= end {
                continue;
            }
            let found = |along: usize| {
                let (own, other) = (turn(across, along), turn(neighbour, along));
                let vector = field.vector(other.0, other.1);
                let log2 = field.log2(own.0, own.1).min(field.log2(other.0, other.1));
                (vector != field.vector(own.0, own.1)).then_some((vector, 1 << (log2 - 1)))
            };
            let mut along = start;
            while along < start + CELLS {
                let from = along;
                let run = found(from);
                along += 1;
                let Some((vector, overlap)) = run else { continue };
                while along < start + CELLS && found(along) == run {
                    along += 1;
                }
                let edge = (across - first) * CELL;
                let near = if far { edge + CELL - overlap } else { edge };
                let (y, x) = turn(near, (from - start) * CELL);
                let (height, width) = turn(overlap, (along - from) * CELL);
                work(Strip { x, y, width, height, vector, overlap, far });
            }
        }
    }
}

/// Weights across a strip, from its upper or left end on, filled up with zeros.
pub(super) type Ramp = [i16; 32];

/// The ramp for an overlap of `overlap` samples, each weight repeated `S` times; `far` turns it round.
pub(super) fn ramp<const S: usize>(overlap: usize, far: bool) -> &'static Ramp {
    const fn make(overlap: usize, repeat: usize, far: bool) -> Ramp {
        let mut ramp = [0; 32];
        let weights = overlap::weights(overlap);
        let mut i = 0;
        while i < overlap * repeat {
            let distance = if far { overlap - 1 - i / repeat } else { i / repeat };
            ramp[i] = weights[distance] as i16;
            i += 1;
        }
        ramp
    }
    const fn all(repeat: usize) -> [[Ramp; 2]; 5] {
        let mut ramps = [[[0; 32]; 2]; 5];
        let mut i = 0;
        // Repeated weights belong to chroma, whose overlaps end at 16.
        while i < 6 - repeat {
            ramps[i] = [make(2 << i, repeat, false), make(2 << i, repeat, true)];
            i += 1;
        }
        ramps
    }
    static ONCE: [[Ramp; 2]; 5] = all(1);
    static TWICE: [[Ramp; 2]; 5] = all(2);
    let ramps = if S == 1 { &ONCE } else { &TWICE };
    &ramps[overlap.ilog2() as usize - 1][usize::from(far)]
}
