//! Which set of coefficients a block takes: by how much its samples vary, and along which axis.

use super::samples::{BORDER, Samples};

/// Side of a block of one class, in luma samples.
pub(super) const BLOCK: usize = 4;
/// Number of classes.
pub(super) const CLASSES: usize = LEVELS * DIRECTIONS;

/// Levels of activity; of each, blocks without direction, and those that vary along rows and along columns.
const LEVELS: usize = THRESHOLDS.len() + 1;
const DIRECTIONS: usize = 3;
/// Smallest mean activity of a sample of level 1, 2, 3.
const THRESHOLDS: [u16; 3] = [2, 7, 17];
/// How many times more a block with a direction varies along one axis than along the other.
const DOMINANCE: u16 = 2;
/// Samples around a block that count, too.
const MARGIN: usize = 1;
/// Samples along the side of what counts.
const WINDOW: usize = BLOCK + 2 * MARGIN;
/// The sums of a window fit into 16 bits.
const _: () = assert!(2 * 510 * WINDOW * WINDOW <= u16::MAX as usize);

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

/// Blocks along a side of so many samples.
pub(super) fn blocks(side: usize) -> usize {
    side.div_ceil(BLOCK)
}

/// Buffers of [`classify`].
#[derive(Default)]
pub(super) struct Sums {
    rows: Vec<u16>,
    cols: Vec<u16>,
    windows: [Vec<u16>; 2],
}

/// Writes the classes of one row of blocks.
///
/// Over a block and [`MARGIN`] samples around it, h is the sum of |2 c - l - r| and v that of |2 c - u - d|, where c is a sample and l, r,
/// u, d are its neighbours. The level is the number of thresholds, times the number of samples, that h + v exceeds.
#[inline(always)]
pub(super) fn classify(samples: &Samples, block_row: usize, sums: &mut Sums, classes: &mut [u8]) {
    let span = classes.len() * BLOCK + 2 * MARGIN;
    let Sums { rows, cols, windows } = sums;
    for sums in [&mut *rows, &mut *cols] {
        sums.clear();
        sums.resize(span, 0);
    }
    let first = (block_row * BLOCK) as isize - MARGIN as isize;
    for row in first..first + WINDOW as isize {
        let line = |row: isize, shift: usize| &samples.row(row)[BORDER - MARGIN - 1 + shift..][..span];
        let (here, left, right) = (line(row, 1), line(row, 0), line(row, 2));
        let (above, below) = (line(row - 1, 1), line(row + 1, 1));
        let (rows, cols) = (&mut rows[..span], &mut cols[..span]);
        for i in 0..span {
            let twice = 2 * here[i];
            rows[i] += (twice - left[i] - right[i]).unsigned_abs();
            cols[i] += (twice - above[i] - below[i]).unsigned_abs();
        }
    }
    for (sums, windows) in [&*rows, &*cols].into_iter().zip(&mut *windows) {
        let count = span - WINDOW + 1;
        windows.resize(count, 0);
        let windows = &mut windows[..count];
        let [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5].map(|shift| &sums[shift..][..count]);
        for i in 0..count {
            windows[i] = a[i] + b[i] + c[i] + d[i] + e[i] + f[i];
        }
    }
    let [rows, cols] = windows;
    let windows = rows.iter().step_by(BLOCK).zip(cols.iter().step_by(BLOCK));
    for (class, (&h, &v)) in classes.iter_mut().zip(windows) {
        *class = class_of(h, v);
    }
}

#[inline(always)]
fn class_of(h: u16, v: u16) -> u8 {
    const AREA: u16 = (WINDOW * WINDOW) as u16;
    let level: u8 = THRESHOLDS.iter().map(|&threshold| u8::from(h + v > threshold * AREA)).sum();
    let direction = u8::from(h > DOMINANCE * v) + 2 * u8::from(v > DOMINANCE * h);
    level * DIRECTIONS as u8 + direction
}
