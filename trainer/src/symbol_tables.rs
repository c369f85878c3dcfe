//! Probabilities of symbols, from what the codec writes.

use std::path::Path;

use anyhow::Result;
use codec_core::bitstream::VideoInfo;
use codec_core::frame::{FrameView, PlaneView};
use codec_core::training::entropy::SymbolCounts;
use codec_core::training::model::{Model, with_tables};
use codec_core::{Encoder, EncoderConfig, FrameOptions, ModelSource};
use rayon::prelude::*;

use crate::data::{ClipBatch, Sampler, SamplerOptions, Split};

/// Clips that are coded, frames of each, and the sides that their crops may have in pixels, the largest that the data have.
const CLIPS: usize = 40;
const FRAMES: usize = 12;
const SIDES: [usize; 3] = [256, 128, 64];
/// Qualities that they are coded at.
const QUALITIES: [u8; 4] = [23, 33, 42, 52];
/// Parts of the clips that are coded beside each other at each quality.
const SHARES: usize = 4;

/// A model file with tables that fit the symbols which the model's encoder writes for clips of `data`. I-frames and P-frames have
/// tables of their own.
///
/// # Errors
/// If the data have no clips, or the model cannot be loaded.
pub fn with_counted_tables(model: &Path, data: &Path) -> Result<Vec<u8>> {
    let sampler = Sampler::open(data, SamplerOptions { photo_share: 0.0, graphics_share: 0.0, seed: 0, split: Split::Train })?;
    let long = sampler.validation_clips_of(CLIPS, FRAMES, &SIDES);
    let clips = long.or_else(|_| sampler.validation_clips_of(CLIPS, 2, &SIDES))?;
    let source = ModelSource::File(model.to_owned());
    let (mut intra, mut inter) = (SymbolCounts::default(), SymbolCounts::default());
    // Crops are too small for the threads of one encoder, so several code beside each other.
    let jobs: Vec<(u8, usize)> = QUALITIES.iter().flat_map(|&quality| (0..SHARES).map(move |share| (quality, share))).collect();
    let counts = jobs.into_par_iter().map(|(quality, share)| counted(&clips, share, quality, &source));
    for [i, p] in counts.collect::<Result<Vec<_>>>()? {
        intra.merge(&i);
        inter.merge(&p);
    }
    println!("tables from {} symbols of I-frames and {} of P-frames", intra.total(), inter.total());
    Ok(with_tables(&*Model::load(&source)?, &[("intra", intra.tables()), ("residual", inter.tables())])?)
}

/// What every [`SHARES`]th clip from `first` on writes at a quality, in I-frames and P-frames.
fn counted(clips: &ClipBatch, first: usize, quality: u8, model: &ModelSource) -> Result<[SymbolCounts; 2]> {
    let side = clips.crop as u32;
    let video = VideoInfo { width: side, height: side, ..VideoInfo::default() };
    let config = EncoderConfig { quality, threads: 1, model: model.clone(), ..EncoderConfig::new(video) };
    let mut encoder = Encoder::new(config)?;
    let (mut intra, mut inter) = (SymbolCounts::default(), SymbolCounts::default());
    for clip in (first..clips.batch).step_by(SHARES) {
        encoder.reset();
        count(clips, clip, &mut encoder, [&mut intra, &mut inter])?;
    }
    Ok([intra, inter])
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
