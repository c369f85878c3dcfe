//! `examples/batch`: clips without sound, names of all kinds, clips that cannot be read, two runs at once, runs that are killed,
//! and Slurm and Snakemake beside GNU parallel.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ngc_tests::pipes::{run, shown};
use ngc_tests::repository;

struct Folders {
    dir: tempfile::TempDir,
    properties: String,
}

impl Folders {
    fn new() -> Self {
        let folders = Self { dir: tempfile::tempdir().unwrap(), properties: "quality=40".into() };
        // The plugin as it was built beside this test, and nothing else.
        std::fs::create_dir_all(folders.path("plugins")).unwrap();
        let plugin = std::env::current_exe().unwrap().parent().unwrap().join("libgstngc.so");
        std::os::unix::fs::symlink(plugin, folders.path("plugins/libgstngc.so")).unwrap();
        folders
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A clip of five frames; with sound if `sound`.
    fn clip(&self, name: &str, muxer: &str, sound: bool) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let plain = self.path("plain");
        let sound = if sound { "audiotestsrc num-buffers=10 ! audioconvert ! opusenc ! m." } else { "" };
        run(&format!(
            "videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=64,height=48,framerate=25/1 ! x264enc ! {muxer} name=m \
             ! filesink location=\"{}\" {sound}",
            plain.display()
        ))
        .unwrap();
        std::fs::rename(plain, path).unwrap();
    }

    /// The command with these arguments, of which `%` stands for the folder.
    fn program(&self, arguments: &[&str]) -> Command {
        // One run that hangs is to be an error, not a test that hangs.
        let mut command = Command::new("timeout");
        let folder = self.dir.path().display().to_string();
        command
            .arg("120")
            .arg(repository("examples/batch/ngc-batch"))
            .args(arguments.iter().map(|argument| argument.replace('%', &folder)))
            .env("NGC_TRANSCODE", env!("CARGO_BIN_EXE_ngc-transcode"))
            .env("GST_PLUGIN_PATH", self.path("plugins"))
            .env("GST_REGISTRY", self.path("registry"))
            .env("HOME", self.dir.path());
        command
    }

    /// The command for a source, written as given, and a target folder.
    fn command(&self, source: &str, target: &str) -> Command {
        self.program(&["run", &format!("%/{source}"), &format!("%/{target}"), "--", "--set", &self.properties])
    }

    fn batch(&self, source: &str, target: &str) -> Output {
        self.command(source, target).output().unwrap()
    }

    /// The results below a folder, relative to it, and what else there is beside the state of the batch.
    fn files(&self, folder: &str) -> Vec<String> {
        fn walk(folder: &Path, all: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() { walk(&entry.path(), all) } else { all.push(entry.path()) }
            }
        }
        let mut all = Vec::new();
        walk(&self.path(folder), &mut all);
        let mut names: Vec<_> = all.iter().map(|p| p.strip_prefix(self.path(folder)).unwrap().display().to_string()).collect();
        names.retain(|name| !name.starts_with("ngc-batch/"));
        names.sort();
        names
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn short_clips_with_and_without_sound_are_done_once() {
    let folders = Folders::new();
    folders.clip("in/day/silent.mp4", "mp4mux", false);
    folders.clip("in/loud.mkv", "matroskamux", true);
    let output = folders.batch("in", "out");
    assert!(output.status.success() && text(&output).contains("2 done, 0 done before, 0 failed"), "{}", text(&output));
    assert_eq!(folders.files("out"), ["day/silent.mp4.mkv", "loud.mkv.mkv"]);
    for file in folders.files("out") {
        let path = folders.path("out").join(&file);
        let frames = shown(&format!("filesrc location=\"{}\" ! matroskademux ! ngcparse ! ngcdec threads=1", path.display()));
        assert_eq!(frames.unwrap().len(), 5, "{file}");
    }
    let sound = run(&format!(
        "filesrc location=\"{}\" ! matroskademux name=d d.audio_0 ! queue ! opusdec ! fakesink d.video_0 ! queue ! fakesink",
        folders.path("out/loud.mkv.mkv").display()
    ));
    assert_eq!(sound, Ok(()));
    // The same again, with a slash.
    let output = folders.batch("in/", "out");
    assert!(output.status.success() && text(&output).contains("0 done, 2 done before, 0 failed"), "{}", text(&output));
    assert_eq!(folders.files("out").len(), 2);
}

#[test]
fn names_of_all_kinds_are_kept_apart() {
    let folders = Folders::new();
    let names = ["a.mp4", "a.mov", "back\\slash.mp4", "say \"x\" ! now.mp4", "two\nlines.mp4", "-dash.mp4"];
    folders.clip("in/a.mp4", "mp4mux", false);
    for name in &names[1..] {
        std::fs::copy(folders.path("in/a.mp4"), folders.path("in").join(name)).unwrap();
    }
    let output = folders.batch("in", "out");
    assert!(output.status.success(), "{}", text(&output));
    let mut wanted: Vec<_> = names.iter().map(|name| format!("{name}.mkv")).collect();
    wanted.sort();
    assert_eq!(folders.files("out"), wanted);
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_done() {
    let folders = Folders::new();
    folders.clip("in/good.mp4", "mp4mux", false);
    std::fs::write(folders.path("in/bad.mp4"), [7; 3000]).unwrap();
    std::fs::write(folders.path("in/empty.mkv"), []).unwrap();
    let output = folders.batch("in", "out");
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("1 done, 0 done before, 2 failed") && text.contains("bad.mp4 has no video that can be read: "),
        "{text}"
    );
    assert_eq!(folders.files("out"), ["good.mp4.mkv"]);
}

#[test]
fn two_runs_at_once_share_the_work() {
    let folders = Folders::new();
    folders.clip("in/1.mp4", "mp4mux", false);
    for number in 2..=4 {
        std::fs::copy(folders.path("in/1.mp4"), folders.path(&format!("in/{number}.mp4"))).unwrap();
    }
    let mut runs = [0, 1].map(|_| folders.command("in", "out").stdout(std::process::Stdio::piped()).spawn().unwrap());
    assert!(runs.iter_mut().all(|run| run.wait().unwrap().success()));
    let lines: Vec<_> = runs.into_iter().map(|run| text(&run.wait_with_output().unwrap())).collect();
    assert_eq!(folders.files("out"), ["1.mp4.mkv", "2.mp4.mkv", "3.mp4.mkv", "4.mp4.mkv"]);
    // Each was done by one of them.
    for number in 1..=4 {
        let done = lines.iter().filter(|text| text.contains(&format!("/{number}.mp4.mkv\n"))).count();
        assert_eq!(done, 1, "{lines:?}");
    }
}

#[test]
fn properties_that_are_wrong_stop_it_before_the_first_file() {
    let mut folders = Folders::new();
    folders.clip("in/a.mp4", "mp4mux", false);
    for (properties, named) in
        [("quality=99", "quality"), ("model-file=/nowhere.safetensors", "/nowhere.safetensors"), ("sharpness=1", "sharpness")]
    {
        folders.properties = properties.into();
        let output = folders.batch("in", "out");
        let text = text(&output);
        assert!(output.status.code() == Some(2) && text.contains(named) && text.contains("gst-inspect-1.0"), "{text}");
    }
    assert!(folders.files("out").is_empty());
}
