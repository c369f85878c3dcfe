//! Batches on the device, with the flow that the encoder's estimator would give.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use codec_core::flow::{DisFlow, FlowEstimator};
use codec_core::frame::Plane;
use codec_core::nn::ops::Planes;
use codec_core::nn::uflow::{UFlow, UFlowEstimator};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::checkpoint::Checkpoint;
use super::step::Clip;
use crate::data::{ClipBatch, Sampler};

/// Where a worker's batches come from.
pub struct BatchSource {
    sampler: Arc<Sampler>,
    estimator: Box<dyn FlowEstimator>,
    batch: usize,
    crop: usize,
}

impl BatchSource {
    pub fn new(sampler: Arc<Sampler>, estimator: Box<dyn FlowEstimator>, batch: usize, crop: usize) -> Self {
        Self { sampler, estimator, batch, crop }
    }

    /// The batch of (step, worker): always the same one.
    pub fn clip(&mut self, step: u64, worker: usize, frames: usize, device: Device) -> Result<Clip> {
        let batch = self.sampler.sample((step, worker as u32), self.batch, frames, self.crop)?;
        clip_on_device(&batch, self.estimator.as_mut(), device)
    }
}

/// Where the flow comes from that the flow codec learns to pass on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowSource {
    /// Dense inverse search, the encoder's own.
    #[default]
    Dis,
    /// A checkpoint of the stage `flow`.
    UFlow(PathBuf),
}

impl std::str::FromStr for FlowSource {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "dis" { Self::Dis } else { Self::UFlow(text.into()) })
    }
}

impl FlowSource {
    /// # Errors
    /// Naming the checkpoint if it holds no flow network.
    pub fn open(&self, device: Device) -> Result<Box<dyn FlowEstimator>> {
        Ok(match self {
            Self::Dis => Box::new(DisFlow::default()),
            Self::UFlow(path) => {
                let mut params = Checkpoint::load(path)?.averaged_params();
                let network = UFlow::load(&mut params, device).with_context(|| path.display().to_string())?;
                Box::new(UFlowEstimator::new(network, device))
            }
        })
    }
}

/// Converts a batch to tensors and estimates the flow of each frame towards the one before.
pub fn clip_on_device(batch: &ClipBatch, estimator: &mut dyn FlowEstimator, device: Device) -> Result<Clip> {
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
    let luma = |example: usize, frame: usize| {
        let start = (example * t + frame) * s * s;
        Plane::from_vec(batch.y[start..start + s * s].to_vec(), s, s)
    };
    let quarter = s / 4;
    let flows = (1..t)
        .map(|frame| {
            let mut values = Vec::with_capacity(n * quarter * quarter * 2);
            for example in 0..n {
                let field = estimator.estimate(&luma(example, frame)?, &luma(example, frame - 1)?)?;
                values.extend_from_slice(&field.data);
            }
            let field = Tensor::f_from_slice(&values)?.f_view([n64, quarter as i64, quarter as i64, 2])?;
            Ok(field.f_permute([0, 3, 1, 2])?.f_contiguous()?.f_to_device(device)?)
        })
        .collect::<Result<_>>()?;
    Ok(Clip { frames, flows })
}
