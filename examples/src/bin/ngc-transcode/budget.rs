//! Target sizes: what the video may take of a file, how the encoder is kept to it, and when it has to try again.
//!
//! Rate control makes up for deviations within seconds, and does not know when the video ends: a short clip ends before they are
//! made up for. So the bitrate is set anew, several times, to what is left for the time that is left. What headers take is known
//! only at the end; if the file then is too large, or clearly too small, the video is encoded again.

use std::sync::Mutex;

use gst::prelude::*;
use ngc_examples::{Failure, Kind};

use crate::plan::{Plan, Treatment};
use crate::probe::{Media, Source};

/// Bits per second of sound that is encoded anew: one channel or two, and each further one.
const AUDIO_BITS: f64 = 96_000.0;

/// What a muxer adds to a frame of any track, in bytes, and to a file: about what MP4 and Matroska take.
const FRAME_OVERHEAD: f64 = 11.0;
const FILE_OVERHEAD: f64 = 1500.0;

/// Share of the target that is aimed at, and the least that is good enough.
const AIM: f64 = 0.98;
const ENOUGH: f64 = 0.95;
/// Most times that the video is encoded.
const PASSES: u32 = 5;
/// A budget changes by at most this power of what the video's size has to change by.
const LARGEST_EXPONENT: f64 = 3.0;

/// So often the bitrate is set anew, and the shortest and longest time between.
const CORRECTIONS: f64 = 20.0;
const BETWEEN: std::ops::RangeInclusive<f64> = 0.2..=2.0;
/// The bitrate stays within this factor of the first one: what the last frames have to make up for must not show.
const SWING: f64 = 3.0;

/// What the video may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    bytes: f64,
    seconds: f64,
    pass: u32,
    /// Of the pass before: its budget, and what the video took.
    before: Option<(f64, f64)>,
}

impl Budget {
    /// For a file of `target` bytes. `length`: of the result.
    ///
    /// # Errors
    /// [`Kind::Usage`] where the rest alone is larger, or the duration is unknown.
    pub fn new(target: u64, source: &Source, plan: &Plan, length: Option<gst::ClockTime>) -> Result<Self, Failure> {
        let usage = |text: String| Failure::new(Kind::Usage, text);
        let seconds = length.map_or(0.0, |d| d.nseconds() as f64 / 1e9);
        // Of the whole input, this much is taken.
        let share = source.duration.map_or(1.0, |d| (seconds * 1e9 / d.nseconds().max(1) as f64).min(1.0));
        if seconds < 0.04 {
            return Err(usage("--target-size needs a video whose duration is known; use --bitrate".into()));
        }
        let mut rest = FILE_OVERHEAD;
        for track in &plan.tracks {
            rest += track.stream.buffers as f64 * FRAME_OVERHEAD * share;
            rest += match track.treatment {
                Treatment::Recode { .. } => recoded_bits(&track.stream.caps) * seconds / 8.0,
                _ if track.stream.media == Media::Video => 0.0,
                _ => track.stream.bytes as f64 * share,
            };
        }
        let budget = Self { bytes: AIM * target as f64 - rest, seconds, pass: 1, before: None };
        if budget.rate() < 1.0 {
            return Err(usage(format!("--target-size: sound and headers alone take {rest:.0} bytes")));
        }
        Ok(budget)
    }

    fn rate(&self) -> f64 {
        self.bytes * 8.0 / self.seconds / 1000.0
    }

    /// Average bitrate in kbit/s.
    pub fn kilobits(&self) -> u32 {
        self.rate().clamp(1.0, 1e7) as u32
    }

    /// The bitrate from `seconds` on, in kbit/s, if the video has taken `bytes` so far.
    fn bitrate_at(&self, seconds: f64, bytes: f64) -> u32 {
        let left = (self.seconds - seconds).max(1e-3);
        let wanted = (self.bytes - bytes) * 8.0 / left / 1000.0;
        wanted.clamp(self.rate() / SWING, self.rate() * SWING).clamp(1.0, 1e7).round() as u32
    }

