//! The integer engine's arithmetic in tensors: what training simulates and what tests hold against the engine.
//!
//! A layer reads values with `from` fractional bits and writes values with `to`. Its weights have 10 bits and a power-of-two step for
//! each output, its sums are rounded half up and saturate at 16 bits ([`integer`](crate::integer)). In 32-bit floats this is what
//! training learns to live with, and gradients pass straight through; in 64-bit floats it is exact.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::activation::{SLOPE, act};
use super::transfer::scalar;
use crate::Result;
use crate::rt::{GAIN_BITS, LATENT_GAIN_BITS};

/// Fractional bits that layers read and write, by the layer's name.
pub type Fractions = BTreeMap<String, [u8; 2]>;

/// Fractional bits of packed samples: half steps of 1/256.
pub const SAMPLE_FRACTION: u8 = 9;
/// Fractional bits of the packed output: 1/64 steps of 1/256.
pub const OUTPUT_FRACTION: u8 = 8 + crate::kernels::unpack::OUTPUT_FRACTION_BITS as u8;
/// Samples are 0..=255 in floats of range 1, and steps of 1/256 in integers.
const SAMPLE_UNIT: f64 = 256.0 / 255.0;

/// Largest weight.
const MAX_WEIGHT: f64 = crate::rt::weights::MAX_WEIGHT as f64;
/// Largest sum of an output's weights: with 16-bit inputs and the largest bias it stays within 32 bits.
const MAX_WEIGHT_SUM: f64 = 64_000.0;
/// Bits of the largest bias.
const BIAS_BITS: f64 = 25.0;

/// Which end of a layer holds samples of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Samples {
    /// Neither.
    #[default]
    None,
    /// Its input.
    Read,
    /// Its output.
    Written,
}

thread_local! {
    /// Largest magnitudes seen, by the layer's name, while someone looks.
    static PEAKS: RefCell<Option<BTreeMap<String, f64>>> = const { RefCell::new(None) };
}

/// Runs `work` and gives back the largest magnitude that each layer wrote, by its name.
///
/// # Errors
/// Those of `work`.
pub fn peaks(work: impl FnOnce() -> Result<()>) -> Result<BTreeMap<String, f64>> {
    PEAKS.set(Some(BTreeMap::new()));
    let result = work();
    let peaks = PEAKS.take().unwrap_or_default();
    result.map(|()| peaks)
}

/// A layer's place in the integer engine.
#[derive(Clone, Debug, Default)]
pub struct Site {
    name: String,
    /// `None`: plain floats.
    fractions: Option<[u8; 2]>,
    samples: Samples,
}

/// Integer weights of a layer as tensors of 64-bit floats.
pub struct Quantised {
    /// As the layer's weights.
    pub weight: Tensor,
    /// In units of the sum.
    pub bias: Tensor,
    /// Right shift of each output's sum.
    pub shift: Tensor,
}

impl Site {
    /// `fractions` where the layer is to be simulated.
    pub fn new(name: String, fractions: Option<[u8; 2]>, samples: Samples) -> Self {
        Self { name, fractions, samples }
    }

    /// Whether integers are simulated.
    pub fn is_fixed(&self) -> bool {
        self.fractions.is_some()
    }

    /// Fractional bits that the layer reads and writes; `None` for plain floats.
    pub fn fractions(&self) -> Option<[u8; 2]> {
        self.fractions
    }

    /// What a written value is multiplied by.
    pub fn unit(&self) -> f64 {
        if self.samples == Samples::Written { SAMPLE_UNIT } else { 1.0 }
    }

    /// The 16-bit integers that a layer's written values stand for.
    pub fn integers(&self, y: &Tensor) -> Result<Tensor> {
        let one = self.fractions.map_or(1.0, |[_, to]| f64::from(to).exp2());
        Ok(y.f_mul_scalar(one)?.f_to_kind(Kind::Int16)?)
    }

    /// What the layer reads, brought to its scale.
    pub fn input(&self, x: &Tensor) -> Result<Tensor> {
        match self.fractions {
            Some([from, _]) if self.samples == Samples::Read => to_grid(&x.f_div_scalar(SAMPLE_UNIT)?, from),
            _ => Ok(x.shallow_clone()),
        }
    }

