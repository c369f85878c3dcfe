//! Squared errors of many vectors for all squares of a root at once.

use super::kernels::Kernels;
use super::pair::Pair;
use super::quarters::Quarters;
use crate::frame::Plane;
use crate::motion::{CELL, MIN_LOG2, MotionVector, ROOT};

/// Cells along a root's side.
pub(super) const SIDE: usize = ROOT / CELL;
/// Vectors at most.
pub(super) const MOST: usize = 128;
/// Slots of the table's index.
const SLOTS: usize = 2 * MOST;
const NOWHERE: u8 = u8::MAX;
/// Squares of a root: 64 of one cell, 16, 4 and the whole.
const SQUARES: usize = 64 + 16 + 4 + 1;

/// The errors of a root's candidates.
pub(super) struct Table {
    vectors: [MotionVector; MOST],
    sums: Vec<[u32; SQUARES]>,
    count: usize,
    /// Places by [`slot`], [`NOWHERE`] where there is none; who finds it taken goes on to the next.
    slots: [u8; SLOTS],
    /// The least error of each cell.
    best: [u32; SIDE * SIDE],
    /// What a square costs at least.
    least: [u64; SQUARES],
    /// The root's first sample, and how much of it is visible.
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            vectors: [MotionVector::default(); MOST],
            sums: vec![[0; SQUARES]; MOST],
            count: 0,
            slots: [NOWHERE; SLOTS],
            best: [u32::MAX; SIDE * SIDE],
            least: [0; SQUARES],
            x: 0,
            y: 0,
            width: 0,
            height: 0,
        }
    }
}

/// Index of a square among a root's sums; `row` and `col` are its upper left cell.
pub(super) fn square(row: usize, col: usize, log2: u8) -> usize {
    const STARTS: [usize; 4] = [0, 64, 80, 84];
    let level = log2 - MIN_LOG2;
    STARTS[usize::from(level)] + ((row % SIDE) >> level) * (SIDE >> level) + ((col % SIDE) >> level)
}

impl Table {
    /// Starts with a root's first sample (`x`, `y`), which is visible.
    pub fn start(&mut self, x: usize, y: usize, display: (usize, usize)) {
        (self.count, self.x, self.y) = (0, x, y);
        self.best.fill(u32::MAX);
        self.slots.fill(NOWHERE);
        (self.width, self.height) = (ROOT.min(display.0 - x), ROOT.min(display.1 - y));
    }

    pub fn vectors(&self) -> &[MotionVector] {
        &self.vectors[..self.count]
    }

    /// A vector's place, if it was added.
    pub fn find(&self, vector: MotionVector) -> Option<usize> {
        let slot = self.slot(vector);
        (self.slots[slot] != NOWHERE).then(|| self.slots[slot].into())
    }

    /// The slot of a vector, or the empty one that it would take. There are always empty ones.
    fn slot(&self, vector: MotionVector) -> usize {
        let mut slot = (vector.x as usize).wrapping_add((vector.y as usize).wrapping_mul(37)) % SLOTS;
        while self.slots[slot] != NOWHERE && self.vectors[usize::from(self.slots[slot])] != vector {
            slot = (slot + 1) % SLOTS;
        }
        slot
    }

    /// The least error of a cell of the root.
    pub fn best(&self, row: usize, col: usize) -> u32 {
        self.best[row * SIDE + col]
    }

    /// The error of a vector by its place.
    pub fn error(&self, place: usize, square: usize) -> u32 {
        self.sums[place][square]
    }

    /// Adds a vector, unless it is there or there is no room.
    pub fn add(&mut self, vector: MotionVector, current: &Plane, quarters: &Quarters, kernels: Kernels) {
        self.add_block(vector, current, (quarters.block(self.x, self.y, vector), quarters.stride()), kernels);
    }

    /// Adds a vector with the samples that it predicts the root by, from its first one on, and how far their rows are apart.
    pub fn add_block(&mut self, vector: MotionVector, current: &Plane, (block, stride): (&[u8], usize), kernels: Kernels) {
        let slot = self.slot(vector);
        if self.count == MOST || self.slots[slot] != NOWHERE {
            return;
        }
        let pair = Pair {
            a: &current.data[self.y * current.stride + self.x..],
            a_stride: current.stride,
            b: block,
            b_stride: stride,
            width: ROOT,
            height: self.height,
        };
        let sums = &mut self.sums[self.count];
        kernels.cells(&pair, sums.first_chunk_mut().expect("64 cells come first"));
        // Columns that nobody sees do not count.
        if self.width < ROOT {
            for cell in (0..SIDE * SIDE).filter(|cell| (cell % SIDE + 1) * CELL > self.width) {
                let (col, row) = (cell % SIDE * CELL, cell / SIDE * CELL);
                let part = Pair {
                    a: &pair.a[(row * pair.a_stride + col).min(pair.a.len())..],
                    b: &pair.b[(row * pair.b_stride + col).min(pair.b.len())..],
                    width: self.width.saturating_sub(col),
                    height: CELL.min(self.height.saturating_sub(row)),
                    ..pair
                };
                sums[cell] = if part.width == 0 || part.height == 0 { 0 } else { kernels.squares(&part) };
            }
        }
        for (best, &sum) in self.best.iter_mut().zip(&sums[..SIDE * SIDE]) {
            *best = sum.min(*best);
        }
        let mut from = 0;
        for side in [4, 2, 1] {
            let to = from + 4 * side * side;
            for (row, col) in (0..side * side).map(|i| (i / side, i % side)) {
                let at = from + 4 * side * row + 2 * col;
                sums[to + side * row + col] = sums[at] + sums[at + 1] + sums[at + 2 * side] + sums[at + 2 * side + 1];
            }
            from = to;
        }
        self.vectors[self.count] = vector;
        self.slots[slot] = self.count as u8;
        self.count += 1;
    }

    /// Works out what squares cost at least, as leaves or split, if a leaf's and a flag's bits cost so much; in `unit`s per squared
    /// grey level.
    pub fn close(&mut self, leaf: u64, flag: u64, unit: u64) {
        let mut least = [u32::MAX; SQUARES];
        for sums in &self.sums[..self.count] {
            for (least, &sum) in least.iter_mut().zip(sums) {
                *least = sum.min(*least);
            }
        }
        self.least = least.map(|sum| u64::from(sum) * unit + leaf);
        let mut from = 0;
        for side in [4, 2, 1] {
            let to = from + 4 * side * side;
            for (row, col) in (0..side * side).map(|i| (i / side, i % side)) {
                let at = from + 4 * side * row + 2 * col;
                let split = [at, at + 1, at + 2 * side, at + 2 * side + 1].map(|i| self.least[i]).iter().sum::<u64>() + flag;
                let least = &mut self.least[to + side * row + col];
                *least = split.min(*least);
            }
            from = to;
        }
    }

    /// What a square costs at least.
    pub fn least(&self, square: usize) -> u64 {
        self.least[square]
    }
}
