//! The postfilter's work on the samples: luma is sharpened by a coarse map of strengths, gets texture, and keeps detail that was shown
//! before.

use super::check_len;
use super::simd::{multiversion, whole_to_u32};
use super::texture::{CELL, Texture};
use super::upsample::{Component, UpsampledRow};
use crate::frame::Plane;
use crate::{Error, Result};

/// Rows that a row depends on.
const TAPS: usize = 5;
/// Bands of detail.
pub const BANDS: usize = 2;
/// Channels of the map: strengths of the bands, and what is added to each sample of a cell.
pub const CHANNELS: usize = BANDS + CELL * CELL;

/// out = luma + a * fine(luma) + b * coarse(luma) + smooth(texture) + c * fine(past - luma) + d * coarse(past - luma), rounded to 8
/// bits. Here fine(x) is x - blur3(x), and coarse(x) is blur3(x) - blur5(x). The blurs are binomial, 3x3 and 5x5, and smooth has
/// [`SMOOTHING`](super::texture::SMOOTHING); all repeat the border.
///
/// `map` is NHWC `[H/8][W/8][66]`: a and b, upsampled bilinearly (pixel centres aligned), and the texture of each cell row by
/// row, 1 for the range of the samples. With a `past`, `[H/8][W/8][68]`: c and d follow. What is no number counts as 0. Sides
/// are multiples of 8.
///
/// # Errors
/// [`crate::Error::InvalidConfig`] if `map` or `past` has another size.
///
/// # Panics
/// If `out` is smaller than `luma`.
pub fn sharpen(luma: &Plane, past: Option<&Plane>, map: &[f32], out: &mut Plane) -> Result<()> {
    let (width, height) = (luma.width, luma.height);
    if let Some(past) = past.filter(|past| (past.width, past.height) != (width, height)) {
        return Err(Error::InvalidConfig(format!("luma of {width}x{height} and a past of {}x{}", past.width, past.height)));
    }
    let (rows, cols) = (height / CELL, width / CELL);
    let channels = CHANNELS + if past.is_some() { BANDS } else { 0 };
    check_len("map of sharpening", map.len(), rows, cols, channels)?;
    let map = Map { values: map, channels, rows, cols };
    let mut texture = Texture::new(width, height);
    let mut own = Detail::new(width, height, map.bands(0));
    let mut carried = past.map(|past| (past, Detail::new(width, height, map.bands(CHANNELS))));
    let mut line = vec![0.0; width];
    for row in 0..height {
        to_floats(luma.row(row), &mut line);
        texture.add(row, |row, line| map.texture(row, line), &mut line);
        own.add(row, |row, guide| to_floats(luma.row(row), guide), &mut line);
        if let Some((past, detail)) = &mut carried {
            let difference = |row: usize, guide: &mut [f32]| {
                to_floats(luma.row(row), guide);
                guide.iter_mut().zip(past.row(row)).for_each(|(sample, &past)| *sample = to_float(past) - *sample);
            };
            detail.add(row, difference, &mut line);
        }
        for (sample, &value) in out.row_mut(row).iter_mut().zip(&line) {
            *sample = to_byte(value);
        }
    }
    Ok(())
}

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

/// Bands of a guide times their strengths, row after row.
struct Detail {
    width: usize,
    height: usize,
    strengths: [Component; BANDS],
    weights: [UpsampledRow; BANDS],
    /// The last rows of the guide, row r at r modulo [`TAPS`].
    ring: Vec<f32>,
    sums: [Vec<f32>; BANDS],
    /// Rows of the guide that have been read.
    read: usize,
}

impl Detail {
    fn new(width: usize, height: usize, strengths: [Component; BANDS]) -> Self {
        Self {
            width,
            height,
            strengths,
            weights: [(); BANDS].map(|()| UpsampledRow::new(width)),
            ring: vec![0.0; TAPS * width],
            sums: [(); BANDS].map(|()| vec![0.0; width + TAPS - 1]),
            read: 0,
        }
    }

