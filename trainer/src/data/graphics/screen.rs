//! Documents, terminals and windows.

use tiny_skia::{Color, FillRule, Paint, PathBuilder, Pixmap, Rect, Stroke, Transform};

use super::text::{self, Style};
use super::{Scene, Sprite, TRAVEL, colour, paper, pixmap, velocity};
use crate::data::rng::Rng;

/// Chance of light letters on a dark page.
const DARK_CHANCE: f32 = 0.35;
/// Chance of a window or a pointer before the page.
const WINDOW_CHANCE: f32 = 0.35;
const POINTER_CHANCE: f32 = 0.3;

pub fn scene(crop: usize, rng: &mut Rng) -> Scene {
    let mut background = pixmap(crop + TRAVEL, crop + TRAVEL);
    page(&mut background, rng);
    let mut sprites = Vec::new();
    let place = |rng: &mut Rng| [0; 2].map(|_| rng.range(-0.2, 0.9) * crop as f32);
    if rng.chance(WINDOW_CHANCE) {
        let side = |rng: &mut Rng| (rng.range(0.3, 0.8) * crop as f32) as usize;
        let mut window = pixmap(side(rng), side(rng));
        page(&mut window, rng);
        frame(&mut window, rng);
        sprites.push(Sprite { picture: window, position: place(rng), velocity: velocity(rng) });
    }
    if rng.chance(POINTER_CHANCE) {
        sprites.push(Sprite { picture: pointer(rng), position: place(rng), velocity: velocity(rng) });
    }
    Scene { background, velocity: velocity(rng), sprites, whole: true }
}

/// Lines of text with boxes between them.
fn page(picture: &mut Pixmap, rng: &mut Rng) {
    let dark = rng.chance(DARK_CHANCE);
    picture.fill(paper(dark, rng));
    let ink = |rng: &mut Rng| if rng.chance(0.8) { paper(!dark, rng) } else { colour(rng) };
    let (width, height) = (picture.width() as f32, picture.height() as f32);
    let mut style = Style::random(ink(rng), rng);
    let margin = rng.range(2.0, 24.0);
    let mut y = rng.range(0.0, 12.0);
    while y < height {
        match rng.below(12) {
            0 => {
                // A picture, a button or a bar.
                let (w, h) = (rng.range(0.1, 0.9) * width, rng.range(6.0, 60.0));
                rectangle(picture, (margin, y, w, h), colour(rng), rng.chance(0.4).then_some(Color::BLACK));
                y += h + 4.0;
            }
            1 => y += style.line_height(),
            2 => style = Style::random(ink(rng), rng),
            _ => {
                let indent = style.unit * 6.0 * rng.below(4) as f32;
                let end = width - margin - if rng.chance(0.5) { rng.range(0.0, 0.6) * width } else { 0.0 };
                text::line(picture, (margin + indent, y), end, Style { colour: style.colour, ..style }, rng);
                y += style.line_height();
            }
        }
    }
}

/// A border and a bar with a title.
fn frame(window: &mut Pixmap, rng: &mut Rng) {
    let (width, height) = (window.width() as f32, window.height() as f32);
    let bar = rng.range(10.0, 20.0);
    rectangle(window, (0.0, 0.0, width, bar), colour(rng), None);
    let style = Style { unit: bar / 12.0, weight: 1.2, slant: 0.0, colour: paper(false, rng) };
    text::line(window, (4.0, bar * 0.2), width * 0.6, style, rng);
    let border = Rect::from_xywh(0.5, 0.5, width - 1.0, height - 1.0).expect("windows are not empty");
    let mut paint = Paint::default();
    paint.set_color(colour(rng));
    let stroke = Stroke { width: 1.0, ..Stroke::default() };
    window.stroke_path(&PathBuilder::from_rect(border), &paint, &stroke, Transform::identity(), None);
}

fn rectangle(picture: &mut Pixmap, (x, y, width, height): (f32, f32, f32, f32), fill: Color, edge: Option<Color>) {
    let Some(rect) = Rect::from_xywh(x.round(), y.round(), width.round().max(1.0), height.round().max(1.0)) else { return };
    let mut paint = Paint::default();
    paint.set_color(fill);
    picture.fill_rect(rect, &paint, Transform::identity(), None);
    if let Some(edge) = edge {
        paint.set_color(edge);
        picture.stroke_path(&PathBuilder::from_rect(rect), &paint, &Stroke::default(), Transform::identity(), None);
    }
}

/// An arrow.
fn pointer(rng: &mut Rng) -> Pixmap {
    let scale = rng.range(0.8, 2.0);
    let mut picture = pixmap((14.0 * scale) as usize, (20.0 * scale) as usize);
    let mut path = PathBuilder::new();
    path.move_to(1.0, 1.0);
    for (x, y) in [(1.0, 15.0), (4.5, 12.0), (7.0, 17.5), (9.0, 16.5), (6.8, 11.5), (11.0, 11.0)] {
        path.line_to(x, y);
    }
    path.close();
    let path = path.finish().expect("an arrow has corners");
    let transform = Transform::from_scale(scale, scale);
    let dark = rng.chance(0.5);
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color(paper(dark, rng));
    picture.fill_path(&path, &paint, FillRule::Winding, transform, None);
    paint.set_color(paper(!dark, rng));
    picture.stroke_path(&path, &paint, &Stroke::default(), transform, None);
    picture
}
