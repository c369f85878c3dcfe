//! The exact sign test.

/// Two-sided p-value of `wins` against `losses` if both were equally likely (ties do not count). 1 without any.
pub fn p_value(wins: u64, losses: u64) -> f64 {
    let n = wins + losses;
    // Probability of each count, from the middle outwards in logarithms: factorials of hundreds do not fit a float.
    let ln_factorial: Vec<f64> = std::iter::once(0.0)
        .chain((1..=n).scan(0.0, |sum, i| {
            *sum += (i as f64).ln();
            Some(*sum)
        }))
        .collect();
    let probability = |k: u64| {
        (ln_factorial[n as usize] - ln_factorial[k as usize] - ln_factorial[(n - k) as usize] - n as f64 * std::f64::consts::LN_2)
            .exp()
    };
    let tail: f64 = (0..=wins.min(losses)).map(probability).sum();
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
