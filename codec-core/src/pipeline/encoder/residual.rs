//! What is coded of a P- or B-frame once it is predicted.

use std::sync::Arc;

use super::Encoder;
use crate::Result;
use crate::frame::pad::copy_padding;
use crate::loopfilter::FilterCoder;
use crate::pipeline::engine::Part;
use crate::pipeline::reconstruct::Slot;
use crate::pipeline::rest::Rest;
use crate::pipeline::symbols::{Bound, Coded, LatentJob};
use crate::quality::{FrameQuality, lambda};

impl Encoder {
    /// Codes what the current frame has beside its prediction, and finishes it. Gives back the quality that it took.
    pub(super) fn code_residual(
        &mut self,
        slot: Slot,
        mut quality: FrameQuality,
        number: u32,
        bound: Option<Bound>,
    ) -> Result<u8> {
        let model = Arc::clone(&self.model);
        let has_blocks = model.flow_entropy.is_none();
        // Nothing is left to code beyond the visible part.
        copy_padding(self.reconstructor.prediction(slot), self.sequence.video.display_size(), &mut self.current);
        let shift = self.sequence.shift_of(number);
        quality.rest = self.find_rest(&model, slot, shift, &quality)?;
        self.reconstructor.analyse_residual(slot, &self.current, shift, &quality)?;
        let prior = self.reconstructor.residual_prior(shift);
        let job = LatentJob {
            part: Part::Residual,
            entropy: &model.residual_entropy,
            prior: prior.as_ref(),
            map: quality.map.as_ref(),
            rest: quality.rest.as_ref(),
            shift,
        };
        let (mark, mut rest, grid) = (self.symbols.writer.mark(), self.rest.clone(), self.reconstructor.grid(16));
        let before = self.symbols.writer.bits();
        if has_blocks {
            rest.encode(&Rest::Areas(quality.rest.clone()), grid, &mut self.symbols.writer);
        }
        let Coded { latent, quality: index, .. } = self.symbols.code(job, quality.index, bound, &mut self.reconstructor)?;
        let prior = if slot == Slot::Last { self.reconstructor.take_prior() } else { None };
        self.reconstructor.residual(slot, latent, FrameQuality { index, ..quality }, shift)?;
        if has_blocks && self.rests(slot, self.symbols.writer.bits() - before) {
            self.symbols.writer.rewind(mark);
            rest.clone_from(&self.rest);
            rest.encode(&Rest::Frame, grid, &mut self.symbols.writer);
            self.reconstructor.rest_after_all(slot, prior);
        }
        let mut filter = self.filter_coder.clone();
        self.code_filter(slot, index, &mut filter);
        // What a B-frame leaves behind is of no use to later frames.
        if slot == Slot::Last {
            (self.rest, self.filter_coder) = (rest, filter);
        }
        Ok(index)
    }

    /// Fits, codes and applies the loop filter.
    pub(super) fn code_filter(&mut self, slot: Slot, quality: u8, coder: &mut FilterCoder) {
        let params = self.reconstructor.fit_filter(slot, &self.current, coder, lambda(f64::from(quality)));
        coder.encode(params.as_ref(), &mut self.symbols.writer);
        self.reconstructor.filter(slot, params.as_ref());
    }
}
