//! Which model a bit has: numbers that depend on decoded integers alone.

use super::candidates::{Candidates, MAX_CANDIDATES};
use crate::motion::{MAX_LOG2, MIN_LOG2};

/// Classes of a difference's magnitude by its binary logarithm; a difference is below 2^14.
pub(super) const CLASSES: usize = 14;
/// Classes of leaves' sizes: 8, 16, and above.
pub(super) const SIZES: usize = 3;
pub(super) const SPREADS: usize = 3;
/// Classes of x's difference, which y's depends on.
pub(super) const OTHERS: usize = 3;
pub(super) const SIDES: usize = 3;

/// By size, neighbours and the last frame; the last one is for squares outside the picture.
pub(super) const SPLITS: usize = (MAX_LOG2 - MIN_LOG2) as usize * 3 * 3 + 1;
/// By size and number of candidates; the last one is for leaves outside the picture.
pub(super) const MERGES: usize = SIZES * MAX_CANDIDATES + 1;
const ORIGINS: usize = 8;
const EARLY: usize = 2 * MAX_CANDIDATES * ORIGINS;
const LATE: usize = (MAX_CANDIDATES - 3) * MAX_CANDIDATES;
pub(super) const INDICES: usize = EARLY + LATE + MAX_CANDIDATES - 1;
/// Differences of vectors to the last frame, then of those to the golden frame.
const TO_LAST: [usize; 4] = [2 * SIZES * SPREADS * 2, 2 * 5, 2 * SIZES * SPREADS * OTHERS * SIDES, 2 * CLASSES];
pub(super) const NONZEROS: usize = TO_LAST[0] + 2 * 2;
pub(super) const NEGATIVES: usize = TO_LAST[1] + 2;
/// Rows of one model for each class but the last.
pub(super) const ROWS: usize = TO_LAST[2] + 2;
pub(super) const SECONDS: usize = TO_LAST[3] + 2 * CLASSES;
/// By size, neighbours that use the golden frame, and whether the last frame did here.
pub(super) const GOLDENS: usize = (MAX_LOG2 - MIN_LOG2 + 1) as usize * 3 * 2;
/// By neighbours that use the golden frame alone.
pub(super) const ALONES: usize = 3;

fn size(log2: u8) -> usize {
    usize::from(log2 - MIN_LOG2).min(SIZES - 1)
}

/// Whether a leaf's vector is among the candidates.
pub(super) fn merge(candidates: &Candidates, log2: u8) -> usize {
    if candidates.hidden { MERGES - 1 } else { size(log2) * MAX_CANDIDATES + candidates.merge().len() - 1 }
}

/// Whether the candidate's index is above `index`, which is below [`MAX_CANDIDATES`] - 1.
pub(super) fn index(candidates: &Candidates, index: usize) -> usize {
    let count = candidates.merge().len() - 1;
    match (candidates.hidden, candidates.origin.get(index)) {
        (true, _) => EARLY + LATE + index,
        (false, Some(&origin)) => (index * MAX_CANDIDATES + count) * ORIGINS + usize::from(origin),
        (false, None) => EARLY + (index - 2) * MAX_CANDIDATES + count,
    }
}

/// One component of a leaf's vector difference.
#[derive(Clone, Copy)]
pub(super) struct Component {
    /// 0: x, 1: y.
    axis: usize,
    size: usize,
    spread: usize,
    /// What the last frame's vector would have for a difference.
    target: i32,
    /// Of y: the magnitude of x's difference.
    other: u32,
    /// The vector leads to the golden frame; `axis` and `other` alone count then.
    golden: bool,
}

impl Component {
    pub fn x(candidates: &Candidates, log2: u8) -> Self {
        let [spread, _] = candidates.spread.map(usize::from);
        Self { axis: 0, size: size(log2), spread, target: candidates.target[0], other: 0, golden: false }
    }

    /// Of y, after x's difference.
    pub fn y(candidates: &Candidates, log2: u8, x: i32) -> Self {
        let [_, spread] = candidates.spread.map(usize::from);
        Self { axis: 1, size: size(log2), spread, target: candidates.target[1], other: x.unsigned_abs(), golden: false }
    }

    /// Of a vector to the golden frame: x, or y after x's difference.
    pub fn golden(x: Option<i32>) -> Self {
        let (axis, other) = (usize::from(x.is_some()), x.map_or(0, i32::unsigned_abs));
        Self { axis, size: 0, spread: 0, target: 0, other, golden: true }
    }

    /// Whether the difference is not 0.
    pub fn nonzero(&self) -> usize {
        if self.golden {
            return TO_LAST[0] + 2 * self.axis + usize::from(self.other != 0);
        }
        ((self.axis * SIZES + self.size) * SPREADS + self.spread) * 2 + usize::from(self.other != 0)
    }

    /// Whether it is negative.
    pub fn negative(&self) -> usize {
        if self.golden {
            return TO_LAST[1] + self.axis;
        }
        let class = match self.target {
            ..=-9 => 0,
            -8..=-1 => 1,
            0 => 2,
            1..=8 => 3,
            _ => 4,
        };
        self.axis * 5 + class
    }

    /// First classes that have models of their own, because the last frame's vector lies on the same side and is of a higher class.
    pub fn near(&self, negative: bool) -> usize {
        if self.same_side(negative) { self.target.unsigned_abs().ilog2() as usize } else { 0 }
    }

    /// The row of models for classes below [`Self::near`], and for all others.
    pub fn rows(&self, negative: bool) -> [usize; 2] {
        if self.golden {
            return [TO_LAST[2] + self.axis; 2];
        }
        let other = match self.other {
            ..=1 => 0,
            2..=7 => 1,
            _ => 2,
        };
        let row = (((self.axis * SIZES + self.size) * SPREADS + self.spread) * OTHERS + other) * SIDES;
        [row + 1, row + if self.same_side(negative) { 2 } else { 0 }]
    }

    /// The bit below the highest one of a difference of this class.
    pub fn second(&self, class: usize) -> usize {
        let first = if self.golden { TO_LAST[3] } else { 0 };
        first + self.axis * CLASSES + class
    }

    fn same_side(&self, negative: bool) -> bool {
        self.target != 0 && (self.target < 0) == negative
    }
}
