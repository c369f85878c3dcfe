//! Sections of a stage's file, with their defaults.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use codec_core::training::nn::PostfilterConfig;
use serde::Deserialize;

use crate::train::InterLosses;
use crate::train::loss::Distortion;

/// What becomes of the networks that the stage starts from.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Start {
    /// Start the residual branch from the I-branch, as the article does.
    pub residual_from_intra: bool,
    /// Give both branches as many linear channels as a block has samples, and let blocks choose their transforms, where the initial
    /// model does not.
    pub complete_linear: bool,
    /// Let I-frames predict luma from decoded blocks, where those of the initial model do not.
    pub intra_prediction: bool,
    /// Let G_res see the packed prediction (conditional coding), where that of the initial model does not.
    pub context: bool,
    /// Start with a fresh filter in place of the model's own.
    pub fresh_postfilter: Option<FreshPostfilter>,
    /// Give the model's filter more channels and blocks, which start without effect.
    pub widen_postfilter: Option<WidenPostfilter>,
    /// Let the filter see the frame shown before, where the initial model's filter does not.
    pub recurrent_postfilter: bool,
}

/// Size of a new postfilter.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreshPostfilter {
    width: u16,
    blocks: u16,
}

impl FreshPostfilter {
    pub fn config(self) -> PostfilterConfig {
        PostfilterConfig { width: self.width.into(), blocks: self.blocks.into(), ..PostfilterConfig::default() }
    }
}

/// Size that a postfilter grows to.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WidenPostfilter {
    pub width: u16,
    /// By default as many as it has.
    pub blocks: Option<u16>,
}

/// What a worker sees in a step.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Batch {
    /// Clips per worker and step.
    pub clips: usize,
    /// Side of the square crops in pixels, a multiple of 64.
    pub crop: usize,
    /// Share of photos (with simulated camera motion where there are P-frames).
    pub photo_share: f32,
    /// Share of drawn clips: text, windows and cartoons.
    pub graphics_share: f32,
}

impl Default for Batch {
    fn default() -> Self {
        Self { clips: 4, crop: 128, photo_share: 0.3, graphics_share: 0.0 }
    }
}

impl Batch {
    pub fn check(&self) -> Result<()> {
        ensure!(self.clips >= 1, "batch.clips: 1 at least");
        ensure!(self.crop > 0 && self.crop.is_multiple_of(64), "batch.crop = {}: a multiple of 64 is needed", self.crop);
        for (key, share) in [("photo-share", self.photo_share), ("graphics-share", self.graphics_share)] {
            ensure!((0.0..=1.0).contains(&share), "batch.{key} = {share}: a share of 0 to 1 is needed");
        }
        Ok(())
    }
}

/// How parameters move.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Optimiser {
    /// Peak learning rate.
    pub learning_rate: f64,
    /// That of analysis and synthesis transforms relative to it, where entropy models have more to learn.
    pub transform_rate: f64,
    /// Decay of the moving average of the parameters.
    pub ema: f64,
    /// Train the entropy models alone, to fit what transforms, motion estimation and keyframes give them by now.
    pub entropy_alone: bool,
    /// Leave E_I's networks as they are, so that P-frames, which see their prediction through them, need no training afterwards.
    pub keep_free_latent: bool,
}

impl Default for Optimiser {
    fn default() -> Self {
        Self { learning_rate: 1e-3, transform_rate: 1.0, ema: 0.999, entropy_alone: false, keep_free_latent: false }
    }
}

impl Optimiser {
    pub fn check(&self) -> Result<()> {
        let rate = |value: f64| value >= 0.0 && value.is_finite();
        ensure!(rate(self.learning_rate), "optimiser.learning-rate = {}: 0 or more is needed", self.learning_rate);
        ensure!(rate(self.transform_rate), "optimiser.transform-rate = {}: 0 or more is needed", self.transform_rate);
        ensure!((0.0..1.0).contains(&self.ema), "optimiser.ema = {}: 0 or more and less than 1 is needed", self.ema);
        Ok(())
    }
}

/// Frames of a clip, and their qualities.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Clip {
    /// Unroll lengths T with their shares of the stage.
    pub unroll: String,
    /// Share of frames with a random residual shift.
    pub shift: f64,
    /// Most frames coded without learning before the P-frames that are learned from.
    pub lead_in: u32,
    /// Quality steps by which I-frames are better than the P-frames of a clip: least, most.
    pub intra_offset: (u8, u8),
    /// Most quality steps between a clip and its single P-frames, in half of the clips.
    pub quality_swing: u8,
}

