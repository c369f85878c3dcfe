//! The choice of a linear transform for luma of each block.
//!
//! Latents have the coefficients of one transform of 16x16 samples. Symbols of a block may be those of four transforms of 8x8 or sixteen of
//! 4x4 samples instead: an orthonormal rotation of luma's linear channels in the domain of the quantiser. The decoder turns them back in
//! integers, so that nothing behind the entropy coder knows of it.

use std::sync::LazyLock;

use super::adaptive::AdaptiveBit;
use super::both_ways::Symbols;
use super::grid::LatentGrid;
use crate::architecture::linear::{LUMA_SIDE, TRANSFORMS, linear_channels, luma_places, rotation};
use crate::quality::QualityGrid;

/// Fractional bits of the rotations' integers.
const ROTATION_BITS: u32 = 13;

/// What an encoder expects of a coefficient: it is rounded up from 1 minus this; a symbol other than 0 takes this many bits, and two more
/// for each doubling; a bit is worth so many squared quantiser steps; a transform other than the first has to save so many bits.
pub(crate) const CHOICE_ROUNDING: f64 = 0.4;
/// See [`CHOICE_ROUNDING`].
pub(crate) const CHOICE_BIT: f64 = 3.0;
/// See [`CHOICE_ROUNDING`].
pub(crate) const CHOICE_PRICE: f64 = 0.08;
/// See [`CHOICE_ROUNDING`].
pub(crate) const CHOICE_BIAS: f64 = 3.0;

type Matrix<T> = [[T; LUMA_SIDE]; LUMA_SIDE];

/// One dimension of the way to transforms 1 and 2.
static FORWARD: LazyLock<[Matrix<f32>; TRANSFORMS - 1]> =
    LazyLock::new(|| std::array::from_fn(|i| rotation(i + 1).map(|row| row.map(|v| v as f32))));
/// One dimension of the way back, [`ROTATION_BITS`] fractional bits.
static BACK: LazyLock<[Matrix<i32>; TRANSFORMS - 1]> = LazyLock::new(|| {
    std::array::from_fn(|i| {
        let forward = rotation(i + 1);
        std::array::from_fn(|row| std::array::from_fn(|col| (forward[col][row] * f64::from(1 << ROTATION_BITS)).round() as i32))
    })
});

/// What the bits of a symbol of magnitude n are expected to be worth.
static SYMBOL_COSTS: LazyLock<[f32; 64]> =
    LazyLock::new(|| std::array::from_fn(|n| (CHOICE_PRICE * (CHOICE_BIT + 2.0 * (n.max(1) as f64).log2())) as f32));

/// Transforms of the blocks of one latent, and where luma's coefficients lie.
#[derive(Clone, Debug)]
pub(super) struct Transforms {
    /// Channel of each coefficient, row by row.
    places: Vec<usize>,
    /// Channels of chroma.
    chroma: Vec<usize>,
}

/// What a rounded coefficient is expected to cost, error and bits, in squared quantiser steps.
fn expected_cost(value: f32) -> f32 {
    let size = value.abs();
    // Rounds towards 0, and saturates.
    let symbol = (size + CHOICE_ROUNDING as f32) as u32;
    if symbol < 1 {
        return size * size;
    }
    let symbol = symbol as usize;
    let error = size - symbol as f32;
    error * error + SYMBOL_COSTS[symbol.min(SYMBOL_COSTS.len() - 1)]
}

impl Transforms {
    /// Of a latent of so many channels.
    pub fn new(channels: usize) -> Self {
        let chroma = linear_channels(channels).into_iter().filter(|(_, frequency)| frequency.plane > 0);
        Self { places: luma_places(channels), chroma: chroma.map(|(channel, _)| channel).collect() }
    }

    /// Chooses a transform for each position of `y`, NHWC `[..][channels]` in quantiser steps, by what coefficients are expected to cost,
    /// and takes y there.
    pub fn choose(&self, y: &mut [f32], channels: usize) -> Vec<u8> {
        y.chunks_exact_mut(channels).map(|position| self.choose_one(position)).collect()
    }

    /// How much less it is expected to cost to code the linear channels of a position than to leave them out, in squared quantiser steps;
    /// 0 if nothing would be coded.
    pub fn worth(&self, position: &[f32]) -> f32 {
        let error = |channels: &[usize]| channels.iter().map(|&channel| position[channel].powi(2)).sum::<f32>();
        let of_chroma = error(&self.chroma) - self.chroma.iter().map(|&channel| expected_cost(position[channel])).sum::<f32>();
        let of_luma = error(&self.places) - self.chosen(position).0;
        // Rotations round.
        if of_luma.abs() < 1e-3 { of_chroma } else { of_chroma + of_luma }
    }

