//! Squared errors of overlapped prediction, as a function of one leaf's vector.

use super::decide::Inputs;
use super::kernels::Kernels;
use super::quarters::Quarters;
use super::surface::Surface;
use crate::motion::overlap::{UNIT, weights};
use crate::motion::{BlockField, CELL, Leaf, MIN_LOG2, MotionVector};

/// Cells where a neighbour's vector weighs less than this, of 64, do not count for it.
const LEAST_WEIGHT: u8 = 8;

/// Samples of a cell.
const AREA: usize = CELL * CELL;

/// Half of a cell's side.
const HALF: usize = CELL / 2;

/// What a neighbour's vector adds to half of a cell: rows or columns 0..4 or 4..8.
#[derive(Clone, Copy, Default)]
struct Side {
    vector: MotionVector,
    /// The neighbour is the leaf whose vector is open.
    open: bool,
    /// All 0 where no neighbour reaches.
    weights: [u8; HALF],
}

/// All that predicts one cell.
struct Sources {
    vector: MotionVector,
    open: bool,
    vertical: [Side; 2],
    horizontal: [Side; 2],
}

/// Weights of half a cell, by the binary logarithm of the overlap less 2, the distance of its nearest sample from the edge in
/// halves of a cell, and whether the edge is the far one. The narrowest overlap fills one half.
const RAMPS: [[[[u8; HALF]; 2]; 8]; 4] = {
    let mut ramps = [[[[0; HALF]; 2]; 8]; 4];
    let mut i = 0;
    while i < 4 * 8 * HALF {
        let (overlap, at) = (4 << (i / (8 * HALF)), i % (8 * HALF));
        if at < overlap {
            let weight = weights(overlap)[at];
            ramps[i / (8 * HALF)][at / HALF][0][at % HALF] = weight;
            ramps[i / (8 * HALF)][at / HALF][1][HALF - 1 - at % HALF] = weight;
        }
        i += 1;
    }
    ramps
};

impl Sources {
    fn of(field: &BlockField, (row, col): (usize, usize), is_open: impl Fn(usize, usize) -> bool) -> Self {
        let log2 = field.log2(row, col);
        let n = 1 << (log2 - MIN_LOG2);
        let (top, left) = (row & !(n - 1), col & !(n - 1));
        // Of a cell with so many cells of its leaf above or left of it. Each half is nearer to one edge, whose overlap alone can
        // reach it.
        let halves = |before: usize, near: Option<(usize, usize)>, far: Option<(usize, usize)>| -> [Side; 2] {
            std::array::from_fn(|half| {
                let at = 2 * before + half;
                let is_far = at >= n;
                let Some((r, c)) = (if is_far { far } else { near }) else { return Side::default() };
                let distance = if is_far { 2 * n - 1 - at } else { at };
                let overlap = log2.min(field.log2(r, c)) - MIN_LOG2;
                let weights = RAMPS[usize::from(overlap)][distance & 7][usize::from(is_far)];
                // Without a weight nothing else matters.
                if weights == [0; HALF] {
                    return Side::default();
                }
                Side { vector: field.vector(r, c), open: is_open(r, c), weights }
            })
        };
        let (bottom, right) = (top + n, left + n);
        Self {
            vector: field.vector(row, col),
            open: is_open(row, col),
            vertical: halves(row - top, (top > 0).then(|| (top - 1, col)), (bottom < field.rows()).then_some((bottom, col))),
            horizontal: halves(col - left, (left > 0).then(|| (row, left - 1)), (right < field.cols()).then_some((row, right))),
        }
    }

    /// Whether the open vector takes part with a weight of `least` anywhere.
    fn is_changed(&self, least: u8) -> bool {
        let strong = |side: &Side| side.open && side.weights[0].max(side.weights[HALF - 1]) >= least;
        self.open || self.vertical.iter().chain(&self.horizontal).any(strong)
    }
}

/// What the open vector's prediction, times its weight, should be at each sample of a cell; both in 1/[`UNIT`].
#[derive(Clone)]
#[repr(align(32))]
pub(super) struct Goal {
    pub target: [i16; AREA],
    pub weight: [i16; AREA],
    pub x: i32,
    pub y: i32,
}

