//! Batches on the device.

use std::sync::Arc;

use anyhow::Result;
use codec_core::nn::ops::Planes;
use tch::{Device, Kind, Tensor};

use super::step::Clip;
use crate::data::{ClipBatch, Sampler};

/// Where a worker's batches come from.
pub struct BatchSource {
    sampler: Arc<Sampler>,
    batch: usize,
    crop: usize,
}

impl BatchSource {
    pub fn new(sampler: Arc<Sampler>, batch: usize, crop: usize) -> Self {
        Self { sampler, batch, crop }
    }

    /// The batch of (step, worker): always the same one.
    pub fn clip(&self, step: u64, worker: usize, frames: usize, device: Device) -> Result<Clip> {
        let batch = self.sampler.sample((step, worker as u32), self.batch, frames, self.crop)?;
        clip_on_device(&batch, device)
    }
}

/// Converts a batch to tensors.
pub fn clip_on_device(batch: &ClipBatch, device: Device) -> Result<Clip> {
    let (n, t, s) = (batch.batch, batch.frames, batch.crop);
    let to_float = |data: &[u8], shape: &[i64]| -> Result<Tensor> {
        let bytes = Tensor::f_from_slice(data)?.f_view(shape)?.f_to_device(device)?;
        Ok(bytes.f_to_kind(Kind::Float)?.f_div_scalar(255.0)?.f_sub_scalar(0.5)?)
    };
    let (n64, t64, s64) = (n as i64, t as i64, s as i64);
    let y = to_float(&batch.y, &[n64, t64, 1, s64, s64])?;
    let uv = to_float(&batch.uv, &[n64, t64, 2, s64 / 2, s64 / 2])?;
    let frames = (0..t64)
        .map(|i| Ok(Planes { y: y.f_select(1, i)?.f_contiguous()?, uv: uv.f_select(1, i)?.f_contiguous()? }))
        .collect::<Result<_>>()?;
    Ok(Clip { frames })
}
