//! The syntax of a frame's filter, and the state that it is coded with.

use super::classes::CLASSES;
use super::diamond::{CHROMA_PAIRS, LUMA_PAIRS};
use super::params::{FilterParams, PlaneFilter, Set, area_grid};
use crate::entropy::{AdaptiveBit, Decoding, Encoding, SymbolReader, SymbolWriter, Symbols};
use crate::frame::chroma_size;
use crate::{Error, Result};

/// Largest number of further bits of a difference's magnitude; more is corrupt.
const MAX_SUFFIX: usize = 7;
const EVEN: AdaptiveBit = percent(50);
/// Of the lengths of coefficients' differences.
const LONGER: [AdaptiveBit; MAX_SUFFIX] =
    [percent(75), percent(50), percent(30), percent(20), percent(15), percent(15), percent(15)];
/// Areas mostly stay as they were.
const AREA_MODELS: [[AdaptiveBit; 2]; 3] = [[percent(20), percent(85)], [percent(20), percent(95)], [percent(25), percent(95)]];

/// A model whose bit is at first 1 with so many in a hundred.
const fn percent(ones: u32) -> AdaptiveBit {
    AdaptiveBit::new(((ones << 16) / 100) as u16)
}

/// What a stream's filters are coded with: the last coefficients and areas of each plane, and adaptive probabilities.
///
/// Encoder and decoder start with the same state at each keyframe and pass every frame through it.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterCoder {
    /// Any plane is filtered.
    any: AdaptiveBit,
    pub(super) luma: PlaneState<LUMA_PAIRS, CLASSES>,
    pub(super) chroma: [PlaneState<CHROMA_PAIRS, 1>; 2],
}

impl FilterCoder {
    /// The state at a keyframe, for frames of the given visible size in luma samples.
    pub fn new(display: (usize, usize)) -> Self {
        let chroma = PlaneState::new(chroma_size(display.0, display.1));
        Self { any: percent(75), luma: PlaneState::new(display), chroma: [chroma.clone(), chroma] }
    }

    /// Codes a frame's filter; none if nothing is filtered.
    pub fn encode(&mut self, params: Option<&FilterParams>, writer: &mut SymbolWriter) {
        writer.put_bit(&mut self.any, params.is_some());
        if params.is_none() {
            return;
        }
        let [u, v] = &mut self.chroma;
        let [from_u, from_v] = [0, 1].map(|plane| params.and_then(|params| params.chroma[plane].as_ref()));
        self.luma.code(&mut Encoding(writer), params.and_then(|params| params.luma.as_ref()));
        u.code(&mut Encoding(writer), from_u);
        v.code(&mut Encoding(writer), from_v);
    }

    /// Reads a frame's filter.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if coefficients go beyond their limits; the state is of no use then until a keyframe.
    pub fn decode(&mut self, reader: &mut SymbolReader) -> Result<Option<FilterParams>> {
        if !reader.get_bit(&mut self.any) {
            return Ok(None);
        }
        let luma = self.luma.code(&mut Decoding(reader), None);
        let [u, v] = &mut self.chroma;
        let (u, v) = (u.code(&mut Decoding(reader), None), v.code(&mut Decoding(reader), None));
        let corrupt = || Error::Corrupt("loop filter: coefficients beyond their limit".into());
        Ok(FilterParams::some(luma.ok_or_else(corrupt)?, [u.ok_or_else(corrupt)?, v.ok_or_else(corrupt)?]))
    }
}

/// The state of one plane.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlaneState<const K: usize, const C: usize> {
    /// Coefficients of the last filtered frame.
    pub last: [Set<K>; C],
    /// Areas of the last filtered frame.
    areas: Vec<bool>,
    area_cols: usize,
    /// By whether the plane was filtered in the last frame that filtered any.
    on: [AdaptiveBit; 2],
    was: bool,
    /// All sets are the last ones.
    kept: AdaptiveBit,
    /// By class: its set is the last one.
    again: [AdaptiveBit; C],
    /// By class: its set is that of the class before.
    alike: [AdaptiveBit; C],
    /// By class: differences are to the set of the class before, not to the last one.
    follows: [AdaptiveBit; C],
    coefficients: CoefficientModels<K>,
    /// All areas are filtered.
    whole: AdaptiveBit,
    /// By the number of filtered areas to the left and above, and by the area in the last frame.
    area: [[AdaptiveBit; 2]; 3],
}

