//! Frames and harnesses that all cases use.

use gst_check::Harness;

pub const FRAME: gst::ClockTime = gst::ClockTime::from_nseconds(33_333_333);

/// Runs a case with GStreamer and the plugin ready, and prints what it found.
pub fn init(case: impl FnOnce() -> String) {
    gst::init().expect("GStreamer");
    gstngc::plugin_register_static().expect("the plugin");
    println!("{}", case());
}

pub fn caps(width: i32, height: i32, fps: i32) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", width)
        .field("height", height)
        .field("framerate", gst::Fraction::new(fps, 1))
        .build()
}

pub fn buffer(caps: &gst::Caps, number: u64, pts: gst::ClockTime) -> gst::Buffer {
    let info = gst_video::VideoInfo::from_caps(caps).expect("raw caps");
    let data: Vec<u8> = (0..info.size() as u64).map(|i| (((i / 7 + number * 3) % 64) * 2 + 64) as u8).collect();
    let mut buffer = gst::Buffer::from_mut_slice(data);
    let target = buffer.get_mut().expect("just made");
    target.set_pts(pts);
    target.set_duration(FRAME);
    buffer
}

/// An encoder with the given settings, `None` if it is not installed.
pub fn element(description: &str) -> Option<gst::Element> {
    let mut words = description.split_whitespace();
    let element = gst::ElementFactory::make(words.next()?).build().ok()?;
    for word in words {
        if let Some((name, value)) = word.split_once('=') {
            gst::prelude::GObjectExtManualGst::set_property_from_str(&element, name, value);
        }
    }
    Some(element)
}

pub fn harness(element: &gst::Element, caps: &gst::Caps) -> Harness {
    let mut harness = Harness::with_element(element, Some("sink"), Some("src"));
    harness.set_src_caps(caps.clone());
    harness
}

pub fn is_key(buffer: &gst::Buffer) -> bool {
    !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)
}

/// Everything that has come out.
pub fn drain(harness: &mut Harness) -> Vec<gst::Buffer> {
    std::iter::from_fn(|| harness.try_pull()).collect()
}
