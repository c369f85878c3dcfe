//! What the encoder makes of the frames after the current one.

use std::sync::Arc;

use super::Encoder;
use crate::frame::Frame;
use crate::kernels::satd;
use crate::lookahead::{self, Foresight, Importance, Strength, Surroundings};
use crate::motion::Found;
use crate::quality::QualityMap;
use crate::rate::{Content, Outlook};

impl Encoder {
    /// How many frames after this one are predicted, at most. `since`: frames from the last keyframe to the frame before.
    pub(super) fn predicted_later(&self, keyframe: bool, since: Option<u32>) -> usize {
        let since = if keyframe { 0 } else { since.map_or(0, |since| since + 1) };
        if self.key_int_max > 0 { (self.key_int_max - 1).saturating_sub(since) as usize } else { usize::MAX }
    }

    /// Quality of the P-frames to come.
    pub(super) fn later_quality(&self) -> u8 {
        self.rate.expected_quality().unwrap_or(self.quality)
    }

    /// What rate control can know of the current frame: the motion `found` for it, or of a keyframe what it holds itself and the `foresight` of the
    /// `predicted` frames after it. `since`: as above.
    pub(super) fn outlook(
        &self,
        found: Option<&Found>,
        since: Option<u32>,
        foresight: Option<&Foresight>,
        predicted: usize,
    ) -> Outlook {
        let display = self.sequence.video.display_size();
        let samples = (display.0 * display.1) as f64;
        let content = match found {
            Some(found) => Content::Prediction { cost: found.inter_cost as f64 / samples, after_keyframe: since == Some(0) },
            None => Content::Picture {
                cost: satd::texture(self.original.plane(0), display),
                later: foresight.and_then(|foresight| foresight.cost(predicted)),
                predicted,
            },
        };
        Outlook { samples, content }
    }

    /// Takes from the current frame what the `later` ones do not have. `map`: how its quality will vary.
    pub(super) fn filter(&mut self, later: &[Arc<Frame>], keyframe: bool, map: Option<&QualityMap>) {
        let (display, quality) = (self.sequence.video.display_size(), self.later_quality());
        let Some(filter) = &mut self.temporal_filter else { return };
        let strength = if keyframe { Strength::keyframe() } else { Strength::inter() };
        let around = Surroundings { later, display, quality, map };
        filter.run(&mut self.current, &around, strength, self.motion.search_mut(), self.threads);
    }

    /// Importance of the current frame for those after it, of which so many are predicted.
    pub(super) fn importance(&self, foresight: &Foresight, predicted: usize) -> Importance {
        // Later frames have the quality of P-frames, whatever this one has.
        lookahead::importance(foresight, self.sequence.video.display_size(), self.later_quality(), predicted)
    }
}
