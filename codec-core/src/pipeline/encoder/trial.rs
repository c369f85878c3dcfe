//! Whether frames are coded in pairs: tried both ways, once in a while.
//!
//! Pairs pay where the picture can be predicted over two frames, which no cheap look at the frames tells: motion, noise and quality all
//! have their part. So two frames are coded both ways, and what was better holds for the next ones.

use std::time::Duration;

use super::Encoder;
use super::pair::TwoFrames;
use crate::Result;
use crate::detail::DetailChooser;
use crate::frame::chroma_size;
use crate::loopfilter::FilterCoder;
use crate::pipeline::config::{Packet, Speed};
use crate::pipeline::maps::MapEncoder;
use crate::pipeline::motion::SavedMotion;
use crate::pipeline::reconstruct::{Saved, Slot};
use crate::pipeline::rest::RestCoder;
use crate::quality::{MapCoder, lambda};
use crate::rate::RateController;

/// An error of the second frame weighs more: later frames inherit it.
const LATER_WEIGHT: f64 = 1.5;

/// Pairs are worth it until trials say otherwise: what they are taken to save at first, as a logarithm of costs, and how much of what is
/// known a trial replaces. One trial says little.
const AT_FIRST: f64 = -0.005;
const SHARE: f64 = 0.5;

/// Where a choice is as clear as this, the next trial comes after so many times as many frames.
const CLEAR: f64 = 0.01;
const RARER: u32 = 3;

/// How two frames are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Apart,
    Pair,
    /// Both, for a choice.
    Both,
}

/// The choice for the frames to come.
#[derive(Debug)]
pub(super) struct PairChoice {
    /// Two frames are tried both ways once in so many times; 0: never, they are always paired.
    period: u32,
    /// Since the last trial.
    count: u32,
    /// Logarithm of what pairs cost beside single frames, of late.
    score: f64,
}

impl PairChoice {
    pub fn new(speed: Speed) -> Self {
        let period = match speed {
            Speed::Fast => 0,
            Speed::Medium => 8,
            Speed::Slow => 2,
        };
        let mut choice = Self { period, count: 0, score: 0.0 };
        choice.restart();
        choice
    }

    /// A new scene begins, of which nothing is known.
    pub fn restart(&mut self) {
        // Right behind a keyframe, which is better than all others, a trial would tell nothing; the next two frames tell.
        (self.count, self.score) = (self.period.saturating_sub(1), AT_FIRST);
    }

    /// The way of the next two frames.
    pub fn next(&mut self) -> Way {
        let clear = self.score.abs() > CLEAR;
        if self.period > 0 && self.count >= self.period * if clear { RARER } else { 1 } {
            return Way::Both;
        }
        self.count += 1;
        if self.score < 0.0 { Way::Pair } else { Way::Apart }
    }

    /// Learns what a pair cost, in times what two single frames did.
    fn learn(&mut self, ratio: f64) {
        self.score += SHARE * (ratio.ln() - self.score);
        self.count = 1;
    }
}

/// All that later frames depend on.
struct State {
    reconstructor: Saved,
    motion: SavedMotion,
    maps: MapEncoder,
    detail: (Option<MapCoder>, DetailChooser, u32),
    rest: RestCoder,
    filter_coder: FilterCoder,
    rate: RateController,
    quality: u8,
    last_time: Option<Duration>,
    since_keyframe: Option<u32>,
    frame_number: u32,
}

/// J = squared error in grey levels + 65025 / lambda * bits.
fn cost(packets: &[Packet; 2], [first, second]: [f64; 2], quality: u8) -> f64 {
    let bytes: usize = packets.iter().map(|packet| packet.data.len()).sum();
    first + LATER_WEIGHT * second + 65025.0 / lambda(f64::from(quality)) * 8.0 * bytes as f64
}

