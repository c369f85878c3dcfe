//! What the errors of overlapped prediction cost ([`coded`](super::coded)), as a function of one leaf's vector.

use super::coded::Moved;
use super::decide::Inputs;
use super::goal::{AREA, Block, Goal, Parts};
use super::sources::{HALF, Side, Sources, Square};
use crate::motion::{BlockField, CELL, Golden, Leaf, Motion, MotionVector};

/// Neighbours' weights below this, in 1/64, are taken for none where only a vector's best value is asked for.
const LEAST_WEIGHT: u8 = 8;

/// What the error around a leaf costs, in squared grey levels, as a function of its vector, everything else being as it is in the field.
#[derive(Default)]
pub(super) struct Goals {
    /// The first `count` are in use.
    cells: Vec<Goal>,
    count: usize,
}

impl Goals {
    /// Looks at a leaf, and at the cells that its vector blends into.
    pub fn load(&mut self, inputs: &Inputs, field: &BlockField, leaf: &Leaf) {
        self.look(inputs, field, Square::of(leaf), true, LEAST_WEIGHT);
    }

    /// As [`Self::load`], at all cells that any vectors in the leaf's square can blend into.
    pub fn load_all(&mut self, inputs: &Inputs, field: &BlockField, leaf: &Leaf) {
        self.look(inputs, field, Square::of(leaf), true, 0);
    }

    /// What the error of the prediction costs in all these cells.
    pub fn present_error(&mut self, inputs: &Inputs, field: &BlockField, leaf: &Leaf) -> u64 {
        self.look(inputs, field, Square::of(leaf), false, 0);
        self.error(inputs, MotionVector::default(), u64::MAX)
    }

    /// Whether nothing visible was looked at.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What the error costs with a vector to the last frame alone in the cells that were looked at; anything not below `limit` once it
    /// reaches that.
    pub fn error(&self, inputs: &Inputs, vector: MotionVector, limit: u64) -> u64 {
        self.cost(inputs, inputs.quarters.plane(vector), None, limit)
    }

    /// As [`Self::error`], with any motion.
    pub fn error_of(&self, inputs: &Inputs, motion: Motion, limit: u64) -> u64 {
        let last = inputs.quarters.plane(motion.vector);
        let golden = motion.golden.vector().zip(inputs.golden).map(|(vector, golden)| golden.plane(vector));
        match (golden, motion.golden) {
            (Some(golden), Golden::Alone(_)) => self.cost(inputs, golden, None, limit),
            _ => self.cost(inputs, last, golden, limit),
        }
    }

    fn cost(&self, inputs: &Inputs, a: Moved, b: Option<Moved>, limit: u64) -> u64 {
        let limit = limit.saturating_mul(64);
        inputs.kernels.costs(&self.cells[..self.count], a, b, inputs.ceiling, limit) >> 6
    }

    /// Looks at a square's cells and those around it, where an open square's vector has a weight of `least`.
    fn look(&mut self, inputs: &Inputs, field: &BlockField, square: Square, open: bool, least: u8) {
        self.count = 0;
        let Square { row: top, col: left, side } = square;
        let open = open.then_some(square);
        // The square's own cells first: they decide most.
        for row in top..top + side {
            for col in left..left + side {
                self.look_at(inputs, field, open, least, row, col);
            }
        }
        // The widest overlap reaches half a leaf beyond the edge.
        let reach = side.div_ceil(2);
        let before = |start: usize| start.saturating_sub(reach)..start;
        let after = |start: usize, end: usize| start + side..(start + side + reach).min(end);
        for row in before(top).chain(after(top, field.rows())) {
            for col in left..left + side {
                self.look_at(inputs, field, open, least, row, col);
            }
        }
        for col in before(left).chain(after(left, field.cols())) {
            for row in top..top + side {
                self.look_at(inputs, field, open, least, row, col);
            }
        }
    }

    fn look_at(&mut self, inputs: &Inputs, field: &BlockField, open: Option<Square>, least: u8, row: usize, col: usize) {
        if CELL * row >= inputs.display.1 || CELL * col >= inputs.display.0 {
            return;
        }
        let sources = Sources::of(field, open, row, col);
        if least > 0 && !sources.is_open(least) {
            return;
        }
        if self.count == self.cells.len() {
            self.cells.push(Goal::default());
        }
        fill(inputs, CELL * col, CELL * row, &sources, &mut self.cells[self.count]);
        self.count += 1;
    }
}

