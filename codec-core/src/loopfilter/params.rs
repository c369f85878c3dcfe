//! What a frame's filter consists of, by planes.

use super::classes::CLASSES;
use super::diamond::{CHROMA_PAIRS, LUMA_PAIRS};

/// Fractional bits of a coefficient.
pub(super) const FRACTION_BITS: u32 = 6;
/// Side of an area that is filtered or not, in samples of its plane.
pub(super) const AREA: usize = 64;

/// Coefficients of the pairs of taps, in 2^-6; the centre's follows from a sum of 1.
pub(super) type Set<const K: usize> = [i8; K];

/// The filter of one plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlaneFilter<const K: usize, const C: usize> {
    /// A set for each class.
    pub sets: [Set<K>; C],
    /// Which areas are filtered, in row order.
    pub areas: Vec<bool>,
}

pub(super) type LumaFilter = PlaneFilter<LUMA_PAIRS, CLASSES>;
pub(super) type ChromaFilter = PlaneFilter<CHROMA_PAIRS, 1>;

/// What a frame carries for its filter: by plane, whether it is filtered at all, the coefficients of each class and the areas that
/// are filtered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterParams {
    pub(super) luma: Option<LumaFilter>,
    pub(super) chroma: [Option<ChromaFilter>; 2],
}

impl FilterParams {
    /// No parameters if no plane is filtered.
    pub(super) fn some(luma: Option<LumaFilter>, chroma: [Option<ChromaFilter>; 2]) -> Option<Self> {
        let any = luma.is_some() || chroma.iter().any(Option::is_some);
        any.then_some(Self { luma, chroma })
    }
}

/// Columns and rows of areas of a visible part of `width` x `height` samples.
pub(super) fn area_grid(width: usize, height: usize) -> (usize, usize) {
    (width.div_ceil(AREA), height.div_ceil(AREA))
}
