//! Trees and vectors by rate and distortion, in coding order.

use super::around::try_around;
use super::coded::Ceiling;
use super::costs::{BIT, Coder, Options};
use super::hierarchy::Hierarchy;
use super::kernels::Kernels;
use super::pair::Pair;
use super::quarters::Quarters;
use super::table::{SIDE, Table, square};
use crate::frame::Plane;
use crate::motion::{BlockField, CELL, Leaf, MAX_LOG2, MIN_LOG2, MotionVector};

/// How thoroughly vectors are refined.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Thoroughness {
    /// Candidates whose surroundings are searched.
    pub starts: usize,
    /// Rounds at steps of a whole, a half and a quarter sample.
    pub rounds: [usize; 3],
    /// Rings of 16x16 blocks around a root whose vectors are candidates.
    pub rings: usize,
    /// Bits that a vector found for a single cell has to save.
    pub cell_bits: f64,
    /// Bits that a leaf is hoped to cost at least.
    pub optimism: f64,
    /// Rounds of the polishing passes at steps of a half and a quarter sample.
    pub polish_rounds: [usize; 2],
    /// Rounds around vectors to the golden frame at steps of a whole, a half and a quarter sample.
    pub golden_rounds: [usize; 3],
    /// Leaves are not polished if no vector around them differs by more than this, in quarter samples.
    pub alike: Option<u16>,
    /// Every vector of whole samples within so many columns and rows is a start.
    pub every: Option<(i16, i16)>,
}

/// What the decision works from.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub current: &'a Plane,
    pub display: (usize, usize),
    pub quarters: &'a Quarters,
    /// The golden frame, where it is another one than the reference.
    pub golden: Option<&'a Quarters>,
    pub hierarchy: &'a Hierarchy,
    pub coder: Coder<'a>,
    /// Of a bit, in squared grey levels.
    pub price: u64,
    /// What goes with that.
    pub ceiling: Ceiling,
    pub kernels: Kernels,
    pub thoroughness: Thoroughness,
}

/// The visible part of a leaf.
#[derive(Clone, Copy)]
pub(super) struct Area {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
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
    /// The same with another price of a bit.
    pub fn at_price(self, price: u64) -> Self {
        Self { price, ceiling: Ceiling::of(price), ..self }
    }

    pub(super) fn area(&self, row: usize, col: usize, log2: u8) -> Option<Area> {
        let (x, y, side) = (col * CELL, row * CELL, 1usize << log2);
        let visible = x < self.display.0 && y < self.display.1;
        visible.then(|| Area { x, y, width: side.min(self.display.0 - x), height: side.min(self.display.1 - y) })
    }

