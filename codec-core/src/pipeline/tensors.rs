//! Between NHWC buffers of the kernels and channels-last tensors of the networks.

use tch::{Device, Kind, Tensor};

use crate::Result;
use crate::entropy::{ACTIVATION_FRACTION_BITS, LatentGrid};
use crate::frame::Frame;
use crate::kernels::pack::{PackTarget, pack_frame};
use crate::kernels::{PACKED_CHANNELS, Prediction};
use crate::nn::ops::Planes;

/// NHWC `[rows][cols][channels]` as a channels-last tensor `[1, channels, rows, cols]`.
pub fn from_nhwc(data: &[f32], rows: usize, cols: usize, channels: usize, device: Device) -> Result<Tensor> {
    let tensor = Tensor::f_from_slice(data)?.f_view([1, rows as i64, cols as i64, channels as i64])?;
    Ok(tensor.f_to_device(device)?.f_permute([0, 3, 1, 2])?)
}

/// A frame of the coded size, packed, as a tensor `[1, 96, H/8, W/8]`. `buffer` holds it on the way.
pub fn packed_tensor(frame: &Frame, buffer: &mut Vec<f32>, device: Device) -> Result<Tensor> {
    let (rows, cols) = (frame.height() / 8, frame.width() / 8);
    buffer.resize(rows * cols * PACKED_CHANNELS, 0.0);
    pack_frame(frame, (0, 0), PackTarget { data: buffer, channels: PACKED_CHANNELS, offset: 0 }, 1)?;
    from_nhwc(buffer, rows, cols, PACKED_CHANNELS, device)
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

/// An 8-bit frame as planes of floats.
pub fn from_frame(frame: &Frame, device: Device) -> Result<Planes> {
    let (rows, cols) = (frame.height() as i64, frame.width() as i64);
    let plane = |index: usize, rows: i64, cols: i64| -> Result<Tensor> {
        let bytes = Tensor::f_from_slice(&frame.plane(index).data)?.f_view([1, 1, rows, cols])?.f_to_device(device)?;
        Ok(bytes.f_to_kind(Kind::Float)?.f_div_scalar(255.0)?.f_sub_scalar(0.5)?)
    };
    let uv = Tensor::f_cat(&[plane(1, rows / 2, cols / 2)?, plane(2, rows / 2, cols / 2)?], 1)?;
    Ok(Planes { y: plane(0, rows, cols)?, uv })
}

/// Planes of a prediction on the host.
pub fn to_prediction(planes: &Planes, out: &mut Prediction) -> Result<()> {
    let copy = |tensor: &Tensor, target: &mut Vec<f32>| to_nhwc(&tensor.f_view([1, 1, 1, -1])?, target);
    copy(&planes.y.f_contiguous()?, &mut out.y)?;
    copy(&planes.uv.f_select(1, 0)?.f_contiguous()?, &mut out.u)?;
    copy(&planes.uv.f_select(1, 1)?.f_contiguous()?, &mut out.v)
}
