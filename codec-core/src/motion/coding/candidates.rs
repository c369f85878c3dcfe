//! What the leaves coded before, and the last frame, say about a leaf. All of it follows from decoded integers and positions.

use super::contexts::SPLITS;
use crate::motion::{BlockField, CELL, Golden, MAX_COMPONENT, MAX_LOG2, MIN_LOG2, MotionVector, ROOT};

/// Most vectors in a leaf's list.
pub const MAX_CANDIDATES: usize = 6;
const ROOT_CELLS: usize = ROOT / CELL;

/// What is known before a frame's field: its place in the picture, and the field before it.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Size of the picture in luma samples.
    width: usize,
    height: usize,
    previous: Option<&'a BlockField>,
}

/// The vectors that a leaf can take over, what its own is predicted from, and the contexts of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidates {
    vectors: [MotionVector; MAX_CANDIDATES],
    count: u8,
    predictor: MotionVector,
    pub(super) hidden: bool,
    /// Whether the predictor is in the list.
    pub(super) listed: bool,
    /// How far neighbours disagree in x and y: 0..=2.
    pub(super) spread: [u8; 2],
    /// The last frame's vector here minus the predictor, in x and y; 0 if there is none.
    pub(super) target: [i32; 2],
    /// For each of the first two candidates, 1 if it is the upper neighbour's vector, plus 2 if it is the last frame's, plus 4 if it is
    /// that changed as the left neighbour's.
    pub(super) origin: [u8; 2],
}

/// The models of a leaf's flags for the golden frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoldenContext {
    pub(super) used: usize,
    pub(super) alone: usize,
}

impl<'a> Surroundings<'a> {
    /// `display`: width and height of the picture in luma samples. `previous`: the last frame's field, if there is one since the
    /// keyframe, of the same size as this frame's.
    pub fn new(display: (usize, usize), previous: Option<&'a BlockField>) -> Self {
        Self { width: display.0, height: display.1, previous }
    }

