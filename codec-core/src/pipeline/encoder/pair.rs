//! Pairs of frames: a P-frame that is shown a frame later, and the B-frame before it, predicted from both sides.

use super::trial::Way;
use super::{Encoder, Plan};
use crate::bitstream::{FrameHeader, FrameType, QUALITY_MAX, write_unit};
use crate::frame::FrameView;
use crate::pipeline::config::{FrameOptions, Packet};
use crate::pipeline::reconstruct::Slot;
use crate::quality::FrameQuality;
use crate::{Result, threads};

/// A B-frame is so many quality indices worse than the P-frame after it: nothing is predicted from it.
const B_QUALITY_OFFSET: u8 = 8;

/// Two frames that follow each other.
pub(super) type TwoFrames<'a> = [(&'a FrameView<'a>, FrameOptions); 2];

impl Encoder {
    /// Encodes two frames that follow each other, as a pair where both may be predicted and that pays. One packet for each frame, in
    /// order of display; of a pair, the first holds nearly everything, and the second shows what came with the first.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_pair(&mut self, frames: [(&FrameView, FrameOptions); 2]) -> Result<[Packet; 2]> {
        threads::inside(self.threads, || {
            let Some(since) = self.pair_since(&frames) else { return self.code_apart(frames) };
            match self.pairs.next() {
                Way::Apart => self.code_apart(frames),
                Way::Pair => match self.code_pair(&frames, since)? {
                    Some(packets) => Ok(packets),
                    None => self.code_apart(frames),
                },
                Way::Both => self.try_both(frames, since),
            }
        })
    }

    fn code_apart(&mut self, [first, second]: TwoFrames) -> Result<[Packet; 2]> {
        Ok([self.encode_here(first.0, first.1)?, self.encode_here(second.0, second.1)?])
    }

    /// Codes two frames as a pair, `None` if a new scene begins. `since`: frames from the last keyframe to the first of them.
    pub(super) fn code_pair(&mut self, frames: &TwoFrames, since: u32) -> Result<Option<[Packet; 2]>> {
        let [(first, first_options), (second, options)] = frames;
        self.load(second)?;
        let quality = self.quality;
        self.set_quality(first_options)?;
        self.set_quality(options)?;
        // A scene that begins with either frame shows in the second.
        let Some(found) = self.search_motion(Some(since)) else {
            self.quality = quality;
            return Ok(None);
        };
        self.since_keyframe = None;
        self.symbols.writer.clear();
        let Plan { quality, map, bound } = self.plan_frame(Some(&found), Some(since), options.clone())?;
        let number = self.frame_number;
        let later = self.encode_inter(found, quality, map, bound, number.wrapping_add(1), true)?;
        self.rate.report(false, later.residual_quality, self.symbols.writer.bits());
        let b_quality = self.encode_between(first, later.residual_quality)?;
        let pair = FrameHeader { frame_type: FrameType::Pair, frame_number: number, b_quality, ..later.clone() };
        let show = FrameHeader::new(FrameType::Show, later.residual_quality, later.frame_number);
        let show = Packet {
            data: write_unit(&show, None, &[])?,
            keyframe: false,
            frame_number: show.frame_number,
            quality: show.quality,
            estimated_bits: 0,
        };
        let packets = [self.finish_unit(pair)?, show];
        self.since_keyframe = Some(since + 1);
        self.frame_number = number.wrapping_add(2);
        Ok(Some(packets))
    }

    /// Frames from the last keyframe to the first of two frames, if they may be a pair.
    fn pair_since(&self, frames: &TwoFrames) -> Option<u32> {
        let since = self.since_keyframe? + 1;
        let is_due =
            frames.iter().any(|(_, options)| options.force_keyframe) || (self.key_int_max > 0 && since + 1 >= self.key_int_max);
        // Rate control knows P-frames alone.
        let is_free = self.rate.expected_quality().is_none();
        let has_blocks = self.model.flow_entropy.is_none();
        (is_free && !is_due && has_blocks).then_some(since)
    }

    /// Codes a frame between the last one and the one before that. Gives back the quality that it took; `later`: that of the last frame.
    fn encode_between(&mut self, frame: &FrameView, later: u8) -> Result<u8> {
        self.load(frame)?;
        let index = (later + B_QUALITY_OFFSET).min(QUALITY_MAX);
        let map = self.reconstructor.reconstruction(Slot::Last).0.quality.map.clone();
        let quality = FrameQuality { index, map, rest: None };
        let (display, around) = (self.sequence.video.display_size(), self.reconstructor.around());
        let field = self.motion.code_between(&self.current, around, display, &quality, &mut self.symbols.writer);
        self.reconstructor.predict_between(field)?;
        self.code_residual(Slot::Between, quality, self.frame_number, None)
    }
}
