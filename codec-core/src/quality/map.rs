//! Quality that varies over a picture.

use std::sync::Arc;

use crate::bitstream::QUALITY_MAX;
use crate::frame::pad::coded_size;
use crate::{Error, Result};

/// Luma samples to a side of a latent's cell.
const LATENT_CELL: i32 = 16;

/// What is added to the quality index of a frame from place to place: a value for each cell of 32 x 32 luma samples of the coded frame,
/// -15 (far better) to 15 (far worse), in steps of 4 quality indices. Between the centres of cells it is interpolated.
///
/// Clones share their memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QualityMap {
    rows: usize,
    cols: usize,
    /// In row order.
    values: Arc<[i8]>,
}

impl QualityMap {
    /// Luma samples to a side of a cell.
    pub const CELL: usize = 32;
    /// Quality indices to one step of a value.
    pub const STEP: i32 = 4;
    /// The largest value; the smallest is its negative.
    pub const LIMIT: i8 = 15;

    /// Rows and columns of the map of a video of the given display size. The map covers the coded size, which is that rounded up to
    /// multiples of 64, so it may have a row or a column that nobody sees.
    pub fn grid(width: u32, height: u32) -> (usize, usize) {
        let (width, height) = coded_size(width as usize, height as usize);
        (height / Self::CELL, width / Self::CELL)
    }

    /// The map that changes nothing, for a video of the given display size.
    pub fn zero(width: u32, height: u32) -> Self {
        let (rows, cols) = Self::grid(width, height);
        Self { rows, cols, values: vec![0; rows * cols].into() }
    }

    /// A map for a video of the given display size. `values`: of all cells, see [`Self::grid`], in row order.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if there is another number of values, or if one lies beyond -15..=15.
    pub fn new(width: u32, height: u32, values: Vec<i8>) -> Result<Self> {
        let (rows, cols) = Self::grid(width, height);
        if values.len() != rows * cols {
            return Err(Error::InvalidConfig(format!(
                "a quality map of {} values for a video of {width}x{height}: it needs {rows} rows of {cols} cells",
                values.len()
            )));
        }
        if let Some(value) = values.iter().find(|value| value.unsigned_abs() > Self::LIMIT.unsigned_abs()) {
            return Err(Error::InvalidConfig(format!(
                "a quality map with the value {value}: the range is -15..=15, in steps of 4"
            )));
        }
        Ok(Self { rows, cols, values: values.into() })
    }

    /// Rows and columns of cells.
    pub fn size(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }

    /// Values of all cells in row order.
    pub fn values(&self) -> &[i8] {
        &self.values
    }

    /// What is added to the quality index in each square of 64x64 luma samples, in row order: the mean of four cells.
    pub(crate) fn means(&self) -> impl Iterator<Item = f64> {
        let at = |row: usize, col: usize| i32::from(self.values[row * self.cols + col]);
        let squares = (0..self.rows).step_by(2).flat_map(|row| (0..self.cols).step_by(2).map(move |col| (row, col)));
        squares.map(move |(row, col)| {
            let sum = at(row, col) + at(row, col + 1) + at(row + 1, col) + at(row + 1, col + 1);
            f64::from(Self::STEP * sum) / 4.0
        })
    }

    /// Whether it changes nothing.
    pub fn is_zero(&self) -> bool {
        self.values.iter().all(|&value| value == 0)
    }

    /// The map whose values `change` makes of a cell's number and value, limited to -15..=15.
    pub(crate) fn changed(&self, change: impl Fn(usize, i32) -> i32) -> Self {
        let limited = |(cell, &value): (usize, &i8)| change(cell, value.into()).clamp(-15, 15) as i8;
        Self { values: self.values.iter().enumerate().map(limited).collect(), ..*self }
    }

    /// As many values as cells, each within its range.
    pub(super) fn replace(&mut self, values: Vec<i8>) {
        debug_assert_eq!(values.len(), self.values.len());
        self.values = values.into();
    }

    /// The quality indices of all latent cells at 1/16, in row order, for a frame with the index `quality` whose latent lies on a grid
    /// that is rotated by `shift` (rows, columns, in luma samples). Exact definition: `docs/bitstream.md`, "Quality map".
    pub(super) fn indices(&self, quality: u8, shift: (i32, i32)) -> Vec<u8> {
        let index = |sum: i32| (i32::from(quality) + ((sum + 128) >> 8)).clamp(0, QUALITY_MAX.into()) as u8;
        self.interpolated(LATENT_CELL, shift).into_iter().map(index).collect()
    }

