//! The whole trainer from the command line: prepare, train, kill, resume, export, bench.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::{model, prepare, run, trainer};

/// As the common one, for stages whose clips are unrolled.
fn train(kind: &str, data: &Path, out: &Path, init: &Path, steps: &str) -> Command {
    train_with(kind, "", data, out, init, steps)
}

fn train_with(kind: &str, lines: &str, data: &Path, out: &Path, init: &Path, steps: &str) -> Command {
    let unroll = if kind == "inter" { "clip.unroll = \"2:1,3:1\"" } else { "" };
    common::train(kind, &format!("{unroll}\n{lines}"), data, out, init, steps)
}

/// The last record of the log.
fn last_record(out: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(out.join("train.jsonl")).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// Step and tensors of a checkpoint, `None` if there is none yet.
fn checkpoint(out: &Path) -> Option<(u64, Vec<u8>)> {
    let bytes = std::fs::read(out.join("checkpoint.safetensors")).ok()?;
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let progress: serde_json::Value = serde_json::from_str(header["__metadata__"]["progress"].as_str().unwrap()).unwrap();
    Some((progress["step"].as_u64().unwrap(), bytes[8 + length..].to_vec()))
}

#[test]
fn a_killed_run_goes_on_exactly_and_exports() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data);

    let whole = dir.path().join("whole");
    run(&mut train("inter", &data, &whole, &model(), "8"));

    // The same run in two sessions, the first one killed at a step that it does not choose.
    let parts = dir.path().join("parts");
    let mut killed =
        train("inter", &data, &parts, &model(), "8").args(["--checkpoint-seconds", "0"]).stderr(Stdio::null()).spawn().unwrap();
    while checkpoint(&parts).is_none_or(|(step, _)| step < 3) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    run(&mut train("inter", &data, &parts, &model(), "8"));

    let (a, b) = (checkpoint(&whole).unwrap(), checkpoint(&parts).unwrap());
    assert_eq!((a.0, b.0), (8, 8));
    assert!(a.1 == b.1, "weights and optimiser state are equal to the bit");

    let exported = dir.path().join("model.safetensors");
    run(trainer().arg("export").arg("--checkpoint").arg(whole.join("checkpoint.safetensors")).arg("--out").arg(&exported));
    let text =
        run(trainer().args(["bench", "--size", "64x64", "--frames", "2", "--json", "--device", "cpu", "--model"]).arg(&exported));
    let report: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert!(report["encode_fps"].as_f64().unwrap() > 0.0 && report["decode_fps"].as_f64().unwrap() > 0.0);
}

/// Names of the parameters in a checkpoint that differ from those in another.
fn changed(a: &Path, b: &Path) -> Vec<String> {
    let read = |out: &Path| std::fs::read(out.join("checkpoint.safetensors")).unwrap();
    let (a, b) = (read(a), read(b));
    let [a, b] = [&a, &b].map(|bytes| safetensors::SafeTensors::deserialize(bytes).unwrap());
    let differ = |name: &&str| a.tensor(name).unwrap().data() != b.tensor(name).unwrap().data();
    a.names().into_iter().filter(|name| name.starts_with("param/")).filter(differ).map(str::to_owned).collect()
}

#[test]
fn entropy_models_learn_alone() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data);
    let [one, two] = ["one", "two"].map(|steps| dir.path().join(steps));
    for (out, steps) in [(&one, "1"), (&two, "2")] {
        run(&mut train_with("inter", "optimiser.entropy-alone = true", &data, out, &model(), steps));
    }
    let changed = changed(&one, &two);
    for part in ["param/residual.coder.entropy.h1.", "param/residual.coder.entropy.p1a."] {
        assert!(changed.iter().any(|name| name.starts_with(part)), "{part} has not learned");
    }
    assert!(changed.iter().all(|name| name.contains(".coder.entropy.") && !name.contains("intra.")), "{changed:?}");
    let out = dir.path().join("postfilter");
    let lines = "losses.statistics = 1\noptimiser.entropy-alone = true";
    let refused = train_with("postfilter", lines, &data, &out, &model(), "1").output().unwrap();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("optimiser.entropy-alone means nothing"), "{text}");
}

#[test]
fn the_intra_stage_runs_and_refuses_other_settings() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data);
    let out = dir.path().join("run");
    run(&mut train("intra", &data, &out, &model(), "2"));
    assert!(last_record(&out)["loss"].as_f64().unwrap().is_finite());
    let mixed = dir.path().join("mixed");
    run(&mut train_with("intra", "precision = \"mixed\"", &data, &mixed, &model(), "2"));
    let [full, mixed] = [&out, &mixed].map(|run| last_record(run)["loss"].as_f64().unwrap());
    assert!(mixed != full && (mixed / full - 1.0).abs() < 0.02, "{mixed} beside {full}");
    let refused = train_with("intra", "optimiser.learning-rate = 0.5", &data, &out, &model(), "3").output().unwrap();
    assert!(!refused.status.success());
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("other settings"), "{text}");
}

#[test]
fn what_a_machine_computes_at_a_time_does_not_decide_what_is_learned() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data);
    let after = |name: &str, options: &[&str]| {
        let out = dir.path().join(name);
        let mut command = train("inter", &data, &out, &model(), "3");
        let file = out.with_extension("toml");
        let text = std::fs::read_to_string(&file).unwrap().replace("clips = 1", "clips = 3");
        std::fs::write(&file, text).unwrap();
        run(command.args(options));
        let loss = last_record(&out)["loss"].as_f64().unwrap();
        (checkpoint(&out).unwrap().1, loss)
    };
    let whole = after("whole", &[]);
    assert!(after("cached", &["--cache", "64MiB"]).0 == whole.0, "crops are cut elsewhere, and the same");
    let parts = after("parts", &["--micro-batch", "1"]);
    assert!((parts.1 / whole.1 - 1.0).abs() < 1e-3, "{} {}", parts.1, whole.1);
    assert!(parts.0 != whole.0, "sums are taken in another order");
}
