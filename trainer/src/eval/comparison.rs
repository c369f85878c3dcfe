//! What a model shows beside another that has the same bits, or nearly so: detail 1 beside detail 0, say.

use super::bd::{Point, qualities_at_equal_rate};
use super::score::Measurement;

/// How a metric of two models is compared.
enum Scale {
    /// Difference in dB; more is better.
    Decibel,
    /// Difference in percent of the other's; less is better.
    Percent,
}

type Metric = (&'static str, Scale, fn(&Measurement) -> Option<f64>);

const METRICS: [Metric; 7] = [
    ("psnr_y_db", Scale::Decibel, |m| Some(m.psnr[0])),
    ("psnr_u_db", Scale::Decibel, |m| Some(m.psnr[1])),
    ("psnr_v_db", Scale::Decibel, |m| Some(m.psnr[2])),
    ("lpips_percent", Scale::Percent, |m| m.lpips),
    ("dists_percent", Scale::Percent, |m| m.dists),
    ("statistics_percent", Scale::Percent, |m| m.statistics),
    ("flicker_percent", Scale::Percent, |m| Some(m.flicker)),
];

/// Names of the columns.
pub fn names() -> [&'static str; METRICS.len()] {
    METRICS.map(|(name, ..)| name)
}

/// Mean difference of `test` from `reference` over the rates that both reach, by metric; `None` where nothing was measured.
pub fn differences(test: &[&Measurement], reference: &[&Measurement]) -> [Option<f64>; METRICS.len()] {
    METRICS.map(|(_, scale, value)| {
        let points = |measured: &[&Measurement]| -> Option<Vec<Point>> {
            measured.iter().map(|m| Some(Point { rate: m.bpp, quality: value(m)? })).collect()
        };
        let (test, reference) = qualities_at_equal_rate(&points(test)?, &points(reference)?)?;
        Some(match scale {
            Scale::Decibel => test - reference,
            Scale::Percent => 100.0 * (test / reference - 1.0),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(bpp: f64, psnr: f64, dists: f64) -> Measurement {
        Measurement {
            bpp,
            psnr: [psnr; 3],
            ms_ssim: None,
            lpips: None,
            dists: Some(dists),
            statistics: None,
            flicker: 2.0,
            liveliness: 1.0,
            drift: [0.0; 3],
        }
    }

    #[test]
    fn differences_are_taken_at_equal_rate() {
        let faithful = [measured(0.1, 30.0, 0.20), measured(0.2, 33.0, 0.10)];
        let detailed = [measured(0.1, 29.0, 0.16), measured(0.2, 32.0, 0.08)];
        let found = differences(&detailed.each_ref(), &faithful.each_ref());
        let near = |i: usize, wanted: f64| found[i].is_some_and(|v| (v - wanted).abs() < 1e-6);
        assert!(near(0, -1.0) && near(4, -20.0) && near(6, 0.0), "{found:?}");
        assert_eq!((found[3], found[5]), (None, None));
    }
}
