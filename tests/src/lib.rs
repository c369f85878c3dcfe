//! What the cross-crate tests share: synthetic and real frames, streams, quality.

pub mod pipes;
pub mod soak;

use std::io::Write;
use std::path::{Path, PathBuf};

use codec_core::bitstream::VideoInfo;
use codec_core::frame::Frame;
use codec_core::{Decoder, DecoderConfig, DeviceSpec, Encoder, EncoderConfig, FrameOptions, Packet};
use gst::prelude::*;
use gst_video::{VideoFrameExt, VideoFrameRef};

/// Says that a test was skipped. `eprintln` would not do: the test harness keeps that to itself where tests succeed.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A textured picture that pans, the same on every machine: integers only.
pub fn synthetic_frame(width: usize, height: usize, number: usize) -> Frame {
    let mut frame = Frame::new(width, height);
    for (index, plane) in frame.planes_mut().iter_mut().enumerate() {
        let scale = if index == 0 { 1 } else { 2 };
        let (columns, rows, stride) = (plane.width, plane.height, plane.stride);
        for row in 0..rows {
            for column in 0..columns {
                let (x, y) = (column * scale + 2 * number, row * scale + number);
                let triangle = |v: usize, period: usize| (v % period).abs_diff(period / 2) * 120 / period;
                let value = 60 + triangle(x, 37) + triangle(y, 53) + triangle(x + y, 23) / 2;
                plane.data[row * stride + column] = (value / scale + index * 40) as u8;
            }
        }
    }
    frame
}

/// Encoder settings of the tests: one thread on the CPU.
pub fn encoder_config(width: usize, height: usize) -> EncoderConfig {
    let video = VideoInfo { width: width as u32, height: height as u32, ..VideoInfo::default() };
    // Without detail, pictures are the encoder's reconstructions.
    EncoderConfig {
        detail: Some(0.0),
        adaptive_quality: Some(0.0),
        threads: 1,
        device: DeviceSpec::Cpu,
        ..EncoderConfig::new(video)
    }
}

/// Encodes frames that all have one size.
pub fn encode(config: EncoderConfig, frames: &[Frame]) -> Vec<Packet> {
    let mut encoder = Encoder::new(config).expect("the built-in model");
    frames
        .iter()
        .map(|frame| encoder.encode(&frame.view(), FrameOptions::default()).expect("a frame of the right size"))
        .collect()
}

/// Bytes of a unit around its payload.
pub fn framing(unit: &Packet) -> usize {
    let parsed = codec_core::bitstream::parse_unit(&unit.data, &codec_core::Limits::default()).expect("the encoder's own unit");
    unit.data.len() - parsed.payload.len()
}

/// A decoded picture, copied.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodedFrame {
    /// At display size.
    pub frame: Frame,
    /// Of its symbols.
    pub checksum: u32,
}

/// A decoder on the CPU.
pub fn decoder(threads: usize) -> Decoder {
    Decoder::new(DecoderConfig { threads, device: DeviceSpec::Cpu, ..DecoderConfig::default() }).expect("the built-in model")
}

/// Decodes units that are all whole.
pub fn decode<'a>(threads: usize, units: impl IntoIterator<Item = &'a [u8]>) -> Vec<DecodedFrame> {
    decode_with(decoder(threads), units)
}

/// As [`decode`], with a decoder of the caller's.
pub fn decode_with<'a>(mut decoder: Decoder, units: impl IntoIterator<Item = &'a [u8]>) -> Vec<DecodedFrame> {
    units
        .into_iter()
        .map(|unit| {
            let picture = decoder.decode(unit).expect("a whole unit");
            DecodedFrame { frame: picture.to_frame(), checksum: picture.checksum.expect("no stand-in") }
        })
        .collect()
}

/// PSNR in dB of one plane of two frames of the same size.
pub fn psnr(a: &Frame, b: &Frame, plane: usize) -> f64 {
    let (a, b) = (a.plane(plane), b.plane(plane));
    assert_eq!((a.width, a.height), (b.width, b.height));
    let rows = (0..a.height).flat_map(|r| a.row(r).iter().zip(b.row(r)));
    let sum: u64 = rows.map(|(&x, &y)| u64::from(x.abs_diff(y)).pow(2)).sum();
    10.0 * (255.0f64.powi(2) / (sum as f64 / (a.width * a.height) as f64).max(1e-6)).log10()
}

/// Frames of a video file at the given size.
pub fn real_frames(file: &Path, width: usize, height: usize, count: usize) -> Vec<Frame> {
    gst::init().expect("GStreamer");
    let text = format!(
        "filesrc location=\"{}\" ! decodebin ! videoconvert ! videoscale ! video/x-raw,format=I420,width={width},height={height} \
         ! appsink name=out sync=false max-buffers=2",
        file.display()
    );
    let pipeline = gst::parse::launch(&text).expect("a pipeline").downcast::<gst::Pipeline>().expect("a pipeline");
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().expect("the appsink");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let mut frames = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let info = gst_video::VideoInfo::from_caps(sample.caps().expect("caps")).expect("raw video");
        let mapped = VideoFrameRef::from_buffer_ref_readable(sample.buffer().expect("a buffer"), &info).expect("readable");
        let mut frame = Frame::new(width, height);
        for (index, plane) in frame.planes_mut().iter_mut().enumerate() {
            let stride = mapped.plane_stride()[index] as usize;
            let data = mapped.plane_data(index as u32).expect("three planes");
            for row in 0..plane.height {
                let line = plane.width;
                plane.row_mut(row)[..line].copy_from_slice(&data[row * stride..][..line]);
            }
        }
        frames.push(frame);
        if frames.len() == count {
            break;
        }
    }
    pipeline.set_state(gst::State::Null).expect("it stops");
    frames
}
