//! Motion-compensated temporal filter: noise is removed from a frame before it is coded.
//!
//! In: a frame and those after it. Out: the frame as it is coded. Noise and grain differ from frame to frame. Coded, they cost bits in
//! this frame, and again in the next one, whose prediction they spoil. So each sample becomes a weighted mean of itself and of what
//! the motion search finds for it in later frames, which counts less the less it looks alike. As the filters of the reference encoder of VVC
//! (JVET-O0549) and of x265 (`mcstf`).

use std::sync::Arc;

use super::inherit::distortion;
use crate::frame::Frame;
use crate::kernels::parallel::for_bands;
use crate::motion::{BlockCompensator, BlockSearch, Light, MotionCoder, References};
use crate::quality::{QualityMap, lambda};

/// Luma samples to a side of the blocks that are trusted as a whole.
const BLOCK: usize = 8;
/// The squared difference of a sample, or its mean over a block, at which a later frame is half trusted, beside the distortion that
/// goes with the quality there: what is coded well keeps most of its grain.
const LIMIT: f32 = 2.5;
/// The worst quality whose distortion counts: beyond it the estimate is far above what is left in pictures.
const WORST_QUALITY: u8 = 52;
/// Each frame further away counts so much less.
const DECAY: f32 = 0.8;

/// How much later frames count, and how thoroughly they are searched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Strength {
    /// How many of them, at most.
    frames: usize,
    /// What a sample of the next frame weighs beside 1 of the frame's own, where they agree.
    weight: f32,
    /// Whether motion is searched as for coding, or for blocks of 16x16 samples by themselves.
    thorough: bool,
}

impl Strength {
    /// No frame is filtered by more.
    pub const MOST_FRAMES: usize = 4;

    /// For keyframes, from which whole scenes are predicted.
    pub fn keyframe() -> Self {
        Self { frames: Self::MOST_FRAMES, weight: 1.0, thorough: true }
    }

    /// For the others.
    pub fn inter() -> Self {
        Self { frames: 2, weight: 0.3, thorough: false }
    }
}

/// What a frame is filtered by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    /// The frames after it, the next one first. Those of another size end them.
    pub later: &'a [Arc<Frame>],
    /// The upper left part of all of them that is seen.
    pub display: (usize, usize),
    /// Quality index of P-frames.
    pub quality: u8,
    /// How it varies over the picture.
    pub map: Option<&'a QualityMap>,
}

/// A later frame, moved to where its content is in the frame.
struct Moved {
    frame: Frame,
    weight: f32,
}

/// Filters frames.
#[derive(Debug, Default)]
pub(crate) struct TemporalFilter {
    compensator: BlockCompensator,
}

impl TemporalFilter {
    /// Filters a frame of coded size. The result does not depend on `threads`.
    pub fn run(
        &mut self,
        frame: &mut Frame,
        around: &Surroundings,
        strength: Strength,
        search: &mut BlockSearch,
        threads: usize,
    ) {
        let size = (frame.width(), frame.height());
        let later = around.later.iter().take(strength.frames).take_while(|later| (later.width(), later.height()) == size);
        let mut weight = strength.weight;
        let mut moved = Vec::new();
        let mut follower = Follower { around, thorough: strength.thorough, search, compensator: &mut self.compensator, threads };
        for later in later {
            moved.push(Moved { frame: follower.closest(frame, later), weight });
            weight *= DECAY;
        }
        if !moved.is_empty() {
            blend(frame, &moved, &Limits::new(around), threads);
        }
    }
}

/// Moves later frames to where their content is in a frame.
struct Follower<'a> {
    around: &'a Surroundings<'a>,
    thorough: bool,
    search: &'a mut BlockSearch,
    compensator: &'a mut BlockCompensator,
    threads: usize,
}

