//! Decoded luma of whole blocks.

/// Fractional bits of a sample.
pub const FRACTION: u32 = 4;
/// Largest magnitude of a sample, which is 0 in the middle of its range.
pub const LARGEST: i32 = 128 << FRACTION;

/// Samples less half their range, [`FRACTION`] fractional bits.
#[derive(Clone, Debug)]
pub struct Plane {
    width: usize,
    data: Vec<i32>,
}

impl Plane {
    /// Of `rows` times `cols` samples, all 0.
    pub fn new(rows: usize, cols: usize) -> Self {
        Self { width: cols, data: vec![0; rows * cols] }
    }

    /// Samples of a row.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &[i32] {
        &self.data[row * self.width..][..self.width]
    }

    /// One sample.
    #[inline(always)]
    pub fn at(&self, row: usize, col: usize) -> i32 {
        self.data[row * self.width + col]
    }

    /// Writes the sums of `prediction` and `difference`, a square of `side` samples, within the range of samples.
    #[inline(always)]
    pub fn add(&mut self, (row, col): (usize, usize), side: usize, prediction: &[i32], difference: &[i32]) {
        for (i, (prediction, difference)) in
            prediction.chunks_exact(side).zip(difference.chunks_exact(side)).take(side).enumerate()
        {
            let out = &mut self.data[(row + i) * self.width + col..][..side];
            for ((out, p), d) in out.iter_mut().zip(prediction).zip(difference) {
                *out = p.saturating_add(*d).clamp(-LARGEST, LARGEST);
            }
        }
    }

    /// Copies a square of `side` samples to `out`, row by row.
    #[inline(always)]
    pub fn copy_square(&self, (row, col): (usize, usize), side: usize, out: &mut [i32]) {
        for (i, out) in out.chunks_exact_mut(side).take(side).enumerate() {
            out.copy_from_slice(&self.row(row + i)[col..][..side]);
        }
    }

    /// Copies `rows` times `cols` samples from (`row`, `col`) of another plane on, as far as it has them, to (`to_row`, `to_col`).
    pub fn copy_from(
        &mut self,
        other: &Self,
        (row, col): (usize, usize),
        (to_row, to_col): (usize, usize),
        (rows, cols): (usize, usize),
    ) {
        let cols = cols.min(other.width - col);
        for i in 0..rows {
            let from = &other.row(row + i)[col..][..cols];
            self.data[(to_row + i) * self.width + to_col..][..cols].copy_from_slice(from);
        }
    }

    /// Writes a square of `side` samples.
    #[inline(always)]
    pub fn put_square(&mut self, (row, col): (usize, usize), side: usize, from: &[i32]) {
        for (i, from) in from.chunks_exact(side).take(side).enumerate() {
            self.data[(row + i) * self.width + col..][..side].copy_from_slice(from);
        }
    }
}
