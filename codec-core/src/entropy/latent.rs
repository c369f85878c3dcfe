//! Coding of one latent: z, then y in one or two steps.

use super::ACTIVATION_FRACTION_BITS;
use super::both_ways::{Decoding, Encoding};
use super::grid::LatentGrid;
use super::intra::{BlockModes, MEAN};
use super::model::EntropyModel;
use super::networks::{Known, Scratch};
use super::scales::Correction;
use super::symbols::{MAX_SYMBOL, SymbolReader, SymbolWriter};
use super::tables::Tables;
use crate::quality::QualityGrid;
use crate::{Error, Result};

/// A latent that the analysis transform made, in quantiser steps.
#[derive(Clone, Copy, Debug)]
pub struct LatentInput<'a> {
    /// NHWC `[rows/4][cols/4][hyper_channels]`.
    pub z: &'a [f32],
    /// NHWC `[rows][cols][channels]`.
    pub y: &'a [f32],
    /// What a bit of y is worth in squared quantiser steps, for each channel, see [`frugal`]; empty: nothing, neither of z. Without effect
    /// with intra prediction, whose symbols have been chosen.
    pub prices: &'a [f32],
    /// What [`LatentContext::predict`] has made of y; `None` for a model without intra prediction.
    pub modes: Option<&'a BlockModes>,
}