impl Follower<'_> {
    /// In steady light or in the frame's own.
    fn closest(&mut self, frame: &Frame, later: &Frame) -> Frame {
        let steady = self.moved(frame, later, None);
        let Some(light) = Light::between(later.plane(0), frame.plane(0), self.around.display) else { return steady };
        // A light that fits by chance, as when something dark comes into the picture, predicts no better.
        let lit = self.moved(frame, later, Some(light));
        let [before, after] = [&steady, &lit].map(|moved| error(frame, moved, self.around.display));
        if after < before { lit } else { steady }
    }

    /// `light`: how it changes from the later frame to this one.
    fn moved(&mut self, frame: &Frame, later: &Frame, light: Option<Light>) -> Frame {
        let Surroundings { display, quality, .. } = *self.around;
        let lambda = lambda(quality.into());
        let lit = light.map(|light| {
            let mut lit = later.plane(0).clone();
            lit.map(&light.luma());
            lit
        });
        let (own, theirs) = (frame.plane(0), lit.as_ref().unwrap_or(later.plane(0)));
        let mut field = if self.thorough {
            let coder = MotionCoder::new(display.0, display.1);
            self.search.search(own, theirs, display, &coder, lambda, self.threads).field
        } else {
            self.search.even_field(own, theirs, display, lambda, self.threads)
        };
        field.light = light;
        let mut moved = Frame::new(frame.width(), frame.height());
        let references = References { last: later, golden: None };
        self.compensator
            .predict(references, display, &field, self.threads, &mut moved)
            .expect("the field was made for frames of this size");
        moved
    }
}

/// Squared error of luma.
fn error(frame: &Frame, moved: &Frame, (width, height): (usize, usize)) -> u64 {
    frame.plane(0).squared_error(moved.plane(0), 0..height, 0..width)
}

/// Squared differences at which there is half the trust, for each cell of a quality map.
struct Limits {
    values: Vec<f32>,
    rows: usize,
    cols: usize,
}

impl Limits {
    fn new(around: &Surroundings) -> Self {
        let limit = |steps: i8| {
            let quality = i32::from(around.quality) + QualityMap::STEP * i32::from(steps);
            LIMIT * distortion(quality.clamp(0, WORST_QUALITY.into()) as u8)
        };
        match around.map {
            Some(map) => {
                let (rows, cols) = map.size();
                Self { values: map.values().iter().map(|&steps| limit(steps)).collect(), rows, cols }
            }
            None => Self { values: vec![limit(0)], rows: 1, cols: 1 },
        }
    }

    /// Of the blocks in a row of blocks, without end.
    fn of_row(&self, row: usize) -> impl Iterator<Item = f32> {
        const BLOCKS: usize = QualityMap::CELL / BLOCK;
        let cells = &self.values[(row / BLOCKS).min(self.rows - 1) * self.cols..][..self.cols];
        (0..).map(move |col| cells[(col / BLOCKS).min(self.cols - 1)])
    }
}

/// Takes the weighted means.
fn blend(frame: &mut Frame, moved: &[Moved], limits: &Limits, threads: usize) {
    let [y, u, v] = frame.planes_mut();
    let strides = [y.stride, u.stride, v.stride];
    let sides = [BLOCK, BLOCK / 2, BLOCK / 2];
    let luma = y.data.chunks_mut(sides[0] * strides[0]);
    let chroma = u.data.chunks_mut(sides[1] * strides[1]).zip(v.data.chunks_mut(sides[2] * strides[2]));
    let bands = luma.zip(chroma).map(|(y, (u, v))| [y, u, v]).enumerate();
    for_bands(threads, bands, |(band, planes)| {
        let blocks: Vec<Vec<f32>> = moved
            .iter()
            .map(|moved| {
                let plane = moved.frame.plane(0);
                let lines = [&*planes[0], &plane.data[band * BLOCK * plane.stride..]];
                (0..plane.width)
                    .step_by(BLOCK)
                    .zip(limits.of_row(band))
                    .map(|(x, limit)| {
                        moved.weight * trust(block_error(lines.map(|lines| &lines[x..]), [strides[0], plane.stride]), limit)
                    })
                    .collect()
            })
            .collect();
        let mut sums = Vec::new();
        for (plane, (own, side)) in planes.into_iter().zip(sides).enumerate() {
            for (line, own) in own.chunks_mut(strides[plane]).enumerate() {
                let row = band * side + line;
                sums.clear();
                sums.extend(own.iter().map(|&sample| Sum { own: sample.into(), weighted: sample.into(), weight: 1.0 }));
                for (blocks, moved) in blocks.iter().zip(moved) {
                    let theirs = moved.frame.plane(plane).row(row).chunks(side);
                    let blocks = blocks.iter().zip(limits.of_row(band));
                    for ((sums, theirs), (&weight, limit)) in sums.chunks_mut(side).zip(theirs).zip(blocks) {
                        sums.iter_mut().zip(theirs).for_each(|(sum, &sample)| sum.add(sample, weight, limit));
                    }
                }
                own.iter_mut().zip(&sums).for_each(|(own, sum)| *own = sum.mean());
            }
        }
    });
}

