//! Errors and warnings that users meet: each names the thing and the cure.

use std::sync::{Arc, Mutex};

use gst::prelude::*;
use ngc_tests::pipes::{finish, launch, run};

/// Encodes three frames at each of two caps, and passes them on to `tail`. Gives back the warnings.
fn change(from: &str, to: &str, tail: &str) -> Result<String, String> {
    let pipeline = launch(&format!("appsrc name=in format=time ! ngcenc threads=1 device=cpu ! {tail}"));
    let source = pipeline.by_name("in").and_downcast::<gst_app::AppSrc>().unwrap();
    let warnings = Arc::new(Mutex::new(String::new()));
    let store = Arc::clone(&warnings);
    pipeline.bus().unwrap().set_sync_handler(move |_, message| {
        if let gst::MessageView::Warning(warning) = message.view() {
            store.lock().unwrap().push_str(warning.error().message());
        }
        gst::BusSyncReply::Pass
    });
    let _ = pipeline.set_state(gst::State::Playing);
    for number in 0..6 {
        let caps = format!("video/x-raw,format=I420,{}", if number < 3 { from } else { to });
        let caps = caps.parse::<gst::Caps>().unwrap();
        source.set_caps(Some(&caps));
        let size = gst_video::VideoInfo::from_caps(&caps).unwrap().size();
        let mut buffer = gst::Buffer::from_mut_slice(vec![99; size]);
        buffer.get_mut().unwrap().set_pts(number * 40 * gst::ClockTime::MSECOND);
        if source.push_buffer(buffer).is_err() {
            break;
        }
    }
    let _ = source.end_of_stream();
    finish(&pipeline)?;
    Ok(std::mem::take(&mut *warnings.lock().unwrap()))
}

const SMALL: &str = "width=64,height=48,framerate=25/1";

/// Sizes of the frames that a file shows.
fn sizes(source: &str) -> Vec<(u32, u32)> {
    let pipeline = launch(&format!("{source} ! ngcparse ! ngcdec threads=1 ! appsink name=out sync=false"));
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let sizes = std::iter::from_fn(|| sink.pull_sample().ok())
        .map(|sample| gst_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap())
        .map(|info| (info.width(), info.height()))
        .collect();
    pipeline.set_state(gst::State::Null).unwrap();
    sizes
}

#[test]
fn a_new_size_in_a_container_loses_nothing_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for (muxer, demuxer) in [("mp4mux", "qtdemux"), ("matroskamux", "matroskademux")] {
        let tail = format!("ngcparse ! {muxer} ! filesink location=\"{}\"", path.display());
        let warnings = change(SMALL, "width=96,height=64,framerate=25/1", &tail).unwrap();
        assert!(warnings.contains("from 64x48 to 96x64") && warnings.contains("videoscale"), "{muxer}: {warnings}");
        let shown = sizes(&format!("filesrc location=\"{}\" ! {demuxer}", path.display()));
        assert_eq!(shown, [[(64, 48); 3], [(96, 64); 3]].concat(), "{muxer}");
        let warnings = change(SMALL, &format!("{SMALL},pixel-aspect-ratio=4/3"), &tail).unwrap();
        assert!(warnings.contains("64x48 (pixels 4:3)"), "{muxer}: {warnings}");
    }
}

#[test]
fn what_a_container_does_not_write_down_may_change() {
    for muxer in ["mp4mux", "matroskamux"] {
        let tail = format!("ngcparse ! {muxer} ! fakesink");
        assert_eq!(change(SMALL, "width=64,height=48,framerate=50/1", &tail), Ok(String::new()));
        assert_eq!(change(SMALL, &format!("{SMALL},colorimetry=bt709"), &tail), Ok(String::new()));
    }
    // A raw stream and a decoder take everything.
    change(SMALL, "width=96,height=64,framerate=50/1", "ngcparse ! ngcdec threads=1 ! fakesink").unwrap();
}

#[test]
fn models_and_devices_that_cannot_be_had_are_named() {
    for (property, named) in [
        ("model-file=/nowhere.safetensors", "/nowhere.safetensors"),
        ("model-file=/tmp", "ngc-trainer export"),
        ("model-file=/proc/self/cmdline", "ngc-trainer export"),
        ("device=gpu", "use auto, cpu"),
    ] {
        for element in ["ngcenc", "ngcenc ! ngcdec"] {
            let error =
                run(&format!("videotestsrc num-buffers=1 ! video/x-raw,width=64,height=48 ! {element} {property} ! fakesink"));
            let error = error.unwrap_err();
            assert!(error.contains(named), "{element} {property}: {error}");
        }
    }
}
