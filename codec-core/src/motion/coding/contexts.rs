//! The adaptive models of motion, and what they say that choices cost.

use super::candidates::{Candidates, MAX_CANDIDATES, SPREADS};
use crate::entropy::AdaptiveBit;
use crate::motion::{MAX_LOG2, MIN_LOG2, MotionVector};

/// Sizes of leaves.
const SIZES: usize = (MAX_LOG2 - MIN_LOG2) as usize + 1;
/// Classes of a difference's magnitude by its binary logarithm; a difference is below 2^14.
pub(super) const CLASSES: usize = 14;

/// Models of one component of a vector difference.
#[derive(Clone, Copy, Debug)]
pub(super) struct Component {
    /// Whether the difference is not 0; of y, by whether x's is not.
    pub(super) nonzero: [[AdaptiveBit; 2]; SPREADS],
    /// Whether the class is above each.
    pub(super) beyond: [[AdaptiveBit; CLASSES - 1]; SPREADS],
    /// The bit below the highest one, by class.
    pub(super) second: [AdaptiveBit; CLASSES],
}

#[derive(Clone, Debug)]
pub(super) struct Contexts {
    pub(super) split: [[AdaptiveBit; 3]; SIZES - 1],
    /// By size and number of candidates.
    pub(super) merge: [[AdaptiveBit; MAX_CANDIDATES]; SIZES],
    /// By number of candidates and index.
    pub(super) index: [[AdaptiveBit; MAX_CANDIDATES - 1]; MAX_CANDIDATES],
    pub(super) components: [Component; 2],
}

impl Contexts {
    pub(super) fn new() -> Self {
        let even = AdaptiveBit::new(1 << 15);
        let component =
            Component { nonzero: [[even; 2]; SPREADS], beyond: [[even; CLASSES - 1]; SPREADS], second: [even; CLASSES] };
        Self {
            split: [[even; 3]; SIZES - 1],
            merge: [[even; MAX_CANDIDATES]; SIZES],
            index: [[even; MAX_CANDIDATES - 1]; MAX_CANDIDATES],
            components: [component; 2],
        }
    }
}

/// Row of a size in the tables.
pub(super) fn size(log2: u8) -> usize {
    usize::from(log2 - MIN_LOG2)
}

/// What the choices of a field cost in bits while the models are as they are now.
#[derive(Clone, Debug)]
pub struct MotionCosts {
    split: [[[f32; 2]; 3]; SIZES - 1],
    merge: [[[f32; 2]; MAX_CANDIDATES]; SIZES],
    index: [[f32; MAX_CANDIDATES]; MAX_CANDIDATES],
    components: [[ComponentCosts; SPREADS]; 2],
}

#[derive(Clone, Copy, Debug)]
struct ComponentCosts {
    nonzero: [[f32; 2]; 2],
    /// By class and second bit: all of a difference but `nonzero`.
    magnitude: [[f32; 2]; CLASSES],
}

impl MotionCosts {
    pub(super) fn new(contexts: &Contexts) -> Self {
        let both = |model: &AdaptiveBit| [model.bits(false), model.bits(true)];
        let index = |models: &[AdaptiveBit; MAX_CANDIDATES - 1], count: usize| {
            let mut before = 0.0;
            std::array::from_fn(|i| match models.get(i) {
                Some(model) if i + 1 < count => {
                    let cost = before + model.bits(false);
                    before += model.bits(true);
                    cost
                }
                _ => before,
            })
        };
        let component = |models: &Component, spread: usize| {
            let mut before = 0.0;
            let magnitude = std::array::from_fn(|class| {
                let stop = models.beyond[spread].get(class).map_or(0.0, |model| model.bits(false));
                let raw = 1.0 + class.saturating_sub(1) as f32;
                let cost = |second| if class == 0 { 0.0 } else { models.second[class].bits(second) };
                let costs = [false, true].map(|second| before + stop + raw + cost(second));
                before += models.beyond[spread].get(class).map_or(0.0, |model| model.bits(true));
                costs
            });
            ComponentCosts { nonzero: models.nonzero[spread].each_ref().map(both), magnitude }
        };
        Self {
            split: contexts.split.each_ref().map(|row| row.each_ref().map(both)),
            merge: contexts.merge.each_ref().map(|row| row.each_ref().map(both)),
            index: std::array::from_fn(|i| index(&contexts.index[i], i + 1)),
            components: contexts.components.each_ref().map(|models| std::array::from_fn(|spread| component(models, spread))),
        }
    }

    /// Cost of the flag that says whether a square of 2^`log2` samples a side is split; `context` is its
    /// [`split_context`](super::split_context). Nothing for the smallest.
    pub fn split(&self, log2: u8, context: usize, split: bool) -> f32 {
        if log2 == MIN_LOG2 { 0.0 } else { self.split[size(log2) - 1][context][usize::from(split)] }
    }

    /// Cost for a leaf of taking over the candidate `index`.
    pub fn merge(&self, log2: u8, candidates: &Candidates, index: usize) -> f32 {
        let count = candidates.merge().len();
        self.merge[size(log2)][count - 1][1] + self.index[count - 1][index]
    }

    /// Cost for a leaf of a vector that is not among the candidates.
    pub fn vector(&self, log2: u8, candidates: &Candidates, vector: MotionVector) -> f32 {
        let predictor = candidates.predictor();
        let x = i32::from(vector.x) - i32::from(predictor.x);
        let y = i32::from(vector.y) - i32::from(predictor.y);
        self.own(log2, candidates) + self.difference(candidates, 0, false, x) + self.difference(candidates, 1, x != 0, y)
    }

    /// Cost for a leaf of saying that its vector is not among the candidates, without the vector.
    pub fn own(&self, log2: u8, candidates: &Candidates) -> f32 {
        self.merge[size(log2)][candidates.merge().len() - 1][0]
    }

    /// Cost of one component (0: x, 1: y) of a vector difference. `other`: for y, whether x's difference is not 0.
    pub fn difference(&self, candidates: &Candidates, component: usize, other: bool, value: i32) -> f32 {
        let costs = &self.components[component][candidates.spread()[component]];
        let nonzero = costs.nonzero[usize::from(other)][usize::from(value != 0)];
        match value.unsigned_abs() {
            0 => nonzero,
            magnitude => {
                let class = magnitude.ilog2();
                let second = (magnitude << 1 >> class & 1) as usize;
                nonzero + costs.magnitude[class as usize][second]
            }
        }
    }
}
