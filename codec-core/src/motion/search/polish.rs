//! Vectors decided again, leaf by leaf, by what they do to the overlapped prediction.

use super::around::try_around;
use super::blend::Goals;
use super::costs::BIT;
use super::decide::{Inputs, quarters};
use super::table::SIDE;
use crate::motion::{BlockField, Leaf, MAX_LOG2, MIN_LOG2, MotionVector};

/// The pass over the leaves, with its buffers.
#[derive(Default)]
pub(super) struct Polish {
    goals: Goals,
    leaves: Vec<Leaf>,
}

impl Polish {
    /// Decides the vectors of a root's leaves again, in coding order. The tree stays as it is.
    pub fn run(&mut self, inputs: &Inputs, field: &mut BlockField, row: usize, col: usize) {
        self.leaves.clear();
        self.leaves.extend(field.root_leaves(row, col));
        for i in 0..self.leaves.len() {
            self.leaf(inputs, field, self.leaves[i]);
        }
    }

    /// Joins four of a root's leaves to one where that pays, smallest first.
    pub fn join(&mut self, inputs: &Inputs, field: &mut BlockField, row: usize, col: usize) {
        for_quarters(inputs, field, row, col, |field, whole, quarters| self.join_one(inputs, field, whole, quarters));
    }

    fn join_one(&mut self, inputs: &Inputs, field: &mut BlockField, whole: Leaf, quarters: [(usize, usize); 4]) {
        let coder = &inputs.coder;
        let log2 = whole.log2;
        let old = quarters.map(|(row, col)| Leaf { row, col, log2: log2 - 1, vector: field.vector(row, col) });
        let split = |split| coder.split(field, whole.row, whole.col, log2, split);
        let (flag, other) = (split(true), split(false));
        let mut bits = flag + later_bits(inputs, field, &whole);
        for leaf in &old {
            let options = coder.options(field, leaf.row, leaf.col, leaf.log2);
            bits += coder.any(&options, leaf.vector) + coder.split(field, leaf.row, leaf.col, leaf.log2, false);
        }
        let before = BIT * self.goals.present_error(inputs, field, &whole) + inputs.price * bits;

        let options = coder.options(field, whole.row, whole.col, log2);
        let mut trial = Trial::default();
        old.iter().for_each(|leaf| _ = trial.add(leaf.vector));
        options.merges().for_each(|(vector, _)| _ = trial.add(vector));
        field.set(whole);
        self.goals.load_all(inputs, field, &whole);
        let mut best = (before, None);
        for &vector in &trial.vectors[..trial.count] {
            let rate = inputs.price * (coder.any(&options, vector) + other);
            if rate >= best.0 {
                continue;
            }
            let limit = (best.0 - rate).div_ceil(BIT);
            let cost = rate + BIT * self.goals.error(inputs, vector, limit);
            if cost < best.0 {
                best = (cost, Some(vector));
            }
        }
        if let Some(vector) = best.1 {
            field.set(Leaf { vector, ..whole });
            if best.0 + inputs.price * later_bits(inputs, field, &whole) < before {
                return;
            }
        }
        old.into_iter().for_each(|leaf| field.set(leaf));
    }

    fn leaf(&mut self, inputs: &Inputs, field: &mut BlockField, leaf: Leaf) {
        let old = field.vector(leaf.row, leaf.col);
        let mut trial = Trial::default();
        let mut difference = 0;
        around(field, &leaf, |row, col| {
            let vector = field.vector(row, col);
            difference = difference.max(vector.x.abs_diff(old.x)).max(vector.y.abs_diff(old.y));
            trial.add(vector);
        });
        if inputs.thoroughness.alike.is_some_and(|alike| difference <= alike) {
            return;
        }
        let options = inputs.coder.options(field, leaf.row, leaf.col, leaf.log2);
        for (vector, _) in options.merges() {
            trial.add(vector);
        }
        self.goals.load(inputs, field, &leaf);
        // Even an invisible leaf's vector may blend into visible ones.
        if self.goals.is_empty() {
            return;
        }
        let cost = |vector, limit: u64| {
            let rate = inputs.price * inputs.coder.any(&options, vector);
            if rate >= limit {
                return u64::MAX;
            }
            rate + BIT * self.goals.error(inputs, vector, (limit - rate).div_ceil(BIT))
        };
        let now = cost(old, u64::MAX);
        let mut best = (now, old);
        let consider = |best: &mut (u64, MotionVector), vector: MotionVector| {
            let cost = cost(vector, best.0);
            if cost < best.0 {
                *best = (cost, vector);
            }
            cost
        };
        for i in 0..trial.count {
            if trial.vectors[i] != old {
                consider(&mut best, trial.vectors[i]);
            }
        }
        trial.add(old);
        for (step, rounds) in [2, 1].into_iter().zip(inputs.thoroughness.polish_rounds) {
            for _ in 0..rounds {
                let centre = best.1;
                try_around(centre, step, |vector| if trial.add(vector) { consider(&mut best, vector) } else { u64::MAX });
                if best.1 == centre {
                    break;
                }
            }
        }
        if best.1 == old {
            return;
        }
        // What the change does to the leaves that are predicted from this one.
        let before = later_bits(inputs, field, &leaf);
        field.set(Leaf { vector: best.1, ..leaf });
        let after = later_bits(inputs, field, &leaf);
        if best.0 + inputs.price * after >= now + inputs.price * before {
            field.set(Leaf { vector: old, ..leaf });
        }
    }
}

