//! Writing and reading the symbols of a frame.

use super::adaptive::AdaptiveBit;
use super::checksum::SymbolChecksum;
#[cfg(feature = "training")]
use super::counts::SymbolCounts;
use super::rans::{Interval, RansDecoder, encode};
use super::tables::{Place, Tables};
use crate::{Error, Result};

/// Largest magnitude of a symbol; quantisation clamps to it.
pub const MAX_SYMBOL: i32 = (1 << 20) - 1;
/// Mean size of a payload beyond [`SymbolWriter::bits`], in bytes: what the state has beyond its 16 bits of checksum, and
/// the checksum.
pub const MEAN_OVERHEAD_BYTES: f64 = 2.5;
/// Longest suffix of the escape's Exp-Golomb code.
const MAX_SUFFIX_BITS: u32 = 19;
const RAW_BITS: u32 = 16;

/// A position in a [`SymbolWriter`] to go back to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    steps: usize,
    bits: f64,
    crc: u32,
}

/// Gathers the symbols of one frame in coding order.
///
/// Cost is known before anything is coded: rate control can write a latent, look at [`bits`](Self::bits), go back with
/// [`rewind`](Self::rewind), and write it again at another quality.
#[derive(Clone, Debug, Default)]
pub struct SymbolWriter {
    steps: Vec<Interval>,
    bits: f64,
    checksum: SymbolChecksum,
    /// What [`put`](Self::put) wrote, if someone wants to know.
    #[cfg(feature = "training")]
    counts: Option<Box<SymbolCounts>>,
}

impl SymbolWriter {
    /// A writer without symbols.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `symbol` (magnitude at most [`MAX_SYMBOL`]) at scale index `k`.
    ///
    /// # Panics
    /// If `k` is not below 64.
    #[inline]
    pub fn put(&mut self, tables: &Tables, k: usize, symbol: i32) {
        debug_assert!(symbol.unsigned_abs() <= MAX_SYMBOL as u32);
        match tables.place(k, symbol) {
            Place::Direct(interval) => self.steps.push(interval),
            Place::Escape(interval, beyond) => {
                self.steps.push(interval);
                self.put_escape(beyond, symbol < 0);
            }
        }
        self.bits += f64::from(tables.bits(k, symbol));
        self.checksum.push(symbol);
        #[cfg(feature = "training")]
        if let Some(counts) = &mut self.counts {
            counts.add(k, symbol);
        }
    }

    /// Counts of what [`put`](Self::put) wrote since the last call; the first call starts counting. [`rewind`](Self::rewind) takes
    /// nothing out of them.
    #[cfg(feature = "training")]
    pub fn take_counts(&mut self) -> SymbolCounts {
        self.counts.replace(Box::default()).map_or_else(SymbolCounts::default, |counts| *counts)
    }

    #[cold]
    fn put_escape(&mut self, beyond: u32, negative: bool) {
        let suffix_bits = beyond.ilog2();
        for _ in 0..suffix_bits {
            self.steps.push(Interval::raw(0, 1));
        }
        self.steps.push(Interval::raw(1, 1));
        let suffix = beyond ^ 1 << suffix_bits;
        let low_bits = suffix_bits.min(RAW_BITS);
        if suffix_bits > low_bits {
            let high = suffix >> low_bits;
            self.steps.push(Interval::raw(high, suffix_bits - low_bits));
        }
        if low_bits > 0 {
            let low = suffix & ((1 << low_bits) - 1);
            self.steps.push(Interval::raw(low, low_bits));
        }
        self.steps.push(Interval::raw(negative.into(), 1));
    }

    /// Appends a bit with the probability of `model`, which learns it. The bit does not enter the checksum: see
    /// [`check_symbol`](Self::check_symbol).
    #[inline]
    pub fn put_bit(&mut self, model: &mut AdaptiveBit, bit: bool) {
        self.steps.push(model.interval(bit));
        self.bits += f64::from(model.bits(bit));
        model.adapt(bit);
    }

    /// Appends the low `bits` (0..=16) bits of `value` as they are, in one step. They do not enter the checksum.
    ///
    /// # Panics
    /// If `bits` is above 16.
    #[inline]
    pub fn put_raw(&mut self, value: u32, bits: u32) {
        assert!(bits <= RAW_BITS, "a raw field has at most 16 bits");
        if bits > 0 {
            self.steps.push(Interval::raw(value & ((1 << bits) - 1), bits));
            self.bits += f64::from(bits);
        }
    }

    /// Takes an integer that was coded by [`put_bit`](Self::put_bit) and [`put_raw`](Self::put_raw) into the checksum.
    #[inline]
    pub fn check_symbol(&mut self, symbol: i32) {
        self.checksum.push(symbol);
    }

    /// Cost of the symbols so far by the tables, in bits. The payload has about [`MEAN_OVERHEAD_BYTES`] more.
    pub fn bits(&self) -> f64 {
        self.bits
    }

    /// CRC-32C of the symbols so far.
    pub fn checksum(&mut self) -> u32 {
        self.checksum.value()
    }

    /// The present position, for [`rewind`](Self::rewind).
    pub fn mark(&mut self) -> Mark {
        Mark { steps: self.steps.len(), bits: self.bits, crc: self.checksum.value() }
    }

    /// Takes back everything written after `mark`, which must come from this writer and a position before this one.
    pub fn rewind(&mut self, mark: Mark) {
        self.steps.truncate(mark.steps);
        self.bits = mark.bits;
        self.checksum.restore(mark.crc);
    }

