//! Which parts of a P-frame do without a residual.

use super::Encoder;
use crate::Result;
use crate::model::Model;
use crate::pipeline::reconstruct::{Slot, UNSHIFTED};
use crate::pipeline::rest::{Choice, Residual};
use crate::quality::{FrameQuality, RestMap};

impl Encoder {
    /// The areas of the current frame that are to do without a residual.
    pub(super) fn find_rest(
        &mut self,
        model: &Model,
        slot: Slot,
        shift: (i32, i32),
        quality: &FrameQuality,
    ) -> Result<Option<RestMap>> {
        let Some(networks) = &model.rt else { return Ok(None) };
        let (frame, areas, threads) = (&self.current, &mut self.areas, self.threads);
        let (prediction, times) = self.reconstructor.prediction_and_times(slot);
        let parts = (&networks.residual, &model.residual_entropy);
        let cells = quality.cells(shift);
        times.measure("search for rest", || areas.find(Residual { frame, prediction, shift }, parts, cells.grid(), threads))
    }

    /// Whether the frame is to do without its residual, which takes so many bits.
    pub(super) fn rests(&mut self, slot: Slot, bits: f64) -> bool {
        let quality = self.reconstructor.reconstruction(slot).0.quality.cells(UNSHIFTED);
        let choice = Choice {
            original: &self.current,
            prediction: self.reconstructor.prediction(slot),
            coded: self.reconstructor.frame(slot),
            display: self.sequence.video.display_size(),
            quality: quality.grid(),
        };
        choice.rests(bits)
    }
}
