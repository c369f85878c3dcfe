//! The motion of a frame: vectors on the leaves of quadtrees.

use std::ops::Range;

use super::Light;

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

impl MotionVector {
    /// The same way back.
    pub fn turned(self) -> Self {
        Self { x: -self.x, y: -self.y }
    }

    /// Half of the way, rounded towards no motion.
    pub fn halved(self) -> Self {
        Self { x: self.x / 2, y: self.y / 2 }
    }
}

/// What a leaf takes from the golden frame, which is kept from further back (VP8's term).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Golden {
    /// Nothing: the leaf is predicted from the last frame.
    #[default]
    Unused,
    /// The mean of both predictions; the vector leads to the golden frame.
    Mixed(MotionVector),
    /// The golden frame's prediction alone. The leaf's vector to the last frame still says how the picture moves.
    Alone(MotionVector),
}

impl Golden {
    /// The vector to the golden frame, where that is used.
    pub fn vector(self) -> Option<MotionVector> {
        match self {
            Self::Unused => None,
            Self::Mixed(vector) | Self::Alone(vector) => Some(vector),
        }
    }
}

/// All that a cell is predicted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Motion {
    /// To the last frame.
    pub vector: MotionVector,
    /// What is taken from the golden frame.
    pub golden: Golden,
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
    golden: [[Golden; ROOT / CELL]; ROOT / CELL],
    log2: [[u8; ROOT / CELL]; ROOT / CELL],
}

/// The motion of a frame of coded size (sides are multiples of [`ROOT`]): a grid of [`CELL`]x[`CELL`] cells, each of which knows
/// its leaf's vectors and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockField {
    rows: usize,
    cols: usize,
    vectors: Vec<MotionVector>,
    golden: Vec<Golden>,
    log2: Vec<u8>,
    /// The frame that is predicted becomes the golden frame of those after it.
    pub renews_golden: bool,
    /// The last frame is changed so before anything is predicted from it.
    pub light: Option<Light>,
}

impl BlockField {
    /// No motion: every root is one leaf with a zero vector. `width` and `height` are the coded size in luma samples.
    ///
    /// # Panics
    /// If a side is no multiple of [`ROOT`].
    pub fn still(width: usize, height: usize) -> Self {
        assert!(width.is_multiple_of(ROOT) && height.is_multiple_of(ROOT), "{width}x{height} is no coded size");
        let (rows, cols) = (height / CELL, width / CELL);
        let cells = rows * cols;
        Self {
            rows,
            cols,
            vectors: vec![MotionVector::default(); cells],
            golden: vec![Golden::Unused; cells],
            log2: vec![MAX_LOG2; cells],
            renews_golden: false,
            light: None,
        }
    }

    /// Rows of cells.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of cells.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Vector to the last frame of the leaf that holds a cell.
    pub fn vector(&self, row: usize, col: usize) -> MotionVector {
        self.vectors[row * self.cols + col]
    }

    /// What the leaf that holds a cell takes from the golden frame.
    pub fn golden(&self, row: usize, col: usize) -> Golden {
        self.golden[row * self.cols + col]
    }

    /// All that the leaf that holds a cell is predicted by.
    pub fn motion(&self, row: usize, col: usize) -> Motion {
        Motion { vector: self.vector(row, col), golden: self.golden(row, col) }
    }

    /// The same where there may be no golden frame: without one, leaves move as their vectors to the last frame say.
    pub(super) fn motion_with(&self, golden: bool, row: usize, col: usize) -> Motion {
        let motion = self.motion(row, col);
        if golden { motion } else { Motion { golden: Golden::Unused, ..motion } }
    }

    /// Whether any leaf uses the golden frame.
    pub fn uses_golden(&self) -> bool {
        self.golden.iter().any(|&golden| golden != Golden::Unused)
    }

    /// Share of the cells that the golden frame predicts, alone or with the last one, 0..=1.
    pub fn golden_share(&self) -> f32 {
        self.golden.iter().filter(|&&golden| golden != Golden::Unused).count() as f32 / self.golden.len() as f32
    }

    /// Binary logarithm of the side of the leaf that holds a cell.
    pub fn log2(&self, row: usize, col: usize) -> u8 {
        self.log2[row * self.cols + col]
    }

    /// All cells' vectors to the last frame in row order.
    pub fn vectors(&self) -> &[MotionVector] {
        &self.vectors
    }

    /// The same leaves, moved half as far.
    pub(crate) fn halved(&self) -> Self {
        Self { vectors: self.vectors.iter().map(|vector| vector.halved()).collect(), ..self.clone() }
    }

    /// Makes an aligned square of cells one leaf, which does not use the golden frame.
    ///
    /// # Panics
    /// If the leaf lies outside the field or is not aligned to its own size.
    pub fn set(&mut self, leaf: Leaf) {
        let n = leaf.cells();
        assert!(leaf.row.is_multiple_of(n) && leaf.col.is_multiple_of(n), "a leaf is aligned to its size");
        for row in leaf.row..leaf.row + n {
            let at = row * self.cols + leaf.col;
            self.vectors[at..at + n].fill(leaf.vector);
            self.golden[at..at + n].fill(Golden::Unused);
            self.log2[at..at + n].fill(leaf.log2);
        }
    }

    /// Says what a leaf takes from the golden frame.
    ///
    /// # Panics
    /// If the leaf lies outside the field.
    pub fn set_golden(&mut self, leaf: &Leaf, golden: Golden) {
        let n = leaf.cells();
        for row in leaf.row..leaf.row + n {
            self.golden[row * self.cols + leaf.col..][..n].fill(golden);
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
            golden: std::array::from_fn(|i| *self.golden[at(i)..].first_chunk().expect("a root lies within the field")),
            log2: std::array::from_fn(|i| *self.log2[at(i)..].first_chunk().expect("a root lies within the field")),
        }
    }

    /// Replaces the root whose first cell is (`row`, `col`).
    pub(super) fn set_root(&mut self, row: usize, col: usize, root: &RootCells) {
        for i in 0..ROOT / CELL {
            let cells = (row + i) * self.cols + col..(row + i) * self.cols + col + ROOT / CELL;
            self.vectors[cells.clone()].copy_from_slice(&root.vectors[i]);
            self.golden[cells.clone()].copy_from_slice(&root.golden[i]);
            self.log2[cells].copy_from_slice(&root.log2[i]);
        }
    }

    /// Makes some rows of cells those of another field, as far as it has them, and the size that field's.
    pub(super) fn resemble(&mut self, other: &Self, rows: Range<usize>) {
        (self.rows, self.cols) = (other.rows, other.cols);
        self.vectors.resize(other.vectors.len(), MotionVector::default());
        self.golden.resize(other.golden.len(), Golden::Unused);
        self.log2.resize(other.log2.len(), MAX_LOG2);
        let cells = rows.start.min(self.rows) * self.cols..rows.end.min(self.rows) * self.cols;
        self.vectors[cells.clone()].copy_from_slice(&other.vectors[cells.clone()]);
        self.golden[cells.clone()].copy_from_slice(&other.golden[cells.clone()]);
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
