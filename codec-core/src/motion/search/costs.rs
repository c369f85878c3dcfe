//! What a leaf costs and what it may be predicted from: a stand-in for the coder's own figures.

use crate::motion::{BlockField, CELL, MAX_COMPONENT, MIN_LOG2, MotionVector, ROOT};

/// Bits are counted in units of 1 / this.
pub(super) const BIT: u64 = 256;
/// Merge candidates of a leaf at most.
pub(super) const MAX_MERGES: usize = 7;

/// Bit costs of trees and vectors.
#[derive(Clone, Debug)]
pub struct MotionCosts {
    /// Of a component by its difference's magnitude.
    component: Vec<u16>,
}

impl Default for MotionCosts {
    fn default() -> Self {
        let bits = |d: usize| 2.0 * ((d + 1) as f32).log2() + 0.718 + f32::from(u8::from(d != 0));
        Self { component: (0..=2 * MAX_COMPONENT as usize).map(|d| (bits(d) * BIT as f32).round() as u16).collect() }
    }
}

/// What the coder offers at a leaf.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    merges: [MotionVector; MAX_MERGES],
    count: usize,
    pub predictor: MotionVector,
}

impl Options {
    pub fn merges(&self) -> &[MotionVector] {
        &self.merges[..self.count]
    }
}

/// The coder as the search sees it.
#[derive(Clone, Copy)]
pub(super) struct Coder<'a> {
    pub costs: &'a MotionCosts,
    pub previous: Option<&'a BlockField>,
}

impl Coder<'_> {
    /// Candidates at a leaf whose predecessors in coding order are in `field`.
    pub fn options(&self, field: &BlockField, row: usize, col: usize, log2: u8) -> Options {
        let n = 1 << (log2 - MIN_LOG2);
        let known = |r: usize, c: usize| {
            let inside = r < field.rows() && c < field.cols();
            (inside && order(field, r, c) < order(field, row, col)).then(|| field.vector(r, c))
        };
        // Wrapping below zero lands outside the field.
        let (up, before) = (row.wrapping_sub(1), col.wrapping_sub(1));
        let left = known(row + n - 1, before);
        let above = known(up, col + n - 1);
        let corner = known(up, before);
        let right = known(up, col + n).or(corner);
        let temporal = self.previous.filter(|p| (p.rows(), p.cols()) == (field.rows(), field.cols()));
        let temporal = temporal.map(|p| p.vector(row + n / 2, col + n / 2));
        let candidates = [left, above, right, known(row + n, before), corner, temporal, Some(MotionVector::default())];
        let mut options = Options { merges: Default::default(), count: 0, predictor: MotionVector::default() };
        for candidate in candidates.into_iter().flatten() {
            if !options.merges().contains(&candidate) {
                options.merges[options.count] = candidate;
                options.count += 1;
            }
        }
        options.predictor = match (left, above, right) {
            (Some(left), None, None) => left,
            _ => {
                let [a, b, c] = [left, above, right].map(Option::unwrap_or_default);
                MotionVector { x: median(a.x, b.x, c.x), y: median(a.y, b.y, c.y) }
            }
        };
        options
    }

    /// Of a leaf that takes a candidate's vector.
    pub fn merge(&self, options: &Options, _log2: u8, index: usize) -> u64 {
        let more = options.count > 1;
        BIT * (1 + (index as u64 + u64::from(more)).min(3))
    }

    /// Of a leaf with a vector of its own.
    pub fn vector(&self, options: &Options, _log2: u8, vector: MotionVector) -> u64 {
        let component = |a: i16, b: i16| {
            let difference = usize::from(a.abs_diff(b));
            u64::from(self.costs.component[difference.min(self.costs.component.len() - 1)])
        };
        BIT + component(vector.x, options.predictor.x) + component(vector.y, options.predictor.y)
    }

    /// Of the flag that says whether a node is split.
    pub fn split(&self, _field: &BlockField, _row: usize, _col: usize, log2: u8, split: bool) -> u64 {
        match (log2 > MIN_LOG2, split) {
            (false, _) => 0,
            (true, false) => BIT / 2,
            (true, true) => BIT * 3 / 2,
        }
    }
}

fn median(a: i16, b: i16, c: i16) -> i16 {
    a.min(b).max(a.max(b).min(c))
}

/// Position of a cell in coding order.
fn order(field: &BlockField, row: usize, col: usize) -> usize {
    const SIDE: usize = ROOT / CELL;
    let tree = row / SIDE * (field.cols() / SIDE) + col / SIDE;
    (0..SIDE.ilog2()).fold(tree * SIDE * SIDE, |sum, bit| {
        sum | (row >> bit & 1) << (2 * bit + 1) | (col >> bit & 1) << (2 * bit)
    })
}