/// Works out a cell's goal.
fn fill(inputs: &Inputs, x: usize, y: usize, sources: &Sources, goal: &mut Goal) {
    let mut means = [[0; AREA]; 5];
    let [own_mean, upper_mean, lower_mean, left_mean, right_mean] = &mut means;
    let current = (&inputs.current.data[y * inputs.current.stride + x..], inputs.current.stride);
    // Whatever has no weight may be anything.
    fn side<'a>(inputs: &Inputs<'a>, current: Block<'a>, side: &Side, x: usize, y: usize, mean: &'a mut [u8; AREA]) -> Block<'a> {
        match side.open || side.weights == [0; HALF] {
            true => current,
            false => predicted(inputs, side.motion, x, y, mean),
        }
    }
    let ([upper, lower], [left, right]) = (&sources.vertical, &sources.horizontal);
    // Of the vertical neighbours, a block begins with its half's first row.
    let lower_block = if lower.open {
        (&current.0[HALF * current.1..], current.1)
    } else {
        side(inputs, current, lower, x, y + HALF, lower_mean)
    };
    let parts = Parts {
        current,
        own: if sources.open { current } else { predicted(inputs, sources.motion, x, y, own_mean) },
        vertical: [side(inputs, current, upper, x, y, upper_mean), lower_block],
        horizontal: [side(inputs, current, left, x, y, left_mean), side(inputs, current, right, x, y, right_mean)],
        weights: [join(upper.weights, lower.weights), join(left.weights, right.weights)],
        own_open: sources.open,
        vertical_open: [upper.open, lower.open],
        horizontal_open: [left.open, right.open],
    };
    inputs.kernels.goal(&parts, goal);
    (goal.x, goal.y) = (x as i32, y as i32);
    let (width, height) = (inputs.display.0 - x, inputs.display.1 - y);
    if width < CELL || height < CELL {
        for i in (0..AREA).filter(|i| i % CELL >= width || i / CELL >= height) {
            (goal.target[i], goal.weight[i]) = (0, 0);
        }
    }
}

/// What a motion predicts from (`x`, `y`) on, for a cell. `mean` holds it where two predictions are mixed.
fn predicted<'a>(inputs: &Inputs<'a>, motion: Motion, x: usize, y: usize, mean: &'a mut [u8; AREA]) -> Block<'a> {
    let last = (inputs.quarters.block(x, y, motion.vector), inputs.quarters.stride());
    let golden = motion.golden.vector().zip(inputs.golden);
    let golden = golden.map(|(vector, golden)| (golden.block(x, y, vector), golden.stride()));
    match (golden, motion.golden) {
        (None, _) => last,
        (Some(golden), Golden::Alone(_)) => golden,
        (Some(golden), _) => {
            for (row, out) in mean.as_chunks_mut::<CELL>().0.iter_mut().enumerate() {
                let (a, b) = (&last.0[row * last.1..][..CELL], &golden.0[row * golden.1..][..CELL]);
                *out = std::array::from_fn(|i| a[i].midpoint(b[i]) + ((a[i] ^ b[i]) & 1));
            }
            (mean, CELL)
        }
    }
}

