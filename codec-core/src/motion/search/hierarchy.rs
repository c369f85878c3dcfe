//! Where to start: vectors found at a fraction of the size, from coarse to fine.

use super::around::try_around;
use super::coarse::search;
use super::kernels::Kernels;
use super::pair::Pair;
use super::quarters::Quarters;
use super::surface::Surface;
use super::window::Window;
use crate::frame::Plane;
use crate::kernels::parallel::for_bands;
use crate::motion::{MAX_COMPONENT, MotionVector, ROOT};

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

/// How far a search goes, in samples of its picture and in both directions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// A multiple of 4.
    pub columns: usize,
    pub rows: usize,
}

/// Both pictures at a fraction of the size, and the vectors of blocks of 4x4, 8x8 and 16x16 of its samples.
#[derive(Default)]
struct Level {
    current: Surface,
    reference: Surface,
    grids: [Grid; 3],
}

/// Pictures of halved sizes and what was found in them.
#[derive(Default)]
pub(super) struct Hierarchy {
    /// At a half, a quarter and an eighth of the size.
    levels: [Level; 3],
    used: usize,
}

impl Hierarchy {
    /// Searches `wide` around no motion at the coarsest size, and `narrow` around what was found at the finer ones. `price` is that
    /// of a bit in squared grey levels.
    pub fn run(&mut self, full: [&Surface; 2], wide: Reach, narrow: Reach, price: f64, threads: usize) {
        self.used = if full[0].width.max(full[0].height) > 400 { 3 } else { 2 };
        for i in 0..self.used {
            let (finer, level) = self.levels.split_at_mut(i);
            let [current, reference] = finer.last().map_or(full, |finer| [&finer.current, &finer.reference]);
            // Smaller pictures are done before another thread has woken up.
            let threads = if i == 0 { threads } else { 1 };
            let Level { current: half, reference: half_reference, .. } = &mut level[0];
            for_bands(threads, [(half, current), (half_reference, reference)], |(half, full)| half.halve(full));
        }
        for i in (0..self.used).rev() {
            let (finer, coarser) = self.levels.split_at_mut(i + 1);
            if i + 1 == self.used {
                search_level(&mut finer[i], i as u32 + 1, None, wide, price, threads);
            } else {
                // A block of 8x8 samples there is one of 16x16 here.
                search_level(&mut finer[i], i as u32 + 1, Some(&coarser[0].grids[1]), narrow, price, threads);
            }
        }
    }

    /// The half-size surfaces of the current picture and the reference.
    pub fn halves(&self) -> (&Surface, &Surface) {
        (&self.levels[0].current, &self.levels[0].reference)
    }

    /// The vector of the 8x8 luma samples at a position, as found at half the size.
    pub fn small(&self, x: usize, y: usize) -> MotionVector {
        self.levels[0].grids[0].at(x, y)
    }

    /// The vector of the 16x16 luma samples at a position, as [`Self::sharpen`] left it.
    pub fn sharpened(&self, x: usize, y: usize) -> MotionVector {
        self.levels[0].grids[1].at(x, y)
    }

    /// Candidates for a root whose first luma sample is (`x`, `y`), best guesses first; `rings` of 16x16 blocks around it count.
    pub fn seeds(&self, x: usize, y: usize, rings: usize, mut take: impl FnMut(MotionVector)) {
        let fine = &self.levels[0].grids[1];
        let side = (ROOT >> fine.log2) as isize;
        let (row, col) = ((y >> fine.log2) as isize, (x >> fine.log2) as isize);
        for (r, c) in (0..side).flat_map(|r| (0..side).map(move |c| (r, c))) {
            take(fine.block(row + r, col + c));
        }
        let coarse =
            self.levels[..self.used].iter().flat_map(|level| level.grids[1..].iter().filter(|grid| grid.log2 > fine.log2));
        for grid in coarse {
            let step = (1usize << grid.log2).min(ROOT);
            for (dy, dx) in (0..ROOT).step_by(step).flat_map(|dy| (0..ROOT).step_by(step).map(move |dx| (dy, dx))) {
                take(grid.at(x + dx, y + dy));
            }
        }
        for ring in 1..=rings as isize {
            for i in 0..side {
                for (r, c) in [(i, -ring), (-ring, i), (i, side + ring - 1), (side + ring - 1, i)] {
                    take(fine.block(row + r, col + c));
                }
            }
        }
    }

