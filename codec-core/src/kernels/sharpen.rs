//! The postfilter's work on the samples: luma is sharpened by a coarse map of strengths, gets texture, and keeps detail that was shown
//! before.

use std::ops::Range;

use super::check_len;
pub use super::detail::BANDS;
use super::detail::Detail;
use super::parallel::{for_bands, split_rows, take_front};
use super::simd::{multiversion, whole_to_u32};
use super::texture::{CELL, Texture};
use super::upsample::Component;
use crate::frame::Plane;
use crate::integer::Area;
use crate::{Error, Result};

/// Channels of the map: strengths of the bands, and what is added to each sample of a cell.
pub const CHANNELS: usize = BANDS + CELL * CELL;

/// out = luma + a * fine(luma) + b * coarse(luma) + smooth(texture) + c * fine(past - luma) + d * coarse(past - luma), rounded to 8
/// bits. Here fine(x) is x - blur3(x), and coarse(x) is blur3(x) - blur5(x). The blurs are binomial, 3x3 and 5x5, and smooth has
/// [`SMOOTHING`](super::texture::SMOOTHING); all repeat the border.
///
/// `map` is NHWC `[H/8][W/8][66]`: a and b, upsampled bilinearly (pixel centres aligned), and the texture of each cell row by
/// row, 1 for the range of the samples. With a `past`, `[H/8][W/8][68]`: c and d follow. What is no number counts as 0. Sides
/// are multiples of 8. Rows of cells that `area` leaves out altogether stay as they are in `out`. Up to `threads` threads work on bands of
/// rows; the result does not depend on how many.
///
/// # Errors
/// [`crate::Error::InvalidConfig`] if `map` or `past` has another size.
///
/// # Panics
/// If `out` is smaller than `luma`.
pub fn sharpen(luma: &Plane, past: Option<&Plane>, (map, area): (&[f32], &Area), out: &mut Plane, threads: usize) -> Result<()> {
    let (width, height) = (luma.width, luma.height);
    if let Some(past) = past.filter(|past| (past.width, past.height) != (width, height)) {
        return Err(Error::InvalidConfig(format!("luma of {width}x{height} and a past of {}x{}", past.width, past.height)));
    }
    let (rows, cols) = (height / CELL, width / CELL);
    let channels = CHANNELS + if past.is_some() { BANDS } else { 0 };
    check_len("map of sharpening", map.len(), rows, cols, channels)?;
    let map = Map { values: map, channels, rows, cols };
    let job = Job { luma, map, own: map.bands(0), past: past.map(|past| (past, map.bands(CHANNELS))) };
    let mut rest = &mut out.data[..width * height];
    let bands = split_rows(height, CELL, BANDS_PER_THREAD * threads);
    for_bands(threads, bands.map(|rows| (take_front(&mut rest, rows.len() * width), rows)), |(out, rows)| {
        let in_area = |row: &usize| area.row(row / CELL).next().is_some();
        let mut row = rows.start;
        while let Some(start) = (row..rows.end).find(in_area) {
            row = (start..rows.end).find(|row| !in_area(row)).unwrap_or(rows.end);
            job.run(start..row, &mut out[(start - rows.start) * width..(row - rows.start) * width]);
        }
    });
    Ok(())
}

/// Work is split finer than there are threads, so that none waits long for another.
const BANDS_PER_THREAD: usize = 2;

/// What all rows have in common.
struct Job<'a> {
    luma: &'a Plane,
    map: Map<'a>,
    own: [Component; BANDS],
    /// With the strengths of what is carried on.
    past: Option<(&'a Plane, [Component; BANDS])>,
}

impl Job<'_> {
    /// Makes some rows of the output.
    fn run(&self, rows: Range<usize>, out: &mut [u8]) {
        let (luma, width, height) = (self.luma, self.luma.width, self.luma.height);
        let mut texture = Texture::new(width, height, rows.start);
        let mut own = Detail::new(width, height, rows.start, &self.own);
        let mut carried = self.past.as_ref().map(|(past, strengths)| (*past, Detail::new(width, height, rows.start, strengths)));
        let mut line = vec![0.0; width];
        for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
            to_floats(luma.row(row), &mut line);
            texture.add(row, |row, line| self.map.texture(row, line), &mut line);
            own.add(row, |row, guide| to_floats(luma.row(row), guide), &mut line);
            if let Some((past, detail)) = &mut carried {
                let difference = |row: usize, guide: &mut [f32]| {
                    to_floats(luma.row(row), guide);
                    guide.iter_mut().zip(past.row(row)).for_each(|(sample, &past)| *sample = to_float(past) - *sample);
                };
                detail.add(row, difference, &mut line);
            }
            for (sample, &value) in out.iter_mut().zip(&line) {
                *sample = to_byte(value);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Map<'a> {
    values: &'a [f32],
    channels: usize,
    rows: usize,
    cols: usize,
}

impl Map<'_> {
    /// Strengths of the bands, channel `first` and the next.
    fn bands(&self, first: usize) -> [Component; BANDS] {
        [first, first + 1].map(|channel| {
            let values = self.values.iter().skip(channel).step_by(self.channels);
            Component { rows: self.rows, cols: self.cols, data: values.map(|&s| number(s)).collect() }
        })
    }

    /// Texture of a row of luma.
    fn texture(&self, row: usize, line: &mut [f32]) {
        let (cells, inner) = (&self.values[row / CELL * self.cols * self.channels..], row % CELL);
        for (samples, cell) in line.chunks_exact_mut(CELL).zip(cells.chunks_exact(self.channels)) {
            for (sample, &value) in samples.iter_mut().zip(&cell[BANDS + inner * CELL..][..CELL]) {
                *sample = number(value);
            }
        }
    }
}

