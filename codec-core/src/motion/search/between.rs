//! The motion of B-frames: what a leaf takes from which frame is decided together with its vector and its size.
//!
//! A leaf is predicted from the frame before, from the one after, or from the mean of both. Whatever moves evenly has a vector to the
//! frame after that is the other one turned round, so each candidate stands for three motions. Vectors to the frame after that are
//! coded as such come in when leaves are polished by the overlapped prediction.

mod join;
mod offer;

use super::around::try_around;
use super::blend::Goals;
use super::costs::BIT;
use super::decide::{Area, Inputs, cheaper_split, quarters};
use super::polish::around;
use super::table::{Table, square};
use crate::motion::coding::GoldenTrack;
use crate::motion::{BlockField, CELL, Golden, Leaf, MAX_COMPONENT, MAX_LOG2, MIN_LOG2, Motion, MotionVector, ROOT};
use offer::{Offer, distortion, mean, put};

/// Where a leaf comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Before,
    Both,
    After,
}

const ANY: [From; 3] = [From::Before, From::Both, From::After];

impl From {
    /// Of even motion, `vector` leading to the frame before.
    fn even(self, vector: MotionVector) -> Motion {
        let golden = match self {
            Self::Before => Golden::Unused,
            Self::Both => Golden::Mixed(vector.turned()),
            Self::After => Golden::Alone(vector.turned()),
        };
        Motion { vector, golden }
    }
}

/// A motion and what it costs. Costs are squared grey levels times [`BIT`].
#[derive(Clone, Copy)]
struct Choice {
    motion: Motion,
    distortion: u64,
    bits: u64,
    cost: u64,
}

const NONE: Choice = Choice {
    motion: Motion { vector: MotionVector { x: 0, y: 0 }, golden: Golden::Unused },
    distortion: 0,
    bits: 0,
    cost: u64::MAX,
};

/// The passes over B-frames, with their buffers.
#[derive(Default)]
pub(super) struct Between {
    /// Candidates that come from both frames, and from the one after.
    tables: [Table; 2],
    goals: Goals,
    leaves: Vec<Leaf>,
    tried: Vec<Motion>,
}

impl Between {
    /// Decides a root. `field` holds all earlier ones.
    pub fn decide(
        &mut self,
        inputs: &Inputs,
        track: &GoldenTrack,
        table: &mut Table,
        field: &mut BlockField,
        row: usize,
        col: usize,
    ) {
        let (x, y) = (col * CELL, row * CELL);
        if x < inputs.display.0 && y < inputs.display.1 {
            table.start(x, y, inputs.display);
            inputs.gather(table, field, row, col);
            self.turn_round(inputs, table, x, y);
            let (leaf, flag) = (inputs.worth(inputs.thoroughness.optimism), inputs.worth(0.5));
            [&mut *table].into_iter().chain(&mut self.tables).for_each(|table| table.close(leaf, flag, BIT));
        }
        let [both, after] = &self.tables;
        Decision { inputs, track, tables: [table, both, after] }.node(field, row, col, MAX_LOG2);
    }

    /// Fills the tables of the frame after with the candidates of the frame before.
    fn turn_round(&mut self, inputs: &Inputs, table: &Table, x: usize, y: usize) {
        let [both, after] = &mut self.tables;
        both.start(x, y, inputs.display);
        after.start(x, y, inputs.display);
        let Some(golden) = inputs.golden else { return };
        let mut block = [0; ROOT * ROOT];
        for &vector in table.vectors() {
            let from_after = (golden.block(x, y, vector.turned()), golden.stride());
            let from_before = (inputs.quarters.block(x, y, vector), inputs.quarters.stride());
            mean([from_before, from_after], (ROOT, ROOT.min(inputs.display.1 - y)), &mut block);
            both.add_block(vector, inputs.current, (&block, ROOT), inputs.kernels);
            after.add_block(vector, inputs.current, from_after, inputs.kernels);
        }
    }

    /// Decides the motion of a root's leaves again, in coding order, by the overlapped prediction. The tree stays as it is.
    pub fn polish(&mut self, inputs: &Inputs, track: &GoldenTrack, field: &mut BlockField, row: usize, col: usize) {
        self.leaves.clear();
        self.leaves.extend(field.root_leaves(row, col));
        for i in 0..self.leaves.len() {
            let leaf = self.leaves[i];
            if inputs.area(leaf.row, leaf.col, leaf.log2).is_some() {
                self.leaf(inputs, track, field, leaf);
            }
        }
    }

    fn leaf(&mut self, inputs: &Inputs, track: &GoldenTrack, field: &mut BlockField, leaf: Leaf) {
        let old = field.motion(leaf.row, leaf.col);
        self.goals.load(inputs, field, &leaf);
        if self.goals.is_empty() {
            return;
        }
        let offer = Offer::new(inputs, track, field, leaf);
        self.tried.clear();
        let (goals, tried) = (&self.goals, &mut self.tried);
        let mut best = (u64::MAX, old);
        let mut consider = |motion: Motion, best: &mut (u64, Motion)| {
            if tried.contains(&motion) {
                return u64::MAX;
            }
            tried.push(motion);
            let rate = inputs.price * offer.bits(motion);
            if rate >= best.0 {
                return u64::MAX;
            }
            let cost = rate + BIT * goals.error_of(inputs, motion, (best.0 - rate).div_ceil(BIT));
            if cost < best.0 {
                *best = (cost, motion);
            }
            cost
        };
        consider(old, &mut best);
        for vector in offer.merges().chain([old.vector]) {
            for from in ANY {
                consider(from.even(vector), &mut best);
            }
        }
        around(field, &leaf, |row, col| _ = consider(field.motion(row, col), &mut best));
        // Both vectors together, as a thing moves.
        for (step, rounds) in [2, 1].into_iter().zip(inputs.thoroughness.polish_rounds) {
            for _ in 0..rounds {
                let centre = best.1;
                try_around(centre.vector, step, |vector| consider(along(centre, vector), &mut best));
                if best.1 == centre {
                    break;
                }
            }
        }
        for step in [2, 1] {
            let centre = best.1;
            if let Golden::Mixed(golden) = centre.golden {
                try_around(golden, step, |golden| consider(Motion { golden: Golden::Mixed(golden), ..centre }, &mut best));
            }
        }
        if best.1 != old {
            put(field, track, leaf, best.1);
        }
    }
}