    /// The least expected cost of luma of a position, and, unless it is that of the first transform, which one has it and what it makes.
    fn chosen(&self, position: &[f32]) -> (f32, Option<(u8, Matrix<f32>)>) {
        let mut block = [[0.0; LUMA_SIDE]; LUMA_SIDE];
        for (value, &place) in block.as_flattened_mut().iter_mut().zip(&self.places) {
            *value = position[place];
        }
        // Where all coefficients become 0, all transforms are alike.
        let energy = block.as_flattened().iter().map(|v| v * v).sum::<f32>();
        if energy < 0.36 {
            return (energy, None);
        }
        let cost = |block: &Matrix<f32>| block.as_flattened().iter().copied().map(expected_cost).sum::<f32>();
        let mut best = (cost(&block), None);
        for (choice, forward) in (1..).zip(FORWARD.iter()) {
            let rotated = rotate(&block, forward);
            let cost = cost(&rotated) + (CHOICE_BIAS * CHOICE_PRICE) as f32;
            if cost < best.0 {
                best = (cost, Some((choice, rotated)));
            }
        }
        best
    }

    fn choose_one(&self, position: &mut [f32]) -> u8 {
        let Some((choice, block)) = self.chosen(position).1 else { return 0 };
        for (value, &place) in block.as_flattened().iter().zip(&self.places) {
            position[place] = *value;
        }
        choice
    }

    /// Turns a decoded latent back to the coefficients of 16x16 samples.
    pub fn undo(&self, latent: &mut LatentGrid, choices: &[u8]) {
        for (position, &choice) in latent.data.chunks_exact_mut(latent.channels).zip(choices) {
            if choice > 0 {
                self.undo_one(position, &BACK[usize::from(choice) - 1]);
            }
        }
    }

    /// Wraps around where a damaged or absurd stream leaves 32 bits, on all machines alike.
    fn undo_one(&self, position: &mut [i32], back: &Matrix<i32>) {
        let mut block = [[0; LUMA_SIDE]; LUMA_SIDE];
        for (value, &place) in block.as_flattened_mut().iter_mut().zip(&self.places) {
            *value = position[place];
        }
        for _ in 0..2 {
            block = columns(&block, back);
        }
        for (value, &place) in block.as_flattened().iter().zip(&self.places) {
            position[place] = *value;
        }
    }
}

/// R B R^T.
fn rotate(block: &Matrix<f32>, forward: &Matrix<f32>) -> Matrix<f32> {
    // Transposed, so that two of these are both dimensions.
    let half = |block: &Matrix<f32>| {
        let mut out = [[0.0; LUMA_SIDE]; LUMA_SIDE];
        for (i, row) in forward.iter().enumerate() {
            let mut sums = [0.0f32; LUMA_SIDE];
            for (&factor, line) in row.iter().zip(block) {
                for (sum, &value) in sums.iter_mut().zip(line) {
                    *sum += factor * value;
                }
            }
            for (line, sum) in out.iter_mut().zip(sums) {
                line[i] = sum;
            }
        }
        out
    };
    half(&half(block))
}

/// M B, rounded and transposed.
fn columns(block: &Matrix<i32>, matrix: &Matrix<i32>) -> Matrix<i32> {
    let mut out = [[0; LUMA_SIDE]; LUMA_SIDE];
    for (i, row) in matrix.iter().enumerate() {
        let mut sums = [1i32 << (ROTATION_BITS - 1); LUMA_SIDE];
        for (&factor, line) in row.iter().zip(block) {
            for (sum, &value) in sums.iter_mut().zip(line) {
                *sum = sum.wrapping_add(factor.wrapping_mul(value));
            }
        }
        for (line, sum) in out.iter_mut().zip(sums) {
            line[i] = sum >> ROTATION_BITS;
        }
    }
    out
}

/// Probabilities of choices, which learn within a frame.
pub(super) struct ChoiceModels {
    /// Whether a block has another transform than the first, by how many of the blocks to the left and above have.
    other: [AdaptiveBit; 3],
    /// Whether it is that of 4x4 samples, by how many of those neighbours have it.
    small: [AdaptiveBit; 3],
}

impl ChoiceModels {
    pub fn new() -> Self {
        let bit = |share: f64| AdaptiveBit::new((share * 65_536.0) as u16);
        Self { other: [bit(0.05), bit(0.3), bit(0.6)], small: [bit(0.3), bit(0.6), bit(0.8)] }
    }

