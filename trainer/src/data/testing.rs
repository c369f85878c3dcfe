//! A small data folder for tests.

use std::path::Path;

use super::i420::Size;
use super::shard::{Kind, ShardWriter, Split};

/// A smooth picture that moves with `t`.
fn frame(size: Size, t: usize) -> Vec<u8> {
    let wave = |x: usize, y: usize| (128.0 + 60.0 * ((x + 3 * t) as f32 * 0.07).sin() * (y as f32 * 0.05).cos()) as u8;
    let plane = |w: usize, h: usize| (0..w * h).map(move |i| wave(i % w, i / w)).collect::<Vec<u8>>();
    [plane(size.width, size.height), plane(size.width / 2, size.height / 2), plane(size.width / 2, size.height / 2)].concat()
}

/// Shards of `count` clips of `frames` frames, 160x128 samples, and as many photos; the first of each is held out.
pub fn moving_clips(dir: &Path, count: usize, frames: usize) {
    let mut writer = ShardWriter::create(dir).unwrap();
    let size = Size::new(160, 128);
    for i in 0..count {
        let split = if i == 0 { Split::Validation } else { Split::Train };
        let clip: Vec<_> = (0..frames).map(|t| frame(size, 10 * i + t)).collect();
        writer.push(&format!("clip{i}#0"), Kind::Clip, split, size, &clip).unwrap();
        writer.push(&format!("photo{i}@128+0,0"), Kind::Photo, split, size, &[frame(size, i)]).unwrap();
    }
    writer.finish().unwrap();
}
