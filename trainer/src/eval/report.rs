//! Results as CSV, as a self-contained web page, and as a table on the terminal.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use codec_core::frame::Frame;
use image::ImageEncoder;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Serialize;

use super::bd::{Point, bd_rate};
use super::plot::{Series, plot};
use super::score::Measurement;
use super::{Clip, Coded, Run, comparison};

/// Side of the crops in pixels, at most.
const CROP: usize = 160;

/// A metric by which rates are compared: name, and its value so that higher is better.
type Metric = (&'static str, fn(&Measurement) -> Option<f64>);
const METRICS: [Metric; 6] = [
    ("PSNR-Y", |m| Some(m.psnr[0])),
    ("PSNR-U", |m| Some(m.psnr[1])),
    ("PSNR-V", |m| Some(m.psnr[2])),
    ("MS-SSIM dB", |m| m.ms_ssim.map(|v| -10.0 * (1.0 - v).max(1e-6).log10())),
    ("LPIPS-VGG", |m| m.lpips.map(|v| -v)),
    ("DISTS", |m| m.dists.map(|v| -v)),
];
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1240px;margin:2em auto;padding:0 1em;color:#111}\
    h2{margin-top:2em}.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(330px,1fr));gap:10px}\
    svg{background:#fafafa;border:1px solid #ddd}table{border-collapse:collapse}\
    td,th{padding:3px 10px;border-bottom:1px solid #ddd;text-align:right}td:first-child,th:first-child{text-align:left}\
    figure{display:inline-block;margin:4px}img{image-rendering:pixelated;width:320px}\
    figcaption{font-size:12px}.good{color:#0b6e4f}.bad{color:#c1121f}";

struct Row {
    clip: String,
    run: Run,
    measurement: Measurement,
    speeds: (Option<f64>, Option<f64>),
    /// A crop of the middle frame, PNG in base64.
    crop: String,
}

/// Everything measured so far.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    /// Crops of the originals by clip.
    originals: Vec<(String, String)>,
}

/// A comparison of two codecs on one clip: BD-rate in percent for each of [`METRICS`].
struct Comparison {
    clip: String,
    test: String,
    reference: String,
    rates: [Option<f64>; METRICS.len()],
}

impl Report {
    pub fn add(&mut self, clip: &Clip, run: Run, measurement: Measurement, coded: &Coded) {
        let middle = clip.frames.len() / 2;
        if self.originals.last().is_none_or(|(name, _)| *name != clip.name) {
            self.originals.push((clip.name.clone(), png(&clip.frames[middle])));
        }
        let crop = png(&coded.frames[middle]);
        self.rows.push(Row { clip: clip.name.clone(), run, measurement, speeds: (coded.encode_fps, coded.decode_fps), crop });
    }

    /// Writes `results.csv`, `bd.csv` and `report.html`, and `comparison.csv` if there are several models.
    ///
    /// # Errors
    /// Naming the file that cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let files = [("results.csv", self.results()?), ("bd.csv", self.bd_csv()?), ("report.html", self.html()?.into_string())];
        for (name, text) in files.into_iter().chain(self.comparison_csv()?.map(|text| ("comparison.csv", text))) {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    fn results(&self) -> Result<String> {
        let optional = |value: Option<f64>| value.map_or(String::new(), |v| format!("{v:.5}"));
        table(self.rows.iter().map(|row| {
            let m = &row.measurement;
            let [psnr_y, psnr_u, psnr_v] = m.psnr.map(|v| format!("{v:.4}"));
            let [drift_y, drift_u, drift_v] = m.drift.map(|v| format!("{v:.3}"));
            ResultLine {
                clip: &row.clip,
                codec: &row.run.codec,
                setting: row.run.setting,
                bpp: format!("{:.6}", m.bpp),
                psnr_y,
                psnr_u,
                psnr_v,
                ms_ssim: optional(m.ms_ssim),
                lpips_vgg: optional(m.lpips),
                dists: optional(m.dists),
                statistics: optional(m.statistics),
                flicker: format!("{:.4}", m.flicker),
                liveliness: format!("{:.4}", m.liveliness),
                drift_y,
                drift_u,
                drift_v,
                encode_fps: optional(row.speeds.0),
                decode_fps: optional(row.speeds.1),
            }
        }))
    }

    fn clips(&self) -> impl Iterator<Item = &str> {
        self.originals.iter().map(|(name, _)| name.as_str())
    }

    /// Codecs in the order in which they were seen, and whether each is an anchor.
    fn codecs(&self) -> Vec<(&str, bool)> {
        let mut out: Vec<(&str, bool)> = Vec::new();
        for row in &self.rows {
            if !out.iter().any(|(name, _)| *name == row.run.codec) {
                out.push((&row.run.codec, row.run.anchor));
            }
        }
        out
    }

    fn points(&self, clip: &str, codec: &str, metric: Metric) -> Vec<Point> {
        let rows = self.rows.iter().filter(|r| r.clip == clip && r.run.codec == codec);
        rows.filter_map(|r| Some(Point { rate: r.measurement.bpp, quality: metric.1(&r.measurement)? })).collect()
    }

    /// Each model against each anchor, on each clip and (last) on average over the clips.
    fn comparisons(&self) -> Vec<Comparison> {
        let codecs = self.codecs();
        let mut out = Vec::new();
        for (test, _) in codecs.iter().filter(|(_, anchor)| !anchor) {
            for (reference, _) in codecs.iter().filter(|(_, anchor)| *anchor) {
                let start = out.len();
                for clip in self.clips() {
                    let rates =
                        METRICS.map(|metric| bd_rate(&self.points(clip, test, metric), &self.points(clip, reference, metric)));
                    out.push(Comparison {
                        clip: clip.to_owned(),
                        test: (*test).to_owned(),
                        reference: (*reference).to_owned(),
                        rates,
                    });
                }
                let mean = |i: usize| {
                    let values: Vec<f64> = out[start..].iter().filter_map(|c: &Comparison| c.rates[i]).collect();
                    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
                };
                let rates = std::array::from_fn(mean);
                out.push(Comparison {
                    clip: "mean".to_owned(),
                    test: (*test).to_owned(),
                    reference: (*reference).to_owned(),
                    rates,
                });
            }
        }
        out
    }

    fn bd_csv(&self) -> Result<String> {
        let mut out = csv::Writer::from_writer(Vec::new());
        out.write_record(["clip", "codec", "against"].into_iter().chain(METRICS.map(|m| m.0)))?;
        for c in self.comparisons() {
            out.write_record([c.clip, c.test, c.reference].into_iter().chain(c.rates.map(hundredths)))?;
        }
        text(out)
    }

    /// Every model but the first against the first, at equal rate, clip by clip and (last) on average; `None` for one model.
    fn comparison_csv(&self) -> Result<Option<String>> {
        let codecs = self.codecs();
        let models: Vec<&str> = codecs.iter().filter(|(_, anchor)| !anchor).map(|(name, _)| *name).collect();
        let [first, others @ ..] = &models[..] else { return Ok(None) };
        if others.is_empty() {
            return Ok(None);
        }
        let mut out = csv::Writer::from_writer(Vec::new());
        out.write_record(["clip", "codec", "against"].into_iter().chain(comparison::names()))?;
        for test in others {
            let measured = |clip: &str, codec: &str| -> Vec<&Measurement> {
                self.rows.iter().filter(|r| r.clip == clip && r.run.codec == codec).map(|r| &r.measurement).collect()
            };
            let found: Vec<_> =
                self.clips().map(|clip| (clip, comparison::differences(&measured(clip, test), &measured(clip, first)))).collect();
            let mean = std::array::from_fn(|i| {
                let values: Option<Vec<f64>> = found.iter().map(|(_, v)| v[i]).collect();
                values.map(|v| v.iter().sum::<f64>() / v.len() as f64)
            });
            for (clip, values) in found.into_iter().chain([("mean", mean)]) {
                out.write_record([clip, test, first].map(str::to_owned).into_iter().chain(values.map(hundredths)))?;
            }
        }
        text(out).map(Some)
    }

    /// A table of BD-rates for the terminal.
    pub fn summary(&self) -> String {
        let mut out = format!("{:<34}", "BD-rate, %");
        METRICS.iter().for_each(|(name, _)| out.push_str(&format!("{name:>12}")));
        out.push('\n');
        for c in self.comparisons() {
            let _ = write!(out, "{:<34}", format!("{}: {} against {}", c.clip, c.test, c.reference));
            c.rates.iter().for_each(|r| out.push_str(&format!("{:>12}", r.map_or("n/a".into(), |v| format!("{v:+.1}")))));
            out.push('\n');
        }
        out
    }

    fn html(&self) -> Result<Markup> {
        let plots: Vec<Vec<String>> = self.clips().map(|clip| self.plots(clip)).collect::<Result<_>>()?;
        Ok(html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    title { "NGC evaluation" }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { "NGC evaluation" }
                    p {
                        "Real bytes, one keyframe, no B-frames. BD-rate: bits needed beside the reference for the same quality; negative "
                        "is fewer."
                    }
                    (self.table())
                    @for ((clip, original), plots) in self.originals.iter().zip(plots) {
                        h2 { (clip) }
                        div class="plots" { @for plot in plots { div { (PreEscaped(plot)) } } }
                        (self.crops(clip, original))
                    }
                }
            }
        })
    }

    /// BD-rates.
    fn table(&self) -> Markup {
        html! {
            table {
                tr {
                    @for name in ["clip", "codec", "against"].into_iter().chain(METRICS.map(|m| m.0)) { th { (name) } }
                }
                @for c in self.comparisons() {
                    tr {
                        td { (c.clip) }
                        td { (c.test) }
                        td { (c.reference) }
                        @for rate in c.rates {
                            @match rate {
                                Some(v) => td class=(if v <= 0.0 { "good" } else { "bad" }) { (format!("{v:+.1} %")) },
                                None => td { "n/a" },
                            }
                        }
                    }
                }
            }
        }
    }

    /// A plot of each metric.
    fn plots(&self, clip: &str) -> Result<Vec<String>> {
        let draw = |metric: Metric| {
            let series: Vec<Series> = self
                .codecs()
                .iter()
                .map(|(codec, _)| {
                    let points = self.points(clip, codec, metric).iter().map(|p| (p.rate, p.quality)).collect();
                    Series { name: (*codec).to_owned(), points }
                })
                .collect();
            let negated = metric.0.ends_with("VGG") || metric.0 == "DISTS";
            let title = if negated { format!("-{} (higher is better)", metric.0) } else { metric.0.to_owned() };
            plot(&title, &series)
        };
        METRICS.into_iter().map(draw).collect()
    }

    /// The original beside each codec at about the rate of the model's lowest setting but one.
    fn crops(&self, clip: &str, original: &str) -> Markup {
        let mut rows: Vec<&Row> = self.rows.iter().filter(|r| r.clip == clip && !r.run.anchor).collect();
        rows.sort_by(|a, b| a.measurement.bpp.total_cmp(&b.measurement.bpp));
        let wanted = rows.get(1).or(rows.first()).map(|r| r.measurement.bpp);
        let nearest = |codec: &str| {
            let wanted = wanted?;
            let own = self.rows.iter().filter(|r| r.clip == clip && r.run.codec == codec);
            let distance = |r: &&Row| (r.measurement.bpp / wanted).ln().abs();
            own.min_by(|a, b| distance(a).total_cmp(&distance(b)))
        };
        let figure = |name: &str, png: &str| {
            html! {
                figure {
                    img alt="" src=(format!("data:image/png;base64,{png}"));
                    figcaption { (name) }
                }
            }
        };
        html! {
            (figure("original", original))
            @for (codec, _) in self.codecs() {
                @if let Some(row) = nearest(codec) {
                    (figure(&format!("{codec} {}: {:.4} bpp", row.run.setting, row.measurement.bpp), &row.crop))
                }
            }
        }
    }
}

