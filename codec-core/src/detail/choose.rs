//! What detail is worth, place by place.

use super::bands::{BANDS, Bands};
use super::map::DetailMap;
use crate::frame::Plane;
use crate::quality::QualityMap;

/// The values that are tried: from no detail to two and a half times the filter's own.
const TRIED: std::ops::RangeInclusive<i8> = DetailMap::NONE..=6;
/// Added to variances, in squared grey levels: differences between fainter textures than that are not seen.
const FLOOR: f32 = 4.0;
/// What an e-fold of the squared error is worth, in similarity of contrasts.
const ERROR_WEIGHT: f32 = 0.14;
/// Added to squared errors: good pictures can afford to be a little worse.
const ERROR_FLOOR: f32 = 60.0;
/// A cell keeps its value unless another is better by so much.
const INERTIA: f32 = 0.01;
/// Share that pictures before have in what is compared.
const MEMORY: f32 = 0.5;

/// Compares what the postfilter makes of a stream's pictures with the originals.
#[derive(Clone, Debug, Default)]
pub struct DetailChooser {
    original: Bands,
    decoded: Bands,
    shown: Bands,
    sums: Vec<CellSums>,
    values: Vec<i8>,
}

/// Means over a cell.
#[derive(Clone, Copy, Debug, Default)]
struct CellSums {
    /// Products of bands: original with itself, decoded with itself, decoded with what the filter adds, that with itself.
    bands: [[f32; 4]; BANDS],
    /// Products of samples: the error without filter with itself, that with what the filter adds, that with itself.
    error: [f32; 3],
}

impl DetailChooser {
    /// Forgets the pictures before.
    pub fn reset(&mut self) {
        self.sums.clear();
        self.values.clear();
    }

    /// The map that brings contrasts near to the original's without much more error. Planes of luma at coded size, of which `display` is
    /// seen: the original, the decoded picture, and the filter's picture of the whole strength everywhere.
    pub fn choose(&mut self, original: &Plane, decoded: &Plane, shown: &Plane, display: (usize, usize)) -> DetailMap {
        let seen = [display.1, display.0].map(|length| length.div_ceil(QualityMap::CELL));
        self.sums.resize(seen[0] * seen[1], CellSums::default());
        let fresh = self.values.is_empty();
        self.values.resize(self.sums.len(), 0);
        for cell in 0..self.sums.len() {
            let place = (cell / seen[1], cell % seen[1]);
            if place.1 == 0 {
                let (rows, _) = visible(place, display);
                self.original.load(original, rows.clone(), display);
                self.decoded.load(decoded, rows.clone(), display);
                self.shown.load(shown, rows, display);
            }
            let mut now = self.bands_of(place, display);
            now.error = errors([original, decoded, shown], place, display);
            if !fresh {
                now = now.mixed(&self.sums[cell]);
            }
            self.sums[cell] = now;
            let last = self.values[cell];
            let keeps = if fresh { f32::INFINITY } else { now.cost(last) - INERTIA };
            let best = TRIED.map(|value| (now.cost(value), value)).min_by(|a, b| a.0.total_cmp(&b.0)).expect("some are tried");
            if best.0 < keeps {
                self.values[cell] = best.1;
            }
        }
        // What nobody sees goes on as its neighbour, so that it costs nothing.
        let zero = QualityMap::zero(display.0 as u32, display.1 as u32);
        let cols = zero.size().1;
        let value = |cell: usize| self.values[(cell / cols).min(seen[0] - 1) * seen[1] + (cell % cols).min(seen[1] - 1)];
        DetailMap::new(zero.changed(|cell, _| value(cell).into()))
    }

    fn bands_of(&self, place: (usize, usize), display: (usize, usize)) -> CellSums {
        let mut sums = CellSums::default();
        let (rows, cols) = visible(place, display);
        let count = (rows.len() * cols.len()) as f32;
        for (band, sums) in sums.bands.iter_mut().enumerate() {
            for row in rows.clone() {
                let parts = [&self.original, &self.decoded, &self.shown].map(|picture| picture.part(band, row, cols.clone()));
                let [original, decoded, shown] = parts;
                for ((&o, &a), &s) in original.iter().zip(decoded).zip(shown) {
                    let d = s - a;
                    for (sum, product) in sums.iter_mut().zip([o * o, a * a, a * d, d * d]) {
                        *sum += product;
                    }
                }
            }
            sums.iter_mut().for_each(|sum| *sum /= count);
        }
        sums
    }
}

/// Rows and columns of a cell that are seen.
fn visible((row, col): (usize, usize), (width, height): (usize, usize)) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    let inside = |cell: usize, end: usize| cell * QualityMap::CELL..((cell + 1) * QualityMap::CELL).min(end);
    (inside(row, height), inside(col, width))
}

