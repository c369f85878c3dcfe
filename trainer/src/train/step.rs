//! Loss of one training step of each stage.

mod coding;
mod detail;
mod examples;
mod inter;
mod intra;
mod postfilter;

use anyhow::Result;
use codec_core::nn::Networks;
use codec_core::nn::ops::Planes;
use tch::{Device, Kind, Tensor};

pub use detail::detail_step;
pub use inter::{InterLosses, inter_step};
pub use intra::intra_step;
pub use postfilter::{PATTERN_WEIGHT, postfilter_step};

use super::gan::Adversary;
use super::loss::Fidelity;
use super::motion::MotionFinder;

/// A batch on the device: planes of each frame.
pub struct Clip {
    pub frames: Vec<Planes>,
}

/// What a step reports: name and value, a scalar on the device. Nothing in a step waits for the device, so nothing reads it.
pub type Metrics = Vec<(&'static str, Tensor)>;

/// The loss to differentiate and what to log.
pub struct StepResult {
    pub loss: Tensor,
    pub metrics: Metrics,
    pub rates: Rates,
}

/// Quality and bits per pixel of each example.
pub struct Rates {
    pub qualities: Vec<u8>,
    /// `[N]`, on the device.
    pub bpp: Tensor,
}

impl Rates {
    /// Of a stage without a rate.
    pub fn none(device: Device) -> Self {
        Self { qualities: Vec::new(), bpp: Tensor::zeros([0], (Kind::Float, device)) }
    }

    /// Waits for the device.
    pub fn read(&self) -> Result<Vec<(u8, f64)>> {
        let values = Vec::<f32>::try_from(&self.bpp.f_to_device(Device::Cpu)?)?;
        Ok(self.qualities.iter().copied().zip(values.into_iter().map(f64::from)).collect())
    }
}

/// Everything a step needs beside its batch.
pub struct StepContext<'a> {
    pub networks: &'a Networks,
    pub adversary: Option<&'a Adversary>,
    pub motion: &'a MotionFinder,
    pub fidelity: Fidelity,
    /// Share of the stage that is done.
    pub fraction: f64,
    /// Factor on the rate of each quality index, from the rate controller.
    pub rate_multiplier: &'a [f64; 64],
    pub device: Device,
}
