//! Feedback from sizes to quality indices.

use super::outlook::{self, Content, Outlook};
use super::{LeakyBucket, RateMode};
use crate::bitstream::QUALITY_MAX;

/// A quality index more makes a frame smaller by this factor's logarithm (0.060 and 0.062 on two clips, measured in
/// steps of an older range, of which 1.22 make one of today's).
pub const LOG_SIZE_PER_STEP: f64 = 0.073;
/// Time between frames while nothing is known of it, in seconds, and its bounds.
const FIRST_INTERVAL: f64 = 1.0 / 30.0;
const INTERVALS: std::ops::RangeInclusive<f64> = 1e-3..=10.0;
/// Quality index that is expected before anything is known.
const FIRST_QUALITY: f64 = 38.0;
/// Seconds in which a deviation from the average is made up for.
const CONSTANT_HORIZON: f64 = 1.0;
const VARIABLE_HORIZON: f64 = 3.0;
/// A P-frame changes the quality index by at most this much on its own account, so that quality does not pulse.
const LARGEST_STEP: f64 = 3.0;
/// Share of the room that one frame may take: the frames after it need some too.
const P_SHARE: f64 = 0.5;
const I_SHARE: f64 = 0.8;
/// Seconds of the bitrate that P-frames of the worst quality may run up.
const LARGEST_DEBT: f64 = 0.3;
/// A frame's cost counts where it has changed by this factor or more.
const NOTABLE: f64 = 1.5;
/// A P-frame that comes out larger than this multiple of its target is quantised again.
const TOLERANCE: f64 = 1.6;

/// What a frame shall be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FramePlan {
    /// Quality index.
    pub quality: u8,
    /// Bits beyond which a worse quality is to be taken, if there is one.
    pub wanted_bits: f64,
    /// Bits that the unit may have at most, even if nothing but zeros can reach that.
    pub max_bits: f64,
}

/// Holds a bitrate by choosing quality indices (a log-linear model of size against quality for each frame type, from what a frame's content
/// lets expect, corrected by what came out), and a buffer by bounding sizes.
#[derive(Clone, Debug)]
pub struct RateController {
    mode: RateMode,
    bucket: LeakyBucket,
    /// Logarithm of the size in bits at quality 0 that the content of P- and I-frames lets expect.
    expected: [f64; 2],
    /// What came out, beside that.
    correction: [f64; 2],
    /// Cost of the last P-frame.
    inter_cost: f64,
    seen: [bool; 2],
    /// Smoothed time between frames.
    interval: f64,
    /// Bits given out beyond the average.
    debt: f64,
    /// Quality index of P-frames; not rounded, so that slow corrections add up.
    quality: f64,
    /// By so many steps I-frames are better.
    intra_offset: f64,
    started: bool,
}

impl RateController {
    /// For frames `interval` seconds apart, as far as that is known; I-frames `intra_offset` quality steps better than P-frames. `mode` is valid.
    pub fn new(mode: RateMode, interval: Option<f64>, intra_offset: u8) -> Self {
        let mut controller = Self {
            mode,
            bucket: LeakyBucket::new(0.0, 0.0),
            expected: [0.0; 2],
            correction: [0.0; 2],
            inter_cost: outlook::USUAL_COST,
            seen: [false; 2],
            interval: interval.unwrap_or(FIRST_INTERVAL).clamp(*INTERVALS.start(), *INTERVALS.end()),
            debt: 0.0,
            quality: FIRST_QUALITY,
            intra_offset: intra_offset.into(),
            started: false,
        };
        controller.set_mode(mode);
        controller
    }

    /// Another aim from the next frame on. What was learned of sizes stays.
    pub fn set_mode(&mut self, mode: RateMode) {
        if let Some((_, rate, buffer)) = parameters(&mode) {
            self.bucket.resize(rate, buffer);
        }
        if mode != self.mode {
            self.debt = 0.0;
        }
        self.mode = mode;
    }

    /// What is held.
    pub fn mode(&self) -> &RateMode {
        &self.mode
    }

    /// About the quality index that the next P-frame will have; `None` in the mode `Quality`.
    pub fn expected_quality(&self) -> Option<u8> {
        parameters(&self.mode).map(|_| self.quality.round() as u8)
    }

    /// What the buffer holds for later, in bits that still fit in.
    pub fn room(&self) -> f64 {
        self.bucket.room()
    }

