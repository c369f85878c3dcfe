//! A plane as the filter reads it: 16-bit samples with the visible edges repeated.

use super::diamond::REACH;
use crate::frame::Plane;
use crate::kernels::parallel::for_bands;

/// Samples that are filtered together, side by side.
pub(super) const STRIP: usize = 16;
/// Repeated samples on each side: the larger diamond's reach, and one for alignment.
pub(super) const BORDER: usize = REACH + 1;

/// The visible part of a plane, continued to whole strips and blocks of 8 rows, and [`BORDER`] further on each side.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    data: Vec<i16>,
    stride: usize,
    width: usize,
    height: usize,
}

impl Samples {
    /// Takes the upper left `width` x `height` samples with up to `threads` threads, keeping the memory where it can.
    ///
    /// # Panics
    /// If a side is 0 or larger than the plane's.
    pub fn load(&mut self, plane: &Plane, (width, height): (usize, usize), threads: usize) {
        assert!(width > 0 && height > 0 && width <= plane.width && height <= plane.height);
        (self.width, self.height) = (width, height);
        self.stride = width.next_multiple_of(STRIP) + 2 * BORDER;
        let rows = height.next_multiple_of(8) + 2 * BORDER;
        self.data.resize(self.stride * rows, 0);
        let rows_a_band = rows.div_ceil(threads.max(1));
        for_bands(threads, self.data.chunks_mut(rows_a_band * self.stride).enumerate(), |(band, lines)| {
            for (row, line) in lines.chunks_exact_mut(self.stride).enumerate() {
                let row = band * rows_a_band + row;
                let samples = &plane.row(row.saturating_sub(BORDER).min(height - 1))[..width];
                line[..BORDER].fill(samples[0].into());
                line[BORDER..].iter_mut().zip(samples).for_each(|(to, &from)| *to = from.into());
                line[BORDER + width..].fill(samples[width - 1].into());
            }
        });
    }

    /// Columns of the visible part.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows of the visible part.
    pub fn height(&self) -> usize {
        self.height
    }

    /// A row from -[`BORDER`] on; its samples start at column -[`BORDER`].
    #[inline(always)]
    pub fn row(&self, row: isize) -> &[i16] {
        &self.data[(row + BORDER as isize) as usize * self.stride..][..self.stride]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_visible_edge_is_repeated() {
        let plane = Plane::from_vec((0..240).map(|i| i as u8).collect(), 20, 12).unwrap();
        let mut samples = Samples::default();
        for (width, height) in [(20, 12), (17, 9), (1, 1), (16, 8)] {
            samples.load(&plane, (width, height), width % 3);
            for row in -4..height.next_multiple_of(8) as isize + 4 {
                let source = plane.row(row.clamp(0, height as isize - 1) as usize);
                let line = samples.row(row);
                assert_eq!(line.len(), width.next_multiple_of(16) + 8);
                for (i, &sample) in line.iter().enumerate() {
                    let wanted = source[i.saturating_sub(4).min(width - 1)];
                    assert_eq!(sample, i16::from(wanted), "{width}x{height}: {row}, {i}");
                }
            }
        }
    }
}