/// Whether a leaf holds a cell.
fn covers(leaf: &Leaf, row: usize, col: usize) -> bool {
    let n = leaf.cells();
    (leaf.row..leaf.row + n).contains(&row) && (leaf.col..leaf.col + n).contains(&col)
}

/// The squared error around a leaf as a function of its vector, everything else being as it is in the field.
#[derive(Default)]
pub(super) struct Goals {
    /// The first `count` are in use.
    cells: Vec<Goal>,
    count: usize,
}

impl Goals {
    /// Looks at a leaf, and at the cells that its vector blends into.
    pub fn load(&mut self, inputs: &Inputs, field: &BlockField, leaf: &Leaf) {
        let open = |row: usize, col: usize| covers(leaf, row, col);
        self.look(inputs, field, leaf, open, |sources| sources.is_changed(LEAST_WEIGHT));
    }

    /// As [`Self::load`], at all cells that any vectors in the leaf's square can blend into.
    pub fn load_all(&mut self, inputs: &Inputs, field: &BlockField, leaf: &Leaf) {
        let open = |row: usize, col: usize| covers(leaf, row, col);
        self.look(inputs, field, leaf, open, |_| true);
    }

    /// The squared error of the prediction in all these cells.
    pub fn present_error(&mut self, inputs: &Inputs, field: &BlockField, leaf: &Leaf) -> u64 {
        self.look(inputs, field, leaf, |_, _| false, |_| true);
        self.error(inputs.quarters, inputs.kernels, MotionVector::default(), u64::MAX)
    }

    fn look(
        &mut self,
        inputs: &Inputs,
        field: &BlockField,
        leaf: &Leaf,
        is_open: impl Fn(usize, usize) -> bool,
        counts: impl Fn(&Sources) -> bool,
    ) {
        self.count = 0;
        let n = leaf.cells();
        // The leaf's own cells first: they decide most.
        for cell in (0..n * n).map(|i| (leaf.row + i / n, leaf.col + i % n)) {
            self.look_at(inputs, field, cell, &is_open, &counts);
        }
        // The widest overlap reaches half a leaf beyond the edge.
        let reach = n.div_ceil(2);
        let before = |start: usize| start.saturating_sub(reach)..start;
        let after = |start: usize, end: usize| start + n..(start + n + reach).min(end);
        for row in before(leaf.row).chain(after(leaf.row, field.rows())) {
            for col in leaf.col..leaf.col + n {
                self.look_at(inputs, field, (row, col), &is_open, &counts);
            }
        }
        for col in before(leaf.col).chain(after(leaf.col, field.cols())) {
            for row in leaf.row..leaf.row + n {
                self.look_at(inputs, field, (row, col), &is_open, &counts);
            }
        }
    }

    fn look_at(
        &mut self,
        inputs: &Inputs,
        field: &BlockField,
        (row, col): (usize, usize),
        is_open: impl Fn(usize, usize) -> bool,
        counts: impl Fn(&Sources) -> bool,
    ) {
        if CELL * row >= inputs.display.1 || CELL * col >= inputs.display.0 {
            return;
        }
        let sources = Sources::of(field, (row, col), is_open);
        if !counts(&sources) {
            return;
        }
        if self.count == self.cells.len() {
            self.cells.push(Goal { target: [0; AREA], weight: [0; AREA], x: 0, y: 0 });
        }
        goal(inputs, (CELL * col, CELL * row), &sources, &mut self.cells[self.count]);
        self.count += 1;
    }

    /// The squared error with a vector in the cells that were looked at; anything not below it once it reaches `limit`.
    pub fn error(&self, quarters: &Quarters, kernels: Kernels, vector: MotionVector, limit: u64) -> u64 {
        let (samples, way) = quarters.plane(vector);
        // Errors are in 1/8 grey level.
        kernels.goals(&self.cells[..self.count], samples, way, limit.saturating_mul(64)) >> 6
    }
}

/// A block's samples from its first one on, and how far its rows are apart.
pub(super) type Block<'a> = (&'a [u8], usize);

