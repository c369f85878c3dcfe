//! Layers of the integer engine whose parameters no longer change: their integers are made once, and nothing keeps a gradient.

use tch::{Device, Kind, Tensor};

use super::fixed::Site;
use super::transfer::place;
use crate::Result;

/// A layer's integers where it is computed.
#[derive(Debug)]
pub struct Frozen {
    arithmetic: Arithmetic,
    /// From steps of the output's grid to values.
    step: f64,
}

#[derive(Debug)]
enum Arithmetic {
    /// 64-bit floats. Weight and bias are scaled so that a sum is the output in steps of its grid, and rounding it down rounds the output.
    Wide { weight: Tensor, bias: Tensor },
    /// The two bytes of each input in 32-bit floats, by the integer weights; the sums are joined in 32-bit integers.
    ///
    /// This is exact in whatever order the products are added: weights have 10 bits and a byte has 8, so that even factors of TF32 hold
    /// them, and no sum reaches 2^24, since the magnitudes of an output's weights sum up to less than 2^16
    /// ([`LayerParams::check`](crate::integer::LayerParams::check)). It is not if the convolution is taken apart into other products, as
    /// by Winograd's method or a Fourier transform: see [`Paths::DIRECT`](super::paths::Paths::DIRECT).
    Bytes {
        weight: Tensor,
        /// Zeros.
        none: Tensor,
        /// 32-bit integers, with the half that makes rounding of a shift.
        bias: Tensor,
        /// 32-bit integers.
        shift: Tensor,
        /// From values to steps of the input's grid.
        one: f64,
    },
}

impl Frozen {
    /// Of a layer with these parameters, `in_bytes` or in 64-bit floats; `None` for one in plain floats. The integers are made on the CPU:
    /// another logarithm could be rounded to another shift.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn new(site: &Site, weight: &Tensor, bias: &Tensor, in_bytes: bool) -> Result<Option<Self>> {
        let device = weight.device();
        let host = |parameter: &Tensor| place(parameter, Device::Cpu);
        let Some([from, to]) = site.fractions() else { return Ok(None) };
        let Some(integers) = site.quantise(&host(weight)?, &host(bias)?)? else { return Ok(None) };
        let power = |exponent: u8| f64::from(exponent).exp2();
        let arithmetic = if in_bytes {
            let there = |x: &Tensor, kind: Kind| place(&x.f_to_kind(kind)?, device);
            // Nothing is added where nothing is shifted.
            let half = integers.shift.f_sub_scalar(1.0)?.f_exp2()?.f_floor()?;
            let of_outputs = |x: &Tensor| -> Result<Tensor> { Ok(there(x, Kind::Int)?.f_view([1, -1, 1, 1])?) };
            Arithmetic::Bytes {
                weight: there(&integers.weight, Kind::Float)?,
                none: Tensor::f_zeros(bias.size(), (Kind::Float, device))?,
                bias: of_outputs(&integers.bias.f_add(&half)?)?,
                shift: of_outputs(&integers.shift)?,
                one: power(from),
            }
        } else {
            let scale = integers.shift.f_neg()?.f_exp2()?;
            let of_outputs = scale.f_view([-1, 1, 1, 1])?.f_mul_scalar(power(from))?;
            Arithmetic::Wide {
                weight: place(&integers.weight.f_mul(&of_outputs)?, device)?,
                bias: place(&integers.bias.f_mul(&scale)?.f_add_scalar(0.5)?, device)?,
            }
        };
        Ok(Some(Self { arithmetic, step: site.unit() / power(to) }))
    }

    /// What the layer writes. `convolve` takes input, weight and bias.
    ///
    /// # Errors
    /// Those of `convolve` and of libtorch.
    pub fn forward(&self, x: &Tensor, convolve: impl FnOnce(&Tensor, &Tensor, &Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let mut y = match &self.arithmetic {
            Arithmetic::Wide { weight, bias } => convolve(x, weight, bias)?.f_floor_()?,
            Arithmetic::Bytes { weight, none, bias, shift, one } => {
                let x = x.f_to_kind(Kind::Float)?.f_mul_scalar(*one)?;
                let high = x.f_mul_scalar(1.0 / 256.0)?.f_floor_()?;
                let low = x.f_sub(&high.f_mul_scalar(256.0)?)?;
                let sums = convolve(&Tensor::f_cat(&[high, low], 0)?, weight, none)?.f_to_kind(Kind::Int)?;
                let [mut sum, low] = <[Tensor; 2]>::try_from(sums.f_chunk(2, 0)?).expect("two of a batch of twice the frames");
                sum.f_mul_scalar_(256)?.f_add_(&low)?.f_add_(bias)?.f_bitwise_right_shift_(shift)?.f_to_kind(Kind::Float)?
            }
        };
        Ok(y.f_clamp_(f64::from(i16::MIN), f64::from(i16::MAX))?.f_mul_scalar_(self.step)?)
    }
}
