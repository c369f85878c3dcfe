//! The flow of the `paper` profile.

use super::Encoder;
use crate::Result;
use crate::entropy::EntropyModel;
use crate::flow::FlowField;
use crate::pipeline::engine::Part;
use crate::pipeline::reconstruct::{Slot, UNSHIFTED};
use crate::pipeline::symbols::{Bound, Coded, LatentJob};
use crate::quality::lambda;

/// A flow may take this share of what a P-frame may have at most.
const FLOW_SHARE: f64 = 0.6;

impl Encoder {
    /// Estimates and codes the flow, and predicts with it. Gives back the quality that it took.
    pub(super) fn code_flow(&mut self, entropy: &EntropyModel, quality: u8, bound: Option<Bound>) -> Result<u8> {
        let flow = self.estimate_flow(quality)?;
        self.reconstructor.analyse_flow(&flow, &self.current, quality)?;
        let prior = self.reconstructor.flow_prior().cloned();
        let job = LatentJob { part: Part::Flow, entropy, prior: prior.as_ref(), map: None, rest: None, shift: UNSHIFTED };
        let bound = bound.map(|bound| bound.part(FLOW_SHARE));
        let Coded { latent, quality, .. } = self.symbols.code(job, quality, bound, &mut self.reconstructor)?;
        self.reconstructor.predict_flow(latent, quality)?;
        Ok(quality)
    }

    /// Flow from the current frame to the last reconstruction.
    fn estimate_flow(&mut self, quality: u8) -> Result<FlowField> {
        let (current, estimator, video) = (self.current.plane(0), &mut self.estimator, &self.sequence.video);
        let (last, times) = self.reconstructor.reconstruction(Slot::Last);
        times.measure("flow estimation", || {
            let mut field = estimator.estimate(current, last.frame.plane(0), lambda(f64::from(quality)))?;
            field.pad_beyond(video.width as usize, video.height as usize);
            Ok(field)
        })
    }
}
