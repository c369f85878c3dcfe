//! Probabilities that the models start with.

use super::contexts::{CLASSES, INDICES, MERGES, NEGATIVES, NONZEROS, SECONDS, SPLITS};
use crate::entropy::AdaptiveBit;

pub(super) fn model(probability: u8) -> AdaptiveBit {
    AdaptiveBit::with_trust(u16::from(probability) << 8 | 128, 16)
}

pub(super) const SPLIT: [u8; SPLITS] = [128; SPLITS];
pub(super) const MERGE: [u8; MERGES] = [128; MERGES];
pub(super) const INDEX: [u8; INDICES] = [128; INDICES];
pub(super) const NONZERO: [u8; NONZEROS] = [128; NONZEROS];
pub(super) const NEGATIVE: [u8; NEGATIVES] = [128; NEGATIVES];
pub(super) const SECOND: [u8; SECONDS] = [128; SECONDS];

pub(super) fn beyond(_row: usize) -> [u8; CLASSES - 1] {
    [128; CLASSES - 1]
}
