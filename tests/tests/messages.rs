//! Errors that users meet: each names the thing and the cure.

use gst::prelude::*;
use ngc_tests::pipes::{finish, launch, run};

/// Encodes three frames at each of two caps, and passes them on to `tail`.
fn change(from: &str, to: &str, tail: &str) -> Result<(), String> {
    let pipeline = launch(&format!("appsrc name=in format=time ! ngcenc threads=1 device=cpu ! {tail}"));
    let source = pipeline.by_name("in").and_downcast::<gst_app::AppSrc>().unwrap();
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
    finish(&pipeline)
}

const SMALL: &str = "width=64,height=48,framerate=25/1";

#[test]
fn a_new_size_in_a_container_says_what_to_do() {
    for muxer in ["mp4mux", "matroskamux"] {
        let tail = format!("ngcparse ! {muxer} ! fakesink");
        let error = change(SMALL, "width=96,height=64,framerate=25/1", &tail).unwrap_err();
        assert!(error.contains("from 64x48 to 96x64") && error.contains("videoscale"), "{muxer}: {error}");
        let anamorphic = format!("{SMALL},pixel-aspect-ratio=4/3");
        let error = change(SMALL, &anamorphic, &tail).unwrap_err();
        assert!(error.contains("64x48 (pixels 4:3)"), "{muxer}: {error}");
    }
}

#[test]
fn what_a_container_does_not_write_down_may_change() {
    for muxer in ["mp4mux", "matroskamux"] {
        let tail = format!("ngcparse ! {muxer} ! fakesink");
        change(SMALL, "width=64,height=48,framerate=50/1", &tail).unwrap();
        change(SMALL, &format!("{SMALL},colorimetry=bt709"), &tail).unwrap();
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
