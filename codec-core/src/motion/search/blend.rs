//! Squared errors of overlapped prediction, as a function of one leaf's vector.

use super::decide::Inputs;
use super::kernels::Kernels;
use super::quarters::Quarters;
use super::surface::Surface;
use crate::frame::Plane;
use crate::kernels::simd::multiversion;
use crate::motion::overlap::{UNIT, weights};
use crate::motion::{BlockField, CELL, Leaf, MotionVector};

/// Samples of a cell.
const AREA: usize = CELL * CELL;

/// What a neighbour's vector adds to half of a cell: rows or columns 0..4 or 4..8.
#[derive(Clone, Copy, Default)]
struct Side {
    vector: MotionVector,
    /// The neighbour is the leaf whose vector is open.
    open: bool,
    weights: [u8; CELL / 2],
}

/// All that predicts one cell.
struct Sources {
    vector: MotionVector,
    open: bool,
    vertical: [Side; 2],
    horizontal: [Side; 2],
}

impl Sources {
    fn of(field: &BlockField, (row, col): (usize, usize), is_open: impl Fn(usize, usize) -> bool) -> Self {
        let log2 = field.log2(row, col);
        let n = Leaf { row, col, log2, vector: MotionVector::default() }.cells();
        let (top, left) = (row & !(n - 1), col & !(n - 1));
        let side = |inside: bool, neighbour: (usize, usize), cells_before: usize, far: bool| {
            let mut halves = [Side::default(); 2];
            if !inside {
                return halves;
            }
            let overlap = 1 << (log2.min(field.log2(neighbour.0, neighbour.1)) - 1);
            let ramp = weights(overlap);
            for (half, out) in halves.iter_mut().enumerate() {
                // Distance of the half's nearest sample from the edge.
                let distance = CELL * cells_before + CELL / 2 * if far { 1 - half } else { half };
                if distance < overlap {
                    out.vector = field.vector(neighbour.0, neighbour.1);
                    out.open = is_open(neighbour.0, neighbour.1);
                    // The narrowest overlap, of half a cell, fills one half.
                    out.weights.copy_from_slice(&ramp[distance..][..CELL / 2]);
                    if far {
                        out.weights.reverse();
                    }
                }
            }
            halves
        };
        let join = |near: [Side; 2], far: [Side; 2]| {
            std::array::from_fn(|half| if near[half].weights[0] > 0 || near[half].weights[3] > 0 { near[half] } else { far[half] })
        };
        Self {
            vector: field.vector(row, col),
            open: is_open(row, col),
            vertical: join(
                side(top > 0, (top.wrapping_sub(1), col), row - top, false),
                side(top + n < field.rows(), (top + n, col), top + n - 1 - row, true),
            ),
            horizontal: join(
                side(left > 0, (row, left.wrapping_sub(1)), col - left, false),
                side(left + n < field.cols(), (row, left + n), left + n - 1 - col, true),
            ),
        }
    }

    /// Whether the open vector takes part.
    fn any_open(&self) -> bool {
        self.open || self.vertical.iter().chain(&self.horizontal).any(|side| side.open)
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
    cells: Vec<Goal>,
}

impl Goals {
    /// Looks at a leaf, and at the cells that its vector blends into.
    pub fn load(&mut self, inputs: &Inputs, field: &BlockField, leaf: &Leaf) {
        let open = |row: usize, col: usize| covers(leaf, row, col);
        self.look(inputs, field, leaf, open, |sources| sources.any_open());
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
        self.cells.clear();
        let n = leaf.cells();
        let (rows, cols) = (leaf.row..leaf.row + n, leaf.col..leaf.col + n);
        // The widest overlap reaches half a leaf beyond the edge.
        let reach = n.div_ceil(2);
        for row in rows.start.saturating_sub(reach)..(rows.end + reach).min(field.rows()) {
            for col in cols.start.saturating_sub(reach)..(cols.end + reach).min(field.cols()) {
                let outside = CELL * row >= inputs.display.1 || CELL * col >= inputs.display.0;
                if outside || !rows.contains(&row) && !cols.contains(&col) {
                    continue;
                }
                let sources = Sources::of(field, (row, col), &is_open);
                if counts(&sources) {
                    self.cells.push(goal(inputs.current, inputs.display, inputs.quarters, (CELL * col, CELL * row), &sources));
                }
            }
        }
    }

