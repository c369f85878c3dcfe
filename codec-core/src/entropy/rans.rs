//! Range asymmetric numeral systems (Duda, "Asymmetric numeral systems", 2013).
//!
//! One state, a u32 with lower bound 2^16, renormalised by 16-bit words; probabilities have 16 bits. Interleaved states
//! would decode faster, but each costs some bytes a frame, and range coding is the smallest part of a frame's work. The
//! state starts, in the encoder, at 2^16 plus a 16-bit word of the caller's choice, which costs nothing and which the
//! decoder finds again after the last step: room for a checksum.
//!
//! # Byte layout
//! ```text
//! state     3 or 4 bytes: 4 where the state is 2^24 or more, so that the payload's length is even
//! words     u16 ...   in the decoder's reading order, to the end of the payload
//! ```
//! All numbers are little-endian. A payload without a single step has 3 bytes.

use crate::{Error, Result};

/// Bits of a probability.
pub(super) const PROBABILITY_BITS: u32 = 16;
const LOWER_BOUND: u32 = 1 << 16;
/// States from here on take four bytes.
const WIDE: u32 = 1 << 24;

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

/// Codes `intervals`, given in the order of decoding, with `seed` in the initial state.
pub(super) fn encode(intervals: &[Interval], seed: u16) -> Vec<u8> {
    let mut state = LOWER_BOUND | u32::from(seed);
    let mut words = Vec::with_capacity(intervals.len() / 8 + 16);
    for interval in intervals.iter().rev() {
        let size = u32::from(interval.size);
        if state >> 16 >= size {
            words.push(state as u16);
            state >>= 16;
        }
        state = ((state / size) << 16) + state % size + u32::from(interval.start);
    }
    let length = if state < WIDE { 3 } else { 4 };
    let mut bytes = Vec::with_capacity(length + 2 * words.len());
    bytes.extend_from_slice(&state.to_le_bytes()[..length]);
    bytes.extend(words.iter().rev().flat_map(|word| word.to_le_bytes()));
    bytes
}

/// Decoder of one payload. Work and memory are bounded by the number of steps asked for, whatever the input.
#[derive(Clone, Debug)]
pub(super) struct RansDecoder<'a> {
    state: u32,
    words: std::slice::ChunksExact<'a, u8>,
    exhausted: bool,
}

impl<'a> RansDecoder<'a> {
    /// # Errors
    /// [`Error::Corrupt`] if the state is truncated or impossible.
    pub(super) fn new(payload: &'a [u8]) -> Result<Self> {
        let length = 4 - payload.len() % 2;
        let (head, words) = payload
            .split_at_checked(length)
            .ok_or_else(|| Error::Corrupt("entropy payload: truncated in the rANS state".into()))?;
        let state = head.iter().rev().fold(0, |x, &b| x << 8 | u32::from(b));
        // Also refuses four bytes that would fit three: one meaning, one encoding.
        if state < if length == 4 { WIDE } else { LOWER_BOUND } {
            return Err(Error::Corrupt("entropy payload: rANS state below its bound".into()));
        }
        Ok(Self { state, words: words.chunks_exact(2), exhausted: false })
    }

    /// The slot, 0..65536, that the current step's interval contains.
    #[inline]
    pub(super) fn slot(&self) -> u32 {
        self.state & 0xffff
    }

    /// Ends the current step, whose interval `start..start + size` contains [`slot`](Self::slot).
    #[inline]
    pub(super) fn consume(&mut self, start: u32, size: u32) {
        // At least 1, since the state is at least 2^16 and the slot at least `start`; below 2^32, since size < 2^16.
        let mut x = size * (self.state >> 16) + (self.state & 0xffff) - start;
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
        self.state = x;
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

    /// Ends decoding and returns the word that the encoder put into its initial state.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if bytes are missing or left over or the state is not an initial one.
    pub(super) fn finish(self) -> Result<u16> {
        if self.exhausted {
            return Err(Error::Corrupt("entropy payload: truncated in the rANS words".into()));
        }
        if self.words.len() > 0 {
            return Err(Error::Corrupt(format!("entropy payload: {} bytes left over", 2 * self.words.len())));
        }
        if self.state >> 16 != 1 {
            return Err(Error::Corrupt("entropy payload: decoding does not end in an initial state".into()));
        }
        Ok(self.state as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five steps; their payload has words.
    fn steps() -> Vec<Interval> {
        [(0xbeef, 16), (0x1234, 16), (5, 3), (0x7fff, 15), (0, 1)].map(|(bits, count)| Interval::raw(bits, count)).to_vec()
    }

    fn message(result: Result<u16>) -> String {
        result.unwrap_err().to_string()
    }

    /// Reads `count` steps of [`steps`].
    fn read(payload: &[u8], count: usize) -> Result<u16> {
        let mut decoder = RansDecoder::new(payload)?;
        for count in [16, 16, 3, 15, 1].into_iter().take(count) {
            decoder.raw(count);
        }
        decoder.finish()
    }

    #[test]
    fn the_word_of_the_initial_state_comes_back() {
        assert_eq!(encode(&[], 0xabcd), [0xcd, 0xab, 0x01]);
        assert_eq!(RansDecoder::new(&[0xcd, 0xab, 0x01]).unwrap().finish().unwrap(), 0xabcd);
        assert_eq!(read(&encode(&steps(), 77), 5).unwrap(), 77);
    }

    #[test]
    fn a_state_has_one_form() {
        for (payload, message) in [
            (&[0xff, 0xff, 0x00][..], "below its bound"),
            (&[0xff, 0xff, 0xff, 0x00], "below its bound"),
            (&[0xff, 0xff], "truncated"),
            (&[], "truncated"),
        ] {
            let error = RansDecoder::new(payload).unwrap_err().to_string();
            assert!(error.contains(message), "{payload:?}: {error}");
        }
        assert!(RansDecoder::new(&[0, 0, 0, 1]).is_ok());
    }

    #[test]
    fn an_end_that_does_not_fit_is_corrupt() {
        let payload = encode(&steps(), 77);
        assert!(payload.len() > 5);
        assert!(message(read(&payload[..payload.len() - 2], 5)).contains("truncated in the rANS words"));
        assert!(message(read(&[&payload[..], &[0, 0]].concat(), 5)).contains("2 bytes left over"));
        // One step less than were coded: no byte is left, but the state is not an initial one.
        assert!(message(read(&payload, 4)).contains("initial state"));
    }
}
