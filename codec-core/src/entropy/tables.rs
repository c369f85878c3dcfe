//! Probability tables of the scale indices.

use super::rans::{Interval, PROBABILITY_BITS};
use crate::{Error, Result};

/// Number of scale indices.
pub const SCALES: usize = 64;

const TOTAL: u32 = 1 << PROBABILITY_BITS;
const SMALLEST_SIGMA: f64 = 0.11;
const LARGEST_SIGMA: f64 = 64.0;
/// Largest magnitude with a probability of its own.
pub(super) const MAX_REACH: usize = 255;
/// Mass beyond the reach that is left to the escape symbol.
const TAIL_MASS: f64 = 1.0 / 8192.0;
const LUT_BITS: u32 = 8;

/// Standard deviation of scale index `k` (0..64) in quantiser steps: 0.11 to 64, evenly spaced in the logarithm.
pub fn sigma(k: usize) -> f64 {
    SMALLEST_SIGMA * (LARGEST_SIGMA / SMALLEST_SIGMA).powf(k as f64 / (SCALES - 1) as f64)
}

/// Where a symbol lies in its table.
pub(super) enum Place {
    /// Symbol with a probability of its own.
    Direct(Interval),
    /// Escape, followed by the magnitude beyond the reach (at least 1) in raw bits.
    Escape(Interval, u32),
}

/// What a slot stands for.
pub(super) struct Found {
    pub(super) start: u32,
    pub(super) size: u32,
    /// `None` is the escape symbol.
    pub(super) symbol: Option<i32>,
}

/// The probabilities of all 64 scale indices in 2^-16.
///
/// Table k has the symbols -L..=L and an escape symbol, in this order; L (the reach) lies in 1..=255. A stream is decoded
/// with the tables stored in its model file, never with recomputed ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Tables {
    tables: Vec<Table>,
    /// Cumulative starts of all tables, each followed by 65536.
    bounds: Vec<u32>,
    /// Cost of each entry of `bounds` in bits.
    bits: Vec<f32>,
}

#[derive(Clone, Debug, PartialEq)]
struct Table {
    /// Index of the first start in `bounds`.
    first: usize,
    reach: i32,
    /// For each upper byte of a slot the index of the symbol that holds its lowest slot.
    lut: Box<[u16; 1 << LUT_BITS]>,
}

impl Tables {
    /// Zero-mean Gaussians of [`sigma`] integrated over unit intervals. For model export: the result may differ in the last
    /// place between platforms, so decoders read the tables from the model file.
    pub fn gaussian() -> Self {
        Self::from_masses(|k, n| mass(n, sigma(k)))
    }

    /// Tables of symmetric distributions: `mass` gives the probability of one symbol of magnitude n at scale index k, for
    /// n = 0, 1, 2 and so on until what lies beyond is rare. As for [`gaussian`](Self::gaussian), the result is for a model file.
    pub(super) fn from_masses(mass: impl Fn(usize, usize) -> f64) -> Self {
        let (mut starts, mut sizes) = (Vec::new(), Vec::new());
        for k in 0..SCALES {
            let frequencies = frequencies(|n| mass(k, n));
            sizes.push(frequencies.len() as u16);
            starts.extend(frequencies.iter().scan(0u32, |next, &frequency| {
                let start = *next;
                *next += frequency;
                Some(start as u16)
            }));
        }
        Self::from_flat(&starts, &sizes).expect("frequencies are positive and sum up to 65536")
    }

