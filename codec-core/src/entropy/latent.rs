//! Coding of one latent: z, then y in one or two steps.

use super::ACTIVATION_FRACTION_BITS;
use super::both_ways::{Decoding, Encoding};
use super::grid::LatentGrid;
use super::model::EntropyModel;
use super::networks::{Known, Scratch};
use super::symbols::{MAX_SYMBOL, SymbolReader, SymbolWriter};
use super::tables::Tables;
use super::transforms::ChoiceModels;
use crate::quality::QualityGrid;
use crate::{Error, Result};

/// A latent that the analysis transform made, in quantiser steps.
#[derive(Clone, Copy, Debug)]
pub struct LatentInput<'a> {
    /// NHWC `[rows/4][cols/4][hyper_channels]`.
    pub z: &'a [f32],
    /// NHWC `[rows][cols][channels]`.
    pub y: &'a [f32],
    /// What a bit of y is worth in squared quantiser steps, for each channel, see [`frugal`]; empty: nothing.
    pub prices: &'a [f32],
}

/// `value` relative to `mean` (8 fractional bits).
fn centred(value: f32, mean: i32) -> f32 {
    value - mean as f32 / (1u32 << ACTIVATION_FRACTION_BITS) as f32
}

/// The symbol of `value` around `mean` (8 fractional bits). What is not a number counts as the mean.
pub fn quantise(value: f32, mean: i32) -> i32 {
    // The cast turns NaN into 0 and saturates.
    (centred(value, mean).round_ties_even() as i32).clamp(-MAX_SYMBOL, MAX_SYMBOL)
}

/// The cheaper of `symbol` and the next one towards 0 for the element `value` around `mean`: the smaller sum of squared error in
/// quantiser steps and `price` times bits.
pub fn frugal(tables: &Tables, k: usize, value: f32, mean: i32, symbol: i32, price: f32) -> i32 {
    if symbol == 0 || price == 0.0 {
        return symbol;
    }
    let centred = centred(value, mean);
    let cost = |symbol: i32| (centred - symbol as f32).powi(2) + price * tables.bits(k, symbol);
    let nearer_zero = symbol - symbol.signum();
    if cost(nearer_zero) < cost(symbol) { nearer_zero } else { symbol }
}

/// What a symbol and its mean stand for.
fn dequantise(symbol: i32, mean: i32) -> i32 {
    (symbol << ACTIVATION_FRACTION_BITS) + mean
}

/// Where symbols come from or go to.
trait Coder {
    /// The symbol of element `index` with the given mean at scale index `k` (not 0).
    fn code(&mut self, tables: &Tables, k: usize, index: usize, mean: i32) -> i32;
}

struct Writing<'a> {
    values: &'a [f32],
    /// For each channel; empty: none.
    prices: &'a [f32],
    writer: &'a mut SymbolWriter,
}

impl Coder for Writing<'_> {
    fn code(&mut self, tables: &Tables, k: usize, index: usize, mean: i32) -> i32 {
        let value = self.values[index];
        let mut symbol = quantise(value, mean);
        if symbol != 0 && !self.prices.is_empty() {
            symbol = frugal(tables, k, value, mean, symbol, self.prices[index % self.prices.len()]);
        }
        self.writer.put(tables, k, symbol);
        symbol
    }
}

/// Writes nothing but zeros: every element becomes its mean.
struct Silent<'a> {
    writer: &'a mut SymbolWriter,
}

impl Coder for Silent<'_> {
    fn code(&mut self, tables: &Tables, k: usize, _: usize, _: i32) -> i32 {
        self.writer.put(tables, k, 0);
        0
    }
}

impl Coder for SymbolReader<'_> {
    fn code(&mut self, tables: &Tables, k: usize, _: usize, _: i32) -> i32 {
        self.get(tables, k)
    }
}

/// What encoder and decoder both know of a latent before it is coded.
#[derive(Clone, Copy, Debug)]
pub struct LatentContext<'a> {
    /// Networks that predict the elements, and their probabilities.
    pub model: &'a EntropyModel,
    /// Quality indices, 0..=63, of the frame and of the cells of y.
    pub quality: QualityGrid<'a>,
    /// Rows of y, a multiple of 4.
    pub rows: usize,
    /// Columns of y, a multiple of 4.
    pub cols: usize,
    /// The last frame's latent, if there is one.
    pub prior: Option<&'a LatentGrid>,
}

