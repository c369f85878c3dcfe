//! The few layers that both profiles are built from. Tensors are `[N, C, H, W]` in channels-last memory.

use tch::{Kind, Tensor};

use super::fixed::{Samples, Site};
use super::frozen::Frozen;
use super::params::{Init, Precision, Scope};
use super::paths::{self, Depthwise, Paths, Pointwise};
use super::role::Form;
use super::transfer::{place, upload};
use crate::Result;
use crate::entropy::QUALITIES;

/// Knots on the quality axis between which gains are interpolated.
pub const KNOTS: usize = 8;

/// Convolution with bias; `groups == cin` is depthwise.
#[derive(Debug)]
pub struct Conv {
    /// `[outputs, inputs / groups, kernel, kernel]`.
    pub weight: Tensor,
    /// `[outputs]`.
    pub bias: Tensor,
    stride: i64,
    padding: i64,
    dilation: i64,
    groups: i64,
    /// What it is computed in; its output has the same kind.
    kind: Kind,
    /// Its place in the integer engine.
    pub site: Site,
    /// Its integers, where it does not learn.
    frozen: Option<Box<Frozen>>,
}

/// Shape of a [`Conv`]; `gain` scales the initial weights.
#[derive(Clone, Copy, Debug)]
pub struct ConvConfig {
    /// Side of the kernel.
    pub kernel: i64,
    /// Samples from one output to the next.
    pub stride: i64,
    /// Samples from one tap to the next.
    pub dilation: i64,
    /// Groups of channels that do not see each other.
    pub groups: i64,
    /// Scale of the initial weights.
    pub gain: f64,
    /// It lies inside a transform: in bfloat16 with [`Precision::Mixed`]. First layers (samples of 8 bits), last layers (latents
    /// that are rounded next) and entropy models, which simulate integers, stay in 32 bits.
    pub inner: bool,
    /// Which end of it holds samples of frames.
    pub samples: Samples,
    /// What the weights are, where the shape of the layer does not say it.
    pub form: Option<Form>,
}

impl ConvConfig {
    fn form(&self) -> Form {
        let plain = if self.kernel == 1 && self.groups == 1 { Form::Matrix } else { Form::Kernel };
        self.form.unwrap_or(plain)
    }
}

impl Default for ConvConfig {
    fn default() -> Self {
        Self { kernel: 1, stride: 1, dilation: 1, groups: 1, gain: 1.0, inner: false, samples: Samples::None, form: None }
    }
}

impl ConvConfig {
    /// A 1x1 layer inside a transform.
    pub fn inside() -> Self {
        Self { inner: true, ..Self::default() }
    }

    /// The same layer as a depthwise 3x3 one.
    pub fn depthwise(self, channels: i64) -> Self {
        Self { kernel: 3, groups: channels, ..self }
    }
}

impl Conv {
    /// Takes the parameters below `p`.
    pub fn new(mut p: Scope, cin: i64, cout: i64, config: ConvConfig) -> Result<Self> {
        let ConvConfig { kernel, stride, dilation, groups, gain, inner, samples, form: _ } = config;
        let kind = match p.precision() {
            Precision::Mixed if inner => Kind::BFloat16,
            precision => precision.kind(),
        };
        let fan_in = cin / groups * kernel * kernel;
        // A layer that starts silent has a silent bias too.
        let bias_gain = if gain == 0.0 { 0.0 } else { 1.0 };
        let weight = p.param("weight", config.form(), &[cout, cin / groups, kernel, kernel], Init::Uniform { fan_in, gain })?;
        let bias = p.param("bias", Form::Channels, &[cout], Init::Uniform { fan_in, gain: bias_gain })?;
        let site = p.site(samples);
        let frozen = match p.precision() {
            Precision::Exact => Frozen::new(&site, &weight, &bias, false)?,
            Precision::ExactBytes => Frozen::new(&site, &weight, &bias, true)?,
            _ => None,
        };
        Ok(Self {
            frozen: frozen.map(Box::new),
            weight,
            bias,
            stride,
            padding: dilation * (kernel / 2),
            dilation,
            groups,
            kind,
            site,
        })
    }

    /// Channels that it makes.
    pub fn outputs(&self) -> i64 {
        self.bias.size()[0]
    }

    /// 1x1 convolution.
    pub fn pointwise(p: Scope, cin: i64, cout: i64) -> Result<Self> {
        Self::new(p, cin, cout, ConvConfig::default())
    }

    /// Depthwise 3x3 convolution with zero padding.
    pub fn depthwise(p: Scope, channels: i64) -> Result<Self> {
        Self::new(p, channels, channels, ConvConfig::default().depthwise(channels))
    }

