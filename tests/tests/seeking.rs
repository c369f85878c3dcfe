//! Seeks in raw files show the frames that the same seeks show in MP4.

use std::path::Path;

use gst::prelude::*;
use gst::{ClockTime, SeekFlags, SeekType};
use ngc_tests::pipes::{Shown, launch, run};

/// Sixty frames that all differ, with keyframes at 0, 20 and 40.
const SOURCE: &str = "videotestsrc num-buffers=60 pattern=smpte horizontal-speed=3 \
    ! video/x-raw,format=I420,width=64,height=48,framerate=25/1 \
    ! ngcenc threads=1 device=cpu speed-preset=fast key-int-max=20 scene-cut=false";
const PATIENCE: ClockTime = ClockTime::from_seconds(30);

fn time(frame: u64) -> ClockTime {
    ClockTime::from_mseconds(40 * frame)
}

/// A pipeline that plays a file, paused at its start.
struct Player {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
}

impl Player {
    fn open(path: &Path) -> Self {
        let pipeline = launch(&format!(
            "filesrc location=\"{}\" ! decodebin3 ! videoconvert ! video/x-raw,format=I420 ! appsink name=out sync=false",
            path.display()
        ));
        let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().unwrap();
        let player = Self { pipeline, sink };
        player.pipeline.set_state(gst::State::Paused).unwrap();
        player.settle();
        player
    }

    fn settle(&self) {
        let (result, state, _) = self.pipeline.state(PATIENCE);
        assert_eq!((result.unwrap(), state), (gst::StateChangeSuccess::Success, gst::State::Paused));
    }

    fn seek(&self, rate: f64, flags: SeekFlags, start: u64, stop: Option<u64>) {
        let kind = if stop.is_some() { SeekType::Set } else { SeekType::None };
        self.pipeline.seek(rate, flags, SeekType::Set, time(start), kind, stop.map(time)).unwrap();
    }

    /// Goes to a frame while paused, and gives back what is shown.
    fn goes_to(&self, frame: u64, flags: SeekFlags) -> Shown {
        self.seek(1.0, SeekFlags::FLUSH | flags, frame, None);
        self.settle();
        self.still()
    }

    fn still(&self) -> Shown {
        Shown::of(&self.sink.try_pull_preroll(PATIENCE).expect("a frame"))
    }

