//! Adaptive scales: the scale index of a linear channel's element, as the networks predict it, is corrected by what was coded before it.
//!
//! Coefficients around an element that came out larger than predicted say that it will, too. How much larger is learned while a latent is
//! coded: each class of surroundings keeps count of what all symbols so far would have cost with each correction.

use super::tables::{SCALES, Tables};
use crate::architecture::linear::{COMPLETE, Frequency, LUMA_SIDE, TRANSFORMS, linear_channels};

/// Coefficients around an element that count twice: those beside it.
const BESIDE: usize = 4;
/// All that count.
const AROUND: usize = 12;
/// What lies around, in rows and columns of frequencies.
const OFFSETS: [(isize, isize); AROUND] =
    [(-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1), (-2, 0), (0, -2), (2, 0), (0, 2)];
/// A place that is never known, for what lies outside.
const OUTSIDE: usize = COMPLETE;
const PLACES: usize = COMPLETE + 1;

/// Corrections that are compared, in steps of one scale index.
const CORRECTIONS: usize = 24;
/// The first of them is so many indices less.
const LESS: usize = 12;
/// Magnitudes that are told apart in costs.
const MAGNITUDES: usize = 256;
/// Larger magnitudes count as this in surroundings.
const LARGEST: u32 = 15;
/// What is added to both sides of a ratio, 8 fractional bits.
const SHRINK: u32 = 77;
/// Ratios of what came out and what was expected at which the next class begins, 8 fractional bits: half octaves.
const RATIOS: [u32; 11] = [38, 54, 76, 108, 152, 215, 304, 431, 609, 861, 1218];
/// What a correction by one index costs at first, 8 fractional bits.
const PRIOR: u32 = 128;
/// Most that a correction can be behind.
const FURTHEST: u32 = 1 << 24;

/// The part that is the same for all latents of a model.
#[derive(Clone, Debug)]
pub(super) struct Scales {
    /// Place of each channel's coefficient; `None` for channels that are none.
    places: Vec<Option<u16>>,
    /// Places around each place, for each transform.
    around: [Vec<[u16; AROUND]>; TRANSFORMS],
    /// Mean magnitude of symbols at each scale index, 8 fractional bits.
    expected: [u16; SCALES],
    /// Bits of each magnitude, 8 fractional, at the scale indices from [`LESS`] below 0; the first is 1 and the last repeated.
    costs: Vec<[u16; SCALES + CORRECTIONS]>,
}

/// Surroundings of a kind.
#[derive(Clone, Copy, Debug)]
struct Class {
    /// Bits that symbols so far would have cost beyond the least, 8 fractional, by correction.
    behind: [u32; CORRECTIONS],
    best: usize,
}

/// What is known of one latent while it is coded.
#[derive(Debug)]
pub(super) struct Correction<'a> {
    scales: &'a Scales,
    /// Of each place of each cell: the magnitude (4 bits) and what was expected (12 bits); 0 until it is coded.
    known: &'a mut [u16],
    classes: [Class; RATIOS.len() + 1],
}

/// An element whose scale is corrected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    /// In [`Correction::known`].
    at: usize,
    class: usize,
    /// As predicted.
    k: usize,
}

impl Scales {
    /// For latents of so many channels.
    pub fn new(channels: usize, tables: &Tables) -> Self {
        let linear = linear_channels(channels);
        let mut places = vec![None; channels];
        for &(channel, frequency) in &linear {
            places[channel] = Some(place(frequency) as u16);
        }
        let around = std::array::from_fn(|transform| {
            let mut around = vec![[OUTSIDE as u16; AROUND]; COMPLETE];
            for &(_, frequency) in &linear {
                around[place(frequency)] =
                    OFFSETS.map(|offset| moved(frequency, transform, offset).map_or(OUTSIDE, place) as u16);
            }
            around
        });
        let expected = std::array::from_fn(|k| tables.mean_magnitude(k, LARGEST));
        let cost = |magnitude: usize, at: usize| tables.cost(at.saturating_sub(LESS).clamp(1, SCALES - 1), magnitude as u32);
        let costs = (0..MAGNITUDES).map(|magnitude| std::array::from_fn(|at| cost(magnitude, at))).collect();
        Self { places, around, expected, costs }
    }

    /// Starts a latent of so many cells. `known` is memory to use.
    pub fn start<'a>(&'a self, cells: usize, known: &'a mut Vec<u16>) -> Correction<'a> {
        known.clear();
        known.resize(cells * PLACES, 0);
        let behind = std::array::from_fn(|i| PRIOR * i.abs_diff(LESS) as u32);
        Correction { scales: self, known, classes: [Class { behind, best: LESS }; RATIOS.len() + 1] }
    }
}

