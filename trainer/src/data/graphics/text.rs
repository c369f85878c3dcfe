//! Text in a hand-made alphabet of strokes: what matters is how letters look to a codec, not what they say.

use tiny_skia::{Color, LineCap, LineJoin, Paint, PathBuilder, Pixmap, Stroke, Transform};

use crate::data::rng::Rng;

/// Strokes of the letters from a to z and of some capitals and digits. Each pair of digits is a point: the column, 0 to 4, and the
/// row, 0 (the top of tall letters) to 8, with the baseline at 6.
const GLYPHS: [&str; 40] = [
    "42120305163645 4246",
    "0006 03123243453616 05",
    "421203051646",
    "4046 433212030516 3645",
    "0444433212030516 46",
    "40302126 0343",
    "42473808 433212030516 3645",
    "0006 0312324346",
    "2226 2021",
    "32372808 3031",
    "0006 420446",
    "10202636",
    "0206 03122326 23324346",
    "0206 0312324346",
    "123243453616050312",
    "0208 03123243453616 05",
    "4248 433212030516 3645",
    "0206 031242",
    "42120314344536 06",
    "20253646 0242",
    "0205163645 4246",
    "022642",
    "0216233642",
    "0246 4206",
    "0226 4208",
    "02420646",
    // A, E, H, L, N, R, T
    "062046 1434",
    "40000646 0333",
    "0006 4046 0343",
    "000646",
    "06004640",
    "06003041423303 2346",
    "0040 2026",
    // 0, 1, 2, 4, 7 and signs
    "103041453616050110",
    "112026 1636",
    "0110304142 0646 4206",
    "36300444",
    "004016",
    "2026",
    "1434",
];
/// Columns from one letter to the next, and rows from one line to the next, of the grid that glyphs are drawn on.
const ADVANCE: f32 = 5.6;
const LINE: f32 = 12.0;

/// How a text looks.
#[derive(Clone, Copy)]
pub struct Style {
    /// Height of a row of the glyphs' grid in pixels.
    pub unit: f32,
    /// Width of a stroke, in the same units.
    pub weight: f32,
    /// Columns to the right for each row up.
    pub slant: f32,
    pub colour: Color,
}

impl Style {
    /// Letters from 7 to some 30 pixels high.
    pub fn random(colour: Color, rng: &mut Rng) -> Self {
        let unit = if rng.chance(0.7) { rng.range(0.9, 1.8) } else { rng.range(1.8, 4.0) };
        let slant = if rng.chance(0.15) { 0.25 } else { 0.0 };
        Self { unit, weight: rng.range(0.7, 1.6), slant, colour }
    }

    /// From one line to the next, in pixels.
    pub fn line_height(&self) -> f32 {
        LINE * self.unit
    }
}

/// Writes random words from (`x`, `y`) on, `y` being the top of the line, until `end`.
pub fn line(picture: &mut Pixmap, (x, y): (f32, f32), end: f32, style: Style, rng: &mut Rng) {
    let mut path = PathBuilder::new();
    let advance = ADVANCE * style.unit;
    let mut at = x;
    while at < end {
        for _ in 0..1 + rng.below(9) {
            if at + advance > end {
                break;
            }
            glyph(&mut path, rng.choose(&GLYPHS), (at, y), style);
            at += advance;
        }
        at += advance;
    }
    let Some(path) = path.finish() else { return };
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color(style.colour);
    let stroke =
        Stroke { width: style.weight * style.unit, line_cap: LineCap::Round, line_join: LineJoin::Round, ..Stroke::default() };
    picture.stroke_path(&path, &paint, &stroke, Transform::identity(), None);
}

fn glyph(path: &mut PathBuilder, strokes: &str, (x, y): (f32, f32), style: Style) {
    for stroke in strokes.split(' ') {
        for (i, point) in stroke.as_bytes().chunks_exact(2).enumerate() {
            let [col, row] = [point[0], point[1]].map(|digit| f32::from(digit - b'0'));
            let at = (x + style.unit * (col + style.slant * (6.0 - row)), y + style.unit * row);
            if i == 0 { path.move_to(at.0, at.1) } else { path.line_to(at.0, at.1) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glyphs_are_points_of_the_grid() {
        for strokes in GLYPHS {
            for stroke in strokes.split(' ') {
                assert!(stroke.len() >= 2 && stroke.len() % 2 == 0, "{strokes}");
                let points = stroke.as_bytes().chunks_exact(2);
                assert!(points.into_iter().all(|p| (b'0'..=b'4').contains(&p[0]) && (b'0'..=b'8').contains(&p[1])), "{strokes}");
            }
        }
    }

    #[test]
    fn a_line_stays_within_its_ends() {
        let mut picture = Pixmap::new(200, 40).unwrap();
        let style = Style { unit: 2.0, weight: 1.0, slant: 0.0, colour: Color::BLACK };
        line(&mut picture, (20.0, 10.0), 150.0, style, &mut Rng::new(&[1]));
        let inked = |x: usize, y: usize| picture.data()[4 * (y * 200 + x) + 3] > 0;
        let columns: Vec<usize> = (0..200).filter(|&x| (0..40).any(|y| inked(x, y))).collect();
        assert!(columns.len() > 60 && columns[0] >= 17 && *columns.last().unwrap() < 153, "{columns:?}");
    }
}