    /// The convolution alone.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.site.input(x)?;
        if let Some(frozen) = &self.frozen {
            return frozen.forward(&x, |x, weight, bias| self.convolve(Paths::DIRECT, &x.f_to_kind(self.kind)?, weight, bias));
        }
        let y = match self.site.simulated(&self.weight, &self.bias)? {
            Some((weight, bias)) => self.forward_with(&x, &weight, &bias)?,
            None => self.forward_with(&x, &self.weight, &self.bias)?,
        };
        self.site.output(y)
    }

    /// The convolution and the activation of all transforms.
    pub fn activated(&self, x: &Tensor) -> Result<Tensor> {
        self.site.activated(&self.forward(x)?)
    }

    /// The convolution, added to `skip`.
    pub fn added(&self, x: &Tensor, skip: &Tensor) -> Result<Tensor> {
        self.site.sum(skip, &self.forward(x)?)
    }

    /// The convolution with other values in place of its parameters (fake-quantised ones).
    pub fn forward_with(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        if x.kind() == self.kind && weight.kind() == self.kind {
            return self.convolve(paths::current(), x, weight, bias);
        }
        let [x, weight, bias] = [x.f_to_kind(self.kind)?, weight.f_to_kind(self.kind)?, bias.f_to_kind(self.kind)?];
        self.convolve(paths::current(), &x, &weight, &bias)
    }

    fn convolve(&self, path: Paths, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let plain = self.stride == 1 && self.dilation == 1;
        if plain && self.padding == 0 && self.groups == 1 && path.pointwise != Pointwise::Convolution {
            return path.pointwise.apply(x, weight, bias);
        }
        if plain && self.padding == 1 && self.groups > 1 && path.depthwise != Depthwise::ChannelsLast {
            return path.depthwise.apply(x, weight, bias);
        }
        let (s, p, d) = ([self.stride; 2], [self.padding; 2], [self.dilation; 2]);
        Ok(x.f_conv2d(weight, Some(bias), s, p, d, self.groups)?)
    }
}

/// Depthwise block: `x + 1x1(dw3x3(act(1x1 x)))`, then `x + 1x1(act(1x1 x))` with twice the width inside.
#[derive(Debug)]
pub struct DwBlock {
    mix_in: Conv,
    depthwise: Conv,
    mix_out: Conv,
    expand: Conv,
    project: Conv,
}

impl DwBlock {
    /// Takes the parameters of a block of `c` channels below `p`.
    pub fn new(mut p: Scope, c: i64) -> Result<Self> {
        let plain = ConvConfig::inside();
        // Residual branches start small so that a deep stack starts near the identity.
        let small = ConvConfig { gain: 0.3, ..plain };
        Ok(Self {
            mix_in: Conv::new(p.sub("mix_in"), c, c, plain)?,
            depthwise: Conv::new(p.sub("depthwise"), c, c, plain.depthwise(c))?,
            mix_out: Conv::new(p.sub("mix_out"), c, c, small)?,
            expand: Conv::new(p.sub("expand"), c, 2 * c, plain)?,
            project: Conv::new(p.sub("project"), 2 * c, c, small)?,
        })
    }

    /// Applies the block. `awake`: 1 where there is a picture and 0 outside it, `[N, 1, h, w]`; `None`: 1 everywhere.
    pub fn forward(&self, x: &Tensor, awake: Option<&Tensor>) -> Result<Tensor> {
        let mixed = within(self.mix_in.activated(x)?, awake)?;
        let x = self.mix_out.added(&self.depthwise.forward(&mixed)?, x)?;
        self.project.added(&self.expand.activated(&x)?, &x)
    }

    /// `count` blocks named `0`, `1`, ... below `p`.
    pub fn stack(mut p: Scope, channels: i64, count: usize) -> Result<Vec<Self>> {
        (0..count).map(|i| Self::new(p.sub(i), channels)).collect()
    }
}

/// Applies blocks one after the other, as [`DwBlock::forward`] does.
pub fn run_blocks(blocks: &[DwBlock], x: Tensor, awake: Option<&Tensor>) -> Result<Tensor> {
    blocks.iter().try_fold(x, |x, block| block.forward(&x, awake))
}

/// The quality index of cells that [rest](crate::quality::RestMap): networks take them for places outside the picture.
pub const RESTS: i64 = -1;

/// Where the cells of `x`, `[N, C, h, w]`, do not rest, as [`DwBlock::forward`] takes it; `None` if that is everywhere for sure. `q`: int64,
/// indices of frames or of cells on a grid that may be coarser.
pub fn awake(q: &Tensor, x: &Tensor) -> Result<Option<Tensor>> {
    if q.dim() == 1 {
        return Ok(None);
    }
    Ok(Some(spread(q, x)?.f_ge(0)?.f_unsqueeze(1)?.f_to_kind(x.kind())?))
}

/// `x` with zeros where cells rest.
pub fn within(x: Tensor, awake: Option<&Tensor>) -> Result<Tensor> {
    match awake {
        Some(awake) => Ok(x.f_mul(awake)?),
        None => Ok(x),
    }
}

