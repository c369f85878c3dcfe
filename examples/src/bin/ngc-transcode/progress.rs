//! The progress bar.

use std::sync::atomic::Ordering;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::pipeline::Counters;

/// A bar on standard error, where that is a terminal.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    start: Instant,
}

impl Progress {
    /// `duration`: of the input, where it is known.
    pub fn new(duration: Option<gst::ClockTime>, quiet: bool) -> Self {
        let bar = match duration {
            Some(duration) => ProgressBar::new(duration.mseconds().max(1)),
            None => ProgressBar::no_length(),
        };
        bar.set_draw_target(if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() });
        let template = match duration {
            Some(_) => "{bar:30} {percent:>3} %  {msg}  {eta} left",
            None => "{spinner} {elapsed}  {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, start: Instant::now() }
    }

    /// `bytes`: written so far.
    pub fn update(&self, counters: &Counters, bytes: u64) {
        let frames = counters.frames.load(Ordering::Relaxed);
        let speed = frames as f64 / self.start.elapsed().as_secs_f64().max(1e-3);
        self.bar.set_message(format!("{frames} frames, {speed:.1}/s, {}", indicatif::DecimalBytes(bytes)));
        let position = counters.last.load(Ordering::Relaxed) / 1_000_000;
        self.bar.set_position(self.bar.length().map_or(position, |length| position.min(length)));
    }

    /// Takes the bar away; seconds since it came.
    pub fn finish(&self) -> f64 {
        self.bar.finish_and_clear();
        self.start.elapsed().as_secs_f64()
    }
}
