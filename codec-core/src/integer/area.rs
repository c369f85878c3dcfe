//! Where on a grid layers work.

use std::ops::Range;

/// Cells of a grid, as spans of its rows. What lies between them is nothing to a layer: as if outside the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    rows: usize,
    cols: usize,
    /// Of each row, from left to right, none of them empty and with a gap between two; without entries: all cells.
    spans: Vec<Vec<Range<usize>>>,
}

impl Area {
    /// All cells of a grid.
    pub fn whole(rows: usize, cols: usize) -> Self {
        Self { rows, cols, spans: Vec::new() }
    }

    /// All cells of a grid of `cols` columns but those that are marked, row by row.
    pub fn without(marked: &[bool], cols: usize) -> Self {
        let rows = marked.len() / cols.max(1);
        if !marked.contains(&true) {
            return Self::whole(rows, cols);
        }
        Self { rows, cols, spans: marked.chunks(cols).map(spans).collect() }
    }

    /// Each cell divided into four.
    pub fn divided(&self) -> Self {
        let twice = |row: &Vec<Range<usize>>| -> Vec<_> { row.iter().map(|span| 2 * span.start..2 * span.end).collect() };
        let spans = self.spans.iter().map(twice).flat_map(|row| [row.clone(), row]).collect();
        Self { rows: 2 * self.rows, cols: 2 * self.cols, spans }
    }

    /// Rows and columns of the grid.
    pub fn size(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }

    /// Whether all cells of the grid belong to it.
    pub fn is_whole(&self) -> bool {
        self.spans.is_empty()
    }

    /// The spans of a row.
    pub fn row(&self, row: usize) -> impl Iterator<Item = Range<usize>> {
        let all = self.is_whole().then_some(0..self.cols);
        all.into_iter().chain(self.spans.get(row).into_iter().flatten().cloned())
    }

    /// The numbers of its cells, in row order.
    pub fn cells(&self) -> impl Iterator<Item = usize> {
        (0..self.rows).flat_map(move |row| self.row(row).flatten().map(move |col| row * self.cols + col))
    }

    /// What lies between the spans of a row.
    pub fn gaps(&self, row: usize) -> impl Iterator<Item = Range<usize>> {
        let ends = self.row(row).map(|span| (span.start, span.end)).chain([(self.cols, self.cols)]);
        let gaps = ends.scan(0, |end, next| Some(std::mem::replace(end, next.1)..next.0));
        gaps.filter(|gap| !gap.is_empty())
    }

    /// Writes zeros to the cells of a row, `[cols][channels]`, that do not belong to it.
    pub fn clear_gaps(&self, row: usize, values: &mut [i16], channels: usize) {
        self.gaps(row).for_each(|gap| values[gap.start * channels..gap.end * channels].fill(0));
    }

    /// Writes zeros to all cells of `[rows][cols][channels]` that do not belong to it.
    pub fn clear_outside(&self, values: &mut [i16], channels: usize) {
        if !self.is_whole() {
            let rows = values.chunks_exact_mut(self.cols * channels).enumerate();
            rows.for_each(|(row, values)| self.clear_gaps(row, values, channels));
        }
    }
}

/// The cells of a row that are not marked.
fn spans(marked: &[bool]) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    for (col, _) in marked.iter().enumerate().filter(|&(_, &marked)| !marked) {
        match spans.last_mut() {
            Some(last) if last.end == col => last.end += 1,
            _ => spans.push(col..col + 1),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_is_what_is_not_marked() {
        let marked = [false, true, false, false, true, true, true, true, true, false, false, false];
        let area = Area::without(&marked, 4);
        let ends = |area: &Area, row| -> Vec<(usize, usize)> { area.row(row).map(|span| (span.start, span.end)).collect() };
        let rows = |area: &Area| -> Vec<_> { (0..area.size().0).map(|row| ends(area, row)).collect() };
        assert_eq!((area.size(), area.is_whole()), ((3, 4), false));
        assert_eq!(rows(&area), [vec![(0, 1), (2, 4)], vec![], vec![(1, 4)]]);
        assert!(area.cells().eq((0..12).filter(|&cell| !marked[cell])));
        let gaps = |row| -> Vec<_> { area.gaps(row).map(|gap| (gap.start, gap.end)).collect() };
        assert_eq!([gaps(0), gaps(1), gaps(2)], [vec![(1, 2)], vec![(0, 4)], vec![(0, 1)]]);
        let divided = area.divided();
        assert_eq!(divided.size(), (6, 8));
        assert_eq!(rows(&divided)[..3], [vec![(0, 2), (4, 8)], vec![(0, 2), (4, 8)], vec![]]);
        let mut values = [7; 24];
        area.clear_outside(&mut values, 2);
        assert_eq!(values, [7, 7, 0, 0, 7, 7, 7, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 7, 7, 7, 7, 7]);
    }

    #[test]
    fn a_whole_grid_has_one_span_a_row() {
        let whole = Area::whole(2, 5);
        assert!(whole.is_whole() && whole.divided() == Area::whole(4, 10) && whole == Area::without(&[false; 10], 5));
        assert!(whole.row(1).eq(std::iter::once(0..5)));
        let mut values = [7; 10];
        whole.clear_outside(&mut values, 1);
        assert_eq!(values, [7; 10]);
    }
}
