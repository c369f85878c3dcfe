//! Intra prediction: luma of each block of an I-frame is predicted from decoded blocks to the left and above, and what the prediction
//! misses is what luma's linear channels code.
//!
//! In: a latent whose linear channels of luma are a DCT of 16x16 samples. Out: symbols of differences, transforms and modes of blocks; and
//! the way back, in integers, so that nothing behind a decoder's entropy coder knows of it.

mod plane;
mod predict;
mod search;
mod syntax;
#[cfg(test)]
mod tests;
mod transform;

use super::ACTIVATION_FRACTION_BITS;
use super::both_ways::Symbols;
use super::grid::LatentGrid;
use super::transforms::ChoiceModels;
use crate::architecture::linear::{LUMA_SIDE, TRANSFORMS, luma_places};
use crate::kernels::simd::multiversion;
use crate::quality::QualityGrid;
use plane::Plane;
use predict::Edges;

pub(super) use predict::MEAN;
use syntax::ModeModels;

const AREA: usize = LUMA_SIDE * LUMA_SIDE;

/// Quarters of a block, which may have modes of their own.
const QUARTERS: usize = 4;

/// How each block of a latent is coded, row by row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockModes {
    /// Transform: 0 for one of 16x16 samples, 1 for four of 8x8, 2 for sixteen of 4x4.
    pub transforms: Vec<u8>,
    /// What squares are predicted by: modes of the four quarters of each block, row by row. Those of a block whose transform is 0 are equal.
    pub modes: Vec<[u8; QUARTERS]>,
}

impl BlockModes {
    /// Codes a grid of `cols` columns, without the cells that rest. What is here counts when writing; it is what was written or read
    /// afterwards.
    pub(super) fn code(&mut self, symbols: &mut impl Symbols, cols: usize, quality: QualityGrid) {
        ChoiceModels::new().code(symbols, &mut self.transforms, cols, quality);
        ModeModels::new().code(symbols, &self.transforms, &mut self.modes, cols);
    }

    /// Bits that a grid of `cols` columns takes.
    #[cfg(feature = "torch")]
    pub fn bits(&self, cols: usize) -> f64 {
        let mut writer = super::SymbolWriter::new();
        self.clone().code(&mut super::both_ways::Encoding(&mut writer), cols, QualityGrid::uniform(0));
        writer.bits()
    }

    /// Whether there is one of each for so many blocks, all of which exist.
    pub(super) fn fit(&self, blocks: usize) -> bool {
        (self.transforms.len(), self.modes.len()) == (blocks, blocks)
            && self.transforms.iter().all(|&transform| usize::from(transform) < TRANSFORMS)
            && self.modes.as_flattened().iter().all(|&mode| usize::from(mode) < predict::MODES)
    }
}

/// Intra prediction of a latent's luma.
#[derive(Clone, Debug)]
pub struct Intra {
    /// Channel of each coefficient, row by row.
    places: Vec<usize>,
    /// Channels of luma.
    is_luma: Vec<bool>,
    /// Size of a quantiser step at each quality in samples, [`plane::FRACTION`] fractional bits.
    steps: Vec<u16>,
}

/// A square within a block: the place of its first sample, and its side.
#[derive(Clone, Copy)]
struct Square {
    row: usize,
    col: usize,
    side: usize,
}

/// The squares of a quarter with a transform other than the first, in the order of coding.
#[inline(always)]
fn squares(transform: u8, quarter: usize) -> impl Iterator<Item = Square> {
    let count = 1 << (transform - 1);
    let (row, col) = (quarter / 2 * (LUMA_SIDE / 2), quarter % 2 * (LUMA_SIDE / 2));
    let side = LUMA_SIDE / 2 / count;
    (0..count * count).map(move |i| Square { row: row + i / count * side, col: col + i % count * side, side })
}

/// When squares of 4x4 are coded: quarter by quarter, row by row.
#[inline(always)]
fn turn(row: usize, col: usize) -> usize {
    let (r, c) = (row / 4, col / 4);
    (r / 2 * 2 + c / 2) * 4 + r % 2 * 2 + c % 2
}

/// What is known around a block.
#[derive(Clone, Copy)]
struct Around {
    left: bool,
    /// Samples of the row above, from the block's first column on.
    above: usize,
}

impl Around {
    /// Around the block of cell `cell` of a grid of `cols` columns.
    fn new(cell: usize, cols: usize) -> Self {
        let (row, col) = (cell / cols, cell % cols);
        Self { left: col > 0, above: if row > 0 { LUMA_SIDE * (cols - col).min(2) } else { 0 } }
    }
}

impl Square {
    /// A whole block.
    const WHOLE: Self = Self { row: 0, col: 0, side: LUMA_SIDE };

    /// Where its first sample lies, that of the block being at (`row`, `col`).
    #[inline(always)]
    fn at(self, (row, col): (usize, usize)) -> (usize, usize) {
        (row + self.row, col + self.col)
    }

