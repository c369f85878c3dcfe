//! What finds the flow that the `paper` profile codes.

use crate::Result;
use crate::device::DeviceSpec;
use crate::flow::{DisFlow, FlowEstimator};
use crate::model::Model;

/// The estimator that a model brings with it, on a device, else `dis`.
///
/// # Errors
/// [`Error::ModelMismatch`](crate::Error::ModelMismatch) if the model lacks its weights, [`Error::Device`](crate::Error::Device).
#[cfg(feature = "torch")]
pub fn open(model: &Model, device: &DeviceSpec, threads: usize, dis: DisFlow) -> Result<Box<dyn FlowEstimator>> {
    use crate::architecture::Estimator;
    use crate::nn::uflow::UFlowEstimator;

    if model.config.estimator() != Some(Estimator::UFlow) {
        return Ok(Box::new(dis));
    }
    let device = crate::nn::device::open(device)?;
    let network = tch::no_grad(|| crate::model::load_uflow(model, device))?;
    Ok(Box::new(OnThreads { estimator: UFlowEstimator::new(network, device), threads }))
}

/// As above, without libtorch: then there is no model of the `paper` profile to open.
#[cfg(not(feature = "torch"))]
pub fn open(_: &Model, _: &DeviceSpec, _: usize, dis: DisFlow) -> Result<Box<dyn FlowEstimator>> {
    Ok(Box::new(dis))
}

/// An estimator that runs on the stream's threads.
#[cfg(feature = "torch")]
struct OnThreads<T> {
    estimator: T,
    threads: usize,
}

#[cfg(feature = "torch")]
impl<T: FlowEstimator> FlowEstimator for OnThreads<T> {
    fn estimate(
        &mut self,
        current: &crate::frame::Plane,
        previous: &crate::frame::Plane,
        lambda: f64,
    ) -> Result<crate::flow::FlowField> {
        crate::nn::device::use_threads(self.threads);
        self.estimator.estimate(current, previous, lambda)
    }
}
