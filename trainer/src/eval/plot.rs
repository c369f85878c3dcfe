//! Rate-distortion plots as SVG.

use std::fmt::Write;

const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 40.0;
const COLOURS: [&str; 6] = ["#0b6e4f", "#c1121f", "#1d4ed8", "#b45309", "#7c3aed", "#475569"];

/// One codec's curve: (bits per pixel, value).
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// Range of values with a margin; never empty.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values.filter(|v| v.is_finite()).fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return None;
    }
    let margin = ((high - low) * 0.06).max(high.abs() * 1e-3).max(1e-6);
    Some((low - margin, high + margin))
}

/// Ticks at round values.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let raw = (high - low) / 5.0;
    let magnitude = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|f| f * magnitude).into_iter().find(|s| *s >= raw).unwrap_or(raw);
    let first = (low / step).ceil() as i64;
    (first..).map(|i| i as f64 * step).take_while(|v| *v <= high).collect()
}

fn label(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A plot of `title` over bits per pixel (logarithmic), with a legend; empty text if there is nothing to plot.
pub fn plot(title: &str, series: &[Series]) -> String {
    let points = || series.iter().flat_map(|s| &s.points);
    let (Some(x), Some(y)) = (range(points().map(|p| p.0.ln())), range(points().map(|p| p.1))) else { return String::new() };
    let px = |v: f64| LEFT + (v - x.0) / (x.1 - x.0) * (WIDTH - LEFT - RIGHT);
    let py = |v: f64| HEIGHT - BOTTOM - (v - y.0) / (y.1 - y.0) * (HEIGHT - TOP - BOTTOM);
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\"><text class=\"t\" x=\"{LEFT}\" y=\"16\">{title}</text>"
    );
    for value in ticks(y.0, y.1) {
        let at = py(value);
        let _ = write!(
            out,
            "<line class=\"g\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 5.0,
            at + 4.0,
            label(value)
        );
    }
    for value in [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0].into_iter().filter(|v: &f64| (x.0..=x.1).contains(&v.ln())) {
        let at = px(value.ln());
        let _ = write!(
            out,
            "<line class=\"g\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 14.0,
            label(value)
        );
    }
    let _ = write!(out, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">bits per pixel</text>", WIDTH - RIGHT, HEIGHT - 6.0);
    for (i, series) in series.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let mut points: Vec<_> = series.points.iter().map(|p| (px(p.0.ln()), py(p.1))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = write!(out, "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>", path.join(" "));
        for (x, y) in points {
            let _ = write!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
        let x = LEFT + 4.0 + 80.0 * i as f64;
        let _ = write!(out, "<text x=\"{x:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>", HEIGHT - 6.0, series.name);
    }
    out.push_str("</svg>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(27.3, 34.1), [28.0, 30.0, 32.0, 34.0]);
        assert!(ticks(0.031, 0.072).iter().all(|t| (0.031..=0.072).contains(t)));
    }

    #[test]
    fn plots_hold_every_point_and_nothing_needs_no_plot() {
        let series = [Series { name: "a".into(), points: vec![(0.1, 30.0), (0.2, 33.0)] }];
        assert_eq!(plot("PSNR", &series).matches("<circle").count(), 2);
        assert_eq!(plot("PSNR", &[]), "");
    }
}
