//! Data as a manifest describes them.

mod common;

use std::path::Path;

use common::{run, trainer};

#[test]
fn a_manifest_says_what_becomes_of_clips() {
    let dir = tempfile::tempdir().unwrap();
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/media/flower.mp4");
    for name in ["native.mp4", "halved.mp4", "kept.mp4"] {
        std::fs::copy(&clip, dir.path().join(name)).unwrap();
    }
    let manifest = dir.path().join("manifest.toml");
    let text = r#"
        [[source]]
        files = ["nat*.mp4"]
        kind = "clip"
        licence = "CC0"
        scale = "native"
        cut = [5, 17]
        weight = 0.25
        [[source]]
        files = ["halved.mp4"]
        kind = "clip"
        licence = "CC BY 4.0"
        floor = 128
        [[source]]
        files = ["kept.mp4"]
        kind = "clip"
        licence = "CC0"
        held-out = true
    "#;
    std::fs::write(&manifest, text).unwrap();
    let out = dir.path().join("data");
    run(trainer().args(["prepare", "--max-frames", "20", "--manifest"]).arg(&manifest).arg("--out").arg(&out));

    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(out.join("index.json")).unwrap()).unwrap();
    let item = |name: &str| {
        let items = index["items"].as_array().unwrap();
        items.iter().find(|item| item["name"].as_str().unwrap().starts_with(name)).unwrap_or_else(|| panic!("{name}: {index}"))
    };
    let (native, halved, kept) = (item("native"), item("halved"), item("kept"));
    assert_eq!((&native["height"], &native["frames"], &native["weight"]), (&360.into(), &12.into(), &0.25.into()));
    assert_eq!((&halved["height"], &halved["frames"]), (&176.into(), &20.into()));
    assert!(halved.get("weight").is_none(), "a usual weight is not written: {halved}");
    let splits = [native, halved, kept].map(|item| item["split"].as_str().unwrap());
    assert_eq!(splits, ["train", "train", "validation"]);
    assert_eq!(std::fs::read_to_string(out.join("licences.txt")).unwrap(), "CC BY 4.0: 1\nCC0: 2\n");

    the_held_out_clip_is_scored(&out);

    std::fs::write(&manifest, text.replace("weight", "wait")).unwrap();
    let refused = trainer().args(["prepare", "--manifest"]).arg(&manifest).arg("--out").arg(&out).output().unwrap();
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("`wait`") && error.contains("manifest.toml"), "{error}");
}

fn the_held_out_clip_is_scored(data: &Path) {
    let score = |more: &[&str]| {
        let mut command = trainer();
        command.args(["score", "--threads", "1", "--frames", "3", "--qualities", "12,50", "--data"]).arg(data).args(more);
        run(&mut command)
    };
    let found: serde_json::Value = serde_json::from_str(&score(&["--json"])).unwrap();
    assert_eq!((&found["clips"], &found["frames"]), (&1.into(), &3.into()));
    for key in ["bpp", "psnr_y", "psnr_u", "psnr_v"] {
        let [good, bad] = [0, 1].map(|i| found["points"][i][key].as_f64().unwrap());
        assert!(good > bad && bad > 0.0, "{key}: {found}");
    }
    assert!(score(&[]).contains("PSNR Y"));
}
