//! One owned plane of 8-bit samples.

use std::ops::Range;

use crate::{Error, Result};

/// Rows of 8-bit samples: sample (row, col) is `data[row * stride + col]`, and `data` holds all `height` rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plane {
    /// All rows, from the top.
    pub data: Vec<u8>,
    /// Samples from one row to the next, at least `width`.
    pub stride: usize,
    /// Samples of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Clone for Plane {
    fn clone(&self) -> Self {
        Self { data: self.data.clone(), ..*self }
    }

    /// Keeps its own memory where that is large enough: encoders do this for every frame.
    fn clone_from(&mut self, source: &Self) {
        let Self { data, stride, width, height } = self;
        data.clone_from(&source.data);
        (*stride, *width, *height) = (source.stride, source.width, source.height);
    }
}

impl Plane {
    /// A plane of zeros without gaps between its rows.
    pub fn new(width: usize, height: usize) -> Self {
        Self { data: vec![0; width * height], stride: width, width, height }
    }

    /// Takes `width * height` samples in row order.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if `data` has another length.
    pub fn from_vec(data: Vec<u8>, width: usize, height: usize) -> Result<Self> {
        if Some(data.len()) != width.checked_mul(height) {
            return Err(Error::InvalidConfig(format!(
                "plane of {width}x{height} samples: {} bytes given, exactly width * height are needed",
                data.len()
            )));
        }
        Ok(Self { data, stride: width, width, height })
    }

    /// The `width` samples of a row.
    pub fn row(&self, row: usize) -> &[u8] {
        &self.data[row * self.stride..][..self.width]
    }

    /// Sum of squared differences from a plane that has the same rows and columns.
    ///
    /// # Panics
    /// If one of the planes lacks some of them.
    pub(crate) fn squared_error(&self, other: &Self, rows: Range<usize>, cols: Range<usize>) -> u64 {
        let sum = |sum: u64, row: usize| {
            let pairs = self.row(row)[cols.clone()].iter().zip(&other.row(row)[cols.clone()]);
            sum + u64::from(pairs.map(|(&a, &b)| u32::from(a.abs_diff(b)).pow(2)).sum::<u32>())
        };
        rows.fold(0, sum)
    }

    /// Replaces every sample by what `table` holds for it.
    pub(crate) fn map(&mut self, table: &[u8; 256]) {
        map(&mut self.data, table);
    }

    /// The `width` samples of a row, to write.
    pub fn row_mut(&mut self, row: usize) -> &mut [u8] {
        &mut self.data[row * self.stride..][..self.width]
    }
}

/// Replaces every sample by what `table` holds for it.
pub(crate) fn map(samples: &mut [u8], table: &[u8; 256]) {
    samples.iter_mut().for_each(|sample| *sample = table[usize::from(*sample)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_plane() {
        let mut plane = Plane::from_vec((0..6).collect(), 3, 2).unwrap();
        assert_eq!(plane.row(1), [3, 4, 5]);
        plane.row_mut(0)[2] = 9;
        assert_eq!(plane.data, [0, 1, 9, 3, 4, 5]);
        assert_eq!(Plane::new(3, 2).data, [0; 6]);
        let other = Plane::from_vec(vec![1, 1, 1, 0, 4, 5], 3, 2).unwrap();
        assert_eq!(plane.squared_error(&other, 0..2, 0..2), 1 + 9);
        assert_eq!(plane.squared_error(&other, 0..1, 2..3), 64);
        plane.map(&std::array::from_fn(|value| value as u8 / 2));
        assert_eq!(plane.data, [0, 0, 4, 1, 2, 2]);
    }

    #[test]
    fn a_copy_of_another_keeps_its_memory() {
        let source = Plane::from_vec((0..6).collect(), 3, 2).unwrap();
        let mut copy = Plane::new(4, 3);
        let memory = copy.data.as_ptr();
        copy.clone_from(&source);
        assert_eq!((&copy, copy.data.as_ptr()), (&source, memory));
        assert_eq!(source.clone(), source);
    }

    #[test]
    fn wrong_length_is_refused() {
        for (w, h) in [(3, 3), (usize::MAX, 2), (0, 6)] {
            assert!(matches!(Plane::from_vec(vec![0; 6], w, h), Err(Error::InvalidConfig(_))));
        }
    }
}
