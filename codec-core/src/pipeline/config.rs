//! What an encoder is told, and what it gives back.

use std::time::Duration;

use super::detail_model::DetailModel;
use super::maps::check_strength;
use crate::bitstream::{QUALITY_MAX, VideoInfo};
use crate::device::DeviceSpec;
use crate::frame::pad::coded_size;
use crate::lookahead::Foresight;
use crate::model::ModelSource;
use crate::quality::QualityMap;
use crate::rate::RateMode;
use crate::{Error, Limits, Result};

/// Memory of networks and libraries, and of frames and activations for a luma sample of the coded size. Measured resident
/// sizes of a whole encoding process with the defaults (77 MiB at 640x384, 379 at 1920x1088, 1345 at 3840x2176), rounded up.
const BASE_BYTES: u64 = 36 << 20;
const BYTES_PER_SAMPLE: u64 = 180;
/// What a lookahead takes beside that, with what pairs of frames need: in all, for a luma sample, and for each sample of the frames that it
/// holds, its copy and the caller's (34 MiB in all at 640x384 and a depth of 12, 180 at 1920x1088).
const LOOKAHEAD_BASE_BYTES: u64 = 12 << 20;
const LOOKAHEAD_BYTES_PER_SAMPLE: u64 = 60;
const LOOKAHEAD_BYTES_PER_HELD_SAMPLE: u64 = 3;
/// The same of a decoding process (60 and 281 MiB).
const BYTES_PER_DECODED_SAMPLE: u64 = 124;
/// What a filter of 256 channels and 6 blocks takes beside that (10 MiB at 640x384, 32 at 1920x1088).
const RICH_BYTES: u64 = 8 << 20;
const RICH_BYTES_PER_SAMPLE: u64 = 14;

/// How much time the encoder takes for a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speed {
    /// The quickest motion search.
    Fast,
    /// In between.
    #[default]
    Medium,
    /// The most thorough motion search.
    Slow,
}

/// How to encode a stream.
#[derive(Clone, Debug)]
pub struct EncoderConfig {
    /// Size, timing and colour of the video.
    pub video: VideoInfo,
    /// Quality index 0..=63 of P-frames, lower is better; without effect while `rate` holds a bitrate.
    pub quality: u8,
    /// What rate control holds.
    pub rate: RateMode,
    /// Strength of the postfilter that the stream asks for, from the picture with the smallest error (0) to the most detailed one
    /// (1); `None`: what the model recommends.
    pub detail: Option<f32>,
    /// How much the quality index varies with the activity of luma: indices for each doubling of its local variance beside the picture's
    /// mean, 0 (none) to 8. Smooth places get a better quality, busy ones a worse. `None`:
    /// [`Self::USUAL_ADAPTIVE_QUALITY`] in the `rt` profile, which alone has it.
    /// For the smallest squared error set this and [`Self::detail`] to 0.
    pub adaptive_quality: Option<f32>,
    /// Say in the stream where the original has detail and where not, so that the postfilter adds it there alone. Without effect where
    /// [`Self::detail`] is 0, and in the `paper` profile.
    pub adaptive_detail: bool,
    /// How much time to take for a frame.
    pub speed: Speed,
    /// Make the first frame of a new scene a keyframe.
    pub scene_cut: bool,
    /// Remove noise from a frame before it is coded: each sample is averaged along the motion with those of up to four later frames that
    /// look like it, the less the better the quality. The quality of P-frames counts, also for keyframes and where a map says another.
    /// Without effect on frames without a [`foresight`](FrameOptions::foresight).
    pub temporal_filter: bool,
    /// How deep the [`Lookahead`](crate::Lookahead) is that frames come from, for the estimate of memory alone; 0: they come from none.
    pub lookahead: usize,
    /// Refuse videos whose [`estimated_memory`] is larger, in bytes.
    pub max_memory: Option<u64>,
    /// Largest distance between keyframes in frames; 0: only the first frame is one.
    pub key_int_max: u32,
    /// Smallest distance between a keyframe and a scene cut that makes another, in frames.
    pub key_int_min: u32,
    /// Threads that a frame is worked on with, at most [`MAX_THREADS`](crate::MAX_THREADS); 0: as many as the process may run at once.
    /// All streams of the process share one pool. Results do not depend on it.
    pub threads: usize,
    /// Where the networks run.
    pub device: DeviceSpec,
    /// The model to encode with. Decoders need the same one.
    pub model: ModelSource,
}

impl EncoderConfig {
    /// What `adaptive_quality` is where it is not given: LPIPS takes 6 % fewer bits, luma's PSNR 2 % more.
    pub const USUAL_ADAPTIVE_QUALITY: f32 = 1.25;

