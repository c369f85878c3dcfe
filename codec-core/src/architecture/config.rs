//! What a model is made of: one serialisable description for both profiles.

use serde::{Deserialize, Serialize};

use super::linear::COMPLETE;
pub use crate::bitstream::Profile;
use crate::entropy::EntropyConfig;
use crate::{Error, Result};

/// Widths and depths of an analysis/synthesis pair.
///
/// `Rt`: `width` channels in `blocks` blocks at 1/8, `deep_width` channels in `deep_blocks` blocks at 1/16.
/// `Paper`: `width` is the base width (60 in HiFiC), `synthesis_blocks` the residual blocks at 16x that width.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformConfig {
    /// Channels at 1/8, or the base width.
    pub width: i64,
    /// Blocks of the analysis at 1/8.
    pub analysis_blocks: usize,
    /// Blocks of the synthesis at 1/8, or its residual blocks.
    pub synthesis_blocks: usize,
    /// Channels at 1/16 (`rt` profile).
    pub deep_width: i64,
    /// Blocks at 1/16 (`rt` profile).
    pub deep_blocks: usize,
    /// Channels of the latent at 1/16.
    pub latent: i64,
    /// So many of these pass by the networks (`rt` profile): a linear transform of the packed input, added to the packed
    /// output. Block transforms have a coefficient a sample; without these the latent has too few at high rates.
    #[serde(default)]
    pub linear: i64,
}

impl TransformConfig {
    /// Channels of the latent that the networks make.
    pub fn nonlinear(&self) -> i64 {
        self.latent - self.linear
    }
}

/// What finds the flow that the `paper` profile's encoder codes. Decoders do not care.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Estimator {
    /// Dense inverse search, which needs no weights.
    #[default]
    Dis,
    /// UFlow; the model file holds its weights.
    UFlow,
}

/// The coded dense flow of the `paper` profile and its entropy model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowConfig {
    /// Analysis and synthesis.
    pub transform: TransformConfig,
    /// Entropy model of the latent.
    pub entropy: EntropyConfig,
    /// What the flow codec was trained with.
    #[serde(default)]
    pub estimator: Estimator,
}

/// A whole model: I-branch, motion, residual codec and their entropy models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Network family.
    pub profile: Profile,
    /// Transforms of I-frames.
    pub intra: TransformConfig,
    /// The flow codec of the `paper` profile. Without one, motion is vectors on quadtrees, which need no networks: see
    /// [`motion`](crate::motion).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowConfig>,
    /// Transforms of P-frames' residuals.
    pub residual: TransformConfig,
    /// Entropy model of I-frames' latent.
    pub intra_entropy: EntropyConfig,
    /// Entropy model of residuals' latent.
    pub residual_entropy: EntropyConfig,
    /// G_res also sees E_I of the prediction (the article's free latent).
    pub free_latent: bool,
    /// G_res of the `rt` profile also sees the packed prediction itself at 1/8, so that it can filter what it predicts from
    /// (conditional coding).
    #[serde(default)]
    pub context: bool,
    /// Filter between decoded frame and screen; none in models from before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postfilter: Option<PostfilterConfig>,
    /// The residual branch works on circularly shifted frames (the article's random shift).
    pub random_shift: bool,
    /// Quality steps by which I-frames are better than the P-frames that follow.
    pub intra_quality_offset: u8,
    /// Strength of the postfilter that encoders ask for unless they are told otherwise, in steps of 1/255; 0 in models that do not say.
    #[serde(default)]
    pub default_detail: u8,
}

/// Least and most strength of the postfilter: -1 takes a band of detail out, 0 leaves it as it is.
pub const STRENGTHS: (f64, f64) = (-1.0, 4.0);
/// Share of the past's detail that a fresh postfilter carries on. Within 0..=1, so that nothing grows from frame to frame.
pub const CARRY_START: f64 = 0.3;
/// Of the postfilter's output to samples: a unit is worth 8 of 255 steps, so that texture learns as fast as strengths.
pub const TEXTURE_SCALE: f64 = 1.0 / 32.0;

/// Width and depth of the postfilter, see [`sharpen`](crate::kernels::sharpen::sharpen).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostfilterConfig {
    /// Channels of a block.
    pub width: i64,
    /// Blocks, one after the other.
    pub blocks: usize,
    /// Whether detail of the frame shown before is carried on (`rt` profile).
    #[serde(default)]
    pub recurrent: bool,
}

impl Default for PostfilterConfig {
    /// 2500 multiplications a pixel.
    fn default() -> Self {
        Self { width: 64, blocks: 6, recurrent: true }
    }
}

