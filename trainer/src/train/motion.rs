//! The flow that the flow codec learns to pass on: from each frame to its reference, as the encoder estimates it.

use std::cell::RefCell;
use std::path::PathBuf;

use anyhow::{Context, Result};
use codec_core::flow::{FlowEstimator, MotionSearch};
use codec_core::frame::Plane;
use codec_core::kernels::Cubic;
use codec_core::nn::ops::Planes;
use codec_core::nn::uflow::{UFlow, UFlowEstimator};
use codec_core::quality::lambda;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::checkpoint::Checkpoint;

/// Where the flow comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowSource {
    /// Dense inverse search and refinement: the encoder's own.
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
    /// `luma`: the kernel that the model interpolates luma with.
    ///
    /// # Errors
    /// Naming the checkpoint if it holds no flow network.
    pub fn open(&self, device: Device, luma: Cubic) -> Result<Motion> {
        let estimator: Box<dyn FlowEstimator> = match self {
            Self::Dis => Box::new(MotionSearch::medium(luma)),
            Self::UFlow(path) => {
                let mut params = Checkpoint::load(path)?.averaged_params();
                let network = UFlow::load(&mut params, device).with_context(|| path.display().to_string())?;
                Box::new(UFlowEstimator::new(network, device))
            }
        };
        Ok(Motion { estimator: RefCell::new(estimator), device })
    }
}

/// A flow estimator for batches.
pub struct Motion {
    estimator: RefCell<Box<dyn FlowEstimator>>,
    device: Device,
}

impl Motion {
    /// Flow `[N, 2, H/4, W/4]` from each frame to its reference in pixels, for examples of these quality indices; without
    /// gradient. The estimator sees 8 bits, as in the encoder.
    pub fn estimate(&self, frame: &Planes, reference: &Planes, qualities: &[u8]) -> Result<Tensor> {
        let (n, _, h, w) = frame.y.size4()?;
        let (h, w) = (h as usize, w as usize);
        let (current, previous) = (samples(&frame.y)?, samples(&reference.y)?);
        let plane = |data: &[u8], example: usize| Plane::from_vec(data[example * h * w..][..h * w].to_vec(), w, h);
        let mut estimator = self.estimator.borrow_mut();
        let mut values = Vec::with_capacity(n as usize * h * w / 8);
        for (example, &quality) in qualities.iter().enumerate() {
            let lambda = lambda(f64::from(quality));
            let field = estimator.estimate(&plane(&current, example)?, &plane(&previous, example)?, lambda)?;
            values.extend_from_slice(&field.data);
        }
        let field = Tensor::f_from_slice(&values)?.f_view([n, h as i64 / 4, w as i64 / 4, 2])?;
        Ok(field.f_permute([0, 3, 1, 2])?.f_contiguous()?.f_to_device(self.device)?)
    }
}

/// A plane of the range -0.5..=0.5 as 8-bit samples.
fn samples(plane: &Tensor) -> Result<Vec<u8>> {
    let scaled = plane.f_detach()?.f_clamp(-0.5, 0.5)?.f_add_scalar(0.5)?.f_mul_scalar(255.0)?.f_round()?;
    Ok(Vec::try_from(scaled.f_to_device(Device::Cpu)?.f_to_kind(Kind::Uint8)?.f_contiguous()?.f_view([-1])?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flow_points_from_each_frame_to_its_reference() {
        let _generator = crate::testing::seeded(5);
        let options = (Kind::Float, Device::Cpu);
        let texture = (Tensor::rand([2, 1, 128, 128], options) - 0.5).avg_pool2d([7, 7], [1, 1], [3, 3], false, true, None) * 3.0;
        let still = Planes { y: texture, uv: Tensor::zeros([2, 2, 64, 64], options) };
        let moved = still.rolled(0, 4).unwrap();
        let flow = FlowSource::Dis.open(Device::Cpu, Cubic::Sharp).unwrap().estimate(&moved, &still, &[20, 40]).unwrap();
        assert_eq!(flow.size(), [2, 2, 32, 32]);
        let inner = flow.narrow(2, 8, 16).narrow(3, 8, 16);
        let mean = |part| inner.narrow(1, part, 1).mean(Kind::Float).double_value(&[]);
        assert!((mean(0) + 4.0).abs() < 0.2 && mean(1).abs() < 0.2, "{} {}", mean(0), mean(1));
    }
}
