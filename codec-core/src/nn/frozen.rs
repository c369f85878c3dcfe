//! Layers of the integer engine whose parameters no longer change: their integers are made once, and nothing keeps a gradient.

use tch::{Device, Tensor};

use super::fixed::Site;
use crate::Result;

/// A layer's integers where it is computed.
#[derive(Debug)]
pub struct Frozen {
    /// Scaled so that what the convolution gives is the output in steps of its grid, before rounding.
    weight: Tensor,
    /// With the half that makes rounding of what is cut off.
    bias: Tensor,
    /// From steps of the output's grid to values.
    step: f64,
}

impl Frozen {
    /// Of a layer with these parameters; `None` for one in plain floats. The integers are made on the CPU: another logarithm could be
    /// rounded to another shift.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn new(site: &Site, weight: &Tensor, bias: &Tensor) -> Result<Option<Self>> {
        let device = weight.device();
        let host = |parameter: &Tensor| parameter.f_to_device(Device::Cpu);
        let Some([from, to]) = site.fractions() else { return Ok(None) };
        let Some(integers) = site.quantise(&host(weight)?, &host(bias)?)? else { return Ok(None) };
        let power = |exponent: u8| f64::from(exponent).exp2();
        let scale = integers.shift.f_neg()?.f_exp2()?;
        let mut shape = vec![1; weight.dim()];
        shape[0] = weight.size()[0];
        let of_outputs = scale.f_view(&shape[..])?.f_mul_scalar(power(from))?;
        Ok(Some(Self {
            weight: integers.weight.f_mul(&of_outputs)?.f_to_device(device)?,
            bias: integers.bias.f_mul(&scale)?.f_add_scalar(0.5)?.f_to_device(device)?,
            step: site.unit() / power(to),
        }))
    }

    /// What the layer writes. `convolve` takes input, weight and bias.
    ///
    /// # Errors
    /// Those of `convolve` and of libtorch.
    pub fn forward(&self, x: &Tensor, convolve: impl FnOnce(&Tensor, &Tensor, &Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let mut y = convolve(x, &self.weight, &self.bias)?;
        let _ = y.f_floor_()?.f_clamp_(f64::from(i16::MIN), f64::from(i16::MAX))?.f_mul_scalar_(self.step)?;
        Ok(y)
    }
}
