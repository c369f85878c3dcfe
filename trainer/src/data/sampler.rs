//! Random space-time crops of a data folder.

use std::path::Path;
use std::sync::Arc;

use super::error::DataError;
use super::i420::Size;
use super::motion::{self, Canvas, Picture};
use super::rng::Rng;
use super::shard::{Kind, ShardSet, Split};

mod draw;

pub use draw::{Cut, WithCuts};

use draw::Source;

const FLIP_CHANCE: f32 = 0.5;
/// More frames than this do not make a clip more likely to be drawn.
const WEIGHT_FRAMES: usize = 60;

#[derive(Clone, Copy, Debug)]
pub struct SamplerOptions {
    /// Part of the samples that come from photos, 0..=1.
    pub photo_share: f32,
    /// Part of the samples that are drawn: text, windows and cartoons, 0..=1.
    pub graphics_share: f32,
    pub seed: u64,
    pub split: Split,
}

/// A batch of clips, 8-bit 4:2:0, BT.601 limited range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipBatch {
    /// Clips (B), frames of each (T), and their side in luma pixels (S).
    pub batch: usize,
    pub frames: usize,
    pub crop: usize,
    /// `[B][T][S][S]`
    pub y: Vec<u8>,
    /// `[B][T][2][S/2][S/2]`: U, then V.
    pub uv: Vec<u8>,
}

/// Cuts batches out of a data folder. It has no state: a batch follows from the seed and the key,
/// and any number of threads may sample at once.
#[derive(Debug)]
pub struct Sampler {
    set: Arc<ShardSet>,
    options: SamplerOptions,
    /// Items of the split, and each clip's weight.
    clips: Vec<(usize, f32)>,
    photos: Vec<usize>,
}

impl Sampler {
    /// Opens a data folder written by `prepare`.
    ///
    /// # Errors
    /// [`DataError::Io`] and [`DataError::Damaged`] naming the file; [`DataError::NothingFits`] if
    /// the split is empty; [`DataError::Option`] for a share outside of 0..=1.
    pub fn open(dir: &Path, options: SamplerOptions) -> Result<Self, DataError> {
        Self::open_if_any(dir, options)?.ok_or_else(|| DataError::NothingFits {
            path: dir.to_owned(),
            reason: format!("the data folder has no items in the split {:?}; prepare more sources", options.split),
        })
    }

