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
    /// What it took.
    pub elapsed: f64,
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

    /// One line for people.
    pub fn line(&self, output: &Path) -> String {
        format!(
            "{}: {} frames, {:.1} s, {} in {:.1} s ({:.1} frames/s)",
            output.display(),
            self.frames,
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
