//! Coding of one latent: z, then y in one or two steps.

use super::ACTIVATION_FRACTION_BITS;
use super::grid::LatentGrid;
use super::model::EntropyModel;
use super::networks::Scratch;
use super::symbols::{MAX_SYMBOL, SymbolReader, SymbolWriter};
use super::tables::Tables;
use crate::{Error, Result};

/// A latent that the analysis transform made, in quantiser steps.
#[derive(Clone, Copy, Debug)]
pub struct LatentInput<'a> {
    /// Multiples of 4.
    pub rows: usize,
    /// Columns of `y`.
    pub cols: usize,
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

/// Codes z of `rows` x `cols` cells.
fn code_z(model: &EntropyModel, tables: &Tables, quality: u8, rows: usize, cols: usize, coder: &mut impl Coder) -> LatentGrid {
    let channels = model.config.hyper_channels;
    let mut z = LatentGrid::new(rows, cols, channels);
    let first = usize::from(quality) * channels;
    let (means, scales) = (&model.z_mean[first..][..channels], &model.z_scale[first..][..channels]);
    for (index, value) in z.data.iter_mut().enumerate() {
        let (mean, k) = (means[index % channels], usize::from(scales[index % channels]));
        let symbol = if k == 0 { 0 } else { coder.code(tables, k, index, mean) };
        *value = dequantise(symbol, mean);
    }
    z
}

/// Codes the elements of `latent` that belong to `half` (0 or 1), or all of them.
fn code_half(
    model: &EntropyModel,
    tables: &Tables,
    half: Option<usize>,
    parameters: &[i16],
    latent: &mut LatentGrid,
    coder: &mut impl Coder,
) {
    let channels = latent.channels;
    for position in 0..latent.rows * latent.cols {
        let odd = (position / latent.cols + position % latent.cols) % 2 == 1;
        // First half: the lower channels at odd positions, the upper ones at even positions.
        let lower = half.map(|half| odd == (half == 0));
        let range = match lower {
            None => 0..channels,
            Some(true) => 0..channels / 2,
            Some(false) => channels / 2..channels,
        };
        let parameters = &parameters[position * 2 * channels..][..2 * channels];
        for channel in range {
            let mean = i32::from(parameters[channel]);
            let k = model.scale_index(parameters[channels + channel]);
            let index = position * channels + channel;
            let symbol = if k == 0 { 0 } else { coder.code(tables, k, index, mean) };
            latent.data[index] = dequantise(symbol, mean);
        }
    }
}

/// Checks sizes that both directions rely on.
fn check(model: &EntropyModel, quality: u8, rows: usize, cols: usize, prior: Option<&LatentGrid>) -> Result<()> {
    let channels = model.config.channels;
    if !rows.is_multiple_of(4) || !cols.is_multiple_of(4) || rows == 0 || cols == 0 || usize::from(quality) >= super::QUALITIES {
        return Err(Error::InvalidConfig(format!(
            "latent of {rows}x{cols} at quality {quality}: sides are multiples of 4, quality below 64"
        )));
    }
    if prior.is_some_and(|p| (p.rows, p.cols, p.channels) != (rows, cols, channels)) {
        return Err(Error::InvalidConfig(format!("the temporal prior is not {rows}x{cols}x{channels}")));
    }
    Ok(())
}

/// Writes a latent and returns what the decoder will see.
///
/// # Errors
/// [`Error::InvalidConfig`] if sizes do not fit.
pub fn encode_latent(
    model: &EntropyModel,
    tables: &Tables,
    quality: u8,
    input: &LatentInput,
    prior: Option<&LatentGrid>,
    writer: &mut SymbolWriter,
    scratch: &mut Scratch,
) -> Result<LatentGrid> {
    check(model, quality, input.rows, input.cols, prior)?;
    let (cells, config) = (input.rows * input.cols, &model.config);
    if !input.prices.is_empty() && input.prices.len() != config.channels {
        return Err(Error::InvalidConfig(format!("{} prices for {} channels", input.prices.len(), config.channels)));
    }
    if input.y.len() != cells * config.channels || input.z.len() * 16 != cells * config.hyper_channels {
        return Err(Error::InvalidConfig(format!(
            "{} values of y and {} of z do not fit a latent of {}x{}",
            input.y.len(),
            input.z.len(),
            input.rows,
            input.cols
        )));
    }
    let z = code_z(model, tables, quality, input.rows / 4, input.cols / 4, &mut Writing { values: input.z, prices: &[], writer });
    Ok(code_y(model, tables, quality, &z, prior, &mut Writing { values: input.y, prices: input.prices, writer }, scratch))
}

/// Writes the cheapest latent of `rows` x `cols` cells, that of zeros alone, and returns what the decoder will see.
///
/// # Errors
/// [`Error::InvalidConfig`] if sizes do not fit.
pub fn encode_silence(
    model: &EntropyModel,
    tables: &Tables,
    quality: u8,
    (rows, cols): (usize, usize),
    prior: Option<&LatentGrid>,
    writer: &mut SymbolWriter,
    scratch: &mut Scratch,
) -> Result<LatentGrid> {
    check(model, quality, rows, cols, prior)?;
    let z = code_z(model, tables, quality, rows / 4, cols / 4, &mut Silent { writer });
    Ok(code_y(model, tables, quality, &z, prior, &mut Silent { writer }, scratch))
}

/// Reads a latent of `rows` x `cols` cells.
///
/// # Errors
/// [`Error::Corrupt`] if damage shows already; [`SymbolReader::finish`] tells the rest. [`Error::InvalidConfig`] if sizes
/// do not fit.
#[expect(clippy::too_many_arguments, reason = "the decoder's state; a struct would only rename it")]
pub fn decode_latent(
    model: &EntropyModel,
    tables: &Tables,
    quality: u8,
    rows: usize,
    cols: usize,
    prior: Option<&LatentGrid>,
    reader: &mut SymbolReader,
    scratch: &mut Scratch,
) -> Result<LatentGrid> {
    check(model, quality, rows, cols, prior)?;
    let z = code_z(model, tables, quality, rows / 4, cols / 4, reader);
    reader.check()?;
    let latent = code_y(model, tables, quality, &z, prior, reader, scratch);
    reader.check()?;
    Ok(latent)
}

fn code_y(
    model: &EntropyModel,
    tables: &Tables,
    quality: u8,
    z: &LatentGrid,
    prior: Option<&LatentGrid>,
    coder: &mut impl Coder,
    scratch: &mut Scratch,
) -> LatentGrid {
    let mut latent = LatentGrid::new(z.rows * 4, z.cols * 4, model.config.channels);
    model.first_parameters(z, quality, prior, scratch);
    if model.config.checkerboard {
        code_half(model, tables, Some(0), &scratch.parameters, &mut latent, coder);
        model.second_parameters(&latent, scratch);
        code_half(model, tables, Some(1), &scratch.parameters, &mut latent, coder);
    } else {
        code_half(model, tables, None, &scratch.parameters, &mut latent, coder);
    }
    latent
}
