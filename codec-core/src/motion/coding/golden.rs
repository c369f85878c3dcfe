//! Where cells come from in the golden frame, as far as coded motion tells.

use crate::motion::{BlockField, CELL, Leaf, MAX_COMPONENT, MIN_LOG2, MotionVector};

/// Vectors from each cell of the last frame to the golden frame: those that were coded, elsewhere the frames' vectors one after the
/// other. Predicts the vectors to the golden frame at no bits.
#[derive(Clone, Debug)]
pub struct GoldenTrack {
    rows: usize,
    cols: usize,
    vectors: Vec<MotionVector>,
    is_apart: bool,
    /// In place of the golden frame stands the one on the other side, as far away as the last one: what moves goes on as it came.
    mirrors: bool,
}

impl GoldenTrack {
    /// The last frame is the golden frame. `width` and `height`: coded size in luma samples.
    pub fn still(width: usize, height: usize) -> Self {
        let (rows, cols) = (height / CELL, width / CELL);
        Self { rows, cols, vectors: vec![MotionVector::default(); rows * cols], is_apart: false, mirrors: false }
    }

    /// For a frame in the middle between two: the later one takes the golden frame's place.
    pub fn mirror() -> Self {
        Self { rows: 0, cols: 0, vectors: Vec::new(), is_apart: true, mirrors: true }
    }

    /// Whether the golden frame is another one than the last frame.
    pub fn is_apart(&self) -> bool {
        self.is_apart
    }

    /// Where a leaf comes from in the golden frame if `vector` leads to where it was in the last one: the sum of `vector` and that of
    /// the cell that its centre came from, each component limited to [`MAX_COMPONENT`].
    pub fn predict(&self, leaf: &Leaf, vector: MotionVector) -> MotionVector {
        if self.mirrors {
            return vector.turned();
        }
        // In quarter samples; a cell's side has 32.
        let cell = |first: usize, v: i16, end: usize| {
            let centre = (first * 32 + leaf.cells() * 16) as i32 + i32::from(v);
            (centre >> 5).clamp(0, end as i32 - 1) as usize
        };
        let before = self.vectors[cell(leaf.row, vector.y, self.rows) * self.cols + cell(leaf.col, vector.x, self.cols)];
        let sum = |a: i16, b: i16| (a + b).clamp(-MAX_COMPONENT, MAX_COMPONENT);
        MotionVector { x: sum(vector.x, before.x), y: sum(vector.y, before.y) }
    }

    /// How a leaf moved since the last frame, if `golden` leads from it to the golden frame: `golden` less the vector of the cell at the
    /// leaf's centre, each component limited to [`MAX_COMPONENT`].
    pub fn motion(&self, leaf: &Leaf, golden: MotionVector) -> MotionVector {
        if self.mirrors {
            return golden.turned();
        }
        let middle = leaf.cells() / 2;
        let before = self.vectors[(leaf.row + middle) * self.cols + leaf.col + middle];
        let difference = |a: i16, b: i16| (a - b).clamp(-MAX_COMPONENT, MAX_COMPONENT);
        MotionVector { x: difference(golden.x, before.x), y: difference(golden.y, before.y) }
    }

    /// Goes on to the frame that a field predicts.
    pub fn follow(&mut self, field: &BlockField) {
        let cells = (0..self.rows).flat_map(|row| (0..self.cols).map(move |col| (row, col)));
        let vector = |(row, col)| {
            let vector = field.vector(row, col);
            let cell = Leaf { row, col, log2: MIN_LOG2, vector };
            field.golden(row, col).vector().unwrap_or_else(|| self.predict(&cell, vector))
        };
        self.vectors = cells.map(vector).collect();
        self.is_apart = true;
    }
}
