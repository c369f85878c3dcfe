//! Transforms of the `paper` profile: HiFiC's autoencoder at full width and a strided flow codec.
//!
//! Mentzer et al., "High-Fidelity Generative Image Compression" (architecture section), and the scale-space-flow codec for
//! the motion branch. Frames come and go packed as in the `rt` profile; inside, chroma is upsampled to luma's resolution.

use tch::{Kind, Tensor};

use super::layers::{Conv, ConvConfig, QualityKnots};
use super::ops::{Planes, channels_last, pack, unpack};
use super::params::{Init, Scope};
use super::role::Form;
use crate::Result;
use crate::architecture::{PACKED_CHANNELS, TransformConfig};

/// Variance floor of ChannelNorm.
const NORM_EPSILON: f64 = 1e-3;

/// Normalises each position over its channels, with a learned gain and offset per channel (HiFiC's ChannelNorm).
#[derive(Debug)]
struct ChannelNorm {
    gain: Tensor,
    offset: Tensor,
}

impl ChannelNorm {
    fn new(mut p: Scope, channels: i64) -> Result<Self> {
        let shape = [1, channels, 1, 1];
        Ok(Self {
            gain: p.param("gain", Form::Channels, &shape, Init::Const(1.0))?,
            offset: p.param("offset", Form::Channels, &shape, Init::Const(0.0))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let dims: &[i64] = &[1];
        let x = x.f_to_kind(Kind::Float)?;
        let mean = x.f_mean_dim(dims, true, x.kind())?;
        let centred = x.f_sub(&mean)?;
        let variance = x.f_var_dim(dims, true, true)?;
        let scale = variance.f_add_scalar(NORM_EPSILON)?.f_rsqrt()?;
        Ok(centred.f_mul(&scale)?.f_mul(&self.gain)?.f_add(&self.offset)?)
    }
}

/// Convolution, ChannelNorm, ReLU.
#[derive(Debug)]
struct NormConv {
    conv: Conv,
    norm: ChannelNorm,
    /// Upsample by 2 (nearest) first; in place of HiFiC's transposed convolution, whose checkerboards accumulate in time.
    upsample: bool,
}

impl NormConv {
    /// 3x3, inside a transform.
    fn new(p: Scope, cin: i64, cout: i64, stride: i64, upsample: bool) -> Result<Self> {
        Self::with(p, cin, cout, ConvConfig { kernel: 3, stride, ..ConvConfig::inside() }, upsample)
    }

    fn with(mut p: Scope, cin: i64, cout: i64, shape: ConvConfig, upsample: bool) -> Result<Self> {
        Ok(Self { conv: Conv::new(p.sub("conv"), cin, cout, shape)?, norm: ChannelNorm::new(p.sub("norm"), cout)?, upsample })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (_, _, h, w) = x.size4()?;
        let x = if self.upsample { x.f_upsample_nearest2d([2 * h, 2 * w], None, None)? } else { x.shallow_clone() };
        Ok(self.norm.forward(&self.conv.forward(&x)?)?.f_relu()?)
    }
}

/// Packed frames `[N, 96 k, H/8, W/8]` as images `[N, 3 k, H, W]`.
fn to_image(packed: &Tensor) -> Result<Tensor> {
    let frames = packed.size()[1] / PACKED_CHANNELS;
    let images = (0..frames)
        .map(|i| {
            let Planes { y, uv } = unpack(&packed.f_narrow(1, i * PACKED_CHANNELS, PACKED_CHANNELS)?)?;
            let (_, _, h, w) = y.size4()?;
            Ok(Tensor::f_cat(&[y, uv.f_upsample_nearest2d([h, w], None, None)?], 1)?)
        })
        .collect::<Result<Vec<_>>>()?;
    channels_last(&Tensor::f_cat(&images, 1)?)
}

/// An image `[N, 3, H, W]` as a packed frame.
fn to_packed(image: &Tensor) -> Result<Tensor> {
    let uv = image.f_narrow(1, 1, 2)?.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?;
    pack(&Planes { y: image.f_narrow(1, 0, 1)?, uv })
}

/// HiFiC's encoder: a 7x7 stem and four strided 3x3 convolutions, widths b, 2b, 4b, 8b, 16b.
#[derive(Debug)]
pub struct PaperAnalysis {
    stages: Vec<NormConv>,
    gain: QualityKnots,
    output: Conv,
}

impl PaperAnalysis {
    /// `frames`: how many packed frames the input holds.
    pub fn new(mut p: Scope, frames: i64, config: &TransformConfig) -> Result<Self> {
        let b = config.width;
        let stem = ConvConfig { kernel: 7, ..Default::default() };
        let mut stages = vec![NormConv::with(p.sub("input"), 3 * frames, b, stem, false)?];
        for i in 0..4 {
            stages.push(NormConv::new(p.sub(format!("down.{i}")), b << i, b << (i + 1), 2, false)?);
        }
        let shape = ConvConfig { kernel: 3, ..Default::default() };
        Ok(Self {
            stages,
            gain: QualityKnots::new(p.sub("gain"), "knots", 16 * b, 0.0, 0.0)?,
            output: Conv::new(p.sub("output"), 16 * b, config.latent, shape)?,
        })
    }

    /// `[N, 96 frames, H/8, W/8]` to `[N, latent, H/16, W/16]`.
    pub fn forward(&self, packed: &Tensor, q: &Tensor) -> Result<Tensor> {
        let x = self.stages.iter().try_fold(to_image(packed)?, |x, stage| stage.forward(&x))?;
        self.output.forward(&x.f_mul(&self.gain.gain(q)?)?)
    }
}

/// Two 3x3 convolutions with ChannelNorm around a skip.
#[derive(Debug)]
struct ResidualBlock {
    first: NormConv,
    second: Conv,
    norm: ChannelNorm,
}

impl ResidualBlock {
    fn new(mut p: Scope, channels: i64) -> Result<Self> {
        let shape = ConvConfig { kernel: 3, ..ConvConfig::inside() };
        Ok(Self {
            first: NormConv::new(p.sub("first"), channels, channels, 1, false)?,
            second: Conv::new(p.sub("second"), channels, channels, shape)?,
            norm: ChannelNorm::new(p.sub("norm"), channels)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.norm.forward(&self.second.forward(&self.first.forward(x)?)?)?.f_add(x)?)
    }
}

/// HiFiC's generator: residual blocks at 16b channels with a long skip, four upsampling stages, a 7x7 head.
#[derive(Debug)]
pub struct PaperSynthesis {
    input_norm: ChannelNorm,
    input: Conv,
    gain: QualityKnots,
    head_norm: ChannelNorm,
    blocks: Vec<ResidualBlock>,
    stages: Vec<NormConv>,
    output: Conv,
}

impl PaperSynthesis {
    pub fn new(mut p: Scope, cin: i64, config: &TransformConfig) -> Result<Self> {
        let b = config.width;
        let wide = 16 * b;
        let blocks = (0..config.synthesis_blocks)
            .map(|i| ResidualBlock::new(p.sub(format!("blocks.{i}")), wide))
            .collect::<Result<_>>()?;
        let stages = (0..4)
            .map(|i| NormConv::new(p.sub(format!("up.{i}")), wide >> i, wide >> (i + 1), 1, true))
            .collect::<Result<_>>()?;
        Ok(Self {
            input_norm: ChannelNorm::new(p.sub("input_norm"), cin)?,
            input: Conv::new(p.sub("input"), cin, wide, ConvConfig { kernel: 3, ..ConvConfig::inside() })?,
            gain: QualityKnots::new(p.sub("gain"), "knots", wide, 0.0, 0.0)?,
            head_norm: ChannelNorm::new(p.sub("head_norm"), wide)?,
            blocks,
            stages,
            output: Conv::new(p.sub("output"), b, 3, ConvConfig { kernel: 7, ..Default::default() })?,
        })
    }

    /// `[N, cin, H/16, W/16]` to a packed frame `[N, 96, H/8, W/8]`.
    pub fn forward(&self, y: &Tensor, q: &Tensor) -> Result<Tensor> {
        let head = self.input.forward(&self.input_norm.forward(y)?)?.f_mul(&self.gain.gain(q)?)?;
        let head = self.head_norm.forward(&head)?;
        let x = self.blocks.iter().try_fold(head.shallow_clone(), |x, block| block.forward(&x))?.f_add(&head)?;
        let x = self.stages.iter().try_fold(x, |x, stage| stage.forward(&x))?;
        to_packed(&self.output.forward(&x)?)
    }
}

/// E_flow: four strided 5x5 convolutions on the estimator's flow alone.
#[derive(Debug)]
pub struct PaperFlowAnalysis {
    convs: Vec<Conv>,
}

impl PaperFlowAnalysis {
    pub fn new(mut p: Scope, config: &TransformConfig) -> Result<Self> {
        let widths = [2, config.width, config.width, config.width, config.latent];
        let shape = ConvConfig { kernel: 5, stride: 2, ..Default::default() };
        let convs =
            (0..4).map(|i| Conv::new(p.sub(format!("conv.{i}")), widths[i], widths[i + 1], shape)).collect::<Result<_>>()?;
        Ok(Self { convs })
    }

    /// `input` as in the `rt` profile, of which only the flow (channels 0..8, unshuffled at 1/8, units of 8 pixels) counts.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let flow = input.f_narrow(1, 0, 8)?.f_pixel_shuffle(2)?;
        let (_, _, h, w) = flow.size4()?;
        let full = flow.f_contiguous()?.f_upsample_bilinear2d([4 * h, 4 * w], false, None, None)?;
        let mut x = self.convs[0].forward(&full)?;
        for conv in &self.convs[1..] {
            x = conv.forward(&x.f_relu()?)?;
        }
        Ok(x)
    }
}

/// G_flow: the mirror image, to flow and blur at full resolution.
#[derive(Debug)]
pub struct PaperFlowSynthesis {
    convs: Vec<Conv>,
}

impl PaperFlowSynthesis {
    pub fn new(mut p: Scope, config: &TransformConfig) -> Result<Self> {
        let widths = [config.latent, config.width, config.width, config.width, 3];
        let shape = ConvConfig { kernel: 5, ..Default::default() };
        let convs = (0..4)
            .map(|i| {
                // The last layer starts small: no motion and no blur.
                let gain = if i == 3 { 0.05 } else { 1.0 };
                Conv::new(p.sub(format!("conv.{i}")), widths[i], widths[i + 1], ConvConfig { gain, ..shape })
            })
            .collect::<Result<_>>()?;
        Ok(Self { convs })
    }

    /// `[N, latent, H/16, W/16]` to motion in units of 8 pixels and blur, `[N, 3, H, W]`.
    pub fn forward(&self, y: &Tensor) -> Result<Tensor> {
        let mut x = y.shallow_clone();
        for (i, conv) in self.convs.iter().enumerate() {
            let (_, _, h, w) = x.size4()?;
            x = conv.forward(&x.f_upsample_nearest2d([2 * h, 2 * w], None, None)?)?;
            if i < 3 {
                x = x.f_relu()?;
            }
        }
        Ok(x)
    }
}
