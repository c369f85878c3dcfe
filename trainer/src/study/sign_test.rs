//! The exact sign test.

use statrs::distribution::{Binomial, DiscreteCDF};

/// Two-sided p-value of `wins` against `losses` if both were equally likely (ties do not count). 1 without any.
pub fn p_value(wins: u64, losses: u64) -> f64 {
    let tail = Binomial::new(0.5, wins + losses).map_or(1.0, |binomial| binomial.cdf(wins.min(losses)));
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        for (wins, losses, expected) in
            [(14, 12, 0.845), (18, 9, 0.122), (16, 9, 0.230), (48, 30, 0.0536), (0, 0, 1.0), (10, 0, 0.00195)]
        {
            assert!((p_value(wins, losses) - expected).abs() < 0.001, "{wins} v {losses}: {}", p_value(wins, losses));
            assert_eq!(p_value(wins, losses), p_value(losses, wins));
        }
        assert!(p_value(600, 500) < 0.01);
    }
}
