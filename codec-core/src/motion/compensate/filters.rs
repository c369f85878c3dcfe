//! The interpolation filters of HEVC (ITU-T H.265, 8.5.3.3.3), and where a block's samples come from.

use crate::motion::{MotionVector, PaddedPlane};

/// Taps for luma at 0, 1/4, 1/2 and 3/4 of a sample, from the sample 3 before the position to the one 4 after it.
const LUMA: [[i8; 8]; 4] =
    [[0, 0, 0, 64, 0, 0, 0, 0], [-1, 4, -10, 58, 17, -5, 1, 0], [-1, 4, -11, 40, 40, -11, 4, -1], [0, 1, -5, 17, 58, -10, 4, -1]];

/// Taps for chroma at 0, 1/8, .. 7/8 of a sample, from the sample before the position to the one 2 after it. Half of each row is
/// unused, so that luma and chroma share a type.
const CHROMA: [[i8; 8]; 8] = [
    [0, 64, 0, 0, 0, 0, 0, 0],
    [-2, 58, 10, -2, 0, 0, 0, 0],
    [-4, 54, 16, -2, 0, 0, 0, 0],
    [-6, 46, 28, -4, 0, 0, 0, 0],
    [-4, 36, 36, -4, 0, 0, 0, 0],
    [-4, 28, 46, -6, 0, 0, 0, 0],
    [-2, 16, 54, -4, 0, 0, 0, 0],
    [-2, 10, 58, -2, 0, 0, 0, 0],
];

/// What predictions are stored less, so that all fit into 16 bits: they are 64 per grey level, between -16 830 and 33 150, for the
/// positive taps of a filter sum up to 88 and the negative ones to -24. A filter's taps sum up to 64, so the offset passes through
/// it unchanged, and through every blending. Values after one filter lie between -14 312 and 14 248, after two between -25 022
/// and 24 958.
pub(super) const OFFSET: i16 = 128 * 64;

/// Taps of the planes with `S` samples at a position: 1 is luma, 2 is chroma, U and V interleaved.
pub(super) const fn taps<const S: usize>() -> usize {
    8 / S
}

/// Samples that a filter reads before the position, in each direction.
pub(super) const fn before<const S: usize>() -> usize {
    taps::<S>() / 2 - 1
}

/// The samples that a block is interpolated from.
pub(super) struct Source<'a> {
    /// From the first tap of the upper left sample on, in both directions, even if one is not filtered.
    pub samples: &'a [u8],
    pub stride: usize,
    /// Taps along rows and columns; none where the vector is whole.
    pub x: Option<&'static [i8; 8]>,
    pub y: Option<&'static [i8; 8]>,
}

impl<'a> Source<'a> {
    /// The source of the block at (`x`, `y`) of the plane, in its own samples, moved by `vector`.
    pub fn new<const S: usize>(plane: &'a PaddedPlane, x: usize, y: usize, vector: MotionVector) -> Self {
        // A quarter of a luma sample is an eighth of a chroma sample.
        let bits = 1 + S as u32;
        let part = |v: i16| usize::from(v as u16 & ((1 << bits) - 1));
        let filter = |part: usize| (part > 0).then(|| if S == 1 { &LUMA[part] } else { &CHROMA[part] });
        let whole = |at: usize, v: i16| at as i32 + i32::from(v >> bits);
        Self {
            samples: plane.block(whole(x, vector.x), whole(y, vector.y), before::<S>()),
            stride: plane.stride(),
            x: filter(part(vector.x)),
            y: filter(part(vector.y)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_mirrored_and_keep_the_mean() {
        for (part, taps) in LUMA.iter().enumerate() {
            assert_eq!(taps.iter().map(|&t| i32::from(t)).sum::<i32>(), 64);
            let mirrored: Vec<i8> = LUMA[(4 - part) % 4].iter().rev().copied().collect();
            assert!(part == 0 || taps[..] == mirrored);
        }
        for (part, taps) in CHROMA.iter().enumerate() {
            assert_eq!(taps.iter().map(|&t| i32::from(t)).sum::<i32>(), 64);
            let mirrored: Vec<i8> = CHROMA[(8 - part) % 8][..4].iter().rev().copied().collect();
            assert!(part == 0 || taps[..4] == mirrored);
        }
    }

    #[test]
    fn values_fit_into_their_range() {
        let sums = |taps: &[i8; 8]| {
            let sum = |sign: i32| taps.iter().map(|&t| i32::from(t)).filter(|t| t * sign > 0).sum::<i32>();
            (sum(1), sum(-1))
        };
        let (mut once, mut twice) = ((0, 0), (0, 0));
        for (up, down) in LUMA.iter().chain(&CHROMA).map(sums) {
            let (high, low) = (127 * up - 128 * down, -128 * up + 127 * down);
            once = (once.0.max(high), once.1.min(low));
        }
        for (up, down) in LUMA.iter().chain(&CHROMA).map(sums) {
            let (high, low) = (up * once.0 + down * once.1, up * once.1 + down * once.0);
            twice = (twice.0.max((high + 32) >> 6), twice.1.min((low + 32) >> 6));
        }
        assert_eq!((once, twice), ((14_248, -14_312), (24_958, -25_022)));
        assert!(i16::try_from(twice.0).is_ok() && i16::try_from(twice.1).is_ok());
    }
}
