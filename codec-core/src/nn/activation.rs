//! The activation of the transforms.

use tch::Tensor;

use super::transfer::remembered;
use crate::Result;

/// LeakyReLU with any slope.
///
/// The binding of `leaky_relu` fixes the slope at 0.01. That of PReLU takes it as a tensor, and its gradient is one kernel.
pub fn leaky(x: &Tensor, slope: f64) -> Result<Tensor> {
    let key = vec![slope.to_bits() as i64, x.kind() as i64];
    let slope = remembered("slope", key, x.device(), || Ok(Tensor::f_full([1], slope, (x.kind(), x.device()))?))?;
    Ok(x.f_internal_prelu_kernel(&slope)?)
}

/// Slope of the transforms' activation below zero: a multiplication and a shift in integers.
pub(super) const SLOPE: f64 = 13.0 / 128.0;

/// The activation of all transforms: LeakyReLU(13/128).
pub fn act(x: &Tensor) -> Result<Tensor> {
    leaky(x, SLOPE)
}
