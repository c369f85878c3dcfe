//! The encoder's choice of modes and transforms, and the symbols of what the prediction misses.

use std::sync::LazyLock;

use super::plane::{LARGEST, Plane};
use super::predict::{Edges, MEAN, MODES, PLANAR};
use super::syntax::{LIKELY, likely, neighbours};
use super::{AREA, Around, BlockModes, Intra, QUARTERS, Square, predicted, put, squares, transform};
use crate::architecture::linear::{LUMA_SIDE, TRANSFORMS, wave};
use crate::kernels::parallel::for_bands;
use crate::kernels::simd::multiversion;
use crate::quality::QualityGrid;

/// A coefficient is rounded up from 1 minus this.
const ROUNDING: f32 = 0.4;
/// What a bit is worth in squared quantiser steps.
const PRICE: f32 = 0.05;
/// Bits of a symbol of magnitude 1; two more for each doubling.
const SYMBOL_BITS: f32 = 4.0;
/// Bits of a transform other than the first.
const TRANSFORM_BITS: f32 = 3.0;
/// Modes of 16x16, and as many of 4x4, that are tried for good.
const TRIED: usize = 3;
/// What a bit of a mode is worth beside differences that are not coded yet, in quantiser steps.
const MODE_PRICE: f32 = 0.6;

/// What the bits of a symbol of magnitude n are worth; larger ones cost as much as the last.
static SYMBOL_COSTS: LazyLock<[f32; 64]> =
    LazyLock::new(|| std::array::from_fn(|n| PRICE * (SYMBOL_BITS + 2.0 * (n.max(1) as f32).log2())));

/// The symbol of a coefficient in quantiser steps, and what it is expected to cost, error and bits.
#[inline(always)]
fn quantised(value: f32, costs: &[f32; 64]) -> (i32, f32) {
    let size = value.abs();
    let symbol = (size + ROUNDING) as i32;
    if symbol == 0 {
        return (0, size * size);
    }
    let error = size - symbol as f32;
    let cost = error * error + costs[(symbol as usize).min(costs.len() - 1)];
    (if value < 0.0 { -symbol } else { symbol }, cost)
}

#[inline(always)]
fn mode_bits(mode: u8, likely: [u8; LIKELY]) -> f32 {
    match likely.iter().position(|&other| other == mode) {
        Some(0) => 1.8,
        Some(_) => 2.8,
        None => 6.0,
    }
}

/// Sum of magnitudes of Hadamard transforms of 4x4 differences, halved.
#[inline(always)]
fn satd(a: &[i32], b: &[i32], side: usize) -> i32 {
    let mut sum = 0;
    for row in (0..side).step_by(4) {
        for col in (0..side).step_by(4) {
            let mut d = [[0; 4]; 4];
            for (i, line) in d.iter_mut().enumerate() {
                let from = (row + i) * side + col;
                *line = std::array::from_fn(|j| a[from + j] - b[from + j]);
            }
            for line in &mut d {
                let [a, b, c, e] = *line;
                let (p, q, r, s) = (a + c, b + e, a - c, b - e);
                *line = [p + q, p - q, r + s, r - s];
            }
            let [first, second, third, fourth] = d;
            for (((a, b), c), e) in first.into_iter().zip(second).zip(third).zip(fourth) {
                let (p, q, r, s) = (a + c, b + e, a - c, b - e);
                sum += (p + q).abs() + (p - q).abs() + (r + s).abs() + (r - s).abs();
            }
        }
    }
    sum / 2
}

/// A block as it would be coded.
#[derive(Clone)]
struct Candidate {
    cost: f32,
    transform: u8,
    modes: [u8; QUARTERS],
    symbols: [i32; AREA],
    samples: [i32; AREA],
}

impl Candidate {
    /// Nothing yet.
    const NONE: Self = Self { cost: 0.0, transform: 0, modes: [0; QUARTERS], symbols: [0; AREA], samples: [0; AREA] };
}

/// The block that is coded next.
struct Block<'a> {
    cell: usize,
    /// Of its first sample in the picture.
    at: (usize, usize),
    around: Around,
    step: i32,
    /// Of blocks before it.
    modes: &'a [[u8; QUARTERS]],
    cols: usize,
}

struct Search<'a> {
    source: &'a Plane,
    /// The block and what it is predicted from: a row above it, twice as long, and a column to its left.
    window: Plane,
}

/// Where a block lies in the window.
const HERE: (usize, usize) = (1, 1);

/// A quarter or a whole block with one mode, as it would be coded.
struct Part {
    cost: f32,
    mode: u8,
    symbols: [i32; AREA],
    samples: [i32; AREA],
}

multiversion! {
    /// The cheapest of the promising ways to code a block.
    fn choose(search: &mut Search, block: &Block, best: &mut Candidate) = Search::choose
}

