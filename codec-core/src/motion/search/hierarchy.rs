//! Where to start: vectors found at a fraction of the size, from coarse to fine.

use super::coarse::{Window, search};
use super::decide::moved;
use super::kernels::{Kernels, Pair};
use super::quarters::Quarters;
use super::surface::Surface;
use crate::frame::Plane;
use crate::kernels::parallel::for_bands;
use crate::motion::{BlockField, CELL, MAX_COMPONENT, MotionVector, ROOT};

/// One vector for each block of a picture.
#[derive(Clone, Default)]
pub(super) struct Grid {
    /// Binary logarithm of a block's side in luma samples.
    log2: u8,
    cols: usize,
    rows: usize,
    vectors: Vec<MotionVector>,
}

impl Grid {
    fn reset(&mut self, log2: u8, cols: usize, rows: usize) {
        (self.log2, self.cols, self.rows) = (log2, cols, rows);
        self.vectors.clear();
        self.vectors.resize(cols * rows, MotionVector::default());
    }

    /// Vector of the block that holds a luma position; beyond the grid, of the nearest.
    pub fn at(&self, x: usize, y: usize) -> MotionVector {
        self.block((y >> self.log2) as isize, (x >> self.log2) as isize)
    }

    fn block(&self, row: isize, col: isize) -> MotionVector {
        let clamp = |i: isize, len: usize| i.clamp(0, len as isize - 1) as usize;
        self.vectors[clamp(row, self.rows) * self.cols + clamp(col, self.cols)]
    }
}

/// How far the coarse search goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// In samples of the coarse picture, in both directions; a multiple of 4.
    pub columns: usize,
    pub rows: usize,
}

/// Pictures of halved sizes and what was found in them.
#[derive(Default)]
pub(super) struct Hierarchy {
    /// Full size, half, quarter, eighth.
    current: [Surface; 4],
    reference: [Surface; 4],
    /// Vectors of the coarse search: blocks of 4x4, 8x8 and 16x16 coarse samples.
    coarse: [Grid; 3],
    /// Vectors of 8x8 samples at the sizes between.
    fine: [Grid; 2],
    levels: usize,
    common: Vec<MotionVector>,
    small: Grid,
}

impl Hierarchy {
    /// Searches. Full-size surfaces come from the caller; `price` is that of a bit in squared grey levels.
    #[allow(clippy::too_many_arguments)]
    pub fn run(
        &mut self,
        current: &Surface,
        reference: &Surface,
        previous: Option<&BlockField>,
        reach: Reach,
        price: f64,
        kernels: Kernels,
        threads: usize,
    ) {
        self.levels = if current.width.max(current.height) > 960 { 3 } else { 2 };
        for (levels, full) in [(&mut self.current, current), (&mut self.reference, reference)] {
            levels[1].halve(full);
            for level in 2..=self.levels {
                let (finer, coarser) = levels.split_at_mut(level);
                coarser[0].halve(&finer[level - 1]);
            }
        }
        self.search_coarse(reach, price, threads);
        for level in (1..self.levels).rev() {
            self.refine(level, previous, price, kernels);
        }
    }

    /// The half-size surfaces of the current picture and the reference.
    pub fn halves(&self) -> (&Surface, &Surface) {
        (&self.current[1], &self.reference[1])
    }

    /// Candidates for a root whose first luma sample is (`x`, `y`), best guesses first.
    pub fn seeds(&self, x: usize, y: usize, mut take: impl FnMut(MotionVector)) {
        let [fine, ..] = &self.fine;
        let side = ROOT >> fine.log2;
        let (row, col) = ((y >> fine.log2) as isize, (x >> fine.log2) as isize);
        let side = side as isize;
        for (r, c) in (0..side).flat_map(|r| (0..side).map(move |c| (r, c))) {
            take(fine.block(row + r, col + c));
        }
        self.coarse[1..].iter().for_each(|grid| {
            let step = (1usize << grid.log2).min(ROOT);
            for (dy, dx) in (0..ROOT).step_by(step).flat_map(|dy| (0..ROOT).step_by(step).map(move |dx| (dy, dx))) {
                take(grid.at(x + dx, y + dy));
            }
        });
        for ring in 1..=super::tune("RING", 1) as isize {
        for i in 0..side {
            for (r, c) in [(i, -ring), (-ring, i), (i, side + ring - 1), (side + ring - 1, i)] {
                take(fine.block(row + r, col + c));
            }
        }
        }
        if super::tune("SMALL", 0) != 0 {
            for (r, c) in (0..8).flat_map(|r| (0..8).map(move |c| (r, c))) {
                take(self.small.at(x + 8 * c, y + 8 * r));
            }
        }
        self.common.iter().take(super::tune("COMMON", 0)).for_each(|&v| take(v));
    }