    /// Plans the next frame, `elapsed` seconds after the one before (`None`: unknown). `None` in the mode `Quality`.
    pub fn plan(&mut self, frame: &Outlook, elapsed: Option<f64>) -> Option<FramePlan> {
        self.expect(frame);
        let keyframe = matches!(frame.content, Content::Picture { .. });
        let (bitrate, ..) = parameters(&self.mode)?;
        if self.started {
            let elapsed = elapsed.filter(|e| e.is_finite()).unwrap_or(self.interval).clamp(0.0, *INTERVALS.end());
            self.bucket.drain(elapsed);
            self.debt -= bitrate * elapsed;
            self.interval += (elapsed.clamp(*INTERVALS.start(), *INTERVALS.end()) - self.interval) * 0.2;
        }
        let horizon = match self.mode {
            RateMode::Constant { buffer, .. } => CONSTANT_HORIZON.min(buffer),
            _ => VARIABLE_HORIZON,
        };
        // What quiet seconds left over is not owed for ever: a burst of several seconds' bits would overrun any buffer.
        self.debt = self.debt.max(-bitrate * horizon);
        let per_frame = bitrate * self.interval;
        // What a P-frame shall take if so much is owed, and the quality of that.
        let target = |debt: f64, horizon: f64| {
            (per_frame - debt * (self.interval / horizon).min(0.5)).clamp(0.1 * per_frame, 4.0 * per_frame)
        };
        let wanted = |debt: f64, horizon: f64| (self.log_size(0) - target(debt, horizon).ln()) / LOG_SIZE_PER_STEP;
        let best_and_worst = (0.0, f64::from(QUALITY_MAX));
        self.quality = if keyframe {
            // So good that P-frames could keep it up if they had the longer horizon to pay for the keyframe.
            let keyframe_bits =
                |quality: f64| (self.log_size(1) - (quality - self.intra_offset).max(0.0) * LOG_SIZE_PER_STEP).exp();
            let owed = |quality: f64| self.debt + (keyframe_bits(quality) - per_frame).max(0.0);
            let halve = |(best, worst): (f64, f64), _| {
                let middle = (best + worst) / 2.0;
                if wanted(owed(middle), VARIABLE_HORIZON) > middle { (middle, worst) } else { (best, middle) }
            };
            (0..10).fold(best_and_worst, halve).0
        } else if self.started && self.seen[0] {
            wanted(self.debt, horizon).clamp(self.quality - LARGEST_STEP, self.quality + LARGEST_STEP)
        } else {
            wanted(self.debt, horizon)
        }
        .clamp(best_and_worst.0, best_and_worst.1);
        let target = target(self.debt, horizon);
        let share = if keyframe { I_SHARE } else { P_SHARE };
        let room = (self.bucket.room() * share).max(0.0);
        let (mut quality, mut wanted_bits, mut max_bits) = (self.quality, room, room);
        if keyframe {
            // The model's size of an I-frame tells early what the bound will demand.
            let needed = (self.log_size(1) - room.max(1.0).ln()) / LOG_SIZE_PER_STEP;
            quality = (quality - self.intra_offset).max(needed).clamp(0.0, f64::from(QUALITY_MAX));
        } else if self.seen[0] {
            wanted_bits = room.min(TOLERANCE * target.max(0.5 * per_frame));
            // Where even the worst quality is too large for every frame, some frames get it and the others nothing.
            max_bits = room.min(wanted_bits.max(LARGEST_DEBT * bitrate - self.debt));
        }
        Some(FramePlan { quality: quality.round() as u8, wanted_bits, max_bits })
    }

    /// Learns what a planned frame has become.
    pub fn report(&mut self, keyframe: bool, quality: u8, bits: f64) {
        self.started = true;
        self.bucket.add(bits);
        self.debt += bits;
        let kind = usize::from(keyframe);
        let observed = bits.max(1.0).ln() + f64::from(quality) * LOG_SIZE_PER_STEP;
        let rate = if self.seen[kind] { 0.3 } else { 1.0 };
        self.correction[kind] += (observed - self.log_size(kind)) * rate;
        self.seen[kind] = true;
    }

    /// Works out what the next frames will take, by their content alone.
    fn expect(&mut self, frame: &Outlook) {
        match frame.content {
            Content::Picture { cost, later } => {
                self.inter_cost = later.unwrap_or(self.inter_cost);
                self.expected = [outlook::log_inter(frame.samples, self.inter_cost), outlook::log_intra(frame.samples, cost)];
            }
            Content::Prediction { cost, after_keyframe } => {
                // Small changes are learned from sizes: following them, quality would flutter.
                if !(1.0 / NOTABLE..NOTABLE).contains(&(cost / self.inter_cost)) {
                    self.inter_cost = cost;
                }
                let less = if after_keyframe { outlook::AFTER_KEYFRAME } else { 0.0 };
                self.expected[0] = outlook::log_inter(frame.samples, self.inter_cost) + less;
            }
        }
    }

    /// Logarithm of the size in bits at quality 0 of P- (0) and I-frames (1).
    fn log_size(&self, kind: usize) -> f64 {
        self.expected[kind] + self.correction[kind]
    }

    /// After a flush: time starts anew, what was learned of sizes stays.
    pub fn reset(&mut self) {
        self.started = false;
        self.debt = 0.0;
        self.bucket.drain(f64::INFINITY);
    }
}

/// Average bitrate, rate of the bucket and its length in seconds.
fn parameters(mode: &RateMode) -> Option<(f64, f64, f64)> {
    match *mode {
        RateMode::Quality => None,
        RateMode::Variable { bitrate, max_bitrate, buffer } => Some((bitrate, max_bitrate, buffer)),
        RateMode::Constant { bitrate, buffer } => Some((bitrate, bitrate, buffer)),
    }
}

#[cfg(test)]
mod tests;
