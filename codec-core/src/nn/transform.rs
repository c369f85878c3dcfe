//! Analysis and synthesis transforms: E_I, E_res, E_flow and G_I, G_res, G_flow.

use tch::Tensor;

use super::dct;
use super::fixed::Samples;
use super::layers::{Conv, ConvConfig, DwBlock, QualityKnots, awake, run_blocks, within};
use super::paper::{PaperAnalysis, PaperFlowAnalysis, PaperFlowSynthesis, PaperSynthesis};
use super::params::{Init, Scope};
use super::role::Form;
use crate::Result;
use crate::architecture::{PACKED_CHANNELS, TransformConfig};

/// An analysis transform of either profile.
#[derive(Debug)]
pub enum Analysis {
    /// Of the `rt` profile.
    Rt(Box<RtAnalysis>),
    /// Of the `paper` profile.
    Paper(PaperAnalysis),
    /// E_flow of the `paper` profile.
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

    /// As [`Self::forward`], without the linear channels.
    pub fn nonlinear(&self, x: &Tensor, q: &Tensor) -> Result<Tensor> {
        match self {
            Self::Rt(net) => net.nonlinear(x, q),
            _ => self.forward(x, q),
        }
    }

    /// As [`Self::forward`], with zeros in the networks' channels; `None` without linear channels.
    pub fn linear_alone(&self, x: &Tensor) -> Result<Option<Tensor>> {
        match self {
            Self::Rt(net) => net.linear_alone(x),
            _ => Ok(None),
        }
    }
}

/// A synthesis transform of either profile.
#[derive(Debug)]
pub enum Synthesis {
    /// Of the `rt` profile.
    Rt(Box<RtSynthesis>),
    /// Of the `paper` profile.
    Paper(Box<PaperSynthesis>),
    /// G_flow of the `paper` profile.
    PaperFlow(PaperFlowSynthesis),
}

impl Synthesis {
    /// A latent `[N, L, H/16, W/16]` and quality indices `[N]` to a packed frame, or to motion and blur at full resolution.
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
    /// that joins the features at 1/8. It starts without effect, so training can continue from a synthesis without one.
    pub fn add_context(&mut self, mut p: Scope, width: i64) -> Result<()> {
        if let Self::Rt(net) = self {
            let silent = ConvConfig { gain: 0.0, samples: Samples::Read, ..Default::default() };
            net.context = Some(Conv::new(p.sub("context"), PACKED_CHANNELS, width, silent)?);
        }
        Ok(())
    }
}

/// Channels at 1/16 of an unshuffled packed frame.
pub const BLOCK_CHANNELS: i64 = 4 * PACKED_CHANNELS;

/// One latent of the networks' channels and the linear ones, half of either in each half of the checkerboard.
pub(super) fn interleave(nonlinear: &Tensor, linear: &Tensor) -> Result<Tensor> {
    let halves = |x: &Tensor| x.f_chunk(2, 1);
    let (a, b) = (halves(nonlinear)?, halves(linear)?);
    Ok(Tensor::f_cat(&[&a[0], &b[0], &a[1], &b[1]], 1)?)
}

/// The channels of an interleaved latent that belong to `linear` linear ones beside `nonlinear` of the networks.
fn linear_part(y: &Tensor, nonlinear: i64, linear: i64) -> Result<Tensor> {
    let half = linear / 2;
    let (first, second) = (y.f_narrow(1, nonlinear / 2, half)?, y.f_narrow(1, nonlinear + half, half)?);
    Ok(Tensor::f_cat(&[first, second], 1)?)
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
    linear: Option<Conv>,
}

impl RtAnalysis {
    /// `output_gain` scales the initial weights of the last layer. Linear channels see the first [`PACKED_CHANNELS`] of the input.
    pub fn new(mut p: Scope, cin: i64, config: &TransformConfig, output_gain: f64) -> Result<Self> {
        let c = config.width;
        Ok(Self {
            input: Conv::new(p.sub("input"), cin, c, ConvConfig { samples: Samples::Read, ..Default::default() })?,
            gain: QualityKnots::new(p.sub("gain"), "knots", c, 0.0, 0.0)?,
            blocks: DwBlock::stack(p.sub("blocks"), c, config.analysis_blocks)?,
            down: Conv::new(p.sub("down"), 4 * c, config.deep_width, ConvConfig::inside())?,
            deep: DwBlock::stack(p.sub("deep"), config.deep_width, config.deep_blocks)?,
            output: Conv::new(
                p.sub("output"),
                config.deep_width,
                config.nonlinear(),
                ConvConfig { gain: output_gain, ..Default::default() },
            )?,
            linear: linear_layer(&mut p, config.linear, Side::Analysis)?,
        })
    }

    /// `[N, cin, H/8, W/8]` and quality indices `[N]` to `[N, latent, H/16, W/16]`, zeros where cells rest.
    pub fn forward(&self, x: &Tensor, q: &Tensor) -> Result<Tensor> {
        let y = self.nonlinear(x, q)?;
        let Some(coefficients) = self.coefficients(x)? else { return Ok(y) };
        interleave(&y, &within(coefficients, awake(q, &y)?.as_ref())?)
    }

    /// The linear channels, at all places.
    fn coefficients(&self, x: &Tensor) -> Result<Option<Tensor>> {
        let linear = self.linear.as_ref();
        linear.map(|linear| linear.forward(&x.f_narrow(1, 0, PACKED_CHANNELS)?.f_pixel_unshuffle(2)?)).transpose()
    }