impl Correction<'_> {
    /// The element of a cell with this transform whose scale index is predicted as `k`, not 0; `None` for channels that are not corrected.
    #[inline]
    pub fn element(&self, cell: usize, transform: u8, channel: usize, k: usize) -> Option<Element> {
        let place = usize::from(self.scales.places[channel]?);
        let known = &self.known[cell * PLACES..][..PLACES];
        let mut sum = 0;
        for (i, &other) in self.scales.around[usize::from(transform)][place].iter().enumerate() {
            let value = u32::from(known[usize::from(other)]);
            // The magnitude from bit 20 on.
            let apart = (value & 0xf000) << 8 | value & 0x0fff;
            sum += if i < BESIDE { 2 * apart } else { apart };
        }
        let (found, expected) = ((sum >> 20 << 8) + SHRINK, (sum & 0xf_ffff) + SHRINK);
        let class = RATIOS.iter().filter(|&&ratio| found << 8 >= ratio * expected).count();
        Some(Element { at: cell * PLACES + place, class, k })
    }

    /// The scale index to code it with.
    #[inline]
    pub fn scale_index(&self, element: Element) -> usize {
        (element.k + self.classes[element.class].best).saturating_sub(LESS).clamp(1, SCALES - 1)
    }

    /// Learns from what it was.
    #[inline]
    pub fn learn(&mut self, element: Element, symbol: i32) {
        let magnitude = symbol.unsigned_abs();
        self.known[element.at] = (magnitude.min(LARGEST) as u16) << 12 | self.scales.expected[element.k];
        let costs = &self.scales.costs[(magnitude as usize).min(MAGNITUDES - 1)][element.k..][..CORRECTIONS];
        let class = &mut self.classes[element.class];
        // The least sum, and of equal ones the first.
        let mut least = u32::MAX;
        for (i, (sum, &cost)) in (0..).zip(class.behind.iter_mut().zip(costs)) {
            *sum += u32::from(cost);
            least = least.min(*sum << 5 | i);
        }
        class.best = (least & 31) as usize;
        class.behind.iter_mut().for_each(|sum| *sum = (*sum - (least >> 5)).min(FURTHEST));
    }
}

fn place(frequency: Frequency) -> usize {
    let before = [0, LUMA_SIDE * LUMA_SIDE, (LUMA_SIDE * LUMA_SIDE + COMPLETE) / 2][frequency.plane];
    before + frequency.row * frequency.side() + frequency.col
}