    /// Keeps an encoder's bitrate at what is left for the time that is left.
    pub fn steer(self, encoder: &gst::Element) {
        // What comes out is what was coded; frames that went in may wait in the lookahead.
        let Some(pad) = encoder.static_pad("src") else { return };
        let interval = (self.seconds / CORRECTIONS).clamp(*BETWEEN.start(), *BETWEEN.end());
        let (due, weak) = (Mutex::new(interval), encoder.downgrade());
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let segment = pad.sticky_event::<gst::event::Segment>(0);
            let segment = segment.as_ref().and_then(|event| event.segment().downcast_ref::<gst::ClockTime>());
            let time = segment.and_then(|segment| segment.to_running_time(info.buffer()?.pts()));
            if let (Some(time), Some(encoder), Ok(mut due)) = (time, weak.upgrade(), due.lock())
                && time.nseconds() as f64 / 1e9 >= *due
            {
                let seconds = time.nseconds() as f64 / 1e9;
                *due = seconds + interval;
                let bytes = encoder.property::<gst::Structure>("stats").get::<u64>("bytes").unwrap_or(0);
                encoder.set_property("bitrate", self.bitrate_at(seconds, bytes as f64));
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Another budget, if a file of `file` bytes is not what was wanted and another attempt may help. `encoder`: what made the video.
    pub fn again(&self, target: u64, file: u64, encoder: &gst::Element) -> Option<Self> {
        let stats = encoder.property::<gst::Structure>("stats");
        let video = stats.get::<u64>("bytes").unwrap_or(0) as f64;
        // No video takes more than at the best quality.
        let best = stats.get::<f64>("average-quality").unwrap_or(0.0) < 1.0;
        self.next(target as f64, file as f64, video, best)
    }

    fn next(&self, target: f64, file: f64, video: f64, best: bool) -> Option<Self> {
        let fits = file <= target && (file >= ENOUGH * target || best);
        let wanted = (AIM * target - (file - video)) / video.max(1.0);
        // How the video follows its budget; it follows little where frames near the best quality cannot take more.
        let (budget, took) = self.before.map_or((0.0, 0.0), |(bytes, before)| ((self.bytes / bytes).ln(), (video / before).ln()));
        let stuck = file <= target && budget > 0.1 && took < 0.01;
        let exponent = if took.abs() > 0.001 { (budget / took).clamp(1.0, LARGEST_EXPONENT) } else { 1.0 };
        let before = Some((self.bytes, video));
        let next = Self { bytes: self.bytes * wanted.max(0.0).powf(exponent), pass: self.pass + 1, before, ..*self };
        (!fits && !stuck && self.pass < PASSES && next.rate() >= 1.0).then_some(next)
    }
}

/// Bits per second for sound of these caps.
pub fn recoded_bits(caps: &gst::Caps) -> f64 {
    let channels = caps.structure(0).and_then(|s| s.get::<i32>("channels").ok()).unwrap_or(2);
    AUDIO_BITS * f64::from(channels.clamp(1, 8) + 1) / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { bytes: 100_000.0, seconds: 8.0, pass: 1, before: None };

    #[test]
    fn what_is_left_goes_to_the_time_that_is_left() {
        assert_eq!(BUDGET.kilobits(), 100);
        assert_eq!(BUDGET.bitrate_at(4.0, 50_000.0), 100);
        assert_eq!(BUDGET.bitrate_at(4.0, 40_000.0), 120);
        // Neither the last frames nor what is spent already bring it to extremes.
        assert_eq!((BUDGET.bitrate_at(8.0, 90_000.0), BUDGET.bitrate_at(7.0, 120_000.0)), (300, 33));
    }

    #[test]
    fn a_file_that_misses_its_size_is_tried_again() {
        // 10 kB of sound and headers.
        let next = |video: f64, best| BUDGET.next(110_000.0, video + 10_000.0, video, best);
        assert_eq!((next(100_000.0, false), next(94_500.0, false)), (None, None));
        let bytes = |video| next(video, false).unwrap().bytes;
        // 97.8 kB are wanted.
        assert!((bytes(80_000.0) - 122_250.0).abs() < 1e-6 && (bytes(100_001.0) - 97_799.022).abs() < 1e-2);
        // It cannot become larger, and must become smaller.
        assert!(next(80_000.0, true).is_none() && next(120_000.0, true).is_some());
        // A video that follows its budget by half needs twice the change; one that does not follow has all that it can take.
        let grown = |took: f64| Budget { before: Some((50_000.0, took)), ..BUDGET }.next(110_000.0, 90_000.0, 80_000.0, false);
        assert!((grown(80_000.0 / 2f64.sqrt()).unwrap().bytes - 100_000.0 * (97_800.0f64 / 80_000.0).powi(2)).abs() < 1e-3);
        assert_eq!(grown(80_000.0), None);
        let last = Budget { pass: PASSES, ..BUDGET };
        assert_eq!(last.next(110_000.0, 60_000.0, 50_000.0, false), None);
    }
}
