//! The coder as the search sees it: costs in integers, so that sums do not depend on their order.

use crate::motion::coding::{Candidates, GoldenContext, MAX_CANDIDATES, MotionCosts, Surroundings};
use crate::motion::{BlockField, Golden, MotionVector};

/// Bits are counted in units of 1 / this.
pub(super) const BIT: u64 = 256;

/// What the coder offers at a leaf.
#[derive(Clone, Copy)]
pub(super) struct Options {
    candidates: Candidates,
    log2: u8,
    merges: [u64; MAX_CANDIDATES],
}

impl Options {
    /// Vectors that cost only an index, and what that costs.
    pub fn merges(&self) -> impl Iterator<Item = (MotionVector, u64)> {
        self.candidates.merge().iter().copied().zip(self.merges)
    }

    pub fn predictor(&self) -> MotionVector {
        self.candidates.predictor()
    }
}

/// What choices cost, and what they depend on beside the field under construction.
#[derive(Clone, Copy)]
pub(super) struct Coder<'a> {
    pub costs: &'a MotionCosts,
    pub surroundings: Surroundings<'a>,
}

impl Coder<'_> {
    /// Of a leaf whose predecessors in coding order are in `field`.
    pub fn options(&self, field: &BlockField, row: usize, col: usize, log2: u8) -> Options {
        let candidates = self.surroundings.candidates(field, row, col, log2);
        let mut merges = [0; MAX_CANDIDATES];
        for (i, cost) in merges[..candidates.merge().len()].iter_mut().enumerate() {
            *cost = units(self.costs.merge(log2, &candidates, i));
        }
        Options { candidates, log2, merges }
    }

    /// Of a vector that is coded as such.
    pub fn vector(&self, options: &Options, vector: MotionVector) -> u64 {
        units(self.costs.vector(options.log2, &options.candidates, vector))
    }

    /// Of a vector, by the cheapest way to code it.
    pub fn any(&self, options: &Options, vector: MotionVector) -> u64 {
        match options.merges().find(|&(merge, _)| merge == vector) {
            Some((_, cost)) => cost,
            None => self.vector(options, vector),
        }
    }

    /// Of what a leaf takes from the golden frame.
    pub fn golden(&self, context: GoldenContext, golden: Golden, predictor: MotionVector) -> u64 {
        units(self.costs.golden(context, golden, predictor))
    }

    /// Of the flag that says whether a square is split.
    pub fn split(&self, field: &BlockField, row: usize, col: usize, log2: u8, split: bool) -> u64 {
        units(self.costs.split(log2, self.surroundings.split_context(field, row, col, log2), split))
    }
}

fn units(bits: f32) -> u64 {
    (bits * BIT as f32) as u64
}