    /// Defaults for a video: quality 38, a keyframe every 250 frames and at scene cuts, best device, built-in model.
    pub fn new(video: VideoInfo) -> Self {
        Self {
            video,
            quality: 38,
            rate: RateMode::Quality,
            detail: None,
            adaptive_quality: None,
            adaptive_detail: true,
            speed: Speed::Medium,
            scene_cut: true,
            temporal_filter: true,
            lookahead: 0,
            max_memory: None,
            key_int_max: 250,
            key_int_min: 12,
            threads: 0,
            device: DeviceSpec::Auto,
            model: ModelSource::Embedded,
        }
    }
}

/// What differs from frame to frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameOptions {
    /// Make this frame a keyframe.
    pub force_keyframe: bool,
    /// Quality index of this frame and all later ones.
    pub quality: Option<u8>,
    /// How the quality varies over this frame; without it, not at all. Frames that share a map cost next to nothing for it after the first.
    /// Only in the `rt` profile.
    pub quality_map: Option<QualityMap>,
    /// What comes after this frame, from a [`Lookahead`](crate::Lookahead).
    pub foresight: Option<Foresight>,
    /// Presentation time from any origin, for rate control; without it frames count as equally spaced.
    pub time: Option<Duration>,
}

/// One coded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// One whole unit of the [`bitstream`](crate::bitstream). Units one after the other make a stream.
    pub data: Vec<u8>,
    /// Whether decoding can start here.
    pub keyframe: bool,
    /// Position in the stream, from 0 on.
    pub frame_number: u32,
    /// Quality index of the frame, of its residual in P-frames.
    pub quality: u8,
    /// Bits that the entropy model estimated for the symbols; the unit has some bytes of framing more.
    pub estimated_bits: u64,
}

impl EncoderConfig {
    /// Checks all values.
    pub(super) fn validate(&self) -> Result<()> {
        check_quality(self.quality)?;
        self.rate.validate()?;
        if let Some(detail) = self.detail.filter(|detail| !(0.0..=1.0).contains(detail)) {
            return Err(Error::InvalidConfig(format!("the detail is {detail}, it must be in 0..=1")));
        }
        self.adaptive_quality.map_or(Ok(()), check_strength)?;
        check_video(&self.video, self.lookahead, self.max_memory)
    }
}

/// Memory that encoding a video of this display size needs in all, in bytes, as measured on a CPU. `lookahead`: how deep a
/// [`Lookahead`](crate::Lookahead) is that its frames come from, 0 for none.
pub fn estimated_memory(width: u32, height: u32, lookahead: usize) -> u64 {
    let samples = coded_samples(width, height);
    let ahead = match lookahead as u64 {
        0 => 0,
        depth => LOOKAHEAD_BASE_BYTES + (LOOKAHEAD_BYTES_PER_SAMPLE + LOOKAHEAD_BYTES_PER_HELD_SAMPLE * depth) * samples,
    };
    BASE_BYTES + BYTES_PER_SAMPLE * samples + ahead
}

/// Memory that decoding a video of this display size needs in all, in bytes, as measured on a CPU. For [`DetailModel::Rich`], that of a
/// filter of 256 channels and 6 blocks; [`DetailModel::Auto`] counts as the fast one.
pub fn estimated_decoding_memory(width: u32, height: u32, detail_model: DetailModel) -> u64 {
    let samples = coded_samples(width, height);
    let rich = match detail_model {
        DetailModel::Rich => RICH_BYTES + RICH_BYTES_PER_SAMPLE * samples,
        DetailModel::Auto | DetailModel::Fast | DetailModel::Off => 0,
    };
    BASE_BYTES + BYTES_PER_DECODED_SAMPLE * samples + rich
}

fn coded_samples(width: u32, height: u32) -> u64 {
    let (width, height) = coded_size(width as usize, height as usize);
    width as u64 * height as u64
}

/// A strength of the postfilter as streams hold it; what lies beyond 0..=1 is taken for the nearest.
pub(super) fn detail_index(detail: f32) -> u8 {
    (detail.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// Checks a description of the video and the memory that it needs.
pub(super) fn check_video(video: &VideoInfo, lookahead: usize, max_memory: Option<u64>) -> Result<()> {
    video.validate()?;
    // What is encoded here is no stranger's stream: only the sides are bounded, and memory by `max_memory`.
    Limits { max_pixels: u64::MAX, ..Limits::default() }.check_size(video.width, video.height)?;
    let needed = estimated_memory(video.width, video.height, lookahead);
    match max_memory.filter(|&max| needed > max) {
        Some(max) => Err(Error::Limit(format!(
            "encoding {}x{} takes about {} MiB, the limit is {} MiB: raise max-memory, look fewer frames ahead or scale the video down",
            video.width,
            video.height,
            needed >> 20,
            max >> 20
        ))),
        None => Ok(()),
    }
}

pub(super) fn check_quality(quality: u8) -> Result<()> {
    if quality > QUALITY_MAX {
        return Err(Error::InvalidConfig(format!("quality {quality}: the range is 0..={QUALITY_MAX}, lower is better")));
    }
    Ok(())
}
