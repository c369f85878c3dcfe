//! Places that stand still and are shown as they were, without the postfilter's work.

use std::ops::Range;

use super::reconstruct::Slot;
use super::rest::Rest;
use crate::frame::{Frame, Plane};
use crate::integer::Area;
use crate::kernels::parallel::{for_bands, split_rows, take_front};
use crate::motion::{BlockField, CELL, Golden, MIN_LOG2, Motion, MotionVector};
use crate::quality::RestMap;

/// The postfilter works everywhere at least once in so many frames, not counting B-frames.
const PERIOD: usize = 8;
/// Cells along a side of an area that rests, and rows of cells that the postfilter takes in turn.
const AREA: usize = 2 * RestMap::SIDE;

const STILL: MotionVector = MotionVector { x: 0, y: 0 };

/// Whether what is predicted so stands still: the last frame is the prediction, without any motion, or in B-frames the mean of that
/// and the frame after.
fn stands_still(motion: Motion, slot: Slot) -> bool {
    let golden = motion.golden == Golden::Unused || (slot == Slot::Between && motion.golden == Golden::Mixed(STILL));
    motion.vector == STILL && golden
}

/// The cells at 1/8 at which the postfilter is to work: all but those that stand still and have no residual, and a share of those in
/// turn, unless it is a B-frame. `rest`: what of the frame has no residual, on the grid that is rotated by `shift`.
pub fn area_to_filter(slot: Slot, rest: &Rest, shift: (i32, i32), motion: &BlockField, turn: usize) -> Area {
    let (rows, cols) = (motion.rows(), motion.cols());
    let map = match rest {
        Rest::Areas(None) => return Area::whole(rows, cols),
        Rest::Areas(Some(map)) => Some(map),
        Rest::Frame => None,
    };
    let rows_of: Vec<_> = (0..rows).map(|row| areas(row, shift.0, rows)).collect();
    let cols_of: Vec<_> = (0..cols).map(|col| areas(col, shift.1, cols)).collect();
    let rests = |row: usize, col: usize| {
        map.is_none_or(|map| rows_of[row].iter().all(|&row| cols_of[col].iter().all(|&col| map.at((row, col)))))
    };
    // Blocks overlap: what moves shows in the leaves around, up to half of their size.
    let moving = Counts::new((rows, cols), |row, col| !stands_still(motion.motion(row, col), slot));
    let is_still = |row: usize, col: usize| {
        let reach = (1usize << (motion.log2(row, col) - MIN_LOG2)).div_ceil(2);
        let near = |at: usize, size: usize| at.saturating_sub(reach)..(at + reach + 1).min(size);
        moving.within(near(row, rows), near(col, cols)) == 0
    };
    let mut keeps = vec![false; rows * cols];
    for (row, keeps) in keeps.chunks_exact_mut(cols).enumerate() {
        // What a B-frame makes anew is gone with it, and would only flicker.
        if slot == Slot::Between || !(row / AREA + turn).is_multiple_of(PERIOD) {
            keeps.iter_mut().enumerate().for_each(|(col, keeps)| *keeps = rests(row, col) && is_still(row, col));
        }
    }
    Area::without(&keeps, cols)
}

/// The rows or columns of areas that hold the samples of a cell, along a side of `cells`, on a grid that is rotated by `shift` samples.
fn areas(cell: usize, shift: i32, cells: usize) -> [usize; 2] {
    let side = (cells * CELL) as i32;
    let at = |sample: usize| (sample as i32 + shift).rem_euclid(side) as usize / (AREA * CELL);
    [at(cell * CELL), at(cell * CELL + CELL - 1)]
}

/// How many cells of a grid have some property, in any rectangle.
struct Counts {
    cols: usize,
    /// Of the cells above and to the left of each corner.
    sums: Vec<u32>,
}

impl Counts {
    fn new((rows, cols): (usize, usize), has: impl Fn(usize, usize) -> bool) -> Self {
        let mut sums = vec![0; (rows + 1) * (cols + 1)];
        for row in 0..rows {
            let (above, below) = sums[row * (cols + 1)..].split_at_mut(cols + 1);
            let mut count = 0;
            for col in 0..cols {
                count += u32::from(has(row, col));
                below[col + 1] = above[col + 1] + count;
            }
        }
        Self { cols, sums }
    }

    fn within(&self, rows: Range<usize>, cols: Range<usize>) -> u32 {
        let at = |row: usize, col: usize| self.sums[row * (self.cols + 1) + col];
        at(rows.end, cols.end) + at(rows.start, cols.start) - at(rows.start, cols.end) - at(rows.end, cols.start)
    }
}

