//! Prints how well `ngcenc` holds bitrates: `cargo run --release -p ngc-tests --bin rates -- CLIP...`
//!
//! Every clip is scaled to 320x180 and played forwards and backwards for ten seconds at five targets, in both modes, with a
//! fixed, a variable and an unknown frame rate.

use std::path::{Path, PathBuf};

use codec_core::frame::Frame;
use codec_core::training::rate::LeakyBucket;
use gst_check::Harness;
use ngc_tests::{real_frames, repository};

const WIDTH: usize = 320;
const HEIGHT: usize = 180;
const SECONDS: u64 = 10;
const BUFFER_MS: u32 = 1000;
const TARGETS: [u32; 5] = [30, 45, 60, 80, 100];
/// Gaps between frames in milliseconds, repeated.
const TIMINGS: [(&str, i32, &[u64]); 3] =
    [("25 fps", 25, &[40]), ("variable", 25, &[20, 40, 60, 33, 100]), ("0/1 fps", 0, &[40, 35, 45])];

fn main() {
    gst::init().expect("GStreamer");
    gstngc::plugin_register_static().expect("the plugin");
    let mut clips: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if clips.is_empty() {
        clips.push(repository("examples/media/flower.mp4"));
    }
    println!("| clip | mode | frame rate | {} |", TARGETS.map(|t| format!("{t} kbit/s")).join(" | "));
    println!("|---|---|---|{}", "---|".repeat(TARGETS.len()));
    for clip in &clips {
        let frames = real_frames(clip, WIDTH, HEIGHT, 120);
        for mode in ["cbr", "vbr"] {
            for (name, fps, gaps) in TIMINGS {
                let cells = TARGETS.map(|target| measure(&frames, mode, fps, gaps, target));
                println!("| {} | {mode} | {name} | {} |", stem(clip), cells.join(" | "));
            }
        }
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Deviation from the target in percent, and the largest fill of the rate buffer in percent of its size.
fn measure(frames: &[Frame], mode: &str, fps: i32, gaps: &[u64], target: u32) -> String {
    let element = gst::ElementFactory::make("ngcenc")
        .property("threads", 1u32)
        .property("device", "cpu")
        .property_from_str("rate-control", mode)
        .property("bitrate", target)
        .property("vbv-buffer", BUFFER_MS)
        .build()
        .expect("ngcenc");
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    let caps = gst_video::VideoCapsBuilder::new()
        .format(gst_video::VideoFormat::I420)
        .width(WIDTH as i32)
        .height(HEIGHT as i32)
        .framerate(gst::Fraction::new(fps, 1))
        .build();
    harness.set_src_caps(caps);
    let ceiling = if mode == "vbr" { 2.0 } else { 1.0 };
    let mut bucket = LeakyBucket::new(f64::from(target) * 1000.0 * ceiling, f64::from(BUFFER_MS) / 1000.0);
    let (mut time, mut bits, mut fullest) = (0, 0.0, 0f64);
    for i in 0.. {
        if time >= SECONDS * 1000 {
            break;
        }
        let period = 2 * frames.len() - 2;
        let position = i % period;
        let frame = &frames[if position < frames.len() { position } else { period - position }];
        let mut buffer = gst::Buffer::from_mut_slice(packed(frame));
        buffer.get_mut().expect("just made").set_pts(gst::ClockTime::from_mseconds(time));
        harness.push(buffer).expect("an encoded frame");
        let size = 8.0 * harness.pull().expect("one unit for every frame").size() as f64;
        bits += size;
        bucket.add(size);
        fullest = fullest.max(1.0 - bucket.room() / bucket.capacity());
        let gap = gaps[i % gaps.len()];
        bucket.drain(gap as f64 / 1000.0);
        time += gap;
    }
    let reached = bits / (time as f64 / 1000.0) / (f64::from(target) * 1000.0);
    format!("{:+.1} %, {:.0} %", (reached - 1.0) * 100.0, fullest * 100.0)
}

/// I420 with GStreamer's strides: rows of a multiple of 4 bytes.
fn packed(frame: &Frame) -> Vec<u8> {
    let mut data = Vec::new();
    for plane in 0..3 {
        let plane = frame.plane(plane);
        for row in 0..plane.height {
            data.extend_from_slice(plane.row(row));
            data.resize(data.len().next_multiple_of(4), 0);
        }
    }
    data
}
