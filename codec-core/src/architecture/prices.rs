//! What bits are worth to the encoder.

use super::config::TransformConfig;

/// What the encoder pays for a bit, in squared quantiser steps: a symbol is taken one nearer to zero where that saves more than it
/// errs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BitPrices {
    /// Of channels that the networks make.
    nonlinear: f32,
    linear: f32,
}

/// The networks' channels: 0.015 helps luma and chroma alike, and from 0.03 on colours suffer. Linear channels: an error of theirs
/// is one of samples, so that a bit would be worth ln 2 / 6 = 0.116 at the best step, but later frames are predicted from it: 0.03, 0.05
/// and 0.08 do alike in luma, colours gain by the lower ones; 0.12 costs 2 % of luma's bits.
pub const RESIDUAL_BIT_PRICES: BitPrices = BitPrices { nonlinear: 0.015, linear: 0.05 };
/// Motion and I-frames gain nothing from any price.
pub const NO_BIT_PRICES: BitPrices = BitPrices { nonlinear: 0.0, linear: 0.0 };

impl BitPrices {
    /// For each channel of a latent, in the latent's order; empty if all are 0.
    pub fn of_channels(self, config: &TransformConfig) -> Vec<f32> {
        if self == NO_BIT_PRICES {
            return Vec::new();
        }
        let half = [(self.nonlinear, config.nonlinear() / 2), (self.linear, config.linear / 2)];
        let rest = [(self.nonlinear, config.nonlinear() - config.nonlinear() / 2), (self.linear, config.linear / 2)];
        let kinds = half.into_iter().chain(rest);
        kinds.flat_map(|(price, channels)| std::iter::repeat_n(price, channels as usize)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::ModelConfig;

    #[test]
    fn each_half_of_a_latent_has_both_kinds() {
        let config = ModelConfig::rt_with(8, 4).residual;
        let prices = RESIDUAL_BIT_PRICES.of_channels(&config);
        assert_eq!(prices.len(), 68);
        let linear: Vec<usize> = (0..68).filter(|&i| prices[i] == RESIDUAL_BIT_PRICES.linear).collect();
        assert_eq!(linear, [32, 33, 66, 67]);
        assert!(NO_BIT_PRICES.of_channels(&config).is_empty());
    }
}
