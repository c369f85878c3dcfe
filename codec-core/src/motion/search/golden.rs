//! What leaves take from the golden frame, by what that does to the overlapped prediction.

use super::around::try_around;
use super::blend::Goals;
use super::costs::{BIT, Options};
use super::decide::Inputs;
use crate::motion::coding::{GoldenContext, GoldenTrack};
use crate::motion::{BlockField, Golden, Leaf, Motion, MotionVector};

/// Bits that a leaf's use of the golden frame has to save.
const LEAST_BITS: u64 = 6;

/// The pass over the leaves, with its buffers.
#[derive(Default)]
pub(super) struct GoldenPass {
    goals: Goals,
    leaves: Vec<Leaf>,
    starts: Vec<MotionVector>,
    tried: Vec<MotionVector>,
}

/// Some motion and what it costs.
#[derive(Clone, Copy)]
struct Choice {
    cost: u64,
    motion: Motion,
}

/// A leaf and what its motion costs.
struct Trial<'a> {
    inputs: &'a Inputs<'a>,
    track: &'a GoldenTrack,
    goals: &'a Goals,
    options: Options,
    context: GoldenContext,
    leaf: Leaf,
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
        // A leaf that is predicted well enough has nothing to gain.
        let Some(area) = inputs.area(leaf.row, leaf.col, leaf.log2) else { return };
        if inputs.distortion(area, leaf.vector) < inputs.price * LEAST_BITS {
            return;
        }
        self.goals.load(inputs, field, &leaf);
        let error = self.goals.error(inputs, leaf.vector, u64::MAX);
        let options = inputs.coder.options(field, leaf.row, leaf.col, leaf.log2);
        // In place of a vector that is not coded, the first candidate counts.
        let free = options.merges().next().expect("a list is never empty").0;
        let trial = Trial { inputs, track, goals: &self.goals, options, context, leaf };
        let now = Motion { vector: leaf.vector, golden: Golden::Unused };
        let present = BIT * error + trial.rate(now);
        let mut best = Choice { cost: present, motion: now };

        self.starts.clear();
        self.starts.push(track.predict(&leaf, leaf.vector));
        for (row, col) in [(0, -1), (-1, 0), (-1, leaf.cells() as isize)] {
            let (row, col) = (leaf.row.checked_add_signed(row), leaf.col.checked_add_signed(col));
            if let (Some(row), Some(col)) = (row, col.filter(|&col| col < field.cols())) {
                self.starts.extend(field.golden(row, col).vector().filter(|vector| !self.starts.contains(vector)));
            }
        }
        // Mixed predictions first: where they are far from paying, the golden frame does not show what the leaf does.
        let mixed = trial.search(&self.starts, &mut self.tried, present, |vector| Motion {
            vector: leaf.vector,
            golden: Golden::Mixed(vector),
        });
        let hopeless = mixed.cost / 4 * 3 > present;
        let mut consider = |choice: Choice| {
            if choice.cost < best.cost {
                best = choice;
            }
        };
        consider(mixed);
        if !hopeless {
            let predicted = track.predict(&leaf, free);
            if !self.starts.contains(&predicted) {
                self.starts.push(predicted);
            }
            self.starts.extend(mixed.motion.golden.vector());
            let limit = mixed.cost.min(present);
            consider(
                trial.search(&self.starts, &mut self.tried, limit, |vector| Motion {
                    vector: free,
                    golden: Golden::Alone(vector),
                }),
            );
        }
        if best.motion != now {
            let vector = match best.motion.golden {
                Golden::Alone(golden) => track.motion(&leaf, golden),
                _ => leaf.vector,
            };
            field.set(Leaf { vector, ..leaf });
            field.set_golden(&leaf, best.motion.golden);
        }
    }
}

impl Trial<'_> {
    fn rate(&self, motion: Motion) -> u64 {
        let coder = &self.inputs.coder;
        let vector = match motion.golden {
            Golden::Alone(_) => 0,
            _ => coder.any(&self.options, motion.vector),
        };
        self.inputs.price * (vector + coder.golden(self.context, motion.golden, self.track.predict(&self.leaf, motion.vector)))
    }

    /// The cost of some motion; anything not below `limit` once it reaches that.
    fn cost(&self, motion: Motion, limit: u64) -> u64 {
        let rate = self.rate(motion);
        if rate >= limit {
            return u64::MAX;
        }
        rate + BIT * self.goals.error_of(self.inputs, motion, (limit - rate).div_ceil(BIT))
    }

    /// The best of some vectors to the golden frame, and of those around it where it comes near to costing less than `limit`.
    fn search(
        &self,
        starts: &[MotionVector],
        tried: &mut Vec<MotionVector>,
        limit: u64,
        motion: impl Fn(MotionVector) -> Motion,
    ) -> Choice {
        tried.clear();
        let mut best = Choice { cost: u64::MAX, motion: Motion::default() };
        for &start in starts {
            tried.push(start);
            let cost = self.cost(motion(start), best.cost);
            if cost < best.cost {
                best = Choice { cost, motion: motion(start) };
            }
        }
        // What refinement may hope for.
        if best.cost / 4 * 3 >= limit {
            return best;
        }
        for (step, rounds) in [4, 2, 1].into_iter().zip(self.inputs.thoroughness.golden_rounds) {
            for _ in 0..rounds {
                let Some(centre) = best.motion.golden.vector() else { return best };
                try_around(centre, step, |vector| {
                    if tried.contains(&vector) {
                        return u64::MAX;
                    }
                    tried.push(vector);
                    let cost = self.cost(motion(vector), best.cost);
                    if cost < best.cost {
                        best = Choice { cost, motion: motion(vector) };
                    }
                    cost
                });
                if best.motion.golden.vector() == Some(centre) {
                    break;
                }
            }
        }
        best
    }
}
