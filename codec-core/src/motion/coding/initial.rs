//! Probabilities that the models start with, in 1/256: means over clips.

use super::contexts::{CLASSES, INDICES, MERGES, NEGATIVES, NONZEROS, OTHERS, SECONDS, SIDES, SIZES, SPLITS, SPREADS};
use crate::entropy::AdaptiveBit;

/// What an initial probability counts for, in bits seen.
const TRUST: u8 = 16;

pub(super) fn model(probability: u8) -> AdaptiveBit {
    AdaptiveBit::with_trust(u16::from(probability) << 8 | 128, TRUST)
}

/// By size from 64 down, smaller neighbours (rows) and the last frame (not split, split, none).
#[rustfmt::skip]
pub(super) const SPLIT: [u8; SPLITS] = [
    15, 187, 56, 44, 222, 134, 102, 244, 226,
    26, 183, 68, 58, 216, 131, 101, 239, 218,
    27, 156, 59, 65, 195, 121, 115, 223, 179,
    1,
];

/// By size from 8 up and number of candidates.
#[rustfmt::skip]
pub(super) const MERGE: [u8; MERGES] = [
    207, 183, 167, 157, 126, 88,
    237, 211, 200, 190, 162, 129,
    245, 193, 192, 191, 160, 131,
    254,
];

/// By index (0, 1) and number of candidates, origin; then by index (2 and up), number of candidates; then outside the picture.
#[rustfmt::skip]
pub(super) const INDEX: [u8; INDICES] = [
    128, 128, 128, 128,
    135, 62, 23, 6,
    93, 31, 48, 26,
    123, 54, 64, 45,
    144, 86, 87, 71,
    159, 126, 107, 128,
    128, 128, 128, 128,
    128, 128, 128, 128,
    93, 76, 68, 14,
    84, 76, 73, 49,
    124, 103, 73, 71,
    160, 147, 128, 74,
    128, 128, 128, 88,
    147, 162, 128, 128,
    128, 128, 74, 165,
    128, 128, 128, 128,
    128, 85, 6, 29,
    242, 53, 51,
];

/// By component and size (rows), spread, and whether x differs.
#[rustfmt::skip]
pub(super) const NONZERO: [u8; NONZEROS] = [
    198, 128, 210, 128, 227, 128,
    176, 128, 194, 128, 209, 128,
    180, 128, 187, 128, 199, 128,
    119, 193, 143, 211, 157, 231,
    98, 162, 144, 195, 131, 210,
    77, 153, 145, 204, 168, 206,
];

/// By component, and what the last frame makes likely.
#[rustfmt::skip]
pub(super) const NEGATIVE: [u8; NEGATIVES] = [
    187, 157, 128, 95, 77,
    169, 154, 121, 82, 84,
];

/// By component and class.
#[rustfmt::skip]
pub(super) const SECOND: [u8; SECONDS] = [
    128, 146, 140, 119, 101, 108, 80, 6, 98, 128, 128, 128, 128, 128,
    128, 136, 133, 114, 102, 99, 55, 7, 128, 128, 128, 128, 128, 128,
];

/// By size from 8 up, spread and side.
#[rustfmt::skip]
const BEYOND: [[u8; CLASSES - 1]; SIZES * SPREADS * SIDES] = [
    [171, 169, 179, 178, 155, 109, 9, 1, 89, 89, 89, 89, 89],
    [203, 201, 212, 212, 207, 174, 135, 190, 89, 89, 89, 89, 89],
    [162, 143, 139, 139, 128, 104, 13, 6, 18, 89, 89, 89, 89],
    [212, 178, 165, 161, 147, 100, 2, 1, 89, 89, 89, 89, 89],
    [229, 204, 193, 190, 196, 170, 130, 182, 89, 89, 89, 89, 89],
    [195, 147, 124, 113, 113, 99, 9, 3, 24, 89, 89, 89, 89],
    [239, 221, 207, 195, 163, 103, 10, 1, 89, 89, 89, 89, 89],
    [247, 237, 228, 221, 200, 164, 117, 182, 89, 89, 89, 89, 89],
    [231, 196, 175, 159, 128, 94, 20, 1, 27, 89, 89, 89, 89],
    [106, 108, 140, 169, 134, 100, 24, 1, 89, 89, 89, 89, 89],
    [163, 176, 202, 218, 199, 174, 136, 182, 89, 89, 89, 89, 89],
    [112, 86, 82, 95, 96, 75, 50, 1, 27, 89, 89, 89, 89],
    [181, 128, 115, 123, 121, 123, 4, 1, 89, 89, 89, 89, 89],
    [222, 181, 163, 167, 186, 164, 134, 182, 89, 89, 89, 89, 89],
    [168, 99, 71, 59, 68, 85, 17, 1, 27, 89, 89, 89, 89],
    [220, 191, 177, 166, 157, 103, 12, 1, 89, 89, 89, 89, 89],
    [241, 229, 218, 213, 202, 181, 137, 206, 89, 89, 89, 89, 89],
    [201, 166, 124, 113, 83, 70, 30, 1, 18, 89, 89, 89, 89],
    [67, 60, 113, 169, 115, 67, 39, 1, 89, 89, 89, 89, 89],
    [140, 187, 220, 225, 237, 177, 124, 182, 89, 89, 89, 89, 89],
    [77, 56, 63, 45, 21, 27, 2, 1, 27, 89, 89, 89, 89],
    [143, 87, 76, 88, 96, 93, 4, 1, 89, 89, 89, 89, 89],
    [204, 169, 144, 151, 138, 167, 123, 182, 89, 89, 89, 89, 89],
    [142, 77, 53, 37, 31, 43, 13, 1, 27, 89, 89, 89, 89],
    [170, 132, 130, 118, 86, 79, 4, 1, 89, 89, 89, 89, 89],
    [229, 225, 215, 207, 192, 190, 123, 182, 89, 89, 89, 89, 89],
    [137, 139, 109, 80, 45, 35, 7, 1, 27, 89, 89, 89, 89],
];

/// Of a row of models; alike for x and y and whatever x's difference.
pub(super) fn beyond(row: usize) -> [u8; CLASSES - 1] {
    let (rest, side) = (row / SIDES, row % SIDES);
    BEYOND[rest / OTHERS % (SIZES * SPREADS) * SIDES + side]
}
