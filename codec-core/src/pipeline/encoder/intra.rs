//! I-frames.

use std::sync::Arc;

use super::Encoder;
use crate::Result;
use crate::bitstream::{FrameHeader, FrameType, QUALITY_MAX};
use crate::loopfilter::FilterCoder;
use crate::pipeline::engine::Part;
use crate::pipeline::reconstruct::{Slot, UNSHIFTED};
use crate::pipeline::rest::RestCoder;
use crate::pipeline::symbols::{Bound, Coded, LatentJob};
use crate::quality::{FrameQuality, QualityMap};

impl Encoder {
    /// Codes the current frame by itself, with the wanted quality map as far as `bound` allows.
    pub(super) fn encode_intra(&mut self, quality: u8, map: Option<QualityMap>, bound: Option<Bound>) -> Result<FrameHeader> {
        let coded_map = self.maps.code(map, quality, bound, &mut self.symbols.writer);
        let mut quality = FrameQuality { index: quality, map: coded_map, rest: None };
        let mut coded = self.code_intra_latent(&quality, bound)?;
        let has_better_places = quality.map.as_ref().is_some_and(|map| map.values().iter().any(|&value| value < 0));
        if coded.is_silence && has_better_places {
            // They may ask for more than the worst index can make up for. A picture without them beats a grey one.
            self.symbols.writer.clear();
            self.maps.reset(self.sequence.video.display_size());
            quality.map = self.maps.code(quality.map, QUALITY_MAX, bound, &mut self.symbols.writer);
            coded = self.code_intra_latent(&quality, bound)?;
        }
        self.reconstructor.intra(&coded.latent, FrameQuality { index: coded.quality, ..quality })?;
        let display = self.sequence.video.display_size();
        self.motion.reset(display);
        let mut filter = FilterCoder::new(display);
        self.code_filter(Slot::Last, coded.quality, &mut filter);
        self.filter_coder = filter;
        self.rest = RestCoder::new();
        self.code_detail(bound)?;
        Ok(FrameHeader::new(FrameType::I, coded.quality, self.frame_number))
    }

    fn code_intra_latent(&mut self, quality: &FrameQuality, bound: Option<Bound>) -> Result<Coded> {
        let model = Arc::clone(&self.model);
        self.reconstructor.analyse_intra(&self.current, quality)?;
        let job = LatentJob {
            part: Part::Intra,
            entropy: &model.intra_entropy,
            prior: None,
            map: quality.map.as_ref(),
            rest: None,
            shift: UNSHIFTED,
        };
        self.symbols.code(job, quality.index, bound, &mut self.reconstructor)
    }
}