    /// The last frame's field.
    pub fn previous(&self) -> Option<&'a BlockField> {
        self.previous
    }

    /// Candidates of the leaf of 2^`log2` samples a side whose upper left cell is (`row`, `col`).
    ///
    /// Of `field`, only cells that precede the leaf in coding order are looked at, so it may be under construction.
    pub fn candidates(&self, field: &BlockField, row: usize, col: usize, log2: u8) -> Candidates {
        let n = 1 << (log2 - MIN_LOG2);
        // A cell by its distance from the one up and left of the leaf.
        let known = |down: usize, right: usize| {
            let (r, c) = ((row + down).checked_sub(1)?, (col + right).checked_sub(1)?);
            precedes(field, (r, c), (row, col)).then(|| field.vector(r, c))
        };
        let (left, upper, corner) = (known(n, 0), known(0, n), known(0, 0));
        let (upper_right, lower_left) = (known(0, n + 1), known(n + 1, 0));
        let last =
            |row: usize, col: usize| self.previous.filter(|f| row < f.rows() && col < f.cols()).map(|f| f.vector(row, col));
        let before = last(row + n / 2, col + n / 2);
        // The last frame's vector, changed as the left neighbour's has changed.
        let changed = col.checked_sub(1).and_then(|col| Some(moved(before?, last(row + n - 1, col)?, left?)));
        // Below and to the right, the last frame is all there is.
        let (right_before, lower_before) = (last(row + n / 2, col + n), last(row + n, col + n / 2));

        let (mut vectors, mut count) = ([MotionVector::default(); MAX_CANDIDATES], 0);
        let list = [left, upper, before, changed, upper_right, lower_left, right_before, lower_before, corner];
        for vector in list.into_iter().flatten().chain([MotionVector::default()]) {
            if count < MAX_CANDIDATES && !vectors[..count].contains(&vector) {
                vectors[count] = vector;
                count += 1;
            }
        }

        let (a, b, c) = match (left, upper, upper_right.or(corner)) {
            (Some(a), None, None) => (a, a, a),
            (a, b, c) => (a.unwrap_or_default(), b.unwrap_or_default(), c.unwrap_or_default()),
        };
        let predictor = MotionVector { x: median(a.x, b.x, c.x), y: median(a.y, b.y, c.y) };
        let target = before.unwrap_or(predictor);
        Candidates {
            vectors,
            count: count as u8,
            predictor,
            hidden: self.hidden(row, col),
            listed: vectors[..count].contains(&predictor),
            spread: [spread(a.x, b.x, c.x), spread(a.y, b.y, c.y)],
            target: [i32::from(target.x) - i32::from(predictor.x), i32::from(target.y) - i32::from(predictor.y)],
            origin: [0, 1].map(|i| {
                let is = |other: Option<MotionVector>| u8::from(i < count && other == Some(vectors[i]));
                is(upper) | is(before) << 1 | is(changed) << 2
            }),
        }
    }

    /// Context of the flag that splits the square of 2^`log2` samples a side whose upper left cell is (`row`, `col`); of
    /// `field`, only cells that precede the square in coding order are looked at.
    pub fn split_context(&self, field: &BlockField, row: usize, col: usize, log2: u8) -> usize {
        if self.hidden(row, col) {
            return SPLITS - 1;
        }
        let smaller = |field: &BlockField, row: usize, col: usize| usize::from(field.log2(row, col) < log2);
        let left = if col > 0 { smaller(field, row, col - 1) } else { 0 };
        let upper = if row > 0 { smaller(field, row - 1, col) } else { 0 };
        let before = self.previous.map_or(2, |field| smaller(field, row, col));
        (usize::from(MAX_LOG2 - log2) * 3 + left + upper) * 3 + before
    }

    /// Contexts of the flags that say what a leaf takes from the golden frame; `None` outside the picture, where there are none. Of
    /// `field`, only cells that precede the leaf in coding order are looked at.
    pub fn golden_context(&self, field: &BlockField, row: usize, col: usize, log2: u8) -> Option<GoldenContext> {
        if self.hidden(row, col) {
            return None;
        }
        let left = if col > 0 { field.golden(row, col - 1) } else { Golden::Unused };
        let upper = if row > 0 { field.golden(row - 1, col) } else { Golden::Unused };
        let middle = 1 << (log2 - MIN_LOG2) >> 1;
        let before = self.previous.is_some_and(|field| field.golden(row + middle, col + middle) != Golden::Unused);
        let count = |is: fn(Golden) -> bool| usize::from(is(left)) + usize::from(is(upper));
        let used = count(|golden| golden != Golden::Unused);
        Some(GoldenContext {
            used: (usize::from(log2 - MIN_LOG2) * 3 + used) * 2 + usize::from(before),
            alone: count(|golden| matches!(golden, Golden::Alone(_))),
        })
    }

    /// Whether nothing of the square or leaf that starts at a cell is in the picture.
    fn hidden(&self, row: usize, col: usize) -> bool {
        row * CELL >= self.height || col * CELL >= self.width
    }
}

impl Candidates {
    /// The vectors that cost only an index, all different; at least one, at most [`MAX_CANDIDATES`].
    pub fn merge(&self) -> &[MotionVector] {
        &self.vectors[..usize::from(self.count)]
    }

    /// What a vector that is not in the list is coded as a difference to.
    pub fn predictor(&self) -> MotionVector {
        self.predictor
    }
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

/// `vector` plus the way from `from` to `to`, within the limits.
fn moved(vector: MotionVector, from: MotionVector, to: MotionVector) -> MotionVector {
    let component = |v: i16, from: i16, to: i16| {
        let limit = i32::from(MAX_COMPONENT);
        (i32::from(v) + i32::from(to) - i32::from(from)).clamp(-limit, limit) as i16
    };
    MotionVector { x: component(vector.x, from.x, to.x), y: component(vector.y, from.y, to.y) }
}

fn median(a: i16, b: i16, c: i16) -> i16 {
    a.min(b).max(a.max(b).min(c))
}

/// Class of the distance between the largest and the smallest of three components.
fn spread(a: i16, b: i16, c: i16) -> u8 {
    match i32::from(a.max(b).max(c)) - i32::from(a.min(b).min(c)) {
        ..=2 => 0,
        3..=16 => 1,
        _ => 2,
    }
}
