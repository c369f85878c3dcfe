//! The filter between a decoded frame and the screen.

use tch::{Device, Tensor};

use super::fixed::Samples;
use super::layers::{Conv, ConvConfig, DwBlock, QualityKnots, run_blocks, spread};
use super::ops::{Planes, add_detail, pack, sharpen};
use super::params::{Builder, ParamStore, Precision, Scope};
use super::role::{Form, Network};
use crate::Result;
use crate::architecture::{CARRY_START, PACKED_CHANNELS, PostfilterConfig, STRENGTHS, TEXTURE_SCALE};

/// Bands of detail that are amplified apart, see [`sharpen`].
const BANDS: i64 = crate::kernels::sharpen::BANDS as i64;
/// Samples of luma to a cell of the packed frame.
const SAMPLES: i64 = crate::kernels::sharpen::CHANNELS as i64 - BANDS;
/// Strength that a fresh filter has everywhere.
const START: f64 = 0.3;

/// The full strength everywhere.
pub fn whole() -> Tensor {
    Tensor::from(1.0f32)
}

/// Says where luma of a decoded frame is to be sharpened, how much, and at which of two scales, and what texture is to be added.
///
/// Rate and distortion together leave less contrast in fine texture than the original had. What is given back here is
/// shown and never predicted from, so it costs no bits. A recurrent filter also sees the frame shown before, moved on as the
/// reference was: texture stays with what moves, and what a keyframe had lasts longer than the prediction loop would keep it.
#[derive(Debug)]
pub struct Postfilter {
    input: Conv,
    gain: QualityKnots,
    blocks: Vec<DwBlock>,
    output: Conv,
    recurrence: Option<Recurrence>,
    start: QualityKnots,
}

/// The layers of a recurrent filter.
#[derive(Debug)]
struct Recurrence {
    input: Conv,
    carry: Conv,
}

/// What the last layers write.
struct Written {
    /// Strengths and texture, `[N, 66, H/8, W/8]`.
    of_luma: Tensor,
    /// With a past, `[N, 2, H/8, W/8]`.
    carry: Option<Tensor>,
}

/// What is to be done to a frame, at 1/8 of its size.
struct Parts {
    /// `[N, 2, H/8, W/8]`, within [`STRENGTHS`].
    strength: Tensor,
    /// `[N, 64, H/8, W/8]`.
    texture: Tensor,
    /// `[N, 2, H/8, W/8]`, within 0..=1: how much of the bands of the past takes the place of the frame's.
    carry: Option<Tensor>,
}

impl Postfilter {
    /// Takes the parameters below `p`.
    pub fn new(mut p: Scope, config: &PostfilterConfig) -> Result<Self> {
        let silent = ConvConfig { gain: 0.0, ..ConvConfig::default() };
        Ok(Self {
            input: Conv::new(
                p.sub("input"),
                PACKED_CHANNELS,
                config.width,
                ConvConfig { samples: Samples::Read, ..Default::default() },
            )?,
            gain: QualityKnots::new(p.sub("gain"), "knots", config.width, 0.0, 0.0)?,
            blocks: DwBlock::stack(p.sub("blocks"), config.width, config.blocks)?,
            output: Conv::new(p.sub("output"), config.width, BANDS + SAMPLES, silent)?,
            recurrence: config.recurrent.then(|| Recurrence::new(p.sub("recurrence"), config.width)).transpose()?,
            start: QualityKnots::new(p.sub("start"), "knots", BANDS, START, 0.0)?,
        })
    }

    /// A filter by itself, on the parameters of `store`, which must hold them all.
    ///
    /// # Errors
    /// [`ModelMismatch`](crate::Error::ModelMismatch) naming the tensor that is missing or has another shape.
    pub fn load(store: &mut ParamStore, config: &PostfilterConfig, device: Device, precision: Precision) -> Result<Self> {
        Self::new(Builder::load(store, device).with_precision(precision).network(Network::Postfilter), config)
    }

    /// Whether it takes a past.
    pub fn looks_back(&self) -> bool {
        self.recurrence.is_some()
    }

    /// What the last layers write for a packed decoded frame `[N, 96, H/8, W/8]`. `news`: the packed frame minus the packed past.
    /// `area`: 1 where it works and 0 elsewhere, `[1, 1, H/8, W/8]`; `None`: everywhere.
    fn written(&self, packed: &Tensor, (news, area): (Option<&Tensor>, Option<&Tensor>), q: &Tensor) -> Result<Written> {
        let mut x = self.input.forward(packed)?;
        let recurrence = self.recurrence.as_ref().zip(news);
        if let Some((layers, news)) = recurrence {
            x = layers.input.added(news, &x)?;
        }
        let x = run_blocks(&self.blocks, self.gain.apply(&self.input.site.activated(&x)?, q)?, area)?;
        let carry = recurrence.map(|(layers, _)| layers.carry.forward(&x)).transpose()?;
        Ok(Written { of_luma: self.output.forward(&x)?, carry })
    }

