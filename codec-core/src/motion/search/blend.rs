//! Squared errors of overlapped prediction, as a function of one leaf's vector.

use super::kernels::Kernels;
use super::quarters::Quarters;
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
            std::array::from_fn(
                |half| if near[half].weights[0] > 0 || near[half].weights[3] > 0 { near[half] } else { far[half] },
            )
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
    x: usize,
    y: usize,
}

/// The squared error around a leaf as a function of its vector, everything else being as it is in the field.
#[derive(Default)]
pub(super) struct Goals {
    cells: Vec<Goal>,
}

impl Goals {
    /// Looks at a leaf, and at the cells that its vector blends into.
    pub fn load(&mut self, current: &Plane, display: (usize, usize), quarters: &Quarters, field: &BlockField, leaf: &Leaf) {
        self.cells.clear();
        let n = leaf.cells();
        let (rows, cols) = (leaf.row..leaf.row + n, leaf.col..leaf.col + n);
        let is_open = |row: usize, col: usize| rows.contains(&row) && cols.contains(&col);
        // The widest overlap reaches half a leaf beyond the edge.
        let reach = n.div_ceil(2);
        for row in rows.start.saturating_sub(reach)..(rows.end + reach).min(field.rows()) {
            for col in cols.start.saturating_sub(reach)..(cols.end + reach).min(field.cols()) {
                if !rows.contains(&row) && !cols.contains(&col) || CELL * row >= display.1 || CELL * col >= display.0 {
                    continue;
                }
                let sources = Sources::of(field, (row, col), is_open);
                if sources.any_open() {
                    self.cells.push(goal(current, display, quarters, (CELL * col, CELL * row), &sources));
                }
            }
        }
    }

    /// The squared error with a vector, but for a part that no vector changes.
    pub fn error(&self, quarters: &Quarters, kernels: Kernels, vector: MotionVector) -> u64 {
        let mut sum = 0;
        for cell in &self.cells {
            sum += u64::from(kernels.goal(cell, quarters.block(cell.x, cell.y, vector), quarters.stride()));
        }
        // Errors are in 1/8 grey level.
        sum >> 6
    }
}

/// Predictions and weights of a cell; those that are not there have a weight of 0.
struct Parts {
    own: [u8; AREA],
    vertical: [u8; AREA],
    horizontal: [u8; AREA],
    /// By row and by column.
    weights: [[u8; CELL]; 2],
}

fn goal(current: &Plane, display: (usize, usize), quarters: &Quarters, (x, y): (usize, usize), sources: &Sources) -> Goal {
    let mut parts = Parts { own: [0; AREA], vertical: [0; AREA], horizontal: [0; AREA], weights: [[0; CELL]; 2] };
    // The open vector's samples stay 0: what is left is the others' part.
    let copy = |out: &mut [u8; AREA], vector: MotionVector, rows: std::ops::Range<usize>, cols: std::ops::Range<usize>| {
        let from = quarters.block(x, y, vector);
        for row in rows {
            let line = row * quarters.stride();
            out[row * CELL..][cols.clone()].copy_from_slice(&from[line..][cols.clone()]);
        }
    };
    if !sources.open {
        copy(&mut parts.own, sources.vector, 0..CELL, 0..CELL);
    }
    for half in 0..2 {
        let range = CELL / 2 * half..CELL / 2 * (half + 1);
        let (vertical, horizontal) = (&sources.vertical[half], &sources.horizontal[half]);
        if !vertical.open {
            copy(&mut parts.vertical, vertical.vector, range.clone(), 0..CELL);
        }
        if !horizontal.open {
            copy(&mut parts.horizontal, horizontal.vector, 0..CELL, range.clone());
        }
        parts.weights[0][range.clone()].copy_from_slice(&vertical.weights);
        parts.weights[1][range].copy_from_slice(&horizontal.weights);
    }
    let mut goal = Goal { target: [0; AREA], weight: [0; AREA], x, y };
    let mut open = [[0; CELL]; 3];
    open[0].fill(i32::from(sources.open));
    for i in 0..CELL {
        open[1][i] = i32::from(sources.vertical[i / (CELL / 2)].open);
        open[2][i] = i32::from(sources.horizontal[i / (CELL / 2)].open);
    }
    fill(&parts, &open, &current.data[y * current.stride + x..], current.stride, &mut goal);
    let (width, height) = (display.0 - x, display.1 - y);
    if width < CELL || height < CELL {
        for i in (0..AREA).filter(|i| i % CELL >= width || i / CELL >= height) {
            (goal.target[i], goal.weight[i]) = (0, 0);
        }
    }
    goal
}

multiversion! {
    fn fill(parts: &Parts, open: &[[i32; CELL]; 3], current: &[u8], stride: usize, goal: &mut Goal) = fill_any
}

#[inline(always)]
fn fill_any(parts: &Parts, open: &[[i32; CELL]; 3], current: &[u8], stride: usize, goal: &mut Goal) {
    for row in 0..CELL {
        let v = i32::from(parts.weights[0][row]);
        let line = &current[row * stride..][..CELL];
        for col in 0..CELL {
            let at = row * CELL + col;
            let h = i32::from(parts.weights[1][col]);
            let first = (UNIT - v) * i32::from(parts.own[at]) + v * i32::from(parts.vertical[at]);
            let rest = ((UNIT - h) * first + UNIT * h * i32::from(parts.horizontal[at]) + UNIT / 2) >> 6;
            let share = (UNIT - h) * ((UNIT - v) * open[0][row] + v * open[1][row]) + UNIT * h * open[2][col];
            let weight = (share + UNIT / 2) >> 6;
            goal.weight[at] = weight as i16;
            // Samples that the vector does not change do not count.
            let target = UNIT * i32::from(line[col]) - rest;
            goal.target[at] = if weight > 0 { target as i16 } else { 0 };
        }
    }
}

/// Sum of the squares of (target - weight * prediction) / 8, rounded.
pub(super) fn goal_any(goal: &Goal, prediction: &[u8], stride: usize) -> u32 {
    let mut sum = 0;
    for row in 0..CELL {
        for col in 0..CELL {
            let at = row * CELL + col;
            let error = goal.target[at] - goal.weight[at] * i16::from(prediction[row * stride + col]);
            sum += i32::from(error >> 3).pow(2);
        }
    }
    sum as u32
}