    /// As [`Sampler::open`], `None` if the split has no items.
    ///
    /// # Errors
    /// As [`Sampler::open`].
    pub fn open_if_any(dir: &Path, options: SamplerOptions) -> Result<Option<Self>, DataError> {
        for (option, share) in [("photo-share", options.photo_share), ("graphics-share", options.graphics_share)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(DataError::Option { option, reason: format!("{share} is not between 0 and 1") });
            }
        }
        let set = ShardSet::open(dir)?;
        let (mut clips, mut photos) = (Vec::new(), Vec::new());
        for (item, entry) in set.entries().iter().enumerate() {
            match entry.kind {
                _ if entry.split != options.split || entry.frames == 0 => {}
                Kind::Photo => photos.push(item),
                Kind::Clip => {
                    let usual = (entry.frames.min(WEIGHT_FRAMES) as f32).sqrt();
                    clips.push((item, entry.weight * usual));
                }
            }
        }
        let sampler = Sampler { set, options, clips, photos };
        Ok((!sampler.clips.is_empty() || !sampler.photos.is_empty()).then_some(sampler))
    }

    /// Reads all shards and compares their checksums.
    ///
    /// # Errors
    /// [`DataError::Damaged`] naming the shard.
    pub fn verify(&self) -> Result<(), DataError> {
        self.set.verify()
    }

    /// The batch of one (step, worker): `batch` clips of `frames` frames, `crop` x `crop` pixels
    /// (a multiple of 64).
    ///
    /// # Errors
    /// [`DataError::Option`] for a crop, batch or frame count that cannot work,
    /// [`DataError::NothingFits`] if no item is large and long enough.
    pub fn sample(&self, key: (u64, u32), batch: usize, frames: usize, crop: usize) -> Result<ClipBatch, DataError> {
        Ok(self.sample_without(key, batch, frames, crop, &|_| false)?.rendered)
    }

    /// As [`Sampler::sample`], but for clips that are cut out of `held` items: of these it says where they lie.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn sample_without(
        &self,
        (step, worker): (u64, u32),
        batch: usize,
        frames: usize,
        crop: usize,
        held: &dyn Fn(usize) -> bool,
    ) -> Result<WithCuts, DataError> {
        ClipBatch::check(batch, frames, crop)?;
        let choice = self.choice(frames, crop)?;
        let (mut cuts, mut places, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..batch {
            let key = [self.options.seed, step, u64::from(worker), index as u64];
            let mut rng = Rng::new(&key);
            match self.draw(&choice, frames, crop, &mut rng) {
                Source::Cut(cut) if held(cut.item) => cuts.push((index, Cut { mirrored: rng.chance(FLIP_CHANCE), ..cut })),
                source => {
                    places.push(index);
                    others.push((source, rng));
                }
            }
        }
        let mut rendered = ClipBatch::new(others.len(), frames, crop);
        for ((source, mut rng), mut canvas) in others.into_iter().zip(rendered.clips()) {
            self.render(&source, &mut canvas, &mut rng);
            // Letters are not mirrored.
            if !matches!(source, Source::Graphics) && rng.chance(FLIP_CHANCE) {
                canvas.y.chunks_exact_mut(crop).for_each(<[u8]>::reverse);
                canvas.uv.chunks_exact_mut(crop / 2).for_each(<[u8]>::reverse);
            }
        }
        Ok(WithCuts { rendered, places, cuts })
    }

    /// Items that batches of `frames` frames are cut out of, with their size and number of frames.
    pub fn cut_items(&self, frames: usize) -> impl Iterator<Item = (usize, Size, usize)> {
        // Of a photo, more frames than one are rendered.
        let photos = self.photos.iter().copied().filter(move |_| frames == 1);
        photos.chain(self.clips.iter().map(|&(item, _)| item)).map(|item| {
            let entry = &self.set.entries()[item];
            (item, entry.size(), entry.frames)
        })
    }

    /// Frames of an item, as they lie in the data.
    pub fn frames_of(&self, item: usize) -> impl Iterator<Item = &[u8]> {
        (0..self.set.entries()[item].frames).map(move |t| self.set.frame(item, t))
    }

    /// Up to `count` centre crops, the same on every call: of photos for single frames, of clips
    /// otherwise. A clip is used more than once, at other times, where there are too few. Without
    /// any clip, photos with simulated motion take their place.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn validation_clips(&self, count: usize, frames: usize, crop: usize) -> Result<ClipBatch, DataError> {
        let photos = self.distinct_photos(crop);
        let clips: Vec<usize> = self.fitting_clips(frames, crop).into_iter().map(|(item, _)| item).collect();
        if photos.is_empty() && clips.is_empty() {
            return Err(self.too_small(frames, crop));
        }
        let from_photos = clips.is_empty() || (frames == 1 && !photos.is_empty());
        if from_photos {
            let count = count.min(photos.len());
            ClipBatch::check(count, frames, crop)?;
            let mut out = ClipBatch::new(count, frames, crop);
            for (&item, mut canvas) in photos.iter().zip(out.clips()) {
                if frames == 1 {
                    self.copy_centre(item, &[0], &mut canvas);
                } else {
                    let picture = self.picture(item);
                    motion::render(picture, picture, &mut canvas, &mut Rng::new(&[item as u64]));
                }
            }
            return Ok(out);
        }
        let rounds = count.div_ceil(clips.len());
        let mut starts: Vec<(usize, usize)> = Vec::new();
        for round in 0..rounds {
            for &item in &clips {
                let room = self.set.entries()[item].frames - frames;
                let start = (item, room * (2 * round + 1) / (2 * rounds));
                if !starts.contains(&start) {
                    starts.push(start);
                }
            }
        }
        starts.truncate(count);
        ClipBatch::check(starts.len(), frames, crop)?;
        let mut out = ClipBatch::new(starts.len(), frames, crop);
        for ((item, first), mut canvas) in starts.into_iter().zip(out.clips()) {
            let times: Vec<usize> = (first..first + frames).collect();
            self.copy_centre(item, &times, &mut canvas);
        }
        Ok(out)
    }

    /// As [`Sampler::validation_clips`], with the first of these `sides` for which the data have clips.
    ///
    /// # Errors
    /// As [`Sampler::sample`], for the last side.
    pub fn validation_clips_of(&self, count: usize, frames: usize, sides: &[usize]) -> Result<ClipBatch, DataError> {
        let mut found = Err(self.nothing("no side is asked for"));
        for &side in sides {
            found = self.validation_clips(count, frames, side);
            if found.is_ok() {
                break;
            }
        }
        found
    }

    fn fits(&self, item: usize, crop: usize) -> bool {
        self.set.entries()[item].size().short_side() >= crop
    }

    fn fitting_clips(&self, frames: usize, crop: usize) -> Vec<(usize, f32)> {
        let long = |item: usize| self.set.entries()[item].frames >= frames;
        let clips = self.clips.iter().copied();
        clips.filter(|&(item, _)| long(item) && self.fits(item, crop)).collect()
    }

    fn fitting_photos(&self, crop: usize) -> Vec<usize> {
        let photos = self.photos.iter().copied();
        photos.filter(|&item| self.fits(item, crop)).collect()
    }

    /// One version of each photo.
    fn distinct_photos(&self, crop: usize) -> Vec<usize> {
        let mut photos = self.fitting_photos(crop);
        let source = |&mut item: &mut usize| {
            let name = &self.set.entries()[item].name;
            name.rsplit_once('@').map_or(&name[..], |(source, _)| source)
        };
        photos.dedup_by(|a, b| source(a) == source(b));
        photos
    }

    fn picture(&self, item: usize) -> Picture<'_> {
        Picture { size: self.set.entries()[item].size(), frame: self.set.frame(item, 0) }
    }

    fn copy_centre(&self, item: usize, times: &[usize], canvas: &mut Canvas<'_>) {
        let entry = &self.set.entries()[item];
        let corner = [entry.width, entry.height].map(|side| (side - canvas.crop) / 4 * 2);
        self.copy(item, times, (corner[0], corner[1]), canvas);
    }

    /// Copies the window at an even (x, y) of the given frames.
    fn copy(&self, item: usize, times: &[usize], (x, y): (usize, usize), canvas: &mut Canvas<'_>) {
        let size = self.set.entries()[item].size();
        let (s, c) = (canvas.crop, canvas.crop / 2);
        let luma = canvas.y.chunks_exact_mut(s * s);
        let chroma = canvas.uv.chunks_exact_mut(2 * c * c);
        for ((&t, out_y), out_uv) in times.iter().zip(luma).zip(chroma) {
            let [py, pu, pv] = size.planes(self.set.frame(item, t));
            for (row, out) in out_y.chunks_exact_mut(s).enumerate() {
                out.copy_from_slice(py.row(x, y + row, s));
            }
            for (plane, out) in [pu, pv].iter().zip(out_uv.chunks_exact_mut(c * c)) {
                for (row, out) in out.chunks_exact_mut(c).enumerate() {
                    out.copy_from_slice(plane.row(x / 2, y / 2 + row, c));
                }
            }
        }
    }

    fn too_small(&self, frames: usize, crop: usize) -> DataError {
        self.nothing(&format!("no item has {frames} frames of {crop}x{crop} pixels"))
    }

    fn nothing(&self, what: &str) -> DataError {
        DataError::NothingFits {
            path: self.set.dir().to_owned(),
            reason: format!("{what} (split {:?}); ask for less, or prepare more sources", self.options.split),
        }
    }
}

