//! Between NHWC buffers of the kernels and channels-last tensors of the networks.

use tch::{Device, Kind, Tensor};

use crate::Result;
use crate::entropy::{ACTIVATION_FRACTION_BITS, LatentGrid};

/// NHWC `[rows][cols][channels]` as a channels-last tensor `[1, channels, rows, cols]`.
pub fn from_nhwc(data: &[f32], rows: usize, cols: usize, channels: usize, device: Device) -> Result<Tensor> {
    let tensor = Tensor::f_from_slice(data)?.f_view([1, rows as i64, cols as i64, channels as i64])?;
    Ok(tensor.f_to_device(device)?.f_permute([0, 3, 1, 2])?)
}

/// A tensor `[1, channels, rows, cols]` as NHWC.
pub fn to_nhwc(tensor: &Tensor, out: &mut Vec<f32>) -> Result<()> {
    let host = tensor.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?;
    let count = host.numel();
    out.resize(count, 0.0);
    host.f_view([-1])?.f_copy_data(out, count)?;
    Ok(())
}

/// A decoded latent in quantiser steps.
pub fn from_latent(latent: &LatentGrid, device: Device) -> Result<Tensor> {
    let step = 1.0 / (1u32 << ACTIVATION_FRACTION_BITS) as f32;
    let values: Vec<f32> = latent.data.iter().map(|&v| v as f32 * step).collect();
    from_nhwc(&values, latent.rows, latent.cols, latent.channels, device)
}
