//! The scenarios of gst-validate, which Debian does not package, played with `playbin3`: what is shown against what has to be.

use gst::ClockTime;
use gst::prelude::*;
use gst::{SeekFlags, SeekType};
use ngc_tests::pipes::{Shown, run};

pub const FORMATS: [&str; 5] = ["NGC, MP4", "NGC, Matroska", "NGC, raw", "VP8, Matroska", "H.264, MP4"];
pub const SCENARIOS: [&str; 11] = [
    "play to the end",
    "pause and go on",
    "seek forward",
    "seek backward",
    "seek with a stop",
    "scrub, paused",
    "reverse playback",
    "fast forward, 4x",
    "fast forward, keyframes",
    "segment loop",
    "change state, 25 times",
];
const FRAMES: u64 = 100;
const PATIENCE: ClockTime = ClockTime::from_seconds(60);

/// A cell: `ok`, or what was wrong.
pub fn case(format: &str, scenario: &str) -> String {
    let path = std::env::temp_dir().join(format!("ngc-scenario-{}", std::process::id()));
    let (encoder, muxer) = match format {
        "NGC, MP4" => ("ngcenc key-int-max=25 scene-cut=false ! ngcparse", "mp4mux"),
        "NGC, Matroska" => ("ngcenc key-int-max=25 scene-cut=false ! ngcparse", "matroskamux"),
        "NGC, raw" => ("ngcenc key-int-max=25 scene-cut=false", "identity"),
        "VP8, Matroska" => ("vp8enc deadline=1 keyframe-max-dist=25", "matroskamux"),
        _ => ("x264enc key-int-max=25 bframes=0 option-string=scenecut=0 ! h264parse", "mp4mux"),
    };
    let made = run(&format!(
        "videotestsrc num-buffers={FRAMES} pattern=smpte horizontal-speed=3 \
         ! video/x-raw,format=I420,width=64,height=48,framerate=25/1 ! {encoder} ! {muxer} ! filesink location={}",
        path.display()
    ));
    let result =
        made.and_then(|()| Player::open(&format!("file://{}", path.display()))).and_then(|player| player.plays(scenario));
    let _ = std::fs::remove_file(path);
    match result {
        Ok(()) => "ok".into(),
        Err(error) => error.split(" (").next().unwrap_or_default().into(),
    }
}

/// What is shown of a stream of DASH, split files or the like: the number of frames.
pub fn count(uri: &str) -> String {
    match Player::open(uri).and_then(|player| player.to_the_end()) {
        Ok(frames) => format!("{} frames", frames.len()),
        Err(error) => format!("error: {}", error.split(" (").next().unwrap_or_default()),
    }
}

fn time(frame: u64) -> ClockTime {
    ClockTime::from_mseconds(40 * frame)
}

struct Player {
    pipeline: gst::Element,
    sink: gst_app::AppSink,
}

impl Player {
    /// Paused at the start.
    fn open(uri: &str) -> Result<Self, String> {
        ngc_tests::pipes::init();
        let sink = gst_app::AppSink::builder().sync(false).max_buffers(1).build();
        sink.set_caps(Some(&gst::Caps::builder("video/x-raw").field("format", "I420").build()));
        let make = gst::ElementFactory::make("playbin3").property("uri", uri).property("video-sink", &sink);
        let player = Self { pipeline: make.build().map_err(|e| e.to_string())?, sink };
        player.state(gst::State::Paused)?;
        Ok(player)
    }

    fn state(&self, state: gst::State) -> Result<(), String> {
        let _ = self.pipeline.set_state(state);
        self.settle(state)
    }