    /// Plays on to the end of the stream or of the segment.
    fn plays(&self) -> Vec<Shown> {
        self.pipeline.set_state(gst::State::Playing).unwrap();
        let bus = self.pipeline.bus().unwrap();
        let wanted = [gst::MessageType::Eos, gst::MessageType::SegmentDone, gst::MessageType::Error];
        let (mut shown, mut ended, start) = (Vec::new(), false, std::time::Instant::now());
        loop {
            assert!(start.elapsed().as_secs() < PATIENCE.seconds(), "no end");
            match self.sink.try_pull_sample(ClockTime::from_mseconds(500)) {
                Some(sample) => shown.push(Shown::of(&sample)),
                None if ended || self.sink.is_eos() => return shown,
                None => {
                    let end = bus.pop_filtered(&wanted);
                    assert!(end.as_ref().is_none_or(|end| end.type_() != gst::MessageType::Error), "{end:?}");
                    ended |= end.is_some();
                }
            }
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

struct Files {
    _dir: tempfile::TempDir,
    raw: std::path::PathBuf,
    mp4: std::path::PathBuf,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (raw, mp4) = (dir.path().join("a.ngc"), dir.path().join("a.mp4"));
        run(&format!("{SOURCE} ! filesink location=\"{}\"", raw.display())).unwrap();
        run(&format!("filesrc location=\"{}\" ! ngcparse ! mp4mux ! filesink location=\"{}\"", raw.display(), mp4.display()))
            .unwrap();
        Self { _dir: dir, raw, mp4 }
    }

    /// What players of both files show; it must be the same. MP4's times are rounded.
    fn both(&self, what: &str, show: impl Fn(&Player) -> Vec<Shown>) -> Vec<u64> {
        let [raw, mp4] = [&self.raw, &self.mp4].map(|path| show(&Player::open(path)));
        let numbers = |shown: &[Shown]| shown.iter().map(|s| (s.time.mseconds() + 20) / 40).collect::<Vec<_>>();
        assert_eq!(numbers(&raw), numbers(&mp4), "{what}: raw, then MP4");
        assert!(raw.iter().zip(&mp4).all(|(raw, mp4)| raw.sum == mp4.sum), "{what}: other pictures");
        numbers(&raw)
    }
}

#[test]
fn the_frame_asked_for_is_shown() {
    let files = Files::new();
    for frames in [[5].as_slice(), &[19], &[25], &[59], &[0], &[37, 5, 41, 39, 39, 0, 20]] {
        let shown = files.both(&format!("{frames:?}"), |player| {
            frames.iter().map(|&frame| player.goes_to(frame, SeekFlags::ACCURATE)).collect()
        });
        assert_eq!(shown, frames);
    }
}

#[test]
fn seeks_to_keyframes_snap() {
    let files = Files::new();
    let key = SeekFlags::KEY_UNIT;
    for (frame, flags, wanted) in [
        (25, key, 20),
        (19, key | SeekFlags::SNAP_BEFORE, 0),
        (25, key | SeekFlags::SNAP_AFTER, 40),
        (20, key | SeekFlags::SNAP_AFTER, 20),
        (59, key, 40),
    ] {
        assert_eq!(files.both(&format!("{frame} {flags:?}"), |player| vec![player.goes_to(frame, flags)]), [wanted]);
    }
}

#[test]
fn playing_on_after_a_seek_shows_everything() {
    let files = Files::new();
    let shown = files.both("25 to the end", |player| {
        player.goes_to(25, SeekFlags::ACCURATE);
        player.plays()
    });
    assert_eq!(shown, (25..60).collect::<Vec<_>>());
}

#[test]
fn segments_loop() {
    let files = Files::new();
    let shown = files.both("a loop", |player| {
        player.seek(1.0, SeekFlags::FLUSH | SeekFlags::SEGMENT | SeekFlags::ACCURATE, 15, Some(45));
        player.settle();
        let mut shown = player.plays();
        for _ in 0..2 {
            player.seek(1.0, SeekFlags::SEGMENT | SeekFlags::ACCURATE, 15, Some(45));
            shown.extend(player.plays());
        }
        shown
    });
    assert_eq!(shown, (15..45).cycle().take(90).collect::<Vec<_>>());
}

#[test]
fn other_speeds_and_backwards() {
    let files = Files::new();
    for rate in [2.0, 4.0, -1.0] {
        let shown = files.both(&format!("rate {rate}"), |player| {
            player.seek(rate, SeekFlags::FLUSH | SeekFlags::ACCURATE, 0, Some(30));
            player.settle();
            player.plays()
        });
        let mut wanted: Vec<_> = (0..30).collect();
        if rate < 0.0 {
            wanted.reverse();
        }
        assert_eq!(shown, wanted, "rate {rate}");
    }
}

#[test]
fn trick_modes_show_keyframes_alone() {
    let files = Files::new();
    let shown = files.both("keyframes", |player| {
        player.seek(4.0, SeekFlags::FLUSH | SeekFlags::TRICKMODE | SeekFlags::TRICKMODE_KEY_UNITS, 0, None);
        player.settle();
        player.plays()
    });
    assert_eq!(shown, [0, 20, 40]);
}

#[test]
fn stepping_goes_frame_by_frame() {
    let files = Files::new();
    let shown = files.both("steps", |player| {
        let mut shown = vec![player.goes_to(18, SeekFlags::ACCURATE)];
        for _ in 0..3 {
            assert!(player.sink.send_event(gst::event::Step::new(gst::format::Buffers::ONE, 1.0, true, false)));
            player.settle();
            shown.push(player.still());
        }
        shown
    });
    assert_eq!(shown, [18, 19, 20, 21]);
}
