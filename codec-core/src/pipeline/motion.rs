//! Motion in blocks in the encoder: search, scene cuts, and trees and vectors within a bound.

use super::symbols::Bound;
use super::times::StageTimes;
use crate::bitstream::QUALITY_MAX;
use crate::entropy::SymbolWriter;
use crate::frame::Frame;
use crate::frame::Plane;
use crate::motion::{BlockCompensator, BlockField, BlockSearch, Found, Lambda, Light, MotionCoder, References, SearchEffort};
use crate::quality::{FrameQuality, QualityMap, lambda};

/// Motion may take this share of what a P-frame may have at most.
const MOTION_SHARE: f64 = 0.6;
/// A vector that costs too much is searched again at a quality so many steps worse, so often.
const WORSE: u8 = 8;
const ATTEMPTS: usize = 3;

/// A golden frame that predicts less than this share of the picture, on the mean, gives way to a newer one.
const USEFUL_SHARE: f32 = 0.01;
/// The mean at first, and how many frames it is taken over.
const FIRST_SHARE: f32 = 0.1;
const MEMORY: f32 = 4.0;

/// Searches and codes the motion of one stream.
pub(super) struct MotionEncoder {
    search: BlockSearch,
    coder: MotionCoder,
    /// Mean share of the picture that the golden frame predicted of late.
    golden_share: f32,
    /// Golden frames that were taken for searches so far.
    goldens: u64,
    /// What the last search was for.
    quality: FrameQuality,
    threads: usize,
}

/// What motion depends on between two frames.
pub(super) struct SavedMotion {
    coder: MotionCoder,
    golden_share: f32,
    goldens: u64,
}

/// What errors and bits are worth beside each other, from root to root.
struct Price {
    frame: f64,
    factors: Vec<f64>,
}

impl Price {
    fn of(quality: &FrameQuality) -> Self {
        let index = f64::from(quality.index);
        let frame = lambda(index);
        let relative = |offset: f64| lambda(index + offset) / frame;
        Self { frame, factors: quality.map.iter().flat_map(QualityMap::means).map(relative).collect() }
    }

    fn lambda(&self) -> Lambda<'_> {
        Lambda { frame: self.frame, factors: &self.factors }
    }
}

/// Two frames of coded size and their visible part.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    pub current: &'a Frame,
    pub reference: &'a Frame,
    pub display: (usize, usize),
}

impl MotionEncoder {
    /// For frames of the given display size.
    pub fn new(effort: SearchEffort, threads: usize, (width, height): (usize, usize)) -> Self {
        let coder = MotionCoder::new(width, height);
        Self {
            search: BlockSearch::new(effort),
            coder,
            golden_share: FIRST_SHARE,
            goldens: 0,
            quality: FrameQuality::default(),
            threads,
        }
    }

    /// What the motion of later frames depends on.
    pub fn save(&self) -> SavedMotion {
        SavedMotion { coder: self.coder.clone(), golden_share: self.golden_share, goldens: self.goldens }
    }

    /// Whether [`Self::restore`] can go back to a state: the golden frame that was searched then is still there, or would be taken anew.
    pub fn can_restore(&self, saved: &SavedMotion) -> bool {
        saved.goldens == self.goldens || !saved.coder.track().is_apart()
    }

    /// Goes back to a state.
    pub fn restore(&mut self, saved: SavedMotion) {
        (self.coder, self.golden_share) = (saved.coder, saved.golden_share);
    }

    /// For other searches between two frames of the coded size: only the golden frame stays from one to the next.
    pub fn search_mut(&mut self) -> &mut BlockSearch {
        &mut self.search
    }

    /// Forgets the past: a keyframe comes, of the given display size.
    pub fn reset(&mut self, (width, height): (usize, usize)) {
        self.coder = MotionCoder::new(width, height);
    }

    /// Motion between a frame and the reconstruction of the last one. Between originals, what the coded motion misses would never
    /// be made good, and the errors of all frames would add up.
    pub fn search(&mut self, pair: Pair, quality: FrameQuality, times: &mut StageTimes) -> Found {
        self.quality = quality;
        times.measure("motion search", || self.found(pair))
    }