impl Search<'_> {
    #[inline(always)]
    fn choose(&mut self, block: &Block, best: &mut Candidate) {
        best.cost = f32::INFINITY;
        for transform in 0..TRANSFORMS as u8 {
            let mut found = Candidate {
                cost: if transform > 0 { PRICE * TRANSFORM_BITS } else { 0.0 },
                transform,
                modes: [0; QUARTERS],
                symbols: [0; AREA],
                samples: [0; AREA],
            };
            for quarter in 0..if transform == 0 { 1 } else { QUARTERS } {
                self.part(block, (transform, quarter), &mut found);
                if found.cost >= best.cost {
                    break;
                }
            }
            if found.cost < best.cost {
                if transform == 0 {
                    found.modes = [found.modes[0]; QUARTERS];
                }
                self.window.copy_square(HERE, LUMA_SIDE, &mut found.samples);
                *best = found;
            }
        }
    }

    /// Adds the cheapest way to code a quarter, or a whole block for the first transform; the window holds it.
    #[inline(always)]
    fn part(&mut self, block: &Block, (transform, quarter): (u8, usize), found: &mut Candidate) {
        let mut modes = [0; QUARTERS];
        modes.copy_from_slice(&found.modes);
        let likely = {
            let left =
                if quarter % 2 == 1 { modes[quarter - 1] } else { neighbours(block.modes, block.cell, quarter, block.cols).0 };
            let above =
                if quarter / 2 == 1 { modes[quarter - 2] } else { neighbours(block.modes, block.cell, quarter, block.cols).1 };
            likely(left, above)
        };
        let area = match transform {
            0 => Square::WHOLE,
            _ => squares(1, quarter).next().expect("a quarter is a square of 8x8"),
        };
        let promising = self.promising(block, area, transform, likely);
        let mut best = Part { cost: f32::INFINITY, mode: 0, symbols: [0; AREA], samples: [0; AREA] };
        for mode in (0..MODES as u8).filter(|mode| promising >> mode & 1 != 0) {
            let start = PRICE * mode_bits(mode, likely);
            match transform {
                0 => self.attempt(block, area, std::iter::once(Square::WHOLE), (mode, start), &mut best),
                _ => self.attempt(block, area, squares(transform, quarter), (mode, start), &mut best),
            }
        }
        self.window.put_square(area.at(HERE), area.side, &best.samples);
        found.cost += best.cost;
        found.modes[quarter] = best.mode;
        found.symbols.iter_mut().zip(&best.symbols).for_each(|(all, own)| *all |= own);
    }

    /// Codes squares of an area with one mode, and keeps that if it costs less than the best so far. The window holds what was tried last.
    #[inline(always)]
    fn attempt(
        &mut self,
        block: &Block,
        area: Square,
        squares: impl Iterator<Item = Square>,
        (mode, start): (u8, f32),
        best: &mut Part,
    ) {
        let mut cost = start;
        let mut symbols = [0; AREA];
        let (unit, costs) = (1.0 / block.step as f32, &*SYMBOL_COSTS);
        for square in squares {
            let Square { side, .. } = square;
            let (mut prediction, mut difference) = ([0; AREA], [0; AREA]);
            predicted(&self.window, (HERE, block.around), square, mode, &mut prediction);
            self.source.copy_square(square.at(block.at), side, &mut difference[..side * side]);
            difference[..side * side].iter_mut().zip(&prediction).for_each(|(d, p)| *d -= p);
            transform::forward(&mut difference, side);
            for row in 0..side {
                for col in 0..side {
                    let (symbol, own) = quantised(difference[row * side + col] as f32 * unit, costs);
                    symbols[square.place(row, col)] = symbol;
                    cost += own;
                }
            }
            if cost >= best.cost {
                return;
            }
            put(&mut self.window, square.at(HERE), square, &prediction, &symbols, block.step);
        }
        (best.cost, best.mode, best.symbols) = (cost, mode, symbols);
        self.window.copy_square(area.at(HERE), area.side, &mut best.samples[..area.side * area.side]);
    }

    /// Modes worth trying for an area, a bit each: those that predict the source best, as one square from what is decoded or, for
    /// squares of 4x4, from the source.
    #[inline(always)]
    fn promising(&self, block: &Block, area: Square, transform: u8, likely: [u8; LIKELY]) -> u64 {
        let mut samples = [0; AREA];
        let mut prediction = [0; AREA];
        let mut sums = [0; MODES];
        let mut rank = |square: Square, plane: &Plane, at: (usize, usize)| {
            let side = square.side;
            let edges = Edges::new(plane, square.at(at), side, square.known(block.around));
            self.source.copy_square(square.at(block.at), side, &mut samples[..side * side]);
            for (mode, sum) in (0..).zip(&mut sums) {
                edges.predict(mode, &mut prediction);
                *sum += satd(&samples, &prediction, side);
            }
        };
        match transform {
            2 => {
                let quarter = area.row / (LUMA_SIDE / 2) * 2 + area.col / (LUMA_SIDE / 2);
                squares(2, quarter).for_each(|square| rank(square, self.source, block.at));
            }
            _ => rank(area, &self.window, HERE),
        }
        let cost = |mode: u8| sums[usize::from(mode)] as f32 + block.step as f32 * MODE_PRICE * mode_bits(mode, likely);
        let mut modes = likely.iter().fold(1 << PLANAR | 1 << MEAN, |modes, mode| modes | 1u64 << mode);
        let mut left = (1u64 << MODES) - 1;
        for _ in 0..TRIED {
            let of_left = (0..MODES as u8).filter(|mode| left >> mode & 1 != 0);
            let best = of_left.min_by(|&a, &b| cost(a).total_cmp(&cost(b))).expect("there are more than are tried");
            left &= !(1 << best);
            modes |= 1 << best;
        }
        modes
    }
}