    /// Builds tables from their stored form: `sizes` has the number of symbols of each of the 64 tables (2 L + 2), `starts`
    /// the cumulative starts of all tables one after the other.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] naming `tables.sizes` or `tables.starts`.
    pub fn from_flat(starts: &[u16], sizes: &[u16]) -> Result<Self> {
        let bad = |tensor: &str, what: String| Error::ModelMismatch(format!("tables.{tensor}: {what}; export the model again"));
        if sizes.len() != SCALES {
            let what = format!("{} tables, expected {SCALES}", sizes.len());
            return Err(bad("sizes", what));
        }
        let mut result = Self {
            tables: Vec::with_capacity(SCALES),
            bounds: Vec::with_capacity(starts.len() + SCALES),
            bits: Vec::with_capacity(starts.len() + SCALES),
        };
        let mut rest = starts;
        for (k, &size) in sizes.iter().enumerate() {
            let size = usize::from(size);
            if !(4..=2 * MAX_REACH + 2).contains(&size) || size % 2 != 0 {
                let what = format!("table {k} has {size} symbols, expected an even number in 4..=512");
                return Err(bad("sizes", what));
            }
            let (own, tail) = rest
                .split_at_checked(size)
                .ok_or_else(|| bad("starts", format!("{} entries, too few for tables.sizes", starts.len())))?;
            if own[0] != 0 || own.windows(2).any(|pair| pair[0] >= pair[1]) {
                let what = format!("table {k} does not rise strictly from 0");
                return Err(bad("starts", what));
            }
            result.push(own);
            rest = tail;
        }
        if !rest.is_empty() {
            let what = format!("{} entries more than tables.sizes says", rest.len());
            return Err(bad("starts", what));
        }
        Ok(result)
    }

    /// The stored form that [`from_flat`](Self::from_flat) reads: `(starts, sizes)`.
    pub fn to_flat(&self) -> (Vec<u16>, Vec<u16>) {
        let sizes = self.tables.iter().map(|t| 2 * t.reach as u16 + 2);
        let starts = self.bounds.iter().filter(|&&b| b != TOTAL);
        (starts.map(|&b| b as u16).collect(), sizes.collect())
    }

    /// Largest magnitude that scale index `k` codes without an escape.
    ///
    /// # Panics
    /// If `k` is not below 64.
    pub fn reach(&self, k: usize) -> i32 {
        self.tables[k].reach
    }

    /// Cost of `symbol` at scale index `k` in bits, escape code included.
    ///
    /// # Panics
    /// If `k` is not below 64.
    pub fn bits(&self, k: usize, symbol: i32) -> f32 {
        let table = &self.tables[k];
        let index = symbol.saturating_add(table.reach);
        match usize::try_from(index) {
            Ok(index) if index <= 2 * table.reach as usize => self.bits[table.first + index],
            _ => {
                let beyond = symbol.unsigned_abs() - table.reach as u32;
                self.bits[table.first + 2 * table.reach as usize + 1] + escape_bits(beyond) as f32
            }
        }
    }

    /// Cost of symbols of a magnitude at scale index `k` in bits with 8 fractional ones, the same on all machines.
    pub(super) fn cost(&self, k: usize, magnitude: u32) -> u16 {
        let bits = |interval: Interval| (PROBABILITY_BITS << 8) - log2(interval.size.into());
        let bits = match self.place(k, magnitude as i32) {
            Place::Direct(interval) => bits(interval),
            Place::Escape(interval, beyond) => bits(interval) + (escape_bits(beyond) << 8),
        };
        bits as u16
    }

    /// Mean magnitude of symbols at scale index `k`, 8 fractional bits. Those beyond `largest` count as that.
    pub(super) fn mean_magnitude(&self, k: usize, largest: u32) -> u16 {
        let table = &self.tables[k];
        let size = |index: usize| u32::from(self.interval(table.first + index).size);
        // The escape symbol, the last one, is one magnitude further.
        let magnitude = |index: usize| (index as i32 - table.reach).unsigned_abs().min(largest);
        let sum: u32 = (0..2 * table.reach as usize + 2).map(|index| size(index) * magnitude(index)).sum();
        (sum >> (PROBABILITY_BITS - 8)) as u16
    }

    #[inline]
    pub(super) fn place(&self, k: usize, symbol: i32) -> Place {
        let table = &self.tables[k];
        let magnitude = symbol.unsigned_abs();
        let reach = table.reach as u32;
        if magnitude <= reach {
            Place::Direct(self.interval(table.first + (symbol + table.reach) as usize))
        } else {
            let escape = table.first + 2 * reach as usize + 1;
            Place::Escape(self.interval(escape), magnitude - reach)
        }
    }

    #[inline]
    pub(super) fn find(&self, k: usize, slot: u32) -> Found {
        let table = &self.tables[k];
        let skipped = usize::from(table.lut[(slot >> (PROBABILITY_BITS - LUT_BITS)) as usize & 0xff]);
        let mut index = table.first + skipped;
        // Ends at the latest at the 65536 behind the table.
        while self.bounds[index + 1] <= slot {
            index += 1;
        }
        let symbol = (index - table.first) as i32 - table.reach;
        Found {
            start: self.bounds[index],
            size: self.bounds[index + 1] - self.bounds[index],
            symbol: (symbol <= table.reach).then_some(symbol),
        }
    }

