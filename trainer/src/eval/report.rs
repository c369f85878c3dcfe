//! Results as CSV, as a self-contained web page, and as a table on the terminal.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use codec_core::frame::Frame;
use image::ImageEncoder;

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
    svg{background:#fafafa;border:1px solid #ddd}svg text{font-size:11px}svg .t{font-size:13px;font-weight:600}\
    svg .g{stroke:#e3e3e3}table{border-collapse:collapse}td,th{padding:3px 10px;border-bottom:1px solid #ddd;text-align:right}\
    td:first-child,th:first-child{text-align:left}figure{display:inline-block;margin:4px}img{image-rendering:pixelated;width:320px}\
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
        let files = [("results.csv", self.results()), ("bd.csv", self.bd_csv()), ("report.html", self.html())];
        for (name, text) in files.into_iter().chain(self.comparison_csv().map(|text| ("comparison.csv", text))) {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    fn results(&self) -> String {
        let mut out = String::from(
            "clip,codec,setting,bpp,psnr_y,psnr_u,psnr_v,ms_ssim,lpips_vgg,dists,statistics,flicker,liveliness,drift_y,drift_u,drift_v,encode_fps,decode_fps\n",
        );
        let optional = |value: Option<f64>| value.map_or(String::new(), |v| format!("{v:.5}"));
        for row in &self.rows {
            let m = &row.measurement;
            let [y, u, v] = m.psnr;
            let [dy, du, dv] = m.drift;
            let _ = writeln!(
                out,
                "{},{},{},{:.6},{y:.4},{u:.4},{v:.4},{},{},{},{},{:.4},{:.4},{dy:.3},{du:.3},{dv:.3},{},{}",
                row.clip,
                row.run.codec,
                row.run.setting,
                m.bpp,
                optional(m.ms_ssim),
                optional(m.lpips),
                optional(m.dists),
                optional(m.statistics),
                m.flicker,
                m.liveliness,
                optional(row.speeds.0),
                optional(row.speeds.1),
            );
        }
        out
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

    fn bd_csv(&self) -> String {
        let mut out = format!("clip,codec,against,{}\n", METRICS.map(|m| m.0).join(","));
        for c in self.comparisons() {
            let rates = c.rates.map(|r| r.map_or(String::new(), |v| format!("{v:.2}")));
            let _ = writeln!(out, "{},{},{},{}", c.clip, c.test, c.reference, rates.join(","));
        }
        out
    }

    /// Every model but the first against the first, at equal rate, clip by clip and (last) on average; `None` for one model.
    fn comparison_csv(&self) -> Option<String> {
        let codecs = self.codecs();
        let mut models = codecs.iter().filter(|(_, anchor)| !anchor).map(|(name, _)| *name);
        let first = models.next()?;
        let mut models = models.peekable();
        models.peek()?;
        let mut out = format!("clip,codec,against,{}\n", comparison::names().join(","));
        for test in models {
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
                let values = values.map(|v| v.map_or(String::new(), |v| format!("{v:.2}")));
                let _ = writeln!(out, "{clip},{test},{first},{}", values.join(","));
            }
        }
        Some(out)
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

    fn html(&self) -> String {
        let mut out = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>NGC evaluation</title><style>{STYLE}</style>\
             <h1>NGC evaluation</h1><p>Real bytes, one keyframe, no B-frames. BD-rate: bits needed beside the reference for \
             the same quality; negative is fewer.</p><table><tr><th>clip<th>codec<th>against"
        );
        METRICS.iter().for_each(|(name, _)| out.push_str(&format!("<th>{name}")));
        for c in self.comparisons() {
            let _ = write!(out, "<tr><td>{}<td>{}<td>{}", escape(&c.clip), escape(&c.test), escape(&c.reference));
            for rate in c.rates {
                let _ = match rate {
                    Some(v) => write!(out, "<td class=\"{}\">{v:+.1} %", if v <= 0.0 { "good" } else { "bad" }),
                    None => write!(out, "<td>n/a"),
                };
            }
        }
        out.push_str("</table>");
        for (clip, original) in &self.originals {
            let _ = write!(out, "<h2>{}</h2><div class=\"plots\">", escape(clip));
            for metric in METRICS {
                let series: Vec<Series> = self
                    .codecs()
                    .iter()
                    .map(|(codec, _)| {
                        let points = self.points(clip, codec, metric).iter().map(|p| (p.rate, p.quality)).collect();
                        Series { name: escape(codec), points }
                    })
                    .collect();
                let title = if metric.0.ends_with("VGG") || metric.0 == "DISTS" {
                    format!("-{} (higher is better)", metric.0)
                } else {
                    metric.0.to_owned()
                };
                out.push_str(&plot(&title, &series));
            }
            out.push_str("</div>");
            self.crops(clip, original, &mut out);
        }
        out
    }

    /// The original beside each codec at about the rate of the model's lowest setting but one.
    fn crops(&self, clip: &str, original: &str, out: &mut String) {
        let mut rows: Vec<&Row> = self.rows.iter().filter(|r| r.clip == clip && !r.run.anchor).collect();
        rows.sort_by(|a, b| a.measurement.bpp.total_cmp(&b.measurement.bpp));
        let Some(wanted) = rows.get(1).or(rows.first()).map(|r| r.measurement.bpp) else { return };
        let mut figure = |name: &str, png: &str| {
            let _ = write!(
                out,
                "<figure><img alt=\"\" src=\"data:image/png;base64,{png}\"><figcaption>{}</figcaption></figure>",
                escape(name)
            );
        };
        figure("original", original);
        for (codec, _) in self.codecs() {
            let own = self.rows.iter().filter(|r| r.clip == clip && r.run.codec == codec);
            let distance = |r: &&Row| (r.measurement.bpp / wanted).ln().abs();
            if let Some(row) = own.min_by(|a, b| distance(a).total_cmp(&distance(b))) {
                figure(&format!("{codec} {}: {:.4} bpp", row.run.setting, row.measurement.bpp), &row.crop);
            }
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
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