impl Intra {
    /// Chooses modes and transforms for a latent `y`, NHWC `[rows][cols][channels]` in quantiser steps, whose luma becomes the symbols of
    /// what the predictions miss. Runs on up to `threads` threads, see [`for_bands`]; results do not depend on them.
    pub fn search(&self, y: &mut [f32], (rows, cols): (usize, usize), quality: QualityGrid, threads: usize) -> BlockModes {
        let channels = self.is_luma.len();
        let source = self.samples(y, (rows, cols), quality);
        let mut plane = Plane::new(rows * LUMA_SIDE, cols * LUMA_SIDE);
        let mut out = BlockModes { transforms: vec![0; rows * cols], modes: vec![[MEAN; QUARTERS]; rows * cols] };
        // A block needs those to its left, above, and above on the right: blocks of a slanting line need none of each other.
        for line in 0..cols + 2 * (rows - 1) {
            let cells =
                (0..rows).filter_map(|row| line.checked_sub(2 * row).filter(|&col| col < cols).map(|col| row * cols + col));
            let mut found: Vec<(usize, Candidate)> = cells.map(|cell| (cell, Candidate::NONE)).collect();
            for_bands(threads, &mut found, |(cell, best)| {
                *best = self.choice(*cell, cols, quality, &source, &plane, &out.modes);
            });
            for (cell, best) in found {
                plane.put_square((cell / cols * LUMA_SIDE, cell % cols * LUMA_SIDE), LUMA_SIDE, &best.samples);
                (out.transforms[cell], out.modes[cell]) = (best.transform, best.modes);
                for (&symbol, &place) in best.symbols.iter().zip(&self.places) {
                    y[cell * channels + place] = symbol as f32;
                }
            }
        }
        out
    }

    /// How to code the block of a cell.
    fn choice(
        &self,
        cell: usize,
        cols: usize,
        quality: QualityGrid,
        source: &Plane,
        plane: &Plane,
        modes: &[[u8; QUARTERS]],
    ) -> Candidate {
        let at @ (row, col) = (cell / cols * LUMA_SIDE, cell % cols * LUMA_SIDE);
        let step = i32::from(self.steps[usize::from(quality.at(cell))]);
        let block = Block { cell, at, around: Around::new(cell, cols), step, modes, cols };
        let mut search = Search { source, window: Plane::new(1 + LUMA_SIDE, 1 + 2 * LUMA_SIDE) };
        let corner = (row.saturating_sub(1), col.saturating_sub(1));
        // Where there is nothing above or to the left, nothing is read there.
        let to = (usize::from(row == 0), usize::from(col == 0));
        if row > 0 {
            search.window.copy_from(plane, corner, to, (1, 2 * LUMA_SIDE + usize::from(col > 0)));
        }
        if col > 0 {
            search.window.copy_from(plane, (row, col - 1), (1, 0), (LUMA_SIDE, 1));
        }
        let mut best = Candidate::NONE;
        choose(&mut search, &block, &mut best);
        best
    }

    /// The samples that luma's coefficients stand for.
    fn samples(&self, y: &[f32], (rows, cols): (usize, usize), quality: QualityGrid) -> Plane {
        let channels = self.is_luma.len();
        let waves: Vec<f32> = (0..AREA).map(|i| wave(LUMA_SIDE, i / LUMA_SIDE, i % LUMA_SIDE) as f32).collect();
        let mut out = Plane::new(rows * LUMA_SIDE, cols * LUMA_SIDE);
        for (cell, values) in y.chunks_exact(channels).enumerate() {
            let step = f32::from(self.steps[usize::from(quality.at(cell))]);
            let mut block = [0.0; AREA];
            for (value, &place) in block.iter_mut().zip(&self.places) {
                *value = values[place] * step;
            }
            for _ in 0..2 {
                let mut turned = [0.0; AREA];
                for (functions, line) in waves.chunks_exact(LUMA_SIDE).zip(block.chunks_exact(LUMA_SIDE)) {
                    for (x, &wave) in functions.iter().enumerate() {
                        for (j, &value) in line.iter().enumerate() {
                            turned[j * LUMA_SIDE + x] += wave * value;
                        }
                    }
                }
                block = turned;
            }
            // Casts turn what is not a number into 0 and saturate.
            let block = block.map(|v| (v.round() as i32).clamp(-LARGEST, LARGEST));
            out.put_square((cell / cols * LUMA_SIDE, cell % cols * LUMA_SIDE), LUMA_SIDE, &block);
        }
        out
    }
}