/// An 8-bit sample, 0 in the middle of the range.
#[inline(always)]
fn to_float(sample: u8) -> f32 {
    f32::from(sample) / 255.0 - 0.5
}

multiversion! {
    fn to_floats(bytes: &[u8], out: &mut [f32]) = convert_bytes
}

#[inline(always)]
fn convert_bytes(bytes: &[u8], out: &mut [f32]) {
    for (value, &byte) in out.iter_mut().zip(bytes) {
        *value = to_float(byte);
    }
}

/// To 8 bits, halves upwards.
#[inline(always)]
#[expect(clippy::manual_clamp, reason = "max takes what is no number for its bound, clamp keeps it")]
fn to_byte(value: f32) -> u8 {
    let unit = value.max(-0.5).min(0.5) + 0.5;
    whole_to_u32((unit * 255.0 + 0.5).floor()) as u8
}

/// What is no number counts as 0.
fn number(value: f32) -> f32 {
    if value.is_nan() { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::super::pack::tests::noise_frame;
    use super::*;

    /// From the definition, in the middle of equal strengths.
    fn expected(plane: &Plane, [fine, coarse]: [f32; 2], row: usize, col: usize) -> u8 {
        let at = |dy: usize, dx: usize| {
            let near = |position: usize, offset: usize, size: usize| (position + offset).saturating_sub(2).min(size - 1);
            f32::from(plane.row(near(row, dy, plane.height))[near(col, dx, plane.width)])
        };
        let blurred = |taps: [f32; 5]| -> f32 {
            let sum: f32 = taps.iter().sum();
            let places = (0..5).flat_map(|y| (0..5).map(move |x| (y, x)));
            places.map(|(y, x)| taps[y] * taps[x] * at(y, x)).sum::<f32>() / (sum * sum)
        };
        let (blur3, blur5) = (blurred([0.0, 1.0, 2.0, 1.0, 0.0]), blurred([1.0, 4.0, 6.0, 4.0, 1.0]));
        let here = at(2, 2);
        (here + fine * (here - blur3) + coarse * (blur3 - blur5) + 0.5).floor().clamp(0.0, 255.0) as u8
    }

    /// A map of `cells` cells with equal strengths and no texture.
    fn flat(strength: [f32; BANDS], cells: usize) -> Vec<f32> {
        let mut map = vec![0.0; CHANNELS * cells];
        map.chunks_exact_mut(CHANNELS).for_each(|cell| cell[..BANDS].copy_from_slice(&strength));
        map
    }

    #[test]
    fn bands_are_amplified() {
        let frame = noise_frame(64, 32, 3);
        let plane = frame.plane(0);
        let mut out = Plane::new(64, 32);
        for strength in [[0.0, 0.0], [0.5, 1.0], [3.0, 0.0], [0.0, 3.0], [-1.0, -1.0]] {
            sharpen(plane, None, (&flat(strength, 8 * 4), &Area::whole(4, 8)), &mut out, 1).unwrap();
            let mut on_threads = Plane::new(64, 32);
            sharpen(plane, None, (&flat(strength, 8 * 4), &Area::whole(4, 8)), &mut on_threads, 3).unwrap();
            assert_eq!(on_threads.data, out.data);
            for row in 0..32 {
                for col in 0..64 {
                    let (found, wanted) = (out.row(row)[col], expected(plane, strength, row, col));
                    assert!(found.abs_diff(wanted) <= 1, "{strength:?} at {row}, {col}: {found}, not {wanted}");
                }
            }
        }
        sharpen(plane, None, (&[f32::NAN; CHANNELS * 8 * 4], &Area::whole(4, 8)), &mut out, 1).unwrap();
        assert_eq!(out.data, plane.data);
    }

    #[test]
    fn rows_outside_the_area_stay_and_the_others_do_not_depend_on_them() {
        let frame = noise_frame(64, 64, 5);
        let plane = frame.plane(0);
        let map: Vec<f32> = (0..CHANNELS * 64).map(|i| (i % 37) as f32 * 0.01).collect();
        let mut whole = Plane::new(64, 64);
        sharpen(plane, None, (&map, &Area::whole(8, 8)), &mut whole, 1).unwrap();
        // Rows 1, 2 and 5 of the cells are out, and half of row 7.
        let out = |cell: usize| [1, 2, 5].contains(&(cell / 8)) || cell >= 60;
        let area = Area::without(&(0..64).map(out).collect::<Vec<_>>(), 8);
        for threads in [1, 3] {
            let mut part = Plane::new(64, 64);
            part.data.fill(9);
            sharpen(plane, None, (&map, &area), &mut part, threads).unwrap();
            for row in 0..64 {
                let stays = [1, 2, 5].contains(&(row / 8));
                assert!(if stays { part.row(row).iter().all(|&v| v == 9) } else { part.row(row) == whole.row(row) }, "{row}");
            }
        }
    }

    #[test]
    fn strengths_hold_where_they_are() {
        let frame = noise_frame(64, 64, 4);
        let plane = frame.plane(0);
        let mut map = flat([0.0; BANDS], 8 * 8);
        map[0] = 2.0;
        let mut out = Plane::new(64, 64);
        sharpen(plane, None, (&map, &Area::whole(8, 8)), &mut out, 1).unwrap();
        // A strength fades out over the cell beside its own.
        let changed = |rows: std::ops::Range<usize>, cols: std::ops::Range<usize>| {
            rows.flat_map(|row| cols.clone().map(move |col| (row, col)))
                .filter(|&(row, col)| out.row(row)[col] != plane.row(row)[col])
                .count()
        };
        assert!(changed(0..4, 0..4) > 8);
        assert_eq!(changed(0..64, 12..64) + changed(12..64, 0..12), 0);
    }

    #[test]
    fn texture_is_added_where_it_belongs() {
        let mut plane = Plane::new(32, 16);
        plane.data.fill(100);
        let mut map = flat([0.0; BANDS], 4 * 2);
        // Row 1, column 2 of the cell in row 1, column 3.
        map[(4 + 3) * CHANNELS + BANDS + 8 + 2] = -64.0 / 255.0;
        let mut out = Plane::new(32, 16);
        sharpen(&plane, None, (&map, &Area::whole(2, 4)), &mut out, 1).unwrap();
        for (row, tap) in [-1_i32, 4, 10, 4, -1].into_iter().enumerate() {
            for (col, other) in [-1, 4, 10, 4, -1].into_iter().enumerate() {
                // A quarter of the product, halves upwards.
                plane.row_mut(7 + row)[24 + col] = (100 + (2 - tap * other).div_euclid(4)) as u8;
            }
        }
        assert_eq!(out.data, plane.data);
    }

    #[test]
    fn detail_of_the_past_is_carried_on() {
        let mut plane = Plane::new(64, 64);
        plane.data.fill(100);
        let mut past = Plane::new(64, 64);
        past.data.fill(150);
        for row in 0..64 {
            past.row_mut(row)[20] = 150 + 64;
        }
        let mut out = plane.clone();
        let mut show = |carry: [f32; BANDS]| {
            let mut map = vec![0.0; (CHANNELS + BANDS) * 64];
            map.chunks_exact_mut(CHANNELS + BANDS).for_each(|cell| cell[CHANNELS..].copy_from_slice(&carry));
            sharpen(&plane, Some(&past), (&map, &Area::whole(8, 8)), &mut out, 1).unwrap();
            out.row(30)[17..24].to_vec()
        };
        // What is flat is no detail. Of the line, 3x3 leaves 16, 32, 16, and 5x5 leaves 4, 16, 24, 16, 4.
        assert_eq!(show([1.0, 0.0]), [100, 100, 84, 132, 84, 100, 100]);
        assert_eq!(show([0.0, 0.5]), [100, 98, 100, 104, 100, 98, 100]);
        assert_eq!(show([f32::NAN; BANDS]), [100; 7]);
        let small = Plane::new(64, 32);
        assert!(sharpen(&plane, Some(&small), (&[0.0; (CHANNELS + BANDS) * 64], &Area::whole(8, 8)), &mut out, 1).is_err());
    }

    #[test]
    fn another_number_of_strengths_is_refused() {
        let plane = Plane::new(64, 64);
        let result = sharpen(&plane, None, (&[0.0; 64], &Area::whole(8, 8)), &mut plane.clone(), 1);
        assert!(matches!(result, Err(Error::InvalidConfig(m)) if m.contains("64 values")));
    }
}