    #[inline]
    fn interval(&self, index: usize) -> Interval {
        Interval { start: self.bounds[index] as u16, size: (self.bounds[index + 1] - self.bounds[index]) as u16 }
    }

    fn push(&mut self, starts: &[u16]) {
        let first = self.bounds.len();
        self.bounds.extend(starts.iter().map(|&s| u32::from(s)));
        self.bounds.push(TOTAL);
        let bounds = &self.bounds[first..];
        let cost = |pair: &[u32]| (f64::from(TOTAL) / f64::from(pair[1] - pair[0])).log2() as f32;
        self.bits.extend(bounds.windows(2).map(cost));
        self.bits.push(0.0);
        let mut lut = Box::new([0; 1 << LUT_BITS]);
        for (byte, entry) in lut.iter_mut().enumerate() {
            let slot = (byte as u32) << (PROBABILITY_BITS - LUT_BITS);
            *entry = (bounds.partition_point(|&b| b <= slot) - 1) as u16;
        }
        self.tables.push(Table { first, reach: (starts.len() / 2) as i32 - 1, lut });
    }
}

/// The logarithm to base 2 with 8 fractional bits, rounded down, by repeated squaring: no mathematics library can round it otherwise.
pub(super) fn log2(value: u32) -> u32 {
    let whole = value.ilog2();
    let (mut power, mut result) = (u64::from(value) << (31 - whole), whole);
    for _ in 0..8 {
        power = (power * power) >> 31;
        let doubled = power >> 32;
        (power, result) = (power >> doubled, 2 * result + doubled as u32);
    }
    result
}

/// Raw bits of the escape code of a magnitude `beyond` (>= 1) the reach: Exp-Golomb and a sign.
fn escape_bits(beyond: u32) -> u32 {
    2 * beyond.max(1).ilog2() + 2
}

/// Frequencies of -L..=L and of the escape symbol, each at least 1, with sum 65536.
fn frequencies(mass: impl Fn(usize) -> f64) -> Vec<u32> {
    let mut half = vec![mass(0)];
    let mut inside = half[0];
    while half.len() < 2 || (1.0 - inside > TAIL_MASS && half.len() <= MAX_REACH) {
        half.push(mass(half.len()));
        inside += 2.0 * half[half.len() - 1];
    }
    let mut exact: Vec<f64> = half.iter().skip(1).rev().chain(&half).copied().collect();
    exact.push((1.0 - inside).max(0.0));
    let scaled: Vec<f64> = exact.iter().map(|p| p * f64::from(TOTAL)).collect();
    let mut frequencies: Vec<u32> = scaled.iter().map(|s| (s.floor() as u32).max(1)).collect();
    let sum: u32 = frequencies.iter().sum();
    if sum > TOTAL {
        let mut excess = sum - TOTAL;
        while excess > 0 {
            let largest = frequencies.iter_mut().max().expect("there are symbols");
            let share = excess.min(*largest / 2);
            *largest -= share;
            excess -= share;
        }
    } else {
        let mut order: Vec<usize> = (0..scaled.len()).collect();
        let missing = |i: &usize| scaled[*i] - f64::from(frequencies[*i]);
        order.sort_by(|a, b| missing(b).total_cmp(&missing(a)));
        for &i in order.iter().cycle().take((TOTAL - sum) as usize) {
            frequencies[i] += 1;
        }
    }
    frequencies
}

/// Mass of N(0, sigma) on `n` +- 1/2, by Simpson's rule with steps well below sigma.
pub(super) fn mass(n: usize, sigma: f64) -> f64 {
    let panels = (16.0 / sigma).ceil().max(4.0) as usize;
    let step = 0.5 / panels as f64;
    let density = |i: usize| {
        let x = (n as f64 - 0.5 + i as f64 * step) / sigma;
        (-0.5 * x * x).exp()
    };
    let sum: f64 = (0..panels).map(|p| density(2 * p) + 4.0 * density(2 * p + 1) + density(2 * p + 2)).sum();
    sum * step / 3.0 / (sigma * (2.0 * std::f64::consts::PI).sqrt())
}