    /// The map's values, times 1024, at the centres of cells of `side` x `side` luma samples, in row order, on a grid that is rotated by
    /// `shift`.
    pub(crate) fn interpolated(&self, side: i32, shift: (i32, i32)) -> Vec<i32> {
        let (rows, cols) = (Axis::new(self.rows, shift.0), Axis::new(self.cols, shift.1));
        let sum = |row: Place, col: Place| {
            let value = |r: usize, c: usize| i32::from(self.values[r * self.cols + c]);
            let of_row = |r: usize| (32 - col.part) * value(r, col.first) + col.part * value(r, col.second);
            (32 - row.part) * of_row(row.first) + row.part * of_row(row.second)
        };
        rows.places(side).flat_map(|row| cols.places(side).map(move |col| sum(row, col))).collect()
    }
}

/// One direction of a map.
#[derive(Clone, Copy)]
struct Axis {
    cells: i32,
    shift: i32,
}

/// The centre of a smaller cell: between the centres of two cells of the map, `part` / 32 of the way.
#[derive(Clone, Copy)]
struct Place {
    first: usize,
    second: usize,
    part: i32,
}

impl Axis {
    fn new(cells: usize, shift: i32) -> Self {
        Self { cells: cells as i32, shift }
    }

    /// Of all cells of `side` luma samples.
    fn places(self, side: i32) -> impl Iterator<Item = Place> {
        const CELL: i32 = QualityMap::CELL as i32;
        (0..CELL * self.cells / side).map(move |small| {
            let centre = (side * small + side / 2 - self.shift).rem_euclid(CELL * self.cells);
            let from_first = centre - CELL / 2;
            let cell = from_first.div_euclid(CELL);
            let inside = |cell: i32| cell.clamp(0, self.cells - 1) as usize;
            Place { first: inside(cell), second: inside(cell + 1), part: from_first.rem_euclid(CELL) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(values: &[i8]) -> QualityMap {
        QualityMap::new(64, 64, values.to_vec()).unwrap()
    }

    #[test]
    fn sizes_and_values_are_checked() {
        assert_eq!(QualityMap::grid(65, 64), (2, 4));
        assert_eq!(QualityMap::zero(1, 129).size(), (6, 2));
        for (count, value) in [(3, 0), (5, 0), (4, 16), (4, -16), (4, -128)] {
            let error = QualityMap::new(64, 64, vec![value; count]).unwrap_err();
            assert!(matches!(&error, Error::InvalidConfig(message) if message.contains("quality map")), "{error}");
        }
        assert!(map(&[0; 4]).is_zero() && !map(&[0, 0, 0, -15]).is_zero());
    }

    #[test]
    fn indices_run_linearly_between_the_centres_of_cells() {
        // 0 at 16 and 8 at 48: latent centres at 8, 24, 40 and 56 are a quarter and three quarters of the way.
        let across = map(&[0, 8, 0, 8]);
        assert_eq!(across.indices(20, (0, 0))[..8], [20, 28, 44, 52, 20, 28, 44, 52]);
        // Down as across, and both limits.
        let down = map(&[-15, -15, 15, 15]);
        assert_eq!(down.indices(30, (0, 0)), [[0; 4], [0; 4], [60; 4], [63; 4]].concat());
        // At the centre, 9/16 of it, and a half, which is rounded up.
        for (value, at_centre, near, half) in [(1, 13, 11, 10), (-1, 5, 7, 9)] {
            let corner = map(&[value, 0, 0, 0]);
            assert_eq!(corner.indices(9, (8, 8))[5], at_centre);
            assert_eq!(corner.indices(9, (0, 0))[5], near);
            assert_eq!(corner.indices(9, (0, 8))[10], half);
        }
    }

    #[test]
    fn a_rotated_grid_looks_where_its_samples_come_from() {
        let across = map(&[0, 8, 0, 8]);
        // Shifted by 8: centres at 0, 16, 32, 48. By 14: -6, which is 58, then 10, 26, 42.
        assert_eq!(across.indices(20, (0, 8))[..4], [20, 20, 36, 52]);
        assert_eq!(across.indices(20, (0, 14))[..4], [52, 20, 30, 46]);
        assert_eq!(across.indices(20, (6, 0)), across.indices(20, (0, 0)), "rows are alike");
        let down = map(&[0, 0, 8, 8]);
        assert_eq!(down.indices(20, (14, 4)), [[52; 4], [20; 4], [30; 4], [46; 4]].concat());
    }

    #[test]
    fn a_map_of_zeros_changes_nothing() {
        for quality in [0, 17, 63] {
            assert!(QualityMap::zero(200, 100).indices(quality, (2, 14)).iter().all(|&index| index == quality));
        }
    }
}