    /// What is to be done to a frame, with `share` of the full strength `[N, 1, H/8, W/8]` or a scalar. See [`Self::written`].
    fn parts(&self, packed: &Tensor, past: (Option<&Tensor>, Option<&Tensor>), q: &Tensor, share: &Tensor) -> Result<Parts> {
        let Written { of_luma, carry } = self.written(packed, past, q)?;
        let strength =
            of_luma.f_narrow(1, 0, BANDS)?.f_add(&self.start.at(&spread(q, &of_luma)?)?)?.f_clamp(STRENGTHS.0, STRENGTHS.1)?;
        let carried = |x: Tensor| -> Result<Tensor> { Ok(x.f_add_scalar(CARRY_START)?.f_clamp(0.0, 1.0)?.f_mul(share)?) };
        Ok(Parts {
            strength: strength.f_mul(share)?,
            texture: of_luma.f_narrow(1, BANDS, SAMPLES)?.f_mul_scalar(TEXTURE_SCALE)?.f_mul(share)?,
            carry: carry.map(carried).transpose()?,
        })
    }

    /// The 16-bit integers that the engine's last layers write, `[N, 66, H/8, W/8]` or, with `news`, `[N, 68, H/8, W/8]`: what
    /// [`rt::Postfilter::map`](crate::rt::Postfilter::map) takes. See [`Self::map`].
    pub fn integers(&self, packed: &Tensor, (news, area): (Option<&Tensor>, Option<&Tensor>), q: &Tensor) -> Result<Tensor> {
        let Written { of_luma, carry } = self.written(packed, (news, area), q)?;
        let mut parts = vec![self.output.site.integers(&of_luma)?];
        if let Some((layers, carry)) = self.recurrence.as_ref().zip(carry) {
            parts.push(layers.carry.site.integers(&carry)?);
        }
        Ok(Tensor::f_cat(&parts, 1)?)
    }

    /// The map that [`kernels::sharpen`](crate::kernels::sharpen::sharpen) takes, `[N, 66, H/8, W/8]` or, with `news`,
    /// `[N, 68, H/8, W/8]`, with `share` of the full strength, `[N, 1, H/8, W/8]` or a scalar. `news` `[N, 96, H/8, W/8]`: the packed frame minus the packed past;
    /// `None` where there is no past or nothing looks at it. `area`: 1 at the cells at which the filter works and 0 elsewhere,
    /// `[1, 1, H/8, W/8]`; `None`: it works everywhere.
    pub fn map(
        &self,
        packed: &Tensor,
        (news, area): (Option<&Tensor>, Option<&Tensor>),
        q: &Tensor,
        share: &Tensor,
    ) -> Result<Tensor> {
        let Parts { strength, texture, carry } = self.parts(packed, (news, area), q, share)?;
        let mut parts = vec![strength, texture];
        parts.extend(carry);
        Ok(Tensor::f_cat(&parts, 1)?)
    }

    /// The frame as it is shown, with `share` of the full strength, `[N, 1, H/8, W/8]` or a scalar. Neither clamped nor rounded. `past`: see
    /// [`Networks::carried`](super::Networks::carried).
    pub fn forward(&self, frame: &Planes, past: Option<&Planes>, q: &Tensor, share: &Tensor) -> Result<Planes> {
        let news = past.map(|past| pack(&frame.sub(past)?)).transpose()?;
        let parts = self.parts(&pack(frame)?, (news.as_ref(), None), q, share)?;
        let mut shown = sharpen(frame, &parts.strength, &parts.texture)?;
        if let (Some(past), Some(carry)) = (past, &parts.carry) {
            shown.y = add_detail(&shown.y, &past.y.f_sub(&frame.y)?, carry)?;
        }
        Ok(shown)
    }
}

impl Recurrence {
    fn new(mut p: Scope, width: i64) -> Result<Self> {
        let silent = ConvConfig { gain: 0.0, ..ConvConfig::default() };
        Ok(Self {
            input: Conv::new(p.sub("input"), PACKED_CHANNELS, width, ConvConfig { samples: Samples::Read, ..silent })?,
            // Too few outputs for a matrix whose steps are orthogonal.
            carry: Conv::new(p.sub("carry"), width, BANDS, ConvConfig { form: Some(Form::Kernel), ..silent })?,
        })
    }
}