    /// Codes the symbols into a payload and empties the writer, which keeps its memory.
    pub fn finish(&mut self) -> Vec<u8> {
        let payload = encode(&self.steps, self.checksum.value() as u16);
        self.clear();
        payload
    }

    /// Forgets the symbols so far. The writer keeps its memory.
    pub fn clear(&mut self) {
        self.steps.clear();
        self.bits = 0.0;
        self.checksum.restore(0);
    }
}

/// Reads the symbols of one frame's payload.
///
/// After damage it goes on with meaningless symbols of the right range, in bounded time; [`check`](Self::check) and
/// [`finish`](Self::finish) report it.
#[derive(Clone, Debug)]
pub struct SymbolReader<'a> {
    rans: RansDecoder<'a>,
    checksum: SymbolChecksum,
    bad_escape: bool,
}

impl<'a> SymbolReader<'a> {
    /// Starts on a whole payload.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is too short or does not start with valid states.
    pub fn new(payload: &'a [u8]) -> Result<Self> {
        Ok(Self { rans: RansDecoder::new(payload)?, checksum: SymbolChecksum::default(), bad_escape: false })
    }

    /// The next symbol, at scale index `k`. Its magnitude is at most [`MAX_SYMBOL`].
    ///
    /// # Panics
    /// If `k` is not below 64.
    #[inline]
    pub fn get(&mut self, tables: &Tables, k: usize) -> i32 {
        let found = tables.find(k, self.rans.slot());
        self.rans.consume(found.start, found.size);
        let symbol = match found.symbol {
            Some(symbol) => symbol,
            None => self.get_escape(tables.reach(k)),
        };
        self.checksum.push(symbol);
        symbol
    }

    #[cold]
    fn get_escape(&mut self, reach: i32) -> i32 {
        let mut suffix_bits = 0;
        while self.rans.raw(1) == 0 {
            suffix_bits += 1;
            if suffix_bits > MAX_SUFFIX_BITS {
                self.bad_escape = true;
                return 0;
            }
        }
        let low_bits = suffix_bits.min(RAW_BITS);
        let mut beyond = 1;
        for count in [suffix_bits - low_bits, low_bits] {
            if count > 0 {
                beyond = beyond << count | self.rans.raw(count) as i32;
            }
        }
        let magnitude = reach + beyond;
        if magnitude > MAX_SYMBOL {
            self.bad_escape = true;
            return 0;
        }
        if self.rans.raw(1) != 0 { -magnitude } else { magnitude }
    }

    /// The next bit, by the probability of `model`, which learns it.
    #[inline]
    pub fn get_bit(&mut self, model: &mut AdaptiveBit) -> bool {
        let bit = model.find(self.rans.slot());
        let interval = model.interval(bit);
        self.rans.consume(interval.start.into(), interval.size.into());
        model.adapt(bit);
        bit
    }

    /// The next raw field of `bits` (0..=16) bits.
    ///
    /// # Panics
    /// If `bits` is above 16.
    #[inline]
    pub fn get_raw(&mut self, bits: u32) -> u32 {
        assert!(bits <= RAW_BITS, "a raw field has at most 16 bits");
        if bits == 0 { 0 } else { self.rans.raw(bits) }
    }

    /// Takes an integer made of bits that were read into the checksum, as [`SymbolWriter::check_symbol`] does.
    #[inline]
    pub fn check_symbol(&mut self, symbol: i32) {
        self.checksum.push(symbol);
    }

    /// Tells damage that has shown already, so that a caller can stop early.
    ///
    /// # Errors
    /// [`Error::Corrupt`] after an impossible escape code or past the payload's end.
    pub fn check(&self) -> Result<()> {
        if self.bad_escape {
            return Err(Error::Corrupt("entropy payload: impossible escape code".into()));
        }
        if self.rans.exhausted() {
            return Err(Error::Corrupt("entropy payload: truncated".into()));
        }
        Ok(())
    }

    /// CRC-32C of the symbols so far.
    pub fn checksum(&mut self) -> u32 {
        self.checksum.value()
    }

    /// Checks that the payload ends here and that its checksum is that of the symbols read, and returns the checksum.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn finish(mut self) -> Result<u32> {
        self.check()?;
        let word = self.rans.finish()?;
        let crc = self.checksum.value();
        if word != crc as u16 {
            return Err(Error::Corrupt("entropy payload: checksum of the symbols does not match".into()));
        }
        Ok(crc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewinding_takes_back_everything() {
        let tables = Tables::gaussian();
        let write =
            |writer: &mut SymbolWriter, symbols: &[i32]| symbols.iter().for_each(|&symbol| writer.put(&tables, 30, symbol));
        let (mut plain, mut rewound) = (SymbolWriter::new(), SymbolWriter::new());
        write(&mut plain, &[1, -2, 0]);
        let wanted = (plain.bits(), plain.checksum());
        write(&mut rewound, &[1, -2, 0]);
        let mark = rewound.mark();
        // One of them escapes.
        write(&mut rewound, &[900, 3]);
        assert!(rewound.bits() > wanted.0 && rewound.checksum() != wanted.1);
        rewound.rewind(mark);
        assert_eq!((rewound.bits(), rewound.checksum()), wanted);
        write(&mut plain, &[4]);
        write(&mut rewound, &[4]);
        assert_eq!(rewound.finish(), plain.finish());
        // The writer starts anew.
        assert_eq!((rewound.bits(), rewound.checksum()), (0.0, 0));
    }
}
