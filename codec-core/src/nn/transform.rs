//! Analysis and synthesis transforms: E_I, E_res, E_flow and G_I, G_res, G_flow.

use tch::Tensor;

use super::config::{PACKED_CHANNELS, TransformConfig};
use super::layers::{Conv, ConvConfig, DwBlock, QualityKnots, run_blocks};
use super::paper::{PaperAnalysis, PaperFlowAnalysis, PaperFlowSynthesis, PaperSynthesis};
use super::params::Scope;
use crate::Result;

/// An analysis transform of either profile.
#[derive(Debug)]
pub enum Analysis {
    Rt(RtAnalysis),
    Paper(PaperAnalysis),
    PaperFlow(PaperFlowAnalysis),
}

impl Analysis {
    /// Packed input `[N, C, H/8, W/8]` and quality indices `[N]` to a latent `[N, L, H/16, W/16]`.
    pub fn forward(&self, x: &Tensor, q: &Tensor) -> Result<Tensor> {
        match self {
            Self::Rt(net) => net.forward(x, q),
            Self::Paper(net) => net.forward(x, q),
            Self::PaperFlow(net) => net.forward(x),
        }
    }
}

/// A synthesis transform of either profile.
#[derive(Debug)]
pub enum Synthesis {
    Rt(RtSynthesis),
    Paper(PaperSynthesis),
    PaperFlow(PaperFlowSynthesis),
}

impl Synthesis {
    /// A latent `[N, L, H/16, W/16]` and quality indices `[N]` to a packed frame, or to motion and blur: at 1/8 in the `rt`
    /// profile, at full resolution in the `paper` profile.
    pub fn forward(&self, y: &Tensor, q: &Tensor) -> Result<Tensor> {
        self.forward_in(y, None, q)
    }

    /// As [`Self::forward`], with the packed prediction `[N, 96, H/8, W/8]` for a synthesis that has a context layer.
    pub fn forward_in(&self, y: &Tensor, context: Option<&Tensor>, q: &Tensor) -> Result<Tensor> {
        match self {
            Self::Rt(net) => net.forward(y, context, q),
            Self::Paper(net) => net.forward(y, q),
            Self::PaperFlow(net) => net.forward(y),
        }
    }
}

impl Synthesis {
    /// Adds a context layer of `width` channels to the `rt` profile's synthesis: a 1x1 convolution of the packed prediction
    /// that joins the features at 1/8. It starts without effect, so a trained synthesis without one can be gone on with.
    pub fn add_context(&mut self, mut p: Scope, width: i64) -> Result<()> {
        if let Self::Rt(net) = self {
            let silent = ConvConfig { gain: 0.0, ..Default::default() };
            net.context = Some(Conv::new(p.sub("context"), PACKED_CHANNELS, width, silent)?);
        }
        Ok(())
    }
}

/// `cin` channels at 1/8 to a latent at 1/16.
#[derive(Debug)]
pub struct RtAnalysis {
    input: Conv,
    gain: QualityKnots,
    blocks: Vec<DwBlock>,
    down: Conv,
    deep: Vec<DwBlock>,
    output: Conv,
}

impl RtAnalysis {
    /// `output_gain` scales the initial weights of the last layer.
    pub fn new(mut p: Scope, cin: i64, config: &TransformConfig, output_gain: f64) -> Result<Self> {
        let c = config.width;
        Ok(Self {
            input: Conv::pointwise(p.sub("input"), cin, c)?,
            gain: QualityKnots::new(p.sub("gain"), "knots", c, 0.0, 0.0)?,
            blocks: DwBlock::stack(p.sub("blocks"), c, config.analysis_blocks)?,
            down: Conv::pointwise(p.sub("down"), 4 * c, config.deep_width)?,
            deep: DwBlock::stack(p.sub("deep"), config.deep_width, config.deep_blocks)?,
            output: Conv::new(
                p.sub("output"),
                config.deep_width,
                config.latent,
                ConvConfig { gain: output_gain, ..Default::default() },
            )?,
        })
    }

    /// `[N, cin, H/8, W/8]` and quality indices `[N]` to `[N, latent, H/16, W/16]`.
    pub fn forward(&self, x: &Tensor, q: &Tensor) -> Result<Tensor> {
        let x = self.input.forward(x)?.f_mul(&self.gain.gain(q)?)?;
        let x = run_blocks(&self.blocks, x)?.f_pixel_unshuffle(2)?;
        self.output.forward(&run_blocks(&self.deep, self.down.forward(&x)?)?)
    }
}

/// A latent at 1/16 to `cout` channels at 1/8.
#[derive(Debug)]
pub struct RtSynthesis {
    input: Conv,
    deep: Vec<DwBlock>,
    up: Conv,
    context: Option<Conv>,
    gain: QualityKnots,
    blocks: Vec<DwBlock>,
    output: Conv,
}

impl RtSynthesis {
    /// `width` is the width at 1/8 (`config.width` but for G_flow, which is narrower than E_flow).
    pub fn new(mut p: Scope, cin: i64, cout: i64, width: i64, config: &TransformConfig, output_gain: f64) -> Result<Self> {
        Ok(Self {
            input: Conv::pointwise(p.sub("input"), cin, config.deep_width)?,
            deep: DwBlock::stack(p.sub("deep"), config.deep_width, config.deep_blocks)?,
            up: Conv::pointwise(p.sub("up"), config.deep_width, 4 * width)?,
            context: None,
            gain: QualityKnots::new(p.sub("gain"), "knots", width, 0.0, 0.0)?,
            blocks: DwBlock::stack(p.sub("blocks"), width, config.synthesis_blocks)?,
            output: Conv::new(p.sub("output"), width, cout, ConvConfig { gain: output_gain, ..Default::default() })?,
        })
    }

    /// `[N, cin, H/16, W/16]`, the context `[N, 96, H/8, W/8]` and quality indices `[N]` to `[N, cout, H/8, W/8]`.
    pub fn forward(&self, y: &Tensor, context: Option<&Tensor>, q: &Tensor) -> Result<Tensor> {
        let x = self.up.forward(&run_blocks(&self.deep, self.input.forward(y)?)?)?;
        let x = x.f_pixel_shuffle(2)?.f_mul(&self.gain.gain(q)?)?;
        let x = match (&self.context, context) {
            (Some(layer), Some(context)) => x.f_add(&layer.forward(context)?)?,
            _ => x,
        };
        self.output.forward(&run_blocks(&self.blocks, x)?)
    }
}