    /// See [`Analysis::linear_alone`].
    fn linear_alone(&self, x: &Tensor) -> Result<Option<Tensor>> {
        let Some(coefficients) = self.coefficients(x)? else { return Ok(None) };
        let (n, _, h, w) = coefficients.size4()?;
        let nothing = Tensor::f_zeros([n, self.output.outputs(), h, w], (coefficients.kind(), coefficients.device()))?;
        interleave(&nothing, &coefficients).map(Some)
    }

    /// As [`Self::forward`], without the linear channels.
    pub fn nonlinear(&self, x: &Tensor, q: &Tensor) -> Result<Tensor> {
        let x = self.gain.apply(&self.input.forward(x)?, q)?;
        let fine = awake(q, &x)?;
        let x = self.down.forward(&run_blocks(&self.blocks, x, fine.as_ref())?.f_pixel_unshuffle(2)?)?;
        let coarse = awake(q, &x)?;
        within(self.output.forward(&run_blocks(&self.deep, x, coarse.as_ref())?)?, coarse.as_ref())
    }
}

/// Which way a layer of linear channels goes.
enum Side {
    /// From the samples of a block.
    Analysis,
    /// Back to the channels of a packed frame.
    Synthesis,
}

/// A layer of the linear channels, if there are any. It starts as the lowest frequencies of a DCT.
fn linear_layer(p: &mut Scope, linear: i64, side: Side) -> Result<Option<Conv>> {
    if linear == 0 {
        return Ok(None);
    }
    let (shape, bias) = match side {
        Side::Analysis => ([linear, BLOCK_CHANNELS, 1, 1], linear),
        Side::Synthesis => ([BLOCK_CHANNELS, linear, 1, 1], BLOCK_CHANNELS),
    };
    let start = || {
        let basis = dct::basis(linear as usize);
        let basis = Tensor::from_slice(&basis).view([linear, BLOCK_CHANNELS]);
        let oriented = if matches!(side, Side::Analysis) { basis } else { basis.transpose(0, 1).contiguous() };
        oriented.view(shape)
    };
    let mut p = p.sub("linear");
    let _ = p.param_with("weight", Form::Basis, &shape, start)?;
    let _ = p.param("bias", Form::Channels, &[bias], Init::Const(0.0))?;
    let samples = if matches!(side, Side::Analysis) { Samples::Read } else { Samples::Written };
    Ok(Some(Conv::new(p, shape[1], shape[0], ConvConfig { samples, form: Some(Form::Basis), ..Default::default() })?))
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
    linear: Option<Conv>,
    /// Channels of the latent that the networks make, and linear ones.
    channels: (i64, i64),
}

impl RtSynthesis {
    /// `width` is the width at 1/8.
    pub fn new(mut p: Scope, cin: i64, cout: i64, width: i64, config: &TransformConfig, output_gain: f64) -> Result<Self> {
        Ok(Self {
            input: Conv::pointwise(p.sub("input"), cin, config.deep_width)?,
            deep: DwBlock::stack(p.sub("deep"), config.deep_width, config.deep_blocks)?,
            up: Conv::new(p.sub("up"), config.deep_width, 4 * width, ConvConfig::inside())?,
            context: None,
            gain: QualityKnots::new(p.sub("gain"), "knots", width, 0.0, 0.0)?,
            blocks: DwBlock::stack(p.sub("blocks"), width, config.synthesis_blocks)?,
            output: Conv::new(
                p.sub("output"),
                width,
                cout,
                ConvConfig { gain: output_gain, samples: Samples::Written, ..Default::default() },
            )?,
            linear: linear_layer(&mut p, config.linear, Side::Synthesis)?,
            channels: (config.nonlinear(), config.linear),
        })
    }

    /// `[N, cin, H/16, W/16]`, the context `[N, 96, H/8, W/8]` and quality indices `[N]` to `[N, cout, H/8, W/8]`.
    pub fn forward(&self, y: &Tensor, context: Option<&Tensor>, q: &Tensor) -> Result<Tensor> {
        let x = self.input.forward(y)?;
        let coarse = awake(q, &x)?;
        let x = self.up.forward(&run_blocks(&self.deep, x, coarse.as_ref())?)?;
        let x = self.gain.apply(&x.f_pixel_shuffle(2)?, q)?;
        let x = match (&self.context, context) {
            (Some(layer), Some(context)) => layer.added(context, &x)?,
            _ => x,
        };
        let fine = awake(q, &x)?;
        let x = run_blocks(&self.blocks, x, fine.as_ref())?;
        let out = match &self.linear {
            Some(linear) => {
                let coefficients = linear_part(y, self.channels.0, self.channels.1)?;
                self.output.added(&x, &linear.forward(&coefficients)?.f_pixel_shuffle(2)?)?
            }
            None => self.output.forward(&x)?,
        };
        within(out, fine.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn linear_channels_come_back_from_where_they_were_put() {
        let full = |c: i64, v: f64| {
            Tensor::full([1, c, 2, 2], v, (Kind::Float, Device::Cpu))
                + Tensor::arange(c, (Kind::Float, Device::Cpu)).view([1, c, 1, 1]) * 0.01
        };
        let (nonlinear, linear) = (full(6, 1.0), full(4, 2.0));
        let y = interleave(&nonlinear, &linear).unwrap();
        assert_eq!(y.size(), [1, 10, 2, 2]);
        assert_eq!(linear_part(&y, 6, 4).unwrap(), linear);
        let lower = |x: &Tensor| x.narrow(1, 0, 5).lt(1.5).sum(Kind::Int64).int64_value(&[]);
        assert_eq!(lower(&y), 3 * 4, "three of six channels lie in the lower half");
    }
}
