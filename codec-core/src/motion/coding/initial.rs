//! Probabilities that the models start with, in 1/256: means over clips.

use super::candidates::SPLITS;
use super::contexts::{
    ALONES, CLASSES, GOLDENS, INDICES, MERGES, NEGATIVES, NONZEROS, OTHERS, ROWS, SECONDS, SIDES, SIZES, SPREADS,
};
use crate::entropy::AdaptiveBit;

/// What an initial probability counts for, in bits seen.
const TRUST: u8 = 16;

pub(super) fn model(probability: u8) -> AdaptiveBit {
    AdaptiveBit::with_trust(u16::from(probability) << 8 | 128, TRUST)
}

/// By size from 64 down, smaller neighbours (rows) and the last frame (not split, split, none).
#[rustfmt::skip]
pub(super) const SPLIT: [u8; SPLITS] = [
    11, 214, 61, 33, 239, 143, 71, 249, 234,
    15, 197, 67, 48, 230, 138, 83, 243, 213,
    18, 170, 53, 59, 204, 121, 104, 230, 188,
    1,
];

/// By size from 8 up and number of candidates.
#[rustfmt::skip]
pub(super) const MERGE: [u8; MERGES] = [
    244, 219, 213, 213, 207, 143,
    249, 236, 232, 229, 220, 184,
    250, 221, 225, 219, 210, 190,
    254,
];

/// By index (0, 1) and number of candidates, origin; then by index (2 and up), number of candidates; then outside the picture.
#[rustfmt::skip]
pub(super) const INDEX: [u8; INDICES] = [
    128, 128, 128, 128, 128, 128, 128, 128,
    178, 59, 11, 7, 161, 41, 8, 2,
    169, 56, 64, 17, 76, 10, 52, 15,
    181, 67, 83, 25, 112, 22, 63, 27,
    185, 74, 89, 50, 128, 34, 69, 42,
    193, 93, 116, 80, 147, 47, 79, 76,
    128, 128, 128, 128, 128, 128, 128, 128,
    128, 128, 128, 128, 128, 128, 128, 128,
    41, 49, 47, 9, 37, 41, 24, 3,
    107, 71, 145, 29, 142, 15, 65, 15,
    151, 106, 165, 50, 144, 33, 69, 33,
    189, 152, 187, 72, 162, 61, 103, 49,
    128, 128, 128, 38, 88, 136,
    128, 128, 128, 128, 54, 123,
    128, 128, 128, 128, 128, 87,
    1, 128, 128, 128, 128,
];

/// By component and size (rows), spread, and whether x differs.
#[rustfmt::skip]
pub(super) const NONZERO: [u8; NONZEROS] = [
    211, 128, 220, 128, 233, 128,
    177, 128, 194, 128, 224, 128,
    182, 128, 183, 128, 183, 128,
    108, 207, 145, 224, 141, 239,
    46, 159, 121, 213, 122, 226,
    40, 157, 127, 220, 158, 213,
    // To the golden frame.
    59, 128, 31, 176,
];

/// By component, and what the last frame makes likely.
#[rustfmt::skip]
pub(super) const NEGATIVE: [u8; NEGATIVES] = [
    173, 155, 127, 99, 86,
    164, 153, 124, 93, 96,
    // To the golden frame.
    120, 124,
];

/// By component and class.
#[rustfmt::skip]
pub(super) const SECOND: [u8; SECONDS] = [
    128, 146, 166, 124, 79, 88, 100, 112, 115, 115, 115, 115, 115, 115,
    128, 150, 147, 95, 71, 88, 103, 112, 115, 115, 115, 115, 115, 115,
    // To the golden frame.
    128, 118, 134, 89, 92, 97, 116, 109, 110, 100, 100, 100, 100, 100,
    128, 118, 134, 89, 92, 97, 116, 109, 110, 100, 100, 100, 100, 100,
];

/// By size from 8 up, neighbours that use the golden frame, and whether the last frame did here.
#[rustfmt::skip]
pub(super) const GOLDEN: [u8; GOLDENS] = [
    8, 39, 34, 118, 75, 165,
    5, 73, 34, 130, 111, 175,
    5, 58, 49, 133, 111, 164,
    7, 54, 58, 132, 147, 169,
];

/// By neighbours that use it alone.
pub(super) const ALONE: [u8; ALONES] = [100, 189, 222];

/// [`SPLIT`] of B-frames.
#[rustfmt::skip]
pub(super) const B_SPLIT: [u8; SPLITS] = [
    2, 64, 61, 9, 156, 143, 44, 225, 234,
    7, 78, 67, 18, 155, 138, 53, 215, 213,
    9, 75, 53, 30, 143, 121, 82, 195, 188,
    1,
];

