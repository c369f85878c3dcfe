//! `examples/batch`: clips without sound, names of all kinds, clips that cannot be read, two runs at once, runs that are killed,
//! and Slurm and Snakemake beside GNU parallel.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

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
        // One test has thumbnails.
        self.program(&["run", "--no-thumbnails", &format!("%/{source}"), &format!("%/{target}"), "--", "--set", &self.properties])
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
    assert!(text.contains("1 done, 0 done before, 2 failed") && text.contains("bad.mp4: cannot be read: "), "{text}");
    assert_eq!(folders.files("out"), ["good.mp4.mkv"]);
}

#[test]
fn two_runs_at_once_share_the_work() {
    let folders = Folders::new();
    folders.clip("in/1.mp4", "mp4mux", false);
    for number in 2..=4 {
        std::fs::copy(folders.path("in/1.mp4"), folders.path(&format!("in/{number}.mp4"))).unwrap();
    }
    let mut runs = [0, 1].map(|_| folders.command("in", "out").stdout(Stdio::piped()).spawn().unwrap());
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
fn options_that_are_wrong_stop_it_before_the_first_file() {
    let mut folders = Folders::new();
    folders.clip("in/a.mp4", "mp4mux", false);
    for (properties, named) in [
        ("key-int-max=-7", "key-int-max"),
        ("model-file=/nowhere.safetensors", "/nowhere.safetensors"),
        ("sharpness=1", "sharpness"),
        ("quality", "quality"),
    ] {
        folders.properties = properties.into();
        let output = folders.batch("in", "out");
        let text = text(&output);
        assert!(output.status.code() == Some(2) && text.contains(named) && text.contains("gst-inspect-1.0"), "{text}");
    }
    assert!(folders.files("out").is_empty());
}

#[test]
fn a_driver_or_target_that_does_not_work_is_a_failure() {
    use std::os::unix::fs::PermissionsExt;
    let folders = Folders::new();
    std::fs::create_dir_all(folders.path("in")).unwrap();
    std::fs::write(folders.path("in/a.mp4"), []).unwrap();
    // GNU parallel by its word, but it starts nothing; as sbatch does where its cluster does not answer.
    let driver = folders.path("bin/parallel");
    std::fs::create_dir_all(folders.path("bin")).unwrap();
    std::fs::write(&driver, "#!/bin/sh\ncase $1 in --version) echo GNU parallel;; *) cat > /dev/null; exit 3;; esac\n").unwrap();
    std::fs::set_permissions(&driver, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folders.path("bin").display(), std::env::var("PATH").unwrap());
    let output = folders.program(&["run", "--no-thumbnails", "%/in", "%/out"]).env("PATH", path).output().unwrap();
    let said = text(&output);
    assert!(output.status.code() == Some(1) && said.contains("1 not done by this run"), "{said}");
    assert!(said.contains("the driver ended with status 3"), "{said}");
    for arguments in [
        &["run", "%/in", "%/in/a.mp4"][..],
        &["run", "--jobs", "-3", "%/in", "%/new"],
        &["run", "%/in", "%/new", "--", "-q", "99"],
    ] {
        let output = folders.program(arguments).output().unwrap();
        let said = text(&output);
        assert!(output.status.code() == Some(2) && !said.contains("Traceback"), "{said}");
        assert!(!folders.path("new").exists(), "{arguments:?}");
    }
}

#[test]
fn lists_patterns_and_files_are_sources_too() {
    let folders = Folders::new();
    folders.clip("in/a.mp4", "mp4mux", false);
    for name in ["in/b.MP4", "other/c.mp4", "other/d.mp4"] {
        std::fs::create_dir_all(folders.path(name).parent().unwrap()).unwrap();
        std::fs::copy(folders.path("in/a.mp4"), folders.path(name)).unwrap();
    }
    let other = folders.path("other").display().to_string();
    std::fs::write(folders.path("list"), format!("{other}/d.mp4\n\n/nowhere/e.mp4\n")).unwrap();
    let output = folders.program(&["run", "--no-thumbnails", "%/in", "%/other/[c]*", "@%/list", "%/out"]).output().unwrap();
    let said = text(&output);
    assert!(output.status.code() == Some(1) && said.contains("4 done, 0 done before, 1 failed"), "{said}");
    assert!(said.contains("/nowhere/e.mp4: the input is missing"), "{said}");
    assert_eq!(folders.files("out"), ["a.mp4.mkv", "b.MP4.mkv", "c.mp4.mkv", "d.mp4.mkv"]);
    // Two inputs of one name would overwrite each other.
    let output = folders.program(&["run", "%/in/a.mp4", "%/plain", "%/other", "%/out"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    std::fs::copy(folders.path("in/a.mp4"), folders.path("other/a.mp4")).unwrap();
    let output = folders.program(&["run", "%/in", "%/other", "%/out"]).output().unwrap();
    assert!(output.status.code() == Some(2) && text(&output).contains("would both become a.mp4.mkv"), "{}", text(&output));
}

#[test]
fn results_follow_their_inputs_and_nothing_else() {
    let folders = Folders::new();
    folders.clip("all/a.mp4", "mp4mux", false);
    folders.clip("all/b.mp4", "mp4mux", true);
    // The target lies within the source: results are no inputs.
    assert!(folders.batch("all", "all/out").status.success());
    std::fs::copy(folders.path("all/b.mp4"), folders.path("all/a.mp4")).unwrap();
    let output = folders.batch("all", "all/out");
    assert!(text(&output).contains("1 done, 1 done before, 0 failed"), "{}", text(&output));
    assert_eq!(folders.files("all/out"), ["a.mp4.mkv", "b.mp4.mkv"]);
    assert!(
        std::fs::read(folders.path("all/out/a.mp4.mkv")).unwrap() == std::fs::read(folders.path("all/out/b.mp4.mkv")).unwrap()
    );
    // Files that were there before are not touched.
    std::fs::create_dir_all(folders.path("mine")).unwrap();
    std::fs::write(folders.path("mine/a.mp4.mkv"), "mine").unwrap();
    let output = folders.batch("all", "mine");
    assert!(output.status.code() == Some(1) && text(&output).contains("is not of this batch"), "{}", text(&output));
    assert_eq!(std::fs::read(folders.path("mine/a.mp4.mkv")).unwrap(), b"mine");
    // A folder has one set of options.
    let output = folders.program(&["run", "%/all", "%/all/out", "--", "--quality", "10"]).output().unwrap();
    assert!(output.status.code() == Some(2) && text(&output).contains("choose another folder"), "{}", text(&output));
}

#[test]
fn results_below_the_floor_are_not_kept() {
    let folders = Folders::new();
    folders.clip("in/a.mp4", "mp4mux", false);
    let output = folders.program(&["run", "--psnr-floor", "90", "%/in", "%/out"]).output().unwrap();
    assert!(output.status.code() == Some(1) && text(&output).contains("PSNR"), "{}", text(&output));
    assert!(folders.files("out").is_empty());
}

#[test]
fn the_reports_tell_sizes_times_and_reasons() {
    let folders = Folders::new();
    folders.clip("in/a & <b>.mp4", "mp4mux", false);
    std::fs::write(folders.path("in/bad.mp4"), [7; 3000]).unwrap();
    folders.program(&["run", "%/in", "%/out"]).output().unwrap();
    let read = |name: &str| std::fs::read_to_string(folders.path("out/ngc-batch").join(name)).unwrap();
    let results: serde_json::Value = serde_json::from_str(&read("results.json")).unwrap();
    let [good, bad] = [&results["files"][0], &results["files"][1]];
    assert_eq!((&good["status"], &good["frames"], &bad["status"]), (&"done".into(), &5.into(), &"failed".into()));
    assert!(good["psnr_y"].as_f64().unwrap() > 20.0 && good["elapsed"].as_f64().unwrap() > 0.0, "{good}");
    let size = std::fs::metadata(folders.path("out/a & <b>.mp4.mkv")).unwrap().len();
    assert_eq!(good["bytes"].as_u64(), Some(size));
    assert_eq!(read("results.csv").lines().count(), 3);
    let page = read("index.html");
    assert!(page.contains("1 of 2 files done, 1 failed") && page.contains("a &amp; &lt;b&gt;.mp4.mkv"), "{page}");
    for picture in good["thumbnails"].as_array().unwrap() {
        let bytes = std::fs::read(folders.path("out/ngc-batch").join(picture.as_str().unwrap())).unwrap();
        assert_eq!(bytes[..2], [0xff, 0xd8]);
    }
}

#[test]
fn long_files_are_cut_and_put_together() {
    let folders = Folders::new();
    std::fs::create_dir_all(folders.path("in")).unwrap();
    // B-frames, and keyframes elsewhere than at the cuts.
    run(&format!(
        "videotestsrc num-buffers=110 horizontal-speed=3 ! video/x-raw,format=I420,width=64,height=48,framerate=25/1 \
         ! x264enc bframes=2 key-int-max=30 ! mp4mux name=m ! filesink location=\"{}\" \
         audiotestsrc num-buffers=190 ! audioconvert ! opusenc ! m.",
        folders.path("in/long.mp4").display()
    ))
    .unwrap();
    folders.clip("in/short.mp4", "mp4mux", false);
    let arguments =
        ["run", "--no-thumbnails", "--segment", "1", "%/in", "%/out", "--", "--quality", "40", "--set", "scene-cut=false"];
    let output = folders.program(&arguments).output().unwrap();
    assert!(text(&output).contains("2 done, 0 done before, 0 failed"), "{}", text(&output));
    // Four parts, since the rest is short; every frame once, at its time, as --verify has found too.
    let record = std::fs::read_to_string(folders.path("out/ngc-batch/records/long.mp4.mkv.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let told = ["frames", "keyframes", "audio_tracks"].map(|name| record[name].as_u64().unwrap());
    assert_eq!((told, record["verify"]["largest_time_difference_ms"].as_f64()), ([110, 4, 1], Some(0.0)));
    let source = format!("filesrc location=\"{}\" ! matroskademux name=d d.video_0", folders.path("out/long.mp4.mkv").display());
    let frames = shown(&format!("{source} ! ngcparse ! ngcdec threads=1")).unwrap();
    let times: Vec<_> = frames.iter().map(|frame| frame.time.mseconds()).collect();
    let first = times[0];
    assert_eq!(times, (0..110).map(|n| first + 40 * n).collect::<Vec<_>>());
    assert_eq!(folders.files("out"), ["long.mp4.mkv", "short.mp4.mkv"]);
    assert!(!folders.path("out/ngc-batch/segments/long.mp4.mkv").exists());
}

/// Everything that a file of a result is told by: who replaces it changes this.
fn identities(folders: &Folders) -> BTreeMap<String, (u64, u64, i64, i64)> {
    let names = folders.files("out").into_iter().filter(|name| !name.ends_with(".part"));
    let identity = |name: &String| {
        let found = std::fs::metadata(folders.path("out").join(name)).unwrap();
        (found.ino(), found.len(), found.mtime(), found.mtime_nsec())
    };
    names.map(|name| (name.clone(), identity(&name))).collect()
}

#[test]
fn killed_three_times_it_ends_complete() {
    let folders = Folders::new();
    folders.clip("in/00.mp4", "mp4mux", false);
    for number in 1..20 {
        std::fs::copy(folders.path("in/00.mp4"), folders.path(&format!("in/{number:02}.mp4"))).unwrap();
    }
    let mut seen = BTreeMap::new();
    for round in 1..=3 {
        let program = folders.command("in", "out");
        let mut session = Command::new("setsid");
        session.arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            session.env(name, value.unwrap());
        }
        let mut run = session.stdout(Stdio::null()).spawn().unwrap();
        // A moment that depends on the clock, after some more results.
        let chance = u64::from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos());
        let wanted = seen.len() + 1 + (chance / 1000 % 4) as usize;
        let start = std::time::Instant::now();
        while identities(&folders).len() < wanted {
            assert!(start.elapsed().as_secs() < 300 && run.try_wait().unwrap().is_none(), "it makes no progress");
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(chance / 7_000_000 % 300));
        // All of it at once: driver, parallel, units and transcoders.
        let killed = Command::new("pkill").args(["-KILL", "-s", &run.id().to_string()]).status().unwrap();
        assert!(killed.success());
        run.wait().unwrap();
        let now = identities(&folders);
        eprintln!("kill {round} after {} ms: {} of 20 results", start.elapsed().as_millis(), now.len());
        assert!(now.len() < 20, "it had ended");
        assert!(seen.iter().all(|(name, identity)| now.get(name) == Some(identity)), "done twice: {seen:?}, then {now:?}");
        seen = now;
    }
    let output = folders.batch("in", "out");
    assert!(output.status.success(), "{}", text(&output));
    let now = identities(&folders);
    assert_eq!(now.len(), 20);
    assert!(seen.iter().all(|(name, identity)| now.get(name) == Some(identity)), "done twice: {seen:?}, then {now:?}");
    // Nothing but the results; all are whole, being the same.
    assert_eq!(folders.files("out").len(), 20);
    let first = std::fs::read(folders.path("out/00.mp4.mkv")).unwrap();
    assert!(folders.files("out").iter().all(|name| std::fs::read(folders.path("out").join(name)).unwrap() == first));
    let frames = shown(&format!(
        "filesrc location=\"{}\" ! matroskademux ! ngcparse ! ngcdec threads=1",
        folders.path("out/00.mp4.mkv").display()
    ));
    assert_eq!(frames.unwrap().len(), 5);
    assert!(text(&folders.batch("in", "out")).contains("0 done, 20 done before, 0 failed"));
}

#[test]
fn a_transcoder_whose_driver_is_killed_leaves_nothing_behind() {
    let folders = Folders::new();
    folders.clip("in/a.mp4", "mp4mux", false);
    // One that takes long, and says when it has begun.
    let slow = folders.path("slow");
    let script = "#!/bin/sh\ncase \"$*\" in *--verify*) echo $$ >\"$0.pid\"; exec sleep 60;; esac\nexec \"$REAL\" \"$@\"\n";
    std::fs::write(&slow, script).unwrap();
    std::fs::set_permissions(&slow, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert!(folders.program(&["plan", "%/in", "%/out"]).status().unwrap().success());
    let mut unit = Command::new(repository("examples/batch/ngc-batch"));
    unit.arg("unit").arg(folders.path("out")).arg("1").env("NGC_TRANSCODE", &slow);
    let mut unit = unit.env("REAL", env!("CARGO_BIN_EXE_ngc-transcode")).spawn().unwrap();
    let wait = |what: &str, holds: &dyn Fn() -> bool| {
        let start = std::time::Instant::now();
        while !holds() {
            assert!(start.elapsed().as_secs() < 120, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let pid = || std::fs::read_to_string(folders.path("slow.pid")).unwrap_or_default().trim().to_owned();
    wait("it does not begin", &|| !pid().is_empty());
    unit.kill().unwrap();
    unit.wait().unwrap();
    let gone = || {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid())).unwrap_or_default();
        state.is_empty() || state.contains(") Z")
    };
    wait("the transcoder goes on", &gone);
    let output = folders.program(&["run", "%/in", "%/out"]).output().unwrap();
    assert!(text(&output).contains("1 done, 0 done before, 0 failed"), "{}", text(&output));
}

#[test]
fn slurm_and_parallel_make_the_same_bytes() {
    let folders = Folders::new();
    let node = folders.path("slurm").display().to_string();
    let started = Command::new(repository("tests/slurm.sh")).args(["start", &node]).output().unwrap();
    let said = text(&started);
    let Some(configuration) = said.lines().find_map(|line| line.strip_prefix("SLURM_CONF=")) else {
        assert!(said.contains("skipped: "), "{said}");
        eprintln!("{said}");
        return;
    };
    for (name, sound) in [("a.mp4", true), ("b.mp4", false), ("say \"x\" now.mp4", true)] {
        folders.clip(&format!("in/{name}"), "mp4mux", sound);
    }
    let slurm = folders
        .program(&["run", "--no-thumbnails", "--driver", "slurm", "%/in", "%/out"])
        .env("SLURM_CONF", configuration)
        .output();
    Command::new(repository("tests/slurm.sh")).args(["stop", &node]).status().unwrap();
    let said = text(&slurm.unwrap());
    assert!(said.contains("3 done, 0 done before, 0 failed"), "{said}");
    assert!(folders.program(&["run", "--no-thumbnails", "%/in", "%/other"]).status().unwrap().success());
    assert_eq!(folders.files("out"), folders.files("other"));
    for name in folders.files("out") {
        let [a, b] = ["out", "other"].map(|folder| std::fs::read(folders.path(folder).join(&name)).unwrap());
        assert!(a == b, "{name} differs");
    }
}

#[test]
fn snakemake_does_the_same() {
    if Command::new("snakemake").arg("--version").output().is_err() {
        eprintln!("skipped: Snakemake (not installed: apt-get install snakemake)");
        return;
    }
    let folders = Folders::new();
    folders.clip("in/a.mp4", "mp4mux", true);
    folders.clip("in/two words.mp4", "mp4mux", false);
    let program = folders.program(&[]);
    let mut snakemake = Command::new("snakemake");
    for (name, value) in program.get_envs() {
        snakemake.env(name, value.unwrap());
    }
    snakemake.arg("-s").arg(repository("examples/batch/Snakefile")).args(["--cores", "2", "--directory"]);
    let output = snakemake.arg(folders.path("")).args(["--config", "source=in", "target=out"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(folders.files("out"), ["a.mp4.mkv", "two words.mp4.mkv"]);
    assert!(text(&folders.program(&["run", "%/in", "%/out"]).output().unwrap()).contains("0 done, 2 done before"));
}
