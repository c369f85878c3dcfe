//! Loss of one training step of each stage.

mod coding;
mod detail;
mod examples;
mod inter;
mod intra;
mod postfilter;

use anyhow::Result;
use codec_core::training::nn::Networks;
use codec_core::training::nn::ops::Planes;
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

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_in_a_step_waits_for_the_device() {
        // What reads a tensor on the host or copies it there or, without pinned memory, from there.
        const WAITS: [&str; 9] = [
            "double_value",
            "int64_value",
            "try_from(",
            "copy_data",
            "to_device(",
            "download(",
            ".print(",
            "is_nonzero",
            "nonzero(",
        ];
        let sources = [
            ("coding", include_str!("step/coding.rs")),
            ("detail", include_str!("step/detail.rs")),
            ("examples", include_str!("step/examples.rs")),
            ("inter", include_str!("step/inter.rs")),
            ("intra", include_str!("step/intra.rs")),
            ("postfilter", include_str!("step/postfilter.rs")),
            ("gan", include_str!("gan/mod.rs")),
            ("discriminator", include_str!("gan/discriminator.rs")),
            ("statistics", include_str!("gan/statistics.rs")),
            ("flow_step", include_str!("flow_step.rs")),
            ("worker", include_str!("worker.rs")),
            ("optimiser", include_str!("optimiser.rs")),
        ];
        for (name, source) in sources {
            let code = source.split("#[cfg(test)]").next().unwrap_or_default();
            for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
                let wait = WAITS.iter().find(|word| line.contains(**word));
                assert!(wait.is_none(), "{name}, line {}: {}", number + 1, line.trim());
            }
        }
        // The one copy to the host in a step: the motion search's.
        let search = include_str!("motion.rs").split("#[cfg(test)]").next().unwrap_or_default();
        assert_eq!(search.matches("download(").count(), 1);
    }
}
