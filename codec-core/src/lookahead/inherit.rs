//! How much each place of a frame matters for the frames after it.
//!
//! What a frame has wrong, the next one inherits where its prediction is good, for then there is no residual worth coding. A place's
//! importance is the number of frames that its error is seen in: itself, and the share of the importance of all places predicted from it that
//! they inherit. As x264's macroblock tree, with distortion in place of information.

use super::Foresight;
use crate::motion::Survey;
use crate::quality::{QualityMap, lambda};

/// Distortion that is left where the bits of a quality index are spent, beside what its lambda stands for at high rates.
const DISTORTION: f64 = 0.4;

/// The mean importance from which on pictures count as still, and the quality indices for each doubling beyond.
const STILL: f32 = 3.0;
const BONUS: f32 = 6.0;

/// Binary logarithms of the importance of the cells of a quality map, in row order; as many as are seen.
pub(crate) type Importance = Vec<f32>;

/// Importance of a frame of a display size with a quality index, of which no more than `frames` later ones are predicted.
pub(crate) fn importance(foresight: &Foresight, display: (usize, usize), quality: u8, frames: usize) -> Importance {
    let [cols, rows] = [display.0, display.1].map(|side| side.div_ceil(Survey::BLOCK));
    let distortion = distortion(quality);
    let mut weights = vec![1.0; rows * cols];
    // A foresight of another video tells nothing.
    let fitting = foresight.surveys.iter().take(frames).take_while(|survey| (survey.cols, survey.rows()) == (cols, rows));
    for survey in fitting.collect::<Vec<_>>().into_iter().rev() {
        weights = inherited(survey, &weights, distortion);
    }
    cells(&weights, (rows, cols))
}

/// An estimate of the squared error, in squared grey levels, that a quality leaves in a sample; far too large at the worst qualities.
pub(super) fn distortion(quality: u8) -> f32 {
    (255.0 * 255.0 * DISTORTION / (2.0 * std::f64::consts::LN_2 * lambda(quality.into()))) as f32
}

/// By how many quality indices a keyframe of such importance is better than keyframes are, 0 to 18: what stands still is paid for once.
pub(crate) fn keyframe_bonus(importance: &Importance) -> u8 {
    let mean = importance.iter().sum::<f32>() / importance.len() as f32;
    (BONUS * (mean - STILL)).round().max(0.0) as u8
}

/// Importance of the blocks of a frame from that of the next one's.
fn inherited(survey: &Survey, next: &[f32], distortion: f32) -> Vec<f32> {
    let (cols, rows) = (survey.cols as i32, survey.rows() as i32);
    let mut weights = vec![1.0; next.len()];
    for (i, (block, weight)) in survey.blocks.iter().zip(next).enumerate() {
        let passed = weight * distortion / (distortion + block.mean_error() as f32);
        // In quarter samples, of which a block has 64.
        let at = |index: usize, component: i16| 64 * index as i32 + i32::from(component);
        let (x, y) = (at(i % survey.cols, block.vector.x), at(i / survey.cols, block.vector.y));
        let (right, lower) = ((x & 63) as f32 / 64.0, (y & 63) as f32 / 64.0);
        for (row, of_row) in [(y >> 6, 1.0 - lower), ((y >> 6) + 1, lower)] {
            for (col, of_col) in [(x >> 6, 1.0 - right), ((x >> 6) + 1, right)] {
                if (0..rows).contains(&row) && (0..cols).contains(&col) {
                    weights[(row * cols + col) as usize] += passed * of_row * of_col;
                }
            }
        }
    }
    weights
}

/// Means over the cells of a quality map.
fn cells(weights: &[f32], (rows, cols): (usize, usize)) -> Importance {
    const BLOCKS: usize = QualityMap::CELL / Survey::BLOCK;
    let mut values = Vec::new();
    for row in (0..rows).step_by(BLOCKS) {
        for col in (0..cols).step_by(BLOCKS) {
            let (mut sum, mut count) = (0.0, 0.0);
            for row in row..(row + BLOCKS).min(rows) {
                for weight in &weights[row * cols..][col..(col + BLOCKS).min(cols)] {
                    sum += weight;
                    count += 1.0;
                }
            }
            values.push(f32::log2(sum / count));
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::motion::{MotionVector, SurveyedBlock};

    const DISPLAY: (usize, usize) = (128, 64);
    const COLS: usize = 8;

    /// Surveys of so many frames in which all blocks are alike.
    fn all(frames: usize, block: SurveyedBlock) -> Foresight {
        let survey = || Arc::new(Survey { cols: COLS, blocks: vec![block; COLS * 4] });
        Foresight { later: Vec::new(), surveys: (0..frames).map(|_| survey()).collect() }
    }

    fn block(x: i16, y: i16, error: u32) -> SurveyedBlock {
        SurveyedBlock { vector: MotionVector { x, y }, error: 16 * error }
    }

    #[test]
    fn a_place_counts_for_every_frame_that_inherits_it() {
        let of = |foresight: &Foresight, quality, frames| importance(foresight, DISPLAY, quality, frames);
        let still = all(7, block(0, 0, 0));
        assert_eq!(of(&still, 30, usize::MAX), [3.0; 8]);
        // Seven frames are not enough to call a picture still; twelve and thirty are.
        let bonus = |frames| keyframe_bonus(&of(&all(frames, block(0, 0, 0)), 30, usize::MAX));
        assert_eq!((bonus(7), bonus(12), bonus(30)), (0, 4, 12));
        // Those of another video count for nothing.
        assert_eq!(importance(&still, (128, 100), 30, usize::MAX), [0.0; 16]);
        // A keyframe comes after three more; after none.
        assert_eq!((of(&still, 30, 3), of(&still, 30, 0)), (vec![2.0; 8], vec![0.0; 8]));
        // What is predicted badly is coded anew, the more so the better the quality.
        let noisy = all(7, block(0, 0, 100));
        let [best, good, bad] = [0, 20, 50].map(|quality| of(&noisy, quality, usize::MAX)[0]);
        assert!(best < 0.2 && best < good && good < bad && bad < 3.0, "{best} {good} {bad}");
    }

    #[test]
    fn importance_goes_to_where_the_content_comes_from() {
        // Everything comes from 32 samples to the right: what leaves the picture on the left matters no more.
        let weights = inherited(&all(1, block(128, 0, 0)).surveys[0], &[1.0; 32], 1.0);
        let line = [1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0];
        assert_eq!(weights, [line; 4].concat());
        // From a quarter of a block to the left and half a block up.
        let mut foresight = all(1, block(0, 0, 1_000_000));
        Arc::get_mut(&mut foresight.surveys[0]).unwrap().blocks[2 * COLS + 4] = block(-16, -32, 0);
        let weights = inherited(&foresight.surveys[0], &[1.0; 32], 1e-6);
        for (row, col, wanted) in [(1, 3, 1.125), (1, 4, 1.375), (2, 3, 1.125), (2, 4, 1.375), (2, 5, 1.0)] {
            assert!((weights[row * COLS + col] - wanted).abs() < 1e-5, "{row} {col}: {weights:?}");
        }
    }

    #[test]
    fn cells_that_are_partly_seen_are_means_of_what_is_seen() {
        // 40 x 24 samples: three columns and two rows of blocks, two cells.
        assert_eq!(cells(&[1.0, 1.0, 4.0, 3.0, 3.0, 4.0], (2, 3)), [1.0, 2.0]);
    }
}