    fn settle(&self, state: gst::State) -> Result<(), String> {
        let (result, reached, _) = self.pipeline.state(PATIENCE);
        if result.is_ok() && reached == state {
            return Ok(());
        }
        let bus = self.pipeline.bus().ok_or("no bus")?;
        Err(match bus.pop_filtered(&[gst::MessageType::Error]).as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Error(error)) => error.error().to_string(),
            _ => format!("not {state:?} in time"),
        })
    }

    fn seek(&self, rate: f64, flags: SeekFlags, start: u64, stop: Option<u64>) -> Result<(), String> {
        let kind = if stop.is_some() { SeekType::Set } else { SeekType::None };
        self.pipeline
            .seek(rate, SeekFlags::FLUSH | flags, SeekType::Set, time(start), kind, stop.map(time))
            .map_err(|_| "the seek is refused".to_owned())?;
        self.settle(gst::State::Paused)
    }

    /// The frames from here to the end of the stream, or of the segment.
    fn to_the_end(&self) -> Result<Vec<u64>, String> {
        let _ = self.pipeline.set_state(gst::State::Playing);
        let bus = self.pipeline.bus().ok_or("no bus")?;
        let start = std::time::Instant::now();
        let (mut frames, mut ended) = (Vec::new(), false);
        while start.elapsed().as_secs() < PATIENCE.seconds() {
            match self.sink.try_pull_sample(ClockTime::from_mseconds(300)) {
                Some(sample) => frames.push(number(&sample)),
                None if ended || self.sink.is_eos() => return Ok(frames),
                None => {
                    if let Some(message) = bus.pop_filtered(&[gst::MessageType::Error, gst::MessageType::SegmentDone]) {
                        match message.view() {
                            gst::MessageView::Error(error) => return Err(error.error().to_string()),
                            _ => ended = true,
                        }
                    }
                }
            }
        }
        Err(format!("no end after {} frames", frames.len()))
    }

    /// The frame that is shown after a seek while paused.
    fn still(&self, frame: u64) -> Result<u64, String> {
        self.seek(1.0, SeekFlags::ACCURATE, frame, None)?;
        self.sink.try_pull_preroll(PATIENCE).map(|sample| number(&sample)).ok_or_else(|| "no frame".into())
    }

    /// The frames after a seek.
    fn from(&self, rate: f64, flags: SeekFlags, start: u64, stop: Option<u64>) -> Result<Vec<u64>, String> {
        self.state(gst::State::Paused)?;
        self.seek(rate, flags, start, stop)?;
        self.to_the_end()
    }

    fn plays(&self, scenario: &str) -> Result<(), String> {
        let accurate = SeekFlags::ACCURATE;
        match scenario {
            "play to the end" => same(&self.to_the_end()?, 0..FRAMES),
            "pause and go on" => {
                let _ = self.pipeline.set_state(gst::State::Playing);
                let mut frames: Vec<_> =
                    (0..30).filter_map(|_| self.sink.try_pull_sample(PATIENCE)).map(|s| number(&s)).collect();
                self.state(gst::State::Paused)?;
                std::thread::sleep(std::time::Duration::from_millis(200));
                frames.extend(self.to_the_end()?);
                same(&frames, 0..FRAMES)
            }
            "seek forward" | "seek backward" => {
                let mut starts = [3, 20, 49, 50, 77, 90];
                if scenario.ends_with("backward") {
                    starts.reverse();
                }
                starts.iter().try_for_each(|&start| same(&self.from(1.0, accurate, start, None)?, start..FRAMES))
            }
            "seek with a stop" => same(&self.from(1.0, accurate, 30, Some(60))?, 30..60),
            "scrub, paused" => {
                let places: Vec<u64> = (0..FRAMES).step_by(7).chain((0..FRAMES).rev().step_by(11)).collect();
                let shown = places.iter().map(|&frame| self.still(frame)).collect::<Result<Vec<_>, _>>()?;
                same(&shown, places.into_iter())
            }
            "reverse playback" => same(&self.from(-1.0, accurate, 0, Some(FRAMES))?, (0..FRAMES).rev()),
            "fast forward, 4x" => same(&self.from(4.0, accurate, 0, None)?, 0..FRAMES),
            "fast forward, keyframes" => {
                same(&self.from(4.0, SeekFlags::TRICKMODE | SeekFlags::TRICKMODE_KEY_UNITS, 0, None)?, (0..FRAMES).step_by(25))
            }
            "segment loop" => {
                let mut frames = self.from(1.0, accurate | SeekFlags::SEGMENT, 10, Some(35))?;
                self.pipeline
                    .seek(1.0, accurate | SeekFlags::SEGMENT, SeekType::Set, time(10), SeekType::Set, Some(time(35)))
                    .map_err(|_| "the second seek is refused".to_owned())?;
                frames.extend(self.to_the_end()?);
                same(&frames, (10..35).chain(10..35))
            }
            _ => {
                for _ in 0..25 {
                    for state in
                        [gst::State::Playing, gst::State::Paused, gst::State::Ready, gst::State::Paused, gst::State::Null]
                    {
                        // Playing is not waited for: the sink holds the stream until somebody takes frames.
                        if state == gst::State::Playing {
                            let _ = self.pipeline.set_state(state);
                        } else {
                            self.state(state)?;
                        }
                    }
                }
                self.state(gst::State::Paused)?;
                same(&self.to_the_end()?, 0..FRAMES)
            }
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn number(sample: &gst::Sample) -> u64 {
    (Shown::of(sample).time.mseconds() + 20) / 40
}

fn same(found: &[u64], wanted: impl Iterator<Item = u64>) -> Result<(), String> {
    let wanted: Vec<_> = wanted.collect();
    if found == wanted {
        return Ok(());
    }
    let extra = found.iter().filter(|frame| !wanted.contains(frame)).count();
    let missing = wanted.iter().filter(|frame| !found.contains(frame)).count();
    Err(match (missing, extra) {
        (0, 0) => "another order".into(),
        _ => format!("{missing} of {} frames missing, {extra} too many", wanted.len()),
    })
}