impl ClipBatch {
    fn check(batch: usize, frames: usize, crop: usize) -> Result<(), DataError> {
        let bad = |option, reason: &str| Err(DataError::Option { option, reason: reason.to_owned() });
        if crop == 0 || !crop.is_multiple_of(64) || crop > 1024 {
            return bad("crop", "must be a multiple of 64 up to 1024");
        }
        if !(1..=1024).contains(&batch) {
            return bad("batch", "must lie between 1 and 1024");
        }
        if !(1..=256).contains(&frames) {
            return bad("frames", "must lie between 1 and 256");
        }
        Ok(())
    }

    fn new(batch: usize, frames: usize, crop: usize) -> Self {
        let luma = batch * frames * crop * crop;
        ClipBatch { batch, frames, crop, y: vec![0; luma], uv: vec![0; luma / 2] }
    }

    /// Each clip's part of the buffers.
    fn clips(&mut self) -> impl Iterator<Item = Canvas<'_>> {
        let (frames, crop) = (self.frames, self.crop);
        let luma = frames * crop * crop;
        let parts = self.y.chunks_exact_mut(luma).zip(self.uv.chunks_exact_mut(luma / 2));
        parts.map(move |(y, uv)| Canvas { frames, crop, y, uv })
    }
}

#[cfg(test)]
mod tests;
