//! What the cells coded before a leaf say about it. Everything here follows from decoded integers and positions alone.

use crate::motion::{BlockField, CELL, MotionVector, ROOT};

/// Most vectors in a leaf's list.
pub const MAX_CANDIDATES: usize = 6;
/// Classes of the neighbours' disagreement.
pub(super) const SPREADS: usize = 3;
const ROOT_CELLS: usize = ROOT / CELL;

/// The vectors that a leaf can take over, and what its own is predicted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidates {
    vectors: [MotionVector; MAX_CANDIDATES],
    count: usize,
    predictor: MotionVector,
    spread: [usize; 2],
}

impl Candidates {
    /// Candidates of the leaf of 2^`log2` samples a side whose upper left cell is (`row`, `col`).
    ///
    /// Of `field`, only cells that precede the leaf in coding order are looked at, so it may be under construction. `previous` is
    /// the last frame's field, if it had one, of the same size.
    pub fn new(field: &BlockField, previous: Option<&BlockField>, row: usize, col: usize, log2: u8) -> Self {
        let n = ROOT_CELLS >> (crate::motion::MAX_LOG2 - log2);
        let known = |down: usize, right: usize| {
            // Offsets are one more than they are, so that they are never negative.
            let (r, c) = ((row + down).checked_sub(1)?, (col + right).checked_sub(1)?);
            precedes(field, (r, c), (row, col)).then(|| field.vector(r, c))
        };
        let left = known(n, 0);
        let upper = known(0, n);
        let upper_right = known(0, n + 1);
        let upper_left = known(0, 0);
        let lower_left = known(n + 1, 0);
        let before = previous.map(|p| p.vector(row + n / 2, col + n / 2));

        let mut list = Self { vectors: Default::default(), count: 0, predictor: MotionVector::default(), spread: [0; 2] };
        for vector in
            [left, upper, upper_right, lower_left, upper_left, before, Some(MotionVector::default())].into_iter().flatten()
        {
            list.add(vector);
        }
        let (a, b, c) = match (left, upper, upper_right.or(upper_left)) {
            (Some(a), None, None) => (a, a, a),
            (a, b, c) => (a.unwrap_or_default(), b.unwrap_or_default(), c.unwrap_or_default()),
        };
        list.predictor = MotionVector { x: median(a.x, b.x, c.x), y: median(a.y, b.y, c.y) };
        list.spread = [spread([a.x, b.x, c.x]), spread([a.y, b.y, c.y])];
        list
    }

    fn add(&mut self, vector: MotionVector) {
        if self.count < MAX_CANDIDATES && !self.merge().contains(&vector) {
            self.vectors[self.count] = vector;
            self.count += 1;
        }
    }

    /// The vectors that cost only an index, all different; at least one, at most [`MAX_CANDIDATES`].
    pub fn merge(&self) -> &[MotionVector] {
        &self.vectors[..self.count]
    }

    /// What a vector that is not in the list is coded as a difference to.
    pub fn predictor(&self) -> MotionVector {
        self.predictor
    }

    /// How far neighbours disagree in x and y.
    pub(super) fn spread(&self) -> [usize; 2] {
        self.spread
    }
}

/// How many of the leaf's left and upper neighbours are smaller than 2^`log2` samples a side: the context of the flag that splits
/// it. (`row`, `col`) is the leaf's upper left cell; of `field`, only cells that precede it in coding order are looked at.
pub fn split_context(field: &BlockField, row: usize, col: usize, log2: u8) -> usize {
    usize::from(col > 0 && field.log2(row, col - 1) < log2) + usize::from(row > 0 && field.log2(row - 1, col) < log2)
}

/// Whether a cell lies in the field and is coded before the leaf that starts at the cell `leaf`.
fn precedes(field: &BlockField, cell: (usize, usize), leaf: (usize, usize)) -> bool {
    let order = |(row, col): (usize, usize)| (row / ROOT_CELLS, col / ROOT_CELLS, z_order(row) << 1 | z_order(col));
    cell.0 < field.rows() && cell.1 < field.cols() && order(cell) < order(leaf)
}

/// The position within a root with its three bits spread out, to be interleaved with those of the other coordinate.
fn z_order(position: usize) -> usize {
    let p = position % ROOT_CELLS;
    p & 1 | (p & 2) << 1 | (p & 4) << 2
}

fn median(a: i16, b: i16, c: i16) -> i16 {
    a.min(b).max(a.max(b).min(c))
}

/// Class of the distance between the largest and the smallest of three components.
fn spread(components: [i16; 3]) -> usize {
    let low = components.iter().min().copied().unwrap_or(0);
    let high = components.iter().max().copied().unwrap_or(0);
    match i32::from(high) - i32::from(low) {
        ..=2 => 0,
        3..=16 => 1,
        _ => 2,
    }
}
