//! What a vector that is still open should predict in one cell.

use crate::motion::CELL;
use crate::motion::overlap::UNIT;

/// Samples of a cell.
pub(super) const AREA: usize = CELL * CELL;
const HALF: usize = CELL / 2;

/// What the open vector's prediction, times its weight, should be at each sample of a cell; both in 1/[`UNIT`].
#[derive(Clone)]
#[repr(align(32))]
pub(super) struct Goal {
    pub target: [i16; AREA],
    pub weight: [i16; AREA],
    pub x: i32,
    pub y: i32,
}

impl Default for Goal {
    fn default() -> Self {
        Self { target: [0; AREA], weight: [0; AREA], x: 0, y: 0 }
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
    /// Of the vertical neighbours by row, of the horizontal ones by column; 0..=31.
    pub weights: [[u8; CELL]; 2],
    /// Which of the predictions are open.
    pub own_open: bool,
    pub vertical_open: [bool; 2],
    pub horizontal_open: [bool; 2],
}

impl Parts<'_> {
    /// Whether all blocks hold their rows.
    #[inline]
    pub fn is_complete(&self) -> bool {
        let holds = |block: Block, rows: usize| block.0.len() >= (rows - 1) * block.1 + CELL;
        holds(self.current, CELL)
            && holds(self.own, CELL)
            && holds(self.vertical[0], HALF)
            && holds(self.vertical[1], HALF)
            && holds(self.horizontal[0], CELL)
            && holds(self.horizontal[1], CELL)
    }
}

/// Half of the unit that errors are rounded to, in 1/[`UNIT`].
pub(super) const HALF_ERROR: i32 = 32;

/// Works out a cell's goal.
#[cfg_attr(all(target_arch = "aarch64", not(test)), expect(dead_code, reason = "NEON does it"))]
pub(super) fn goal_any(parts: &Parts, goal: &mut Goal) {
    const WHOLE: i16 = UNIT as i16;
    let line = |(block, stride): Block, row: usize| -> [i16; CELL] {
        block[row * stride..].first_chunk::<CELL>().expect("blocks are complete").map(i16::from)
    };
    let h = parts.weights[1].map(i16::from);
    let open: [i16; CELL] = std::array::from_fn(|col| h[col] * i16::from(parts.horizontal_open[col / HALF]));
    let goals = goal.target.as_chunks_mut::<CELL>().0.iter_mut().zip(goal.weight.as_chunks_mut::<CELL>().0);
    for (row, (targets, weights)) in goals.enumerate() {
        let v = i16::from(parts.weights[0][row]);
        let share = (WHOLE - v) * i16::from(parts.own_open) + v * i16::from(parts.vertical_open[row / HALF]);
        let (own, vertical) = (line(parts.own, row), line(parts.vertical[row / HALF], row % HALF));
        let [left, right] = parts.horizontal.map(|block| line(block, row));
        let horizontal: [i16; CELL] = std::array::from_fn(|col| if col < HALF { left[col] } else { right[col] });
        let current = line(parts.current, row);
        for col in 0..CELL {
            // In 1/64.
            let first = (WHOLE - v) * own[col] + v * vertical[col];
            let difference = WHOLE * horizontal[col] - first;
            let blended = first + ((i32::from(difference) * i32::from(h[col]) + UNIT / 2) >> 6) as i16;
            let weight = (((WHOLE - h[col]) * share + WHOLE / 2) >> 6) + open[col];
            weights[col] = weight;
            // The error where the open vector predicts the current sample exactly, and what it adds then. Half a unit of the errors
            // rounds them.
            targets[col] = WHOLE * current[col] - blended + weight * current[col] + HALF_ERROR as i16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::search::kernels::Kernels;
    use rand::prelude::*;

    fn plain_goal(parts: &Parts, goal: &mut Goal) {
        let sample = |(block, stride): Block, row: usize, col: usize| i32::from(block[row * stride + col]);
        for (row, col) in (0..AREA).map(|at| (at / CELL, at % CELL)) {
            let (v, h) = (i32::from(parts.weights[0][row]), i32::from(parts.weights[1][col]));
            let vertical = sample(parts.vertical[row / HALF], row % HALF, col);
            let horizontal = sample(parts.horizontal[col / HALF], row, col);
            // In 1/64.
            let first = (UNIT - v) * sample(parts.own, row, col) + v * vertical;
            let blended = first + (((UNIT * horizontal - first) * h + UNIT / 2) >> 6);
            let share = (UNIT - v) * i32::from(parts.own_open) + v * i32::from(parts.vertical_open[row / HALF]);
            let weight = (((UNIT - h) * share + UNIT / 2) >> 6) + h * i32::from(parts.horizontal_open[col / HALF]);
            goal.weight[row * CELL + col] = weight as i16;
            let current = sample(parts.current, row, col);
            goal.target[row * CELL + col] = (UNIT * current - blended + weight * current + HALF_ERROR) as i16;
        }
    }

    #[test]
    fn vector_code_equals_plain_code() {
        let mut rng = SmallRng::seed_from_u64(8);
        let blocks: [[u8; 16 * 8]; 6] = std::array::from_fn(|_| std::array::from_fn(|_| rng.random()));
        let kernels = Kernels::detect();
        for _ in 0..100 {
            let block = |i: usize| (&blocks[i][..], 16);
            let mut weights = || std::array::from_fn(|_| rng.random_range(0..32));
            let weights = [weights(), weights()];
            let parts = Parts {
                current: block(0),
                own: block(1),
                vertical: [block(2), block(3)],
                horizontal: [block(4), block(5)],
                weights,
                own_open: rng.random(),
                vertical_open: [rng.random(), rng.random()],
                horizontal_open: [rng.random(), rng.random()],
            };
            let [mut found, mut any, mut wanted] = std::array::from_fn(|_| Goal::default());
            kernels.goal(&parts, &mut found);
            goal_any(&parts, &mut any);
            plain_goal(&parts, &mut wanted);
            assert_eq!((found.target, found.weight), (wanted.target, wanted.weight));
            assert_eq!((any.target, any.weight), (wanted.target, wanted.weight));
        }
    }
}
