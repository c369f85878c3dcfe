//! Probabilities of symbols, from what the codec writes.

use std::path::Path;

use anyhow::Result;
use codec_core::bitstream::VideoInfo;
use codec_core::frame::{FrameView, PlaneView};
use codec_core::training::entropy::SymbolCounts;
use codec_core::training::model::{Model, with_tables};
use codec_core::{Encoder, EncoderConfig, FrameOptions, ModelSource};

use crate::data::{ClipBatch, Sampler, SamplerOptions, Split};

/// Clips that are coded, frames of each, and the sides that their crops may have in pixels, the largest that the data have.
const CLIPS: usize = 40;
const FRAMES: usize = 12;
const SIDES: [usize; 3] = [256, 128, 64];
/// Qualities that they are coded at.
const QUALITIES: [u8; 4] = [14, 26, 38, 50];

/// A model file with tables that fit the symbols which the model's encoder writes for clips of `data`. I-frames and P-frames have
/// tables of their own.
///
/// # Errors
/// If the data have no clips, or the model cannot be loaded.
pub fn with_counted_tables(model: &Path, data: &Path) -> Result<Vec<u8>> {
    let sampler = Sampler::open(data, SamplerOptions { photo_share: 0.0, seed: 0, split: Split::Train })?;
    let long = sampler.validation_clips_of(CLIPS, FRAMES, &SIDES);
    let clips = long.or_else(|_| sampler.validation_clips_of(CLIPS, 2, &SIDES))?;
    let source = ModelSource::File(model.to_owned());
    let (mut intra, mut inter) = (SymbolCounts::default(), SymbolCounts::default());
    let side = clips.crop as u32;
    for quality in QUALITIES {
        let video = VideoInfo { width: side, height: side, ..VideoInfo::default() };
        let mut encoder = Encoder::new(EncoderConfig { quality, model: source.clone(), ..EncoderConfig::new(video) })?;
        for clip in 0..clips.batch {
            encoder.reset();
            count(&clips, clip, &mut encoder, [&mut intra, &mut inter])?;
        }
    }
    println!("tables from {} symbols of I-frames and {} of P-frames", intra.total(), inter.total());
    Ok(with_tables(&*Model::load(&source)?, &[("intra", intra.tables()), ("residual", inter.tables())])?)
}

/// Codes one clip, and adds what I-frames and P-frames wrote to the two counts.
fn count(clips: &ClipBatch, clip: usize, encoder: &mut Encoder, [intra, inter]: [&mut SymbolCounts; 2]) -> Result<()> {
    let side = clips.crop;
    encoder.take_symbol_counts();
    for frame in 0..clips.frames {
        let at = clip * clips.frames + frame;
        let y = &clips.y[at * side * side..][..side * side];
        let (u, v) = clips.uv[at * side * side / 2..][..side * side / 2].split_at(side * side / 4);
        let plane = |data, stride| PlaneView { data, stride, pixel_stride: 1 };
        let view = FrameView::new(side, side, plane(y, side), plane(u, side / 2), plane(v, side / 2))?;
        let packet = encoder.encode(&view, FrameOptions::default())?;
        let counts = encoder.take_symbol_counts();
        if packet.keyframe { intra.merge(&counts) } else { inter.merge(&counts) }
    }
    Ok(())
}
