//! What the clips of a batch are made of.

use super::{ClipBatch, DataError, Sampler};
use crate::data::graphics;
use crate::data::motion::{self, Canvas};
use crate::data::resample::{Affine, shrink};
use crate::data::rng::Rng;

/// Chance of taking every second frame.
const SKIP_CHANCE: f32 = 0.25;
const REVERSE_CHANCE: f32 = 0.3;
/// Chance that a single frame is shrunk, and the largest factor.
const SHRINK_CHANCE: f32 = 0.5;
const SHRINK: f32 = 4.0 / 3.0;

/// A crop of whole samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub item: usize,
    /// Its frames, one for each of the clip.
    pub times: Vec<usize>,
    /// Left and top, both even, in luma pixels.
    pub corner: (usize, usize),
    /// Left and right change places.
    pub mirrored: bool,
}

/// A batch of which some clips are yet to be cut.
#[derive(Debug)]
pub struct WithCuts {
    /// The others, and their places in the batch.
    pub rendered: ClipBatch,
    pub places: Vec<usize>,
    /// Each with its place in the batch.
    pub cuts: Vec<(usize, Cut)>,
}

/// What a clip is made of.
pub(super) enum Source {
    /// Text, windows and cartoons.
    Graphics,
    /// Photos under a camera that moves.
    Moved {
        back: usize,
        front: usize,
    },
    /// A single frame.
    Shrunk {
        item: usize,
        time: usize,
        map: Affine,
    },
    Cut(Cut),
}

/// What clips of a size can be made of.
pub(super) struct Choice {
    clips: Vec<(usize, f32)>,
    photos: Vec<usize>,
    /// Part of photos in what is not drawn.
    share: f32,
}

impl Sampler {
    pub(super) fn choice(&self, frames: usize, crop: usize) -> Result<Choice, DataError> {
        let (clips, photos) = (self.fitting_clips(frames, crop), self.fitting_photos(crop));
        let share = match (clips.is_empty(), photos.is_empty()) {
            (true, true) => return Err(self.too_small(frames, crop)),
            (true, false) => 1.0,
            (false, true) => 0.0,
            (false, false) => self.options.photo_share,
        };
        Ok(Choice { clips, photos, share })
    }

    pub(super) fn draw(&self, choice: &Choice, frames: usize, crop: usize, rng: &mut Rng) -> Source {
        if self.options.graphics_share > 0.0 && rng.chance(self.options.graphics_share) {
            return Source::Graphics;
        }
        if !rng.chance(choice.share) {
            return self.clip(rng.choose_weighted(&choice.clips), frames, crop, rng);
        }
        let item = rng.choose(&choice.photos);
        match frames {
            1 => self.still(item, 0, crop, rng),
            _ => Source::Moved { back: item, front: rng.choose(&choice.photos) },
        }
    }

    fn clip(&self, item: usize, count: usize, crop: usize, rng: &mut Rng) -> Source {
        let entry = &self.set.entries()[item];
        if count == 1 {
            let time = rng.below(entry.frames);
            return self.still(item, time, crop, rng);
        }
        let skips = rng.chance(SKIP_CHANCE) && entry.frames >= 2 * count;
        let stride = if skips { 2 } else { 1 };
        let first = rng.below(entry.frames - (count - 1) * stride);
        let mut times: Vec<usize> = (0..count).map(|i| first + i * stride).collect();
        if rng.chance(REVERSE_CHANCE) {
            times.reverse();
        }
        self.cut(item, times, crop, rng)
    }

    /// A crop of one frame, shrunk now and then.
    fn still(&self, item: usize, time: usize, crop: usize, rng: &mut Rng) -> Source {
        let entry = &self.set.entries()[item];
        let most = (entry.size().short_side() as f32 / crop as f32).min(SHRINK);
        let scale = rng.range(1.0, most);
        if !rng.chance(SHRINK_CHANCE) || scale < 1.02 {
            return self.cut(item, vec![time], crop, rng);
        }
        let room = crop as f32 * scale;
        let corner = [entry.width, entry.height].map(|side| rng.range(0.0, side as f32 - room));
        let map = Affine { matrix: [[scale, 0.0], [0.0, scale]], offset: corner.map(|c| c + (scale - 1.0) / 2.0) };
        Source::Shrunk { item, time, map }
    }

    fn cut(&self, item: usize, times: Vec<usize>, crop: usize, rng: &mut Rng) -> Source {
        let entry = &self.set.entries()[item];
        let x = rng.below((entry.width - crop) / 2 + 1) * 2;
        let y = rng.below((entry.height - crop) / 2 + 1) * 2;
        Source::Cut(Cut { item, times, corner: (x, y), mirrored: false })
    }

    /// Everything but mirroring.
    pub(super) fn render(&self, source: &Source, canvas: &mut Canvas<'_>, rng: &mut Rng) {
        match source {
            Source::Graphics => graphics::draw(canvas, rng),
            Source::Moved { back, front } => motion::render(self.picture(*back), self.picture(*front), canvas, rng),
            Source::Shrunk { item, time, map } => {
                let crop = canvas.crop;
                let [y, u, v] = self.set.entries()[*item].size().planes(self.set.frame(*item, *time));
                shrink(y, map, canvas.y, crop);
                let (out_u, out_v) = canvas.uv.split_at_mut(crop * crop / 4);
                shrink(u, &map.chroma(), out_u, crop / 2);
                shrink(v, &map.chroma(), out_v, crop / 2);
            }
            Source::Cut(Cut { item, times, corner, .. }) => self.copy(*item, times, *corner, canvas),
        }
    }
}
