//! Feedback from sizes to quality indices.

use super::outlook::{Content, Outlook};
use super::sizes::{Kind, Sizes};
use super::{LeakyBucket, RateMode};
use crate::bitstream::QUALITY_MAX;

/// Quality index that is expected before anything is known.
const FIRST_QUALITY: f64 = 38.0;
/// Time between frames while nothing is known of it, in seconds, and its bounds. A video that says it has more than 240 frames a second hardly does.
const FIRST_INTERVAL: f64 = 1.0 / 30.0;
const LEAST_FIRST_INTERVAL: f64 = 1.0 / 240.0;
const INTERVALS: std::ops::RangeInclusive<f64> = 1e-3..=10.0;
/// Seconds in which a deviation from the average is made up for.
const CONSTANT_HORIZON: f64 = 1.0;
const VARIABLE_HORIZON: f64 = 3.0;
/// Seconds of P-frames that pay for a keyframe, if the next one is not nearer.
const KEYFRAME_HORIZON: f64 = 3.0;
/// A P-frame changes the quality index by at most this much on its own account, so that quality does not pulse.
const LARGEST_STEP: f64 = 3.0;
/// Share of the room that one frame may take: the frames after it need some too. In a buffer of few frames a P-frame has to take more.
const P_SHARE: f64 = 0.5;
const LARGEST_P_SHARE: f64 = 0.9;
const I_SHARE: f64 = 0.8;
/// Seconds of the bitrate that P-frames of the worst quality may run up.
const LARGEST_DEBT: f64 = 0.3;
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

/// Holds a bitrate by choosing quality indices (from what a frame's content lets expect of its size, corrected by what came out), and a buffer by
/// bounding sizes.
#[derive(Clone, Debug)]
pub struct RateController {
    mode: RateMode,
    bucket: LeakyBucket,
    sizes: Sizes,
    /// Smoothed time between frames.
    interval: f64,
    /// Whether that was measured.
    has_interval: bool,
    /// Bits given out beyond the average.
    debt: f64,
    /// Quality index of P-frames; not rounded, so that slow corrections add up.
    quality: f64,
    /// Whether the next frame may have any other quality than the last one.
    free: bool,
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
            sizes: Sizes::new(),
            interval: interval.unwrap_or(FIRST_INTERVAL).clamp(LEAST_FIRST_INTERVAL, *INTERVALS.end()),
            has_interval: false,
            debt: 0.0,
            quality: FIRST_QUALITY,
            free: true,
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
            self.free = true;
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
        self.sizes.expect(frame);
        let elapsed = self.started.then(|| self.measure(elapsed));
        let (bitrate, _, buffer) = parameters(&self.mode)?;
        if let Some(elapsed) = elapsed {
            self.bucket.drain(elapsed);
            self.debt -= bitrate * elapsed;
        }
        // What quiet seconds left over is not owed for ever: a burst of several seconds' bits would overrun any buffer.
        self.debt = self.debt.max(-bitrate * self.horizon());
        Some(match frame.content {
            Content::Picture { predicted, .. } => self.plan_keyframe(bitrate, predicted),
            Content::Prediction { .. } => self.plan_inter(bitrate, buffer),
        })
    }

    /// Measures the time between frames. Gives back the seconds that passed.
    fn measure(&mut self, elapsed: Option<f64>) -> f64 {
        let Some(elapsed) = elapsed.filter(|e| e.is_finite()) else { return self.interval };
        let elapsed = elapsed.clamp(0.0, *INTERVALS.end());
        let share = if self.has_interval { 0.2 } else { 1.0 };
        self.interval += (elapsed.clamp(*INTERVALS.start(), *INTERVALS.end()) - self.interval) * share;
        self.has_interval = true;
        elapsed
    }

    /// Seconds in which a debt is paid.
    fn horizon(&self) -> f64 {
        match self.mode {
            RateMode::Constant { buffer, .. } => CONSTANT_HORIZON.min(buffer),
            _ => VARIABLE_HORIZON,
        }
    }

    /// A keyframe gets a quality that the frames before the next one can keep up, if all of them together take what is due.
    fn plan_keyframe(&mut self, bitrate: f64, predicted: usize) -> FramePlan {
        let later = (predicted as f64).min((KEYFRAME_HORIZON / self.interval).ceil());
        let seconds = (1.0 + later) * self.interval;
        let least = if later > 0.0 { 1.0 } else { 0.5 };
        let due = (bitrate * seconds - self.debt * (seconds / self.horizon()).min(least)).max(0.1 * bitrate * seconds);
        let bits = |quality: f64| {
            let (intra, inter) = ((quality - self.intra_offset).max(0.0), quality.min(QUALITY_MAX.into()));
            self.sizes.bits(Kind::I, intra) + later * self.sizes.bits(Kind::P, inter)
        };
        let halve = |(best, worst): (f64, f64), _| {
            let middle = (best + worst) / 2.0;
            if bits(middle) > due { (middle, worst) } else { (best, middle) }
        };
        let quality = (0..10).fold((0.0, f64::from(QUALITY_MAX) + self.intra_offset), halve).0;
        self.quality = quality.min(QUALITY_MAX.into());
        self.free = false;
        let room = (self.bucket.room() * I_SHARE).max(0.0);
        // The expected size tells early what the bound will demand.
        let quality = (quality - self.intra_offset).max(self.sizes.quality(Kind::I, room)).clamp(0.0, QUALITY_MAX.into());
        FramePlan { quality: quality.round() as u8, wanted_bits: room, max_bits: room }
    }

    fn plan_inter(&mut self, bitrate: f64, buffer: f64) -> FramePlan {
        let share = (1.2 * self.interval / buffer).clamp(P_SHARE, LARGEST_P_SHARE);
        let room = (self.bucket.room() * share).max(0.0);
        let per_frame = bitrate * self.interval;
        let paid = self.debt * (self.interval / self.horizon()).min(0.5);
        let target = (per_frame - paid).clamp(0.1 * per_frame, 4.0 * per_frame);
        let wanted = self.sizes.quality(Kind::P, target.min(room));
        let has_seen = self.sizes.has_seen(Kind::P);
        let is_free = self.free || !self.started || !has_seen;
        let most = if is_free { f64::INFINITY } else { LARGEST_STEP };
        self.quality = wanted.clamp(self.quality - most, self.quality + most).clamp(0.0, QUALITY_MAX.into());
        self.free = false;
        let (mut wanted_bits, mut max_bits) = (room, room);
        if has_seen {
            wanted_bits = room.min(TOLERANCE * target.max(0.5 * per_frame));
            // Where even the worst quality is too large for every frame, some frames get it and the others nothing.
            max_bits = room.min(wanted_bits.max(LARGEST_DEBT * bitrate - self.debt));
        }
        FramePlan { quality: self.quality.round() as u8, wanted_bits, max_bits }
    }

    /// Learns what a planned frame has become.
    pub fn report(&mut self, keyframe: bool, quality: u8, bits: f64) {
        self.started = true;
        if parameters(&self.mode).is_some() {
            self.bucket.add(bits);
            self.debt += bits;
        }
        self.sizes.learn(if keyframe { Kind::I } else { Kind::P }, quality, bits);
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
