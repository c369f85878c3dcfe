//! Whole pipelines with stock muxers, demuxers and playback elements.

use std::sync::Once;

use gst::prelude::*;

fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstngc::plugin_register_static().unwrap();
    });
}

/// Runs a pipeline to its end.
fn run(text: &str) {
    init();
    let pipeline = gst::parse::launch(text).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let message = pipeline
        .bus()
        .unwrap()
        .timed_pop_filtered(gst::ClockTime::from_seconds(120), &[gst::MessageType::Eos, gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null).unwrap();
    match message.as_ref().map(|m| m.view()) {
        Some(gst::MessageView::Eos(_)) => {}
        Some(gst::MessageView::Error(e)) => panic!("{text}: {} {:?}", e.error(), e.debug()),
        _ => panic!("{text}: no end after 120 s"),
    }
}

/// Presentation times of all video frames that a file plays; with a key-unit seek to `seek` first, if given.
fn play(file: &std::path::Path, seek: Option<gst::ClockTime>) -> Vec<gst::ClockTime> {
    init();
    let text =
        format!("filesrc location=\"{}\" ! decodebin3 name=d ! videoconvert ! appsink name=out sync=false", file.display());
    let pipeline = gst::parse::launch(&text).unwrap().downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Paused).unwrap();
    pipeline.state(gst::ClockTime::from_seconds(60)).0.unwrap();
    if let Some(position) = seek {
        pipeline.seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT, position).unwrap();
    }
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut times = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        times.push(sample.buffer().unwrap().pts().unwrap());
    }
    let error = pipeline.bus().unwrap().pop_filtered(&[gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null).unwrap();
    assert!(error.is_none(), "{error:?}");
    times
}

const SOURCE: &str = "videotestsrc num-buffers=60 pattern=ball ! video/x-raw,format=I420,width=64,height=64,framerate=30/1 \
    ! ngcenc threads=1 device=cpu key-int-max=15 ! ngcparse";
const AUDIO: &str = "audiotestsrc num-buffers=100 ! audioconvert ! opusenc ! m.";

fn exact(frame: u64) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(frame * 1_000_000_000 / 30)
}

#[test]
fn mp4_with_audio_plays_with_exact_times_and_seeks_to_keyframes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("av.mp4");
    run(&format!("{SOURCE} ! mp4mux name=m ! filesink location=\"{}\" {AUDIO}", file.display()));
    let times = play(&file, None);
    assert_eq!(times.len(), 60);
    for (i, time) in times.iter().enumerate() {
        assert!(time.nseconds().abs_diff(exact(i as u64).nseconds()) <= 1, "frame {i} at {time}");
    }
    let after_seek = play(&file, Some(gst::ClockTime::from_mseconds(1300)));
    assert_eq!(after_seek[0].mseconds(), 1000, "the keyframe before 1.3 s");
    assert_eq!(after_seek.len(), 30);
}

#[test]
fn a_file_carries_its_detail_to_any_player() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("detailed.mp4");
    let source = SOURCE.replace("key-int-max=15", "key-int-max=15 detail=0.8");
    run(&format!("{source} ! mp4mux ! filesink location=\"{}\"", file.display()));
    assert_eq!(play(&file, None).len(), 60);
}

#[test]
fn matroska_with_audio_plays_and_seeks_to_keyframes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("av.mkv");
    run(&format!("{SOURCE} ! matroskamux name=m ! filesink location=\"{}\" {AUDIO}", file.display()));
    let times = play(&file, None);
    assert_eq!(times.len(), 60);
    for (i, time) in times.iter().enumerate() {
        assert!(time.nseconds().abs_diff(exact(i as u64).nseconds()) <= 1_000_000, "frame {i} at {time}");
    }
    let after_seek = play(&file, Some(gst::ClockTime::from_mseconds(1300)));
    assert!(after_seek[0].mseconds().abs_diff(1000) <= 1, "the keyframe before 1.3 s, not {}", after_seek[0]);
}

#[test]
fn raw_stream_plays_and_seeks_to_keyframes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("video.ngc");
    run(&format!("{SOURCE} ! filesink location=\"{}\"", file.display()));
    let times = play(&file, None);
    assert_eq!(times.len(), 60);
    assert!(times.windows(2).all(|w| w[1] > w[0]));
    // The parser's index leads to the keyframe at 1 s; the frames from there to the position are decoded and clipped.
    let after_seek = play(&file, Some(gst::ClockTime::from_mseconds(1300)));
    assert!((983..=1301).contains(&after_seek[0].mseconds()), "{}", after_seek[0]);
    assert!(after_seek.windows(2).all(|w| w[1] - w[0] < gst::ClockTime::from_mseconds(35)), "no frame is missing");
}

#[test]
fn frames_too_small_for_mp4_are_refused_with_the_cure() {
    init();
    let text =
        "videotestsrc num-buffers=2 ! video/x-raw,width=8,height=8 ! ngcenc threads=1 device=cpu ! ngcparse ! mp4mux ! fakesink";
    let pipeline = gst::parse::launch(text).unwrap();
    let _ = pipeline.set_state(gst::State::Playing);
    let message =
        pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &[gst::MessageType::Error]).unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    let gst::MessageView::Error(error) = message.view() else { unreachable!() };
    assert!(error.error().message().contains("matroskamux"), "{}", error.error().message());
}
