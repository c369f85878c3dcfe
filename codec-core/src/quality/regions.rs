//! Maps from rectangles.

use std::ops::Range;

use super::map::QualityMap;

/// A part of a picture that is to have another quality than the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QualityRegion {
    /// Left edge in luma samples; it may lie outside of the picture.
    pub x: i64,
    /// Upper edge in luma samples; it may lie outside of the picture.
    pub y: i64,
    /// In luma samples.
    pub width: u64,
    /// In luma samples.
    pub height: u64,
    /// What is added to the frame's quality index, negative for a better quality. It is rounded to a multiple of
    /// [`QualityMap::STEP`] and limited to 60 either way.
    pub change: i32,
}

impl QualityMap {
    /// The map that gives regions of a video of the given display size their quality. Elsewhere it is 0.
    ///
    /// A cell belongs to a region that reaches into the inner quarter of its area, or whose centre it holds: a small region counts in
    /// full wherever it lies. Where regions overlap, the best quality that one of them wants counts, whatever their order. What lies outside of the
    /// picture counts for nothing.
    pub fn from_regions(width: u32, height: u32, regions: &[QualityRegion]) -> Self {
        let mut map = Self::zero(width, height);
        let (rows, cols) = map.size();
        let mut values: Vec<Option<i8>> = vec![None; rows * cols];
        for region in regions {
            let cells = [(region.y, region.height, height, rows), (region.x, region.width, width, cols)];
            let [Some(of_rows), Some(of_cols)] = cells.map(|(start, length, end, count)| covered(start, length, end, count))
            else {
                continue;
            };
            let value = value(region.change);
            for row in of_rows {
                for cell in &mut values[row * cols..][of_cols.clone()] {
                    *cell = Some(cell.map_or(value, |other| other.min(value)));
                }
            }
        }
        map.replace(values.into_iter().map(Option::unwrap_or_default).collect());
        map
    }
}

/// A change of the quality index as a map's value, halves away from zero.
fn value(change: i32) -> i8 {
    let limit = i32::from(QualityMap::LIMIT);
    let half = QualityMap::STEP / 2 * change.signum();
    (change.saturating_add(half) / QualityMap::STEP).clamp(-limit, limit) as i8
}

/// The cells, of `count`, that a stretch of samples takes of those before `end`; `None` if it lies outside.
fn covered(start: i64, length: u64, end: u32, count: usize) -> Option<Range<usize>> {
    const CELL: i64 = QualityMap::CELL as i64;
    let last = start.saturating_add(i64::try_from(length).unwrap_or(i64::MAX)).min(end.into());
    let first = start.max(0);
    if first >= last {
        return None;
    }
    let centre = (first + last - 1) / 2 / CELL;
    // A cell's inner samples are 8 to 23.
    let low = ((first + 8) / CELL).min(centre);
    let high = ((last - 1 - 8).div_euclid(CELL)).max(centre);
    // What reaches the edge goes on behind it, where nobody looks.
    let high = if last == i64::from(end) { count as i64 - 1 } else { high };
    Some(low as usize..high as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(x: i64, y: i64, width: u64, height: u64, change: i32) -> QualityRegion {
        QualityRegion { x, y, width, height, change }
    }

    #[test]
    fn a_stretch_takes_the_cells_whose_inside_it_reaches() {
        assert_eq!(covered(32, 32, 200, 8), Some(1..2));
        assert_eq!(covered(24, 48, 200, 8), Some(1..2));
        assert_eq!(covered(23, 50, 200, 8), Some(0..3));
        // Small ones count wherever they lie.
        for start in 0..150 {
            let cells = covered(start, 1, 200, 8).unwrap();
            assert!(cells.contains(&(start as usize / 32)) && cells.len() == 1, "{start}: {cells:?}");
        }
        assert_eq!(covered(28, 8, 200, 8), Some(0..1));
        // Partly outside, and the last cell that is seen with that behind it.
        assert_eq!(covered(-100, 120, 200, 8), Some(0..1));
        assert_eq!(covered(190, 500, 200, 8), Some(6..8));
        assert_eq!(covered(0, 200, 200, 8), Some(0..8));
        // Outside, or nothing at all.
        for (start, length) in [(-20, 20), (200, 5), (i64::MAX, u64::MAX), (i64::MIN, u64::MAX), (50, 0)] {
            assert_eq!(covered(start, length, 200, 8), None, "{start}, {length}");
        }
        assert_eq!(covered(i64::MIN / 2, u64::MAX, 200, 8), Some(0..8));
    }

    #[test]
    fn changes_are_rounded_to_steps_and_limited() {
        let wanted =
            [(0, 0), (1, 0), (-1, 0), (2, 1), (-2, -1), (-5, -1), (-6, -2), (60, 15), (99, 15), (i32::MIN, -15), (i32::MAX, 15)];
        for (change, steps) in wanted {
            assert_eq!(value(change), steps, "{change}");
        }
    }

    #[test]
    fn the_best_quality_counts_where_regions_overlap() {
        let all = region(0, 0, 128, 128, 12);
        let middle = region(32, 32, 64, 32, -8);
        let wanted = [[3, 3, 3, 3], [3, -2, -2, 3], [3, 3, 3, 3], [3, 3, 3, 3]].concat();
        for regions in [[all, middle], [middle, all]] {
            assert_eq!(QualityMap::from_regions(128, 128, &regions).values(), wanted);
        }
        assert!(QualityMap::from_regions(128, 128, &[region(500, 0, 9, 9, -8), region(0, 0, 9, 0, -8)]).is_zero());
        assert!(QualityMap::from_regions(128, 128, &[]).is_zero());
    }
}