/// What a bit of z is worth in squared quantiser steps, where bits of y have a price.
pub const HYPER_PRICE: f32 = 0.1;

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
        if self.model.intra.is_some() != input.modes.is_some() {
            return Err(Error::InvalidConfig("modes of blocks belong to models with intra prediction, and to no others".into()));
        }
        if let Some(modes) = input.modes {
            if !modes.fit(cells) {
                return Err(Error::InvalidConfig(format!(
                    "modes of {} blocks for a latent of {cells}, or one that does not exist",
                    modes.modes.len()
                )));
            }
            let mut modes = modes.clone();
            modes.code(&mut Encoding(writer), self.cols, self.quality);
            let z = self.code_z(&mut Writing { values: input.z, prices: &[], writer });
            return Ok(self.code_y(&z, &modes, &mut Writing { values: input.y, prices: &[], writer }, scratch));
        }
        let hyper_prices = vec![HYPER_PRICE; if input.prices.is_empty() { 0 } else { config.hyper_channels }];
        let mut y = std::borrow::Cow::Borrowed(input.y);
        let mut modes = BlockModes::default();
        if let Some(transforms) = &self.model.transforms {
            modes.transforms = transforms.choose(y.to_mut(), config.channels);
            modes.code(&mut Encoding(writer), self.cols, self.quality);
        }
        let z = self.code_z(&mut Writing { values: input.z, prices: &hyper_prices, writer });
        Ok(self.code_y(&z, &modes, &mut Writing { values: &y, prices: input.prices, writer }, scratch))
    }

    /// Predicts luma, if the model has intra prediction: chooses modes of blocks, and `y`, NHWC `[rows][cols][channels]`, becomes what
    /// is coded. The hyper-latent is made from that. On up to `threads` threads; results do not depend on them.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if sizes do not fit.
    pub fn predict(&self, y: &mut [f32], threads: usize) -> Result<Option<BlockModes>> {
        self.check()?;
        if y.len() != self.rows * self.cols * self.model.config.channels {
            return Err(Error::InvalidConfig(format!("{} values do not fit a latent of {}x{}", y.len(), self.rows, self.cols)));
        }
        Ok(self.model.intra.as_ref().map(|intra| intra.search(y, (self.rows, self.cols), self.quality, threads)))
    }

    /// Writes the cheapest latent, that of zeros alone, and returns what the decoder will see.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if sizes do not fit.
    pub fn encode_silence(&self, writer: &mut SymbolWriter, scratch: &mut Scratch) -> Result<LatentGrid> {
        self.check()?;
        let mut modes = self.no_modes();
        modes.code(&mut Encoding(writer), self.cols, self.quality);
        let z = self.code_z(&mut Silent { writer });
        Ok(self.code_y(&z, &modes, &mut Silent { writer }, scratch))
    }

    /// Reads a latent.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if damage shows already; [`SymbolReader::finish`] tells the rest. [`Error::InvalidConfig`] if sizes
    /// do not fit.
    pub fn decode(&self, reader: &mut SymbolReader, scratch: &mut Scratch) -> Result<LatentGrid> {
        self.check()?;
        let mut modes = self.no_modes();
        modes.code(&mut Decoding(reader), self.cols, self.quality);
        reader.check()?;
        let z = self.code_z(reader);
        reader.check()?;
        let latent = self.code_y(&z, &modes, reader, scratch);
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
        if self.quality.rest().is_some_and(|rest| !rest.fits((rows, cols))) {
            return Err(Error::InvalidConfig(format!("the map of what rests does not fit a latent of {rows}x{cols}")));
        }
        if self.prior.is_some_and(|p| (p.rows, p.cols, p.channels) != (rows, cols, channels)) {
            return Err(Error::InvalidConfig(format!("the temporal prior is not {rows}x{cols}x{channels}")));
        }
        Ok(())
    }

    /// The first transform for each position and prediction from the mean; nothing for a model without a choice.
    fn no_modes(&self) -> BlockModes {
        let count = |there: bool| if there { self.rows * self.cols } else { 0 };
        let (transforms, modes) = (count(self.model.transforms.is_some()), count(self.model.intra.is_some()));
        BlockModes { transforms: vec![0; transforms], modes: vec![[MEAN; 4]; modes] }
    }

    fn code_z(&self, coder: &mut impl Coder) -> LatentGrid {
        let model = self.model;
        let channels = model.config.hyper_channels;
        let mut z = LatentGrid::new(self.rows / 4, self.cols / 4, channels);
        let first = usize::from(self.quality.frame()) * channels;
        let (means, scales) = (&model.z_mean[first..][..channels], &model.z_scale[first..][..channels]);
        let cols = self.cols / 4;
        let rests = |cell: usize| self.quality.rest().is_some_and(|rest| rest.at((cell / cols, cell % cols)));
        for (index, value) in z.data.iter_mut().enumerate() {
            let (mean, k) = (means[index % channels], usize::from(scales[index % channels]));
            let symbol = if k == 0 || rests(index / channels) { 0 } else { coder.code(&self.model.tables, k, index, mean) };
            *value = dequantise(symbol, mean);
        }
        z
    }

    /// `modes`: of each position, if there is a choice.
    fn code_y(&self, z: &LatentGrid, modes: &BlockModes, coder: &mut impl Coder, scratch: &mut Scratch) -> LatentGrid {
        let mut latent = LatentGrid::new(self.rows, self.cols, self.model.config.channels);
        let known = Known { z, prior: self.prior, choices: &modes.transforms };
        let mut memory = std::mem::take(&mut scratch.known);
        let correction = self.model.scales.as_ref().map(|scales| scales.start(self.rows * self.cols, &mut memory));
        let mut elements = Elements { transforms: &modes.transforms, correction, coder };
        self.model.first_parameters(known, self.quality, scratch);
        if let Some(second) = &self.model.layers.second {
            self.code_elements(Some(Half::First), &scratch.parameters, &mut latent, &mut elements);
            self.model.second_parameters(second, &latent, self.quality, scratch);
            self.code_elements(Some(Half::Second), &scratch.parameters, &mut latent, &mut elements);
        } else {
            self.code_elements(None, &scratch.parameters, &mut latent, &mut elements);
        }
        scratch.known = memory;
        if let Some(intra) = &self.model.intra {
            intra.restore(&mut latent, modes, self.quality);
        } else if let Some(transforms) = &self.model.transforms {
            transforms.undo(&mut latent, &modes.transforms);
        }
        latent
    }

    /// Codes the elements of `latent` that belong to a half, or all of them.
    fn code_elements<C: Coder>(
        &self,
        half: Option<Half>,
        parameters: &[i16],
        latent: &mut LatentGrid,
        elements: &mut Elements<C>,
    ) {
        let channels = latent.channels;
        for position in (0..latent.rows * latent.cols).filter(|&position| !self.quality.rests(position)) {
            let odd = (position / latent.cols + position % latent.cols) % 2 == 1;
            let range = match half {
                None => 0..channels,
                Some(half) if odd == (half == Half::First) => 0..channels / 2,
                Some(_) => channels / 2..channels,
            };
            let parameters = &parameters[position * 2 * channels..][..2 * channels];
            for channel in range {
                let (mut mean, mut k) = (i32::from(parameters[channel]), self.model.scale_index(parameters[channels + channel]));
                if self.model.intra.as_ref().is_some_and(|intra| intra.predicts(channel)) {
                    (mean, k) = (0, k.max(1));
                }
                let index = position * channels + channel;
                let symbol = if k == 0 { 0 } else { elements.code(&self.model.tables, (position, channel), k, (index, mean)) };
                latent.data[index] = dequantise(symbol, mean);
            }
        }
    }
}

/// Codes the elements of one latent.
struct Elements<'a, C> {
    /// Of each position, if there is a choice.
    transforms: &'a [u8],
    /// If scales are corrected.
    correction: Option<Correction<'a>>,
    coder: &'a mut C,
}

impl<C: Coder> Elements<'_, C> {
    /// The symbol of an element with the predicted scale index `k`, not 0.
    #[inline]
    fn code(&mut self, tables: &Tables, (cell, channel): (usize, usize), k: usize, (index, mean): (usize, i32)) -> i32 {
        let Some(correction) = &mut self.correction else { return self.coder.code(tables, k, index, mean) };
        let Some(element) = correction.element(cell, self.transforms[cell], channel, k) else {
            return self.coder.code(tables, k, index, mean);
        };
        let symbol = self.coder.code(tables, correction.scale_index(element), index, mean);
        correction.learn(element, symbol);
        symbol
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
