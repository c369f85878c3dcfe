//! What leaves take from the golden frame, by what that does to the overlapped prediction.

use super::around::try_around;
use super::blend::Goals;
use super::costs::BIT;
use super::decide::Inputs;
use crate::motion::coding::{GoldenContext, GoldenTrack};
use crate::motion::{BlockField, Golden, Leaf, Motion, MotionVector};

/// The pass over the leaves, with its buffers.
#[derive(Default)]
pub(super) struct GoldenPass {
    goals: Goals,
    leaves: Vec<Leaf>,
    tried: Vec<MotionVector>,
}

/// Some motion and what it costs.
#[derive(Clone, Copy)]
struct Choice {
    cost: u64,
    motion: Motion,
}

impl GoldenPass {
    /// Decides a root's leaves in coding order. Trees and the vectors of leaves that need them stay as they are.
    pub fn run(&mut self, inputs: &Inputs, track: &GoldenTrack, field: &mut BlockField, row: usize, col: usize) {
        self.leaves.clear();
        self.leaves.extend(field.root_leaves(row, col));
        for i in 0..self.leaves.len() {
            let leaf = self.leaves[i];
            if let Some(context) = inputs.coder.surroundings.golden_context(field, leaf.row, leaf.col, leaf.log2) {
                self.leaf(inputs, track, field, leaf, context);
            }
        }
    }

    fn leaf(&mut self, inputs: &Inputs, track: &GoldenTrack, field: &mut BlockField, leaf: Leaf, context: GoldenContext) {
        let options = inputs.coder.options(field, leaf.row, leaf.col, leaf.log2);
        self.goals.load_all(inputs, field, &leaf);
        let goals = &self.goals;
        let cost = |motion: Motion, limit: u64| {
            let mut bits = inputs.coder.golden(context, motion.golden, track.predict(&leaf, motion.vector));
            if !matches!(motion.golden, Golden::Alone(_)) {
                bits += inputs.coder.any(&options, motion.vector);
            }
            let rate = inputs.price * bits;
            if rate >= limit {
                return u64::MAX;
            }
            rate + BIT * goals.error_of(inputs, motion, (limit - rate).div_ceil(BIT))
        };
        let now = Motion { vector: leaf.vector, golden: Golden::Unused };
        let mut best = Choice { cost: cost(now, u64::MAX), motion: now };
        // A vector that is not coded is the first candidate.
        let free = options.merges().next().expect("a list is never empty").0;

        self.tried.clear();
        let mut starts = vec![track.predict(&leaf, leaf.vector), track.predict(&leaf, free)];
        for (row, col) in [(0, -1), (-1, 0), (-1, leaf.cells() as isize)] {
            let (row, col) = (leaf.row.checked_add_signed(row), leaf.col.checked_add_signed(col));
            if let (Some(row), Some(col)) = (row, col.filter(|&col| col < field.cols())) {
                starts.extend(field.golden(row, col).vector());
            }
        }
        let modes = [|vector| Golden::Mixed(vector), |vector| Golden::Alone(vector)];
        let motion = |mode: usize, golden: MotionVector| Motion {
            vector: if mode == 0 { leaf.vector } else { free },
            golden: modes[mode](golden),
        };
        for mode in 0..2 {
            let mut local: Option<Choice> = None;
            self.tried.clear();
            let consider = |local: &mut Option<Choice>, golden: MotionVector| {
                let motion = motion(mode, golden);
                let cost = cost(motion, local.map_or(u64::MAX, |local| local.cost));
                if local.is_none_or(|local| cost < local.cost) {
                    *local = Some(Choice { cost, motion });
                }
                cost
            };
            for &start in &starts {
                if !self.tried.contains(&start) {
                    self.tried.push(start);
                    consider(&mut local, start);
                }
            }
            for (step, rounds) in [(4, 2), (2, 2), (1, 2)] {
                for _ in 0..rounds {
                    let Some(centre) = local.and_then(|local| local.motion.golden.vector()) else { break };
                    try_around(centre, step, |vector| {
                        if self.tried.contains(&vector) {
                            return u64::MAX;
                        }
                        self.tried.push(vector);
                        consider(&mut local, vector)
                    });
                    if local.and_then(|local| local.motion.golden.vector()) == Some(centre) {
                        break;
                    }
                }
            }
            if let Some(local) = local.filter(|local| local.cost < best.cost) {
                best = local;
            }
        }
        if best.motion != now {
            field.set(Leaf { vector: best.motion.vector, ..leaf });
            field.set_golden(&leaf, best.motion.golden);
        }
    }
}
