//! A study from clips to a table, with a browser where there is one.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{run, skipped, trainer};

const STUDY: &str = r#"
name = "test"
[[question]]
id = "first"
original = "flower.mp4"
a = { name = "ours", file = "flower.mp4" }
b = { name = "theirs", file = "flower.mp4" }
[[question]]
id = "second"
original = "flower.mp4"
a = { name = "theirs", file = "flower.mp4" }
b = { name = "ours", file = "flower.mp4" }
[[question]]
id = "gold"
original = "flower.mp4"
a = { name = "good", file = "flower.mp4" }
b = { name = "bad", file = "flower.mp4" }
golden = "a"
"#;

/// Builds the page of [`STUDY`] in `folder`.
fn page(folder: &Path) -> PathBuf {
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/media/flower.mp4");
    std::os::unix::fs::symlink(clip.canonicalize().unwrap(), folder.join("flower.mp4")).unwrap();
    std::fs::write(folder.join("study.toml"), STUDY).unwrap();
    let out = folder.join("page.html");
    run(trainer().arg("study").arg(folder.join("study.toml")).args(["--seconds", "0.2", "--out"]).arg(&out));
    out
}

fn browser() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("NGC_CHROMIUM") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name))).find(|file| file.is_file())
}

#[test]
fn the_page_is_self_contained() {
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(page(dir.path())).unwrap();
    assert_eq!(text.matches("data:video/webm;base64,GkXfo").count(), 9, "three clips for each question");
    assert!(!text.contains("http"), "the page needs the network");
    // What the rater sees does not name the methods: they are in the script alone.
    let visible = &text[..text.find("<script>").unwrap()];
    assert!(!visible.contains("ours") && !visible.contains("theirs"));
}

#[test]
fn a_browser_runs_the_study_to_its_result() {
    let Some(browser) = browser() else {
        return skipped("a study in a browser: no Chromium on PATH (NGC_CHROMIUM names one)");
    };
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}#autotest", page(dir.path()).display());
    let output = Command::new(browser)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", dir.path().join("profile").display()))
        .arg(&url)
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    let start = dom.find("<pre id=\"result\">").unwrap_or_else(|| panic!("no result: {dom:.2000}")) + "<pre id=\"result\">".len();
    let json = &dom[start..start + dom[start..].find("</pre>").unwrap()];
    let result: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(result["rater"], "autotest");
    let answers = result["answers"].as_array().unwrap();
    let mut questions: Vec<&str> = answers.iter().map(|a| a["question"].as_str().unwrap()).collect();
    questions.sort_unstable();
    assert_eq!(questions, ["first", "gold", "second"]);
    for answer in answers {
        assert_eq!(answer["flips"], 1);
        assert_ne!(answer["chosen"], answer["other"]);
        assert_eq!(answer["golden"].is_boolean(), answer["question"] == "gold");
    }
    let file = dir.path().join("result.json");
    std::fs::write(&file, json).unwrap();
    let table = run(trainer().args(["study-table", "--allowed-failures", "1"]).arg(&file));
    assert!(table.contains("ours against theirs") && table.contains("1 raters"), "{table}");
}
