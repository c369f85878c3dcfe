//! Quality indices of latent cells.

use super::map::QualityMap;
use super::rest::RestMap;
use crate::integer::Area;

/// The quality index of a frame, its map, and what is left out.
#[derive(Clone, Debug, Default)]
pub struct FrameQuality {
    /// 0..=63; in P-frames of the residual.
    pub index: u8,
    /// `None` if it is zero everywhere.
    pub map: Option<QualityMap>,
    /// Areas that have no quality, since they rest; `None`: none do. On the shifted grid of a P-frame's residual, whatever `shift`
    /// is passed to [`Self::cells`].
    pub rest: Option<RestMap>,
}

impl FrameQuality {
    /// The indices of the cells of a latent whose grid is rotated by `shift` (rows, columns, in luma samples).
    pub fn cells(&self, shift: (i32, i32)) -> CellQualities {
        let Self { index, map, rest } = self;
        let (frame, rest) = (*index, rest.clone());
        match map {
            Some(map) => CellQualities { frame, cells: map.indices(*index, shift), cols: 2 * map.size().1, rest },
            None => CellQualities { frame, rest, ..CellQualities::default() },
        }
    }
}

/// The memory of a [`QualityGrid`].
#[derive(Clone, Debug, Default)]
pub struct CellQualities {
    frame: u8,
    cells: Vec<u8>,
    cols: usize,
    rest: Option<RestMap>,
}

impl CellQualities {
    /// What networks take.
    pub fn grid(&self) -> QualityGrid<'_> {
        QualityGrid { frame: self.frame, cells: &self.cells, cols: self.cols, rest: self.rest.as_ref() }
    }
}

/// The quality index that each cell of a frame's latent has, and which of them rest.
#[derive(Clone, Copy, Debug)]
pub struct QualityGrid<'a> {
    frame: u8,
    /// Of all cells at 1/16, in row order; empty if all have the frame's.
    cells: &'a [u8],
    /// At 1/16.
    cols: usize,
    rest: Option<&'a RestMap>,
}

impl<'a> QualityGrid<'a> {
    /// The same everywhere.
    pub const fn uniform(quality: u8) -> Self {
        Self { frame: quality, cells: &[], cols: 0, rest: None }
    }

    /// The frame's.
    pub fn frame(self) -> u8 {
        self.frame
    }

    /// Of all cells at 1/16, in row order; `None` if all have the frame's.
    pub fn cells(self) -> Option<&'a [u8]> {
        (!self.cells.is_empty()).then_some(self.cells)
    }

    /// Columns at 1/16; 0 if all cells have the frame's.
    pub fn cols(self) -> usize {
        self.cols
    }

    /// Which areas rest; `None`: none do.
    pub fn rest(self) -> Option<&'a RestMap> {
        self.rest
    }

    /// Whether a cell at 1/16 rests, by its number in row order.
    pub fn rests(self, cell: usize) -> bool {
        self.rest.is_some_and(|rest| rest.at_cell(cell))
    }

    /// The indices of the cells at 1/16 from a row on; what rests is left out.
    pub fn from_row(self, row: usize) -> Self {
        Self { cells: self.cells.get(row * self.cols..).unwrap_or_default(), rest: None, ..self }
    }

    /// The cells at 1/64 that do not rest, of a latent of so many rows and columns at 1/16.
    pub fn awake(self, (rows, cols): (usize, usize)) -> Area {
        self.rest.map_or_else(|| Area::whole(rows / 4, cols / 4), RestMap::awake)
    }

    /// As [`Self::awake`], the cells at 1/16.
    pub fn awake_cells(self, size: (usize, usize)) -> Area {
        self.awake(size).divided().divided()
    }

    /// Whether all cells have the frame's index, and none rests.
    pub fn is_uniform(self) -> bool {
        self.cells.is_empty() && self.rest.is_none()
    }

    /// Of a cell at 1/16, by its number in row order.
    pub fn at(self, cell: usize) -> u8 {
        self.cells.get(cell).copied().unwrap_or(self.frame)
    }

    /// Of a cell at 1/8, by its number in row order: that of the cell at 1/16 which holds it.
    pub fn at_eighth(self, cell: usize) -> u8 {
        if self.cells.is_empty() {
            return self.frame;
        }
        let (row, col) = (cell / (2 * self.cols), cell % (2 * self.cols));
        self.cells[row / 2 * self.cols + col / 2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_at_an_eighth_have_the_index_of_those_that_hold_them() {
        let map = QualityMap::new(128, 64, vec![0, 1, 2, 3, 4, 5, 6, 7]).unwrap();
        let cells = FrameQuality { index: 10, map: Some(map), rest: None }.cells((0, 0));
        let grid = cells.grid();
        assert_eq!((grid.frame(), grid.cols(), grid.cells().map(<[u8]>::len)), (10, 8, Some(32)));
        // Row 5, column 13 at 1/8 lies in row 2, column 6 at 1/16.
        assert_eq!(grid.at_eighth(5 * 16 + 13), grid.at(2 * 8 + 6));
        assert_ne!(grid.at(2 * 8 + 6), grid.at(2 * 8 + 5));
    }

    #[test]
    fn without_a_map_all_cells_have_the_frames_index() {
        let cells = FrameQuality { index: 7, ..FrameQuality::default() }.cells((4, 4));
        for grid in [cells.grid(), QualityGrid::uniform(7)] {
            assert!(grid.cells().is_none() && grid.frame() == 7 && grid.at(99) == 7 && grid.at_eighth(99) == 7);
        }
    }
}