impl LatentContext<'_> {
    /// Writes a latent and returns what the decoder will see.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if sizes do not fit.
    pub fn encode(&self, input: &LatentInput, writer: &mut SymbolWriter, scratch: &mut Scratch) -> Result<LatentGrid> {
        self.check()?;
        let (cells, config) = (self.rows * self.cols, &self.model.config);
        if !input.prices.is_empty() && input.prices.len() != config.channels {
            return Err(Error::InvalidConfig(format!("{} prices for {} channels", input.prices.len(), config.channels)));
        }
        if input.y.len() != cells * config.channels || input.z.len() * 16 != cells * config.hyper_channels {
            return Err(Error::InvalidConfig(format!(
                "{} values of y and {} of z do not fit a latent of {}x{}",
                input.y.len(),
                input.z.len(),
                self.rows,
                self.cols
            )));
        }
        let Some(transforms) = &self.model.transforms else {
            let z = self.code_z(&mut Writing { values: input.z, prices: &[], writer });
            return Ok(self.code_y(&z, &[], &mut Writing { values: input.y, prices: input.prices, writer }, scratch));
        };
        let mut y = input.y.to_vec();
        let mut choices = transforms.choose(&mut y, config.channels);
        ChoiceModels::new().code(&mut Encoding(writer), &mut choices, self.cols);
        let z = self.code_z(&mut Writing { values: input.z, prices: &[], writer });
        Ok(self.code_y(&z, &choices, &mut Writing { values: &y, prices: input.prices, writer }, scratch))
    }

    /// Writes the cheapest latent, that of zeros alone, and returns what the decoder will see.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if sizes do not fit.
    pub fn encode_silence(&self, writer: &mut SymbolWriter, scratch: &mut Scratch) -> Result<LatentGrid> {
        self.check()?;
        let mut choices = self.no_choices();
        ChoiceModels::new().code(&mut Encoding(writer), &mut choices, self.cols);
        let z = self.code_z(&mut Silent { writer });
        Ok(self.code_y(&z, &choices, &mut Silent { writer }, scratch))
    }

    /// Reads a latent.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if damage shows already; [`SymbolReader::finish`] tells the rest. [`Error::InvalidConfig`] if sizes
    /// do not fit.
    pub fn decode(&self, reader: &mut SymbolReader, scratch: &mut Scratch) -> Result<LatentGrid> {
        self.check()?;
        let mut choices = self.no_choices();
        ChoiceModels::new().code(&mut Decoding(reader), &mut choices, self.cols);
        reader.check()?;
        let z = self.code_z(reader);
        reader.check()?;
        let latent = self.code_y(&z, &choices, reader, scratch);
        reader.check()?;
        Ok(latent)
    }

    /// Checks sizes that both directions rely on.
    fn check(&self) -> Result<()> {
        let Self { rows, cols, .. } = *self;
        let (quality, channels) = (self.quality.frame(), self.model.config.channels);
        if !rows.is_multiple_of(4)
            || !cols.is_multiple_of(4)
            || rows == 0
            || cols == 0
            || usize::from(quality) >= super::QUALITIES
        {
            return Err(Error::InvalidConfig(format!(
                "latent of {rows}x{cols} at quality {quality}: sides are multiples of 4, quality below 64"
            )));
        }
        if self.quality.cells().is_some_and(|cells| cells.len() != rows * cols || self.quality.cols() != cols) {
            return Err(Error::InvalidConfig(format!("the quality map does not fit a latent of {rows}x{cols}")));
        }
        if self.prior.is_some_and(|p| (p.rows, p.cols, p.channels) != (rows, cols, channels)) {
            return Err(Error::InvalidConfig(format!("the temporal prior is not {rows}x{cols}x{channels}")));
        }
        Ok(())
    }

    /// The first transform for each position; nothing for a model without a choice.
    fn no_choices(&self) -> Vec<u8> {
        if self.model.transforms.is_some() { vec![0; self.rows * self.cols] } else { Vec::new() }
    }

    fn code_z(&self, coder: &mut impl Coder) -> LatentGrid {
        let model = self.model;
        let channels = model.config.hyper_channels;
        let mut z = LatentGrid::new(self.rows / 4, self.cols / 4, channels);
        let first = usize::from(self.quality.frame()) * channels;
        let (means, scales) = (&model.z_mean[first..][..channels], &model.z_scale[first..][..channels]);
        for (index, value) in z.data.iter_mut().enumerate() {
            let (mean, k) = (means[index % channels], usize::from(scales[index % channels]));
            let symbol = if k == 0 { 0 } else { coder.code(&self.model.tables, k, index, mean) };
            *value = dequantise(symbol, mean);
        }
        z
    }

    /// `choices`: the transform of each position, if there is a choice.
    fn code_y(&self, z: &LatentGrid, choices: &[u8], coder: &mut impl Coder, scratch: &mut Scratch) -> LatentGrid {
        let mut latent = LatentGrid::new(self.rows, self.cols, self.model.config.channels);
        let known = Known { z, prior: self.prior, choices };
        self.model.first_parameters(known, self.quality, scratch);
        if let Some(second) = &self.model.layers.second {
            self.code_elements(Some(Half::First), &scratch.parameters, &mut latent, coder);
            self.model.second_parameters(second, &latent, scratch);
            self.code_elements(Some(Half::Second), &scratch.parameters, &mut latent, coder);
        } else {
            self.code_elements(None, &scratch.parameters, &mut latent, coder);
        }
        if let Some(transforms) = &self.model.transforms {
            transforms.undo(&mut latent, choices);
        }
        latent
    }

    /// Codes the elements of `latent` that belong to a half, or all of them.
    fn code_elements(&self, half: Option<Half>, parameters: &[i16], latent: &mut LatentGrid, coder: &mut impl Coder) {
        let channels = latent.channels;
        for position in 0..latent.rows * latent.cols {
            let odd = (position / latent.cols + position % latent.cols) % 2 == 1;
            let range = match half {
                None => 0..channels,
                Some(half) if odd == (half == Half::First) => 0..channels / 2,
                Some(_) => channels / 2..channels,
            };
            let parameters = &parameters[position * 2 * channels..][..2 * channels];
            for channel in range {
                let mean = i32::from(parameters[channel]);
                let k = self.model.scale_index(parameters[channels + channel]);
                let index = position * channels + channel;
                let symbol = if k == 0 { 0 } else { coder.code(&self.model.tables, k, index, mean) };
                latent.data[index] = dequantise(symbol, mean);
            }
        }
    }
}

/// Elements that one step of the checkerboard codes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    /// The lower channels at odd positions, the upper ones at even positions.
    First,
    /// All others.
    Second,
}