/// [`MERGE`] of B-frames.
#[rustfmt::skip]
pub(super) const B_MERGE: [u8; MERGES] = [
    240, 226, 224, 224, 216, 189,
    254, 247, 232, 223, 217, 198,
    254, 247, 234, 217, 205, 179,
    254,
];

/// [`GOLDEN`] of B-frames, where it stands for the later frame.
#[rustfmt::skip]
pub(super) const B_GOLDEN: [u8; GOLDENS] = [
    52, 66, 116, 136, 178, 192,
    43, 60, 140, 152, 204, 215,
    44, 54, 158, 165, 211, 206,
    56, 97, 171, 197, 231, 239,
];

/// [`ALONE`] of B-frames.
pub(super) const B_ALONE: [u8; ALONES] = [71, 157, 211];

/// By size from 8 up, spread and side.
#[rustfmt::skip]
const BEYOND: [[u8; CLASSES - 1]; SIZES * SPREADS * SIDES] = [
    [148, 140, 149, 143, 147, 148, 157, 119, 80, 100, 100, 100, 100],
    [184, 175, 190, 192, 209, 214, 222, 202, 80, 100, 100, 100, 100],
    [129, 109, 104, 105, 103, 129, 152, 97, 80, 100, 100, 100, 100],
    [213, 156, 131, 121, 141, 174, 174, 121, 80, 100, 100, 100, 100],
    [232, 188, 167, 157, 192, 208, 218, 210, 92, 100, 100, 100, 100],
    [193, 127, 96, 80, 93, 150, 164, 110, 80, 100, 100, 100, 100],
    [244, 209, 197, 183, 181, 172, 171, 121, 80, 100, 100, 100, 100],
    [248, 228, 219, 218, 221, 226, 226, 208, 81, 100, 100, 100, 100],
    [228, 185, 163, 140, 113, 118, 138, 98, 80, 100, 100, 100, 100],
    [72, 109, 159, 194, 178, 160, 138, 84, 80, 100, 100, 100, 100],
    [131, 171, 208, 218, 214, 204, 199, 182, 80, 100, 100, 100, 100],
    [89, 67, 89, 116, 140, 125, 144, 80, 80, 100, 100, 100, 100],
    [183, 115, 121, 150, 160, 164, 130, 90, 80, 100, 100, 100, 100],
    [230, 171, 162, 171, 206, 185, 152, 184, 81, 100, 100, 100, 100],
    [156, 82, 67, 67, 105, 153, 130, 88, 80, 100, 100, 100, 100],
    [231, 200, 195, 192, 192, 166, 153, 115, 80, 100, 100, 100, 100],
    [249, 230, 227, 222, 216, 206, 211, 186, 104, 100, 100, 100, 100],
    [191, 159, 131, 127, 107, 116, 136, 103, 80, 100, 100, 100, 100],
    [43, 51, 118, 145, 136, 108, 162, 109, 80, 100, 100, 100, 100],
    [125, 202, 227, 233, 241, 178, 207, 216, 81, 100, 100, 100, 100],
    [60, 45, 65, 45, 21, 20, 41, 80, 80, 100, 100, 100, 100],
    [119, 66, 76, 87, 95, 113, 132, 134, 80, 100, 100, 100, 100],
    [197, 159, 142, 152, 167, 196, 223, 206, 81, 100, 100, 100, 100],
    [117, 61, 50, 37, 35, 79, 127, 117, 80, 100, 100, 100, 100],
    [139, 105, 137, 116, 93, 57, 148, 119, 80, 100, 100, 100, 100],
    [214, 221, 221, 224, 221, 170, 200, 211, 81, 100, 100, 100, 100],
    [110, 100, 115, 62, 30, 51, 69, 81, 80, 100, 100, 100, 100],
];

/// The same of vectors to the golden frame.
const GOLDEN_BEYOND: [u8; CLASSES - 1] = [78, 174, 193, 194, 193, 176, 139, 132, 67, 40, 40, 40, 40];

/// Of a row of models; alike for x and y and whatever x's difference.
pub(super) fn beyond(row: usize) -> [u8; CLASSES - 1] {
    if row >= ROWS - 2 {
        return GOLDEN_BEYOND;
    }
    let (rest, side) = (row / SIDES, row % SIDES);
    BEYOND[rest / OTHERS % (SIZES * SPREADS) * SIDES + side]
}
