//! Pairs of frames: a P-frame that is shown a frame later, and the B-frame before it, predicted from both sides.

use super::{Encoder, Plan};
use crate::bitstream::{FrameHeader, FrameType, QUALITY_MAX, write_unit};
use crate::frame::FrameView;
use crate::model::Model;
use crate::pipeline::config::{FrameOptions, Packet};
use crate::pipeline::reconstruct::Slot;
use crate::quality::FrameQuality;
use crate::{Result, threads};

/// A B-frame is so many quality indices worse than the P-frame after it: nothing is predicted from it.
const B_QUALITY_OFFSET: u8 = 8;

impl Encoder {
    /// Encodes two frames that follow each other, as a pair where both may be predicted. One packet for each frame, in order of
    /// display; of a pair, the first holds nearly everything, and the second shows what came with the first.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_pair(&mut self, frames: [(&FrameView, FrameOptions); 2]) -> Result<[Packet; 2]> {
        threads::inside(self.threads, || self.encode_pair_here(frames))
    }

    fn encode_pair_here(&mut self, frames: [(&FrameView, FrameOptions); 2]) -> Result<[Packet; 2]> {
        let [(first, first_options), (second, second_options)] = frames;
        if let Some(since) = self.pair_since([&first_options, &second_options]) {
            self.load(second)?;
            self.set_quality(&second_options)?;
            // A scene that begins with either frame shows in the second.
            if let Some(found) = self.search_motion(Some(since)) {
                self.since_keyframe = None;
                self.symbols.writer.clear();
                let Plan { quality, map, bound } = self.plan_frame(Some(&found), Some(since), second_options)?;
                let number = self.frame_number;
                let later = self.encode_inter(found, quality, map, bound, number.wrapping_add(1), true)?;
                self.rate.report(false, later.residual_quality, self.symbols.writer.bits());
                let b_quality = self.encode_between(first, later.residual_quality)?;
                let pair = FrameHeader { frame_type: FrameType::Pair, frame_number: number, b_quality, ..later.clone() };
                let pair = self.finish_unit(pair)?;
                let show = FrameHeader::new(FrameType::Show, later.residual_quality, later.frame_number);
                let show = Packet {
                    data: write_unit(&show, None, &[])?,
                    keyframe: false,
                    frame_number: show.frame_number,
                    quality: show.quality,
                    estimated_bits: 0,
                };
                self.since_keyframe = Some(since + 1);
                self.frame_number = number.wrapping_add(2);
                return Ok([pair, show]);
            }
        }
        Ok([self.encode_here(first, first_options)?, self.encode_here(second, second_options)?])
    }

    /// Frames from the last keyframe to the first of two frames, if they may be a pair.
    fn pair_since(&self, options: [&FrameOptions; 2]) -> Option<u32> {
        let since = self.since_keyframe? + 1;
        let is_due = options.iter().any(|options| options.force_keyframe) || (self.key_int_max > 0 && since + 1 >= self.key_int_max);
        // Rate control knows P-frames alone.
        let is_free = self.rate.expected_quality().is_none();
        (is_free && !is_due && has_pairs(&self.model)).then_some(since)
    }

    /// Codes a frame between the last one and the one before that. Gives back the quality that it took; `later`: that of the last frame.
    fn encode_between(&mut self, frame: &FrameView, later: u8) -> Result<u8> {
        self.load(frame)?;
        let index = (later + B_QUALITY_OFFSET).min(QUALITY_MAX);
        let map = self.reconstructor.reconstruction(Slot::Last).0.quality.map.clone();
        let quality = FrameQuality { index, map, rest: None };
        let display = self.sequence.video.display_size();
        let field = self.motion.code_between(
            &self.current,
            self.reconstructor.around(),
            display,
            &quality,
            &mut self.symbols.writer,
        );
        self.reconstructor.predict_between(field)?;
        // What it leaves behind is of no use to later frames.
        let (mut rest, mut filter) = (self.rest.clone(), self.filter_coder.clone());
        self.code_residual(Slot::Between, quality, self.frame_number, None, (&mut rest, &mut filter))
    }
}

/// Whether a model's streams can have pairs.
fn has_pairs(model: &Model) -> bool {
    model.flow_entropy.is_none()
}