    /// Refines the vectors of 16x16 luma samples at full size, in so many steps of a whole, a half and a quarter sample
    /// in turn.
    pub fn sharpen(&mut self, current: &Plane, quarters: &Quarters, steps: usize, price: f64, kernels: Kernels, threads: usize) {
        let (width, height) = quarters.whole().size();
        let costs = Costs::new(price, 0);
        let grid = &mut self.levels[0].grids[1];
        let (cols, rows) = (width.div_ceil(16), height.div_ceil(16));
        let bands = grid.vectors.chunks_mut(grid.cols).take(rows).enumerate();
        for_bands(threads, bands, |(row, vectors)| {
            for col in 0..cols {
                let (x, y) = (16 * col, 16 * row);
                // A vector costs about what its distance from its neighbour's does.
                let near = if col > 0 { vectors[col - 1] } else { MotionVector::default() };
                let cost = |vector: MotionVector| {
                    let pair = Pair {
                        a: &current.data[y * current.stride + x..],
                        a_stride: current.stride,
                        b: quarters.block(x, y, vector),
                        b_stride: quarters.stride(),
                        width: 16.min(width - x),
                        height: 16.min(height - y),
                    };
                    kernels.squares(&pair) + costs.of(vector.x, near.x) + costs.of(vector.y, near.y)
                };
                let mut best = (cost(vectors[col]), vectors[col]);
                let consider = |best: &mut (u32, MotionVector), vector: MotionVector| {
                    let cost = cost(vector);
                    if cost < best.0 {
                        *best = (cost, vector);
                    }
                    u64::from(cost)
                };
                consider(&mut best, near);
                for step in [4, 2, 1].into_iter().cycle().take(steps) {
                    try_around(best.1, step, |vector| consider(&mut best, vector));
                }
                vectors[col] = best.1;
            }
        });
    }
}

/// Searches at 1 / 2^`log2` of the size, around no motion or around what was found for each group of 16x16 samples.
fn search_level(level: &mut Level, log2: u32, centres: Option<&Grid>, reach: Reach, price: f64, threads: usize) {
    let Level { current, reference, grids } = level;
    let (cols, rows) = (current.width.div_ceil(16), current.height.div_ceil(16));
    for (i, grid) in grids.iter_mut().enumerate() {
        grid.reset(log2 as u8 + 2 + i as u8, cols << (2 - i), rows << (2 - i));
    }
    // A difference summed over fewer samples weighs as much as the square root of a squared one's price.
    let weight = price.sqrt() / f64::from(1u32 << (2 * log2));
    let shift = log2 + 2;
    let cost = |d: i32| (weight * component_bits(d << shift)).min(1000.0) as u16;
    let (across, down) = (reach.columns as i32, reach.rows as i32);
    let column_costs: Vec<u16> = (-across..across).map(cost).collect();
    let row_costs: Vec<u16> = (-down..=down).map(cost).collect();
    let window =
        Window { reach: (reach.columns, reach.rows), column_costs: &column_costs, row_costs: &row_costs, fours: log2 == 1 };
    let [fours, eights, sixteens] = grids;
    let bands = fours.vectors.chunks_mut(16 * cols).zip(eights.vectors.chunks_mut(4 * cols));
    let bands = bands.zip(sixteens.vectors.chunks_mut(cols)).enumerate();
    for_bands(threads, bands, |(row, ((fours, eights), sixteens))| {
        for col in 0..cols {
            let (x, y) = (16 * col as i32, 16 * row as i32);
            let centre = centres.map_or(MotionVector::default(), |grid| grid.block(row as isize, col as isize));
            // The window's corner, within what the surface holds.
            let (left, top) = reference.hold(
                x + i32::from(centre.x >> shift) - across,
                y + i32::from(centre.y >> shift) - down,
                2 * reach.columns + 24,
                2 * reach.rows + 16,
            );
            let from = (&current.data[current.at(x, y)..], current.stride);
            let group = search(from, (&reference.data[reference.at(left, top)..], reference.stride), &window);
            let vector = |(dx, dy): (i32, i32)| {
                let limit = i32::from(MAX_COMPONENT);
                let component = |d: i32| (d << shift).clamp(-limit, limit) as i16;
                MotionVector { x: component(left + across + dx - x), y: component(top + down + dy - y) }
            };
            for (i, &place) in group.fours.iter().enumerate().filter(|_| window.fours) {
                fours[i / 4 * 4 * cols + 4 * col + i % 4] = vector(place);
            }
            for (i, &place) in group.eights.iter().enumerate() {
                eights[i / 2 * 2 * cols + 2 * col + i % 2] = vector(place);
            }
            sixteens[col] = vector(group.sixteen);
        }
    });
}

/// Costs of a component by its difference's magnitude.
struct Costs([u32; Self::LEN]);

impl Costs {
    const LEN: usize = 256;

    /// `weight`: of a bit; `shift`: from the components' unit to quarter samples.
    fn new(weight: f64, shift: u32) -> Self {
        Self(std::array::from_fn(|d| (weight * component_bits((d as i32) << shift)) as u32))
    }

    /// Beyond the table, costs grow no further.
    fn of(&self, a: i16, b: i16) -> u32 {
        self.0[usize::from(a.abs_diff(b)).min(Self::LEN - 1)]
    }
}

/// About the bits of a component in quarter samples.
fn component_bits(d: i32) -> f64 {
    2.0 * f64::from(d.unsigned_abs() + 1).log2()
}
