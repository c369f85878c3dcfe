//! What targets and seeds share: a small stream of the built-in model, taken apart.

use codec_core::bitstream::{SequenceHeader, VideoInfo, parse_unit};
use codec_core::frame::Frame;
use codec_core::{Encoder, EncoderConfig, FrameOptions, Limits, QualityMap};

/// Side of all frames in samples.
const SIDE: usize = 64;

/// A keyframe and what P-frames after it carry.
pub struct Stream {
    /// The first unit, whole.
    pub keyframe: Vec<u8>,
    /// Its sequence header.
    pub sequence: SequenceHeader,
    /// Quality index and payload of every unit; the first is the keyframe's.
    pub payloads: Vec<(u8, Vec<u8>)>,
}

/// Encodes a few frames that move.
pub fn stream() -> Stream {
    let video = VideoInfo { width: SIDE as u32, height: SIDE as u32, ..VideoInfo::default() };
    let mut encoder = Encoder::new(EncoderConfig { threads: 1, ..EncoderConfig::new(video) }).expect("the built-in model");
    let units: Vec<Vec<u8>> = (0..4)
        .map(|number| {
            let mut frame = Frame::new(SIDE, SIDE);
            for plane in frame.planes_mut() {
                let stride = plane.stride;
                for (i, sample) in plane.data.iter_mut().enumerate() {
                    *sample = (40 + (i % stride * 5 + i / stride * 3 + number * 7) % 160) as u8;
                }
            }
            let quality_map = (number >= 1).then(|| QualityMap::new(SIDE as u32, SIDE as u32, vec![-3, 0, 7, 2]).expect("four cells"));
            let options = FrameOptions { quality_map, ..FrameOptions::default() };
            encoder.encode(&frame.view(), options).expect("a frame of the right size").data
        })
        .collect();
    let limits = Limits::default();
    let parsed: Vec<_> = units.iter().map(|unit| parse_unit(unit, &limits).expect("a whole unit")).collect();
    let sequence = parsed[0].sequence.clone().expect("a keyframe has one");
    let payloads = parsed.iter().map(|unit| (unit.header.residual_quality, unit.payload.to_vec())).collect();
    Stream { keyframe: units[0].clone(), sequence, payloads }
}