    /// Adds the next row to `line`. `guide` writes a row; it is asked for each once, in order.
    fn add(&mut self, row: usize, mut guide: impl FnMut(usize, &mut [f32]), line: &mut [f32]) {
        let (width, height) = (self.width, self.height);
        let end = (row + TAPS / 2 + 1).min(height);
        for source in self.read..end {
            guide(source, &mut self.ring[source % TAPS * width..][..width]);
        }
        self.read = end;
        for (weight, strength) in self.weights.iter_mut().zip(&self.strengths) {
            weight.sample(strength, row);
        }
        let around = |offset: usize| {
            let row = (row + offset).saturating_sub(TAPS / 2).min(height - 1);
            &self.ring[row % TAPS * width..][..width]
        };
        let weights = self.weights.each_ref().map(UpsampledRow::values);
        add_bands([0, 1, 2, 3, 4].map(around), weights, &mut self.sums, line);
    }
}

multiversion! {
    fn add_bands(lines: [&[f32]; TAPS], weights: [&[f32]; BANDS], sums: &mut [Vec<f32>; BANDS], out: &mut [f32]) = amplify
}

/// `sums` have room for the line and two more at each end.
#[inline(always)]
fn amplify(lines: [&[f32]; TAPS], weights: [&[f32]; BANDS], sums: &mut [Vec<f32>; BANDS], out: &mut [f32]) {
    let width = out.len();
    let [a, b, c, d, e] = lines.map(|line| &line[..width]);
    let [narrow, wide] = sums;
    let (inner3, inner5) = (&mut narrow[2..][..width], &mut wide[2..][..width]);
    for i in 0..width {
        inner3[i] = (b[i] + d[i]) + 2.0 * c[i];
        inner5[i] = (a[i] + e[i]) + 4.0 * (b[i] + d[i]) + 6.0 * c[i];
    }
    for sums in [&mut *narrow, &mut *wide] {
        let (first, last) = (sums[2], sums[width + 1]);
        sums[..2].fill(first);
        sums[width + 2..].fill(last);
    }
    let [na, nb, nc] = [1, 2, 3].map(|k| &narrow[k..][..width]);
    let [wa, wb, wc, wd, we] = [0, 1, 2, 3, 4].map(|k| &wide[k..][..width]);
    let [fine, coarse] = weights.map(|w| &w[..width]);
    for i in 0..width {
        let blur3 = ((na[i] + nc[i]) + 2.0 * nb[i]) * (1.0 / 16.0);
        let blur5 = ((wa[i] + we[i]) + 4.0 * (wb[i] + wd[i]) + 6.0 * wc[i]) * (1.0 / 256.0);
        out[i] += fine[i] * (c[i] - blur3) + coarse[i] * (blur3 - blur5);
    }
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
            sharpen(plane, None, &flat(strength, 8 * 4), &mut out).unwrap();
            for row in 0..32 {
                for col in 0..64 {
                    let (found, wanted) = (out.row(row)[col], expected(plane, strength, row, col));
                    assert!(found.abs_diff(wanted) <= 1, "{strength:?} at {row}, {col}: {found}, not {wanted}");
                }
            }
        }
        sharpen(plane, None, &[f32::NAN; CHANNELS * 8 * 4], &mut out).unwrap();
        assert_eq!(out.data, plane.data);
    }

    #[test]
    fn strengths_hold_where_they_are() {
        let frame = noise_frame(64, 64, 4);
        let plane = frame.plane(0);
        let mut map = flat([0.0; BANDS], 8 * 8);
        map[0] = 2.0;
        let mut out = Plane::new(64, 64);
        sharpen(plane, None, &map, &mut out).unwrap();
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
        sharpen(&plane, None, &map, &mut out).unwrap();
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
            sharpen(&plane, Some(&past), &map, &mut out).unwrap();
            out.row(30)[17..24].to_vec()
        };
        // What is flat is no detail. Of the line, 3x3 leaves 16, 32, 16, and 5x5 leaves 4, 16, 24, 16, 4.
        assert_eq!(show([1.0, 0.0]), [100, 100, 84, 132, 84, 100, 100]);
        assert_eq!(show([0.0, 0.5]), [100, 98, 100, 104, 100, 98, 100]);
        assert_eq!(show([f32::NAN; BANDS]), [100; 7]);
        let small = Plane::new(64, 32);
        assert!(sharpen(&plane, Some(&small), &[0.0; (CHANNELS + BANDS) * 64], &mut out).is_err());
    }

    #[test]
    fn another_number_of_strengths_is_refused() {
        let plane = Plane::new(64, 64);
        let result = sharpen(&plane, None, &[0.0; 64], &mut plane.clone());
        assert!(matches!(result, Err(Error::InvalidConfig(m)) if m.contains("64 values")));
    }
}