impl Default for Clip {
    fn default() -> Self {
        let InterLosses { shift, intra_offset, swing: quality_swing, lead_in, .. } = InterLosses::default();
        Self { unroll: "2:1,3:1.5,4:2,6:2,8:2".into(), shift, lead_in, intra_offset, quality_swing }
    }
}

impl Clip {
    pub fn check(&self) -> Result<()> {
        let (least, most) = self.intra_offset;
        ensure!(least <= most && most <= 63, "clip.intra-offset: two numbers of 0 to 63, the smaller first, such as [4, 20]");
        ensure!(self.quality_swing <= 63, "clip.quality-swing = {}: 63 at most", self.quality_swing);
        ensure!(self.lead_in <= 100, "clip.lead-in = {}: 100 at most", self.lead_in);
        ensure!((0.0..=1.0).contains(&self.shift), "clip.shift = {}: a share of 0 to 1 is needed", self.shift);
        Ok(())
    }
}

/// Motion of the `paper` profile.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Motion {
    /// What estimates the flow that the flow codec learns to transmit: `dis`, or a checkpoint of a stage of kind `flow`; `None` for
    /// what the model has.
    pub flow: Option<String>,
}

/// Control of the rate.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Rate {
    /// Bits per pixel to hold at qualities 0 and 63.
    target_bpp: Option<(f64, f64)>,
}

impl Rate {
    pub fn target(&self) -> Result<Option<(f64, f64)>> {
        let fits = self.target_bpp.is_none_or(|(best, worst)| best > worst && worst > 0.0 && best.is_finite());
        ensure!(fits, "rate.target-bpp: two positive numbers, the larger first, such as [0.5, 0.02]");
        Ok(self.target_bpp)
    }
}

/// Measures and weights of what is to be small. A stage has defaults of its own for those that are left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Losses {
    pub distortion: Option<Distortion>,
    /// Mean error of U and V beside Y.
    pub chroma_weight: Option<f64>,
    /// Low-pass colour error.
    pub drift: Option<f64>,
    /// Blur and its changes (`paper`).
    pub blur: Option<f64>,
    /// L1 between decoded and estimated flow, faded out over the stage (`paper`).
    pub flow: Option<f64>,
    /// Distortion of the prediction, faded to a tenth over the stage (`paper`).
    pub warp: Option<f64>,
    /// Luma's error that repeats every 2, 4 or 8 samples.
    pub pattern: Option<f64>,
    /// Luma's error that changes from frame to frame.
    pub consistency: Option<f64>,
    /// Adversarial loss; 0: no discriminators unless features are matched.
    pub adversarial: Option<f64>,
    /// L1 between the discriminator's features of real and decoded frames.
    pub feature_matching: Option<f64>,
    /// LPIPS; needs `features.lpips-weights`.
    pub lpips: Option<f64>,
    /// Structure and texture of deep features; needs `features.lpips-weights` or `features.texture-weights`.
    pub texture: Option<f64>,
    /// Local statistics on several scales.
    pub statistics: Option<f64>,
}

/// Deep features, for LPIPS and texture.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Features {
    /// Weights of LPIPS (AlexNet or VGG16), as safetensors in torchvision's naming.
    pub lpips_weights: Option<PathBuf>,
    /// Weights of another network for the texture loss.
    pub texture_weights: Option<PathBuf>,
    /// Weights of DISTS: the texture loss is the metric itself, and not its form with every channel of VGG16 alike.
    pub dists_weights: Option<PathBuf>,
    /// In bfloat16: twice as fast on processors with AVX512-BF16 or AMX and on GPUs, slow on others.
    pub half: bool,
    /// Frames of each clip on which they are computed, drawn anew for each step and standing for all.
    pub frames: Option<u32>,
    /// LPIPS of one half of each batch and texture of the other: half of the time.
    pub split: bool,
}

/// Judges of frames.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Discriminators {
    /// Width of the first layer.
    pub width: i64,
    /// Learning rate relative to `optimiser.learning-rate`.
    pub rate: f64,
    /// They see the latent beside the image.
    pub conditional: bool,
    /// In bfloat16, for GPUs and processors that have it; their parameters keep 32 bits.
    pub half: bool,
}

impl Default for Discriminators {
    fn default() -> Self {
        Self { width: 32, rate: 1.0, conditional: true, half: false }
    }
}
