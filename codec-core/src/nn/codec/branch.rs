//! One branch of a model: analysis, quantiser and entropy model, synthesis.

use std::sync::OnceLock;

use tch::Tensor;

use crate::Result;
use crate::architecture::{BitPrices, PACKED_CHANNELS, Profile, TransformConfig};
use crate::entropy::EntropyConfig;
use crate::nn::entropy::{Coded, EntropyNet, Prepared, Quantiser};
use crate::nn::intra;
use crate::nn::layers::QualityKnots;
use crate::nn::paper::{PaperAnalysis, PaperFlowAnalysis, PaperFlowSynthesis, PaperSynthesis};
use crate::nn::params::Scope;
use crate::nn::rest::Awake;
use crate::nn::role::Part;
use crate::nn::rotate;
use crate::nn::transfer::upload;
use crate::nn::transform::{Analysis, RtAnalysis, RtSynthesis, Synthesis};

/// Input channels of E_flow: flow at 1/4 unshuffled, current frame, reference.
pub const FLOW_INPUT: i64 = 8 + 2 * PACKED_CHANNELS;
/// Output channels of G_flow: motion and blur.
const FLOW_OUTPUT: i64 = 3;

/// What a branch codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Intra,
    /// Of the `paper` profile.
    Flow,
    /// `free`: channels of the free latent that G_res sees beside its own.
    Residual {
        free: i64,
    },
}

impl Content {
    /// Channels that the analysis reads.
    fn analysed(self) -> i64 {
        match self {
            Self::Intra => PACKED_CHANNELS,
            Self::Flow => FLOW_INPUT,
            Self::Residual { .. } => 2 * PACKED_CHANNELS,
        }
    }

    /// Channels that the synthesis reads, of a latent of so many.
    fn read(self, latent: i64) -> i64 {
        match self {
            Self::Intra | Self::Flow => latent,
            Self::Residual { free } => latent + free,
        }
    }

    /// Channels that the synthesis makes.
    fn made(self) -> i64 {
        match self {
            Self::Intra | Self::Residual { .. } => PACKED_CHANNELS,
            Self::Flow => FLOW_OUTPUT,
        }
    }

    fn start(self) -> Start {
        match self {
            Self::Intra | Self::Residual { .. } => Start { best: 1.6, change: -2.07, transforms: 1.0 },
            Self::Flow => Start { best: 0.9, change: -1.2, transforms: 0.05 },
        }
    }
}

/// How fresh parameters of a branch start.
struct Start {
    /// Logarithm of the gain before rounding at quality 0.
    best: f64,
    /// What it is more at quality 63.
    change: f64,
    /// Scale of the last layers' initial weights.
    transforms: f64,
}

/// Learned per-channel quantiser steps and the entropy model of one latent.
#[derive(Debug)]
pub struct LatentCoder {
    /// Logarithm of the gain before rounding.
    pub encoder_gain: QualityKnots,
    /// Logarithm of the gain after rounding.
    pub decoder_gain: QualityKnots,
    /// Entropy model of the quantised latent.
    pub entropy: EntropyNet,
    /// What a bit is worth in squared quantiser steps, `[1, C, 1, 1]`; `None` where bits have no price.
    prices: Option<Tensor>,
    /// The same for the codec; empty for `None`.
    bit_prices: Vec<f32>,
    steps: OnceLock<Vec<u16>>,
}

impl LatentCoder {
    fn new(mut p: Scope, config: &EntropyConfig, prices: &[f32], start: &Start) -> Result<Self> {
        let c = config.channels as i64;
        let of_channels =
            |prices: &[f32]| -> Result<Tensor> { upload(&Tensor::f_from_slice(prices)?.f_view([1, c, 1, 1])?, p.device()) };
        Ok(Self {
            prices: if prices.is_empty() { None } else { Some(of_channels(prices)?) },
            bit_prices: prices.to_vec(),
            steps: OnceLock::new(),
            encoder_gain: QualityKnots::new(p.sub("encoder_gain"), "knots", c, start.best, start.change)?,
            decoder_gain: QualityKnots::new(p.sub("decoder_gain"), "knots", c, -start.best, -start.change)?,
            entropy: EntropyNet::new(p.sub("entropy").part(Part::Entropy), config)?,
        })
    }