impl PostfilterConfig {
    /// Checks it for models of a profile.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] naming the field and what it must be.
    pub fn validate(&self, profile: Profile) -> Result<()> {
        let Self { width, blocks, recurrent } = *self;
        if !(1..=1024).contains(&width) || blocks > 16 {
            return Err(Error::ModelMismatch(format!(
                "postfilter: {blocks} blocks of width {width}, there may be 16 of 1 to 1024 channels"
            )));
        }
        if profile == Profile::Paper && recurrent {
            return Err(Error::ModelMismatch(
                "postfilter.recurrent must be false: the paper profile has no motion in blocks".into(),
            ));
        }
        Ok(())
    }
}

/// What a detail file holds: a postfilter for all models of a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetailConfig {
    /// Of the models whose frames it filters: it says how frames are packed.
    pub profile: Profile,
    /// The filter.
    pub postfilter: PostfilterConfig,
}

/// Channels of a packed frame at 1/8: 8x8 luma samples and 4x4 samples of each chroma plane.
pub const PACKED_CHANNELS: i64 = crate::kernels::PACKED_CHANNELS as i64;

impl ModelConfig {
    /// The `rt` profile: 96 channels at 1/8, 192 at 1/16, 64 latent channels of the networks and 384 linear ones, as many as a block has
    /// samples.
    pub fn rt() -> Self {
        Self::rt_with(96, COMPLETE as i64)
    }

    /// The `rt` profile with so many channels at 1/8, twice as many at 1/16, and so many linear channels beside the latent's 64
    /// of the networks.
    pub fn rt_with(width: i64, linear: i64) -> Self {
        let latent = 64 + linear;
        let transform = TransformConfig {
            width,
            analysis_blocks: 3,
            synthesis_blocks: 6,
            deep_width: 2 * width,
            deep_blocks: 1,
            latent,
            linear,
        };
        let entropy = |temporal| EntropyConfig {
            channels: latent as usize,
            hyper_channels: 16,
            width: 64,
            temporal,
            checkerboard: true,
            transforms: linear == COMPLETE as i64,
            intra_prediction: false,
            adaptive_scales: false,
        };
        Self {
            profile: Profile::Rt,
            intra: transform.clone(),
            flow: None,
            residual: transform,
            intra_entropy: entropy(false),
            residual_entropy: entropy(true),
            free_latent: true,
            context: false,
            postfilter: None,
            random_shift: true,
            intra_quality_offset: 6,
            default_detail: 0,
        }
    }

    /// The `paper` profile at the article's widths (HiFiC: base 60, 9 residual blocks, latent 220; flow codec 128, 192).
    pub fn paper() -> Self {
        Self::paper_with(60, 9, 220, 128, 192)
    }

    /// The `paper` profile at other widths: base width, residual blocks and latent of the transforms, width and latent of
    /// the flow codec.
    pub fn paper_with(width: i64, blocks: usize, latent: i64, flow_width: i64, flow_latent: i64) -> Self {
        let transform = |width, latent| TransformConfig {
            width,
            analysis_blocks: 0,
            synthesis_blocks: blocks,
            deep_width: 1,
            deep_blocks: 0,
            latent,
            linear: 0,
        };
        // 2 x 128 + 220 inputs are the most whose sums stay within 32 bits whatever the weights.
        let entropy = |channels: i64, temporal| EntropyConfig {
            channels: channels as usize,
            hyper_channels: 64,
            width: 128,
            temporal,
            checkerboard: true,
            transforms: false,
            intra_prediction: false,
            adaptive_scales: false,
        };
        Self {
            profile: Profile::Paper,
            intra: transform(width, latent),
            flow: Some(FlowConfig {
                transform: transform(flow_width, flow_latent),
                entropy: entropy(flow_latent, true),
                estimator: Estimator::default(),
            }),
            residual: transform(width, latent),
            intra_entropy: entropy(latent, false),
            residual_entropy: entropy(latent, true),
            free_latent: true,
            context: false,
            postfilter: None,
            random_shift: true,
            intra_quality_offset: 6,
            default_detail: 0,
        }
    }

    /// What finds the flow of the `paper` profile; the `rt` profile has none.
    pub fn estimator(&self) -> Option<Estimator> {
        self.flow.as_ref().map(|flow| flow.estimator)
    }

    /// Whether streams of the model can be shown with more detail than the most faithful picture has.
    pub fn has_detail(&self) -> bool {
        self.postfilter.is_some()
    }

