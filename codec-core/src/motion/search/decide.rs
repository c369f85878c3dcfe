//! Trees and vectors by rate and distortion, in coding order.

use super::costs::{BIT, Coder, Options};
use super::hierarchy::Hierarchy;
use super::kernels::{Kernels, Pair};
use super::quarters::Quarters;
use crate::frame::Plane;
use crate::motion::{BlockField, CELL, Leaf, MAX_COMPONENT, MAX_LOG2, MIN_LOG2, MotionVector};

/// How thoroughly vectors are refined.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thoroughness {
    /// Candidates whose surroundings are searched.
    pub starts: usize,
    /// Rounds at steps of a whole, a half and a quarter sample.
    pub rounds: [usize; 3],
}

/// What the decision works from.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub current: &'a Plane,
    pub display: (usize, usize),
    pub quarters: &'a Quarters,
    pub hierarchy: &'a Hierarchy,
    pub coder: Coder<'a>,
    /// Of a bit, in squared grey levels.
    pub price: u64,
    pub kernels: Kernels,
    pub thoroughness: Thoroughness,
}

/// The visible part of a leaf.
#[derive(Clone, Copy)]
struct Area {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

/// A vector and what it costs. Costs are squared grey levels times [`BIT`].
#[derive(Clone, Copy)]
struct Choice {
    vector: MotionVector,
    distortion: u64,
    bits: u64,
    cost: u64,
}

const NONE: Choice = Choice { vector: MotionVector { x: 0, y: 0 }, distortion: 0, bits: 0, cost: u64::MAX };

impl<'a> Inputs<'a> {
    fn area(&self, row: usize, col: usize, log2: u8) -> Option<Area> {
        let (x, y, side) = (col * CELL, row * CELL, 1usize << log2);
        let visible = x < self.display.0 && y < self.display.1;
        visible.then(|| Area { x, y, width: side.min(self.display.0 - x), height: side.min(self.display.1 - y) })
    }

    fn distortion(&self, area: Area, vector: MotionVector) -> u64 {
        let pair = Pair {
            a: &self.current.data[area.y * self.current.stride + area.x..],
            a_stride: self.current.stride,
            b: self.quarters.block(area.x, area.y, vector),
            b_stride: self.quarters.stride(),
            width: area.width,
            height: area.height,
        };
        u64::from(self.kernels.squares(&pair))
    }

    fn choice(&self, area: Area, vector: MotionVector, bits: u64, limit: u64) -> Choice {
        let rate = self.price * bits;
        if rate >= limit {
            return NONE;
        }
        let distortion = self.distortion(area, vector);
        Choice { vector, distortion, bits, cost: distortion * BIT + rate }
    }

    /// Decides a root. `field` holds all earlier ones.
    pub fn decide(&self, field: &mut BlockField, row: usize, col: usize) {
        self.node(field, row, col, MAX_LOG2, None);
    }

    /// Decides a node, writes it to `field` and returns its cost.
    fn node(&self, field: &mut BlockField, row: usize, col: usize, log2: u8, parent: Option<MotionVector>) -> u64 {
        let options = self.coder.options(field, row, col, log2);
        let area = self.area(row, col, log2);
        let leaf = match area {
            Some(area) => self.leaf(area, &options, log2, parent),
            None => self.cheapest(&options),
        };
        let flag = |split| self.price * self.coder.split(field, row, col, log2, split);
        let (cost, flag) = (leaf.cost + flag(false), flag(true));
        // Four leaves cost something, too: hardly ever less than a quarter of a bit each.
        if log2 > MIN_LOG2 && leaf.distortion * BIT + self.price * leaf.bits > flag + self.price * BIT {
            let half = 1 << (log2 - 1 - MIN_LOG2);
            let mut sum = flag;
            for (dr, dc) in [(0, 0), (0, half), (half, 0), (half, half)] {
                sum += self.node(field, row + dr, col + dc, log2 - 1, Some(leaf.vector));
                if sum >= cost {
                    break;
                }
            }
            if sum < cost {
                return sum;
            }
        }
        field.set(Leaf { row, col, log2, vector: leaf.vector });
        cost
    }

