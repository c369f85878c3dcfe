//! One description of a syntax for writing and reading.

use super::{AdaptiveBit, SymbolReader, SymbolWriter};

/// Where symbols go to or come from. What is given counts when writing; what is returned is what was written or read.
pub(crate) trait Symbols {
    fn bit(&mut self, model: &mut AdaptiveBit, given: bool) -> bool;
    fn raw(&mut self, bits: u32, given: u32) -> u32;
    /// Takes an integer that bits have made into the checksum.
    fn check(&mut self, symbol: i32);
}

/// Writes what is given.
pub(crate) struct Encoding<'a>(pub &'a mut SymbolWriter);

impl Symbols for Encoding<'_> {
    fn bit(&mut self, model: &mut AdaptiveBit, given: bool) -> bool {
        self.0.put_bit(model, given);
        given
    }

    fn raw(&mut self, bits: u32, given: u32) -> u32 {
        self.0.put_raw(given, bits);
        given
    }

    fn check(&mut self, symbol: i32) {
        self.0.check_symbol(symbol);
    }
}

/// Reads, whatever is given.
pub(crate) struct Decoding<'a, 'b>(pub &'a mut SymbolReader<'b>);

impl Symbols for Decoding<'_, '_> {
    fn bit(&mut self, model: &mut AdaptiveBit, _: bool) -> bool {
        self.0.get_bit(model)
    }

    fn raw(&mut self, bits: u32, _: u32) -> u32 {
        self.0.get_raw(bits)
    }

    fn check(&mut self, symbol: i32) {
        self.0.check_symbol(symbol);
    }
}
