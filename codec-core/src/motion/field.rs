//! The motion of a frame: vectors on the leaves of quadtrees.

use std::ops::Range;

/// Side of the smallest leaf, and of a cell of [`BlockField`]'s grid, in luma samples.
pub const CELL: usize = 1 << MIN_LOG2;
/// Side of the largest leaf, the root of a tree, in luma samples.
pub const ROOT: usize = 1 << MAX_LOG2;
/// Binary logarithm of the smallest leaf's side.
pub const MIN_LOG2: u8 = 3;
/// Binary logarithm of the largest leaf's side.
pub const MAX_LOG2: u8 = 6;
/// Largest magnitude of a vector's component, in quarter luma samples.
pub const MAX_COMPONENT: i16 = 8191;

/// A backward motion vector in quarter luma samples: current(p) is about reference(p + vector / 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MotionVector {
    /// Columns, to the right.
    pub x: i16,
    /// Rows, downwards.
    pub y: i16,
}

/// One leaf of a quadtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Row of the upper left cell.
    pub row: usize,
    /// Column of the upper left cell.
    pub col: usize,
    /// Binary logarithm of the side in luma samples, [`MIN_LOG2`]..=[`MAX_LOG2`].
    pub log2: u8,
    /// What the leaf moved by.
    pub vector: MotionVector,
}

impl Leaf {
    /// Side in cells.
    pub fn cells(&self) -> usize {
        1 << (self.log2 - MIN_LOG2)
    }
}

/// The cells of one root, row by row.
#[derive(Clone, Copy)]
pub(super) struct RootCells {
    vectors: [[MotionVector; ROOT / CELL]; ROOT / CELL],
    log2: [[u8; ROOT / CELL]; ROOT / CELL],
}

/// The motion of a frame of coded size (sides are multiples of [`ROOT`]): a grid of [`CELL`]x[`CELL`] cells, each of which knows
/// its leaf's vector and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockField {
    rows: usize,
    cols: usize,
    vectors: Vec<MotionVector>,
    log2: Vec<u8>,
}

impl BlockField {
    /// No motion: every root is one leaf with a zero vector. `width` and `height` are the coded size in luma samples.
    ///
    /// # Panics
    /// If a side is no multiple of [`ROOT`].
    pub fn still(width: usize, height: usize) -> Self {
        assert!(width.is_multiple_of(ROOT) && height.is_multiple_of(ROOT), "{width}x{height} is no coded size");
        let (rows, cols) = (height / CELL, width / CELL);
        Self { rows, cols, vectors: vec![MotionVector::default(); rows * cols], log2: vec![MAX_LOG2; rows * cols] }
    }

    /// Rows of cells.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of cells.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Vector of the leaf that holds a cell.
    pub fn vector(&self, row: usize, col: usize) -> MotionVector {
        self.vectors[row * self.cols + col]
    }

    /// Binary logarithm of the side of the leaf that holds a cell.
    pub fn log2(&self, row: usize, col: usize) -> u8 {
        self.log2[row * self.cols + col]
    }

    /// All cells' vectors in row order.
    pub fn vectors(&self) -> &[MotionVector] {
        &self.vectors
    }

    /// Makes an aligned square of cells one leaf.
    ///
    /// # Panics
    /// If the leaf lies outside the field or is not aligned to its own size.
    pub fn set(&mut self, leaf: Leaf) {
        let n = leaf.cells();
        assert!(leaf.row.is_multiple_of(n) && leaf.col.is_multiple_of(n), "a leaf is aligned to its size");
        for row in leaf.row..leaf.row + n {
            let at = row * self.cols + leaf.col;
            self.vectors[at..at + n].fill(leaf.vector);
            self.log2[at..at + n].fill(leaf.log2);
        }
    }

