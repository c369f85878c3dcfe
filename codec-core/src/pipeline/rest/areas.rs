//! The search for areas of a P-frame that have nothing to code.

use crate::Result;
use crate::entropy::EntropyModel;
use crate::frame::Frame;
use crate::integer::Machine;
use crate::kernels::PACKED_CHANNELS;
use crate::kernels::pack::{PackTarget, pack_residual};
use crate::quality::{LEAST_WORTH, QualityGrid, RestMap};
use crate::rt::{AnalysisScratch, Branch};

/// Memory of the search.
#[derive(Default)]
pub(in crate::pipeline) struct AreaSearch {
    packed: Vec<i16>,
}

/// A frame and its prediction, of coded size, and how the grid of their residual is rotated.
#[derive(Clone, Copy)]
pub(in crate::pipeline) struct Residual<'a> {
    pub frame: &'a Frame,
    pub prediction: &'a Frame,
    pub shift: (i32, i32),
}

impl AreaSearch {
    /// The areas of a residual whose linear channels are not expected to be worth their bits at this quality; `None` if there is none.
    /// `model`: of residuals.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig) if sizes do not fit.
    pub fn find(
        &mut self,
        residual: Residual,
        (branch, model): (&Branch, &EntropyModel),
        quality: QualityGrid,
        threads: usize,
    ) -> Result<Option<RestMap>> {
        if !model.config().transforms {
            return Ok(None);
        }
        let Residual { frame, prediction, shift } = residual;
        let (rows, cols) = (frame.height() / 16, frame.width() / 16);
        let machine = Machine::new(threads);
        self.packed.resize(4 * rows * cols * PACKED_CHANNELS, 0);
        let target = PackTarget { data: &mut self.packed, channels: PACKED_CHANNELS, offset: 0 };
        pack_residual(frame, prediction, shift, target, threads)?;
        let packed = &self.packed;
        let mut worths = vec![0.0; rows * cols / 16];
        // A row of areas at a time.
        machine.for_positions(&mut worths, cols / 4, |first, worths| {
            let (alone, mut analysis, mut y) = (Machine::new(1), AnalysisScratch::default(), Vec::new());
            let line = 16 * cols * PACKED_CHANNELS;
            for (row, worths) in (first..).zip(worths.chunks_exact_mut(cols / 4)) {
                branch.analysis.run_linear_alone(alone, &packed[row * line..][..line], (8, 2 * cols), &mut analysis);
                branch.gains.quantiser_domain(alone, &analysis, quality.from_row(4 * row), &mut y);
                for (cell, position) in y.chunks_exact(model.config().channels).enumerate() {
                    worths[cell % cols / 4] += model.worth(position);
                }
            }
        });
        let map = RestMap::new((rows, cols), |(row, col)| worths[row * cols / 4 + col] <= LEAST_WORTH);
        Ok(Some(map).filter(|map| !map.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Model, ModelSource};

    #[test]
    fn areas_rest_where_nothing_is_worth_its_bits() {
        let model = Model::load(&ModelSource::Embedded).unwrap();
        let parts = (&model.rt.as_ref().unwrap().residual, &model.residual_entropy);
        let mut prediction = Frame::new(192, 128);
        prediction.planes_mut().iter_mut().for_each(|plane| plane.data.fill(90));
        // What is small, and what is not: in the second area of the first row, and in chroma of the third of the second row.
        let mut frame = prediction.clone();
        (100..104).for_each(|row| frame.planes_mut()[0].row_mut(row)[20..24].fill(94));
        (20..30).for_each(|row| frame.planes_mut()[0].row_mut(row)[70..76].fill(140));
        (40..50).for_each(|row| frame.planes_mut()[2].row_mut(row)[80..88].fill(120));
        let mut search = AreaSearch::default();
        let mut resting = |frame: &Frame, shift, quality, threads| -> Vec<(usize, usize)> {
            let residual = Residual { frame, prediction: &prediction, shift };
            let map = search.find(residual, parts, QualityGrid::uniform(quality), threads).unwrap();
            let places = (0..2).flat_map(|row| (0..3).map(move |col| (row, col)));
            map.map_or(Vec::new(), |map| places.filter(|&place| map.at(place)).collect())
        };
        for threads in [1, 3] {
            assert_eq!(resting(&frame, (0, 0), 38, threads), [(0, 0), (0, 2), (1, 0), (1, 1)]);
        }
        // At the best quality the small thing counts, too; at the worst nothing does.
        assert_eq!(resting(&frame, (0, 0), 0, 1), [(0, 0), (0, 2), (1, 1)]);
        assert_eq!(resting(&frame, (0, 0), 63, 1).len(), 6);
        // Rotated by so much, the patch of luma lies in two areas.
        (20..30).for_each(|row| frame.planes_mut()[0].row_mut(row)[110..120].fill(140));
        assert_eq!(resting(&frame, (0, 14), 38, 1), [(0, 0), (1, 0), (1, 1)]);
        let same = prediction.clone();
        assert_eq!(resting(&same, (2, 6), 0, 1).len(), 6);
    }
}
