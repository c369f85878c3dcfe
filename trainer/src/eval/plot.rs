//! Rate-distortion plots as SVG.

use plotters::prelude::*;

/// In pixels.
const SIZE: (u32, u32) = (380, 260);
/// Sizes of letters: plotters' pixels are a quarter larger than SVG's.
const TITLE: u32 = 17;
const TEXT: u32 = 14;
/// Marks of the axis.
const RATES: [f64; 9] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0];
const COLOURS: [RGBColor; 6] = [
    RGBColor(11, 110, 79),
    RGBColor(193, 18, 31),
    RGBColor(29, 78, 216),
    RGBColor(180, 83, 9),
    RGBColor(124, 58, 237),
    RGBColor(71, 85, 105),
];

/// One codec's curve: (bits per pixel, value).
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// Range of values with a margin; never empty.
fn range(values: impl Iterator<Item = f64>) -> Option<std::ops::Range<f64>> {
    let (low, high) = values.filter(|v| v.is_finite()).fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return None;
    }
    let margin = ((high - low) * 0.06).max(high.abs() * 1e-3).max(1e-6);
    Some(low - margin..high + margin)
}

/// A value without the zeros at its end.
fn label(value: &f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A plot of `title` over bits per pixel (logarithmic), with a legend; empty text if there is nothing to plot.
///
/// # Errors
/// If it cannot be drawn.
pub fn plot(title: &str, series: &[Series]) -> anyhow::Result<String> {
    let points = || series.iter().flat_map(|s| &s.points).filter(|p| p.0 > 0.0);
    let (Some(x), Some(y)) = (range(points().map(|p| p.0.ln())), range(points().map(|p| p.1))) else { return Ok(String::new()) };
    let rates = RATES.into_iter().filter(|rate| x.contains(&rate.ln())).collect();
    let mut out = String::new();
    {
        let area = SVGBackend::with_string(&mut out, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", TITLE))
            .margin_right(10)
            .set_label_area_size(LabelAreaPosition::Left, 48)
            .set_label_area_size(LabelAreaPosition::Bottom, 40)
            .build_cartesian_2d((x.start.exp()..x.end.exp()).log_scale().with_key_points(rates), y)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(5)
            .y_labels(6)
            .x_label_formatter(&label)
            .y_label_formatter(&label)
            .x_desc("bits per pixel")
            .label_style(("sans-serif", TEXT))
            .draw()?;
        for (series, colour) in series.iter().zip(COLOURS.into_iter().cycle()) {
            let mut points: Vec<_> = series.points.iter().copied().filter(|p| p.0 > 0.0 && p.1.is_finite()).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let line = chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
            line.label(&series.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
            chart.draw_series(points.into_iter().map(|point| Circle::new(point, 3, colour.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.8))
            .label_font(("sans-serif", TEXT))
            .draw()?;
        area.present()?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_hold_every_point_and_nothing_needs_no_plot() {
        let series = |name: &str, points: &[(f64, f64)]| Series { name: name.into(), points: points.into() };
        let svg = plot("PSNR", &[series("a & b", &[(0.1, 30.0), (0.2, 33.0)]), series("c", &[])]).unwrap();
        assert_eq!(svg.matches("<circle").count(), 2);
        // Round rates at the axis.
        assert!(["\n0.1\n", "\n0.2\n"].iter().all(|mark| svg.contains(mark)), "{svg}");
        assert!(svg.contains("a &amp; b") && svg.contains("PSNR") && svg.contains("bits per pixel"), "{svg}");
        assert_eq!(plot("PSNR", &[]).unwrap(), "");
        // One point, and values without a logarithm.
        assert_eq!(plot("PSNR", &[series("a", &[(0.1, 30.0), (0.0, 31.0)])]).unwrap().matches("<circle").count(), 1);
    }

    #[test]
    fn labels_are_short() {
        assert_eq!([30.0, 0.05, 33.25].map(|v| label(&v)), ["30", "0.05", "33.25"]);
    }
}