    pub fn search_small(&mut self, current: &Plane, quarters: &Quarters, price: f64, kernels: Kernels) {
        let (cur, refe) = (&self.current[1], &self.reference[1]);
        let (cols, rows) = (cur.width.div_ceil(16), cur.height.div_ceil(16));
        self.small.reset(3, cols * 4, rows * 4);
        let (across, down) = (super::tune("SW", 16) as i32, super::tune("SV", 12) as i32);
        let weight = price.sqrt() / 4.0 * super::tune("SP", 100) as f64 / 100.0;
        let cost = |d: i32| (weight * component_bits(f64::from(d) * 8.0)).min(1000.0) as u16;
        let column_costs: Vec<u16> = (-across..across).map(cost).collect();
        let row_costs: Vec<u16> = (-down..=down).map(cost).collect();
        let window = Window { reach: (across as usize, down as usize), column_costs: &column_costs, row_costs: &row_costs };
        let (width, height) = quarters.whole().size();
        for row in 0..rows {
            for col in 0..cols {
                let (x, y) = (16 * col as i32, 16 * row as i32);
                let mut centre = (0i32, 0i32);
                if super::tune("SC", 0) == 1 {
                    let v = self.fine[0].at(32 * col + 15, 32 * row + 15);
                    centre = (i32::from(v.x >> 3), i32::from(v.y >> 3));
                }
                let from = (&cur.data[cur.at(x, y)..], cur.stride);
                let (cx, cy) = ((x + centre.0 - across).clamp(-80, cur.width as i32 + 78 - 16 - 2 * across - 16), (y + centre.1 - down).clamp(-80, cur.height as i32 + 78 - 16 - 2 * down));
                let centre = (cx - x + across, cy - y + down);
                let to = (&refe.data[refe.at(cx, cy)..], refe.stride);
                let group = search(from, to, &window);
                for (i, &place) in group.fours.iter().enumerate() {
                    let (bx, by) = (32 * col + i % 4 * 8, 32 * row + i / 4 * 8);
                    if bx >= width || by >= height {
                        continue;
                    }
                    let vector = MotionVector { x: ((place.0 + centre.0) << 3) as i16, y: ((place.1 + centre.1) << 3) as i16 };
                    let cost = |vector: MotionVector| {
                        let pair = Pair {
                            a: &current.data[by * current.stride + bx..],
                            a_stride: current.stride,
                            b: quarters.block(bx, by, vector),
                            b_stride: quarters.stride(),
                            width: 8.min(width - bx),
                            height: 8.min(height - by),
                        };
                        kernels.squares(&pair)
                    };
                    let mut best = (cost(vector), vector);
                    for step in [4, 2].into_iter().take(super::tune("SS", 1)) {
                        let centre = best.1;
                        for (dx, dy) in [(-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, -1), (-1, 1), (1, 1)] {
                            if let Some(vector) = moved(centre, step * dx, step * dy) {
                                best = best.min_by_cost((cost(vector), vector));
                            }
                        }
                    }
                    let at = (row * 4 + i / 4) * self.small.cols + col * 4 + i % 4;
                    self.small.vectors[at] = best.1;
                }
            }
        }
    }

    pub fn fine(&self, x: usize, y: usize) -> MotionVector {
        self.fine[0].at(x, y)
    }

