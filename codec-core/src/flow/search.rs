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
}

impl MotionSearch {
    /// Searches down to half of the resolution, then refines in three steps. `luma`: the kernel that the model interpolates
    /// luma with.
    pub fn medium(luma: Cubic) -> Self {
        Self { dis: DisFlow::medium(), refiner: Refiner::new(3, luma) }
    }

    /// Searches down to a quarter of the resolution, then refines in one step: less than half the time of [`Self::medium`].
    pub fn fast(luma: Cubic) -> Self {
        Self { dis: DisFlow::fast(), refiner: Refiner::new(1, luma) }
    }
}

impl FlowEstimator for MotionSearch {
    fn estimate(&mut self, current: &Plane, previous: &Plane, lambda: f64) -> Result<FlowField> {
        let mut field = self.dis.estimate(current, previous, lambda)?;
        self.refiner.refine(&mut field, current, previous, lambda);
        Ok(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::testing::{Texture, endpoint_error};

    #[test]
    fn refinement_comes_closer_than_patches_alone() {
        let texture = Texture::new();
        let truth = |x: f32, y: f32| ((x - 128.0) * 0.04 + 3.0, (y - 96.0) * 0.04);
        let previous = texture.plane(256, 192, |x, y| (x, y));
        let current = texture.plane(256, 192, |x, y| (x + truth(x, y).0, y + truth(x, y).1));
        let error = |estimator: &mut dyn FlowEstimator| {
            endpoint_error(&estimator.estimate(&current, &previous, f64::INFINITY).unwrap(), 24.0, truth)
        };
        let (patches, refined) = (error(&mut DisFlow::fast()), error(&mut MotionSearch::fast(Cubic::Sharp)));
        assert!(refined < 0.8 * patches, "{patches} {refined}");
        let medium = error(&mut MotionSearch::medium(Cubic::Sharp));
        assert!(medium < 0.7 * refined, "{refined} {medium}");
    }
}