    fn found(&mut self, pair: Pair) -> Found {
        let Pair { current, reference, display } = pair;
        let (last, threads) = (reference.plane(0), self.threads);
        // The last frame is the golden frame: the next search but one wants it. Streams of keyframes alone never get here.
        if !self.coder.track().is_apart() {
            self.search.set_golden(last, display, threads);
            self.goldens += 1;
        }
        let price = Price::of(&self.quality);
        let lambda = price.lambda();
        let mut from = |last: &Plane| self.search.search(current.plane(0), last, display, &self.coder, lambda, threads);
        let found = from(last);
        let Some(light) = Light::between(last, current.plane(0), display) else { return found };
        let mut changed = last.clone();
        changed.map(&light.luma());
        let mut lit = from(&changed).field;
        lit.light = Some(light);
        // Costs stay those of steady light: a light that fits by chance does not hide a new scene.
        if self.error(pair, &lit) < self.error(pair, &found.field) { Found { field: lit, ..found } } else { found }
    }

    /// Squared error of luma's prediction from the last frame, along the vectors to it.
    fn error(&self, pair: Pair, field: &BlockField) -> u64 {
        let Pair { current, reference, display } = pair;
        let mut predicted = Frame::new(current.width(), current.height());
        let references = References { last: reference, golden: None };
        BlockCompensator::default()
            .predict(references, display, field, self.threads, &mut predicted)
            .expect("all frames of a stream have one size");
        current.plane(0).squared_error(predicted.plane(0), 0..display.1, 0..display.0)
    }

    /// Codes what was found, or what a search at a worse quality finds where that takes too many bits. Gives back the field that the
    /// decoder will see.
    pub fn code(
        &mut self,
        found: Found,
        pair: Pair,
        bound: Option<Bound>,
        writer: &mut SymbolWriter,
        times: &mut StageTimes,
    ) -> BlockField {
        let mut field = found.field;
        let renews = self.golden_is_useless(&field);
        field.renews_golden = renews;
        let mark = writer.mark();
        let before = self.coder.clone();
        for _ in 0..ATTEMPTS {
            times.measure("entropy", || self.coder.encode(&field, writer));
            if bound.is_none_or(|bound| writer.bits() <= bound.part(MOTION_SHARE).wanted) {
                return self.coded();
            }
            writer.rewind(mark);
            self.coder = before.clone();
            let worse = FrameQuality { index: (self.quality.index + WORSE).min(QUALITY_MAX), ..self.quality.clone() };
            field = self.search(pair, worse, times).field;
            field.renews_golden = renews;
        }
        let still = BlockField::still(pair.current.width(), pair.current.height());
        self.coder.encode(&still, writer);
        self.coded()
    }

    /// Searches and codes the motion of a B-frame between two others, at a quality. Gives back the field that the decoder will see.
    pub fn code_between(
        &mut self,
        current: &Frame,
        around: [&Frame; 2],
        display: (usize, usize),
        quality: &FrameQuality,
        writer: &mut SymbolWriter,
    ) -> BlockField {
        let mut coder = self.coder.between();
        let (price, planes) = (Price::of(quality), around.map(|frame| frame.plane(0)));
        let field = self.search.search_between(current.plane(0), planes, display, &coder, price.lambda(), self.threads);
        coder.encode(&field, writer);
        coder.previous().expect("coding leaves the field").clone()
    }

    /// Counts a frame in, and says whether the golden frame has not been of much use in the last ones.
    fn golden_is_useless(&mut self, field: &BlockField) -> bool {
        self.golden_share = match self.coder.track().is_apart() {
            true => self.golden_share + (field.golden_share() - self.golden_share) / MEMORY,
            false => FIRST_SHARE,
        };
        self.golden_share < USEFUL_SHARE
    }

    fn coded(&self) -> BlockField {
        self.coder.previous().expect("coding leaves the field").clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves with `more` light, moved by two samples.
    fn frame(at: usize, more: u8) -> Frame {
        let mut frame = Frame::new(128, 64);
        for (i, sample) in frame.planes_mut()[0].data.iter_mut().enumerate() {
            let place = i + at;
            *sample = 60 + more + (place * place / 5 % 83) as u8;
        }
        frame
    }

    #[test]
    fn a_flash_is_light_and_motion_is_not() {
        let (reference, flash, moved) = (frame(0, 0), frame(0, 20), frame(2, 0));
        let search = |current: &Frame| {
            let pair = Pair { current, reference: &reference, display: (120, 60) };
            MotionEncoder::new(SearchEffort::Fast, 1, (120, 60)).search(
                pair,
                FrameQuality { index: 30, ..FrameQuality::default() },
                &mut StageTimes::default(),
            )
        };
        let (lit, steady) = (search(&flash), search(&moved));
        assert_eq!(lit.field.light, Some(Light::new(256, 20)));
        assert_eq!(steady.field.light, None);
    }
}
