//! Loss of one training step of each stage.

mod coding;
mod detail;
mod examples;
mod inter;
mod intra;
mod postfilter;

use codec_core::nn::Networks;
use codec_core::nn::ops::Planes;
use tch::{Device, Tensor};

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

/// What a step reports: name and value.
pub type Metrics = Vec<(&'static str, f64)>;

/// The loss to differentiate and what to log. `rates` holds each example's (quality, bits per pixel).
pub struct StepResult {
    pub loss: Tensor,
    pub metrics: Metrics,
    pub rates: Vec<(u8, f64)>,
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