/// What was shown before, moved on as the reference was, and the frame that is to be shown.
pub struct Kept<'a> {
    pub past: &'a Frame,
    pub decoded: &'a Frame,
    /// The decoded frame before.
    pub before: &'a Frame,
}

impl Kept<'_> {
    /// Writes luma of the cells outside `area`: what was decoded, plus the detail of the frame before, which is what was shown minus what was
    /// decoded then.
    pub fn write(&self, area: &Area, out: &mut Plane, threads: usize) {
        if area.is_whole() {
            return;
        }
        let (width, height) = (out.width, out.height);
        let [past, decoded, before] = [self.past, self.decoded, self.before].map(|frame| frame.plane(0));
        let mut rest = &mut out.data[..width * height];
        let bands = split_rows(height, CELL, threads);
        for_bands(threads, bands.map(|rows| (take_front(&mut rest, rows.len() * width), rows)), |(out, rows)| {
            for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
                for gap in area.gaps(row / CELL) {
                    let samples = gap.start * CELL..gap.end * CELL;
                    let [past, decoded, before] = [past, decoded, before].map(|plane| &plane.row(row)[samples.clone()]);
                    for (((out, &past), &decoded), &before) in out[samples].iter_mut().zip(past).zip(decoded).zip(before) {
                        *out = (i16::from(decoded) + i16::from(past) - i16::from(before)).clamp(0, 255) as u8;
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::{BlockCompensator, Leaf, MAX_LOG2, PaddedFrame, References};
    use rand::prelude::*;

    const SIZE: (usize, usize) = (192, 128);

    /// The cells that are kept.
    fn kept(area: &Area) -> Vec<(usize, usize)> {
        let (rows, _) = area.size();
        (0..rows).flat_map(|row| area.gaps(row).flat_map(move |gap| gap.map(move |col| (row, col)))).collect()
    }

    fn cells(rows: Range<usize>, cols: Range<usize>) -> Vec<(usize, usize)> {
        rows.flat_map(|row| cols.clone().map(move |col| (row, col))).collect()
    }

    #[test]
    fn what_rests_and_stands_still_is_kept() {
        let still = BlockField::still(SIZE.0, SIZE.1);
        // Two rows of three areas. Neither row has its turn.
        let turn = PERIOD + 2;
        let rest = Rest::Areas(Some(RestMap::new((8, 12), |place| place == (1, 2))));
        assert_eq!(kept(&area_to_filter(Slot::Last, &rest, (0, 0), &still, turn)), cells(8..16, 16..24));
        // Rotated by 12 samples: what was a cell and a half from the left edge is at that of the area now. Half a cell does not count.
        assert_eq!(kept(&area_to_filter(Slot::Last, &rest, (0, 12), &still, turn)), cells(8..16, 15..22));
        // Beyond the edge the grid goes on at the other one.
        let upper = Rest::Areas(Some(RestMap::new((8, 12), |(row, _)| row == 0)));
        assert_eq!(
            kept(&area_to_filter(Slot::Last, &upper, (16, 0), &still, turn)),
            [cells(0..6, 0..24), cells(14..16, 0..24)].concat()
        );
        assert!(area_to_filter(Slot::Last, &Rest::Areas(None), (0, 0), &still, turn).is_whole());
        // A row of areas has its turn, in a frame that rests as a whole, too.
        for rest in [&upper, &Rest::Frame] {
            let all = if *rest == Rest::Frame { cells(8..16, 0..24) } else { Vec::new() };
            assert_eq!(kept(&area_to_filter(Slot::Last, rest, (0, 0), &still, PERIOD)), all);
        }
    }

    #[test]
    fn what_moves_is_not_kept_nor_what_lies_beside_it() {
        let mut field = BlockField::still(SIZE.0, SIZE.1);
        let leaf = |row, col, log2, x| Leaf { row, col, log2, vector: MotionVector { x, y: 0 } };
        for (row, col) in cells(0..16, 0..24) {
            field.set(leaf(row, col, MIN_LOG2, 0));
        }
        field.set(leaf(4, 5, MIN_LOG2, 1));
        field.set_golden(&leaf(12, 20, MIN_LOG2, 0), Golden::Mixed(MotionVector::default()));
        let all_but = |moves: &[(usize, usize)]| -> Vec<_> {
            cells(0..16, 0..24).into_iter().filter(|cell| !moves.contains(cell)).collect()
        };
        let area = area_to_filter(Slot::Last, &Rest::Frame, (0, 0), &field, 2);
        assert_eq!(kept(&area), all_but(&[cells(3..6, 4..7), cells(11..14, 19..22)].concat()));
        // In a B-frame, the mean of what was there and of what is there still moves nothing.
        field.set_golden(&leaf(12, 4, MIN_LOG2, 0), Golden::Alone(MotionVector::default()));
        let area = area_to_filter(Slot::Between, &Rest::Frame, (0, 0), &field, 2);
        assert_eq!(kept(&area), all_but(&[cells(3..6, 4..7), cells(11..14, 3..6)].concat()));
        // Nor has it a turn.
        let still = BlockField::still(SIZE.0, SIZE.1);
        assert_eq!(kept(&area_to_filter(Slot::Between, &Rest::Frame, (0, 0), &still, PERIOD)), cells(0..16, 0..24));
        // The larger the leaf, the further it is mixed with its neighbours: leaves of 64 samples by 32.
        let mut large = BlockField::still(SIZE.0, SIZE.1);
        large.set_golden(&leaf(8, 8, MAX_LOG2, 0), Golden::Alone(MotionVector::default()));
        let area = area_to_filter(Slot::Last, &Rest::Frame, (0, 0), &large, 2);
        assert_eq!(kept(&area), all_but(&cells(4..16, 4..20)));
    }

    #[test]
    fn what_is_kept_is_predicted_by_the_last_frame_as_it_was() {
        let mut rng = SmallRng::seed_from_u64(3);
        let mut frame = || {
            let mut frame = Frame::new(SIZE.0, SIZE.1);
            frame.planes_mut().iter_mut().for_each(|plane| plane.data.fill_with(|| rng.random()));
            frame
        };
        let (last, other) = (frame(), frame());
        let mut golden = PaddedFrame::default();
        golden.load(&other, SIZE, 1);
        let mut kept_in_all = 0;
        for _ in 0..30 {
            let mut field = BlockField::still(SIZE.0, SIZE.1);
            for leaf in field.clone().leaves() {
                grow(&mut rng, &mut field, leaf);
            }
            let mut prediction = Frame::new(SIZE.0, SIZE.1);
            let references = References { last: &last, golden: Some(&golden) };
            BlockCompensator::default().predict(references, SIZE, &field, 1, &mut prediction).unwrap();
            for (row, col) in kept(&area_to_filter(Slot::Last, &Rest::Frame, (0, 0), &field, 2)) {
                kept_in_all += 1;
                for y in row * CELL..(row + 1) * CELL {
                    let samples = col * CELL..(col + 1) * CELL;
                    let [found, wanted] = [&prediction, &last].map(|frame| &frame.plane(0).row(y)[samples.clone()]);
                    assert_eq!(found, wanted, "row {y} of the cell {row}, {col}");
                }
            }
        }
        assert!(kept_in_all > 500, "{kept_in_all} cells");
    }

    /// Divides a leaf at random, and lets a few of its parts move or use the golden frame.
    fn grow(rng: &mut SmallRng, field: &mut BlockField, leaf: Leaf) {
        if leaf.log2 > MIN_LOG2 && rng.random_bool(0.5) {
            let half = leaf.cells() / 2;
            for (down, right) in [(0, 0), (0, half), (half, 0), (half, half)] {
                grow(rng, field, Leaf { row: leaf.row + down, col: leaf.col + right, log2: leaf.log2 - 1, ..leaf });
            }
            return;
        }
        let moves = i16::from(rng.random_bool(0.05));
        field.set(Leaf { vector: MotionVector { x: 5 * moves, y: -3 * moves }, ..leaf });
        if rng.random_bool(0.05) {
            field.set_golden(&leaf, Golden::Mixed(MotionVector::default()));
        }
    }

    #[test]
    fn what_is_kept_follows_the_decoded_frame() {
        let flat = |value: u8| {
            let mut frame = Frame::new(SIZE.0, SIZE.1);
            frame.planes_mut()[0].data.fill(value);
            frame
        };
        let mut keeps = vec![false; 16 * 24];
        keeps[5 * 24 + 7] = true;
        let area = Area::without(&keeps, 24);
        let write = |past: u8, decoded: u8, threads| {
            let mut out = flat(9).plane(0).clone();
            let [past, decoded, before] = [past, decoded, 100].map(flat);
            Kept { past: &past, decoded: &decoded, before: &before }.write(&area, &mut out, threads);
            let kept = out.row(40)[56];
            let is_kept = |row: usize, col: usize| (40..48).contains(&row) && (56..64).contains(&col);
            let right = |row: usize| (0..SIZE.0).all(|col| out.row(row)[col] == if is_kept(row, col) { kept } else { 9 });
            assert!((0..SIZE.1).all(right));
            kept
        };
        assert_eq!([write(107, 100, 1), write(107, 103, 3), write(90, 3, 1), write(120, 250, 2)], [107, 110, 0, 255]);
    }
}