    /// Codes `y` (transform domain); the result is in the quantiser's domain, see [`Self::dequantise`]. `known`: `prior` and `awake`
    /// of [`EntropyNet::code`].
    pub(super) fn code(
        &self,
        prepared: &Prepared,
        y: &Tensor,
        q: &Tensor,
        known: (Option<&Tensor>, Option<&Awake>),
        quantiser: &mut Quantiser,
    ) -> Result<Coded> {
        let y = self.quantiser_domain(y, q)?;
        self.entropy.code(prepared, &y, q, known, (self.prices.as_ref(), self.steps()?), quantiser)
    }

    /// Sizes of luma's quantiser steps, see [`intra::steps`]; `None` without intra prediction. They do not learn.
    pub fn steps(&self) -> Result<Option<&[u16]>> {
        if !self.entropy.config().intra_prediction {
            return Ok(None);
        }
        if self.steps.get().is_none() {
            let _ = self.steps.set(intra::steps(&self.encoder_gain.table()?)?);
        }
        Ok(self.steps.get().map(Vec::as_slice))
    }

    /// What a bit is worth in squared quantiser steps, for each channel; empty where bits have no price.
    pub fn bit_prices(&self) -> &[f32] {
        &self.bit_prices
    }

    /// Scales a latent to quantiser steps.
    pub fn quantiser_domain(&self, y: &Tensor, q: &Tensor) -> Result<Tensor> {
        Ok(y.f_mul(&self.encoder_gain.gain(q)?)?)
    }

    /// Scales a quantised latent back to the transform's domain.
    pub fn dequantise(&self, y_hat: &Tensor, q: &Tensor) -> Result<Tensor> {
        self.decoder_gain.dequantise(y_hat, q)
    }
}

/// Analysis, synthesis and coder of one branch.
#[derive(Debug)]
pub struct Branch {
    /// From packed input to the latent.
    pub analysis: Analysis,
    /// From the latent to packed output.
    pub synthesis: Synthesis,
    /// Quantiser and entropy model of the latent.
    pub coder: LatentCoder,
}

impl Branch {
    /// The areas of a packed residual `[N, C, H/8, W/8]` that are worth their bits, as the encoder finds them before its networks run; `None`
    /// for a model without a choice of transforms, in which no area rests.
    pub(super) fn awake(&self, residual: &Tensor, q: &Tensor) -> Result<Option<Awake>> {
        if !self.coder.entropy.config().transforms {
            return Ok(None);
        }
        tch::no_grad(|| {
            let Some(y) = self.analysis.linear_alone(residual)? else { return Ok(None) };
            Awake::worth(&rotate::worth(&self.coder.quantiser_domain(&y, q)?)?).map(Some)
        })
    }

    pub(super) fn new(
        mut p: Scope,
        content: Content,
        profile: Profile,
        (transform, entropy): (&TransformConfig, &EntropyConfig),
        prices: BitPrices,
    ) -> Result<Self> {
        let start = content.start();
        Ok(Self {
            analysis: analysis(p.sub("analysis").part(Part::Analysis), content, profile, transform, start.transforms)?,
            synthesis: synthesis(p.sub("synthesis").part(Part::Synthesis), content, profile, transform, start.transforms)?,
            coder: LatentCoder::new(p.sub("coder").part(Part::Quantiser), entropy, &prices.of_channels(transform), &start)?,
        })
    }
}

fn analysis(p: Scope, content: Content, profile: Profile, config: &TransformConfig, gain: f64) -> Result<Analysis> {
    Ok(match (profile, content) {
        (Profile::Rt, _) => Analysis::Rt(Box::new(RtAnalysis::new(p, content.analysed(), config, gain)?)),
        (Profile::Paper, Content::Flow) => Analysis::PaperFlow(PaperFlowAnalysis::new(p, config)?),
        (Profile::Paper, _) => Analysis::Paper(PaperAnalysis::new(p, content.analysed() / PACKED_CHANNELS, config)?),
    })
}

fn synthesis(p: Scope, content: Content, profile: Profile, config: &TransformConfig, gain: f64) -> Result<Synthesis> {
    let read = content.read(config.latent);
    Ok(match (profile, content) {
        (Profile::Rt, _) => Synthesis::Rt(Box::new(RtSynthesis::new(p, read, content.made(), config.width, config, gain)?)),
        (Profile::Paper, Content::Flow) => Synthesis::PaperFlow(PaperFlowSynthesis::new(p, config)?),
        (Profile::Paper, _) => Synthesis::Paper(Box::new(PaperSynthesis::new(p, read, config)?)),
    })
}