    /// Codes the choices of a grid of `cols` columns, row by row; cells that rest have the first transform. `choices` count when writing;
    /// they are what was written or read afterwards.
    pub fn code(&mut self, symbols: &mut impl Symbols, choices: &mut [u8], cols: usize, quality: QualityGrid) {
        for at in 0..choices.len() {
            if quality.rests(at) {
                choices[at] = 0;
                continue;
            }
            let left = if at % cols > 0 { choices[at - 1] } else { 0 };
            let above = if at >= cols { choices[at - cols] } else { 0 };
            let count = |least: u8| usize::from(left >= least) + usize::from(above >= least);
            let given = choices[at];
            let other = symbols.bit(&mut self.other[count(1)], given > 0);
            let choice = if other { 1 + u8::from(symbols.bit(&mut self.small[count(2)], given > 1)) } else { 0 };
            symbols.check(choice.into());
            choices[at] = choice;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::super::both_ways::{Decoding, Encoding};
    use super::super::{SymbolReader, SymbolWriter};
    use super::*;
    use crate::architecture::linear::COMPLETE;

    const CHANNELS: usize = COMPLETE + 8;

    #[test]
    fn integers_undo_what_floats_did() {
        let mut random = StdRng::seed_from_u64(3);
        let transforms = Transforms::new(CHANNELS);
        let original: Vec<f32> = (0..40 * CHANNELS).map(|_| random.random_range(-1.0f32..1.0).powi(5) * 60.0).collect();
        let mut y = original.clone();
        let mut choices = transforms.choose(&mut y, CHANNELS);
        assert!(choices.contains(&0));
        // Others, too, on the coefficients of which rounding leaves nothing.
        for choice in 1..TRANSFORMS as u8 {
            choices.fill(choice);
            let mut latent = LatentGrid::new(5, 8, CHANNELS);
            for (position, target) in original.chunks_exact(CHANNELS).zip(latent.data.chunks_exact_mut(CHANNELS)) {
                let mut block = [[0.0; LUMA_SIDE]; LUMA_SIDE];
                for (value, &place) in block.as_flattened_mut().iter_mut().zip(&transforms.places) {
                    *value = position[place];
                }
                let rotated = rotate(&block, &FORWARD[usize::from(choice) - 1]);
                for (target, value) in target.iter_mut().zip(position) {
                    *target = (value * 256.0).round() as i32;
                }
                for (value, &place) in rotated.as_flattened().iter().zip(&transforms.places) {
                    target[place] = (value * 256.0).round() as i32;
                }
            }
            transforms.undo(&mut latent, &choices);
            for (found, wanted) in latent.data.iter().zip(&original) {
                assert!((*found as f32 / 256.0 - wanted).abs() < 0.05, "{found} {wanted}");
            }
        }
    }

    #[test]
    fn no_mathematics_library_can_round_the_rotations_otherwise() {
        for choice in 1..TRANSFORMS {
            for value in rotation(choice).as_flattened() {
                let scaled = value * f64::from(1 << ROTATION_BITS);
                let from_tie = ((scaled - scaled.floor()) - 0.5).abs();
                assert!(from_tie > 1e-6, "{choice}: {value}");
            }
        }
    }

    #[test]
    fn rotating_back_is_as_specified() {
        let transforms = Transforms::new(CHANNELS);
        let mut latent = LatentGrid::new(1, 1, CHANNELS);
        // The mean of the first of four parts.
        latent.data[transforms.places[0]] = 256 * 16;
        transforms.undo(&mut latent, &[1]);
        let at = |row: usize, col: usize| latent.data[transforms.places[LUMA_SIDE * row + col]];
        // Half of it is the block's mean; waves of both directions hold the rest.
        assert_eq!([at(0, 0), at(0, 1), at(1, 0), at(1, 1), at(0, 2)], [2049, 1847, 1847, 1666, 0]);
    }

    #[test]
    fn a_block_with_an_edge_in_one_part_takes_small_transforms() {
        let transforms = Transforms::new(CHANNELS);
        let mut latent = LatentGrid::new(1, 1, CHANNELS);
        latent.data[transforms.places[70]] = 256 * 6;
        for choice in [1, 2] {
            let mut samples = latent.clone();
            transforms.undo(&mut samples, &[choice]);
            let mut y: Vec<f32> = samples.data.iter().map(|&v| v as f32 / 256.0).collect();
            assert_eq!(transforms.choose(&mut y, CHANNELS), [choice]);
            assert!((y[transforms.places[70]] - 6.0).abs() < 0.05);
        }
    }

    #[test]
    fn choices_come_back() {
        let mut random = StdRng::seed_from_u64(4);
        let choices: Vec<u8> = (0..48).map(|_| random.random_range(0..3)).collect();
        let mut writer = SymbolWriter::new();
        ChoiceModels::new().code(&mut Encoding(&mut writer), &mut choices.clone(), 8, QualityGrid::uniform(0));
        let payload = writer.finish();
        let mut reader = SymbolReader::new(&payload).unwrap();
        let mut found = vec![0; 48];
        ChoiceModels::new().code(&mut Decoding(&mut reader), &mut found, 8, QualityGrid::uniform(0));
        assert_eq!(found, choices);
        reader.finish().unwrap();
    }
}