    pub(super) fn distortion(&self, area: Area, vector: MotionVector) -> u64 {
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

    /// Bits in squared grey levels times [`BIT`].
    pub(super) fn worth(&self, bits: f64) -> u64 {
        (self.price as f64 * bits * BIT as f64) as u64
    }

    /// Decides a root. `field` holds all earlier ones.
    pub fn decide(&self, table: &mut Table, field: &mut BlockField, row: usize, col: usize) {
        let (x, y) = (col * CELL, row * CELL);
        if x < self.display.0 && y < self.display.1 {
            table.start(x, y, self.display);
            self.gather(table, field, row, col);
            table.close(self.worth(self.thoroughness.optimism), self.worth(0.5), BIT);
        }
        self.node(table, field, row, col, MAX_LOG2);
    }

    /// Fills the table with candidates.
    pub(super) fn gather(&self, table: &mut Table, field: &BlockField, row: usize, col: usize) {
        let mut add = |vector| table.add(vector, self.current, self.quarters, self.kernels);
        add(MotionVector::default());
        for i in 0..SIDE {
            if col > 0 {
                add(field.vector(row + i, col - 1));
            }
            if row > 0 {
                add(field.vector(row - 1, col + i));
            }
        }
        if row > 0 && col + SIDE < field.cols() {
            add(field.vector(row - 1, col + SIDE));
        }
        self.hierarchy.seeds(col * CELL, row * CELL, self.thoroughness.rings, &mut add);
        if let Some(previous) = self.coder.surroundings.previous() {
            for (r, c) in (0..SIDE).step_by(2).flat_map(|r| (0..SIDE).step_by(2).map(move |c| (r, c))) {
                add(previous.vector(row + r, col + c));
            }
        }
        // Vectors of single cells, where they pay for themselves.
        let worth = (self.price as f64 * self.thoroughness.cell_bits) as u32;
        for (r, c) in (0..SIDE * SIDE).map(|cell| (cell / SIDE, cell % SIDE)) {
            let Some(area) = self.area(row + r, col + c, MIN_LOG2) else { continue };
            let limit = table.best(r, c).saturating_sub(worth);
            if limit == 0 {
                continue;
            }
            let start = self.hierarchy.small(area.x, area.y);
            let mut best = (self.distortion(area, start) as u32, start);
            // Refinement may halve the error.
            if best.0 / 2 >= limit {
                continue;
            }
            try_around(start, 4, |vector| {
                let distortion = self.distortion(area, vector);
                if (distortion as u32) < best.0 {
                    best = (distortion as u32, vector);
                }
                distortion
            });
            if best.0 < limit {
                table.add(best.1, self.current, self.quarters, self.kernels);
            }
        }
    }

    /// Decides a node, writes it to `field` and returns its cost.
    fn node(&self, table: &Table, field: &mut BlockField, row: usize, col: usize, log2: u8) -> u64 {
        let options = self.coder.options(field, row, col, log2);
        let leaf = match self.area(row, col, log2) {
            Some(area) => self.leaf(table, square(row, col, log2), area, &options),
            None => self.cheapest(&options),
        };
        let flag = |split| self.price * self.coder.split(field, row, col, log2, split);
        let (cost, flag) = (leaf.cost + flag(false), flag(true));
        // Four leaves cost something, too: hardly ever less than a quarter of a bit each.
        if log2 > MIN_LOG2 && leaf.distortion * BIT + self.price * leaf.bits > flag + self.price * BIT {
            let quarters = quarters(row, col, log2);
            let least = quarters.map(|(row, col)| table.least(square(row, col, log2 - 1)));
            let quarter = |i: usize| self.node(table, field, quarters[i].0, quarters[i].1, log2 - 1);
            if let Some(sum) = cheaper_split(flag, cost, least, quarter) {
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

    /// The best vector of a leaf, a square of the table's root.
    fn leaf(&self, table: &Table, square: usize, area: Area, options: &Options) -> Choice {
        let mut best = NONE;
        for (vector, bits) in options.merges() {
            let rate = self.price * bits;
            if rate < best.cost {
                let distortion = match table.find(vector) {
                    Some(place) => u64::from(table.error(place, square)),
                    None => self.distortion(area, vector),
                };
                let cost = distortion * BIT + rate;
                if cost < best.cost {
                    best = Choice { vector, distortion, bits, cost };
                }
            }
        }
        // The cheapest vector of its own saves nothing if the distortion that is left is worth fewer bits.
        let least = self.price * self.coder.vector(options, options.predictor());
        if least >= best.cost {
            return best;
        }
        let mut starts = Starts::new(self.thoroughness.starts);
        for (place, &vector) in table.vectors().iter().enumerate() {
            let distortion = u64::from(table.error(place, square));
            if distortion * BIT + least >= starts.worst() {
                continue;
            }
            let bits = self.coder.vector(options, vector);
            starts.add(Choice { vector, distortion, bits, cost: distortion * BIT + self.price * bits });
        }
        if let Some((columns, rows)) = self.thoroughness.every {
            for (x, y) in (-rows..=rows).flat_map(|y| (-columns..=columns).map(move |x| (4 * x, 4 * y))) {
                starts.add(self.own(area, options, MotionVector { x, y }, starts.worst()));
            }
        }
        for start in starts.best() {
            // What refinement may hope for.
            if start.distortion * BIT / 4 * 3 + self.price * start.bits >= best.cost {
                continue;
            }
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
        let mut best = start;
        for (step, rounds) in [4, 2, 1].into_iter().zip(self.thoroughness.rounds) {
            let mut last = None;
            for _ in 0..rounds {
                let centre = best.vector;
                try_around(centre, step, |vector| {
                    if last == Some(vector) {
                        return u64::MAX;
                    }
                    let choice = self.own(area, options, vector, u64::MAX);
                    if choice.cost < best.cost {
                        best = choice;
                    }
                    choice.cost
                });
                if best.vector == centre {
                    break;
                }
                last = Some(centre);
            }
        }
        best
    }
}

/// The upper left cells of the quarters of a square, in coding order.
pub(super) fn quarters(row: usize, col: usize, log2: u8) -> [(usize, usize); 4] {
    let half = 1 << (log2 - 1 - MIN_LOG2);
    [(0, 0), (0, half), (half, 0), (half, half)].map(|(down, right)| (row + down, col + right))
}

/// What a square costs that is split, if that is less than `cost`. `flag`: of saying so. `least`: what each quarter costs at least;
/// `quarter` decides one and says what it costs. It is not called any more once hope is gone.
pub(super) fn cheaper_split(flag: u64, cost: u64, least: [u64; 4], mut quarter: impl FnMut(usize) -> u64) -> Option<u64> {
    let (mut sum, mut left) = (flag, least.iter().sum::<u64>());
    for (i, least) in least.into_iter().enumerate() {
        if sum + left >= cost {
            return None;
        }
        left -= least;
        sum += quarter(i);
    }
    (sum < cost).then_some(sum)
}

/// The best few of many candidates.
struct Starts {
    best: [Choice; 3],
    wanted: usize,
}

impl Starts {
    fn new(wanted: usize) -> Self {
        Self { best: [NONE; 3], wanted: wanted.min(3) }
    }

    fn add(&mut self, mut choice: Choice) {
        for best in &mut self.best[..self.wanted] {
            if choice.cost < best.cost {
                std::mem::swap(&mut choice, best);
            }
        }
    }

    /// What a choice must cost less than.
    fn worst(&self) -> u64 {
        self.best[self.wanted - 1].cost
    }

    fn best(&self) -> impl Iterator<Item = Choice> {
        self.best[..self.wanted].iter().copied().filter(|choice| choice.cost < u64::MAX)
    }
}
