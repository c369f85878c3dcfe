//! The networks of the `rt` profile in integers: what encoders and decoders run, and what the bitstream's specification describes.
//!
//! Frames come in packed ([`kernels::pack`](crate::kernels::pack)) and go through [`Analysis`] to latents; decoded latents and the
//! packed prediction go through [`Synthesis`] to packed frames. All values are int16 with a fixed number of fractional bits for each
//! layer. The trainer's float networks (`nn`) are turned into these by `model::quantise`.

mod analysis;
mod branch;
mod gains;
mod hyper;
mod layout;
mod postfilter;
mod reader;
mod synthesis;
#[cfg(test)]
mod tests;
pub mod weights;

pub use analysis::{Analysis, AnalysisScratch};
pub use branch::{Branch, LatentGains};
pub use gains::{GAIN_BITS, Gain, LATENT_GAIN_BITS};
pub use hyper::{HyperAnalysis, HyperScratch};
pub use postfilter::{Postfilter, PostfilterInput, PostfilterScratch, Share};
pub use reader::Reader;
pub use synthesis::{Dequantised, Synthesis, SynthesisScratch};

use crate::Result;
use crate::architecture::ModelConfig;
use crate::architecture::{NO_BIT_PRICES, RESIDUAL_BIT_PRICES};
use crate::kernels::PACKED_CHANNELS;

/// All networks of a model of the `rt` profile.
#[derive(Clone, Debug)]
pub struct Networks {
    /// Of I-frames.
    pub intra: Branch,
    /// Of P-frames' residuals.
    pub residual: Branch,
    /// For the screen, if the model has one.
    pub postfilter: Option<Postfilter>,
    /// G_res also sees E_I of the prediction.
    free_latent: bool,
}

impl Networks {
    /// Reads the integer layers of a model file.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`](crate::Error::ModelMismatch) naming the tensor that is missing or does not fit.
    pub fn read(reader: &Reader, config: &ModelConfig) -> Result<Self> {
        let free = if config.free_latent { config.intra.nonlinear() as usize } else { 0 };
        let intra =
            Branch::read(&reader.sub("intra"), PACKED_CHANNELS, 0, false, (&config.intra, &config.intra_entropy), NO_BIT_PRICES)?;
        let residual = Branch::read(
            &reader.sub("residual"),
            2 * PACKED_CHANNELS,
            free,
            config.context,
            (&config.residual, &config.residual_entropy),
            RESIDUAL_BIT_PRICES,
        )?;
        let postfilter = config.postfilter.as_ref().map(|c| Postfilter::read(&reader.sub("postfilter"), c)).transpose()?;
        Ok(Self { intra, residual, postfilter, free_latent: config.free_latent })
    }

    /// Whether G_res sees the article's free latent.
    pub fn free_latent(&self) -> bool {
        self.free_latent
    }
}
