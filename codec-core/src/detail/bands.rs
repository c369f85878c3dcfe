//! Bands of detail of a plane of luma.

use std::ops::Range;

use crate::frame::Plane;
use crate::kernels::simd::multiversion;

/// Bands of about an octave each, the finest first.
pub(super) const BANDS: usize = 3;

/// Rows above and below that a row of the bands depends on.
const MARGIN: usize = 1 + 2 + 2 * 2;

/// Some rows of a picture, split into bands: whole pictures in floats would take more memory than the encoder has otherwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Bands {
    width: usize,
    /// The row that the bands begin with.
    first: usize,
    bands: [Vec<f32>; BANDS],
    /// What is left when the bands are taken away; at last the low frequencies.
    rest: Vec<f32>,
    blurred: Vec<f32>,
    rows: Vec<f32>,
}

impl Bands {
    /// Splits `rows` of the visible part of a plane.
    pub fn load(&mut self, plane: &Plane, rows: Range<usize>, (width, height): (usize, usize)) {
        self.width = width;
        self.first = rows.start.saturating_sub(MARGIN);
        self.rest.clear();
        for row in self.first..(rows.end + MARGIN).min(height) {
            self.rest.extend(plane.row(row)[..width].iter().map(|&sample| f32::from(sample)));
        }
        for (band, values) in self.bands.iter_mut().enumerate() {
            // One narrow blur, one wide one, two wide ones: each band is about an octave below the last.
            let blurs: &[Kernel] = [&[NARROW][..], &[WIDE], &[WIDE, WIDE]][band];
            self.blurred.clone_from(&self.rest);
            for &kernel in blurs {
                blur(&mut self.blurred, &mut self.rows, width, kernel);
            }
            values.clear();
            values.extend(self.rest.iter().zip(&self.blurred).map(|(all, low)| all - low));
            std::mem::swap(&mut self.rest, &mut self.blurred);
        }
    }

    /// Part of a row that was loaded.
    pub fn part(&self, band: usize, row: usize, cols: Range<usize>) -> &[f32] {
        &self.bands[band][(row - self.first) * self.width..][cols]
    }
}

/// Weights at a distance of 0, 1 and 2 samples.
type Kernel = [f32; 3];
/// (1, 2, 1) / 4.
const NARROW: Kernel = [0.5, 0.25, 0.0];
/// (1, 4, 6, 4, 1) / 16.
const WIDE: Kernel = [0.375, 0.25, 0.0625];

/// Blurs rows and columns; samples beyond an edge are like those at it. `rows`: memory.
fn blur(plane: &mut [f32], rows: &mut Vec<f32>, width: usize, kernel: Kernel) {
    let height = plane.len() / width;
    rows.clear();
    rows.resize(plane.len(), 0.0);
    let mut line = vec![0.0; width + 4];
    for (source, out) in plane.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
        line[2..][..width].copy_from_slice(source);
        line[..2].fill(source[0]);
        line[width + 2..].fill(source[width - 1]);
        combine([0, 1, 2, 3, 4].map(|offset| &line[offset..][..width]), kernel, out);
    }
    for row in 0..height {
        let around = [0, 1, 2, 3, 4].map(|offset| {
            let row = (row + offset).saturating_sub(2).min(height - 1);
            &rows[row * width..][..width]
        });
        combine(around, kernel, &mut plane[row * width..][..width]);
    }
}

multiversion! {
    fn combine(lines: [&[f32]; 5], kernel: Kernel, out: &mut [f32]) = weighted
}

#[inline(always)]
fn weighted(lines: [&[f32]; 5], [centre, near, far]: Kernel, out: &mut [f32]) {
    let [a, b, c, d, e] = lines.map(|line| &line[..out.len()]);
    for (i, out) in out.iter_mut().enumerate() {
        *out = centre * c[i] + near * (b[i] + d[i]) + far * (a[i] + e[i]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_and_the_rest_are_the_picture() {
        let mut plane = Plane::new(64, 64);
        for row in 0..64 {
            plane.row_mut(row).iter_mut().enumerate().for_each(|(x, s)| *s = (row * 37 + x * x * 11) as u8);
        }
        let mut bands = Bands::default();
        bands.load(&plane, 0..30, (40, 30));
        for at in [0, 39, 17 * 40 + 5, 30 * 40 - 1] {
            let sum: f32 = bands.bands.iter().map(|band| band[at]).sum::<f32>() + bands.rest[at];
            assert!((sum - f32::from(plane.row(at / 40)[at % 40])).abs() < 1e-3);
        }
    }

    #[test]
    fn some_rows_are_as_those_of_the_whole() {
        let mut plane = Plane::new(64, 128);
        for row in 0..128 {
            plane.row_mut(row).iter_mut().enumerate().for_each(|(x, s)| *s = (row * row * 7 + x * x * 11) as u8);
        }
        let (mut whole, mut part) = (Bands::default(), Bands::default());
        whole.load(&plane, 0..100, (50, 100));
        for rows in [0..32, 32..64, 96..100] {
            part.load(&plane, rows.clone(), (50, 100));
            for (row, band) in rows.flat_map(|row| (0..BANDS).map(move |band| (row, band))) {
                assert_eq!(part.part(band, row, 3..50), whole.part(band, row, 3..50), "row {row}");
            }
        }
    }

    #[test]
    fn waves_lie_in_their_bands() {
        for (band, period) in [(0, 2.5f32), (1, 6.0), (2, 16.0)] {
            let mut plane = Plane::new(128, 64);
            for row in 0..64 {
                let wave = |x: usize| (100.0 + 40.0 * (std::f32::consts::TAU * x as f32 / period).sin()) as u8;
                plane.row_mut(row).iter_mut().enumerate().for_each(|(x, s)| *s = wave(x));
            }
            let mut bands = Bands::default();
            bands.load(&plane, 0..64, (120, 64));
            let energies = bands.bands.each_ref().map(|band| band.iter().map(|v| v * v).sum::<f32>());
            let largest = (0..BANDS).max_by(|&a, &b| energies[a].total_cmp(&energies[b])).unwrap();
            assert_eq!(largest, band, "{period}: {energies:?}");
        }
    }
}
