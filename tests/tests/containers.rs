//! Files beyond the plain ones: fragmented MP4, split files, reverse playback, raw streams with their duration.

use std::path::{Path, PathBuf};

use gst::prelude::*;
use ngc_tests::pipes;

const SOURCE: &str = "videotestsrc num-buffers=60 pattern=ball ! video/x-raw,format=I420,width=64,height=64,framerate=30/1 \
    ! ngcenc threads=1 device=cpu key-int-max=15 ! ngcparse";

fn write(text: &str) {
    pipes::run(text).unwrap();
}

/// A pipeline that plays a file into an appsink, paused.
struct Player {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
}

impl Player {
    fn open(source: &str) -> Self {
        let pipeline = pipes::launch(&format!("{source} ! videoconvert ! appsink name=out sync=false"));
        let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().unwrap();
        pipeline.set_state(gst::State::Paused).unwrap();
        pipeline.state(gst::ClockTime::from_seconds(30)).0.unwrap();
        Self { pipeline, sink }
    }

    fn file(path: &Path) -> Self {
        Self::open(&format!("filesrc location=\"{}\" ! decodebin3", path.display()))
    }

    fn seek(&self, rate: f64, flags: gst::SeekFlags, start: u64, stop: Option<u64>) {
        let stop = stop.map(gst::ClockTime::from_mseconds);
        let kind = if stop.is_some() { gst::SeekType::Set } else { gst::SeekType::None };
        self.pipeline
            .seek(rate, gst::SeekFlags::FLUSH | flags, gst::SeekType::Set, gst::ClockTime::from_mseconds(start), kind, stop)
            .unwrap();
    }

    /// Times of the frames up to the end, in milliseconds.
    fn times(&self) -> Vec<u64> {
        self.pipeline.set_state(gst::State::Playing).unwrap();
        let times = std::iter::from_fn(|| self.sink.pull_sample().ok())
            .map(|sample| sample.buffer().unwrap().pts().unwrap().mseconds())
            .collect();
        let error = self.pipeline.bus().unwrap().pop_filtered(&[gst::MessageType::Error]);
        assert!(error.is_none(), "{error:?}");
        times
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn file(dir: &tempfile::TempDir, name: &str, muxer: &str) -> PathBuf {
    let path = dir.path().join(name);
    write(&format!("{SOURCE} ! {muxer} filesink location=\"{}\"", path.display()));
    path
}

#[test]
fn fragmented_mp4_plays_whole_and_seeks_accurately() {
    let dir = folder();
    for mode in ["dash-or-mss", "first-moov-then-finalise"] {
        let path = file(&dir, "f.mp4", &format!("mp4mux fragment-duration=500 fragment-mode={mode} !"));
        assert_eq!(Player::file(&path).times().len(), 60, "{mode}");
        let player = Player::file(&path);
        player.seek(1.0, gst::SeekFlags::ACCURATE, 1200, None);
        let times = player.times();
        assert!((1200..=1234).contains(&times[0]), "{mode}: {:?}", times.first());
        assert_eq!(*times.last().unwrap(), 1966, "{mode}");
    }
}

#[test]
fn reverse_playback_goes_back_frame_by_frame() {
    let dir = folder();
    for (name, muxer) in [("r.mp4", "mp4mux !"), ("r.mkv", "matroskamux !"), ("r.ngc", "")] {
        let path = file(&dir, name, muxer);
        let player = Player::file(&path);
        player.seek(-1.0, gst::SeekFlags::ACCURATE, 0, Some(1000));
        let times = player.times();
        assert!(times.len() >= 29, "{name}: {} frames", times.len());
        assert!(times.windows(2).all(|pair| pair[0] > pair[1]), "{name}: {times:?}");
        assert!(times[0] >= 960 && *times.last().unwrap() <= 1, "{name}: {times:?}");
    }
}

#[test]
fn split_files_start_with_keyframes_and_play_on() {
    let dir = folder();
    for (muxer, ending) in [("mp4mux", "mp4"), ("matroskamux", "mkv")] {
        let pattern = dir.path().join(format!("part%02d.{ending}"));
        write(&format!(
            "videotestsrc num-buffers=60 ! video/x-raw,format=I420,width=64,height=64,framerate=30/1 \
             ! ngcenc threads=1 device=cpu key-int-max=0 ! ngcparse \
             ! splitmuxsink muxer-factory={muxer} max-size-time=500000000 send-keyframe-requests=true location=\"{}\"",
            pattern.display()
        ));
        let mut parts: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == ending))
            .collect();
        parts.sort();
        assert!(parts.len() >= 3, "{muxer}: {} files", parts.len());
        // Every part plays by itself, so it starts with a keyframe.
        let counts: Vec<usize> = parts.iter().map(|part| Player::file(part).times().len()).collect();
        assert_eq!(counts.iter().sum::<usize>(), 60, "{muxer}: {counts:?}");
        let all = format!("splitmuxsrc location=\"{}\" ! decodebin3", dir.path().join(format!("part*.{ending}")).display());
        assert_eq!(Player::open(&all).times().len(), 60, "{muxer}");
    }
}

#[test]
fn raw_streams_have_a_duration_and_seek() {
    let dir = folder();
    let path = file(&dir, "raw.ngc", "");
    let player = Player::open(&format!("filesrc location=\"{}\" ! ngcparse ! ngcdec threads=1 device=cpu", path.display()));
    let duration = player.pipeline.query_duration::<gst::ClockTime>().expect("a duration");
    assert!((1500..=2600).contains(&duration.mseconds()), "{duration}");
    player.seek(1.0, gst::SeekFlags::ACCURATE, 1200, None);
    let times = player.times();
    assert!((1200..=1234).contains(&times[0]), "{:?}", times.first());
    assert_eq!(*times.last().unwrap(), 1966);
}
