//! Limits agree between the elements, and are kept before anything is worked on.

use codec_core::Limits;
use codec_core::bitstream::{FrameHeader, FrameType, Profile, SequenceHeader, VideoInfo, write_unit};
use gst::prelude::*;
use ngc_tests::pipes::{init, run};

/// A keyframe unit of a video of the given size, without a picture.
fn unit(width: u32, height: u32) -> Vec<u8> {
    let video = VideoInfo { width, height, ..VideoInfo::default() };
    let sequence = SequenceHeader { model_id: [0; 16], profile: Profile::Rt, random_shift: None, detail: 0, video };
    write_unit(&FrameHeader::new(FrameType::I, 9, 0), Some(&sequence), &[7; 40]).unwrap()
}

fn encode(width: u32, height: u32) -> Result<(), String> {
    run(&format!(
        "videotestsrc num-buffers=1 pattern=black ! video/x-raw,format=I420,width={width},height={height} \
         ! ngcenc threads=1 device=cpu ! fakesink"
    ))
}

#[test]
fn the_encoder_refuses_what_decoders_do_not_take() {
    let error = encode(8192, 4354).unwrap_err();
    assert!(error.contains("8192x4354 has 35667968 pixels, decoders take 35651584 (8192x4352)"), "{error}");
}

#[test]
fn the_parser_takes_what_the_encoder_takes() {
    init();
    let take = |width, height| {
        let mut harness = gst_check::Harness::new("ngcparse");
        harness.set_src_caps_str("video/x-ngc,alignment=au");
        let pushed = harness.push(gst::Buffer::from_mut_slice(unit(width, height)));
        assert_eq!(pushed, Ok(gst::FlowSuccess::Ok));
        harness.try_pull().is_some()
    };
    assert!(take(8192, 4352) && take(4352, 8192) && take(1, 1));
    assert!(!take(8192, 4353) && !take(8193, 16));
}

#[test]
fn properties_show_their_ranges() {
    init();
    let encoder = gst::ElementFactory::make("ngcenc").build().unwrap();
    let decoder = gst::ElementFactory::make("ngcdec").build().unwrap();
    let detail = encoder.find_property("detail").unwrap().downcast::<gst::glib::ParamSpecDouble>().unwrap();
    assert_eq!((detail.minimum(), detail.maximum(), detail.default_value()), (-1.0, 1.0, -1.0));
    for element in [&encoder, &decoder] {
        let threads = element.find_property("threads").unwrap().downcast::<gst::glib::ParamSpecUInt>().unwrap();
        assert_eq!((threads.minimum(), threads.maximum()), (0, 64));
    }
    let pixels = decoder.find_property("max-resolution").unwrap().downcast::<gst::glib::ParamSpecUInt64>().unwrap();
    assert_eq!((pixels.maximum(), pixels.default_value()), (Limits::default().max_pixels, Limits::default().max_pixels));
}

/// Set in the process that runs with little memory.
const CHILD: &str = "NGC_TEST_CHILD";

#[test]
fn too_little_memory_is_one_plain_error() {
    if std::env::var_os(CHILD).is_some() {
        let error = encode(3840, 2160).unwrap_err();
        return println!("<{error}>");
    }
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -v 900000; exec \"$0\" --exact too_little_memory_is_one_plain_error --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("<not enough memory: encoding 3840x2160 needs about 2247 MiB, "), "{text}");
    assert!(text.contains("ulimit -v") && !text.contains("panicked"), "{text}");
}
