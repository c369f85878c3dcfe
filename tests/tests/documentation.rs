//! What the documents say: links lead somewhere, named files and functions exist, printed pipelines run.

use std::path::{Path, PathBuf};
use std::process::Command;

use ngc_tests::pipes::run;
use ngc_tests::repository;

/// Documents that people read, relative to the top.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in
        ["", "docs", "docs/adr", "models", "codec-core", "codec-core/docs", "gst-plugin-ngc", "examples", "examples/media"]
    {
        let entries = std::fs::read_dir(repository(folder)).unwrap_or_else(|e| panic!("{folder}: {e}"));
        let files = entries.map(|entry| Path::new(folder).join(entry.unwrap().file_name()));
        found.extend(files.filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    assert!(found.len() > 20, "only {} documents", found.len());
    found
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(repository(path.to_str().unwrap())).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What stands between `open` and `close`, each time.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    text.split(open).skip(1).filter_map(|rest| rest.split_once(close).map(|(inner, _)| inner)).collect()
}

/// Text without its code blocks.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut links = 0;
    for document in documents() {
        let prose = prose(&text(&document));
        for target in between(&prose, "](", ")") {
            let target = target.split('#').next().unwrap();
            if target.is_empty() || target.starts_with("http") {
                continue;
            }
            let path = repository(document.parent().unwrap().join(target).to_str().unwrap());
            assert!(path.exists(), "{}: there is no {target}", document.display());
            links += 1;
        }
    }
    assert!(links > 50, "only {links} links");
}

/// Words in backticks that are paths from the top.
fn paths(prose: &str) -> Vec<&str> {
    let tops = ["codec-core/", "gst-plugin-ngc/", "trainer/", "tests/", "examples/", "docs/", "models/"];
    prose.split('`').skip(1).step_by(2).filter(|word| tops.iter().any(|top| word.starts_with(top))).collect()
}

#[test]
fn named_files_exist() {
    let mut named = 0;
    for document in documents() {
        if document == Path::new("CHANGELOG.md") {
            continue;
        }
        // A line at a time, so that an odd backtick spoils one line at most.
        for line in prose(&text(&document)).lines() {
            for path in paths(line) {
                let path = path.split([' ', ',']).next().unwrap();
                assert!(repository(path).exists(), "{}: there is no {path}", document.display());
                named += 1;
            }
        }
    }
    assert!(named > 40, "only {named} files are named");
}

/// The newcomer's tour of docs/architecture.md: functions in their files, and the line at its end.
#[test]
fn the_tour_leads_where_it_says() {
    let architecture = text(Path::new("docs/architecture.md"));
    let tour = between(&architecture, "## Five files", "## ").concat();
    assert!((1..=5).all(|step| tour.contains(&format!("\n{step}. **"))) && !tour.contains("\n6. **"), "five files");
    for (file, functions) in [
        ("gst-plugin-ngc/src/ngcenc/imp.rs", &["handle_frame", "send_next"][..]),
        ("codec-core/src/pipeline/encoder.rs", &["encode_here", "search_motion", "plan", "encode_inter"]),
        ("codec-core/src/pipeline/reconstruct.rs", &["analyse_residual", "residual"]),
        ("codec-core/src/pipeline/symbols.rs", &["code", "quantise"]),
        ("codec-core/src/pipeline/decoder.rs", &["decode_inter"]),
        ("codec-core/src/entropy/latent.rs", &["encode", "code_z", "code_y", "code_elements", "quantise", "frugal", "decode"]),
    ] {
        let source = text(Path::new(file));
        for function in functions {
            assert!(tour.contains(function), "the tour does not name {function}");
            assert!(
                [format!("fn {function}("), format!("fn {function}<")].iter().any(|f| source.contains(f)),
                "{file}: {function}"
            );
        }
    }
    let line = between(&tour, "```rust\n", "```").concat();
    let latent = text(Path::new("codec-core/src/entropy/latent.rs"));
    assert!(!line.is_empty() && latent.contains(line.trim()), "{line}");
}