/// Mean squared difference of the first block of two sets of lines.
fn block_error(lines: [&[u8]; 2], strides: [usize; 2]) -> f32 {
    let of_line = |line: usize| {
        let [own, theirs] = [0, 1].map(|i| &lines[i][line * strides[i]..][..BLOCK]);
        own.iter().zip(theirs).map(|(&a, &b)| u32::from(a.abs_diff(b)).pow(2)).sum::<u32>()
    };
    (0..BLOCK).map(of_line).sum::<u32>() as f32 / (BLOCK * BLOCK) as f32
}

/// A weighted mean that grows.
#[derive(Clone, Copy)]
struct Sum {
    own: f32,
    weighted: f32,
    weight: f32,
}

impl Sum {
    fn add(&mut self, sample: u8, most: f32, limit: f32) {
        let sample = f32::from(sample);
        let difference = sample - self.own;
        let weight = most * trust(difference * difference, limit);
        self.weighted += weight * sample;
        self.weight += weight;
    }

    fn mean(&self) -> u8 {
        (self.weighted / self.weight).round() as u8
    }
}

/// 1 where a squared difference is nothing beside the limit, a half at the limit, nothing far beyond.
fn trust(squared: f32, limit: f32) -> f32 {
    let beside = squared / limit;
    1.0 / (1.0 + beside * beside)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::motion::SearchEffort;

    const SIZE: (usize, usize) = (128, 64);
    const DISPLAY: (usize, usize) = (120, 60);

    /// Smooth texture, moved to the left by two samples a frame, with noise of up to `noise` grey levels.
    fn scene(number: usize, noise: i32) -> Frame {
        let mut random = StdRng::seed_from_u64(number as u64);
        let mut frame = Frame::new(SIZE.0, SIZE.1);
        for (plane, scale) in frame.planes_mut().iter_mut().zip([1.0, 2.0, 2.0]) {
            for row in 0..plane.height {
                for (col, sample) in plane.row_mut(row).iter_mut().enumerate() {
                    let (x, y) = (scale * col as f32 + 2.0 * number as f32, scale * row as f32);
                    let value = 120.0 + 40.0 * (x / 7.0).sin() * (y / 9.0).cos() + 20.0 * ((x + y) / 5.0).sin();
                    *sample = (value as i32 + random.random_range(-noise..=noise)) as u8;
                }
            }
        }
        frame
    }

    fn error(a: &Frame, b: &Frame, plane: usize) -> f64 {
        let (width, height) = if plane == 0 { DISPLAY } else { (DISPLAY.0 / 2, DISPLAY.1 / 2) };
        a.plane(plane).squared_error(b.plane(plane), 0..height, 0..width) as f64 / (width * height) as f64
    }

    fn filtered(frame: &Frame, later: &[Arc<Frame>], quality: u8, strength: Strength, threads: usize) -> Frame {
        let mut frame = frame.clone();
        let around = Surroundings { later, display: DISPLAY, quality, map: None };
        TemporalFilter::default().run(&mut frame, &around, strength, &mut BlockSearch::new(SearchEffort::Medium), threads);
        frame
    }

    #[test]
    fn noise_goes_and_what_moves_stays() {
        let (clean, noisy) = (scene(0, 0), scene(0, 6));
        let later: Vec<_> = (1..6).map(|number| Arc::new(scene(number, 6))).collect();
        // A weight of 1 and three more of 0.8 each time leave 0.27 of the noise at best, 0.3 and 0.24 leave 0.49.
        for (strength, most) in [(Strength::keyframe(), 0.45), (Strength::inter(), 0.65)] {
            let result = filtered(&noisy, &later, 38, strength, 1);
            for plane in 0..3 {
                let left = error(&result, &clean, plane) / error(&noisy, &clean, plane);
                assert!(left < most, "{strength:?}, plane {plane}: {left} of the noise is left");
            }
            assert_eq!(result, filtered(&noisy, &later, 38, strength, 3));
        }
    }

    #[test]
    fn a_fade_keeps_its_pace() {
        let mut frame = scene(0, 0);
        let fading = |number: usize| {
            let mut later = scene(0, 0);
            let light = Light::new(256 - 8 * number as u16, 0);
            later.plane_mut(0).map(&light.luma());
            Arc::new(later)
        };
        let later: Vec<_> = (1..5).map(fading).collect();
        let mean = |frame: &Frame| frame.plane(0).data.iter().map(|&v| f64::from(v)).sum::<f64>() / (SIZE.0 * SIZE.1) as f64;
        let before = mean(&frame);
        assert!((before - mean(&later[0])).abs() > 3.0);
        frame = filtered(&frame, &later, 38, Strength::keyframe(), 1);
        assert!((before - mean(&frame)).abs() < 0.5, "{before} {}", mean(&frame));
    }

    #[test]
    fn something_dark_that_comes_is_no_change_of_light() {
        let frame = scene(0, 0);
        let mut later = scene(0, 0);
        for row in 0..SIZE.1 {
            later.plane_mut(0).row_mut(row)[72..].fill(16);
        }
        let result = filtered(&frame, &[Arc::new(later)], 26, Strength::keyframe(), 1);
        let left = result.plane(0).squared_error(frame.plane(0), 0..DISPLAY.1, 0..56);
        assert!(left < 56, "{left}");
    }

    #[test]
    fn the_best_qualities_keep_their_grain() {
        let noisy = scene(0, 6);
        let later = [Arc::new(scene(1, 6))];
        let changed = |quality| error(&filtered(&noisy, &later, quality, Strength::keyframe(), 1), &noisy, 0);
        let [best, good, usual] = [0, 12, 38].map(changed);
        assert!(best < 0.3 && best < good && good < usual && usual > 2.0, "{best}, {good}, {usual}");
    }

    #[test]
    fn places_of_better_quality_keep_their_grain() {
        let noisy = scene(0, 6);
        // The left half of four columns, in steps of 4: from 38 to 2.
        let (rows, cols) = QualityMap::grid(DISPLAY.0 as u32, DISPLAY.1 as u32);
        let values = (0..rows * cols).map(|cell| if cell % cols < 2 { -9 } else { 0 }).collect();
        let map = QualityMap::new(DISPLAY.0 as u32, DISPLAY.1 as u32, values).unwrap();
        let later = [Arc::new(scene(1, 6))];
        let with_map = |map: Option<&QualityMap>, quality| {
            let mut frame = noisy.clone();
            let around = Surroundings { later: &later, display: DISPLAY, quality, map };
            let mut search = BlockSearch::new(SearchEffort::Medium);
            // The map changes what is blended, not the motion, which is that of the frame's quality.
            TemporalFilter::default().run(&mut frame, &around, Strength::keyframe(), &mut search, 1);
            frame
        };
        let (varied, even) = (with_map(Some(&map), 38), with_map(None, 38));
        let difference = |a: &Frame, b: &Frame, plane: usize, cols: std::ops::Range<usize>| {
            a.plane(plane).squared_error(b.plane(plane), 0..SIZE.1 >> plane.min(1), cols)
        };
        for (plane, half) in [(0, 64), (1, 32), (2, 32)] {
            let [kept, changed] = [&varied, &even].map(|frame| difference(frame, &noisy, plane, 0..half));
            assert!(kept * 10 < changed, "plane {plane}: {kept} {changed}");
            assert_eq!(difference(&varied, &even, plane, half..2 * half), 0, "plane {plane}");
        }
    }

    #[test]
    fn other_scenes_and_sizes_count_for_nothing() {
        let frame = scene(0, 0);
        let mut random = StdRng::seed_from_u64(9);
        let mut other = Frame::new(SIZE.0, SIZE.1);
        other.plane_mut(0).data.fill_with(|| random.random());
        // At bad qualities a block is changed by less than is lost anyway.
        for (quality, most) in [(14, 0.05), (38, 8.0)] {
            let changed = error(&filtered(&frame, &[Arc::new(other.clone())], quality, Strength::keyframe(), 1), &frame, 0);
            assert!(changed < most, "{quality}: {changed}");
        }
        let sizes = [Arc::new(Frame::new(64, 64)), Arc::new(scene(1, 6))];
        assert_eq!(filtered(&frame, &sizes, 38, Strength::keyframe(), 1), frame);
        let one = [Arc::new(scene(1, 6))];
        let sizes = [Arc::clone(&one[0]), Arc::new(Frame::new(64, 64))];
        let [one, two] = [&one[..], &sizes].map(|later| filtered(&frame, later, 38, Strength::keyframe(), 1));
        assert_eq!(one, two);
    }
}
