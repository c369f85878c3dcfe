//! Flat or shaded shapes with outlines.

use tiny_skia::{
    Color, FillRule, GradientStop, LinearGradient, Paint, Path, PathBuilder, Pixmap, Point, Rect, Shader, SpreadMode, Stroke,
    Transform,
};

use super::{Scene, Sprite, TRAVEL, colour, pixmap, velocity};
use crate::data::rng::Rng;

/// Chance that a shape is shaded rather than flat, and that it has an outline.
const SHADE_CHANCE: f32 = 0.4;
const OUTLINE_CHANCE: f32 = 0.6;

pub fn scene(crop: usize, rng: &mut Rng) -> Scene {
    let side = crop + TRAVEL;
    let mut background = pixmap(side, side);
    background.fill(colour(rng));
    if rng.chance(0.5) {
        let paint = Paint { shader: shader(side as f32, true, rng), ..Paint::default() };
        background.fill_rect(
            Rect::from_xywh(0.0, 0.0, side as f32, side as f32).expect("not empty"),
            &paint,
            Transform::identity(),
            None,
        );
    }
    for _ in 0..3 + rng.below(14) {
        let size = rng.range(0.05, 0.6) * side as f32;
        let corner = [0; 2].map(|_| rng.range(-0.2, 1.0) * side as f32);
        shape(&mut background, size, corner, rng);
    }
    let sprites = (0..rng.below(4))
        .map(|_| {
            let size = rng.range(0.15, 0.6) * crop as f32;
            let mut picture = pixmap(size as usize + 8, size as usize + 8);
            // A body and what is on it.
            shape(&mut picture, size, [4.0; 2], rng);
            for _ in 0..rng.below(6) {
                let corner = [0; 2].map(|_| rng.range(0.1, 0.7) * size);
                shape(&mut picture, rng.range(0.06, 0.3) * size, corner, rng);
            }
            let position = [0; 2].map(|_| rng.range(-0.2, 0.8) * crop as f32);
            Sprite { picture, position, velocity: velocity(rng) }
        })
        .collect();
    Scene { background, velocity: velocity(rng), sprites, whole: false }
}

/// Draws a shape of a size in pixels at its upper left corner.
fn shape(picture: &mut Pixmap, size: f32, [x, y]: [f32; 2], rng: &mut Rng) {
    let Some(path) = outline(size, rng) else { return };
    let transform = Transform::from_translate(x, y);
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.shader = shader(size, rng.chance(SHADE_CHANCE), rng);
    picture.fill_path(&path, &paint, FillRule::Winding, transform, None);
    if rng.chance(OUTLINE_CHANCE) {
        let dark = rng.range(0.0, 0.25);
        paint.set_color(Color::from_rgba(dark, dark, dark, 1.0).expect("dark lies in 0..1"));
        let stroke = Stroke { width: rng.range(0.6, 4.0), ..Stroke::default() };
        picture.stroke_path(&path, &paint, &stroke, transform, None);
    }
}

/// An oval, a rectangle, a polygon or a smooth blob within a square.
fn outline(size: f32, rng: &mut Rng) -> Option<Path> {
    let rect = Rect::from_xywh(0.0, size * rng.range(0.0, 0.4), size, size * rng.range(0.3, 0.6))?;
    match rng.below(4) {
        0 => PathBuilder::from_oval(rect),
        1 => Some(PathBuilder::from_rect(rect)),
        kind => {
            let corners = 3 + rng.below(6);
            let turn = rng.range(0.0, std::f32::consts::TAU);
            let points: Vec<(f32, f32)> = (0..corners)
                .map(|i| {
                    let angle = turn + std::f32::consts::TAU * i as f32 / corners as f32;
                    let radius = size / 2.0 * rng.range(0.5, 1.0);
                    (size / 2.0 + radius * angle.cos(), size / 2.0 + radius * angle.sin())
                })
                .collect();
            let mut path = PathBuilder::new();
            let middle = |a: (f32, f32), b: (f32, f32)| ((a.0 + b.0) / 2.0, (a.1 + b.1) / 2.0);
            let start = if kind == 2 { points[0] } else { middle(points[corners - 1], points[0]) };
            path.move_to(start.0, start.1);
            for (i, &point) in points.iter().enumerate() {
                if kind == 2 {
                    path.line_to(point.0, point.1);
                } else {
                    let end = middle(point, points[(i + 1) % corners]);
                    path.quad_to(point.0, point.1, end.0, end.1);
                }
            }
            path.close();
            path.finish()
        }
    }
}

/// One colour, or two that run into each other.
fn shader(size: f32, shaded: bool, rng: &mut Rng) -> Shader<'static> {
    let first = colour(rng);
    if !shaded {
        return Shader::SolidColor(first);
    }
    let angle = rng.range(0.0, std::f32::consts::TAU);
    let end = Point::from_xy(size * (0.5 + angle.cos()), size * (0.5 + angle.sin()));
    let stops = vec![GradientStop::new(0.0, first), GradientStop::new(1.0, colour(rng))];
    let start = Point::from_xy(size * 0.5, size * 0.5);
    LinearGradient::new(start, end, stops, SpreadMode::Pad, Transform::identity()).unwrap_or(Shader::SolidColor(first))
}
