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
use codec_core::training::nn::transfer::download;
use tch::{Device, Kind, Tensor};

pub use detail::detail_step;
pub use inter::{InterLosses, inter_step};
pub use intra::intra_step;
pub use postfilter::{PostfilterLosses, postfilter_step};

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
        let values = download::<f32>(&self.bpp)?;
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
    use codec_core::training::nn::ParamStore;
    use codec_core::training::nn::transfer::counted;
    use codec_core::training::nn::uflow::UFlow;
    use tch::Device;

    use super::{InterLosses, PostfilterLosses};
    use crate::train::fixtures::{clip, inter, setup, setup_of, small_paper};
    use crate::train::flow_step::flow_step;
    use crate::train::schedule::Unroll;
    use crate::train::{GanLosses, Stage};

    /// How often a step of the `rt` profile with discriminators, and the gradient of its loss, wait for the device.
    fn waits(stage: &Stage, number: u64) -> u32 {
        let losses = GanLosses { adversarial: 0.1, feature_matching: 0.1, statistics: 1.0, width: 8, ..GanLosses::default() };
        let setup = setup(stage, &losses);
        counted(|| setup.step_number(stage, number).loss.backward()).1.downloads
    }

    #[test]
    fn nothing_in_a_step_waits_for_the_device_but_motion_search_and_detail_maps() {
        assert_eq!(waits(&Stage::Intra, 0), 0);
        // Once for each of two P-frames.
        assert_eq!(waits(&inter(InterLosses::default()), 0), 2);
        let detail = Stage::Detail { unroll: Unroll::parse("3:1").unwrap(), shift: 0.5, lead_in: 1 };
        assert_eq!(waits(&detail, 0), 3);
        // Two P-frames and a map for each of three frames, where there are maps; or a map for an I-frame.
        let postfilter = Stage::Postfilter { lead_in: 1, losses: PostfilterLosses::default() };
        assert_eq!([0, 7, 5].map(|number| waits(&postfilter, number)), [5, 2, 1]);
        let paper = inter(InterLosses::default());
        let setup = setup_of(small_paper(), &paper, &GanLosses::default());
        assert_eq!(counted(|| setup.step(&paper).loss.backward()).1.downloads, 2);
        let flow = {
            let _generator = crate::testing::seeded(20);
            UFlow::init(&mut ParamStore::new(), Device::Cpu).unwrap()
        };
        assert_eq!(counted(|| flow_step(&flow, &clip(2)).unwrap().loss.backward()).1.downloads, 0);
    }
}
