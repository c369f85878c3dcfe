//! Two processes over MPI learn what one process with two workers learns.
#![cfg(feature = "mpi")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use common::{model, prepare, run, trainer};

const STEPS: &str = "6";

fn options(command: &mut Command, stage: &str, workers: &str, data: &Path, out: &Path) {
    let unroll = if stage == "inter" { "clip.unroll = \"2:1,3:1\"" } else { "" };
    let file = out.with_extension("toml");
    let text = format!("kind = \"{stage}\"\nbatch = {{ clips = 1, crop = 64 }}\nrate.target-bpp = [0.4, 0.02]\n{unroll}\n");
    std::fs::write(&file, text).unwrap();
    command.arg("train").arg(file).args(["--workers", workers, "--device", "cpu", "--steps", STEPS]);
    command.arg("--data").arg(data).arg("--out").arg(out).arg("--init").arg(model());
}

fn two_processes() -> Command {
    let mut command = Command::new("mpirun");
    // Containers run as root and may have one core.
    command.args(["--allow-run-as-root", "--oversubscribe", "-n", "2", env!("CARGO_BIN_EXE_ngc-trainer")]);
    command.env("OMP_NUM_THREADS", "1");
    command
}

/// Metadata and float tensors of a checkpoint.
fn checkpoint(out: &Path) -> (serde_json::Value, BTreeMap<String, Vec<f32>>) {
    let bytes = std::fs::read(out.join("checkpoint.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let progress = serde_json::from_str(&header.metadata().as_ref().unwrap()["progress"]).unwrap();
    let tensors = file
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()));
    (progress, tensors.collect())
}

fn loss(out: &Path) -> f64 {
    let text = std::fs::read_to_string(out.join("train.jsonl")).unwrap();
    let record: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    record["loss"].as_f64().unwrap()
}

#[test]
fn two_processes_are_one_with_two_workers() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data);
    // In the P-stage a last bit may round a sample of a reference the other way, and motion search then may find other vectors.
    for (stage, of_loss, of_values) in [("intra", 1e-3, 3e-3), ("inter", 5e-3, 5e-2)] {
        let (one, two) = (dir.path().join(format!("{stage}-one")), dir.path().join(format!("{stage}-two")));
        let mut command = trainer();
        options(&mut command, stage, "2", &data, &one);
        run(&mut command);
        let mut command = two_processes();
        options(&mut command, stage, "1", &data, &two);
        run(&mut command);
        let (a, b) = (loss(&one), loss(&two));
        assert!((a / b - 1.0).abs() < of_loss, "{stage}: loss {a} in one process, {b} in two");
        let ((progress_a, tensors_a), (progress_b, tensors_b)) = (checkpoint(&one), checkpoint(&two));
        assert_eq!(progress_a["step"], progress_b["step"]);
        // The rate controller has seen the same rates.
        let multipliers = |progress: &serde_json::Value| progress["rate"]["log_multiplier"].as_array().unwrap().clone();
        for (x, y) in multipliers(&progress_a).iter().zip(&multipliers(&progress_b)) {
            assert!((x.as_f64().unwrap() - y.as_f64().unwrap()).abs() < 0.1 * of_loss, "{stage}: {x} {y}");
        }
        assert_eq!(tensors_a.len(), tensors_b.len());
        for (name, values) in tensors_a.iter().filter(|(name, _)| name.starts_with("param/")) {
            let other = &tensors_b[name];
            // The mean, not the largest: Adam's first steps divide a gradient by its own size, so a gradient close to zero, whose
            // sign is a matter of summation order, moves one value by a whole step.
            let norm = |values: &mut dyn Iterator<Item = f32>| (values.map(|v| f64::from(v).powi(2)).sum::<f64>()).sqrt();
            let difference = norm(&mut values.iter().zip(other).map(|(x, y)| x - y));
            let size = norm(&mut values.iter().copied());
            let least = 1e-2 * (values.len() as f64).sqrt();
            assert!(difference <= of_values * size.max(least), "{stage}: {name} differs by {difference}, its norm is {size}");
        }
    }
}

#[test]
fn a_process_that_fails_ends_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = two_processes();
    options(&mut command, "intra", "1", Path::new("/nowhere"), &dir.path().join("out"));
    let output = command.output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere"));
}
