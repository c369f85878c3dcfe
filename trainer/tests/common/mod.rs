//! What the trainer's tests share: the program, and a small data set made of the sample clip.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::path::Path;
use std::process::Command;

pub fn trainer() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ngc-trainer"));
    command.env("OMP_NUM_THREADS", "1");
    command
}

/// Says that a test was skipped. `eprintln` would not do: the test harness keeps that to itself where tests succeed.
pub fn skipped(why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    text
}

pub fn prepare(out: &Path) {
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/media/flower.mp4");
    let text =
        run(trainer().args(["prepare", "--short-side", "180", "--max-frames", "40", "--out"]).arg(out).arg("--clips").arg(clip));
    assert!(text.contains("scenes"), "{text}");
}

pub fn model() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/rt.safetensors")
}

/// A stage of one worker that sees one small clip a step, with more lines in its file.
pub fn train(kind: &str, lines: &str, data: &Path, out: &Path, init: &Path, steps: &str) -> Command {
    let file = out.with_extension("toml");
    let text = format!("kind = \"{kind}\"\nbatch = {{ clips = 1, crop = 64 }}\n{lines}\n");
    std::fs::write(&file, text).unwrap();
    let mut command = trainer();
    command.arg("train").arg(file).args(["--workers", "1", "--device", "cpu", "--steps", steps]);
    command.arg("--data").arg(data).arg("--out").arg(out).arg("--init").arg(init);
    command
}
