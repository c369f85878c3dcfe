//! Choosing windows of the sources so that a data folder stays below a given size.

use super::i420::{Rect, Size};
use super::rng::Rng;

/// Part of the budget that goes to clips.
const CLIP_SHARE: f64 = 0.7;
/// Window side and frames of a clip excerpt, best first; the first that lets every clip have one is
/// taken.
const CLIP_SHAPES: [(usize, usize); 3] = [(256, 24), (256, 16), (192, 16)];
const PHOTO_SIDE: usize = 256;
/// Per item, for headers and the index.
const OVERHEAD: u64 = 512;

/// An excerpt of a clip: `frames` are positions in the scene's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    pub scene: usize,
    pub first: usize,
    pub frames: usize,
    pub window: Rect,
}

/// Spends a byte budget evenly over a known number of sources. What a short source leaves is spent
/// on the next ones.
#[derive(Debug)]
pub struct Budget {
    total: f64,
    sources: f64,
    seen: f64,
    used: u64,
    shape: (usize, usize),
}

impl Budget {
    /// The budgets for clips and for photos. Either has all if there are no sources of the other
    /// kind.
    pub fn split(max_size: u64, clips: usize, photos: usize) -> (Budget, Budget) {
        let share = match (clips, photos) {
            (_, 0) => 1.0,
            (0, _) => 0.0,
            _ => CLIP_SHARE,
        };
        let budget = |total: f64, sources: usize, shapes: &[(usize, usize)]| {
            let each = total / sources.max(1) as f64;
            let fits = |&(side, frames): &(usize, usize)| each >= cost(side, frames) as f64;
            let shape = shapes.iter().copied().find(fits);
            Budget { total, sources: sources.max(1) as f64, seen: 0.0, used: 0, shape: shape.unwrap_or(shapes[shapes.len() - 1]) }
        };
        let total = max_size as f64;
        (budget(total * share, clips, &CLIP_SHAPES), budget(total * (1.0 - share), photos, &[(PHOTO_SIDE, 1)]))
    }

    /// Whether another excerpt of `bytes` fits in what this source and the ones before may use.
    fn take(&mut self, bytes: u64) -> bool {
        let allowed = self.total * self.seen / self.sources;
        let fits = (self.used + bytes) as f64 <= allowed;
        if fits {
            self.used += bytes;
        }
        fits
    }

    /// Excerpts of the next clip: scenes of the given lengths in pictures of size `size`. They are
    /// spread over time first, then over the picture.
    pub fn clip(&mut self, size: Size, scenes: &[usize], rng: &mut Rng) -> Vec<Excerpt> {
        self.seen += 1.0;
        let (side, length) = self.shape;
        let mut segments: Vec<(usize, usize, usize)> = Vec::new();
        for (scene, &frames) in scenes.iter().enumerate() {
            let count = (frames / length).max(1);
            let each = frames.min(length);
            segments.extend((0..count).map(|k| {
                let room = frames - each;
                (scene, room * k / (count - 1).max(1), each)
            }));
        }
        rng.shuffle(&mut segments);
        let windows = windows(size, side, rng);
        let mut out = Vec::new();
        for pass in 0..windows.len() {
            for (i, &(scene, first, frames)) in segments.iter().enumerate() {
                let window = windows[(pass + i) % windows.len()];
                let bytes = (window.size.bytes() * frames) as u64 + OVERHEAD;
                if !self.take(bytes) {
                    return out;
                }
                out.push(Excerpt { scene, first, frames, window });
            }
        }
        out
    }

    /// Windows of the next photo.
    pub fn photo(&mut self, size: Size, rng: &mut Rng) -> Vec<Rect> {
        self.seen += 1.0;
        let mut windows = windows(size, self.shape.0, rng);
        let fitting = windows.iter().take_while(|w| self.take(w.size.bytes() as u64 + OVERHEAD)).count();
        windows.truncate(fitting);
        windows
    }
}

fn cost(side: usize, frames: usize) -> u64 {
    (Size::new(side, side).bytes() * frames) as u64 + OVERHEAD
}

/// Windows of `side` (or less, where the picture is smaller) that cover the picture, shuffled.
fn windows(size: Size, side: usize, rng: &mut Rng) -> Vec<Rect> {
    let spread = |length: usize| {
        let each = length.min(side);
        let count = length.div_ceil(each.max(1)).max(1);
        let room = length - each;
        (0..count).map(move |k| (room * k / (count - 1).max(1) / 2 * 2, each))
    };
    let mut out: Vec<Rect> = spread(size.height)
        .flat_map(|(y, height)| spread(size.width).map(move |(x, width)| Rect { x, y, size: Size::new(width, height) }))
        .collect();
    rng.shuffle(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(excerpts: &[Excerpt]) -> u64 {
        excerpts.iter().map(|e| (e.window.size.bytes() * e.frames) as u64).sum()
    }

    #[test]
    fn stays_below_and_near_the_budget() {
        let mut rng = Rng::new(&[1]);
        let size = Size::new(640, 360);
        for max in [20_000_000, 100_000_000, 400_000_000] {
            let (mut clips, mut photos) = Budget::split(max, 30, 100);
            let mut used = 0;
            for _ in 0..30 {
                used += bytes(&clips.clip(size, &[90, 40], &mut rng));
            }
            assert!(used as f64 <= max as f64 * CLIP_SHARE, "{used} of {max}");
            assert!(used as f64 >= max as f64 * CLIP_SHARE * 0.8, "{used} of {max}");
            let picture = Size::new(1080, 720);
            let count = (0..100).map(|_| photos.photo(picture, &mut rng).len()).sum::<usize>();
            let used = (count * Size::new(256, 256).bytes()) as f64;
            assert!(used <= max as f64 * 0.3 && used > 0.0, "{used} of {max}");
        }
    }

    #[test]
    fn excerpts_lie_inside_and_differ() {
        let mut rng = Rng::new(&[2]);
        let size = Size::new(480, 264);
        let scenes = [10, 61];
        let (mut clips, _) = Budget::split(60_000_000, 1, 0);
        let excerpts = clips.clip(size, &scenes, &mut rng);
        assert!(excerpts.len() > 3);
        for (i, e) in excerpts.iter().enumerate() {
            assert!(e.first + e.frames <= scenes[e.scene]);
            assert!(e.window.x + e.window.size.width <= size.width);
            assert!(e.window.y + e.window.size.height <= size.height);
            assert!(e.window.x % 2 == 0 && e.window.y % 2 == 0);
            assert!(!excerpts[..i].contains(e), "{e:?} twice");
        }
    }

    #[test]
    fn window_of_a_small_picture_is_the_picture() {
        let size = Size::new(192, 160);
        let found = windows(size, 256, &mut Rng::new(&[3]));
        assert_eq!(found, [size.rect()]);
    }
}
