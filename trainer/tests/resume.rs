//! The whole trainer from the command line: prepare, train, kill, resume, export, bench.

use std::path::Path;
use std::process::{Command, Stdio};

fn trainer() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ngc-trainer"));
    command.env("OMP_NUM_THREADS", "1");
    command
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{text}");
    text
}

fn prepare(out: &Path) {
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/media/flower.mp4");
    let text = run(trainer()
        .args(["prepare", "--short-side", "180", "--max-frames", "40", "--out"])
        .arg(out)
        .arg("--clips")
        .arg(clip));
    assert!(text.contains("scenes"), "{text}");
}

fn model() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/rt.safetensors")
}

fn train(stage: &str, data: &Path, out: &Path, init: &Path, steps: &str) -> Command {
    let mut command = trainer();
    command.args([
        "train",
        stage,
        "--workers",
        "1",
        "--batch",
        "1",
        "--crop",
        "64",
        "--unroll",
        "2:1,3:1",
        "--device",
        "cpu",
        "--steps",
        steps,
    ]);
    command.arg("--data").arg(data).arg("--out").arg(out).arg("--init").arg(init);
    command
}

/// The loss and other means of every record in the log.
fn last_record(out: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(out.join("train.jsonl")).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

#[test]
fn a_killed_run_goes_on_exactly_and_exports() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data);

    let whole = dir.path().join("whole");
    run(&mut train("inter", &data, &whole, &model(), "6"));

    // The same run in two sittings: the first one is killed while it works on, after its checkpoint of step 0.
    let parts = dir.path().join("parts");
    let mut killed = train("inter", &data, &parts, &model(), "6")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !parts.join("checkpoint.safetensors").exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(killed.try_wait().unwrap().is_none(), "the run ended before it was killed");
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    run(&mut train("inter", &data, &parts, &model(), "6"));

    let (a, b) = (last_record(&whole), last_record(&parts));
    assert_eq!(a["step"], 6);
    for key in ["held_out/score", "held_out/bpp_q30"] {
        let (a, b) = (a[key].as_f64().unwrap(), b[key].as_f64().unwrap());
        assert!((a - b).abs() < 1e-6, "{key}: {a} in one sitting, {b} in two");
    }

    let exported = dir.path().join("model.safetensors");
    run(trainer()
        .arg("export")
        .arg("--checkpoint")
        .arg(whole.join("checkpoint.safetensors"))
        .arg("--out")
        .arg(&exported));
    let text = run(trainer()
        .args([
            "bench", "--size", "64x64", "--frames", "2", "--json", "--device", "cpu", "--model",
        ])
        .arg(&exported));
    let report: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert!(report["encode_fps"].as_f64().unwrap() > 0.0 && report["decode_fps"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_intra_stage_runs_and_refuses_other_settings() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data);
    let out = dir.path().join("run");
    run(&mut train("intra", &data, &out, &model(), "2"));
    assert!(last_record(&out)["loss"].as_f64().unwrap().is_finite());
    let refused = train("intra", &data, &out, &model(), "3")
        .args(["--lr", "0.5"])
        .output()
        .unwrap();
    assert!(!refused.status.success());
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("other settings"), "{text}");
}