/// Predictions of a cell and their weights. In place of the open vector's prediction stands the current picture itself.
pub(super) struct Parts<'a> {
    pub current: Block<'a>,
    pub own: Block<'a>,
    /// For rows 0..4 and 4..8; the second block starts with row 4.
    pub vertical: [Block<'a>; 2],
    /// For columns 0..4 and 4..8; both start with column 0.
    pub horizontal: [Block<'a>; 2],
    /// Of the vertical neighbours by row, of the horizontal ones by column.
    pub weights: [[u8; CELL]; 2],
    /// The open vector's share before horizontal blending, by row, in 1/64.
    pub share: [u8; CELL],
    /// All ones in columns whose horizontal neighbour is open.
    pub open: [u8; CELL],
}

impl Parts<'_> {
    pub fn is_complete(&self) -> bool {
        let holds = |block: Block, rows: usize| block.0.len() >= (rows - 1) * block.1 + CELL;
        holds(self.current, CELL)
            && holds(self.own, CELL)
            && self.vertical.iter().all(|&block| holds(block, HALF))
            && self.horizontal.iter().all(|&block| holds(block, CELL))
    }
}

fn goal(inputs: &Inputs, (x, y): (usize, usize), sources: &Sources, goal: &mut Goal) {
    let from = |y: usize| (&inputs.current.data[y * inputs.current.stride + x..], inputs.current.stride);
    let block = |open: bool, y: usize, vector: MotionVector| {
        if open { from(y) } else { (inputs.quarters.block(x, y, vector), inputs.quarters.stride()) }
    };
    let side = |side: &Side, y: usize| block(side.open || side.weights == [0; HALF], y, side.vector);
    let mut parts = Parts {
        current: from(y),
        own: block(sources.open, y, sources.vector),
        vertical: [side(&sources.vertical[0], y), side(&sources.vertical[1], y + HALF)],
        horizontal: [side(&sources.horizontal[0], y), side(&sources.horizontal[1], y)],
        weights: [[0; CELL]; 2],
        share: [0; CELL],
        open: [0; CELL],
    };
    for i in 0..CELL {
        let (vertical, horizontal) = (&sources.vertical[i / HALF], &sources.horizontal[i / HALF]);
        let (v, h) = (vertical.weights[i % HALF], horizontal.weights[i % HALF]);
        (parts.weights[0][i], parts.weights[1][i]) = (v, h);
        parts.share[i] = v * u8::from(vertical.open) + (UNIT as u8 - v) * u8::from(sources.open);
        parts.open[i] = 0u8.wrapping_sub(u8::from(horizontal.open));
    }
    inputs.kernels.goal(&parts, goal);
    (goal.x, goal.y) = (x as i32, y as i32);
    let (width, height) = (inputs.display.0 - x, inputs.display.1 - y);
    if width < CELL || height < CELL {
        for i in (0..AREA).filter(|i| i % CELL >= width || i / CELL >= height) {
            (goal.target[i], goal.weight[i]) = (0, 0);
        }
    }
}

/// Half of the unit that errors are rounded to, in 1/[`UNIT`].
pub(super) const HALF_ERROR: i32 = 4;

/// Works out a cell's goal.
pub(super) fn goal_any(parts: &Parts, goal: &mut Goal) {
    let sample = |(block, stride): Block, row: usize, col: usize| i32::from(block[row * stride + col]);
    for (row, col) in (0..AREA).map(|at| (at / CELL, at % CELL)) {
        let (v, h) = (i32::from(parts.weights[0][row]), i32::from(parts.weights[1][col]));
        let vertical = sample(parts.vertical[row / HALF], row % HALF, col);
        let horizontal = sample(parts.horizontal[col / HALF], row, col);
        // In 1/64.
        let first = (UNIT - v) * sample(parts.own, row, col) + v * vertical;
        let blended = first + (((UNIT * horizontal - first) * h + UNIT / 2) >> 6);
        let open = if parts.open[col] != 0 { h } else { 0 };
        let weight = (((UNIT - h) * i32::from(parts.share[row]) + UNIT / 2) >> 6) + open;
        goal.weight[row * CELL + col] = weight as i16;
        // The error where the open vector predicts the current sample exactly, and what it adds then. Half a unit of the errors
        // rounds them.
        let current = sample(parts.current, row, col);
        goal.target[row * CELL + col] = (UNIT * current - blended + weight * current + HALF_ERROR) as i16;
    }
}