impl<const K: usize, const C: usize> PlaneState<K, C> {
    fn new((width, height): (usize, usize)) -> Self {
        let (area_cols, area_rows) = area_grid(width, height);
        Self {
            last: [[0; K]; C],
            areas: vec![true; area_cols * area_rows],
            area_cols,
            on: [percent(25), percent(75)],
            was: true,
            kept: EVEN,
            again: [EVEN; C],
            alike: [EVEN; C],
            follows: [EVEN; C],
            coefficients: CoefficientModels::new(),
            whole: EVEN,
            area: AREA_MODELS,
        }
    }

    /// Codes the plane's filter and returns it: the given one, or when decoding the one read, and nothing where that is invalid.
    pub fn code(&mut self, symbols: &mut impl Symbols, filter: Option<&PlaneFilter<K, C>>) -> Option<Option<PlaneFilter<K, C>>> {
        let on = symbols.bit(&mut self.on[usize::from(self.was)], filter.is_some());
        self.was = on;
        if !on {
            return Some(None);
        }
        let sets = self.code_sets(symbols, filter.map(|filter| &filter.sets))?;
        let areas = self.code_areas(symbols, filter.map(|filter| &filter.areas[..]));
        (self.last, self.areas) = (sets, areas.clone());
        Some(Some(PlaneFilter { sets, areas }))
    }

    fn code_sets(&mut self, symbols: &mut impl Symbols, given: Option<&[Set<K>; C]>) -> Option<[Set<K>; C]> {
        if symbols.bit(&mut self.kept, given == Some(&self.last)) {
            return Some(self.last);
        }
        let mut sets = self.last;
        for class in 0..C {
            let given = given.map(|sets| sets[class]);
            let last = self.last[class];
            if symbols.bit(&mut self.again[class], given == Some(last)) {
                continue;
            }
            let before = class.checked_sub(1).map(|before| sets[before]);
            if let Some(before) = before
                && symbols.bit(&mut self.alike[class], given == Some(before))
            {
                sets[class] = before;
                continue;
            }
            let mut predicted = last;
            if let Some(before) = before {
                let nearer = given.is_some_and(|set| {
                    let costs = self.coefficients.costs();
                    costs.set_bits(&set, &before) < costs.set_bits(&set, &last)
                });
                if symbols.bit(&mut self.follows[class], nearer) {
                    predicted = before;
                }
            }
            sets[class] = self.coefficients.code(symbols, given, &predicted)?;
        }
        Some(sets)
    }

    fn code_areas(&mut self, symbols: &mut impl Symbols, given: Option<&[bool]>) -> Vec<bool> {
        if symbols.bit(&mut self.whole, given.is_some_and(|areas| areas.iter().all(|&on| on))) {
            return vec![true; self.areas.len()];
        }
        let mut areas = vec![false; self.areas.len()];
        for at in 0..areas.len() {
            let (around, before) = self.area_context(&areas, at);
            areas[at] = symbols.bit(&mut self.area[around][before], given.is_some_and(|areas| areas[at]));
            symbols.check(areas[at].into());
        }
        areas
    }

    /// What an area's bit is expected to be like, from those before it.
    fn area_context(&self, areas: &[bool], at: usize) -> (usize, usize) {
        let left = !at.is_multiple_of(self.area_cols) && areas[at - 1];
        let above = at >= self.area_cols && areas[at - self.area_cols];
        (usize::from(left) + usize::from(above), self.areas[at].into())
    }

    /// Number of areas.
    pub fn areas(&self) -> usize {
        self.areas.len()
    }

    /// Cost of an area's bit after those before it.
    pub fn area_bits(&self, areas: &[bool], at: usize, on: bool) -> f64 {
        let (around, before) = self.area_context(areas, at);
        self.area[around][before].bits(on).into()
    }

    /// Cost of filtering all areas, or not all.
    pub fn whole_bits(&self, whole: bool) -> f64 {
        self.whole.bits(whole).into()
    }