/// The coefficient of the same square whose frequency is so far from this one's; `None` if there is none.
fn moved(frequency: Frequency, transform: usize, (down, right): (isize, isize)) -> Option<Frequency> {
    // Rows and columns of the squares of a block are interleaved.
    let squares = if frequency.plane == 0 { 1 << transform } else { 1 };
    let step = |from: usize, by: isize| from.checked_add_signed(by * squares).filter(|&to| to < frequency.side());
    Some(Frequency { row: step(frequency.row, down)?, col: step(frequency.col, right)?, ..frequency })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::sigma;
    use crate::entropy::tables::log2;

    const CHANNELS: usize = COMPLETE + 8;

    fn at(row: usize, col: usize) -> Frequency {
        Frequency { plane: 0, row, col }
    }

    /// A symbol of a Laplace distribution with this standard deviation; `uniform` from 0 to 1.
    fn symbol(sigma: f64, uniform: f64) -> i32 {
        let (sign, tail) = if uniform < 0.5 { (-1.0, 2.0 * uniform) } else { (1.0, 2.0 * (1.0 - uniform)) };
        (-sign * sigma / std::f64::consts::SQRT_2 * tail.max(1e-9).ln()).round() as i32
    }

    /// Bits of so many cells with corrections and without, where scales are predicted wrong by as many indices as `wrong` says of each cell.
    fn bits(blocks: usize, wrong: impl Fn(usize) -> i32) -> (f64, f64) {
        let tables = Tables::gaussian();
        let scales = Scales::new(CHANNELS, &tables);
        let mut memory = Vec::new();
        let mut correction = scales.start(blocks, &mut memory);
        let (mut with, mut without, mut state) = (0.0, 0.0, 1u64);
        for cell in 0..blocks {
            for channel in 0..CHANNELS {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let real = 30i32;
                let symbol = symbol(sigma(real as usize), (state >> 11) as f64 / (1u64 << 53) as f64);
                let k = (real + wrong(cell)) as usize;
                let Some(element) = correction.element(cell, (cell % 3) as u8, channel, k) else { continue };
                with += f64::from(tables.bits(correction.scale_index(element), symbol));
                without += f64::from(tables.bits(k, symbol));
                correction.learn(element, symbol);
            }
        }
        (with, without)
    }

    #[test]
    fn the_logarithm_is_that_of_mathematics() {
        for value in (1..=65_536).step_by(7).chain([1, 2, 3, 65_535, 65_536]) {
            let exact = f64::from(value).log2() * 256.0;
            // Below by at most one, as it is rounded down.
            assert!((exact - 1.0..=exact + 1e-9).contains(&f64::from(log2(value))), "{value}: {exact}");
        }
    }

    #[test]
    fn costs_and_means_are_those_of_the_tables() {
        let tables = Tables::gaussian();
        for k in [1, 20, 40, 63] {
            for magnitude in [0, 1, 2, 14, 255] {
                let (found, exact) = (f64::from(tables.cost(k, magnitude)) / 256.0, f64::from(tables.bits(k, magnitude as i32)));
                assert!((0.0..0.005).contains(&(found - exact)), "{k}, {magnitude}: {found} bits, {exact}");
            }
        }
        // The mean magnitude of a Gaussian.
        let exact = sigma(45) * (2.0 / std::f64::consts::PI).sqrt();
        let found = f64::from(tables.mean_magnitude(45, 255)) / 256.0;
        assert!((found / exact - 1.0).abs() < 0.01, "{found}, {exact}");
        // Half of all magnitudes are far beyond 2, and the rest is below.
        let few = f64::from(tables.mean_magnitude(60, 2)) / 256.0;
        assert!((1.8..2.0).contains(&few), "{few}");
    }

    #[test]
    fn what_lies_around_belongs_to_the_same_square() {
        assert_eq!(moved(at(0, 5), 0, (-1, 0)), None);
        assert_eq!(moved(at(3, 5), 0, (1, -1)), Some(at(4, 4)));
        assert_eq!(moved(at(3, 5), 2, (1, -1)), Some(at(7, 1)));
        assert_eq!(moved(at(3, 5), 2, (0, -2)), None);
        assert_eq!(moved(at(3, 14), 1, (0, 1)), None);
        let chroma = Frequency { plane: 2, row: 7, col: 3 };
        assert_eq!(moved(chroma, 2, (0, 1)), Some(Frequency { col: 4, ..chroma }));
        assert_eq!(moved(chroma, 0, (1, 0)), None);
        let scales = Scales::new(CHANNELS, &Tables::gaussian());
        assert_eq!(scales.places.iter().flatten().collect::<std::collections::HashSet<_>>().len(), COMPLETE);
        for around in &scales.around {
            // Whoever has a neighbour is one of its neighbours.
            for (place, others) in around.iter().enumerate() {
                for &other in others.iter().filter(|&&other| usize::from(other) != OUTSIDE) {
                    assert!(around[usize::from(other)].contains(&(place as u16)), "{place}, {other}");
                }
            }
        }
    }

    #[test]
    fn wrong_scales_are_corrected_and_right_ones_stay() {
        let (with, without) = bits(60, |_| 0);
        // Laplace and not Gauss: a larger scale is a little better.
        assert!(with < without * 1.003, "{with} bits, {without} without");
        let right = with;
        for wrong in [-8, 8] {
            let (with, without) = bits(60, |_| wrong);
            assert!(without > right * 1.08 && with < right * 1.02, "{wrong}: {with} bits, {without} without, {right} if right");
        }
        // From block to block in turn too large and too small: the coefficients around say which.
        let (with, without) = bits(60, |cell| if cell % 2 == 0 { -8 } else { 8 });
        assert!(with - right < (without - right) / 2.0, "{with} bits, {without} without, {right} if right");
    }

    #[test]
    fn the_largest_symbols_do_no_harm() {
        let scales = Scales::new(CHANNELS, &Tables::gaussian());
        let mut memory = Vec::new();
        let mut correction = scales.start(1, &mut memory);
        for round in 0..3000 {
            for (channel, k) in (0..CHANNELS).zip((1..SCALES).cycle()) {
                if let Some(element) = correction.element(0, 2, channel, k) {
                    assert!((1..SCALES).contains(&correction.scale_index(element)));
                    correction.learn(element, if round % 2 == 0 { i32::MIN } else { i32::MAX });
                }
            }
        }
    }
}
