//! The postfilter's work on the samples: luma is sharpened by a coarse map of strengths, gets texture, and keeps detail that was shown
//! before; chroma gets detail of luma.

use super::pack::check_frame;
use super::simd::multiversion;
use super::unpack::to_byte;
use super::warp::rows::{Component, UpsampledRow};
use super::{Prediction, check_len, to_floats};
use crate::Result;
use crate::frame::{Frame, Plane};

/// Rows that a row depends on.
const TAPS: usize = 5;
/// Bands of detail.
pub const BANDS: usize = 2;
/// Side of a cell of the map in luma samples.
const CELL: usize = 8;
/// The same in chroma samples.
const CHROMA_CELL: usize = CELL / 2;
/// Channels of the map: strengths of the bands, and what is added to each sample of a cell.
pub const CHANNELS: usize = BANDS + CELL * CELL;
/// Channels that follow where chroma is filtered too: strengths of the bands for U, then for V.
pub const CROSS_CHANNELS: usize = 2 * BANDS;

/// Luma: out = luma + a * fine(luma) + b * coarse(luma) + texture + e * fine(past - luma) + f * coarse(past - luma), where fine(x) = x -
/// blur3(x) and coarse(x) = blur3(x) - blur5(x). Chroma: out = chroma + c * fine(l) + d * coarse(l), where l are means of 2x2 samples of luma's
/// out. All rounded to 8 bits. The blurs are binomial, 3x3 and 5x5, with the border repeated.
///
/// `map` is NHWC `[H/8][W/8][C]`: a and b, upsampled bilinearly (pixel centres aligned), and the texture of each cell row by
/// row, 1 for the range of the samples, are 66 channels. Four more, if there are so many, are c and d of U and of V; else chroma is copied. With a
/// `past`, another two are e and f. What is no number counts as 0. Sides are multiples of 8.
///
/// # Errors
/// [`Error::InvalidConfig`](crate::Error::InvalidConfig) if `map` or `past` has another size.
///
/// # Panics
/// If `out` is smaller than `frame`.
pub fn sharpen(frame: &Frame, past: Option<&Prediction>, map: &[f32], out: &mut Frame) -> Result<()> {
    check_frame(frame)?;
    if let Some(past) = past {
        past.check(frame.width(), frame.height())?;
    }
    let (rows, cols) = (frame.height() / CELL, frame.width() / CELL);
    let least = CHANNELS + if past.is_some() { BANDS } else { 0 };
    let cross = map.len() == rows * cols * (least + CROSS_CHANNELS);
    let channels = least + if cross { CROSS_CHANNELS } else { 0 };
    check_len("map of sharpening", map.len(), rows, cols, channels)?;
    let map = Map { values: map, channels, rows, cols };
    let [luma, u, v] = out.planes_mut();
    sharpen_luma(frame.plane(0), past, &map, luma);
    for (chroma, filtered, first) in [(frame.plane(1), u, CHANNELS), (frame.plane(2), v, CHANNELS + BANDS)] {
        if cross {
            follow_luma(chroma, luma, map.bands(first), filtered);
        } else {
            filtered.clone_from(chroma);
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

    /// Adds the texture of a row of luma.
    fn add_texture(&self, row: usize, line: &mut [f32]) {
        let (cells, inner) = (&self.values[row / CELL * self.cols * self.channels..], row % CELL);
        for (samples, cell) in line.chunks_exact_mut(CELL).zip(cells.chunks_exact(self.channels)) {
            for (sample, &value) in samples.iter_mut().zip(&cell[BANDS + inner * CELL..][..CELL]) {
                *sample += number(value);
            }
        }
    }
}

/// What is no number counts as 0.
fn number(value: f32) -> f32 {
    if value.is_nan() { 0.0 } else { value }
}

fn sharpen_luma(luma: &Plane, past: Option<&Prediction>, map: &Map, out: &mut Plane) {
    let (width, height) = (luma.width, luma.height);
    let mut own = Detail::<CELL>::new(width, height, map.bands(0));
    let mut carried = past.map(|past| (past, Detail::<CELL>::new(width, height, map.bands(map.channels - BANDS))));
    let mut line = vec![0.0; width];
    for row in 0..height {
        to_floats(luma.row(row), &mut line);
        map.add_texture(row, &mut line);
        own.add(row, |row, guide| to_floats(luma.row(row), guide), &mut line);
        if let Some((past, detail)) = &mut carried {
            let difference = |row: usize, guide: &mut [f32]| {
                to_floats(luma.row(row), guide);
                guide.iter_mut().zip(&past.y[row * width..]).for_each(|(sample, past)| *sample = past - *sample);
            };
            detail.add(row, difference, &mut line);
        }
        write_row(&line, out.row_mut(row));
    }
}

/// The cross-component filter.
fn follow_luma(chroma: &Plane, luma: &Plane, bands: [Component; BANDS], out: &mut Plane) {
    let (width, height) = (chroma.width, chroma.height);
    let mut detail = Detail::<CHROMA_CELL>::new(width, height, bands);
    let mut pair = [(); 2].map(|()| vec![0.0; luma.width]);
    let mut line = vec![0.0; width];
    for row in 0..height {
        to_floats(chroma.row(row), &mut line);
        let halved = |row: usize, guide: &mut [f32]| {
            for (i, floats) in pair.iter_mut().enumerate() {
                to_floats(luma.row(2 * row + i), floats);
            }
            let [upper, lower] = pair.each_ref().map(|floats| floats.as_chunks::<2>().0);
            for (mean, (a, b)) in guide.iter_mut().zip(upper.iter().zip(lower)) {
                *mean = 0.25 * ((a[0] + a[1]) + (b[0] + b[1]));
            }
        };
        detail.add(row, halved, &mut line);
        write_row(&line, out.row_mut(row));
    }
}

fn write_row(line: &[f32], out: &mut [u8]) {
    for (sample, &value) in out.iter_mut().zip(line) {
        *sample = to_byte(value);
    }
}

/// Bands of a guide times their strengths, which are upsampled by `FACTOR`: row after row.
struct Detail<const FACTOR: usize> {
    width: usize,
    height: usize,
    strengths: [Component; BANDS],
    weights: [UpsampledRow<FACTOR>; BANDS],
    /// The last rows of the guide, row r at r modulo [`TAPS`].
    ring: Vec<f32>,
    sums: [Vec<f32>; BANDS],
    /// Rows of the guide that have been read.
    read: usize,
}

impl<const FACTOR: usize> Detail<FACTOR> {
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
            weight.sample(strength, row, 1.0);
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
    use crate::Error;

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
        let mut out = Frame::new(64, 32);
        for strength in [[0.0, 0.0], [0.5, 1.0], [3.0, 0.0], [0.0, 3.0], [-1.0, -1.0]] {
            sharpen(&frame, None, &flat(strength, 8 * 4), &mut out).unwrap();
            for row in 0..32 {
                for col in 0..64 {
                    let (found, wanted) = (out.plane(0).row(row)[col], expected(plane, strength, row, col));
                    assert!(found.abs_diff(wanted) <= 1, "{strength:?} at {row}, {col}: {found}, not {wanted}");
                }
            }
        }
        for channels in [CHANNELS, CHANNELS + CROSS_CHANNELS] {
            sharpen(&frame, None, &vec![f32::NAN; channels * 8 * 4], &mut out).unwrap();
            assert_eq!(out, frame);
        }
    }

    #[test]
    fn strengths_hold_where_they_are() {
        let frame = noise_frame(64, 64, 4);
        let plane = frame.plane(0);
        let mut map = flat([0.0; BANDS], 8 * 8);
        map[0] = 2.0;
        let mut out = Frame::new(64, 64);
        sharpen(&frame, None, &map, &mut out).unwrap();
        // A strength fades out over the cell beside its own.
        let changed = |rows: std::ops::Range<usize>, cols: std::ops::Range<usize>| {
            rows.flat_map(|row| cols.clone().map(move |col| (row, col)))
                .filter(|&(row, col)| out.plane(0).row(row)[col] != plane.row(row)[col])
                .count()
        };
        assert!(changed(0..4, 0..4) > 8);
        assert_eq!(changed(0..64, 12..64) + changed(12..64, 0..12), 0);
    }

    #[test]
    fn texture_is_added_where_it_belongs() {
        let mut frame = Frame::new(32, 16);
        frame.plane_mut(0).data.fill(100);
        let mut map = flat([0.0; BANDS], 4 * 2);
        // Row 1, column 2 of the cell in row 1, column 3.
        map[(4 + 3) * CHANNELS + BANDS + 8 + 2] = -10.0 / 255.0;
        let mut out = Frame::new(32, 16);
        sharpen(&frame, None, &map, &mut out).unwrap();
        frame.plane_mut(0).row_mut(9)[26] = 90;
        assert_eq!(out, frame);
    }

    #[test]
    fn chroma_follows_luma() {
        const WIDE: usize = CHANNELS + CROSS_CHANNELS;
        let mut frame = Frame::new(32, 16);
        frame.planes_mut().iter_mut().for_each(|plane| plane.data.fill(100));
        // A bright line of one chroma sample's width.
        for row in 0..16 {
            frame.plane_mut(0).row_mut(row)[14..16].fill(164);
        }
        let mut map = vec![0.0; WIDE * 4 * 2];
        for cell in map.chunks_exact_mut(WIDE) {
            cell[CHANNELS..].copy_from_slice(&[0.5, 0.0, 0.0, -1.0]);
        }
        let mut out = Frame::new(32, 16);
        sharpen(&frame, None, &map, &mut out).unwrap();
        // Of the line, 3x3 leaves 16, 32, 16, and 5x5 leaves 4, 16, 24, 16, 4.
        let (u, v) = (&out.plane(1).row(3)[4..11], &out.plane(2).row(3)[4..11]);
        assert_eq!(u, [100, 100, 92, 116, 92, 100, 100]);
        assert_eq!(v, [100, 104, 100, 92, 100, 104, 100]);
        assert_eq!(out.plane(0), frame.plane(0));
    }

    #[test]
    fn detail_of_the_past_is_carried_on() {
        let mut frame = Frame::new(64, 64);
        frame.planes_mut().iter_mut().for_each(|plane| plane.data.fill(100));
        let mut past = Prediction::new(64, 64);
        past.y.fill(150.0 / 255.0 - 0.5);
        for row in 0..64 {
            past.y[row * 64 + 20] = (150.0 + 64.0) / 255.0 - 0.5;
        }
        let mut out = frame.clone();
        let mut show = |carry: [f32; BANDS]| {
            let mut map = vec![0.0; (CHANNELS + BANDS) * 64];
            map.chunks_exact_mut(CHANNELS + BANDS).for_each(|cell| cell[CHANNELS..].copy_from_slice(&carry));
            sharpen(&frame, Some(&past), &map, &mut out).unwrap();
            out.plane(0).row(30)[17..24].to_vec()
        };
        // What is flat is no detail. The bands of such a line: see above.
        assert_eq!(show([1.0, 0.0]), [100, 100, 84, 132, 84, 100, 100]);
        assert_eq!(show([0.0, 0.5]), [100, 98, 100, 104, 100, 98, 100]);
        assert_eq!(show([f32::NAN; BANDS]), [100; 7]);
        let small = Prediction::new(64, 32);
        assert!(sharpen(&frame, Some(&small), &[0.0; (CHANNELS + BANDS) * 64], &mut out).is_err());
    }

    #[test]
    fn another_number_of_strengths_is_refused() {
        let frame = Frame::new(64, 64);
        let result = sharpen(&frame, None, &[0.0; 64], &mut frame.clone());
        assert!(matches!(result, Err(Error::InvalidConfig(m)) if m.contains("64 values")));
    }
}