/// A line of results.csv. Empty: not measured.
#[derive(Serialize)]
struct ResultLine<'a> {
    clip: &'a str,
    codec: &'a str,
    setting: u32,
    bpp: String,
    psnr_y: String,
    psnr_u: String,
    psnr_v: String,
    ms_ssim: String,
    lpips_vgg: String,
    dists: String,
    statistics: String,
    flicker: String,
    liveliness: String,
    drift_y: String,
    drift_u: String,
    drift_v: String,
    encode_fps: String,
    decode_fps: String,
}

/// Lines as CSV, with the names of their fields above.
fn table(lines: impl Iterator<Item = impl Serialize>) -> Result<String> {
    let mut out = csv::Writer::from_writer(Vec::new());
    for line in lines {
        out.serialize(line)?;
    }
    text(out)
}

fn text(writer: csv::Writer<Vec<u8>>) -> Result<String> {
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn hundredths(value: Option<f64>) -> String {
    value.map_or(String::new(), |v| format!("{v:.2}"))
}

/// The middle of a frame as PNG in base64; empty if it cannot be made.
fn png(frame: &Frame) -> String {
    let (w, h) = (frame.width().min(CROP), frame.height().min(CROP));
    let (x0, y0) = ((frame.width() - w) / 2, (frame.height() - h) / 2);
    let sample = |plane: usize, x: usize, y: usize| f64::from(frame.plane(plane).row(y)[x]);
    let mut rgb = Vec::with_capacity(w * h * 3);
    for y in y0..y0 + h {
        for x in x0..x0 + w {
            let luma = (sample(0, x, y) - 16.0) * 255.0 / 219.0;
            let (u, v) = ((sample(1, x / 2, y / 2) - 128.0) * 255.0 / 224.0, (sample(2, x / 2, y / 2) - 128.0) * 255.0 / 224.0);
            for value in [luma + 1.402 * v, luma - 0.344_136 * u - 0.714_136 * v, luma + 1.772 * u] {
                rgb.push(value.round().clamp(0.0, 255.0) as u8);
            }
        }
    }
    let mut bytes = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    match encoder.write_image(&rgb, w as u32, h as u32, image::ExtendedColorType::Rgb8) {
        Ok(()) => base64::engine::general_purpose::STANDARD.encode(&bytes),
        Err(_) => String::new(),
    }
}