/// Vectors that were or will be tried.
struct Trial {
    vectors: [MotionVector; Self::MOST],
    count: usize,
}

impl Default for Trial {
    fn default() -> Self {
        Self { vectors: [MotionVector::default(); Self::MOST], count: 0 }
    }
}

impl Trial {
    const MOST: usize = 80;

    /// Adds a vector and says whether it is new. Once there is no room, none is.
    fn add(&mut self, vector: MotionVector) -> bool {
        let new = self.count < Self::MOST && !self.vectors[..self.count].contains(&vector);
        if new {
            self.vectors[self.count] = vector;
            self.count += 1;
        }
        new
    }
}

/// Calls `join` for each visible square of a root that consists of four leaves, smallest first, with the square as a leaf and where its
/// quarters begin.
pub(super) fn for_quarters(
    inputs: &Inputs,
    field: &mut BlockField,
    row: usize,
    col: usize,
    mut join: impl FnMut(&mut BlockField, Leaf, [(usize, usize); 4]),
) {
    for log2 in MIN_LOG2 + 1..=MAX_LOG2 {
        let n = 1 << (log2 - MIN_LOG2);
        let places = (row..row + SIDE).step_by(n).flat_map(|row| (col..col + SIDE).step_by(n).map(move |col| (row, col)));
        for (row, col) in places {
            let quarters = quarters(row, col, log2);
            if quarters.iter().all(|&(r, c)| field.log2(r, c) == log2 - 1) && inputs.area(row, col, log2).is_some() {
                join(field, Leaf { row, col, log2, vector: MotionVector::default() }, quarters);
            }
        }
    }
}

/// Bits of the vectors of the leaves around one that may be predicted from it: those that follow it in coding order.
fn later_bits(inputs: &Inputs, field: &BlockField, leaf: &Leaf) -> u64 {
    let (mut leaves, mut count) = ([(0, 0); 40], 0);
    let mut bits = 0;
    around(field, leaf, |row, col| {
        if !follows((row, col), leaf) {
            return;
        }
        let log2 = field.log2(row, col);
        let mask = !((1 << (log2 - MIN_LOG2)) - 1);
        let corner = (row & mask, col & mask);
        if !leaves[..count].contains(&corner) {
            leaves[count] = corner;
            count += 1;
            let options = inputs.coder.options(field, corner.0, corner.1, log2);
            bits += inputs.coder.any(&options, field.vector(row, col));
        }
    });
    bits
}

/// Whether a cell outside a leaf comes after it in coding order.
fn follows((row, col): (usize, usize), leaf: &Leaf) -> bool {
    let root = |row: usize, col: usize| (row / SIDE, col / SIDE);
    let spread = |p: usize| (p & 1) | (p & 2) << 1 | (p & 4) << 2;
    let order = |row: usize, col: usize| spread(row) << 1 | spread(col);
    (root(row, col), order(row, col)) > (root(leaf.row, leaf.col), order(leaf.row, leaf.col))
}

/// Calls `take` for the cells around a leaf, corners included.
pub(super) fn around(field: &BlockField, leaf: &Leaf, mut take: impl FnMut(usize, usize)) {
    let n = leaf.cells();
    let rows = leaf.row.saturating_sub(1)..(leaf.row + n + 1).min(field.rows());
    let cols = leaf.col.saturating_sub(1)..(leaf.col + n + 1).min(field.cols());
    for row in rows {
        let inside = (leaf.row..leaf.row + n).contains(&row);
        for col in cols.clone() {
            if !inside || !(leaf.col..leaf.col + n).contains(&col) {
                take(row, col);
            }
        }
    }
}