/// The commands of a document's shell blocks that start with `program`, with continued lines joined.
fn commands(document: &str, program: &str) -> Vec<String> {
    let text = text(Path::new(document)).replace("\\\n", " ");
    let blocks = text.split("```").skip(1).step_by(2).filter(|block| block.starts_with("sh"));
    blocks.flat_map(str::lines).filter(|line| line.starts_with(program)).map(str::to_owned).collect()
}

/// Whether a pipeline needs a screen, a network, or someone who ends it.
fn needs_more(command: &str) -> bool {
    ["autovideosink", "udpsink", "udpsrc", "is-live=true"].iter().any(|word| command.contains(word))
}

/// At most 60 frames of a test source.
fn shortened(command: &str) -> String {
    let words = command.split(' ').map(|word| match word.strip_prefix("num-buffers=").map(str::parse::<u32>) {
        Some(Ok(n)) if n > 60 => "num-buffers=60",
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn printed_pipelines_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(path("plugins")).unwrap();
    std::fs::create_dir_all(path("examples/media")).unwrap();
    // The plugin as it was built beside this test.
    let plugin = std::env::current_exe().unwrap().parent().unwrap().join("libgstngc.so");
    std::os::unix::fs::symlink(plugin, path("plugins/libgstngc.so")).unwrap();
    run(&format!(
        "videotestsrc num-buffers=25 ! video/x-raw,format=I420,width=128,height=96,framerate=25/1 ! x264enc ! mp4mux name=m \
         ! filesink location=\"{}\" audiotestsrc num-buffers=40 ! audioconvert ! opusenc ! m.",
        path("in.mp4").display()
    ))
    .unwrap();
    std::fs::copy(path("in.mp4"), path("examples/media/flower.mp4")).unwrap();

    let (mut ran, mut left_out) = (0, 0);
    for document in ["README.md", "docs/getting-started.md", "docs/pipelines.md"] {
        for command in commands(document, "gst-launch-1.0 ") {
            if needs_more(&command) {
                left_out += 1;
                continue;
            }
            let attempt = || {
                Command::new("timeout")
                    .args(["60", "sh", "-c", &shortened(&command)])
                    .current_dir(dir.path())
                    .env("GST_PLUGIN_PATH", path("plugins"))
                    .env("GST_REGISTRY", path("registry"))
                    .output()
                    .unwrap()
            };
            let mut output = attempt();
            // GStreamer 1.22's splitmuxsink at times does not tell that it has ended, whatever the encoder.
            for _ in 0..3 {
                if output.status.code() == Some(124) && command.contains("splitmuxsink") {
                    output = attempt();
                }
            }
            assert!(output.status.success(), "{document}: {command}\n{}", String::from_utf8_lossy(&output.stderr));
            // The file that is written is named last: muxer and sink come at the end, or other branches without files follow.
            let name = command.rsplit("location=").next().unwrap().split(' ').next().unwrap().replace("%03d", "000");
            assert!(std::fs::metadata(path(&name)).is_ok_and(|m| m.len() > 100), "{document}: {command} wrote no {name}");
            ran += 1;
        }
    }
    eprintln!("{ran} pipelines ran, {left_out} need a screen or a network");
    assert!(ran >= 9 && left_out <= 4, "{ran} ran, {left_out} did not");
}

/// Properties that the documents set exist, and take the values given.
#[test]
fn printed_settings_are_taken() {
    use gst::prelude::*;
    gst::init().unwrap();
    gstngc::plugin_register_static().unwrap();
    let mut set = 0;
    for document in ["README.md", "docs/choosing.md", "docs/pipelines.md", "docs/getting-started.md"] {
        let text = text(Path::new(document)).replace("\\\n", " ");
        for name in ["ngcenc", "ngcdec"] {
            for settings in between(&text, &format!("! {name} "), "!") {
                for setting in settings.split_whitespace() {
                    let (property, value) = setting.split_once('=').unwrap_or_else(|| panic!("{document}: {setting}"));
                    let element = gst::ElementFactory::make(name).build().unwrap();
                    assert!(element.has_property(property), "{document}: {name} has no {property}");
                    element.set_property_from_str(property, value);
                    set += 1;
                }
            }
        }
    }
    assert!(set > 15, "only {set} settings");
}
