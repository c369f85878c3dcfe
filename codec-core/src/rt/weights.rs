//! Weights of 10 bits as a model file holds them.

/// Bits of a weight.
const BITS: usize = 10;
/// Largest weight, and the smallest with its sign turned.
pub const MAX_WEIGHT: i16 = 511;

/// Bytes of a row of so many weights.
pub fn packed_len(weights: usize) -> usize {
    (weights * BITS).div_ceil(8)
}

/// Weights in a row of so many bytes.
pub fn weights_in(bytes: usize) -> usize {
    bytes * 8 / BITS
}

/// Packs rows of weights, two's complement, the first in the lowest bits; every row starts a byte.
///
/// # Panics
/// If a weight lies beyond +-[`MAX_WEIGHT`].
pub fn pack(weights: &[i16], per_row: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(weights.len() / per_row * packed_len(per_row));
    for row in weights.chunks_exact(per_row) {
        let (mut bits, mut count) = (0u32, 0);
        for &weight in row {
            assert!((-MAX_WEIGHT..=MAX_WEIGHT).contains(&weight), "weight {weight} does not fit {BITS} bits");
            bits |= (weight as u32 & ((1 << BITS) - 1)) << count;
            count += BITS;
            while count >= 8 {
                out.push(bits as u8);
                bits >>= 8;
                count -= 8;
            }
        }
        if count > 0 {
            out.push(bits as u8);
        }
    }
    out
}

/// Inverse of [`pack`]. `bytes` holds whole rows.
pub fn unpack(bytes: &[u8], per_row: usize) -> Vec<i16> {
    let mut out = Vec::with_capacity(bytes.len() / packed_len(per_row) * per_row);
    for row in bytes.chunks_exact(packed_len(per_row)) {
        for i in 0..per_row {
            let at = i * BITS;
            let byte = |j: usize| u32::from(row.get(at / 8 + j).copied().unwrap_or(0));
            let bits = (byte(0) | byte(1) << 8) >> (at % 8);
            // The sign is the highest of the 10 bits.
            out.push(((bits as i16) << (16 - BITS)) >> (16 - BITS));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_come_back() {
        let weights: Vec<i16> = (0..7 * 9).map(|i| (i * 173 % 1023) as i16 - 511).collect();
        for per_row in [9, 7, 63, 1] {
            let packed = pack(&weights, per_row);
            assert_eq!(packed.len(), weights.len() / per_row * packed_len(per_row));
            assert_eq!(weights_in(packed_len(per_row)), per_row);
            assert_eq!(unpack(&packed, per_row), weights);
        }
        assert_eq!(pack(&[1, -1, 511, -511], 4), [0x01, 0xfc, 0xff, 0x5f, 0x80]);
    }
}
