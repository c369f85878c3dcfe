//! Motion between two originals, for the lookahead.

use super::kernels::Kernels;
use super::pair::Pair;
use super::presets::Preset;
use super::{BlockSearch, SearchEffort};
use crate::frame::Plane;
use crate::kernels::parallel::for_bands;
use crate::motion::{BlockField, CELL, Leaf, MotionVector};

/// Where the blocks of a frame come from in the frame before it, and how well that predicts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Columns of blocks.
    pub cols: usize,
    /// Blocks in row order.
    pub blocks: Vec<SurveyedBlock>,
}

/// One block of a [`Survey`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SurveyedBlock {
    /// Motion to the frame before, in quarter samples.
    pub vector: MotionVector,
    /// Mean squared error of the prediction, in squared grey levels, times 16.
    pub error: u32,
}

impl SurveyedBlock {
    /// Mean squared error of the prediction, in squared grey levels.
    pub fn mean_error(&self) -> f64 {
        f64::from(self.error) / 16.0
    }
}

impl Survey {
    /// Luma samples to a side of a block.
    pub const BLOCK: usize = 16;

    /// Rows of blocks.
    pub fn rows(&self) -> usize {
        self.blocks.len() / self.cols
    }
}

impl BlockSearch {
    /// Motion of blocks of 16x16 samples from `current` to `before`, each found by itself with the effort [`SearchEffort::Fast`], and
    /// what it leaves.
    ///
    /// `current` and `before`: luma planes of the coded size, of which the upper left `display` part (width, height) counts.
    /// `lambda` and `threads`: as for [`Self::search`].
    ///
    /// # Panics
    /// As [`Self::search`].
    pub fn survey(&mut self, current: &Plane, before: &Plane, display: (usize, usize), lambda: f64, threads: usize) -> Survey {
        self.follow_closely(current, before, display, lambda, threads);
        let (cols, rows) = (display.0.div_ceil(Survey::BLOCK), display.1.div_ceil(Survey::BLOCK));
        let mut blocks = vec![SurveyedBlock::default(); cols * rows];
        let (hierarchy, quarters, kernels) = (&self.hierarchy, &self.quarters, self.kernels);
        for_bands(threads, blocks.chunks_exact_mut(cols).enumerate(), |(row, blocks)| {
            for (col, block) in blocks.iter_mut().enumerate() {
                let (x, y) = (col * Survey::BLOCK, row * Survey::BLOCK);
                let vector = hierarchy.sharpened(x, y);
                let pair = Pair {
                    a: &current.data[y * current.stride + x..],
                    a_stride: current.stride,
                    b: quarters.block(x, y, vector),
                    b_stride: quarters.stride(),
                    width: Survey::BLOCK.min(display.0 - x),
                    height: Survey::BLOCK.min(display.1 - y),
                };
                *block = SurveyedBlock { vector, error: mean_error(&pair, kernels) };
            }
        });
        Survey { cols, blocks }
    }

    /// As [`Self::survey`], as a field to predict with. It would be dear to code.
    ///
    /// # Panics
    /// As [`Self::search`].
    pub fn even_field(
        &mut self,
        current: &Plane,
        before: &Plane,
        display: (usize, usize),
        lambda: f64,
        threads: usize,
    ) -> BlockField {
        self.follow_closely(current, before, display, lambda, threads);
        let mut field = BlockField::still(current.width, current.height);
        let cells = Survey::BLOCK / CELL;
        for row in (0..field.rows()).step_by(cells) {
            for col in (0..field.cols()).step_by(cells) {
                let vector = self.hierarchy.sharpened(col * CELL, row * CELL);
                field.set(Leaf { row, col, log2: Survey::BLOCK.ilog2() as u8, vector });
            }
        }
        field
    }

    /// Down to quarter samples, twice: without them, texture that moves looks new.
    fn follow_closely(&mut self, current: &Plane, before: &Plane, display: (usize, usize), lambda: f64, threads: usize) {
        let preset = Preset { sharpening: 6, ..Preset::of(SearchEffort::Fast) };
        self.follow(current, before, display, lambda.into(), &preset, threads);
    }
}

fn mean_error(pair: &Pair, kernels: Kernels) -> u32 {
    16 * kernels.squares(pair) / (pair.width * pair.height) as u32
}
