//! Overlapped prediction as a mixture, for code that works on tensors.

use super::strips::{CELLS, Cells, Pass, ramp};
use crate::motion::{BlockField, CELL, MotionVector};

/// Up to three vectors for each luma sample, and the weights of their predictions, in row order.
///
/// A luma sample's prediction is ((64 - h) ((64 - v) P0 + v P1) + 64 h P2) / 4096, where P0, P1 and P2 are the reference's values
/// along `vectors`, v is `vertical` and h is `horizontal`; [`BlockCompensator`](super::BlockCompensator) differs by its roundings
/// only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlapMap {
    /// Of the leaf itself, of its upper or lower neighbour and of its left or right one. Where a weight is 0, the vector is the
    /// leaf's own.
    pub vectors: [Vec<MotionVector>; 3],
    /// Weight of the upper or lower neighbour, in units of 1/64: 0..=31.
    pub vertical: Vec<u8>,
    /// Weight of the left or right neighbour, in units of 1/64: 0..=31.
    pub horizontal: Vec<u8>,
}

impl OverlapMap {
    /// The map of a field, for all luma samples of the coded size.
    pub fn of(field: &BlockField) -> Self {
        Self::with_scale::<1>(field)
    }

    /// As [`Self::of`], for the samples of a chroma plane. Vectors remain in quarter luma samples; weights are 0..=30.
    pub fn of_chroma(field: &BlockField) -> Self {
        Self::with_scale::<2>(field)
    }

    /// `S`: luma samples to one of the map, along each side.
    fn with_scale<const S: usize>(field: &BlockField) -> Self {
        let (width, height) = (field.cols() * CELL / S, field.rows() * CELL / S);
        let mut own = Vec::with_capacity(width * height);
        for row in 0..field.rows() {
            let line = (0..field.cols()).flat_map(|col| std::iter::repeat_n(field.vector(row, col), CELL / S));
            own.extend(line);
            let first = own.len() - width;
            for _ in 1..CELL / S {
                own.extend_from_within(first..first + width);
            }
        }
        let mut vectors = [own.clone(), own.clone(), own];
        let mut weights = [(); 2].map(|()| vec![0; width * height]);
        let roots = (0..field.rows()).step_by(CELLS).flat_map(|row| (0..field.cols()).step_by(CELLS).map(move |col| (row, col)));
        for (row, col) in roots {
            let cells = Cells::new(field, row, col);
            for (i, pass) in [Pass::Vertical, Pass::Horizontal].into_iter().enumerate() {
                cells.strips(pass, |strip| {
                    let ramp = ramp::<1>(strip.overlap / S, strip.far);
                    let (top, left) = (row * CELL + strip.y, col * CELL + strip.x);
                    for y in 0..strip.height / S {
                        let first = (top / S + y) * width + left / S;
                        let samples = first..first + strip.width / S;
                        let line = weights[i][samples.clone()].iter_mut().zip(&mut vectors[i + 1][samples]);
                        for (x, (weight, vector)) in line.enumerate() {
                            let [_, blended] = ramp[if pass == Pass::Vertical { y } else { x }];
                            if blended > 0 {
                                (*weight, *vector) = (blended as u8, strip.vector);
                            }
                        }
                    }
                });
            }
        }
        let [vertical, horizontal] = weights;
        Self { vectors, vertical, horizontal }
    }
}
