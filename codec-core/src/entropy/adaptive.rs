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

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::super::{SymbolReader, SymbolWriter};
    use super::*;

    /// Bits of which one in `n` is 1, in no order.
    fn rare(n: u32) -> impl Iterator<Item = bool> {
        let mut rng = StdRng::seed_from_u64(1);
        (0..20_000).map(move |_| rng.random_ratio(1, n))
    }

    #[test]
    fn both_bits_always_have_slots_and_share_all() {
        for run in [false, true] {
            let mut model = AdaptiveBit::new(1 << 15);
            for _ in 0..5000 {
                let (zero, one) = (model.interval(false), model.interval(true));
                assert!(zero.size >= 32 && one.size >= 32 && zero.start == 0 && one.start == zero.size);
                assert_eq!(u32::from(zero.size) + u32::from(one.size), 1 << 16);
                assert!(!model.find(u32::from(zero.size) - 1) && model.find(u32::from(one.start)));
                model.adapt(run);
            }
            assert!(model.bits(run) < 0.005, "{}", model.bits(run));
        }
    }

    #[test]
    fn learning_is_as_specified() {
        let mut model = AdaptiveBit::with_trust(10_000, 16);
        model.adapt(true);
        assert_eq!(model, AdaptiveBit { fast: 10_000 + 55_535 / 17, slow: 10_000 + 55_535 / 17, seen: 17 });
        (0..300).for_each(|_| model.adapt(false));
        assert_eq!(model.seen, 200);
        let (fast, slow) = (model.fast, model.slow);
        model.adapt(true);
        assert_eq!(model, AdaptiveBit { fast: fast + (65_535 - fast) / 24, slow: slow + (65_535 - slow) / 200, seen: 200 });
    }

    #[test]
    fn bits_and_fields_come_back_at_the_cost_that_was_told() {
        for n in [2, 10, 200] {
            let (mut writer, mut model) = (SymbolWriter::new(), AdaptiveBit::new(1 << 15));
            for (i, bit) in rare(n).enumerate() {
                writer.put_bit(&mut model, bit);
                if i % 100 == 0 {
                    writer.put_raw(i as u32, i as u32 / 100 % 17);
                }
            }
            let p = 1.0 / f64::from(n);
            let raw: f64 = (0..200).map(|i| f64::from(i % 17)).sum();
            let entropy = -20_000.0 * (p * p.log2() + (1.0 - p) * (1.0 - p).log2());
            let bits = writer.bits();
            assert!((bits - raw) / entropy < 1.2, "{} {entropy}", bits - raw);
            let payload = writer.finish();
            // Besides the fixed overhead, a state of 32 bits rounds away some thousandths.
            assert!((8.0 * payload.len() as f64 - bits).abs() < 40.0 + bits / 200.0, "{} {bits}", 8 * payload.len());
            let (mut reader, mut model) = (SymbolReader::new(&payload).unwrap(), AdaptiveBit::new(1 << 15));
            for (i, bit) in rare(n).enumerate() {
                assert_eq!(reader.get_bit(&mut model), bit);
                if i % 100 == 0 {
                    let width = i as u32 / 100 % 17;
                    assert_eq!(reader.get_raw(width), i as u32 & ((1 << width) - 1));
                }
            }
            reader.finish().unwrap();
        }
    }
}
