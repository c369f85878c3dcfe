//! How often symbols occur, and the probabilities that follow.

use super::tables::{MAX_REACH, SCALES, Tables, mass, sigma};

/// Magnitudes that are counted apart; larger ones count as one.
const MAGNITUDES: usize = MAX_REACH + 1;
/// How symbols of trained networks lie around their means: parts of Gaussians, and their standard deviations beside the predicted one.
/// What is assumed of a scale index before anything is counted.
const SHAPE: [(f64, f64); 2] = [(0.85, 0.84), (0.15, 1.5)];
/// Symbols that [`SHAPE`] counts for.
const TRUST: f64 = 100.0;

/// Numbers of symbols by scale index and magnitude.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolCounts {
    counts: Vec<[u64; MAGNITUDES]>,
}

impl Default for SymbolCounts {
    fn default() -> Self {
        Self { counts: vec![[0; MAGNITUDES]; SCALES] }
    }
}

impl SymbolCounts {
    /// Counts a symbol at scale index `k`.
    ///
    /// # Panics
    /// If `k` is not below 64.
    #[inline]
    pub fn add(&mut self, k: usize, symbol: i32) {
        self.counts[k][(symbol.unsigned_abs() as usize).min(MAGNITUDES - 1)] += 1;
    }

    /// Takes over what `other` counted.
    pub fn merge(&mut self, other: &Self) {
        let cells = self.counts.as_flattened_mut().iter_mut().zip(other.counts.as_flattened());
        cells.for_each(|(a, b)| *a += b);
    }

    /// Symbols in all.
    pub fn total(&self) -> u64 {
        self.counts.as_flattened().iter().sum()
    }

    /// What these symbols cost by the given tables, in bits; of the largest, a lower bound.
    pub fn bits(&self, tables: &Tables) -> f64 {
        let cost = |k: usize, n: usize| f64::from(tables.bits(k, n as i32));
        let of_scale = |(k, counts): (usize, &[u64; MAGNITUDES])| -> f64 {
            (0..MAGNITUDES).filter(|&n| counts[n] > 0).map(|n| counts[n] as f64 * cost(k, n)).sum()
        };
        self.counts.iter().enumerate().map(of_scale).sum()
    }

    /// Tables by which these symbols cost least. Both signs are taken for equally likely.
    ///
    /// A network that predicts scales learns them with noise in place of rounding, and without the zeros that rate-distortion optimised
    /// quantisation makes: beside Gaussians, symbols are more often 0, and their large values are more frequent.
    pub fn tables(&self) -> Tables {
        let totals: Vec<f64> = self.counts.iter().map(|counts| counts.iter().sum::<u64>() as f64).collect();
        Tables::from_masses(|k, n| {
            let expected: f64 = SHAPE.iter().map(|(part, scale)| part * mass(n, scale * sigma(k))).sum();
            let signs = if n == 0 { 1.0 } else { 2.0 };
            // Magnitudes beyond the last one were counted with it: what they share is left to the escape symbol.
            let counted = if n + 1 < MAGNITUDES { self.counts[k][n] as f64 } else { 0.0 };
            (counted / signs + TRUST * expected) / (totals[k] + TRUST)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_follow_what_was_counted() {
        let mut counts = SymbolCounts::default();
        for i in 0..20_000 {
            counts.add(20, if i % 4 == 0 { 3 - 6 * (i / 4 % 2) } else { 0 });
        }
        let tables = counts.tables();
        let near = |symbol, bits: f32| (tables.bits(20, symbol) - bits).abs() < 0.05;
        // Three quarters zeros, and an eighth each of 3 and -3.
        assert!(near(0, 0.415) && near(3, 3.0) && near(-3, 3.0), "{} {}", tables.bits(20, 0), tables.bits(20, 3));
        assert!(tables.bits(20, 1) > 8.0);
        // A scale index without symbols keeps its shape.
        assert!((tables.bits(30, 0) - Tables::gaussian().bits(30, 0)).abs() < 0.3);
    }

    #[test]
    fn counts_of_two_add_up() {
        let (mut a, mut b) = (SymbolCounts::default(), SymbolCounts::default());
        a.add(5, -2);
        b.add(5, 2);
        b.add(6, 1 << 19);
        a.merge(&b);
        assert_eq!(a.total(), 3);
        assert_eq!((a.counts[5][2], a.counts[6][MAGNITUDES - 1]), (2, 1));
        let tables = Tables::gaussian();
        let wanted = 2.0 * tables.bits(5, 2) + tables.bits(6, MAGNITUDES as i32 - 1);
        assert!((a.bits(&tables) - f64::from(wanted)).abs() < 1e-3);
    }

    #[test]
    fn every_symbol_keeps_a_code() {
        // One scale index that was only ever 0, and one that escaped again and again.
        let mut counts = SymbolCounts::default();
        for _ in 0..1_000_000 {
            counts.add(1, 0);
            counts.add(2, 5000);
        }
        let (starts, sizes) = counts.tables().to_flat();
        let tables = Tables::from_flat(&starts, &sizes).unwrap();
        for symbol in [0, 1, -1, 200, 5000] {
            assert!((1..3).all(|k| tables.bits(k, symbol) < 60.0));
        }
    }
}
