//! Bjontegaard deltas: how many bits one codec needs beside another for the same quality, and what it reaches with the same
//! bits.

/// Rate and quality of one setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Bits per pixel, above 0.
    pub rate: f64,
    /// Higher is better.
    pub quality: f64,
}

/// Mean difference of rate in percent (negative: `test` needs fewer bits) over the qualities that both reach, from
/// monotone cubic interpolation (PCHIP) of the logarithm of the rate over quality. `None` where ranges do not overlap or
/// a curve has fewer than two points.
pub fn bd_rate(test: &[Point], reference: &[Point]) -> Option<f64> {
    let curve = |points| Curve::through(points, |p| (p.quality, p.rate.ln()));
    let (test, reference) = means(&curve(test)?, &curve(reference)?)?;
    Some(((test - reference).exp() - 1.0) * 100.0)
}

/// Mean qualities of `test` and `reference` over the rates that both reach, from the same interpolation with the axes
/// exchanged.
pub fn qualities_at_equal_rate(test: &[Point], reference: &[Point]) -> Option<(f64, f64)> {
    let curve = |points| Curve::through(points, |p| (p.rate.ln(), p.quality));
    means(&curve(test)?, &curve(reference)?)
}

/// Means of two curves over their common range.
fn means(a: &Curve, b: &Curve) -> Option<(f64, f64)> {
    let (low, high) = (a.start().max(b.start()), a.end().min(b.end()));
    if high - low < 1e-9 {
        return None;
    }
    const STEPS: usize = 400;
    let mean = |curve: &Curve| {
        let at = |i: usize| low + (high - low) * (i as f64 + 0.5) / STEPS as f64;
        (0..STEPS).map(|i| curve.at(at(i))).sum::<f64>() / STEPS as f64
    };
    Some((mean(a), mean(b)))
}

/// A monotone cubic through points.
struct Curve {
    x: Vec<f64>,
    y: Vec<f64>,
    slopes: Vec<f64>,
}

impl Curve {
    /// `None` for fewer than two usable points with different x; `axes` gives x and y of a point.
    fn through(points: &[Point], axes: fn(&Point) -> (f64, f64)) -> Option<Self> {
        let usable = points.iter().filter(|p| p.rate > 0.0 && p.quality.is_finite());
        let mut points: Vec<(f64, f64)> = usable.map(axes).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points.dedup_by(|a, b| (a.0 - b.0).abs() < 1e-9);
        if points.len() < 2 {
            return None;
        }
        let (x, y): (Vec<f64>, Vec<f64>) = points.into_iter().unzip();
        let slopes = slopes(&x, &y);
        Some(Self { x, y, slopes })
    }

    fn start(&self) -> f64 {
        self.x[0]
    }

    fn end(&self) -> f64 {
        self.x[self.x.len() - 1]
    }

    fn at(&self, x: f64) -> f64 {
        let i = self.x.partition_point(|&v| v <= x).clamp(1, self.x.len() - 1) - 1;
        let h = self.x[i + 1] - self.x[i];
        let t = (x - self.x[i]) / h;
        let (t2, t3) = (t * t, t * t * t);
        (2.0 * t3 - 3.0 * t2 + 1.0) * self.y[i]
            + (t3 - 2.0 * t2 + t) * h * self.slopes[i]
            + (3.0 * t2 - 2.0 * t3) * self.y[i + 1]
            + (t3 - t2) * h * self.slopes[i + 1]
    }
}

/// Fritsch and Carlson's slopes: the weighted harmonic mean of neighbouring chords, 0 at extrema.
fn slopes(x: &[f64], y: &[f64]) -> Vec<f64> {
    let n = x.len();
    let h: Vec<f64> = x.windows(2).map(|w| w[1] - w[0]).collect();
    let chord: Vec<f64> = y.windows(2).zip(&h).map(|(w, h)| (w[1] - w[0]) / h).collect();
    let mut out = vec![0.0; n];
    for i in 1..n - 1 {
        if chord[i - 1] * chord[i] > 0.0 {
            let (w1, w2) = (2.0 * h[i] + h[i - 1], h[i] + 2.0 * h[i - 1]);
            out[i] = (w1 + w2) / (w1 / chord[i - 1] + w2 / chord[i]);
        }
    }
    out[0] = chord[0];
    out[n - 1] = chord[n - 2];
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(factor: f64) -> Vec<Point> {
        [(0.05, 30.0), (0.1, 33.0), (0.2, 35.5), (0.4, 38.0)].map(|(rate, quality)| Point { rate: rate * factor, quality }).into()
    }

    #[test]
    fn a_scaled_curve_differs_by_its_factor() {
        for factor in [0.5, 0.8, 1.0, 1.3] {
            let found = bd_rate(&curve(factor), &curve(1.0)).unwrap();
            assert!((found - (factor - 1.0) * 100.0).abs() < 1e-6, "{factor}: {found}");
        }
    }

    #[test]
    fn a_better_quality_at_the_same_rates_is_found() {
        let better: Vec<Point> = curve(1.0).into_iter().map(|p| Point { quality: p.quality + 1.5, ..p }).collect();
        let (test, reference) = qualities_at_equal_rate(&better, &curve(1.0)).unwrap();
        assert!((test - reference - 1.5).abs() < 1e-9 && (30.0..38.0).contains(&reference), "{test} {reference}");
        assert_eq!(qualities_at_equal_rate(&curve(100.0), &curve(1.0)), None);
    }

    #[test]
    fn only_the_common_range_counts() {
        let above: Vec<Point> = curve(1.0).into_iter().map(|p| Point { quality: p.quality + 20.0, ..p }).collect();
        assert_eq!(bd_rate(&above, &curve(1.0)), None);
        assert_eq!(bd_rate(&curve(1.0)[..1], &curve(1.0)), None);
        assert!(bd_rate(&curve(0.9)[1..], &curve(1.0)).is_some_and(|v| (v + 10.0).abs() < 0.5));
    }
}