/// Sum of the squares of (target - weight * prediction) / 8, rounded down (to nearest, as targets are made), over all goals, predicted by the samples that lie (x, y) =
/// `way` from their places; anything from `limit` on once it is reached.
pub(super) fn goals_any(goals: &[Goal], samples: &Surface, way: (i32, i32), limit: u64) -> u64 {
    let mut sum = 0;
    for goal in goals {
        let block = samples.block(goal.x + way.0, goal.y + way.1);
        for (at, (target, weight)) in goal.target.iter().zip(&goal.weight).enumerate() {
            let error = target - weight * i16::from(block[at / CELL * samples.stride + at % CELL]);
            sum += i64::from(error >> 3).pow(2) as u64;
        }
        if sum >= limit {
            break;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, Plane};
    use crate::motion::coding::MotionCoder;
    use crate::motion::coding::Surroundings;
    use crate::motion::search::costs::Coder;
    use crate::motion::search::decide::Thoroughness;
    use crate::motion::search::hierarchy::Hierarchy;
    use crate::motion::{BlockCompensator, MAX_LOG2};
    use rand::prelude::*;

    const SIZE: (usize, usize) = (192, 128);
    const DISPLAY: (usize, usize) = (179, 122);

    fn noise(rng: &mut SmallRng) -> Plane {
        // Smooth enough that roundings between the filters do not matter.
        let mut plane = Plane::new(SIZE.0, SIZE.1);
        let phases: [f32; 4] = std::array::from_fn(|_| rng.random_range(0.0..6.0));
        for row in 0..SIZE.1 {
            for (col, out) in plane.row_mut(row).iter_mut().enumerate() {
                let (x, y) = (col as f32, row as f32);
                let waves = (0.3 * x + phases[0]).sin() + (0.2 * y + phases[1]).sin() + (0.25 * (x + y) + phases[2]).sin();
                *out = (128.0 + 30.0 * waves) as u8;
            }
        }
        plane
    }

    fn grow(rng: &mut SmallRng, field: &mut BlockField, row: usize, col: usize, log2: u8) {
        if log2 > MIN_LOG2 && rng.random_bool(0.6) {
            let half = 1 << (log2 - 1 - MIN_LOG2);
            for (down, right) in [(0, 0), (0, half), (half, 0), (half, half)] {
                grow(rng, field, row + down, col + right, log2 - 1);
            }
        } else {
            let vector = MotionVector { x: rng.random_range(-40..40), y: rng.random_range(-40..40) };
            field.set(Leaf { row, col, log2, vector });
        }
    }

    fn with_inputs(test: impl Fn(&Inputs, &mut BlockField, &Plane, &mut SmallRng)) {
        let mut rng = SmallRng::seed_from_u64(7);
        let (current, reference) = (noise(&mut rng), noise(&mut rng));
        let mut quarters = Quarters::default();
        quarters.load(&reference, DISPLAY, 1);
        let costs = MotionCoder::new(SIZE.0, SIZE.1).costs();
        let inputs = Inputs {
            current: &current,
            display: DISPLAY,
            quarters: &quarters,
            hierarchy: &Hierarchy::default(),
            coder: Coder { costs: &costs, surroundings: Surroundings::new((current.width, current.height), None) },
            price: 100,
            kernels: Kernels::detect(),
            thoroughness: Thoroughness::default(),
        };
        let mut field = BlockField::still(SIZE.0, SIZE.1);
        for _ in 0..5 {
            for (row, col) in [(0, 0), (0, 8), (0, 16), (8, 0), (8, 8), (8, 16)] {
                grow(&mut rng, &mut field, row, col, MAX_LOG2);
            }
            test(&inputs, &mut field, &reference, &mut rng);
        }
    }

    /// Squared error of the real prediction, in the whole visible picture.
    fn real_error(inputs: &Inputs, field: &BlockField, reference: &Plane) -> f64 {
        let (mut from, mut to) = (Frame::new(SIZE.0, SIZE.1), Frame::new(SIZE.0, SIZE.1));
        *from.plane_mut(0) = reference.clone();
        BlockCompensator::default().predict(&from, DISPLAY, field, 1, &mut to).unwrap();
        let row = |y: usize| inputs.current.row(y)[..DISPLAY.0].iter().zip(to.plane(0).row(y));
        (0..DISPLAY.1).flat_map(row).map(|(&a, &b)| f64::from(a.abs_diff(b)).powi(2)).sum()
    }

    #[test]
    fn errors_are_those_of_the_real_prediction() {
        with_inputs(|inputs, field, reference, _| {
            let mut goals = Goals::default();
            let mut sum = 0;
            for cell in (0..field.rows() * field.cols()).map(|i| (i / field.cols(), i % field.cols())) {
                goals.count = 0;
                goals.look_at(inputs, field, cell, |_, _| false, |_| true);
                sum += goals.error(inputs.quarters, inputs.kernels, MotionVector::default(), u64::MAX);
            }
            let wanted = real_error(inputs, field, reference);
            assert!((sum as f64 / wanted - 1.0).abs() < 1e-3, "{sum} {wanted}");
        });
    }

    #[test]
    fn a_leafs_change_changes_the_error_as_the_real_prediction_does() {
        with_inputs(|inputs, field, reference, rng| {
            let leaves: Vec<Leaf> = field.leaves().collect();
            for leaf in leaves.choose_multiple(rng, 12) {
                let other = MotionVector { x: rng.random_range(-40..40), y: rng.random_range(-40..40) };
                let (mut goals, mut all) = (Goals::default(), Goals::default());
                goals.look(inputs, field, leaf, |r, c| covers(leaf, r, c), |sources| sources.is_changed(1));
                all.load_all(inputs, field, leaf);
                let error = |goals: &Goals, vector| goals.error(inputs.quarters, inputs.kernels, vector, u64::MAX) as f64;
                let change = |goals: &Goals| error(goals, other) - error(goals, leaf.vector);
                let before = real_error(inputs, field, reference);
                let own = error(&all, leaf.vector);
                let present = all.present_error(inputs, field, leaf) as f64;
                assert!((present - own).abs() < 5e-3 * own + 50.0, "{leaf:?}: {present} {own}");
                all.load_all(inputs, field, leaf);
                field.set(Leaf { vector: other, ..*leaf });
                let wanted = real_error(inputs, field, reference) - before;
                field.set(*leaf);
                for found in [change(&goals), change(&all)] {
                    // Roundings differ: a part of the error that changes.
                    let tolerance = 5e-3 * (error(&goals, other) + error(&goals, leaf.vector)) + 50.0;
                    assert!((found - wanted).abs() < tolerance, "{leaf:?} to {other:?}: {found} {wanted} {tolerance}");
                }
            }
        });
    }

    #[test]
    fn vector_code_equals_plain_code() {
        let mut rng = SmallRng::seed_from_u64(8);
        let blocks: [[u8; 16 * 8]; 6] = std::array::from_fn(|_| std::array::from_fn(|_| rng.random()));
        let kernels = Kernels::detect();
        for _ in 0..50 {
            let block = |i: usize| (&blocks[i][..], 16);
            let open_column = 0u8.wrapping_sub(u8::from(rng.random::<bool>()));
            let mut weights = || std::array::from_fn(|_| rng.random_range(0..32));
            let parts = Parts {
                current: block(0),
                own: block(1),
                vertical: [block(2), block(3)],
                horizontal: [block(4), block(5)],
                weights: [weights(), weights()],
                share: weights(),
                open: [open_column; 8],
            };
            let empty = || Goal { target: [0; AREA], weight: [0; AREA], x: 3, y: -2 };
            let (mut found, mut wanted) = (empty(), empty());
            kernels.goal(&parts, &mut found);
            goal_any(&parts, &mut wanted);
            assert_eq!((found.target, found.weight), (wanted.target, wanted.weight));
            let mut surface = Surface::default();
            surface.load(&Plane::from_vec(blocks.concat(), 32, 24).unwrap(), (32, 24));
            for limit in [u64::MAX, 1] {
                let goals = [found.clone(), found.clone()];
                let way = (rng.random_range(-9..40), rng.random_range(-9..40));
                assert_eq!(kernels.goals(&goals, &surface, way, limit), goals_any(&goals, &surface, way, limit));
            }
        }
    }
}
