//! What the element tests share.
#![allow(dead_code, reason = "each test binary uses a part")]

use gst::prelude::*;
use gst_check::Harness;

pub const FRAME: gst::ClockTime = gst::ClockTime::from_nseconds(33_333_333);

pub fn init() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstngc::plugin_register_static().unwrap();
    });
}

/// An element on one thread of the CPU. Encoders give a unit for each frame at once.
pub fn element(name: &str) -> gst::Element {
    let element = element_as_it_is(name);
    if name == "ngcenc" {
        element.set_property("lookahead", 0i32);
    }
    element
}

/// The same with its own lookahead.
pub fn element_as_it_is(name: &str) -> gst::Element {
    gst::ElementFactory::make(name).property("threads", 1u32).property("device", "cpu").build().unwrap()
}

pub fn raw_caps(format: &str, width: i32, height: i32, fps: i32) -> gst::Caps {
    init();
    gst::Caps::builder("video/x-raw")
        .field("format", format)
        .field("width", width)
        .field("height", height)
        .field("framerate", gst::Fraction::new(fps, 1))
        .build()
}

pub fn raw_buffer(caps: &gst::Caps, number: u64, pts: gst::ClockTime) -> gst::Buffer {
    let info = gst_video::VideoInfo::from_caps(caps).unwrap();
    let data: Vec<u8> = (0..info.size() as u64).map(|i| (((i / 7 + number * 3) % 64) * 2 + 64) as u8).collect();
    let mut buffer = gst::Buffer::from_mut_slice(data);
    let target = buffer.get_mut().unwrap();
    target.set_pts(pts);
    target.set_duration(FRAME);
    buffer
}

pub fn encoder(caps: &gst::Caps) -> Harness {
    init();
    let mut harness = Harness::with_element(&element("ngcenc"), Some("sink"), Some("src"));
    harness.set_src_caps(caps.clone());
    harness
}

/// Units of `count` frames, a keyframe every ten.
pub fn units(count: u64) -> (gst::Caps, Vec<gst::Buffer>) {
    detailed_units(count, 0.0)
}

/// The same with detail.
pub fn detailed_units(count: u64, detail: f64) -> (gst::Caps, Vec<gst::Buffer>) {
    let caps = raw_caps("I420", 64, 48, 30);
    init();
    let element = element("ngcenc");
    element.set_property("key-int-max", 10u32);
    element.set_property("detail", detail);
    // The frames are synthetic: a map might take all of it away.
    element.set_property("adaptive-detail", false);
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    harness.set_src_caps(caps.clone());
    let buffers = (0..count)
        .map(|i| {
            harness.push(raw_buffer(&caps, i, FRAME * i)).unwrap();
            harness.pull().unwrap()
        })
        .collect();
    (harness.sinkpad().unwrap().current_caps().unwrap(), buffers)
}

pub fn is_key(buffer: &gst::Buffer) -> bool {
    !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)
}
