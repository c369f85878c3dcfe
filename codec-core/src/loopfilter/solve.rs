//! Coefficients from moments: least squares, then the whole numbers that are worth their bits.

use super::moments::Moments;
use super::params::{FRACTION_BITS, Set};

/// Rounds of descent over the coefficients; most sets settle in two or three.
const ROUNDS: usize = 6;

/// Coefficients that minimise the squared error (normal equations, by Cholesky), in units of 1.
pub(super) fn least_squares<const K: usize>(moments: &Moments<K>) -> [f64; K] {
    let mut factor = moments.pairs;
    // Pairs that never differ from the centre, or always alike, leave the solution open: keeps it near 0.
    let ridge = 1.0 + 1e-6 * (0..K).map(|i| factor[i][i]).sum::<f64>() / K as f64;
    for (i, row) in factor.iter_mut().enumerate() {
        row[i] += ridge;
    }
    for i in 0..K {
        for j in 0..=i {
            let product: f64 = (0..j).map(|k| factor[i][k] * factor[j][k]).sum();
            let rest = factor[i][j] - product;
            factor[i][j] = if i == j { rest.max(ridge * 1e-3).sqrt() } else { rest / factor[j][j] };
        }
    }
    let mut solution = moments.error;
    for i in 0..K {
        let product: f64 = (0..i).map(|k| factor[i][k] * solution[k]).sum();
        solution[i] = (solution[i] - product) / factor[i][i];
    }
    for i in (0..K).rev() {
        let product: f64 = (i + 1..K).map(|k| factor[k][i] * solution[k]).sum();
        solution[i] = (solution[i] - product) / factor[i][i];
    }
    solution
}

/// The nearest set.
pub(super) fn quantised<const K: usize>(solution: &[f64; K]) -> Set<K> {
    let unit = f64::from(1 << FRACTION_BITS);
    // The cast saturates.
    solution.map(|c| (c * unit).round() as i8)
}

/// Lowers squared error + `price` * bits from `set` on, one coefficient at a time: by a step up or down, or to the predicted value.
/// Returns the set and that sum, less the unfiltered error.
///
/// `bits(k, value)` is the cost of coefficient k at a value.
pub(super) fn refined<const K: usize>(
    moments: &Moments<K>,
    mut set: Set<K>,
    predicted: &Set<K>,
    price: f64,
    bits: impl Fn(usize, i8) -> f64,
) -> (Set<K>, f64) {
    let unit = 1.0 / f64::from(1 << FRACTION_BITS);
    let mut products: [f64; K] = std::array::from_fn(|i| (0..K).map(|j| moments.pairs[i][j] * f64::from(set[j])).sum());
    for _ in 0..ROUNDS {
        let mut moved = false;
        for k in 0..K {
            let old = set[k];
            let mut best = (-1e-9, old);
            for new in [old.saturating_add(1), old.saturating_sub(1), predicted[k]] {
                let step = f64::from(new) - f64::from(old);
                if new == old {
                    continue;
                }
                let error = unit * step * (unit * (2.0 * products[k] + step * moments.pairs[k][k]) - 2.0 * moments.error[k]);
                let change = error + price * (bits(k, new) - bits(k, old));
                if change < best.0 {
                    best = (change, new);
                }
            }
            let new = best.1;
            if new != old {
                let step = f64::from(new) - f64::from(old);
                products.iter_mut().zip(&moments.pairs[k]).for_each(|(product, pair)| *product += step * pair);
                set[k] = new;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    let cost: f64 = set.iter().enumerate().map(|(k, &value)| bits(k, value)).sum();
    let total = moments.change(&set) + price * cost;
    (set, total)
}
