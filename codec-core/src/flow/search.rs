//! The encoder's motion search.

use super::{DisFlow, FlowEstimator, FlowField, Refiner};
use crate::Result;
use crate::frame::Plane;
use crate::kernels::Cubic;

/// Dense inverse search, then refinement for the warp of the `rt` profile.
#[derive(Debug)]
pub struct MotionSearch {
    dis: DisFlow,
    refiner: Refiner,
    threads: usize,
}

impl MotionSearch {
    /// Searches down to half of the resolution, then refines in three steps, on up to so many threads, which change nothing
    /// in the result. `luma`: the kernel that the model interpolates luma with.
    pub fn medium(luma: Cubic, threads: usize) -> Self {
        Self { dis: DisFlow::medium(), refiner: Refiner::new(3, luma), threads }
    }

    /// Searches down to a quarter of the resolution, then refines in one step: about a third of the time of [`Self::medium`].
    pub fn fast(luma: Cubic, threads: usize) -> Self {
        Self { dis: DisFlow::fast(), refiner: Refiner::new(1, luma), threads }
    }
}

impl FlowEstimator for MotionSearch {
    fn estimate(&mut self, current: &Plane, previous: &Plane, lambda: f64) -> Result<FlowField> {
        let mut field = self.dis.estimate(current, previous, lambda)?;
        self.refiner.refine(&mut field, current, previous, lambda, self.threads);
        Ok(field)
    }
}
