//! Coding one stream: frames in, held back for a while, packets out.

use std::collections::VecDeque;

use codec_core::bitstream::{FieldFlags, Interlacing, Profile};
use codec_core::{Encoder, Error, FrameOptions, Limits, Lookahead, Packet, Result, estimated_memory};
use gst::prelude::MulDiv;
use gst_video::{VideoCodecFrame, VideoCodecFrameFlags, VideoInfo};

use super::settings::Settings;
use super::{RateControl, regions};
use crate::{frame, interlacing, memory};

/// Encoder and lookahead of a stream.
pub struct Session {
    encoder: Encoder,
    lookahead: Lookahead<Held>,
    /// Whether frames may be coded in pairs.
    pairs: bool,
    /// Packets of a pair that wait for their turn, with their frames' numbers in the base class.
    done: VecDeque<(u32, Packet)>,
    /// How many frames are held back at most, and how many are.
    depth: usize,
    held: usize,
    info: VideoInfo,
    video: codec_core::bitstream::VideoInfo,
    /// Chroma of grey frames.
    neutral: Vec<u8>,
}

/// What belongs to a frame that is held back.
struct Held {
    /// Its number in the base class.
    number: u32,
    fields: FieldFlags,
}

impl Session {
    /// `video`: what the sequence header says of frames of the format `info`. `live`: whether their source is.
    ///
    /// # Errors
    /// As [`Encoder::new`]; [`Error::Limit`] for what decoders do not take, [`Error::OutOfMemory`].
    pub fn new(settings: &Settings, info: &VideoInfo, video: codec_core::bitstream::VideoInfo, live: bool) -> Result<Self> {
        let depth = settings.lookahead(live);
        check_size(&video, depth, 0)?;
        let encoder = Encoder::new(settings.encoder_config(video.clone(), depth)?)?;
        let depth = match encoder.model().profile() {
            Profile::Rt => depth,
            // Its streams have one quality for a whole frame.
            Profile::Paper => 0,
        };
        let lookahead = Lookahead::new(depth, settings.common.threads())?;
        // Rate control knows P-frames alone.
        let pairs = depth > 0 && settings.b_frames && settings.rate_control == RateControl::Quality;
        let done = VecDeque::new();
        Ok(Self {
            encoder,
            lookahead,
            pairs,
            done,
            depth,
            held: 0,
            info: info.clone(),
            video,
            neutral: frame::neutral_chroma(info),
        })
    }

    /// Goes on with another video, the model stays loaded. Frames that are held back should be gone.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn set_video(&mut self, info: &VideoInfo, video: codec_core::bitstream::VideoInfo) -> Result<()> {
        check_size(&video, self.depth, estimated_memory(self.video.width, self.video.height, self.depth))?;
        self.encoder.set_video(video.clone())?;
        (self.info, self.video, self.neutral) = (info.clone(), video, frame::neutral_chroma(info));
        Ok(())
    }

    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    pub fn info(&self) -> &VideoInfo {
        &self.info
    }

    /// What the sequence header says, with the HDR metadata of the caps.
    pub fn video(&self) -> &codec_core::bitstream::VideoInfo {
        &self.video
    }

    /// How many frames are held back at most.
    pub fn most_held(&self) -> usize {
        self.depth + usize::from(self.pairs)
    }

    /// For how long frames are held back.
    pub fn latency(&self) -> gst::ClockTime {
        let fps = self.info.fps();
        // As other encoders do, where the caps do not say it.
        let (number, per) = if fps.numer() > 0 { (fps.numer() as u64, fps.denom() as u64) } else { (25, 1) };
        let frames = self.most_held() as u64;
        // Centuries cannot be told.
        gst::ClockTime::SECOND.mul_div_floor(frames * per, number).unwrap_or(gst::ClockTime::ZERO)
    }

    /// Takes a frame.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for a buffer that is smaller than its caps say.
    pub fn take(&mut self, frame: &VideoCodecFrame, settings: &Settings) -> Result<()> {
        let unmapped = |what: &str| Error::InvalidConfig(format!("{what}: the buffer is smaller than its caps say"));
        let buffer = frame.input_buffer().ok_or_else(|| unmapped("a frame without a buffer"))?;
        // Streams of the other profile have one quality for a whole frame, which is no reason to fail.
        let has_maps = self.encoder.model().profile() == Profile::Rt;
        let size = (self.video.width, self.video.height);
        let options = FrameOptions {
            force_keyframe: frame.flags().contains(VideoCodecFrameFlags::FORCE_KEYFRAME),
            quality: Some(settings.quality as u8),
            quality_map: if has_maps { regions::map(buffer, size, settings.roi_quality) } else { None },
            foresight: None,
            time: frame.pts().map(Into::into),
        };
        let mapped = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &self.info)
            .map_err(|_| unmapped("a frame cannot be mapped"))?;
        let view = frame::view(&mapped, &self.neutral)?;
        let (number, fields) = (frame.system_frame_number(), interlacing::of(buffer));
        self.lookahead.push(&view, options, Held { number, fields })?;
        self.held += 1;
        Ok(())
    }

    /// Encodes the next frame, if it is its turn or if the stream `ends`, and gives it with its number in the base class.
    pub fn next(&mut self, ends: bool, settings: &Settings) -> Option<(u32, Result<Packet>)> {
        if let Some((number, packet)) = self.done.pop_front() {
            return Some((number, Ok(packet)));
        }
        let ends = ends || self.held > self.most_held();
        let ready = if self.pairs { self.lookahead.pop_pair(ends) } else { self.lookahead.pop(ends) }?;
        let first = ready.items.first()?.number;
        self.held -= ready.items.len();
        let mut encode = || {
            self.encoder.set_rate(settings.rate())?;
            self.encoder.set_key_int_max(settings.key_int_max);
            self.encoder.set_key_int_min(settings.key_int_min);
            self.encoder.set_scene_cut(settings.scene_cut);
            self.encoder.set_adaptive_quality(settings.adaptive_quality())?;
            let mut packets = ready.encode(&mut self.encoder)?;
            for (packet, held) in packets.iter_mut().zip(&ready.items) {
                if self.video.interlacing != Interlacing::Progressive && held.fields != FieldFlags::default() {
                    packet.data = interlacing::add(&packet.data, held.fields)?;
                }
            }
            Ok(packets)
        };
        match encode() {
            Ok(packets) => {
                self.done.extend(ready.items.iter().map(|held| held.number).zip(packets));
                self.done.pop_front().map(|(number, packet)| (number, Ok(packet)))
            }
            Err(e) => Some((first, Err(e))),
        }
    }

    /// How many frames are held back.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Holds back no more frames than now from here on, and waits for no second frame of a pair.
    pub fn shorten_lookahead(&mut self) {
        (self.depth, self.pairs) = (self.held, false);
    }

    /// Drops what is held back; the next frame becomes a keyframe.
    pub fn flush(&mut self) {
        self.encoder.reset();
        while self.lookahead.pop(true).is_some() {}
        self.done.clear();
        self.held = 0;
    }
}

/// Refuses what decoders do not take, and what there is no memory for besides what is `held` already. `lookahead`: frames that wait.
fn check_size(video: &codec_core::bitstream::VideoInfo, lookahead: usize, held: u64) -> Result<()> {
    let (width, height) = (video.width, video.height);
    let limit = Limits::MAX_PIXELS;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limit {
        return Err(Error::Limit(format!(
            "a frame of {width}x{height} has {pixels} pixels, decoders take {limit} (8192x4352); scale the video down"
        )));
    }
    memory::check("encoding", (width, height), estimated_memory(width, height, lookahead).saturating_sub(held))
}
