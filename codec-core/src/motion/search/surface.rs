//! Planes with their edges repeated around them.

use crate::frame::Plane;
use crate::kernels::parallel::{for_bands, split_rows, take_front};
use crate::kernels::simd::multiversion;
use crate::motion::BORDER;

/// Samples of the visible part, surrounded by [`BORDER`] repeated ones on each side.
#[derive(Clone, Default)]
pub(super) struct Surface {
    pub data: Vec<u8>,
    pub stride: usize,
    pub width: usize,
    pub height: usize,
}

impl Surface {
    /// Makes room for `width` x `height` visible samples.
    pub fn resize(&mut self, width: usize, height: usize) {
        (self.width, self.height, self.stride) = (width, height, width + 2 * BORDER);
        self.data.resize(self.stride * (height + 2 * BORDER), 0);
    }

    /// Size of the visible part.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Takes the upper left part of a plane.
    pub fn load(&mut self, plane: &Plane, (width, height): (usize, usize), threads: usize) {
        self.resize(width, height);
        self.fill(threads, |row, line| line.copy_from_slice(&plane.row(row)[..width]));
    }

    /// Means of two by two samples of another surface; an odd side's last samples count twice.
    pub fn halve(&mut self, full: &Self) {
        self.resize(full.width.div_ceil(2), full.height.div_ceil(2));
        self.fill(1, |row, line| {
            let upper = &full.data[full.at(0, 2 * row as i32)..][..2 * line.len()];
            let lower = &full.data[full.at(0, 2 * row as i32 + 1)..][..2 * line.len()];
            halve_rows(upper, lower, line);
        });
    }

    /// Index of a sample; positions in the border are allowed.
    pub fn at(&self, x: i32, y: i32) -> usize {
        (y + BORDER as i32) as usize * self.stride + (x + BORDER as i32) as usize
    }

    /// Moves a position so that so many samples from it on exist, if they fit at all.
    pub fn hold(&self, x: i32, y: i32, width: usize, height: usize) -> (i32, i32) {
        let border = BORDER as i32;
        let last = |side: usize, len: usize| side as i32 + border - len as i32;
        (x.clamp(-border, last(self.width, width).max(-border)), y.clamp(-border, last(self.height, height).max(-border)))
    }

    /// Index of the first sample of a block of at most 64 samples a side, anywhere: what a block beyond the border would read
    /// equals what is read from here.
    #[inline]
    pub fn clamped(&self, x: i32, y: i32) -> usize {
        const REACH: i32 = BORDER as i32 - 8;
        self.at(x.clamp(-REACH, self.width as i32 + 4), y.clamp(-REACH, self.height as i32 + 4))
    }

    /// The samples of a block of at most 64 samples a side, anywhere.
    #[inline]
    pub fn block(&self, x: i32, y: i32) -> &[u8] {
        &self.data[self.clamped(x, y)..]
    }

    /// Has `work` write the visible part's rows, and repeats its edges.
    fn fill(&mut self, threads: usize, work: impl Fn(usize, &mut [u8]) + Sync) {
        let (width, height, stride) = (self.width, self.height, self.stride);
        let mut rest = &mut self.data[BORDER * stride..];
        let bands: Vec<_> =
            split_rows(height, 1, threads).map(|rows| (rows.clone(), take_front(&mut rest, rows.len() * stride))).collect();
        for_bands(threads, bands, |(rows, lines)| {
            for (row, line) in rows.zip(lines.chunks_exact_mut(stride)) {
                work(row, &mut line[BORDER..][..width]);
                extend_row(line, BORDER, width);
            }
        });
        extend_rows(&mut self.data, stride, BORDER, height);
    }
}

multiversion! {
    /// Means of two by two samples of two rows, twice as long as `out`.
    fn halve_rows(upper: &[u8], lower: &[u8], out: &mut [u8]) = halve_rows_any
}

#[inline(always)]
fn halve_rows_any(upper: &[u8], lower: &[u8], out: &mut [u8]) {
    for ((out, a), b) in out.iter_mut().zip(upper.as_chunks::<2>().0).zip(lower.as_chunks::<2>().0) {
        let sum = u16::from(a[0]) + u16::from(a[1]) + u16::from(b[0]) + u16::from(b[1]);
        *out = ((sum + 2) >> 2) as u8;
    }
}

/// Fills a row before and after `width` samples from `start` on.
pub(super) fn extend_row(row: &mut [u8], start: usize, width: usize) {
    let (first, last) = (row[start], row[start + width - 1]);
    row[..start].fill(first);
    row[start + width..].fill(last);
}

/// Repeats the first and the last of `height` rows from `start` on.
pub(super) fn extend_rows(data: &mut [u8], stride: usize, start: usize, height: usize) {
    let (first, last) = (start * stride, (start + height - 1) * stride);
    for row in 0..start {
        data.copy_within(first..first + stride, row * stride);
    }
    for row in start + height..data.len() / stride {
        data.copy_within(last..last + stride, row * stride);
    }
}
