//! `examples/blind-study.sh` up to the description of the study; the page is `ngc-trainer`'s, which has its own test.

mod common;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use common::{Folder, program, text};
use ngc_tests::repository;

/// In place of the trainer: the page is the description itself.
const TRAINER: &str = "#!/bin/sh\n[ \"$2\" = --help ] || cp \"$2\" \"$8\"\n";

fn script(folder: &Folder) -> Command {
    let trainer = folder.path("trainer");
    std::fs::write(&trainer, TRAINER).unwrap();
    std::fs::set_permissions(&trainer, Permissions::from_mode(0o755)).unwrap();
    let mut command = program(&repository("examples/blind-study.sh").display().to_string());
    command.env("NGC_TRAINER", trainer);
    command
}

fn fails(output: &Output, code: i32, why: &str) {
    assert!(output.status.code() == Some(code) && text(output).contains(why), "{why}: {}", text(output));
}

#[test]
fn wrong_command_lines_are_refused() {
    let folder = Folder::new();
    let run = |arguments: &[&str]| script(&folder).args(arguments).output().unwrap();
    let help = run(&["--help"]);
    assert!(help.status.success() && text(&help).contains("--x265-tune NAME"), "{}", text(&help));
    fails(&run(&["--nonsense", "43"]), 2, "unknown option --nonsense");
    fails(&run(&["--quality", "64"]), 2, "--quality must be a whole number from 0 to 63, not 64");
    fails(&run(&["--seconds", "0"]), 2, "--seconds must be");
    fails(&run(&["--height", "271"]), 2, "--height must be even");
    fails(&run(&["--out"]), 2, "--out needs a value");
    fails(&run(&["/nowhere.mp4"]), 1, "/nowhere.mp4 cannot be read");
}

#[test]
fn what_is_missing_or_cannot_be_decoded_is_named() {
    let folder = Folder::new();
    let out = folder.name("page.html");
    std::fs::write(folder.path("bad.mkv"), "no video\n".repeat(500)).unwrap();
    let output = script(&folder).args(["--out", &out, &folder.name("bad.mkv")]).output().unwrap();
    fails(&output, 1, "bad.mkv cannot be decoded: ");
    folder.clip("sound.ogg", "audiotestsrc num-buffers=20 ! vorbisenc ! oggmux ! {out}");
    let output = script(&folder).args(["--out", &out, &folder.name("sound.ogg")]).output().unwrap();
    fails(&output, 1, "sound.ogg cannot be decoded: it has no video");
    let output = script(&folder).args(["--out", &out]).env("NGC_TRAINER", "/nowhere").output().unwrap();
    fails(&output, 1, "/nowhere does not run");
    let mut bare = script(&folder);
    bare.env("GST_PLUGIN_SYSTEM_PATH_1_0", folder.name("none")).env("GST_REGISTRY", folder.name("registry"));
    fails(&bare.args(["--out", &out]).output().unwrap(), 1, "decodebin is missing (Debian: gstreamer1.0-plugins-base)");
    assert!(!folder.path("page.html").exists());
}

#[test]
fn clips_of_any_name_become_questions() {
    let folder = Folder::new();
    let clip = "videotestsrc pattern=ball num-buffers=10 ! video/x-raw,format=I420,width=98,height=66,framerate=50/1 \
                ! x264enc ! matroskamux ! {out}";
    folder.clip("plain", clip);
    let names = ["say \"x\" ! now.mkv", "say \"x\" ! now.mp4"];
    for name in names {
        std::fs::copy(folder.path("plain"), folder.path(name)).unwrap();
    }
    let (out, kept) = (folder.name("page.html"), folder.name("kept here"));
    let output = script(&folder)
        .args(["--height", "48", "--seconds", "0.2", "--out", &out, "--keep", &kept])
        .args(names.map(|name| folder.name(name)))
        .output()
        .unwrap();
    let said = text(&output);
    // Every second frame of 50 a second.
    assert!(output.status.success() && said.contains("say__x____now-2: 5 frames of 72x48"), "{said}");
    let study = std::fs::read_to_string(out).unwrap();
    assert_eq!((study.matches("[[question]]").count(), study.matches("golden = \"a\"").count()), (3, 1), "{study}");
    let files: Vec<_> = study.split('"').filter(|part| part.ends_with(".mkv")).collect();
    assert_eq!(files.len(), 9, "{study}");
    for file in files {
        assert!(folder.path("kept here").join(file).metadata().unwrap().len() > 0, "{file}");
    }
}
