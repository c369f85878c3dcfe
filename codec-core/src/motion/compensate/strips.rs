//! Where neighbours' vectors blend into a root: strips along the edges of leaves.

use crate::motion::{BlockField, CELL, Golden, Motion, MotionVector, ROOT, overlap};

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
    /// The neighbours' motion.
    pub motion: Motion,
    /// Depth of the strip in luma samples: its height in the first pass, its width in the second one.
    pub overlap: usize,
    /// The edge is the lower or the right one.
    pub far: bool,
}

/// The cells of a root and those around it.
pub(super) struct Cells {
    /// By the pass: positions across the edges, then along them.
    motion: [[[u64; CELLS + 2]; CELLS + 2]; 2],
    log2: [[[u8; CELLS + 2]; CELLS + 2]; 2],
}

impl Cells {
    /// The root whose first cell is (`row`, `col`). Beyond the frame, cells repeat those at its edge, which keeps that edge free
    /// of strips.
    ///
    /// `golden`: whether there is a golden frame; without one, all cells move as their vectors to the last frame say.
    pub fn new(field: &BlockField, golden: bool, row: usize, col: usize) -> Self {
        let mut cells = Self { motion: [[[0; CELLS + 2]; CELLS + 2]; 2], log2: [[[0; CELLS + 2]; CELLS + 2]; 2] };
        let inside = |first: usize, i: usize, end: usize| (first + i).saturating_sub(1).min(end - 1);
        for i in 0..CELLS + 2 {
            let row = inside(row, i, field.rows());
            for j in 0..CELLS + 2 {
                let col = inside(col, j, field.cols());
                let (motion, log2) = (pack(field.motion_with(golden, row, col)), field.log2(row, col));
                (cells.motion[0][i][j], cells.motion[1][j][i]) = (motion, motion);
                (cells.log2[0][i][j], cells.log2[1][j][i]) = (log2, log2);
            }
        }
        cells
    }

    /// Calls `work` for all rectangles of the root with one motion: first row, first column, rows, columns, in cells.
    pub fn rectangles(&self, mut work: impl FnMut([usize; 4], Motion)) {
        let mut done = [[false; CELLS]; CELLS];
        for (row, col) in (0..CELLS * CELLS).map(|cell| (cell / CELLS, cell % CELLS)) {
            if done[row][col] {
                continue;
            }
            let cells = &self.motion[0];
            let motion = cells[row + 1][col + 1];
            let ours =
                |done: &[[bool; CELLS]; CELLS], row: usize, col: usize| !done[row][col] && cells[row + 1][col + 1] == motion;
            let right = (col + 1..CELLS).find(|&col| !ours(&done, row, col)).unwrap_or(CELLS);
            let bottom = (row + 1..CELLS).find(|&row| !(col..right).all(|col| ours(&done, row, col))).unwrap_or(CELLS);
            for line in &mut done[row..bottom] {
                line[col..right].fill(true);
            }
            work([row, col, bottom - row, right - col], unpack(motion));
        }
    }

    /// Calls `work` for all strips of a pass.
    ///
    /// Leaves need not be known: cells with different motion are in different leaves. A strip reaches at most half into its leaf,
    /// so those of one pass are disjoint, and their order does not matter.
    pub fn strips(&self, pass: Pass, mut work: impl FnMut(Strip)) {
        let (motion, log2) = (&self.motion[pass as usize], &self.log2[pass as usize]);
        for far in [false, true] {
            for across in 1..=CELLS {
                let neighbour = if far { across + 1 } else { across - 1 };
                let (own, other) = (&motion[across], &motion[neighbour]);
                let (own_log2, other_log2) = (&log2[across], &log2[neighbour]);
                // The smaller leaf's size; 0 where the neighbour moves alike.
                let sizes: [u8; CELLS] = std::array::from_fn(|i| {
                    let smaller = own_log2[i + 1].min(other_log2[i + 1]);
                    if own[i + 1] == other[i + 1] { 0 } else { smaller }
                });
                if sizes == [0; CELLS] {
                    continue;
                }
                // One bit where a run of equal cells begins.
                let begins = |i: usize| sizes[i] != sizes[i - 1] || other[i + 1] != other[i];
                let mut starts = (1..CELLS).fold(1u32 | 1 << CELLS, |starts, i| starts | u32::from(begins(i)) << i);
                while starts.count_ones() > 1 {
                    let from = starts.trailing_zeros() as usize;
                    starts &= starts - 1;
                    if sizes[from] == 0 {
                        continue;
                    }
                    let len = starts.trailing_zeros() as usize - from;
                    let overlap = 1 << (sizes[from] - 1);
                    let near = if far { across * CELL - overlap } else { (across - 1) * CELL };
                    let (y, x, height, width) = match pass {
                        Pass::Vertical => (near, from * CELL, overlap, len * CELL),
                        Pass::Horizontal => (from * CELL, near, len * CELL, overlap),
                    };
                    work(Strip { x, y, width, height, motion: unpack(other[from + 1]), overlap, far });
                }
            }
        }
    }
}

/// Bits of a vector's component: [`MAX_COMPONENT`](crate::motion::MAX_COMPONENT) needs no more.
const BITS: u32 = 14;

/// Motion as one number, which is compared faster.
fn pack(motion: Motion) -> u64 {
    let component = |v: i16| u64::from(v as u16) & ((1 << BITS) - 1);
    let vector = |v: MotionVector| component(v.x) << BITS | component(v.y);
    let (mode, golden) = match motion.golden {
        Golden::Unused => (0, 0),
        Golden::Mixed(v) => (1, vector(v)),
        Golden::Alone(v) => (2, vector(v)),
    };
    mode << (4 * BITS) | golden << (2 * BITS) | vector(motion.vector)
}

fn unpack(motion: u64) -> Motion {
    // The shifts bring the sign along.
    let component = |at: u32| ((motion >> (at * BITS)) as i16) << (16 - BITS) >> (16 - BITS);
    let vector = |at: u32| MotionVector { x: component(at + 1), y: component(at) };
    let golden = match motion >> (4 * BITS) {
        0 => Golden::Unused,
        1 => Golden::Mixed(vector(2)),
        _ => Golden::Alone(vector(2)),
    };
    Motion { vector: vector(0), golden }
}

/// Factors across a strip, from its upper or left end on: of what is there (64 - weight) and of what is blended in (weight). Beyond
/// the strip nothing is blended in.
pub(super) type Ramp = [[i16; 2]; 32];

/// The ramp for an overlap of `overlap` samples, each weight repeated `S` times; `far` turns it round.
pub(super) fn ramp<const S: usize>(overlap: usize, far: bool) -> &'static Ramp {
    const fn make(overlap: usize, repeat: usize, far: bool) -> Ramp {
        let unit = overlap::UNIT as i16;
        let mut ramp = [[unit, 0]; 32];
        let weights = overlap::weights(overlap);
        let mut i = 0;
        while i < overlap * repeat {
            let distance = if far { overlap - 1 - i / repeat } else { i / repeat };
            let weight = weights[distance] as i16;
            ramp[i] = [unit - weight, weight];
            i += 1;
        }
        ramp
    }
    const fn all(repeat: usize) -> [[Ramp; 2]; 5] {
        let mut ramps = [[[[0; 2]; 32]; 2]; 5];
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
