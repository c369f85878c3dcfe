//! Where a cell's overlapped prediction comes from.

use crate::motion::overlap::weights;
use crate::motion::{BlockField, CELL, Leaf, MIN_LOG2, Motion};

/// Half of a cell's side: the narrowest overlap.
pub(super) const HALF: usize = CELL / 2;

/// A square of cells.
#[derive(Clone, Copy)]
pub(super) struct Square {
    pub row: usize,
    pub col: usize,
    /// Side in cells.
    pub side: usize,
}

impl Square {
    pub fn of(leaf: &Leaf) -> Self {
        Self { row: leaf.row, col: leaf.col, side: leaf.cells() }
    }

    /// Whether a cell lies in it.
    #[inline]
    pub fn holds(&self, row: usize, col: usize) -> bool {
        row.wrapping_sub(self.row) < self.side && col.wrapping_sub(self.col) < self.side
    }
}

/// What a neighbour's vector adds to half of a cell: rows or columns 0..4 or 4..8.
#[derive(Clone, Copy, Default)]
pub(super) struct Side {
    pub motion: Motion,
    /// The neighbour lies in the open square.
    pub open: bool,
    /// All 0 where no neighbour reaches.
    pub weights: [u8; HALF],
}

/// All that predicts one cell. The vectors in an open square are not known yet.
pub(super) struct Sources {
    pub motion: Motion,
    pub open: bool,
    /// Above or below, for both halves of the rows.
    pub vertical: [Side; 2],
    /// Left or right, for both halves of the columns.
    pub horizontal: [Side; 2],
}

/// Weights of half a cell, by the binary logarithm of the overlap less 2, the distance of its nearest sample from the edge in
/// halves of a cell, and whether the edge is the far one.
const RAMPS: [[[[u8; HALF]; 2]; 8]; 4] = {
    let mut ramps = [[[[0; HALF]; 2]; 8]; 4];
    let mut i = 0;
    while i < 4 * 8 * HALF {
        let (overlap, at) = (4 << (i / (8 * HALF)), i % (8 * HALF));
        if at < overlap {
            let weight = weights(overlap)[at];
            ramps[i / (8 * HALF)][at / HALF][0][at % HALF] = weight;
            ramps[i / (8 * HALF)][at / HALF][1][HALF - 1 - at % HALF] = weight;
        }
        i += 1;
    }
    ramps
};

impl Sources {
    #[inline]
    pub fn of(field: &BlockField, open: Option<Square>, row: usize, col: usize) -> Self {
        let log2 = field.log2(row, col);
        let n = 1 << (log2 - MIN_LOG2);
        let (top, left) = (row & !(n - 1), col & !(n - 1));
        let holds = |row, col| open.is_some_and(|open| open.holds(row, col));
        // Of two halves that begin `distance` half cells from the neighbour's edge.
        let sides = |sides: &mut [Side], (r, c): (usize, usize), distance: usize, far: bool| {
            let overlap = usize::from(log2.min(field.log2(r, c)) - MIN_LOG2);
            let last = sides.len() - 1;
            for (half, side) in sides.iter_mut().enumerate() {
                let distance = distance + if far { last - half } else { half };
                let weights = RAMPS[overlap][distance & 7][usize::from(far)];
                *side = Side { motion: field.motion(r, c), open: weights != [0; HALF] && holds(r, c), weights };
            }
        };
        let mut vertical = [Side::default(); 2];
        let mut horizontal = [Side::default(); 2];
        if n == 1 {
            // A neighbour at each edge.
            if row > 0 {
                sides(&mut vertical[..1], (row - 1, col), 0, false);
            }
            if row + 1 < field.rows() {
                sides(&mut vertical[1..], (row + 1, col), 0, true);
            }
            if col > 0 {
                sides(&mut horizontal[..1], (row, col - 1), 0, false);
            }
            if col + 1 < field.cols() {
                sides(&mut horizontal[1..], (row, col + 1), 0, true);
            }
        } else {
            // Overlaps reach half of the leaf: only the nearer edge counts.
            let (down, across) = (row - top, col - left);
            if 2 * down < n {
                if top > 0 {
                    sides(&mut vertical, (top - 1, col), 2 * down, false);
                }
            } else if top + n < field.rows() {
                sides(&mut vertical, (top + n, col), 2 * (n - 1 - down), true);
            }
            if 2 * across < n {
                if left > 0 {
                    sides(&mut horizontal, (row, left - 1), 2 * across, false);
                }
            } else if left + n < field.cols() {
                sides(&mut horizontal, (row, left + n), 2 * (n - 1 - across), true);
            }
        }
        Self { motion: field.motion(row, col), open: holds(row, col), vertical, horizontal }
    }

    /// Whether the open square's vector takes part with a weight of `least` anywhere.
    #[inline]
    pub fn is_open(&self, least: u8) -> bool {
        let strong = |side: &Side| side.open && side.weights[0].max(side.weights[HALF - 1]) >= least;
        self.open
            || strong(&self.vertical[0])
            || strong(&self.vertical[1])
            || strong(&self.horizontal[0])
            || strong(&self.horizontal[1])
    }
}
