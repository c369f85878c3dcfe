//! Areas of P-frames that rest.

use crate::integer::Area;

/// An area rests unless its residual is expected to save more than this, in squared quantiser steps.
pub const LEAST_WORTH: f32 = 3.0;

/// Which areas of a P-frame rest: nothing of the residual is coded there, its networks see nothing of them, and their prediction is the
/// picture. An area has 64x64 samples on the grid of the residual's latent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestMap {
    cols: usize,
    /// Row by row.
    marks: Vec<bool>,
}

impl RestMap {
    /// Latent cells along a side of an area: as many as a cell of the hyper-latent stands for.
    pub const SIDE: usize = 4;

    /// For a latent of so many rows and columns, multiples of 4; `rests` says whether an area rests, by its row and column.
    pub fn new((rows, cols): (usize, usize), rests: impl FnMut((usize, usize)) -> bool) -> Self {
        let (rows, cols) = (rows / Self::SIDE, cols / Self::SIDE);
        let places = (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col)));
        Self { cols, marks: places.map(rests).collect() }
    }

    /// Whether an area rests.
    pub fn at(&self, (row, col): (usize, usize)) -> bool {
        self.marks[row * self.cols + col]
    }

    /// Whether a latent cell rests, by its number in row order.
    pub fn at_cell(&self, cell: usize) -> bool {
        let cols = self.cell_cols();
        self.at((cell / cols / Self::SIDE, cell % cols / Self::SIDE))
    }

    /// Latent cells.
    pub fn cells(&self) -> usize {
        Self::SIDE * Self::SIDE * self.marks.len()
    }

    /// Latent cells of a row.
    pub fn cell_cols(&self) -> usize {
        Self::SIDE * self.cols
    }

    /// Whether it is for a latent of so many rows and columns.
    pub fn fits(&self, (rows, cols): (usize, usize)) -> bool {
        (Self::SIDE * self.marks.len() / self.cols.max(1), Self::SIDE * self.cols) == (rows, cols)
    }

    /// Whether no area rests.
    pub fn is_empty(&self) -> bool {
        !self.marks.contains(&true)
    }

    /// The areas that do not rest: cells of the hyper-latent.
    pub fn awake(&self) -> Area {
        Area::without(&self.marks, self.cols)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_has_four_cells_along_a_side() {
        let map = RestMap::new((8, 12), |place| place == (1, 2));
        assert!(map.fits((8, 12)) && !map.fits((12, 8)) && !map.is_empty());
        let resting: Vec<usize> = (0..8 * 12).filter(|&cell| map.at_cell(cell)).collect();
        let wanted: Vec<usize> = (4..8).flat_map(|row| (8..12).map(move |col| row * 12 + col)).collect();
        assert_eq!(resting, wanted);
        assert!(map.awake().divided().divided().row(4).eq(std::iter::once(0..8)));
        assert!(RestMap::new((4, 4), |_| false).is_empty() && !RestMap::new((4, 4), |_| true).is_empty());
    }
}