    /// What the layer's sums become.
    pub fn output(&self, y: Tensor) -> Result<Tensor> {
        self.look(&y)?;
        match self.fractions {
            Some([_, to]) => {
                let y = to_grid(&y, to)?;
                if self.samples == Samples::Written { Ok(y.f_mul_scalar(self.unit())?) } else { Ok(y) }
            }
            None => Ok(y),
        }
    }

    /// A sum of two values that the layer could have written.
    pub fn sum(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let sum = a.f_add(b)?;
        self.look(&sum)?;
        match self.fractions {
            // Samples that are written have been scaled already, and have room.
            Some([_, to]) if self.samples != Samples::Written => saturated(&sum, to),
            _ => Ok(sum),
        }
    }

    /// The activation of what the layer wrote, [`act`](act).
    pub fn activated(&self, y: &Tensor) -> Result<Tensor> {
        match self.fractions {
            Some([_, to]) => Ok(y.f_maximum(&to_grid(&y.f_mul_scalar(SLOPE)?, to)?)?),
            None => act(y),
        }
    }

    fn look(&self, y: &Tensor) -> Result<()> {
        if !PEAKS.with_borrow(Option::is_some) {
            return Ok(());
        }
        let peak = tch::no_grad(|| scalar(&y.f_abs()?.f_max()?))?;
        PEAKS.with_borrow_mut(|peaks| {
            if let Some(peaks) = peaks {
                let entry = peaks.entry(self.name.clone()).or_default();
                *entry = entry.max(peak);
            }
        });
        Ok(())
    }

    /// The layer's integers; `None` for plain floats.
    pub fn quantise(&self, weight: &Tensor, bias: &Tensor) -> Result<Option<Quantised>> {
        let Some([from, to]) = self.fractions else { return Ok(None) };
        tch::no_grad(|| -> Result<_> {
            let unit = match self.samples {
                Samples::None => [1.0, 1.0],
                Samples::Read => [SAMPLE_UNIT, 1.0],
                Samples::Written => [1.0 / SAMPLE_UNIT; 2],
            };
            let scale = f64::from(i32::from(to) - i32::from(from)).exp2();
            let outputs = weight.size()[0];
            let weight = weight.f_detach()?.f_to_kind(Kind::Double)?.f_mul_scalar(unit[0] * scale)?;
            let bias = bias.f_detach()?.f_to_kind(Kind::Double)?.f_mul_scalar(unit[1] * f64::from(to).exp2())?;
            let magnitude = weight.f_abs()?.f_view([outputs, -1])?;
            let room = |most: f64, value: Tensor| -> Result<Tensor> {
                Ok(value.f_clamp_min(1e-12)?.f_reciprocal()?.f_mul_scalar(most)?.f_log2()?.f_floor()?)
            };
            let shift = room(MAX_WEIGHT, magnitude.f_amax([1], false)?)?
                .f_minimum(&room(MAX_WEIGHT_SUM, magnitude.f_sum_dim_intlist(&[1i64][..], false, Kind::Double)?)?)?
                .f_minimum(&room(BIAS_BITS.exp2(), bias.f_abs()?)?)?
                .f_clamp(0.0, f64::from(crate::integer::MAX_SHIFT))?;
            let step = shift.f_exp2()?;
            let mut shape = vec![1; weight.dim()];
            shape[0] = outputs;
            let weight = weight.f_mul(&step.f_view(&shape[..])?)?.f_round()?.f_clamp(-MAX_WEIGHT, MAX_WEIGHT)?;
            Ok(Some(Quantised { weight, bias: bias.f_mul(&step)?.f_round()?, shift }))
        })
    }