    /// Samples that are known to its left and above when it is coded; see [`Edges::new`].
    #[inline(always)]
    fn known(self, around: Around) -> (usize, usize) {
        let own = turn(self.row, self.col);
        let known = |is_known: &dyn Fn(usize) -> bool| {
            let mut length = self.side;
            while length < 2 * self.side && is_known(length) {
                length += 4;
            }
            length
        };
        let down = match self.col {
            0 if !around.left => 0,
            // The block to the left is complete, that below it is not known.
            0 => (2 * self.side).min(LUMA_SIDE - self.row),
            _ => known(&|down| self.row + down < LUMA_SIDE && turn(self.row + down, self.col - 1) < own),
        };
        let right = match self.row {
            0 => (2 * self.side).min(around.above.saturating_sub(self.col)),
            _ => known(&|right| self.col + right < LUMA_SIDE && turn(self.row - 1, self.col + right) < own),
        };
        (down, right)
    }

    /// Where a coefficient of it lies among those of the block: channels keep their frequencies, nearly.
    #[inline(always)]
    fn place(self, row: usize, col: usize) -> usize {
        let count = LUMA_SIDE / self.side;
        LUMA_SIDE * (row * count + self.row / self.side) + col * count + self.col / self.side
    }
}

impl Intra {
    /// Of a latent of so many channels.
    pub fn new(channels: usize, steps: Vec<u16>) -> Self {
        let places = luma_places(channels);
        let mut is_luma = vec![false; channels];
        places.iter().for_each(|&place| is_luma[place] = true);
        Self { places, is_luma, steps }
    }

    /// Whether a channel codes what a prediction misses: its mean is 0, and no symbol of it is left out.
    pub fn predicts(&self, channel: usize) -> bool {
        self.is_luma[channel]
    }

    /// From symbols to coefficients of 16x16 samples in quantiser steps.
    pub fn restore(&self, latent: &mut LatentGrid, modes: &BlockModes, quality: QualityGrid) {
        let cols = latent.cols;
        let mut plane = Plane::new(latent.rows * LUMA_SIDE, cols * LUMA_SIDE);
        let mut symbols = [0; AREA];
        for (cell, values) in latent.data.chunks_exact_mut(latent.channels).enumerate() {
            for (symbol, &place) in symbols.iter_mut().zip(&self.places) {
                *symbol = values[place] >> ACTIVATION_FRACTION_BITS;
            }
            let at = (cell / cols * LUMA_SIDE, cell % cols * LUMA_SIDE);
            let step = i32::from(self.steps[usize::from(quality.at(cell))]);
            restore_block(&mut plane, (at, Around::new(cell, cols)), (modes.transforms[cell], modes.modes[cell]), &symbols, step);
            let mut block = [0; AREA];
            plane.copy_square(at, LUMA_SIDE, &mut block);
            transform::forward(&mut block, LUMA_SIDE);
            for (&value, &place) in block.iter().zip(&self.places) {
                values[place] = divided(value << ACTIVATION_FRACTION_BITS, step);
            }
        }
    }
}

multiversion! {
    fn restore_block(plane: &mut Plane, place: ((usize, usize), Around), modes: (u8, [u8; QUARTERS]), symbols: &[i32; AREA], step: i32) = restored
}

#[inline(always)]
fn restored(
    plane: &mut Plane,
    (at, around): ((usize, usize), Around),
    (transform, modes): (u8, [u8; QUARTERS]),
    symbols: &[i32; AREA],
    step: i32,
) {
    let mut one = |square: Square, mode: u8| {
        let mut prediction = [0; AREA];
        predicted(plane, (at, around), square, mode, &mut prediction);
        put(plane, square.at(at), square, &prediction, symbols, step);
    };
    if transform == 0 {
        return one(Square::WHOLE, modes[0]);
    }
    for (quarter, mode) in modes.into_iter().enumerate() {
        squares(transform, quarter).for_each(|square| one(square, mode));
    }
}

/// Rounded to the nearest, halves upwards.
fn divided(value: i32, by: i32) -> i32 {
    (value + by / 2).div_euclid(by)
}

/// The prediction of a square.
#[inline(always)]
fn predicted(plane: &Plane, (block, around): ((usize, usize), Around), square: Square, mode: u8, out: &mut [i32; AREA]) {
    Edges::new(plane, square.at(block), square.side, square.known(around)).predict(mode, out);
}

/// Writes a square's prediction and what its symbols stand for.
#[inline(always)]
fn put(plane: &mut Plane, at: (usize, usize), square: Square, prediction: &[i32], symbols: &[i32; AREA], step: i32) {
    let side = square.side;
    let mut difference = [0; AREA];
    let mut any = 0;
    for (row, line) in difference.chunks_exact_mut(side).take(side).enumerate() {
        for (col, value) in line.iter_mut().enumerate() {
            let symbol = symbols[square.place(row, col)];
            any |= symbol;
            *value = symbol.saturating_mul(step);
        }
    }
    if any != 0 {
        transform::back(&mut difference, side);
    }
    plane.add(at, side, prediction, &difference);
}
