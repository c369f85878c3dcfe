//! Texture of the postfilter: a sample for each of luma's, smoothed so that single samples do not stand out as dots.

use super::simd::multiversion;

/// Side of a cell of the map.
pub(super) const CELL: usize = 8;
/// Rows that a row of smoothed texture depends on.
const TAPS: usize = 5;
/// Taps of the smoothing along rows and columns, in sixteenths. It takes out what alternates from sample to sample (0 at half the
/// sampling frequency), and leaves three quarters of waves of four samples.
pub const SMOOTHING: [f32; TAPS] = [-1.0, 4.0, 10.0, 4.0, -1.0];
const SUM: f32 = 16.0;

/// Reads a map's texture row by row, smoothed, with the border repeated.
pub(super) struct Texture {
    height: usize,
    /// Rows smoothed along themselves, row r at r modulo [`TAPS`].
    ring: Vec<f32>,
    /// A row of the map with two more samples at each end.
    line: Vec<f32>,
    width: usize,
    /// The next row of the map to be read.
    read: usize,
}

impl Texture {
    /// Of a plane of the given size, from row `first` on.
    pub fn new(width: usize, height: usize, first: usize) -> Self {
        let read = first.saturating_sub(TAPS / 2);
        Self { height, ring: vec![0.0; TAPS * width], line: vec![0.0; width + TAPS - 1], width, read }
    }

    /// Adds the next row to `out`. `source` writes a row of the map; it is asked for each once, in order.
    pub fn add(&mut self, row: usize, source: impl Fn(usize, &mut [f32]), out: &mut [f32]) {
        let width = self.width;
        let end = (row + TAPS / 2 + 1).min(self.height);
        for row in self.read..end {
            source(row, &mut self.line[TAPS / 2..][..width]);
            let (first, last) = (self.line[2], self.line[width + 1]);
            self.line[..2].fill(first);
            self.line[width + 2..].fill(last);
            let target = &mut self.ring[row % TAPS * width..][..width];
            target.fill(0.0);
            add_weighted([0, 1, 2, 3, 4].map(|k| &self.line[k..][..width]), target);
        }
        self.read = end;
        let around = |offset: usize| {
            let row = (row + offset).saturating_sub(TAPS / 2).min(self.height - 1);
            &self.ring[row % TAPS * width..][..width]
        };
        add_weighted([0, 1, 2, 3, 4].map(around), out);
    }
}

multiversion! {
    fn add_weighted(lines: [&[f32]; TAPS], out: &mut [f32]) = add_sum
}

#[inline(always)]
fn add_sum(lines: [&[f32]; TAPS], out: &mut [f32]) {
    let width = out.len();
    let [a, b, c, d, e] = lines.map(|line| &line[..width]);
    let [outer, inner, centre] = [SMOOTHING[0] / SUM, SMOOTHING[1] / SUM, SMOOTHING[2] / SUM];
    for i in 0..width {
        out[i] += outer * (a[i] + e[i]) + inner * (b[i] + d[i]) + centre * c[i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texture of a map that is `value` at each sample.
    fn smoothed(value: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        let (width, height) = (24, 16);
        let mut texture = Texture::new(width, height, 0);
        let mut out = vec![0.0; width * height];
        for (row, line) in out.chunks_exact_mut(width).enumerate() {
            texture.add(row, |row, line| line.iter_mut().enumerate().for_each(|(col, v)| *v = value(row, col)), line);
        }
        out
    }

    #[test]
    fn what_is_flat_stays_and_what_alternates_goes() {
        assert!(smoothed(|_, _| 0.5).iter().all(|v| (v - 0.5).abs() < 1e-6));
        for rows in [0, 1] {
            let out = smoothed(|row, col| f32::from(u8::from((rows * row + col).is_multiple_of(2))) - 0.5);
            let mut inner = (2..14).flat_map(|row| (2..22).map(move |col| row * 24 + col));
            assert!(inner.all(|at| out[at].abs() < 1e-6));
        }
    }

    #[test]
    fn a_single_sample_spreads_by_the_taps() {
        let out = smoothed(|row, col| if (row, col) == (8, 9) { 256.0 } else { 0.0 });
        for row in 0..16 {
            for col in 0..24 {
                let tap = |at: usize, middle: usize| (at + 2).checked_sub(middle).and_then(|k| SMOOTHING.get(k)).copied();
                let wanted = tap(row, 8).zip(tap(col, 9)).map_or(0.0, |(a, b)| a * b);
                assert_eq!(out[row * 24 + col], wanted, "{row}, {col}");
            }
        }
    }
}
