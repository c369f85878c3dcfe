//! The adaptive models of motion, and what they say that choices cost.

use super::candidates::{Candidates, GoldenContext, SPLITS};
use super::contexts::{ALONES, CLASSES, Component, GOLDENS, INDICES, MERGES, NEGATIVES, NONZEROS, ROWS, SECONDS, index, merge};
use super::initial;
use crate::entropy::AdaptiveBit;
use crate::motion::{Golden, MIN_LOG2, MotionVector};

/// One `T` for each context (`contexts`).
#[derive(Clone, Debug)]
pub(super) struct Models<T> {
    pub split: [T; SPLITS],
    pub merge: [T; MERGES],
    pub index: [T; INDICES],
    pub nonzero: [T; NONZEROS],
    pub negative: [T; NEGATIVES],
    pub beyond: [[T; CLASSES - 1]; ROWS],
    pub second: [T; SECONDS],
    /// The frame uses the golden frame, it becomes that itself, the last frame is changed in brightness.
    pub frame: [T; 3],
    pub golden: [T; GOLDENS],
    pub alone: [T; ALONES],
}

impl Models<AdaptiveBit> {
    pub fn new() -> Self {
        Self {
            split: initial::SPLIT.map(initial::model),
            merge: initial::MERGE.map(initial::model),
            index: initial::INDEX.map(initial::model),
            nonzero: initial::NONZERO.map(initial::model),
            negative: initial::NEGATIVE.map(initial::model),
            beyond: std::array::from_fn(|row| initial::beyond(row).map(initial::model)),
            second: initial::SECOND.map(initial::model),
            frame: [initial::model(128), initial::model(16), initial::model(2)],
            golden: initial::GOLDEN.map(initial::model),
            alone: initial::ALONE.map(initial::model),
        }
    }

    /// Of B-frames.
    pub fn between() -> Self {
        Self {
            split: initial::B_SPLIT.map(initial::model),
            merge: initial::B_MERGE.map(initial::model),
            golden: initial::B_GOLDEN.map(initial::model),
            alone: initial::B_ALONE.map(initial::model),
            ..Self::new()
        }
    }
}

/// What the choices of a field cost in bits while the models are as they are now.
#[derive(Clone, Debug)]
pub struct MotionCosts {
    models: Models<[f32; 2]>,
    /// By row: for each class the cost of getting to it, and that with the cost of stopping there.
    classes: Vec<[[f32; 2]; CLASSES]>,
}

impl MotionCosts {
    pub(super) fn new(models: &Models<AdaptiveBit>) -> Self {
        let both = |model: &AdaptiveBit| [model.bits(false), model.bits(true)];
        let models = Models {
            split: models.split.each_ref().map(both),
            merge: models.merge.each_ref().map(both),
            index: models.index.each_ref().map(both),
            nonzero: models.nonzero.each_ref().map(both),
            negative: models.negative.each_ref().map(both),
            beyond: models.beyond.each_ref().map(|row| row.each_ref().map(both)),
            second: models.second.each_ref().map(both),
            frame: models.frame.each_ref().map(both),
            golden: models.golden.each_ref().map(both),
            alone: models.alone.each_ref().map(both),
        };
        let classes = |row: &[[f32; 2]; CLASSES - 1]| {
            let mut before = 0.0;
            std::array::from_fn(|class| {
                let [stop, go] = row.get(class).copied().unwrap_or_default();
                let costs = [before, before + stop];
                before += go;
                costs
            })
        };
        let classes = models.beyond.iter().map(classes).collect();
        Self { models, classes }
    }

    /// Cost of the flags of a frame in steady light: whether it uses the golden frame, and whether it becomes that.
    #[cfg(test)]
    pub fn frame(&self, uses_golden: bool, renews_golden: bool) -> f32 {
        self.models.frame[0][usize::from(uses_golden)]
            + self.models.frame[1][usize::from(renews_golden)]
            + self.models.frame[2][0]
    }

    /// Cost of the flag that says whether a square of 2^`log2` samples a side is split; `context` is its
    /// [`split_context`](super::Surroundings::split_context). Nothing for the smallest.
    pub fn split(&self, log2: u8, context: usize, split: bool) -> f32 {
        if log2 == MIN_LOG2 { 0.0 } else { self.models.split[context][usize::from(split)] }
    }

    /// Cost for a leaf of taking over the candidate number `wanted`.
    pub fn merge(&self, log2: u8, candidates: &Candidates, wanted: usize) -> f32 {
        let last = candidates.merge().len() - 1;
        let flags = (0..last.min(wanted + 1)).map(|i| self.models.index[index(candidates, i)][usize::from(wanted > i)]);
        self.models.merge[merge(candidates, log2)][1] + flags.sum::<f32>()
    }

    /// Cost for a leaf of a vector that is not among the candidates; of the predictor, where it is among them, the cost of a vector
    /// next to it.
    pub fn vector(&self, log2: u8, candidates: &Candidates, vector: MotionVector) -> f32 {
        let predictor = candidates.predictor();
        let x = i32::from(vector.x) - i32::from(predictor.x);
        let y = i32::from(vector.y) - i32::from(predictor.y);
        let certain = x == 0 && candidates.listed;
        self.models.merge[merge(candidates, log2)][0]
            + self.difference(Component::x(candidates, log2), x, false)
            + self.difference(Component::y(candidates, log2, x), y, certain)
    }

    /// Cost for a leaf of what it takes from the golden frame, without the vector to the last frame, in a frame that uses it.
    /// `predictor`: what [`GoldenTrack::predict`](super::GoldenTrack::predict) says.
    pub fn golden(&self, context: GoldenContext, golden: Golden, predictor: MotionVector) -> f32 {
        let used = |used: bool| self.models.golden[context.used][usize::from(used)];
        let vector = match golden {
            Golden::Unused => return used(false),
            Golden::Mixed(vector) | Golden::Alone(vector) => vector,
        };
        let alone = matches!(golden, Golden::Alone(_));
        let x = i32::from(vector.x) - i32::from(predictor.x);
        let y = i32::from(vector.y) - i32::from(predictor.y);
        used(true)
            + self.models.alone[context.alone][usize::from(alone)]
            + self.difference(Component::golden(None), x, false)
            + self.difference(Component::golden(Some(x)), y, false)
    }

    /// Cost of one component. `certain`: that it is not 0 is known.
    fn difference(&self, component: Component, value: i32, certain: bool) -> f32 {
        let value = if certain && value == 0 { 1 } else { value };
        let nonzero = if certain { 0.0 } else { self.models.nonzero[component.nonzero()][usize::from(value != 0)] };
        if value == 0 {
            return nonzero;
        }
        let negative = value < 0;
        let magnitude = value.unsigned_abs();
        let class = magnitude.ilog2() as usize;
        let [near, far] = component.rows(negative).map(|row| &self.classes[row]);
        let limit = component.near(negative);
        let classes = if class < limit { near[class][1] } else { near[limit][0] - far[limit][0] + far[class][1] };
        let tail = match class {
            0 => 0.0,
            _ => self.models.second[component.second(class)][(magnitude << 1 >> class & 1) as usize] + (class - 1) as f32,
        };
        nonzero + self.models.negative[component.negative()][usize::from(negative)] + classes + tail
    }
}
