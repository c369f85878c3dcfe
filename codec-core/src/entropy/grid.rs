//! Quantised latents.

/// A quantised latent, NHWC `[rows][cols][channels]`, 8 fractional bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatentGrid {
    /// Rows of cells.
    pub rows: usize,
    /// Columns of cells.
    pub cols: usize,
    /// Channels of a cell.
    pub channels: usize,
    /// `rows * cols * channels` values.
    pub data: Vec<i32>,
}

impl LatentGrid {
    /// A grid of zeros.
    pub fn new(rows: usize, cols: usize, channels: usize) -> Self {
        Self { rows, cols, channels, data: vec![0; rows * cols * channels] }
    }

    /// The grid moved circularly by (`dy`, `dx`) cells, as `torch.roll` moves it.
    pub fn rolled(&self, dy: i32, dx: i32) -> Self {
        if (dy, dx) == (0, 0) || self.data.is_empty() {
            return self.clone();
        }
        let mut out = Self::new(self.rows, self.cols, self.channels);
        let wrap = |i: usize, d: i32, n: usize| (i as i64 + i64::from(d)).rem_euclid(n as i64) as usize;
        for (index, cell) in self.data.chunks_exact(self.channels).enumerate() {
            let (row, col) = (wrap(index / self.cols, dy, self.rows), wrap(index % self.cols, dx, self.cols));
            out.data[(row * self.cols + col) * self.channels..][..self.channels].copy_from_slice(cell);
        }
        out
    }
}
