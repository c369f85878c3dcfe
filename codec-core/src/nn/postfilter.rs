//! The filter between a decoded frame and the screen.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::config::PACKED_CHANNELS;
use super::layers::{Conv, ConvConfig, DwBlock, QualityKnots, act, run_blocks};
use super::ops::{Planes, pack, sharpen};
use super::params::Scope;
use crate::Result;

/// Bands of detail that are amplified apart, see [`sharpen`].
const BANDS: i64 = crate::kernels::sharpen::BANDS as i64;
/// Samples of luma to a cell of the packed frame.
const SAMPLES: i64 = crate::kernels::sharpen::CHANNELS as i64 - BANDS;
/// Least and most strength: -1 takes a band out, 0 leaves it as it is.
pub const STRENGTHS: (f64, f64) = (-1.0, 4.0);
/// Strength that a fresh filter has everywhere.
const START: f64 = 0.3;
/// Of the output layer's channels to samples: a unit is worth 8 of 255 steps, so that texture learns as fast as strengths.
const TEXTURE_SCALE: f64 = 1.0 / 32.0;

/// Width and depth of a [`Postfilter`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostfilterConfig {
    pub width: i64,
    pub blocks: usize,
}

impl Default for PostfilterConfig {
    /// 1300 multiplications a pixel.
    fn default() -> Self {
        Self { width: 64, blocks: 3 }
    }
}

/// Says where luma of a decoded frame is to be sharpened, how much, and at which of two scales, and what texture is to be added.
///
/// Rate and distortion together leave less contrast in fine texture than the original had. What is given back here is
/// shown and never predicted from, so it costs no bits and cannot add up over frames.
#[derive(Debug)]
pub struct Postfilter {
    input: Conv,
    gain: QualityKnots,
    blocks: Vec<DwBlock>,
    output: Conv,
    start: QualityKnots,
}

impl Postfilter {
    pub fn new(mut p: Scope, config: &PostfilterConfig) -> Result<Self> {
        let silent = ConvConfig { gain: 0.0, ..ConvConfig::default() };
        Ok(Self {
            input: Conv::pointwise(p.sub("input"), PACKED_CHANNELS, config.width)?,
            gain: QualityKnots::new(p.sub("gain"), "knots", config.width, 0.0, 0.0)?,
            blocks: DwBlock::stack(p.sub("blocks"), config.width, config.blocks)?,
            output: Conv::new(p.sub("output"), config.width, BANDS + SAMPLES, silent)?,
            start: QualityKnots::new(p.sub("start"), "knots", BANDS, START, 0.0)?,
        })
    }

    /// What is to be done to a packed decoded frame `[N, 96, H/8, W/8]`: strengths `[N, 2, H/8, W/8]`, within [`STRENGTHS`], and
    /// texture `[N, 64, H/8, W/8]`, both times `share`.
    fn parts(&self, packed: &Tensor, q: &Tensor, share: f64) -> Result<(Tensor, Tensor)> {
        let x = act(&self.input.forward(packed)?)?.f_mul(&self.gain.gain(q)?)?;
        let x = self.output.forward(&run_blocks(&self.blocks, x)?)?;
        let strength = x.f_narrow(1, 0, BANDS)?.f_add(&self.start.at(q)?)?.f_clamp(STRENGTHS.0, STRENGTHS.1)?;
        let texture = x.f_narrow(1, BANDS, SAMPLES)?.f_mul_scalar(share * TEXTURE_SCALE)?;
        Ok((strength.f_mul_scalar(share)?, texture))
    }

    /// The map that [`kernels::sharpen`](crate::kernels::sharpen::sharpen) takes, `[N, 66, H/8, W/8]`, with `share` of the full
    /// strength.
    pub fn map(&self, packed: &Tensor, q: &Tensor, share: f64) -> Result<Tensor> {
        let (strength, texture) = self.parts(packed, q, share)?;
        Ok(Tensor::f_cat(&[strength, texture], 1)?)
    }

    /// The frame as it is shown, with `share` of the full strength. Neither clamped nor rounded.
    pub fn forward(&self, frame: &Planes, q: &Tensor, share: f64) -> Result<Planes> {
        let (strength, texture) = self.parts(&pack(frame)?, q, share)?;
        sharpen(frame, &strength, &texture)
    }
}
