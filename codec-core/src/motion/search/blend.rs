//! Squared errors of overlapped prediction, as a function of one leaf's vector.

use super::decide::Inputs;
use super::kernels::Kernels;
use super::quarters::Quarters;
use super::surface::Surface;
use crate::motion::overlap::{UNIT, weights};
use crate::motion::{BlockField, CELL, Leaf, MIN_LOG2, MotionVector};

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
            vertical: halves(
                row - top,
                (top > 0).then(|| (top - 1, col)),
                (bottom < field.rows()).then_some((bottom, col)),
            ),
            horizontal: halves(
                col - left,
                (left > 0).then(|| (row, left - 1)),
                (right < field.cols()).then_some((row, right)),
            ),
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
        self.look(inputs, field, leaf, open, |sources| sources.is_changed(super::tune("MINW", 8) as u8));
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

/// Predictions of a cell and their weights. The open vector's predictions are 0, so that what is left is the others' part.
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
    const NOTHING: Block = (&[0; CELL], 0);
    let current = inputs.current;
    let block = |open: bool, x: usize, y: usize, vector: MotionVector| {
        if open { NOTHING } else { (inputs.quarters.block(x, y, vector), inputs.quarters.stride()) }
    };
    let side = |side: &Side, y: usize| block(side.open || side.weights == [0; HALF], x, y, side.vector);
    let mut parts = Parts {
        current: (&current.data[y * current.stride + x..], current.stride),
        own: block(sources.open, x, y, sources.vector),
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

/// Works out a cell's goal.
pub(super) fn goal_any(parts: &Parts, goal: &mut Goal) {
    let sample = |(block, stride): Block, row: usize, col: usize| i32::from(block[row * stride + col]);
    for (row, col) in (0..AREA).map(|at| (at / CELL, at % CELL)) {
        let (v, h) = (i32::from(parts.weights[0][row]), i32::from(parts.weights[1][col]));
        let vertical = sample(parts.vertical[row / HALF], row % HALF, col);
        let horizontal = sample(parts.horizontal[col / HALF], row, col);
        // In 1/64.
        let first = (UNIT - v) * sample(parts.own, row, col) + v * vertical;
        let rest = first + (((UNIT * horizontal - first) * h + UNIT / 2) >> 6);
        let open = if parts.open[col] != 0 { h } else { 0 };
        let weight = (((UNIT - h) * i32::from(parts.share[row]) + UNIT / 2) >> 6) + open;
        goal.weight[row * CELL + col] = weight as i16;
        goal.target[row * CELL + col] = (UNIT * sample(parts.current, row, col) - rest) as i16;
    }
}

/// Sum of the squares of (target - weight * prediction) / 8, rounded down, over all goals, predicted by the samples that lie (x, y) =
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
