//! What bits are worth to the encoder.

use tch::{Device, Kind, Tensor};

use super::config::TransformConfig;
use super::transform::interleave;
use crate::Result;

/// What the encoder pays for a bit, in squared quantiser steps: a symbol is taken one nearer to zero where that saves more than it
/// errs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BitPrices {
    /// Of channels that the networks make.
    nonlinear: f64,
    linear: f64,
}

/// The networks' channels: 0.015 helps luma and chroma alike, and from 0.03 on colours suffer. Linear channels: an error of theirs
/// is one of samples, so that a bit is worth ln 2 / 6 = 0.116 at the best step; 0.06 to 0.12 do alike.
pub const RESIDUAL_BIT_PRICES: BitPrices = BitPrices { nonlinear: 0.015, linear: 0.08 };
/// Motion and I-frames gain nothing from any price.
pub const NO_BIT_PRICES: BitPrices = BitPrices { nonlinear: 0.0, linear: 0.0 };

impl BitPrices {
    /// `[1, C, 1, 1]` for the channels of a latent; `None` if all are 0.
    pub fn of_channels(self, config: &TransformConfig, device: Device) -> Result<Option<Tensor>> {
        if self == NO_BIT_PRICES {
            return Ok(None);
        }
        let full = |price: f64, channels: i64| Tensor::f_full([1, channels, 1, 1], price, (Kind::Float, device));
        let nonlinear = full(self.nonlinear, config.nonlinear())?;
        Ok(Some(match config.linear {
            0 => nonlinear,
            linear => interleave(&nonlinear, &full(self.linear, linear)?)?,
        }))
    }
}