    /// Refines the vectors of 16x16 luma samples to quarter samples at full size.
    pub fn sharpen(&mut self, current: &Plane, quarters: &Quarters, price: f64, kernels: Kernels) {
        let (width, height) = quarters.whole().size();
        let before = self.fine[0].clone();
        let costs = Costs::new(price, 0);
        for row in 0..before.rows {
            for col in 0..before.cols {
                let (x, y) = (16 * col, 16 * row);
                let (width, height) = (16.min(width - x), 16.min(height - y));
                let (r, c) = (row as isize, col as isize);
                let grid = &mut self.fine[0];
                // A vector costs about what its distance from a neighbour's does.
                let near = if col > 0 { grid.block(r, c - 1) } else { grid.block(r - 1, c) };
                let cost = |vector: MotionVector| {
                    let pair = Pair {
                        a: &current.data[y * current.stride + x..],
                        a_stride: current.stride,
                        b: quarters.block(x, y, vector),
                        b_stride: quarters.stride(),
                        width,
                        height,
                    };
                    let rate = costs.of(i32::from(vector.x) - i32::from(near.x)) + costs.of(i32::from(vector.y) - i32::from(near.y));
                    kernels.squares(&pair) + rate
                };
                let mut best = (u32::MAX, MotionVector::default());
                let mut start = |vector| best = best.min_by_cost((cost(vector), vector));
                start(before.block(r, c));
                start(near);
                for (dr, dc) in [(-1, 0), (0, 1), (1, 0)] {
                    start(before.block(r + dr, c + dc));
                }
                for step in [4, 2, 1].into_iter().take(super::tune("SH", 3)) {
                    let centre = best.1;
                    for (dx, dy) in [(-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, -1), (-1, 1), (1, 1)] {
                        if let Some(vector) = moved(centre, step * dx, step * dy) {
                            best = best.min_by_cost((cost(vector), vector));
                        }
                    }
                }
                grid.vectors[row * before.cols + col] = best.1;
            }
        }
        let mut counts = std::collections::BTreeMap::<(i16, i16), usize>::new();
        for v in &self.fine[0].vectors {
            *counts.entry((v.x, v.y)).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|c| std::cmp::Reverse(c.1));
        self.common = counts.iter().take(64).map(|c| MotionVector { x: c.0.0, y: c.0.1 }).collect();
    }

    fn search_coarse(&mut self, reach: Reach, price: f64, threads: usize) {
        let (current, reference) = (&self.current[self.levels], &self.reference[self.levels]);
        let (cols, rows) = (current.width.div_ceil(16), current.height.div_ceil(16));
        for (i, grid) in self.coarse.iter_mut().enumerate() {
            grid.reset((self.levels + 2 + i) as u8, cols << (2 - i), rows << (2 - i));
        }
        // A difference summed over fewer samples weighs as much as the square root of a squared one's price.
        let unit = (4 << self.levels) as f64;
        let weight = price.sqrt() / f64::from(1u32 << (2 * self.levels));
        let cost = |d: i32| (weight * component_bits(f64::from(d) * unit)).min(1000.0) as u16;
        let (across, down) = (reach.columns as i32, reach.rows as i32);
        let column_costs: Vec<u16> = (-across..across).map(cost).collect();
        let row_costs: Vec<u16> = (-down..=down).map(cost).collect();
        let window = Window { reach: (reach.columns, reach.rows), column_costs: &column_costs, row_costs: &row_costs };
        let [fours, eights, sixteens] = &mut self.coarse;
        let bands = fours.vectors.chunks_mut(16 * cols).zip(eights.vectors.chunks_mut(4 * cols));
        let bands = bands.zip(sixteens.vectors.chunks_mut(cols)).enumerate();
        let shift = self.levels as u32 + 2;
        for_bands(threads, bands, |(row, ((fours, eights), sixteens))| {
            for col in 0..cols {
                let (x, y) = (16 * col as i32, 16 * row as i32);
                let from = (&current.data[current.at(x, y)..], current.stride);
                let to = (&reference.data[reference.at(x - across, y - down)..], reference.stride);
                let group = search(from, to, &window);
                let vector = |(x, y): (i32, i32)| MotionVector { x: (x << shift) as i16, y: (y << shift) as i16 };
                for (i, &place) in group.fours.iter().enumerate() {
                    fours[i / 4 * 4 * cols + 4 * col + i % 4] = vector(place);
                }
                for (i, &place) in group.eights.iter().enumerate() {
                    eights[i / 2 * 2 * cols + 2 * col + i % 2] = vector(place);
                }
                sixteens[col] = vector(group.sixteen);
            }
        });
    }

