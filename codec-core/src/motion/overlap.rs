//! Overlapped block motion compensation: how far neighbours' vectors blend into a leaf, and with what weight.
//!
//! (Orchard and Sullivan, "Overlapped block motion compensation", 1994.) Along each side of a leaf, the vector of every
//! neighbouring cell also predicts the samples next to it, over half of the smaller of both leaves. First the upper and the lower
//! side are blended, then the left and the right one, into what the first made; a sample thus has at most three predictions.

use super::{BlockField, CELL, Leaf, MotionVector};

/// Weights are in units of 1 / this.
pub const UNIT: i32 = 64;

/// Weights of a neighbour's prediction, by the distance in samples from its edge, for an overlap of 2, 4, 8, 16 or 32 samples:
/// half of one minus a quarter of a sine wave.
///
/// # Panics
/// For another overlap.
pub const fn weights(overlap: usize) -> &'static [u8] {
    match overlap {
        2 => &[20, 2],
        4 => &[26, 14, 5, 1],
        8 => &[29, 23, 17, 12, 7, 4, 1, 0],
        16 => &[30, 27, 24, 21, 18, 16, 13, 11, 8, 6, 5, 3, 2, 1, 0, 0],
        32 => &[
            31, 30, 28, 27, 25, 23, 22, 20, 19, 18, 16, 15, 14, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 3, 2, 2, 1, 1, 0, 0, 0, 0,
        ],
        _ => panic!("an overlap is 2, 4, 8, 16 or 32 samples wide"),
    }
}

/// Side of the squares of luma samples within which all samples have the same neighbours.
pub const SQUARE: usize = 4;

/// What predicts the samples of one square: see [`OverlapMap`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mixture {
    /// The leaf's own vector, that of the vertical and that of the horizontal neighbour.
    pub vectors: [MotionVector; 3],
    /// Weights of the vertical neighbour in each row of the square.
    pub vertical: [u8; SQUARE],
    /// Weights of the horizontal neighbour in each column.
    pub horizontal: [u8; SQUARE],
}

/// Which predictions are mixed where, for code that mixes them itself: own (1 - v) (1 - h) + vertical v (1 - h) + horizontal h.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlapMap {
    /// Squares of a row.
    pub cols: usize,
    /// In row order.
    pub squares: Vec<Mixture>,
}

impl OverlapMap {
    /// Of luma; chroma has half of the overlap.
    pub fn of(field: &BlockField) -> Self {
        let cols = field.cols() * CELL / SQUARE;
        let mut squares = vec![Mixture::default(); field.rows() * CELL / SQUARE * cols];
        for leaf in field.leaves() {
            let side = leaf.cells() * CELL / SQUARE;
            let (top, left) = (leaf.row * CELL / SQUARE, leaf.col * CELL / SQUARE);
            for row in 0..side {
                for col in 0..side {
                    let across = |step: usize| step * SQUARE / CELL;
                    let (above, beside) = (edge(leaf, row), edge(leaf, col));
                    let vertical = above.neighbour(leaf.row).and_then(|r| look(field, r, leaf.col + across(col)));
                    let horizontal = beside.neighbour(leaf.col).and_then(|c| look(field, leaf.row + across(row), c));
                    squares[(top + row) * cols + left + col] = Mixture {
                        vectors: [Some((leaf.vector, 0)), vertical, horizontal].map(|n| n.unwrap_or_default().0),
                        vertical: above.weights(leaf, vertical),
                        horizontal: beside.weights(leaf, horizontal),
                    };
                }
            }
        }
        Self { cols, squares }
    }
}

/// The nearer edge of a leaf along one direction.
struct Edge {
    /// Samples between the edge and the square.
    distance: usize,
    /// The edge lies behind the square: below or on the right.
    far: bool,
    /// Cells of the leaf.
    cells: usize,
}

/// The nearer edge of the `step`-th square of a leaf.
fn edge(leaf: Leaf, step: usize) -> Edge {
    let (side, at) = (leaf.cells() * CELL, step * SQUARE);
    let far = 2 * at >= side;
    Edge { distance: if far { side - SQUARE - at } else { at }, far, cells: leaf.cells() }
}

impl Edge {
    /// Row or column of the neighbouring cells of a leaf that begins at `start`.
    fn neighbour(&self, start: usize) -> Option<usize> {
        if self.far { Some(start + self.cells) } else { start.checked_sub(1) }
    }

    /// Weights of the neighbour in the four rows or columns.
    fn weights(&self, leaf: Leaf, neighbour: Option<(MotionVector, u8)>) -> [u8; SQUARE] {
        let Some((_, log2)) = neighbour.filter(|(vector, _)| *vector != leaf.vector) else { return [0; SQUARE] };
        let overlap = 1usize << (leaf.log2.min(log2) - 1);
        let mut found = [0; SQUARE];
        if self.distance < overlap {
            found.copy_from_slice(&weights(overlap)[self.distance..][..SQUARE]);
        }
        if self.far {
            found.reverse();
        }
        found
    }
}

/// Vector and size of a cell's leaf, if the cell exists.
fn look(field: &BlockField, row: usize, col: usize) -> Option<(MotionVector, u8)> {
    (row < field.rows() && col < field.cols()).then(|| (field.vector(row, col), field.log2(row, col)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_follow_the_sine() {
        for overlap in [2, 4, 8, 16, 32] {
            for (distance, &weight) in weights(overlap).iter().enumerate() {
                let phase = std::f64::consts::PI * (distance as f64 + 0.5) / (2 * overlap) as f64;
                assert_eq!(f64::from(weight), (f64::from(UNIT) / 2.0 * (1.0 - phase.sin())).round(), "{overlap} {distance}");
            }
        }
    }

    #[test]
    fn neighbours_reach_half_of_the_smaller_leaf() {
        let vector = |x| MotionVector { x, y: 0 };
        let mut field = BlockField::still(64, 64);
        for (row, col, x) in [(0, 0, 1), (0, 4, 2), (4, 0, 3), (4, 4, 3)] {
            field.set(Leaf { row, col, log2: 5, vector: vector(x) });
        }
        // A leaf of 16 at the right edge of the first of 32.
        for (row, col) in [(0, 4), (0, 6), (2, 4), (2, 6)] {
            field.set(Leaf { row, col, log2: 4, vector: vector(2) });
        }
        let map = OverlapMap::of(&field);
        assert_eq!((map.cols, map.squares.len()), (16, 256));
        let at = |row: usize, col: usize| map.squares[row * 16 + col];
        // The upper left corner has no neighbours, and the leaf above another of the same vector does not see it.
        assert_eq!((at(0, 0).vertical, at(0, 0).horizontal), ([0; 4], [0; 4]));
        assert_eq!(at(8, 8).horizontal, [0; 4]);
        // Right edge of the first leaf: overlap of 8, nearest sample last.
        assert_eq!((at(0, 7).horizontal, at(0, 7).vectors[2]), ([12, 17, 23, 29], vector(2)));
        assert_eq!((at(0, 6).horizontal, at(0, 5).horizontal), ([0, 1, 4, 7], [0; 4]));
        // Left edge of the leaf of 16, and the lower edge of the first: overlap of 16 with the leaf below.
        assert_eq!(at(0, 8).horizontal, [29, 23, 17, 12]);
        assert_eq!((at(7, 0).vertical, at(7, 0).vectors[1]), ([21, 24, 27, 30], vector(3)));
        assert_eq!(at(4, 0).vertical, [0, 0, 1, 2]);
    }
}
