//! Which set of coefficients a block takes: by how much its samples vary.

use super::samples::{BORDER, Samples};

/// Side of a block of one class, in luma samples.
pub(super) const BLOCK: usize = 4;
/// Number of classes.
pub(super) const CLASSES: usize = 12;
/// Samples around a block that count, too.
const MARGIN: usize = 1;
/// Smallest mean activity of a sample of class 1, 2, ...
const THRESHOLDS: [u32; 3] = [2, 7, 17];

/// Activity of a block: the sum, over the block and [`MARGIN`] samples around it, of |2 c - l - r| + |2 c - u - d|, where c is a sample
/// and l, r, u, d are its neighbours. The class is the number of thresholds, times the number of samples, that it exceeds.
///
/// Writes the classes of the blocks of one row of blocks. `sums` is scratch.
#[inline(always)]
pub(super) fn classify(samples: &Samples, block_row: usize, sums: &mut Vec<u16>, classes: &mut [u8]) {
    let span = classes.len() * BLOCK + 2 * MARGIN;
    let mut hs = vec![0u32; span]; let mut vs = vec![0u32; span]; let mut ds = vec![0u32; span]; let mut es = vec![0u32; span];
    let first = (block_row * BLOCK) as isize - MARGIN as isize;
    let _ = sums;
    for row in first..first + (BLOCK + 2 * MARGIN) as isize {
        let line = |row: isize, shift: usize| &samples.row(row)[BORDER - MARGIN - 1 + shift..][..span];
        let (here, left, right) = (line(row, 1), line(row, 0), line(row, 2));
        let (above, below) = (line(row - 1, 1), line(row + 1, 1));
        for i in 0..span {
            let twice = 2 * here[i];
            hs[i] += (twice - left[i] - right[i]).abs() as u32;
            vs[i] += (twice - above[i] - below[i]).abs() as u32;
            ds[i] += (twice - line(row - 1, 0)[i] - line(row + 1, 2)[i]).abs() as u32;
            es[i] += (twice - line(row - 1, 2)[i] - line(row + 1, 0)[i]).abs() as u32;
        }
    }
    const AREA: u32 = ((BLOCK + 2 * MARGIN) * (BLOCK + 2 * MARGIN)) as u32;
    for (block, class) in classes.iter_mut().enumerate() {
        let total = |s: &[u32]| -> u32 { s[block * BLOCK..][..BLOCK + 2 * MARGIN].iter().sum() };
        let (h, v, d, e) = (total(&hs), total(&vs), total(&ds), total(&es));
        let (sum, _) = (h + v, (d, e));
        let activity: u8 = THRESHOLDS.iter().map(|&threshold| u8::from(sum > threshold * AREA)).sum();
        let direction = if h > 2 * v { 1 } else if v > 2 * h { 2 } else { 0 };
        *class = activity * (CLASSES / 4) as u8 + direction;
    }
}

/// Blocks along a side of so many samples.
pub(super) fn blocks(side: usize) -> usize {
    side.div_ceil(BLOCK)
}

/// The classes of a plane's blocks in row order.
#[derive(Clone, Debug, Default)]
pub(super) struct ClassMap {
    pub classes: Vec<u8>,
    pub cols: usize,
}

impl ClassMap {
    /// One row of blocks.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &[u8] {
        &self.classes[row * self.cols..][..self.cols]
    }
}