    /// Of a leaf that nobody sees.
    fn cheapest(&self, options: &Options) -> Choice {
        let (vector, bits) = options.merges().min_by_key(|(_, bits)| *bits).expect("a list is never empty");
        Choice { vector, distortion: 0, bits, cost: self.price * bits }
    }

    /// The best vector of a leaf.
    fn leaf(&self, area: Area, options: &Options, log2: u8, parent: Option<MotionVector>) -> Choice {
        let mut best = NONE;
        for (vector, bits) in options.merges() {
            let choice = self.choice(area, vector, bits, best.cost);
            if choice.cost < best.cost {
                best = choice;
            }
        }
        // The cheapest vector of its own saves nothing if the distortion that is left is worth fewer bits.
        if self.price * self.coder.vector(options, options.predictor()) >= best.cost {
            return best;
        }
        let mut starts = Starts::new(self.thoroughness.starts);
        let mut start = |vector| starts.consider(vector, || self.own(area, options, vector, u64::MAX));
        start(options.predictor());
        parent.map(&mut start);
        options.merges().for_each(|(vector, _)| start(vector));
        self.hierarchy.seeds(area.x, area.y, log2, start);
        for start in starts.best() {
            let refined = self.refine(area, options, start);
            if refined.cost < best.cost {
                best = refined;
            }
        }
        best
    }

    /// A vector that is coded as such.
    fn own(&self, area: Area, options: &Options, vector: MotionVector, limit: u64) -> Choice {
        self.choice(area, vector, self.coder.vector(options, vector), limit)
    }

    /// Searches around a vector in smaller and smaller steps.
    fn refine(&self, area: Area, options: &Options, start: Choice) -> Choice {
        const AROUND: [(i16, i16); 8] = [(0, -1), (-1, 0), (1, 0), (0, 1), (-1, -1), (1, -1), (-1, 1), (1, 1)];
        let mut best = start;
        for (step, rounds) in [4, 2, 1].into_iter().zip(self.thoroughness.rounds) {
            let mut last: Option<MotionVector> = None;
            for _ in 0..rounds {
                let centre = best.vector;
                for (dx, dy) in AROUND {
                    let Some(vector) = moved(centre, dx * step, dy * step) else { continue };
                    // What the last centre's round has seen.
                    if last.is_some_and(|last| last.x.abs_diff(vector.x).max(last.y.abs_diff(vector.y)) <= step as u16) {
                        continue;
                    }
                    let choice = self.own(area, options, vector, best.cost);
                    if choice.cost < best.cost {
                        best = choice;
                    }
                }
                if best.vector == centre {
                    break;
                }
                last = Some(centre);
            }
        }
        best
    }
}

/// A vector's neighbour, if vectors reach that far.
fn moved(vector: MotionVector, dx: i16, dy: i16) -> Option<MotionVector> {
    let moved = MotionVector { x: vector.x + dx, y: vector.y + dy };
    (moved.x.abs().max(moved.y.abs()) <= MAX_COMPONENT).then_some(moved)
}

/// The best few of many candidates.
struct Starts {
    seen: [MotionVector; Self::MOST],
    count: usize,
    best: [Choice; 3],
    wanted: usize,
}

impl Starts {
    const MOST: usize = 24;

    fn new(wanted: usize) -> Self {
        Self { seen: Default::default(), count: 0, best: [NONE; 3], wanted: wanted.min(3) }
    }

    fn consider(&mut self, vector: MotionVector, choice: impl FnOnce() -> Choice) {
        if self.count == Self::MOST || self.seen[..self.count].contains(&vector) {
            return;
        }
        self.seen[self.count] = vector;
        self.count += 1;
        let mut choice = choice();
        for best in &mut self.best {
            if choice.cost < best.cost {
                std::mem::swap(&mut choice, best);
            }
        }
    }

    fn best(&self) -> impl Iterator<Item = Choice> {
        self.best[..self.wanted].iter().copied().filter(|choice| choice.cost < u64::MAX)
    }
}
