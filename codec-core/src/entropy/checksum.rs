//! CRC-32C over the symbols of a frame.

const BATCH: usize = 1024;

/// Running CRC-32C over symbols as little-endian i32. Symbols are gathered, since the CRC is far faster on long runs.
#[derive(Clone, Debug, Default)]
pub(super) struct SymbolChecksum {
    crc: u32,
    pending: Vec<i32>,
}

impl SymbolChecksum {
    #[inline]
    pub(super) fn push(&mut self, symbol: i32) {
        self.pending.push(symbol.to_le());
        if self.pending.len() == BATCH {
            self.flush();
        }
    }

    /// CRC of all symbols pushed so far.
    pub(super) fn value(&mut self) -> u32 {
        self.flush();
        self.crc
    }

    /// Goes back to the state whose [`value`](Self::value) was `crc`.
    pub(super) fn restore(&mut self, crc: u32) {
        self.pending.clear();
        self.crc = crc;
    }

    #[cold]
    fn flush(&mut self) {
        self.crc = crc32c::crc32c_append(self.crc, bytemuck::cast_slice(&self.pending));
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_do_not_change_the_value() {
        let symbols: Vec<i32> = (0..2500).map(|i| i * 7919 - 10_000_000).collect();
        let bytes: Vec<u8> = symbols.iter().flat_map(|s| s.to_le_bytes()).collect();
        let mut checksum = SymbolChecksum::default();
        for (i, &symbol) in symbols.iter().enumerate() {
            if i == 77 {
                assert_eq!(checksum.value(), crc32c::crc32c(&bytes[..77 * 4]));
            }
            checksum.push(symbol);
        }
        assert_eq!(checksum.value(), crc32c::crc32c(&bytes));
        checksum.restore(0);
        assert_eq!(checksum.value(), 0);
    }
}
