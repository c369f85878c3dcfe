//! Two-way interleaved range asymmetric numeral systems (Duda, "Asymmetric numeral systems", 2013; interleaving as in
//! Giesen, "Interleaved entropy coders", 2014).
//!
//! States are u32 with lower bound 2^16, renormalised by 16-bit words; probabilities have 16 bits. Step k of the decoder
//! works on state k mod 2. Each state starts, in the encoder, at 2^16 plus a 16-bit word of the caller's choice, which
//! costs nothing and which the decoder finds again after the last step: room for a checksum.
//!
//! # Byte layout
//! ```text
//! tag       u8        bit i: the upper half of state i takes two bytes instead of one; bits 2..8 are zero
//! state 0..2          lower half u16, then upper half u8 or u16 (u16 only where it is 256 or more)
//! words     u16 ...   in the decoder's reading order, to the end of the payload
//! ```
//! All numbers are little-endian. A payload without a single step has 7 bytes.

use crate::{Error, Result};

/// Interleaved states. Each costs some bytes a frame, which weigh more than what a third and fourth save in time.
pub(super) const LANES: usize = 2;
/// Bits of a probability.
pub(super) const PROBABILITY_BITS: u32 = 16;
const LOWER_BOUND: u32 = 1 << 16;

/// A part `start..start + size` of the 2^16 slots; `size` is at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) start: u16,
    pub(super) size: u16,
}

impl Interval {
    /// `count` raw bits (1..=16) of the value `bits`.
    pub(super) fn raw(bits: u32, count: u32) -> Self {
        let unit = PROBABILITY_BITS - count;
        Self { start: (bits << unit) as u16, size: 1 << unit }
    }
}

/// Codes `intervals`, given in the order of decoding, with `seeds` in the initial states.
pub(super) fn encode(intervals: &[Interval], seeds: [u16; LANES]) -> Vec<u8> {
    let mut states = seeds.map(|seed| LOWER_BOUND | u32::from(seed));
    let mut words = Vec::with_capacity(intervals.len() / 8 + 16);
    for (step, interval) in intervals.iter().enumerate().rev() {
        let state = &mut states[step % LANES];
        let size = u32::from(interval.size);
        let mut x = *state;
        if x >> 16 >= size {
            words.push(x as u16);
            x >>= 16;
        }
        *state = ((x / size) << 16) + x % size + u32::from(interval.start);
    }
    let mut bytes = Vec::with_capacity(1 + 4 * LANES + 2 * words.len());
    let wide = |state: u32| state >> 24 != 0;
    bytes.push((0..LANES).fold(0, |tag, lane| tag | u8::from(wide(states[lane])) << lane));
    for state in states {
        let length = if wide(state) { 4 } else { 3 };
        bytes.extend_from_slice(&state.to_le_bytes()[..length]);
    }
    bytes.extend(words.iter().rev().flat_map(|word| word.to_le_bytes()));
    bytes
}

/// Decoder of one payload. Work and memory are bounded by the number of steps asked for, whatever the input.
#[derive(Clone, Debug)]
pub(super) struct RansDecoder<'a> {
    states: [u32; LANES],
    lane: usize,
    words: std::slice::ChunksExact<'a, u8>,
    exhausted: bool,
}

impl<'a> RansDecoder<'a> {
    /// # Errors
    /// [`Error::Corrupt`] if the states are truncated or impossible.
    pub(super) fn new(payload: &'a [u8]) -> Result<Self> {
        let truncated = || Error::Corrupt("entropy payload: truncated in the rANS states".into());
        let (&tag, mut rest) = payload.split_first().ok_or_else(truncated)?;
        if tag >> LANES != 0 {
            return Err(Error::Corrupt(format!("entropy payload: tag {tag:#04x} of the rANS states")));
        }
        let mut states = [0; LANES];
        for (lane, state) in states.iter_mut().enumerate() {
            let wide = tag >> lane & 1 != 0;
            let (head, tail) = rest.split_at_checked(if wide { 4 } else { 3 }).ok_or_else(truncated)?;
            *state = head.iter().rev().fold(0, |x, &b| x << 8 | u32::from(b));
            // Also refuses a wide state that would fit three bytes: one meaning, one encoding.
            if *state < if wide { 1 << 24 } else { LOWER_BOUND } {
                return Err(Error::Corrupt("entropy payload: rANS state below its bound".into()));
            }
            rest = tail;
        }
        let words = rest.chunks_exact(2);
        if !words.remainder().is_empty() {
            return Err(Error::Corrupt("entropy payload: half a word at its end".into()));
        }
        Ok(Self { states, lane: 0, words, exhausted: false })
    }

    /// The slot, 0..65536, that the current step's interval contains.
    #[inline]
    pub(super) fn slot(&self) -> u32 {
        self.states[self.lane] & 0xffff
    }

    /// Ends the current step, whose interval `start..start + size` contains [`slot`](Self::slot).
    #[inline]
    pub(super) fn consume(&mut self, start: u32, size: u32) {
        let state = &mut self.states[self.lane];
        // At least 1, since the state is at least 2^16 and the slot at least `start`; below 2^32, since size < 2^16.
        let mut x = size * (*state >> 16) + (*state & 0xffff) - start;
        if x < LOWER_BOUND {
            let word = match self.words.next() {
                Some(word) => u16::from_le_bytes([word[0], word[1]]),
                None => {
                    self.exhausted = true;
                    0
                }
            };
            x = x << 16 | u32::from(word);
        }
        *state = x;
        self.lane = (self.lane + 1) % LANES;
    }

    /// `count` raw bits, 1..=16.
    #[inline]
    pub(super) fn raw(&mut self, count: u32) -> u32 {
        let unit = PROBABILITY_BITS - count;
        let bits = self.slot() >> unit;
        self.consume(bits << unit, 1 << unit);
        bits
    }

    /// Whether more words were needed than the payload has.
    pub(super) fn exhausted(&self) -> bool {
        self.exhausted
    }

    /// Ends decoding and returns the words that the encoder put into its initial states.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if bytes are missing or left over or a state is not an initial one.
    pub(super) fn finish(self) -> Result<[u16; LANES]> {
        if self.exhausted {
            return Err(Error::Corrupt("entropy payload: truncated in the rANS words".into()));
        }
        if self.words.len() > 0 {
            return Err(Error::Corrupt(format!("entropy payload: {} bytes left over", 2 * self.words.len())));
        }
        if self.states.iter().any(|state| state >> 16 != 1) {
            return Err(Error::Corrupt("entropy payload: decoding does not end in an initial state".into()));
        }
        Ok(self.states.map(|state| state as u16))
    }
}