/// The motion with another vector to the frame before; that to the frame after turns with it, as far as vectors reach.
fn along(motion: Motion, vector: MotionVector) -> Motion {
    let component = |golden: i16, old: i16, new: i16| {
        let limit = i32::from(MAX_COMPONENT);
        (i32::from(golden) + i32::from(old) - i32::from(new)).clamp(-limit, limit) as i16
    };
    let turned = |golden: MotionVector| MotionVector {
        x: component(golden.x, motion.vector.x, vector.x),
        y: component(golden.y, motion.vector.y, vector.y),
    };
    let golden = match motion.golden {
        Golden::Unused => Golden::Unused,
        Golden::Mixed(golden) => Golden::Mixed(turned(golden)),
        Golden::Alone(golden) => Golden::Alone(turned(golden)),
    };
    Motion { vector, golden }
}

/// The decision on a root's tree.
struct Decision<'a> {
    inputs: &'a Inputs<'a>,
    track: &'a GoldenTrack,
    /// As in [`ANY`].
    tables: [&'a Table; 3],
}

impl Decision<'_> {
    /// Decides a node, writes it to `field` and returns its cost.
    fn node(&self, field: &mut BlockField, row: usize, col: usize, log2: u8) -> u64 {
        let inputs = self.inputs;
        let leaf = Leaf { row, col, log2, vector: MotionVector::default() };
        let offer = Offer::new(inputs, self.track, field, leaf);
        let choice = match inputs.area(row, col, log2) {
            Some(area) => self.leaf(area, &offer),
            None => {
                let (vector, bits) = offer.cheapest();
                Choice { motion: From::Before.even(vector), distortion: 0, bits, cost: inputs.price * bits }
            }
        };
        let flag = |split| inputs.price * inputs.coder.split(field, row, col, log2, split);
        let (cost, flag) = (choice.cost + flag(false), flag(true));
        if log2 > MIN_LOG2 && choice.distortion * BIT + inputs.price * choice.bits > flag + inputs.price * BIT {
            let quarters = quarters(row, col, log2);
            let least = |square: usize| self.tables.map(|table| table.least(square)).into_iter().min().unwrap_or(0);
            let least = quarters.map(|(row, col)| least(square(row, col, log2 - 1)));
            let quarter = |i: usize| self.node(field, quarters[i].0, quarters[i].1, log2 - 1);
            if let Some(sum) = cheaper_split(flag, cost, least, quarter) {
                return sum;
            }
        }
        put(field, self.track, leaf, choice.motion);
        cost
    }

    fn leaf(&self, area: Area, offer: &Offer) -> Choice {
        let square = square(offer.leaf.row, offer.leaf.col, offer.leaf.log2);
        let mut best = NONE;
        for (from, table) in ANY.into_iter().zip(self.tables) {
            for vector in offer.merges() {
                if from == From::After && vector != offer.free {
                    continue;
                }
                let error = table.find(vector).map(|place| table.error(place, square));
                self.consider(area, offer, from.even(vector), error, &mut best);
            }
        }
        let mut start = NONE;
        for (from, table) in ANY.into_iter().zip(self.tables) {
            for (place, &vector) in table.vectors().iter().enumerate() {
                let error = table.error(place, square);
                if u64::from(error) * BIT < start.cost {
                    self.consider(area, offer, from.even(vector), Some(error), &mut start);
                }
            }
        }
        // What refinement may hope for.
        if start.distortion * BIT / 4 * 3 + self.inputs.price * start.bits < best.cost {
            self.refine(area, offer, &mut start);
        }
        if start.cost < best.cost { start } else { best }
    }

    /// Searches around a motion in smaller and smaller steps.
    fn refine(&self, area: Area, offer: &Offer, best: &mut Choice) {
        for (step, rounds) in [4, 2, 1].into_iter().zip(self.inputs.thoroughness.rounds) {
            for _ in 0..rounds {
                let centre = best.motion;
                try_around(centre.vector, step, |vector| self.consider(area, offer, along(centre, vector), None, best));
                if best.motion == centre {
                    break;
                }
            }
        }
    }

    /// Takes a motion for the best if it costs less, and gives back what it costs. `error`: its squared error, where that is known.
    fn consider(&self, area: Area, offer: &Offer, motion: Motion, error: Option<u32>, best: &mut Choice) -> u64 {
        let bits = offer.bits(motion);
        let distortion = error.map_or_else(|| distortion(self.inputs, area, motion), u64::from);
        let cost = distortion * BIT + self.inputs.price * bits;
        if cost < best.cost {
            *best = Choice { motion, distortion, bits, cost };
        }
        cost
    }
}
