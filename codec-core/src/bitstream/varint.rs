//! Variable-length integers: unsigned LEB128.

/// Longest variable-length integer: 32 bits in groups of 7.
pub(super) const VARINT_MAX_BYTES: usize = 5;

/// A variable-length integer at the start of a buffer.
pub(super) enum Varint {
    /// Value and number of bytes.
    Complete(u32, usize),
    /// The buffer ends inside the integer.
    Incomplete,
    /// More than 32 bits, or not the shortest form.
    Invalid,
}

/// Reads unsigned LEB128: 7 bits a byte, least significant first, the high bit set on all but the last byte.
pub(super) fn varint(data: &[u8]) -> Varint {
    let mut value = 0u64;
    for (i, &byte) in data.iter().take(VARINT_MAX_BYTES).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let shortest = i == 0 || byte != 0;
            return match u32::try_from(value) {
                Ok(value) if shortest => Varint::Complete(value, i + 1),
                _ => Varint::Invalid,
            };
        }
    }
    if data.len() < VARINT_MAX_BYTES { Varint::Incomplete } else { Varint::Invalid }
}

/// Appends `value` as unsigned LEB128 in its shortest form.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
