//! Sampling is a function of seed, step and worker.

use super::*;
use crate::data::i420::Size;
use crate::data::shard::{Kind, ShardWriter};

const SIDE: usize = 128;

/// A data folder with one clip of six frames and one photo, all of noise.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ShardWriter::create(dir.path()).unwrap();
    let frame = |seed: usize| (0..SIDE * SIDE * 3 / 2).map(|i| ((i * 31 + seed * 977) ^ (i >> 3)) as u8).collect::<Vec<u8>>();
    let clip: Vec<_> = (0..6).map(frame).collect();
    writer.push("clip", Kind::Clip, Split::Train, Size::new(SIDE, SIDE), &clip).unwrap();
    writer.push("photo", Kind::Photo, Split::Train, Size::new(SIDE, SIDE), &[frame(9)]).unwrap();
    writer.finish().unwrap();
    dir
}

fn sampler(dir: &tempfile::TempDir, seed: u64) -> Sampler {
    Sampler::open(dir.path(), SamplerOptions { photo_share: 0.5, graphics_share: 0.25, seed, split: Split::Train }).unwrap()
}

#[test]
fn a_batch_depends_on_seed_step_and_worker_alone() {
    let dir = folder();
    let batch = |seed, key| sampler(&dir, seed).sample(key, 4, 3, 64).unwrap();
    let first = batch(1, (5, 0));
    assert_eq!(first, batch(1, (5, 0)));
    assert_ne!(first, batch(1, (6, 0)));
    assert_ne!(first, batch(1, (5, 1)));
    assert_ne!(first, batch(2, (5, 0)));
    assert_eq!(first.y.len(), 4 * 3 * 64 * 64);
    assert_eq!(first.uv.len(), 4 * 3 * 2 * 32 * 32);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let dir = folder();
    assert!(sampler(&dir, 1).sample((0, 0), 1, 1, 256).is_err(), "no item is that large");
    assert!(sampler(&dir, 1).sample((0, 0), 1, 1, 60).is_err(), "not a multiple of 64");
}

#[test]
fn small_clips_are_held_out_in_smaller_crops() {
    let dir = folder();
    let sampler = sampler(&dir, 1);
    let side = |sides: &[usize]| sampler.validation_clips_of(2, 3, sides).map(|clips| clips.crop);
    assert_eq!(side(&[192, 128, 64]).unwrap(), 128);
    assert_eq!(side(&[64, 128]).unwrap(), 64);
    assert!(side(&[256, 192]).is_err() && side(&[]).is_err());
}
