//! Clips through the codec itself: units are written and read back, nothing is estimated.

use std::time::Instant;

use anyhow::Result;
use codec_core::bitstream::VideoInfo;
use codec_core::{Decoder, DecoderConfig, DeviceSpec, Encoder, EncoderConfig, FrameOptions, ModelSource};

use super::{Clip, Coded};

/// How to encode.
pub struct Settings {
    pub quality: u8,
    pub detail: Option<f32>,
    pub threads: usize,
    pub device: DeviceSpec,
}

/// An encoder with the defaults that users get, but for the settings.
fn encoder(clip: &Clip, model: &ModelSource, settings: &Settings) -> Result<Encoder> {
    let video = VideoInfo { width: clip.width as u32, height: clip.height as u32, ..VideoInfo::default() };
    Ok(Encoder::new(EncoderConfig {
        quality: settings.quality,
        detail: settings.detail,
        threads: settings.threads,
        device: settings.device.clone(),
        model: model.clone(),
        ..EncoderConfig::new(video)
    })?)
}

/// Encodes and decodes.
pub fn code(clip: &Clip, model: &ModelSource, settings: &Settings) -> Result<Coded> {
    let mut encoder = encoder(clip, model, settings)?;
    let start = Instant::now();
    let mut units = Vec::with_capacity(clip.frames.len());
    for frame in &clip.frames {
        units.push(encoder.encode(&frame.view(), FrameOptions::default())?);
    }
    let encode_seconds = start.elapsed().as_secs_f64();
    let (threads, device, model) = (settings.threads, settings.device.clone(), model.clone());
    let mut decoder = Decoder::new(DecoderConfig { threads, device, model, ..DecoderConfig::default() })?;
    let start = Instant::now();
    let mut frames = Vec::with_capacity(units.len());
    for unit in &units {
        frames.push(decoder.decode(&unit.data)?.to_frame());
    }
    let decode_seconds = start.elapsed().as_secs_f64();
    let count = units.len() as f64;
    Ok(Coded {
        bytes: units.iter().map(|u| u.data.len() as u64).sum(),
        frames,
        encode_fps: Some(count / encode_seconds),
        decode_fps: Some(count / decode_seconds),
    })
}
