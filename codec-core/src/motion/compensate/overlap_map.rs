//! Overlapped prediction as a mixture, for code that works on tensors.

use super::strips::{CELLS, Cells, Pass, ramp};
use crate::motion::overlap::{Mixture, SQUARE};
use crate::motion::{BlockField, CELL, Motion};

/// The motion of up to three leaves for each luma sample, and the weights of their predictions, in row order.
///
/// A luma sample's prediction is ((64 - h) ((64 - v) P0 + v P1) + 64 h P2) / 4096, where P0, P1 and P2 are what each `motion`
/// predicts, v is `vertical` and h is `horizontal`; [`BlockCompensator`](super::BlockCompensator) differs by its roundings
/// only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlapMap {
    /// Of the leaf itself, of its upper or lower neighbour and of its left or right one. Where a weight is 0, it is the leaf's own.
    pub motion: [Vec<Motion>; 3],
    /// Weight of the upper or lower neighbour, in units of 1/64: 0..=31.
    pub vertical: Vec<u8>,
    /// Weight of the left or right neighbour, in units of 1/64: 0..=31.
    pub horizontal: Vec<u8>,
}

impl OverlapMap {
    /// The map of a field, for all luma samples of the coded size. `golden`: whether there is a golden frame; without one, all leaves
    /// move as their vectors to the last frame say.
    pub fn of(field: &BlockField, golden: bool) -> Self {
        Self::with_scale::<1>(field, golden)
    }

    /// As [`Self::of`], for the samples of a chroma plane. Vectors remain in quarter luma samples; weights are 0..=30.
    pub fn of_chroma(field: &BlockField, golden: bool) -> Self {
        Self::with_scale::<2>(field, golden)
    }

    /// The same by squares of [`SQUARE`]x[`SQUARE`] samples, in row order, within which the motion is one, vertical weights depend on
    /// the row alone and horizontal ones on the column alone. `width`: samples of a row.
    pub fn squares(&self, width: usize) -> Vec<Mixture> {
        let (cols, rows) = (width / SQUARE, self.vertical.len() / width / SQUARE);
        let square = |i: usize| {
            let first = i / cols * SQUARE * width + i % cols * SQUARE;
            let vertical: [u8; SQUARE] = std::array::from_fn(|row| self.vertical[first + row * width]);
            let horizontal: [u8; SQUARE] = std::array::from_fn(|col| self.horizontal[first + col]);
            // Where a weight is 0, no neighbour's motion is known.
            let heaviest = |weights: [u8; SQUARE]| (0..SQUARE).max_by_key(|&at| weights[at]).unwrap_or(0);
            let (row, col) = (heaviest(vertical), heaviest(horizontal));
            let motion = [self.motion[0][first], self.motion[1][first + row * width], self.motion[2][first + col]];
            Mixture { motion, vertical, horizontal }
        };
        (0..rows * cols).map(square).collect()
    }

    /// `S`: luma samples to one of the map, along each side.
    fn with_scale<const S: usize>(field: &BlockField, golden: bool) -> Self {
        let (width, height) = (field.cols() * CELL / S, field.rows() * CELL / S);
        let mut own = Vec::with_capacity(width * height);
        for row in 0..field.rows() {
            let line = (0..field.cols()).flat_map(|col| std::iter::repeat_n(field.motion_with(golden, row, col), CELL / S));
            own.extend(line);
            let first = own.len() - width;
            for _ in 1..CELL / S {
                own.extend_from_within(first..first + width);
            }
        }
        let mut motion = [own.clone(), own.clone(), own];
        let mut weights = [(); 2].map(|()| vec![0; width * height]);
        let roots = (0..field.rows()).step_by(CELLS).flat_map(|row| (0..field.cols()).step_by(CELLS).map(move |col| (row, col)));
        for (row, col) in roots {
            let cells = Cells::new(field, golden, row, col);
            for (i, pass) in [Pass::Vertical, Pass::Horizontal].into_iter().enumerate() {
                cells.strips(pass, |strip| {
                    let ramp = ramp::<1>(strip.overlap / S, strip.far);
                    let (top, left) = (row * CELL + strip.y, col * CELL + strip.x);
                    for y in 0..strip.height / S {
                        let first = (top / S + y) * width + left / S;
                        let samples = first..first + strip.width / S;
                        let line = weights[i][samples.clone()].iter_mut().zip(&mut motion[i + 1][samples]);
                        for (x, (weight, motion)) in line.enumerate() {
                            let [_, blended] = ramp[if pass == Pass::Vertical { y } else { x }];
                            if blended > 0 {
                                (*weight, *motion) = (blended as u8, strip.motion);
                            }
                        }
                    }
                });
            }
        }
        let [vertical, horizontal] = weights;
        Self { motion, vertical, horizontal }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::{Leaf, MotionVector};

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
        let squares = OverlapMap::of(&field, false).squares(64);
        assert_eq!(squares.len(), 256);
        let at = |row: usize, col: usize| squares[row * 16 + col];
        // The upper left corner has no neighbours, and the leaf above another of the same vector does not see it.
        assert_eq!((at(0, 0).vertical, at(0, 0).horizontal), ([0; 4], [0; 4]));
        assert_eq!(at(8, 8).horizontal, [0; 4]);
        // Right edge of the first leaf: overlap of 8, nearest sample last.
        assert_eq!((at(0, 7).horizontal, at(0, 7).motion[2].vector), ([12, 17, 23, 29], vector(2)));
        assert_eq!((at(0, 6).horizontal, at(0, 5).horizontal), ([0, 1, 4, 7], [0; 4]));
        // Left edge of the leaf of 16, and the lower edge of the first: overlap of 16 with the leaf below.
        assert_eq!(at(0, 8).horizontal, [29, 23, 17, 12]);
        assert_eq!((at(7, 0).vertical, at(7, 0).motion[1].vector), ([21, 24, 27, 30], vector(3)));
        assert_eq!(at(4, 0).vertical, [0, 0, 1, 2]);
    }
}
