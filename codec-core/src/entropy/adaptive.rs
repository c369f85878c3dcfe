//! Adaptive binary models.
//!
//! The probability of a bit is the mean of two estimates that follow the bits at different rates (as in VVC, ISO/IEC 23090-3,
//! 9.3.4.3). Both start by counting, so that a new model learns within a few bits.

use super::rans::{Interval, PROBABILITY_BITS};

const TOTAL: i32 = 1 << PROBABILITY_BITS;
/// Smallest probability of either bit, in 2^-16.
const LEAST: i32 = 32;
/// What a guessed initial probability counts for, in bits seen.
const TRUST: u8 = 4;
/// Time constants of the two estimates, in bits.
const FAST: i32 = 24;
const SLOW: i32 = 200;

/// An estimate of the probability that a bit is 1; it learns from every bit coded with it. Encoder and decoder must give it the
/// same bits in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveBit {
    /// Estimates in 2^-16.
    fast: u16,
    slow: u16,
    /// Bits seen plus what the initial probability counts for, at most [`SLOW`].
    seen: u8,
}

impl AdaptiveBit {
    /// A new model that takes a bit for 1 with a probability of `probability` * 2^-16.
    pub const fn new(probability: u16) -> Self {
        Self::with_trust(probability, TRUST)
    }

    /// As [`Self::new`], with an initial probability that counts for `trust` bits seen.
    pub const fn with_trust(probability: u16, trust: u8) -> Self {
        Self { fast: probability, slow: probability, seen: trust }
    }

    /// Slots that a 1 takes, from the upper end down.
    fn ones(&self) -> i32 {
        ((i32::from(self.fast) + i32::from(self.slow)) >> 1).clamp(LEAST, TOTAL - LEAST)
    }

    /// The slots of a bit: those of 0 come first.
    pub(super) fn interval(&self, bit: bool) -> Interval {
        let ones = self.ones();
        let zeros = TOTAL - ones;
        if bit { Interval { start: zeros as u16, size: ones as u16 } } else { Interval { start: 0, size: zeros as u16 } }
    }

    /// The bit whose interval holds a slot.
    pub(super) fn find(&self, slot: u32) -> bool {
        slot as i32 >= TOTAL - self.ones()
    }

    /// Learns a bit.
    pub(super) fn adapt(&mut self, bit: bool) {
        let target = if bit { TOTAL - 1 } else { 0 };
        let seen = i32::from(self.seen) + 1;
        let follow = |estimate: u16, limit: i32| {
            let estimate = i32::from(estimate);
            (estimate + (target - estimate) / seen.min(limit)) as u16
        };
        self.fast = follow(self.fast, FAST);
        self.slow = follow(self.slow, SLOW);
        self.seen = seen.min(SLOW) as u8;
    }

    /// Cost of a bit, in bits.
    pub fn bits(&self, bit: bool) -> f32 {
        cost(self.interval(bit))
    }
}

/// Cost of a step, in bits.
pub(super) fn cost(interval: Interval) -> f32 {
    PROBABILITY_BITS as f32 - f32::from(interval.size).log2()
}