    /// All leaves in coding order: roots in row order, within a root the quarters in Z order.
    pub fn leaves(&self) -> impl Iterator<Item = Leaf> + '_ {
        let root = ROOT / CELL;
        let (rows, cols) = (self.rows / root, self.cols / root);
        (0..rows * cols).flat_map(move |tree| self.root_leaves(tree / cols * root, tree % cols * root))
    }

    /// The leaves of the root whose first cell is (`row`, `col`), in coding order.
    pub(super) fn root_leaves(&self, row: usize, col: usize) -> impl Iterator<Item = Leaf> + '_ {
        let (root, top, left) = (ROOT / CELL, row, col);
        let mut next = 0;
        std::iter::from_fn(move || {
            // `next` counts cells of the root in Z order.
            (next < root * root).then(|| {
                let (row, col) = (top + odd_bits(next >> 1), left + odd_bits(next));
                let log2 = self.log2(row, col);
                next += 1 << (2 * (log2 - MIN_LOG2));
                Leaf { row, col, log2, vector: self.vector(row, col) }
            })
        })
    }

    /// The root whose first cell is (`row`, `col`).
    pub(super) fn root(&self, row: usize, col: usize) -> RootCells {
        let at = |i: usize| (row + i) * self.cols + col;
        RootCells {
            vectors: std::array::from_fn(|i| *self.vectors[at(i)..].first_chunk().expect("a root lies within the field")),
            log2: std::array::from_fn(|i| *self.log2[at(i)..].first_chunk().expect("a root lies within the field")),
        }
    }

    /// Replaces the root whose first cell is (`row`, `col`).
    pub(super) fn set_root(&mut self, row: usize, col: usize, root: &RootCells) {
        for (i, (vectors, log2)) in root.vectors.iter().zip(&root.log2).enumerate() {
            let at = (row + i) * self.cols + col;
            self.vectors[at..][..vectors.len()].copy_from_slice(vectors);
            self.log2[at..][..log2.len()].copy_from_slice(log2);
        }
    }

    /// Makes some rows of cells those of another field, as far as it has them, and the size that field's.
    pub(super) fn resemble(&mut self, other: &Self, rows: Range<usize>) {
        (self.rows, self.cols) = (other.rows, other.cols);
        self.vectors.resize(other.vectors.len(), MotionVector::default());
        self.log2.resize(other.log2.len(), MAX_LOG2);
        let cells = rows.start.min(self.rows) * self.cols..rows.end.min(self.rows) * self.cols;
        self.vectors[cells.clone()].copy_from_slice(&other.vectors[cells.clone()]);
        self.log2[cells.clone()].copy_from_slice(&other.log2[cells]);
    }
}

/// Bits 0, 2, 4, ... of a position in Z order: its column (of the position shifted right by one: its row).
fn odd_bits(z: usize) -> usize {
    (0..MAX_LOG2 - MIN_LOG2).fold(0, |sum, bit| sum | (z >> (2 * bit) & 1) << bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_come_in_z_order_and_cover_the_field() {
        let mut field = BlockField::still(128, 64);
        let leaf = |row, col, log2, x| Leaf { row, col, log2, vector: MotionVector { x, y: -x } };
        for quarter in [leaf(0, 0, 5, 1), leaf(0, 4, 5, 2), leaf(4, 0, 5, 3), leaf(4, 4, 5, 4)] {
            field.set(quarter);
        }
        for quarter in [leaf(0, 4, 4, 5), leaf(0, 6, 4, 6), leaf(2, 4, 4, 7), leaf(2, 6, 4, 8)] {
            field.set(quarter);
        }
        let found: Vec<Leaf> = field.leaves().collect();
        let wanted = [
            leaf(0, 0, 5, 1),
            leaf(0, 4, 4, 5),
            leaf(0, 6, 4, 6),
            leaf(2, 4, 4, 7),
            leaf(2, 6, 4, 8),
            leaf(4, 0, 5, 3),
            leaf(4, 4, 5, 4),
            leaf(0, 8, 6, 0),
        ];
        assert_eq!(found, wanted);
        assert_eq!(found.iter().map(|l| l.cells() * l.cells()).sum::<usize>(), field.rows() * field.cols());
    }

    #[test]
    #[should_panic(expected = "aligned")]
    fn a_leaf_is_aligned() {
        BlockField::still(64, 64).set(Leaf { row: 1, col: 0, log2: 4, vector: MotionVector::default() });
    }
}