/// [`CellSums::error`] of a cell of the original, the decoded and the shown plane.
fn errors([original, decoded, shown]: [&Plane; 3], place: (usize, usize), display: (usize, usize)) -> [f32; 3] {
    let (rows, cols) = visible(place, display);
    let count = (rows.len() * cols.len()) as f32;
    let mut sums = [0i64; 3];
    for row in rows {
        let [original, decoded, shown] = [original, decoded, shown].map(|plane| &plane.row(row)[cols.clone()]);
        for ((&o, &a), &s) in original.iter().zip(decoded).zip(shown) {
            let (e, d) = (i64::from(o) - i64::from(a), i64::from(s) - i64::from(a));
            sums[0] += e * e;
            sums[1] += e * d;
            sums[2] += d * d;
        }
    }
    sums.map(|sum| sum as f32 / count)
}

impl CellSums {
    /// These and, with their share, those of the pictures before.
    fn mixed(&self, before: &Self) -> Self {
        let mix = |now: f32, before: f32| (1.0 - MEMORY) * now + MEMORY * before;
        let mut sums = *self;
        for (band, before) in sums.bands.iter_mut().flatten().zip(before.bands.iter().flatten()) {
            *band = mix(*band, *before);
        }
        for (error, before) in sums.error.iter_mut().zip(before.error) {
            *error = mix(*error, before);
        }
        sums
    }

    /// Of a value of the map: less where contrasts are more like the original's (SSIM's contrast term, band by band), more where the error
    /// grows.
    fn cost(&self, value: i8) -> f32 {
        let m = DetailMap::factor(value);
        let contrast = |[original, decoded, both, added]: [f32; 4]| {
            let shown = (decoded + 2.0 * m * both + m * m * added).max(0.0);
            (2.0 * (original * shown).sqrt() + FLOOR) / (original + shown + FLOOR)
        };
        let similarity = self.bands.iter().map(|&band| contrast(band)).sum::<f32>() / BANDS as f32;
        let [error, both, added] = self.error;
        let error = (error - 2.0 * m * both + m * m * added).max(0.0);
        ERROR_WEIGHT * (ERROR_FLOOR + error).ln() - similarity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Left texture of the given contrast, right none.
    fn picture(contrast: u8) -> Plane {
        let mut plane = Plane::new(128, 64);
        for row in 0..64 {
            for (x, sample) in plane.row_mut(row).iter_mut().enumerate() {
                *sample = 100 + if x < 64 && (row / 2 + x / 2) % 2 == 1 { contrast } else { 0 };
            }
        }
        plane
    }

    /// A weave of the given contrast everywhere, on top of [`picture`].
    fn woven(contrast: u8, weave: u8) -> Plane {
        let mut plane = picture(contrast);
        for row in 0..64 {
            plane.row_mut(row).iter_mut().enumerate().for_each(|(x, s)| *s += weave * ((row / 2 + x / 2) % 2) as u8);
        }
        plane
    }

    fn row(map: &DetailMap) -> Vec<i8> {
        map.values().values()[..4].to_vec()
    }

    #[test]
    fn detail_goes_where_the_original_has_it() {
        // The filter adds half of what is missing on the left, and what was never there on the right.
        let map = DetailChooser::default().choose(&picture(20), &picture(12), &woven(12, 4), (128, 64));
        let [far_left, left, right, far_right] = row(&map)[..] else { unreachable!("four cells in a row") };
        assert_eq!([far_left, left, far_right], [4, 4, DetailMap::NONE]);
        // Wide bands reach over the border.
        assert!(right <= -3, "{right}");
    }

    #[test]
    fn small_gains_leave_the_map_as_it_is() {
        let mut chooser = DetailChooser::default();
        let first = chooser.choose(&picture(20), &picture(12), &woven(12, 4), (128, 64));
        let second = chooser.choose(&picture(21), &picture(12), &woven(12, 4), (128, 64));
        assert_eq!(first, second);
        for _ in 0..4 {
            chooser.choose(&picture(12), &picture(12), &woven(12, 4), (128, 64));
        }
        let later = chooser.choose(&picture(12), &picture(12), &woven(12, 4), (128, 64));
        assert!(row(&later)[0] < row(&first)[0], "{later:?}");
    }

    #[test]
    fn what_nobody_sees_is_like_its_neighbour() {
        let map = DetailChooser::default().choose(&picture(20), &picture(12), &woven(12, 4), (90, 20));
        let values = map.values().values();
        assert_eq!(values[..4], values[4..]);
        assert_eq!((values[0], values[3]), (4, values[2]));
    }
}