fn join(a: [u8; HALF], b: [u8; HALF]) -> [u8; CELL] {
    [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, Plane};
    use crate::motion::coding::{MotionCoder, Surroundings};
    use crate::motion::search::coded::Ceiling;
    use crate::motion::search::costs::Coder;
    use crate::motion::search::decide::Thoroughness;
    use crate::motion::search::hierarchy::Hierarchy;
    use crate::motion::search::kernels::Kernels;
    use crate::motion::search::quarters::Quarters;
    use crate::motion::{BlockCompensator, MAX_LOG2, MIN_LOG2, PaddedFrame, References};
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
            let leaf = Leaf { row, col, log2, vector };
            field.set(leaf);
            field.set_golden(&leaf, any_golden(rng));
        }
    }

    fn any_golden(rng: &mut SmallRng) -> Golden {
        let vector = MotionVector { x: rng.random_range(-40..40), y: rng.random_range(-40..40) };
        [Golden::Unused, Golden::Unused, Golden::Mixed(vector), Golden::Alone(vector)][rng.random_range(0..4)]
    }

    /// Also gives the planes of the last frame and of the golden one.
    fn with_inputs(test: impl Fn(&Inputs, &mut BlockField, &[Plane; 2], &mut SmallRng)) {
        let mut rng = SmallRng::seed_from_u64(7);
        let (current, references) = (noise(&mut rng), [noise(&mut rng), noise(&mut rng)]);
        let [quarters, golden] = references.each_ref().map(|plane| {
            let mut quarters = Quarters::default();
            quarters.load(plane, DISPLAY, 1);
            quarters
        });
        let costs = MotionCoder::new(SIZE.0, SIZE.1).costs();
        let inputs = Inputs {
            current: &current,
            display: DISPLAY,
            quarters: &quarters,
            golden: Some(&golden),
            hierarchy: &Hierarchy::default(),
            coder: Coder { costs: &costs, surroundings: Surroundings::new(SIZE, None) },
            // So high that the cost of an error is its square.
            price: 1_000_000,
            ceiling: Ceiling::of(1_000_000),
            kernels: Kernels::detect(),
            thoroughness: Thoroughness::default(),
        };
        let mut field = BlockField::still(SIZE.0, SIZE.1);
        for _ in 0..5 {
            for (row, col) in [(0, 0), (0, 8), (0, 16), (8, 0), (8, 8), (8, 16)] {
                grow(&mut rng, &mut field, row, col, MAX_LOG2);
            }
            test(&inputs, &mut field, &references, &mut rng);
        }
    }

    /// Squared error of the real prediction, in the whole visible picture.
    fn real_error(inputs: &Inputs, field: &BlockField, planes: &[Plane; 2]) -> f64 {
        let mut to = Frame::new(SIZE.0, SIZE.1);
        let [last, golden] = planes.each_ref().map(|plane| {
            let mut frame = Frame::new(SIZE.0, SIZE.1);
            frame.plane_mut(0).clone_from(plane);
            frame
        });
        let mut padded = PaddedFrame::default();
        padded.load(&golden, DISPLAY, 1);
        let references = References { last: &last, golden: Some(&padded) };
        BlockCompensator::default().predict(references, DISPLAY, field, 1, &mut to).unwrap();
        let row = |y: usize| inputs.current.row(y)[..DISPLAY.0].iter().zip(to.plane(0).row(y));
        (0..DISPLAY.1).flat_map(row).map(|(&a, &b)| f64::from(a.abs_diff(b)).powi(2)).sum()
    }

    #[test]
    fn errors_are_those_of_the_real_prediction() {
        with_inputs(|inputs, field, planes, _| {
            let mut goals = Goals::default();
            let mut sum = 0;
            for cell in (0..field.rows() * field.cols()).map(|i| (i / field.cols(), i % field.cols())) {
                goals.count = 0;
                goals.look_at(inputs, field, None, 0, cell.0, cell.1);
                sum += goals.error(inputs, MotionVector::default(), u64::MAX);
            }
            let wanted = real_error(inputs, field, planes);
            assert!((sum as f64 / wanted - 1.0).abs() < 1e-3, "{sum} {wanted}");
        });
    }

    #[test]
    fn the_change_of_a_leaf_changes_the_error_as_the_real_prediction_does() {
        with_inputs(|inputs, field, planes, rng| {
            let leaves: Vec<Leaf> = field.leaves().collect();
            for leaf in leaves.choose_multiple(rng, 12) {
                let vector = MotionVector { x: rng.random_range(-40..40), y: rng.random_range(-40..40) };
                let (own, other) = (field.motion(leaf.row, leaf.col), Motion { vector, golden: any_golden(rng) });
                let (mut goals, mut all) = (Goals::default(), Goals::default());
                goals.look(inputs, field, Square::of(leaf), true, 1);
                all.load_all(inputs, field, leaf);
                let error = |goals: &Goals, motion| goals.error_of(inputs, motion, u64::MAX) as f64;
                let change = |goals: &Goals| error(goals, other) - error(goals, own);
                let before = real_error(inputs, field, planes);
                let now = error(&all, own);
                let present = all.present_error(inputs, field, leaf) as f64;
                assert!((present - now).abs() < 5e-3 * now + 50.0, "{leaf:?}: {present} {now}");
                all.load_all(inputs, field, leaf);
                field.set(Leaf { vector: other.vector, ..*leaf });
                field.set_golden(leaf, other.golden);
                let wanted = real_error(inputs, field, planes) - before;
                field.set(*leaf);
                field.set_golden(leaf, own.golden);
                for found in [change(&goals), change(&all)] {
                    // Roundings differ: a part of the error that changes.
                    let tolerance = 5e-3 * (error(&goals, other) + error(&goals, own)) + 50.0;
                    assert!((found - wanted).abs() < tolerance, "{leaf:?} to {other:?}: {found} {wanted} {tolerance}");
                }
            }
        });
    }
}
