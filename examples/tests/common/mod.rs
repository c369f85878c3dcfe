//! What the tests of the programs share: a folder, the plugin as it was built beside them, clips.
#![allow(dead_code)]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use gst::prelude::*;

/// A folder with the plugin and GStreamer's registry, one for all tests of a file: scanning plugins takes a while.
fn plugins() -> &'static tempfile::TempDir {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("plugins")).unwrap();
        let plugin = std::env::current_exe().unwrap().parent().unwrap().join("libgstngc.so");
        std::os::unix::fs::symlink(plugin, folder.path().join("plugins/libgstngc.so")).unwrap();
        folder
    })
}

pub fn environment(command: &mut Command) -> &mut Command {
    let folder = plugins().path();
    command.env("GST_PLUGIN_PATH", folder.join("plugins")).env("GST_REGISTRY", folder.join("registry"))
}

/// A program that is stopped after four minutes: one that hangs is to be an error.
pub fn program(path: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-k", "5", "240", path]);
    environment(&mut command);
    command
}

/// What a program printed, both ways.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A folder that goes away.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        ngc_tests::pipes::init();
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The path as text.
    pub fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The names in it, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Makes a clip: `{out}` in the pipeline is a sink for it.
    pub fn clip(&self, name: &str, pipeline: &str) {
        let sink = format!("filesink location=\"{}\"", self.name(name));
        ngc_tests::pipes::run(&pipeline.replace("{out}", &sink)).unwrap();
    }
}

/// When the first bright frame of a file is shown, and when its sound begins, in seconds.
pub fn flash_and_beep(file: &str) -> (f64, f64) {
    let pipeline = ngc_tests::pipes::launch(&format!(
        "filesrc location=\"{file}\" ! decodebin name=d \
         d. ! queue ! videoconvert ! video/x-raw,format=I420 ! appsink name=v sync=false \
         d. ! queue ! audioconvert ! audio/x-raw,format=S16LE,channels=1 ! appsink name=a sync=false"
    ));
    let sink = |name: &str| pipeline.by_name(name).and_downcast::<gst_app::AppSink>().unwrap();
    let (video, audio) = (sink("v"), sink("a"));
    pipeline.set_state(gst::State::Playing).unwrap();
    let samples = |sink: gst_app::AppSink| {
        std::thread::spawn(move || {
            let mut all = Vec::new();
            while let Ok(sample) = sink.pull_sample() {
                let buffer = sample.buffer().unwrap();
                let segment = sample.segment().unwrap().downcast_ref::<gst::ClockTime>().unwrap().clone();
                let time = segment.to_running_time(buffer.pts()).map(|t| t.nseconds() as f64 / 1e9);
                all.push((time, sample.caps_owned().unwrap(), buffer.map_readable().unwrap().to_vec()));
            }
            all
        })
    };
    let (video, audio) = (samples(video), samples(audio));
    let (video, audio) = (video.join().unwrap(), audio.join().unwrap());
    pipeline.set_state(gst::State::Null).unwrap();
    let flash = video.iter().find(|(_, _, data)| data[..64].iter().all(|&v| v > 150)).expect("a flash").0.unwrap();
    let loud = |data: &[u8]| data.chunks_exact(2).position(|s| i16::from_le_bytes([s[0], s[1]]).unsigned_abs() > 4000);
    let beep = audio.iter().find_map(|(time, caps, data)| {
        let rate: i32 = caps.structure(0).unwrap().get("rate").unwrap();
        Some((*time)? + loud(data)? as f64 / f64::from(rate))
    });
    (flash, beep.expect("a beep"))
}
