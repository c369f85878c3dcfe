//! Drawn clips: pages of text, windows and cartoons, which photos and filmed clips hold too little of.
//!
//! A scene is a background that scrolls and some sprites before it. Screens move by whole pixels, so that text keeps its edges, and
//! cartoons by any distance. All of it is drawn anew for each sample.

mod cartoon;
mod screen;
mod text;

use tiny_skia::{Color, FilterQuality, Pixmap, PixmapPaint, Transform};

use super::i420::{self, Size};
use super::motion::Canvas;
use super::rng::Rng;

/// Chance of a cartoon; other clips show screens.
const CARTOON_CHANCE: f32 = 0.4;
/// Chance that the background stands still.
const STILL_CHANCE: f32 = 0.4;
/// Largest speed of a background or a sprite in pixels a frame.
const SPEED: f32 = 8.0;
/// How far a background may travel in a clip, in pixels; what travels further stops there, as a page does at its end.
const TRAVEL: usize = 96;

/// Something that moves before the background.
struct Sprite {
    picture: Pixmap,
    /// Of the upper left corner in the first frame.
    position: [f32; 2],
    /// Pixels a frame.
    velocity: [f32; 2],
}

/// What a clip shows.
struct Scene {
    /// Larger than the view by [`TRAVEL`] on both axes.
    background: Pixmap,
    velocity: [f32; 2],
    sprites: Vec<Sprite>,
    /// Things move by whole pixels.
    whole: bool,
}

/// Draws a clip.
pub fn draw(canvas: &mut Canvas<'_>, rng: &mut Rng) {
    let crop = canvas.crop;
    let scene = if rng.chance(CARTOON_CHANCE) { cartoon::scene(crop, rng) } else { screen::scene(crop, rng) };
    let size = Size::new(crop, crop);
    let luma = canvas.y.chunks_exact_mut(crop * crop);
    let chroma = canvas.uv.chunks_exact_mut(crop * crop / 2);
    for (t, (y, uv)) in luma.zip(chroma).enumerate() {
        let frame = scene.frame(t, crop);
        let rgb: Vec<u8> = frame.data().chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        let planes = i420::from_rgb(&rgb, size);
        y.copy_from_slice(&planes[..crop * crop]);
        uv.copy_from_slice(&planes[crop * crop..]);
    }
}

impl Scene {
    /// A view of `crop` x `crop` pixels.
    fn frame(&self, t: usize, crop: usize) -> Pixmap {
        let mut view = pixmap(crop, crop);
        // From the middle of the travel in each direction that it may take.
        let start = self.velocity.map(|v| if v < 0.0 { TRAVEL as f32 } else { 0.0 });
        let at = [0, 1].map(|i| -(start[i] + self.velocity[i] * t as f32).clamp(0.0, TRAVEL as f32));
        self.put(&mut view, &self.background, at);
        for sprite in &self.sprites {
            let at = [0, 1].map(|i| sprite.position[i] + sprite.velocity[i] * t as f32);
            self.put(&mut view, &sprite.picture, at);
        }
        view
    }

    fn put(&self, view: &mut Pixmap, picture: &Pixmap, [x, y]: [f32; 2]) {
        let (x, y) = if self.whole { (x.round(), y.round()) } else { (x, y) };
        let quality = if self.whole { FilterQuality::Nearest } else { FilterQuality::Bicubic };
        let paint = PixmapPaint { quality, ..PixmapPaint::default() };
        view.draw_pixmap(0, 0, picture.as_ref(), &paint, Transform::from_translate(x, y), None);
    }
}

/// An empty picture.
fn pixmap(width: usize, height: usize) -> Pixmap {
    Pixmap::new(width as u32, height as u32).expect("sides are positive and small")
}

/// A speed in both directions, most often along one axis.
fn velocity(rng: &mut Rng) -> [f32; 2] {
    if rng.chance(STILL_CHANCE) {
        return [0.0; 2];
    }
    let along = rng.range(-SPEED, SPEED);
    match rng.below(4) {
        0 => [along, 0.0],
        1 => [along, rng.range(-SPEED, SPEED)],
        _ => [0.0, along],
    }
}

/// Any colour.
fn colour(rng: &mut Rng) -> Color {
    let mut level = || rng.unit();
    Color::from_rgba(level(), level(), level(), 1.0).expect("levels lie in 0..1")
}

/// Nearly white or nearly black.
fn paper(dark: bool, rng: &mut Rng) -> Color {
    let mut level = || if dark { 0.18 * rng.unit() } else { 1.0 - 0.12 * rng.unit() };
    Color::from_rgba(level(), level(), level(), 1.0).expect("levels lie in 0..1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64, frames: usize) -> (Vec<u8>, Vec<u8>) {
        const CROP: usize = 64;
        let (mut y, mut uv) = (vec![0; frames * CROP * CROP], vec![0; frames * CROP * CROP / 2]);
        draw(&mut Canvas { frames, crop: CROP, y: &mut y, uv: &mut uv }, &mut Rng::new(&[seed]));
        (y, uv)
    }

    #[test]
    fn clips_depend_on_the_seed_alone_and_hold_limited_range() {
        let mut busy = 0;
        for seed in 0..40 {
            let (y, uv) = drawn(seed, 3);
            assert_eq!((&y, &uv), (&drawn(seed, 3).0, &drawn(seed, 3).1));
            assert!(y.iter().all(|v| (16..=235).contains(v)) && uv.iter().all(|v| (16..=240).contains(v)), "{seed}");
            let (least, most) = (y.iter().min().unwrap(), y.iter().max().unwrap());
            busy += usize::from(most - least > 60);
        }
        assert!(busy > 30, "{busy} of 40 clips show anything");
        assert_ne!(drawn(1, 1), drawn(2, 1));
    }

    #[test]
    fn some_clips_move_and_some_stand_still() {
        let moving = (0..40).filter(|&seed| {
            let (y, _) = drawn(seed, 2);
            y[..64 * 64] != y[64 * 64..]
        });
        assert!((8..36).contains(&moving.count()));
    }

    #[test]
    fn screens_move_by_whole_pixels() {
        let mut background = pixmap(64 + TRAVEL, 64 + TRAVEL);
        for (i, byte) in background.data_mut().iter_mut().enumerate() {
            *byte = if i % 4 == 3 { 255 } else { ((i * 37) >> 3) as u8 };
        }
        let scene = Scene { background, velocity: [0.0, 2.4], sprites: Vec::new(), whole: true };
        let (first, later) = (scene.frame(0, 64), scene.frame(1, 64));
        assert_eq!(first.data()[2 * 64 * 4..], later.data()[..62 * 64 * 4]);
    }
}
