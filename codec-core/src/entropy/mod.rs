//! Entropy coding in exact integer arithmetic.
//!
//! A mean-scale hyperprior (Minnen et al., "Joint autoregressive and hierarchical priors", 2018) with a temporal prior and
//! a two-step checkerboard context (He et al., "Checkerboard context model", 2021), evaluated on integers only, so every
//! machine parses a stream alike. [`EntropyModel`] predicts mean and scale of each latent element from what has been
//! decoded, [`Tables`] turn scales into probabilities, and interleaved rANS ([`SymbolWriter`], [`SymbolReader`]) codes.
//!
//! What is not predicted by networks, motion on trees, is coded bit by bit with adaptive probabilities ([`AdaptiveBit`]) in the
//! same rANS.
//!
//! In: latents and trees as integers. Out: a payload; and the way back, bit by bit the same on every machine.
//!
//! The order of symbols of a latent: z (row, column, channel), then y (row, column, channel) of the first half, then of
//! the second. A frame has one payload; a P-frame's holds the flow latent followed by the residual latent.

mod adaptive;
mod both_ways;
mod checksum;
mod config;
mod conv;
#[cfg(feature = "training")]
mod counts;
mod grid;
mod intra;
mod latent;
mod model;
mod networks;
mod params;
mod rans;
mod scales;
mod symbols;
mod tables;
mod transforms;

pub use crate::integer::Backend;
pub use adaptive::AdaptiveBit;
pub(crate) use both_ways::{Decoding, Encoding, Symbols};
pub use config::{EntropyConfig, LayerShape, Layers, ParameterLayers};
#[cfg(feature = "training")]
pub use counts::SymbolCounts;
pub use grid::LatentGrid;
pub use intra::BlockModes;
#[cfg(feature = "torch")]
pub(crate) use intra::Intra;
pub use latent::{HYPER_PRICE, LatentContext, LatentInput, frugal, quantise};
pub use model::EntropyModel;
pub use networks::Scratch;
pub(crate) use params::find;
#[cfg(feature = "torch")]
pub(crate) use params::raw;
pub use params::{EntropyParams, IntLayer, Lookup, RawDtype, RawTensor};
pub use symbols::{MAX_SYMBOL, MEAN_OVERHEAD_BYTES, Mark, SymbolReader, SymbolWriter};
pub use tables::{SCALES, Tables, sigma};
#[cfg(feature = "torch")]
pub(crate) use transforms::{CHOICE_BIAS, CHOICE_BIT, CHOICE_PRICE, CHOICE_ROUNDING};

/// Fractional bits of activations (i16), latents, means and thresholds (i32).
pub const ACTIVATION_FRACTION_BITS: u32 = 8;
/// Fractional bits of the hyper-decoder's gain (u16).
pub const GAIN_FRACTION_BITS: u32 = 12;
/// Fractional bits of an int8 weight are its output channel's shift, at most this.
pub const MAX_SHIFT: u8 = 14;
/// Number of quality indices; index 0 is the best.
pub const QUALITIES: usize = crate::bitstream::QUALITY_MAX as usize + 1;