    /// Cost of keeping all sets, or not all.
    pub fn kept_bits(&self, kept: bool) -> f64 {
        self.kept.bits(kept).into()
    }

    /// Cost of keeping a class's set.
    pub fn again_bits(&self, class: usize) -> f64 {
        self.again[class].bits(true).into()
    }

    /// Cost of taking the set of the class before.
    pub fn alike_bits(&self, class: usize) -> f64 {
        f64::from(self.again[class].bits(false)) + f64::from(self.alike[class].bits(true))
    }

    /// Cost of a class's new set, but for its coefficients.
    pub fn new_bits(&self, class: usize, follows: bool) -> f64 {
        let again = f64::from(self.again[class].bits(false));
        if class == 0 {
            return again;
        }
        again + f64::from(self.alike[class].bits(false)) + f64::from(self.follows[class].bits(follows))
    }

    /// Costs of coefficients.
    pub fn costs(&self) -> DifferenceCosts<K> {
        self.coefficients.costs()
    }
}

/// Probabilities of coefficients' differences: adaptive Exp-Golomb codes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CoefficientModels<const K: usize> {
    /// By pair: there is a difference.
    differs: [AdaptiveBit; K],
    /// By length: the magnitude has more bits.
    longer: [AdaptiveBit; MAX_SUFFIX],
}

impl<const K: usize> CoefficientModels<K> {
    fn new() -> Self {
        Self { differs: [percent(75); K], longer: LONGER }
    }

    fn code(&mut self, symbols: &mut impl Symbols, given: Option<Set<K>>, predicted: &Set<K>) -> Option<Set<K>> {
        let mut set = *predicted;
        for k in 0..K {
            let difference = given.map_or(0, |set| i32::from(set[k]) - i32::from(predicted[k]));
            let difference = self.code_difference(symbols, k, difference);
            set[k] = i8::try_from(i32::from(predicted[k]) + difference).ok()?;
            symbols.check(set[k].into());
        }
        Some(set)
    }

    fn code_difference(&mut self, symbols: &mut impl Symbols, k: usize, difference: i32) -> i32 {
        if !symbols.bit(&mut self.differs[k], difference != 0) {
            return 0;
        }
        let negative = symbols.raw(1, (difference < 0).into()) != 0;
        let magnitude = difference.unsigned_abs().max(1);
        let wanted = magnitude.ilog2();
        let mut length = 0;
        while length < MAX_SUFFIX && symbols.bit(&mut self.longer[length], (length as u32) < wanted) {
            length += 1;
        }
        let suffix = symbols.raw(length as u32, magnitude & ((1 << length) - 1));
        let magnitude = (1 << length | suffix) as i32;
        if negative { -magnitude } else { magnitude }
    }

    /// What differences cost at present.
    pub fn costs(&self) -> DifferenceCosts<K> {
        let differs = self.differs.map(|model| [false, true].map(|bit| f64::from(model.bits(bit))));
        let magnitudes = std::array::from_fn(|magnitude| {
            let length = magnitude.max(1).ilog2() as usize;
            let prefix = self.longer.iter().enumerate().take(length + 1);
            1.0 + length as f64 + prefix.map(|(i, model)| f64::from(model.bits(i < length))).sum::<f64>()
        });
        DifferenceCosts { differs, magnitudes }
    }
}

/// Costs of coefficients' differences to their prediction.
#[derive(Clone, Debug)]
pub(super) struct DifferenceCosts<const K: usize> {
    /// By pair: no difference, or one.
    differs: [[f64; 2]; K],
    magnitudes: [f64; 256],
}

impl<const K: usize> DifferenceCosts<K> {
    /// Cost of coefficient `k`.
    #[inline]
    pub fn bits(&self, k: usize, value: i8, predicted: i8) -> f64 {
        match usize::from(value.abs_diff(predicted)) {
            0 => self.differs[k][0],
            magnitude => self.differs[k][1] + self.magnitudes[magnitude],
        }
    }

    /// Cost of a set.
    pub fn set_bits(&self, set: &Set<K>, predicted: &Set<K>) -> f64 {
        (0..K).map(|k| self.bits(k, set[k], predicted[k])).sum()
    }
}
