//! Vectors decided again, leaf by leaf, by what they do to the overlapped prediction.

use super::blend::Goals;
use super::costs::{BIT, Options};
use super::decide::{Inputs, moved};
use crate::motion::{BlockField, Leaf, MIN_LOG2, MotionVector};

/// The pass over the leaves, with its buffers.
#[derive(Default)]
pub(super) struct Polish {
    goals: Goals,
    leaves: Vec<Leaf>,
}

impl Polish {
    /// Decides all leaves' vectors again, in coding order. Trees stay as they are.
    pub fn run(&mut self, inputs: &Inputs, field: &mut BlockField) {
        self.leaves.clear();
        self.leaves.extend(field.leaves());
        for i in 0..self.leaves.len() {
            let leaf = self.leaves[i];
            if inputs.area(leaf.row, leaf.col, leaf.log2).is_some() {
                self.leaf(inputs, field, leaf);
            }
        }
    }

    fn leaf(&mut self, inputs: &Inputs, field: &mut BlockField, leaf: Leaf) {
        let options = inputs.coder.options(field, leaf.row, leaf.col, leaf.log2);
        self.goals.load(inputs.current, inputs.display, inputs.quarters, field, &leaf);
        let mut trial = Trial { inputs, goals: &self.goals, options: &options, seen: Vec::with_capacity(64) };
        let old = field.vector(leaf.row, leaf.col);
        let now = trial.cost(old).expect("nothing was tried yet");
        let mut best = (now, old);
        let consider = |trial: &mut Trial, best: &mut (u64, MotionVector), vector: MotionVector| {
            if let Some(cost) = trial.cost(vector) && cost < best.0 {
                *best = (cost, vector);
            }
        };
        for (vector, _) in options.merges() {
            consider(&mut trial, &mut best, vector);
        }
        if super::tune("AROUND", 1) != 0 {
        around(field, &leaf, |row, col| consider(&mut trial, &mut best, field.vector(row, col)));
        }
        for step in [2, 1] {
            for _ in 0..super::tune(if step == 2 { "S2" } else { "S1" }, 2) {
                let centre = best.1;
                for (dx, dy) in [(0, -1), (-1, 0), (1, 0), (0, 1), (-1, -1), (1, -1), (-1, 1), (1, 1)] {
                    if let Some(vector) = moved(centre, step * dx, step * dy) {
                        consider(&mut trial, &mut best, vector);
                    }
                }
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

struct Trial<'a> {
    inputs: &'a Inputs<'a>,
    goals: &'a Goals,
    options: &'a Options,
    seen: Vec<MotionVector>,
}

impl Trial<'_> {
    /// What a vector costs, unless it was seen before.
    fn cost(&mut self, vector: MotionVector) -> Option<u64> {
        if self.seen.contains(&vector) {
            return None;
        }
        self.seen.push(vector);
        let rate = self.inputs.price * self.inputs.coder.any(self.options, vector);
        Some(rate + BIT * self.goals.error(self.inputs.quarters, self.inputs.kernels, vector))
    }
}

/// Bits of the vectors of all leaves around one that follow it in coding order.
fn later_bits(inputs: &Inputs, field: &BlockField, leaf: &Leaf) -> u64 {
    let mut leaves = Vec::with_capacity(32);
    let mut bits = 0;
    around(field, leaf, |row, col| {
        let log2 = field.log2(row, col);
        let mask = !((1 << (log2 - MIN_LOG2)) - 1);
        let corner = (row & mask, col & mask);
        if !leaves.contains(&corner) {
            leaves.push(corner);
            // Earlier leaves do not look at this one; their bits are the same before and after.
            let options = inputs.coder.options(field, corner.0, corner.1, log2);
            bits += inputs.coder.any(&options, field.vector(row, col));
        }
    });
    bits
}

/// Calls `take` for the cells around a leaf, corners included.
fn around(field: &BlockField, leaf: &Leaf, mut take: impl FnMut(usize, usize)) {
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
