//! What a run tells: a progress line, JSON lines for programs, TensorBoard events for curves.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use tensorboard_rs::summary_writer::SummaryWriter;

/// Means of what the steps reported since the last record.
pub struct RunLog {
    /// `None` in a process that leaves writing to another.
    files: Option<(std::fs::File, SummaryWriter)>,
    bar: ProgressBar,
    sums: BTreeMap<String, (f64, u64)>,
}

impl RunLog {
    /// Appends to `train.jsonl` and to the event files in `dir`, if this process is to write.
    pub fn open(dir: &Path, title: &str, write: bool) -> Result<Self> {
        if !write {
            return Ok(Self { files: None, bar: ProgressBar::hidden(), sums: BTreeMap::new() });
        }
        let path = dir.join("train.jsonl");
        let json =
            std::fs::OpenOptions::new().create(true).append(true).open(&path).with_context(|| path.display().to_string())?;
        let bar = ProgressBar::new(1000);
        bar.set_style(ProgressStyle::with_template("{prefix} [{bar:30}] {percent}% {elapsed} {msg}")?);
        bar.set_prefix(title.to_owned());
        Ok(Self { files: Some((json, SummaryWriter::new(dir.join("events")))), bar, sums: BTreeMap::new() })
    }

    pub fn add(&mut self, name: &str, value: f64) {
        if self.files.is_some() {
            let (sum, count) = self.sums.entry(name.to_owned()).or_default();
            *sum += value;
            *count += 1;
        }
    }

    /// Writes the means with the given position and forgets them.
    pub fn record(&mut self, step: u64, fraction: f64, seconds: f64) -> Result<()> {
        let Some((json, events)) = &mut self.files else { return Ok(()) };
        let mut record = serde_json::Map::new();
        record.insert("step".into(), step.into());
        record.insert("fraction".into(), fraction.into());
        record.insert("seconds".into(), seconds.round().into());
        for (name, (sum, count)) in std::mem::take(&mut self.sums) {
            let mean = sum / count as f64;
            record.insert(name.clone(), serde_json::Number::from_f64(mean).map_or(serde_json::Value::Null, Into::into));
            events.add_scalar(&name, mean as f32, step as usize);
        }
        events.flush();
        let line = serde_json::Value::Object(record.clone()).to_string();
        writeln!(json, "{line}").context("cannot write train.jsonl: is the disk full?")?;
        self.bar.set_position((fraction * 1000.0) as u64);
        let short = ["score", "bpp", "psnr_y", "psnr_uv"]
            .iter()
            .filter_map(|k| record.get(*k).and_then(|v| v.as_f64()).map(|v| format!("{k} {v:.3}")));
        self.bar.set_message(format!("step {step} {}", short.collect::<Vec<_>>().join(" ")));
        Ok(())
    }

    /// A line above the progress bar.
    pub fn say(&self, text: &str) {
        if self.files.is_none() {
            return;
        }
        if self.bar.is_hidden() {
            eprintln!("{text}");
        } else {
            self.bar.println(text);
        }
    }
}
