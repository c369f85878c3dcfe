//! Bands of detail of a plane of luma.

use crate::frame::Plane;
use crate::kernels::simd::multiversion;

/// Bands of about an octave each, the finest first.
pub(super) const BANDS: usize = 3;

/// A picture split into bands, at the size of its visible part.
#[derive(Clone, Debug, Default)]
pub(super) struct Bands {
    pub width: usize,
    pub bands: [Vec<f32>; BANDS],
    /// What is left when the bands are taken away; at last the low frequencies.
    rest: Vec<f32>,
    blurred: Vec<f32>,
    rows: Vec<f32>,
}

impl Bands {
    /// Splits the visible part of a plane.
    pub fn load(&mut self, plane: &Plane, (width, height): (usize, usize)) {
        self.width = width;
        self.rest.clear();
        for row in 0..height {
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
        bands.load(&plane, (40, 30));
        for at in [0, 39, 17 * 40 + 5, 30 * 40 - 1] {
            let sum: f32 = bands.bands.iter().map(|band| band[at]).sum::<f32>() + bands.rest[at];
            assert!((sum - f32::from(plane.row(at / 40)[at % 40])).abs() < 1e-3);
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
            bands.load(&plane, (120, 64));
            let energies = bands.bands.each_ref().map(|band| band.iter().map(|v| v * v).sum::<f32>());
            let largest = (0..BANDS).max_by(|&a, &b| energies[a].total_cmp(&energies[b])).unwrap();
            assert_eq!(largest, band, "{period}: {energies:?}");
        }
    }
}
