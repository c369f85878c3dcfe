//! What is told at the end.

use std::path::Path;

use ngc_examples::Failure;
use serde_json::{Value, json};

/// A result.
#[derive(Debug, Default)]
pub struct Report {
    pub frames: u64,
    pub keyframes: u64,
    pub bytes: u64,
    /// From the first frame to the last.
    pub seconds: f64,
    /// When the first frame is shown in the input.
    pub first_frame: f64,
    /// What it took, all passes together.
    pub elapsed: f64,
    /// How often the video was encoded: for a target size, it may take some attempts.
    pub passes: u32,
    pub audio_tracks: usize,
    pub subtitle_tracks: usize,
    pub chapters: usize,
    pub warnings: Vec<String>,
    /// Of `--verify`.
    pub verified: Option<Value>,
}

impl Report {
    fn speed(&self) -> f64 {
        self.frames as f64 / self.elapsed.max(1e-3)
    }

    /// A warning if the input claims to be longer than its pictures, as one does that was cut off. `last`: time of the last frame.
    pub fn ends_early(&self, last: gst::ClockTime, length: gst::ClockTime) -> Option<String> {
        let (last, length) = (last.nseconds() as f64 / 1e9, length.nseconds() as f64 / 1e9);
        // The last frame is shown for a while, and sound is often a little longer than the pictures.
        let usual = 1.0 + 2.0 * self.seconds / self.frames.saturating_sub(1).max(1) as f64 + 0.02 * length;
        let text =
            || format!("the last frame is at {last:.1} s, but the input says that it lasts {length:.1} s: it may be incomplete");
        (last + usual < length).then(text)
    }

    /// One line for people.
    pub fn line(&self, output: &Path) -> String {
        format!(
            "{}: {} {}, {:.1} s, {} in {:.1} s ({:.1} frames/s)",
            output.display(),
            self.frames,
            if self.frames == 1 { "frame" } else { "frames" },
            self.seconds,
            indicatif::DecimalBytes(self.bytes),
            self.elapsed,
            self.speed()
        ) + &self.verified.as_ref().map_or_else(String::new, |v| format!(", verified: {} dB", v["psnr_y"]))
    }

    /// One line for programs.
    pub fn json(&self, input: &Path, output: &Path) -> Value {
        json!({
            "ok": true,
            "code": 0,
            "input": input.display().to_string(),
            "output": output.display().to_string(),
            "frames": self.frames,
            "keyframes": self.keyframes,
            "bytes": self.bytes,
            "seconds": self.seconds,
            "first_frame_seconds": self.first_frame,
            "elapsed_seconds": self.elapsed,
            "passes": self.passes,
            "frames_per_second": self.speed(),
            "audio_tracks": self.audio_tracks,
            "subtitle_tracks": self.subtitle_tracks,
            "chapters": self.chapters,
            "warnings": self.warnings,
            "verify": self.verified,
        })
    }
}

/// A failure, for programs.
pub fn failure(failure: &Failure, input: &Path, output: &Path, warnings: &[String]) -> Value {
    json!({
        "ok": false,
        "code": failure.kind as i32,
        "input": input.display().to_string(),
        "output": output.display().to_string(),
        "error": failure.text,
        "warnings": warnings,
    })
}

#[test]
fn inputs_that_end_early_are_told() {
    let of = |frames, seconds, length| {
        let report = Report { frames, seconds, ..Report::default() };
        report.ends_early(gst::ClockTime::from_seconds_f64(seconds), gst::ClockTime::from_seconds_f64(length)).is_some()
    };
    assert!(of(60, 2.36, 4.0) && of(1500, 59.0, 120.0));
    // Whole; a frame every five seconds; sound that is a little longer.
    assert!(!of(100, 3.96, 4.0) && !of(3, 10.0, 15.0) && !of(1500, 59.96, 61.0));
}