    /// Checks that the parts fit together.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] naming the field and what it must be.
    pub fn validate(&self) -> Result<()> {
        let mut parts = vec![("intra", &self.intra, &self.intra_entropy), ("residual", &self.residual, &self.residual_entropy)];
        parts.extend(self.flow.as_ref().map(|flow| ("flow", &flow.transform, &flow.entropy)));
        for &(name, transform, entropy) in &parts {
            if transform.latent != entropy.channels as i64 {
                return Err(Error::ModelMismatch(format!(
                    "{name}.latent is {} but {name}_entropy.channels is {}: they must be equal",
                    transform.latent, entropy.channels
                )));
            }
            let sizes = [transform.width, transform.deep_width, transform.latent];
            if sizes.iter().any(|&s| !(1..=4096).contains(&s))
                || transform.synthesis_blocks > 64
                || transform.analysis_blocks > 64
            {
                return Err(Error::ModelMismatch(format!("{name}: a width lies outside 1..=4096 or a depth above 64")));
            }
        }
        for &(name, transform, entropy) in &parts {
            let (latent, linear) = (transform.latent, transform.linear);
            // Each half of the checkerboard holds half of either kind.
            if linear != 0 && !((2..latent).contains(&linear) && linear % 2 == 0 && latent % 2 == 0) {
                return Err(Error::ModelMismatch(format!(
                    "{name}.linear is {linear}: it must be 0, or even and less than the latent's {latent} channels, an even number too"
                )));
            }
            if entropy.transforms && linear != COMPLETE as i64 {
                return Err(Error::ModelMismatch(format!(
                    "{name}.linear is {linear}: blocks can choose transforms if it is {COMPLETE}"
                )));
            }
            if linear != 0 && self.profile == Profile::Paper {
                return Err(Error::ModelMismatch(format!("{name}.linear must be 0: the paper profile has no packed frames")));
            }
        }
        if let Some(postfilter) = &self.postfilter {
            postfilter.validate(self.profile)?;
        }
        if self.default_detail > 0 && self.postfilter.is_none() {
            return Err(Error::ModelMismatch(format!("default_detail is {}, but there is no postfilter", self.default_detail)));
        }
        if self.intra_entropy.temporal {
            return Err(Error::ModelMismatch("intra_entropy.temporal must be false: an I-frame has no past".into()));
        }
        if parts.iter().any(|&(name, _, entropy)| name != "intra" && entropy.intra_prediction) {
            return Err(Error::ModelMismatch("intra_prediction must be false for all but intra_entropy".into()));
        }
        if self.context && self.profile == Profile::Paper {
            return Err(Error::ModelMismatch("context must be false: the paper profile has no features at 1/8".into()));
        }
        if (self.profile == Profile::Paper) != self.flow.is_some() {
            return Err(Error::ModelMismatch(
                "flow: the paper profile has a flow codec, the rt profile has motion in blocks instead".into(),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_channels_must_leave_some_to_the_networks() {
        let with = |linear: i64| {
            let mut config = ModelConfig::rt_with(96, 128);
            config.residual.linear = linear;
            config.validate()
        };
        let mut chosen = ModelConfig::rt();
        chosen.residual.linear = 190;
        assert!(chosen.validate().unwrap_err().to_string().contains("blocks can choose transforms if it is 384"));
        for fits in [0, 2, 128, 190] {
            with(fits).unwrap();
        }
        for wrong in [1, 129, 192, 194, -2, i64::MIN, i64::MAX] {
            let error = with(wrong).unwrap_err().to_string();
            assert!(error.contains("residual.linear"), "{wrong}: {error}");
        }
        let paper = ModelConfig { intra: TransformConfig { linear: 2, ..ModelConfig::paper().intra }, ..ModelConfig::paper() };
        assert!(paper.validate().unwrap_err().to_string().contains("intra.linear"));
    }

    #[test]
    fn only_keyframes_have_intra_prediction() {
        let mut config = ModelConfig::rt();
        config.intra_entropy.intra_prediction = true;
        config.validate().unwrap();
        config.residual_entropy.intra_prediction = true;
        assert!(config.validate().unwrap_err().to_string().contains("intra_prediction must be false"));
    }

    #[test]
    fn a_flow_codec_belongs_to_the_paper_profile_alone() {
        let with = |profile: ModelConfig, flow| ModelConfig { flow, ..profile }.validate();
        with(ModelConfig::rt(), None).unwrap();
        assert!(with(ModelConfig::paper(), None).unwrap_err().to_string().contains("flow"));
        assert!(with(ModelConfig::rt(), ModelConfig::paper().flow).unwrap_err().to_string().contains("flow"));
    }

    #[test]
    fn the_paper_profile_has_no_recurrent_postfilter() {
        let with = |profile: ModelConfig, recurrent| {
            let postfilter = Some(PostfilterConfig { recurrent, ..PostfilterConfig::default() });
            ModelConfig { postfilter, ..profile }.validate()
        };
        with(ModelConfig::rt(), true).unwrap();
        with(ModelConfig::paper(), false).unwrap();
        assert!(with(ModelConfig::paper(), true).unwrap_err().to_string().contains("postfilter.recurrent"));
    }
}