    /// The squared error with a vector in the cells that were looked at; anything not below it once it reaches `limit`.
    pub fn error(&self, quarters: &Quarters, kernels: Kernels, vector: MotionVector, limit: u64) -> u64 {
        let (samples, way) = quarters.plane(vector);
        // Errors are in 1/8 grey level.
        kernels.goals(&self.cells, samples, way, limit.saturating_mul(64)) >> 6
    }
}

/// Predictions of a cell and their weights. The open vector's predictions are 0, so that what is left is the others' part.
#[repr(align(32))]
struct Parts {
    own: [u8; AREA],
    vertical: [u8; AREA],
    horizontal: [u8; AREA],
    /// Of the vertical neighbours by row, of the horizontal ones by column.
    weights: [[u8; CELL]; 2],
    /// 1 where a prediction is open: own and vertical by row, horizontal by column.
    open: [[u8; CELL]; 3],
}

/// Copies rows of a block.
#[inline(always)]
fn copy<const COLS: usize>(out: &mut [u8], from: &[u8], stride: usize, rows: usize) {
    for row in 0..rows {
        out[row * CELL..][..COLS].copy_from_slice(&from[row * stride..][..COLS]);
    }
}

fn goal(current: &Plane, display: (usize, usize), quarters: &Quarters, (x, y): (usize, usize), sources: &Sources) -> Goal {
    const HALF: usize = CELL / 2;
    let stride = quarters.stride();
    let mut parts =
        Parts { own: [0; AREA], vertical: [0; AREA], horizontal: [0; AREA], weights: [[0; CELL]; 2], open: [[0; CELL]; 3] };
    if sources.open {
        parts.open[0].fill(1);
    } else {
        copy::<CELL>(&mut parts.own, quarters.block(x, y, sources.vector), stride, CELL);
    }
    for half in 0..2 {
        let at = HALF * half;
        let side = &sources.vertical[half];
        parts.weights[0][at..at + HALF].copy_from_slice(&side.weights);
        if side.open {
            parts.open[1][at..at + HALF].fill(1);
        } else if side.weights != [0; HALF] {
            copy::<CELL>(&mut parts.vertical[at * CELL..], quarters.block(x, y + at, side.vector), stride, HALF);
        }
        let side = &sources.horizontal[half];
        parts.weights[1][at..at + HALF].copy_from_slice(&side.weights);
        if side.open {
            parts.open[2][at..at + HALF].fill(1);
        } else if side.weights != [0; HALF] {
            copy::<HALF>(&mut parts.horizontal[at..], quarters.block(x + at, y, side.vector), stride, CELL);
        }
    }
    let mut goal = Goal { target: [0; AREA], weight: [0; AREA], x: x as i32, y: y as i32 };
    fill(&parts, &current.data[y * current.stride + x..], current.stride, &mut goal);
    let (width, height) = (display.0 - x, display.1 - y);
    if width < CELL || height < CELL {
        for i in (0..AREA).filter(|i| i % CELL >= width || i / CELL >= height) {
            (goal.target[i], goal.weight[i]) = (0, 0);
        }
    }
    goal
}

multiversion! {
    fn fill(parts: &Parts, current: &[u8], stride: usize, goal: &mut Goal) = fill_any
}

#[inline(always)]
fn fill_any(parts: &Parts, current: &[u8], stride: usize, goal: &mut Goal) {
    const ROUND: u16 = UNIT as u16 / 2;
    const FULL: u16 = UNIT as u16;
    for row in 0..CELL {
        let v = u16::from(parts.weights[0][row]);
        let open = v * u16::from(parts.open[1][row]) + (FULL - v) * u16::from(parts.open[0][row]);
        let line = &current[row * stride..][..CELL];
        for col in 0..CELL {
            let at = row * CELL + col;
            let h = u16::from(parts.weights[1][col]);
            // In 1/64, at most 16320.
            let first = (FULL - v) * u16::from(parts.own[at]) + v * u16::from(parts.vertical[at]);
            // The weighted mean of it and the horizontal part, without leaving 16 bits.
            let difference = (FULL * u16::from(parts.horizontal[at])).wrapping_sub(first) as i16;
            let step = (i32::from(difference) * i32::from(h << 9) + (1 << 14)) >> 15;
            let rest = first as i16 + step as i16;
            let weight = ((FULL - h) * open + FULL * h * u16::from(parts.open[2][col]) + ROUND) >> 6;
            goal.weight[at] = weight as i16;
            goal.target[at] = (FULL * u16::from(line[col])) as i16 - rest;
        }
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