/// Weights `[64, KNOTS]` that interpolate linearly between knots at each quality index.
pub fn knot_weights() -> Tensor {
    let mut weights = vec![0f32; QUALITIES * KNOTS];
    for q in 0..QUALITIES {
        let position = q as f32 * (KNOTS - 1) as f32 / (QUALITIES - 1) as f32;
        let left = (position.floor() as usize).min(KNOTS - 2);
        let fraction = position - left as f32;
        weights[q * KNOTS + left] = 1.0 - fraction;
        weights[q * KNOTS + left + 1] = fraction;
    }
    Tensor::from_slice(&weights).view([QUALITIES as i64, KNOTS as i64])
}

/// Rows of values, one for each of the quality indices `q`, as `[N, C, 1, 1]` or `[N, C, h, w]`.
fn by_channel(values: &Tensor, q: &Tensor) -> Result<Tensor> {
    let (n, rows, cols) = if q.dim() == 1 { (q.size1()?, 1, 1) } else { q.size3()? };
    Ok(values.f_view([n, rows, cols, -1])?.f_permute([0, 3, 1, 2])?)
}

/// Quality indices one after the other, all of which exist.
fn flat_indices(q: &Tensor) -> Result<Tensor> {
    let flat = q.f_flatten(0, -1)?;
    if q.dim() == 1 { Ok(flat) } else { Ok(flat.f_clamp_min(0)?) }
}

/// Quality indices of cells on the finer grid of `x`, `[N, C, h, w]`, each repeated; those of frames as they are.
pub fn spread(q: &Tensor, x: &Tensor) -> Result<Tensor> {
    if q.dim() == 1 {
        return Ok(q.shallow_clone());
    }
    repeated(q, x.size4()?.2 / q.size3()?.1, (1, 2))
}

/// Each value so many times along both dimensions.
pub fn repeated(x: &Tensor, times: i64, (rows, cols): (i64, i64)) -> Result<Tensor> {
    Ok(x.f_repeat_interleave_self_int(times, rows, None)?.f_repeat_interleave_self_int(times, cols, None)?)
}

/// A value per channel, interpolated linearly over the quality axis between learned knots `[8, C]`.
#[derive(Debug)]
pub struct QualityKnots {
    /// Learned values, `[8, C]`.
    pub knots: Tensor,
    weights: Tensor,
    /// Gains of all quality indices, in place of those of the knots.
    table: Option<Tensor>,
    site: Site,
}

impl QualityKnots {
    /// Fresh knots run from `start` at quality 0 to `start + slope` at quality 63.
    pub fn new(mut p: Scope, name: &str, channels: i64, start: f64, slope: f64) -> Result<Self> {
        let knots = p.param_with(name, Form::Knots, &[KNOTS as i64, channels], || {
            let ramp = Tensor::linspace(start, start + slope, KNOTS as i64, (tch::Kind::Float, tch::Device::Cpu));
            ramp.unsqueeze(1).repeat([1, channels])
        })?;
        Ok(Self { weights: upload(&knot_weights(), knots.device())?, knots, table: p.table()?, site: p.site(Samples::None) })
    }

    /// Values `[N, C, 1, 1]` at the quality indices `q` (int64 `[N]`, 0..=63), or `[N, C, h, w]` at those of cells (`[N, h, w]`); of no
    /// importance where cells rest.
    pub fn at(&self, q: &Tensor) -> Result<Tensor> {
        by_channel(&self.weights.f_index_select(0, &flat_indices(q)?)?.f_matmul(&self.knots)?, q)
    }

    /// exp of [`Self::at`]: a positive gain.
    pub fn gain(&self, q: &Tensor) -> Result<Tensor> {
        match &self.table {
            Some(table) => by_channel(&table.f_index_select(0, &flat_indices(q)?)?, q),
            None => Ok(self.at(q)?.f_exp()?),
        }
    }

    /// Features times their gains. Indices of cells may be on a coarser grid than `x`.
    pub fn apply(&self, x: &Tensor, q: &Tensor) -> Result<Tensor> {
        let gain = self.gain(&spread(q, x)?)?;
        if self.table.is_some() { self.site.times(x, &gain) } else { self.site.gained(x, &gain) }
    }

    /// A decoded latent times its gains.
    pub fn dequantise(&self, y: &Tensor, q: &Tensor) -> Result<Tensor> {
        let gain = self.gain(q)?;
        if self.table.is_some() { self.site.times(y, &gain) } else { self.site.dequantised(y, &gain) }
    }

    /// Values of all quality indices, `[64, C]`, on the CPU.
    pub fn table(&self) -> Result<Tensor> {
        tch::no_grad(|| place(&self.weights.f_matmul(&self.knots)?, tch::Device::Cpu))
    }
}