    /// Finds the vectors of 8x8 samples at a level from those of the coarser one.
    fn refine(&mut self, level: usize, previous: Option<&BlockField>, price: f64, kernels: Kernels) {
        let (current, reference) = (&self.current[level], &self.reference[level]);
        let (cols, rows) = (current.width.div_ceil(8), current.height.div_ceil(8));
        let (grid, finer) = self.fine.split_at_mut(level);
        let grid = &mut grid[level - 1];
        grid.reset(level as u8 + 3, cols, rows);
        let parents = if level + 1 == self.levels { &self.coarse[..] } else { &finer[..1] };
        let shift = level as u32 + 2;
        let costs = Costs::new(price.sqrt() / f64::from(1u32 << (2 * level)), shift);
        for row in 0..rows {
            for col in 0..cols {
                let (x, y) = (8 * col, 8 * row);
                let (width, height) = (8.min(current.width - x), 8.min(current.height - y));
                let mut best = (u32::MAX, (0, 0));
                let mut tried = [(i32::MAX, 0); 16];
                let mut count = 0;
                let consider = |best: &mut (u32, (i32, i32)), (dx, dy): (i32, i32)| {
                    let pair = Pair {
                        a: &current.data[current.at(x as i32, y as i32)..],
                        a_stride: current.stride,
                        b: reference.block(x as i32 + dx, y as i32 + dy),
                        b_stride: reference.stride,
                        width,
                        height,
                    };
                    let cost = kernels.absolutes(&pair) + costs.of(dx) + costs.of(dy);
                    if cost < best.0 {
                        *best = (cost, (dx, dy));
                    }
                };
                let mut start = |vector: MotionVector| {
                    let place = (i32::from(vector.x) >> shift, i32::from(vector.y) >> shift);
                    if count < tried.len() && !tried[..count].contains(&place) {
                        tried[count] = place;
                        count += 1;
                        consider(&mut best, place);
                    }
                };
                let (luma_x, luma_y) = (x << level, y << level);
                for parent in parents {
                    start(parent.at(luma_x, luma_y));
                }
                let (r, c) = (luma_y >> parents[0].log2, luma_x >> parents[0].log2);
                for (dr, dc) in [(0, -1), (-1, 0), (0, 1), (1, 0)] {
                    start(parents[0].block(r as isize + dr, c as isize + dc));
                }
                start(MotionVector::default());
                if col > 0 {
                    start(grid.vectors[row * cols + col - 1]);
                }
                if row > 0 {
                    start(grid.vectors[(row - 1) * cols + col]);
                }
                if let Some(previous) = previous {
                    let (r, c) = ((luma_y + (4 << level)) / CELL, (luma_x + (4 << level)) / CELL);
                    if r < previous.rows() && c < previous.cols() {
                        start(previous.vector(r, c));
                    }
                }
                for _ in 0..2 {
                    let (before, (cx, cy)) = best;
                    for (dx, dy) in [(-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, -1), (-1, 1), (1, 1)] {
                        consider(&mut best, (cx + dx, cy + dy));
                    }
                    if best.0 == before {
                        break;
                    }
                }
                let limit = i32::from(MAX_COMPONENT);
                let component = |d: i32| (d << shift).clamp(-limit, limit) as i16;
                grid.vectors[row * cols + col] = MotionVector { x: component(best.1.0), y: component(best.1.1) };
            }
        }
    }
}

trait MinByCost {
    /// The cheaper one; of equals, this.
    fn min_by_cost(self, other: Self) -> Self;
}

impl MinByCost for (u32, MotionVector) {
    fn min_by_cost(self, other: Self) -> Self {
        if other.0 < self.0 { other } else { self }
    }
}

/// Costs of a component by its magnitude.
struct Costs([u32; Self::LEN]);

impl Costs {
    const LEN: usize = 128;

    /// `weight`: of a bit; `shift`: from the components' unit to quarter samples.
    fn new(weight: f64, shift: u32) -> Self {
        Self(std::array::from_fn(|d| (weight * component_bits((d << shift) as f64)) as u32))
    }

    /// Beyond the table, costs grow no further.
    fn of(&self, d: i32) -> u32 {
        self.0[(d.unsigned_abs() as usize).min(Self::LEN - 1)]
    }
}

/// About the bits of a component in quarter samples.
fn component_bits(d: f64) -> f64 {
    2.0 * (d.abs() + 1.0).log2()
}