impl Encoder {
    /// Codes two frames both ways and keeps what costs less. `since`: frames from the last keyframe to the first of them.
    pub(super) fn try_both(&mut self, frames: TwoFrames, since: u32) -> Result<[Packet; 2]> {
        let before = self.save();
        let [(first, first_options), (second, second_options)] = frames.clone();
        let first = self.encode_here(first, first_options)?;
        let first_error = self.squared_error(Slot::Last);
        let apart = [first, self.encode_here(second, second_options)?];
        let apart_cost = cost(&apart, [first_error, self.squared_error(Slot::Last)], self.quality);
        if apart.iter().any(|packet| packet.keyframe) || !self.motion.can_restore(&before.motion) {
            return Ok(apart);
        }
        let after = self.save();
        self.restore(before);
        // A new scene, of which there was no sign when the frames were coded apart, is one for a pair alone.
        let Some(paired) = self.code_pair(&frames, since)? else {
            self.restore(after);
            return Ok(apart);
        };
        let first_error = self.squared_error(Slot::Between);
        self.load(second)?;
        let ratio = cost(&paired, [first_error, self.squared_error(Slot::Last)], self.quality) / apart_cost;
        self.pairs.learn(ratio);
        if ratio < 1.0 {
            return Ok(paired);
        }
        self.restore(after);
        Ok(apart)
    }

    /// Squared error of the frame that was loaded last, chroma included.
    pub(super) fn squared_error(&self, slot: Slot) -> f64 {
        let (width, height) = self.sequence.video.display_size();
        let chroma = chroma_size(width, height);
        let error = |plane: usize, (width, height): (usize, usize)| {
            self.original.plane(plane).squared_error(self.reconstructor.frame(slot).plane(plane), 0..height, 0..width) as f64
        };
        error(0, (width, height)) + error(1, chroma) + error(2, chroma)
    }

    fn save(&self) -> State {
        State {
            reconstructor: self.reconstructor.save(),
            motion: self.motion.save(),
            maps: self.maps.clone(),
            detail: self.detail.save(),
            rest: self.rest.clone(),
            filter_coder: self.filter_coder.clone(),
            rate: self.rate.clone(),
            quality: self.quality,
            last_time: self.last_time,
            since_keyframe: self.since_keyframe,
            frame_number: self.frame_number,
        }
    }

    fn restore(&mut self, state: State) {
        self.reconstructor.restore(state.reconstructor);
        self.motion.restore(state.motion);
        self.maps = state.maps;
        self.detail.restore(state.detail);
        (self.rest, self.filter_coder, self.rate) = (state.rest, state.filter_coder, state.rate);
        (self.quality, self.last_time) = (state.quality, state.last_time);
        (self.since_keyframe, self.frame_number) = (state.since_keyframe, state.frame_number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_decide_for_the_frames_after_them() {
        let mut choice = PairChoice::new(Speed::Medium);
        let ways = |count: usize, choice: &mut PairChoice| -> Vec<Way> { (0..count).map(|_| choice.next()).collect() };
        assert_eq!(ways(2, &mut choice), [Way::Pair, Way::Both]);
        choice.learn(0.99);
        assert_eq!(ways(8, &mut choice), [vec![Way::Pair; 7], vec![Way::Both]].concat());
        // A trial that is a little worse does not outweigh what is known; a clear one does.
        choice.learn(1.004);
        assert_eq!(ways(8, &mut choice), [vec![Way::Pair; 7], vec![Way::Both]].concat());
        choice.learn(1.01);
        assert_eq!(ways(8, &mut choice), [vec![Way::Apart; 7], vec![Way::Both]].concat());
        // What is clear is tried less often.
        choice.learn(0.95);
        assert_eq!(ways(24, &mut choice), [vec![Way::Pair; 23], vec![Way::Both]].concat());
        assert_eq!(ways(100, &mut PairChoice::new(Speed::Fast)), [Way::Pair; 100]);
        assert_eq!(ways(3, &mut PairChoice::new(Speed::Slow)), [Way::Pair, Way::Both, Way::Both]);
    }
}