    /// Weights and bias whose values are the integers', and whose gradients are the parameters'.
    pub fn simulated(&self, weight: &Tensor, bias: &Tensor) -> Result<Option<(Tensor, Tensor)>> {
        let (Some(integers), Some([from, to])) = (self.quantise(weight, bias)?, self.fractions) else { return Ok(None) };
        tch::no_grad(|| -> Result<_> {
            let step = integers.shift.f_neg()?.f_exp2()?;
            let mut shape = vec![1; weight.dim()];
            shape[0] = weight.size()[0];
            let scale = f64::from(i32::from(from) - i32::from(to)).exp2();
            let weight = integers.weight.f_mul(&step.f_view(&shape[..])?)?.f_mul_scalar(scale)?;
            let bias = integers.bias.f_mul(&step)?.f_mul_scalar((-f64::from(to)).exp2())?;
            Ok((weight, bias))
        })
        .and_then(|(values, biases)| {
            let through = |values: Tensor, parameter: &Tensor| -> Result<Tensor> {
                if !parameter.requires_grad() {
                    return Ok(values);
                }
                let step = tch::no_grad(|| values.f_sub(parameter))?;
                Ok(parameter.f_add(&step.f_to_kind(parameter.kind())?)?)
            };
            Ok(Some((through(values, weight)?, through(biases, bias)?)))
        })
    }

    /// Values times a gain of a model file's table, in 64-bit floats: both may have 32 bits.
    pub fn times(&self, x: &Tensor, gain: &Tensor) -> Result<Tensor> {
        Ok(self.output(x.f_to_kind(Kind::Double)?.f_mul(gain)?)?.f_to_kind(x.kind())?)
    }

    /// A gain of features as the engine applies it.
    pub fn gained(&self, x: &Tensor, gain: &Tensor) -> Result<Tensor> {
        let gain = if self.is_fixed() { table_value(gain, GAIN_BITS, f64::from(u16::MAX))? } else { gain.shallow_clone() };
        self.output(x.f_mul(&gain.f_to_kind(x.kind())?)?)
    }

    /// A decoded latent times its gain as the engine scales it.
    pub fn dequantised(&self, y: &Tensor, gain: &Tensor) -> Result<Tensor> {
        let gain = if self.is_fixed() { table_value(gain, LATENT_GAIN_BITS, f64::from(u32::MAX))? } else { gain.shallow_clone() };
        self.output(y.f_mul(&gain.f_to_kind(y.kind())?)?)
    }
}

/// A gain as a table holds it.
fn table_value(gain: &Tensor, bits: u32, most: f64) -> Result<Tensor> {
    let one = f64::from(bits).exp2();
    through(gain, |gain| Ok(gain.f_to_kind(Kind::Double)?.f_mul_scalar(one)?.f_round()?.f_clamp(0.0, most)?.f_div_scalar(one)?))
}

/// `change` in the forward pass, identity in the backward pass.
fn through(x: &Tensor, change: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let changed = tch::no_grad(|| change(&x.f_detach()?)?.f_to_kind(x.kind()).map_err(crate::Error::from))?;
    if !x.requires_grad() {
        return Ok(changed);
    }
    let step = tch::no_grad(|| changed.f_sub(x))?;
    Ok(x.f_add(&step)?)
}

/// Largest and smallest value of 16 bits.
fn range(bits: u8) -> (f64, f64) {
    let one = f64::from(bits).exp2();
    (f64::from(i16::MIN) / one, f64::from(i16::MAX) / one)
}

fn saturated(x: &Tensor, bits: u8) -> Result<Tensor> {
    let (least, most) = range(bits);
    Ok(x.f_clamp(least, most)?)
}

/// Rounded half up to `bits` fractional bits, saturating.
fn to_grid(x: &Tensor, bits: u8) -> Result<Tensor> {
    let one = f64::from(bits).exp2();
    let mut saturated = saturated(x, bits)?;
    if saturated.requires_grad() {
        return through(&saturated, |x| Ok(x.f_mul_scalar(one)?.f_add_scalar(0.5)?.f_floor()?.f_div_scalar(one)?));
    }
    // Nothing else holds it.
    let _ = saturated.f_mul_scalar_(one)?.f_add_scalar_(0.5)?.f_floor_()?.f_div_scalar_(one)?;
    Ok(saturated)
}
