//! From decoded integers to frames: what encoder and decoder share, so that both hold the same reference.

use super::engine::Engine;
use super::pictures::{Made, Pictures};
use super::rest::Rest;
use super::times::StageTimes;
use crate::Result;
use crate::bitstream::prior_cells;
use crate::detail::DetailMap;
use crate::entropy::LatentGrid;
use crate::flow::FlowField;
use crate::frame::Frame;
use crate::frame::pad::coded_size;
use crate::loopfilter::{FilterCoder, FilterParams, LoopFilter};
use crate::motion::{BlockCompensator, BlockField, PaddedFrame, ROOT, References};
use crate::quality::{FrameQuality, QualityGrid};

pub use super::pictures::Slot;

/// The grid of an I-frame's latent, and of what is shown.
pub const UNSHIFTED: (i32, i32) = (0, 0);

/// The last residual latent and its shift; `None` if no frame since the I-frame had a residual.
pub type ResidualPrior = Option<(LatentGrid, (i32, i32))>;

/// A residual latent whose grid is shifted by `from`, moved along by whole cells to where `to` puts it.
pub fn moved_prior(latent: &LatentGrid, from: (i32, i32), to: (i32, i32)) -> LatentGrid {
    let (dy, dx) = prior_cells(from, to);
    latent.rolled(dy, dx)
}

/// All that later frames depend on, to go back to.
pub struct Saved {
    last: Made,
    golden: PaddedFrame,
    residual_prior: ResidualPrior,
    detail: Option<DetailMap>,
    is_intra: bool,
    is_ahead: bool,
}

/// A reconstruction, and what made it.
pub struct Reconstruction<'a> {
    pub engine: &'a mut dyn Engine,
    pub threads: usize,
    pub frame: &'a Frame,
    /// What the places that stand still were before.
    pub before: &'a Frame,
    /// What of a P-frame has no residual, on the grid that is rotated by `shift`.
    pub rest: &'a Rest,
    pub shift: (i32, i32),
    /// Motion from the one before; `None` after an I-frame and in the `paper` profile.
    pub motion: Option<&'a BlockField>,
    /// What moved the one before.
    pub compensator: &'a mut BlockCompensator,
    /// Visible size.
    pub display: (usize, usize),
    /// Of a P-frame's residual.
    pub quality: &'a FrameQuality,
    pub detail: Option<&'a DetailMap>,
    /// Counts reconstructions from 1.
    pub number: u64,
}

/// Frame memory of a stream and the synthesis side of the networks.
pub struct Reconstructor {
    pub engine: Box<dyn Engine>,
    threads: usize,
    /// Visible size in luma samples.
    display: (usize, usize),
    pictures: Pictures,
    /// The frame before the last in coding order, if a B-frame comes between them.
    earlier: Frame,
    /// The last frame, as a B-frame is predicted from it.
    later: PaddedFrame,
    /// The last keyframe, or the P-frame that took its place.
    golden: PaddedFrame,
    /// The frame that is being reconstructed becomes the golden one.
    renews_golden: bool,
    compensator: BlockCompensator,
    loop_filter: LoopFilter,
    /// Temporal priors of the next frame.
    flow_prior: Option<LatentGrid>,
    residual_prior: ResidualPrior,
    /// Of the last frame, and of the B-frame before it; `None`: the same strength everywhere.
    detail: Option<DetailMap>,
    /// Whether the last frame was an I-frame.
    is_intra: bool,
    /// The last frame was predicted over two frames.
    is_ahead: bool,
    /// Reconstructions made, without B-frames.
    number: u64,
    pub times: StageTimes,
}

impl Reconstructor {
    /// For frames of the given display size.
    pub fn new(engine: Box<dyn Engine>, threads: usize, display: (usize, usize)) -> Self {
        let (width, height) = coded_size(display.0, display.1);
        Self {
            engine,
            threads,
            display,
            // What B-frames need has the right size once there is one.
            pictures: Pictures { last: Made::new(width, height), between: Made::new(ROOT, ROOT) },
            earlier: Frame::new(ROOT, ROOT),
            later: PaddedFrame::default(),
            golden: PaddedFrame::default(),
            renews_golden: false,
            compensator: BlockCompensator::default(),
            loop_filter: LoopFilter::default(),
            flow_prior: None,
            residual_prior: None,
            detail: None,
            is_intra: true,
            is_ahead: false,
            number: 0,
            times: StageTimes::default(),
        }
    }

    /// Goes on with frames of another display size; to be followed by an I-frame. The last reconstruction stays where the coded size
    /// does.
    pub fn resize(&mut self, display: (usize, usize)) {
        let (width, height) = coded_size(display.0, display.1);
        self.pictures.last.resize(width, height);
        self.display = display;
    }

    /// The present state, between two frames of the `rt` profile.
    pub fn save(&self) -> Saved {
        Saved {
            last: self.pictures.last.clone(),
            golden: self.golden.clone(),
            residual_prior: self.residual_prior.clone(),
            detail: self.detail.clone(),
            is_intra: self.is_intra,
            is_ahead: self.is_ahead,
        }
    }

    /// Goes back to a state. Reconstructions are still counted on.
    pub fn restore(&mut self, saved: Saved) {
        let Saved { last, golden, residual_prior, detail, is_intra, is_ahead } = saved;
        (self.pictures.last, self.golden, self.residual_prior) = (last, golden, residual_prior);
        (self.detail, self.is_intra, self.is_ahead) = (detail, is_intra, is_ahead);
    }

    pub fn frame(&self, slot: Slot) -> &Frame {
        &self.pictures.of(slot).frame
    }

    /// A reconstruction, and the times to which to add what is done with it.
    pub fn reconstruction(&mut self, slot: Slot) -> (Reconstruction<'_>, &mut StageTimes) {
        let Made { frame, prediction, quality, motion, rest, shift } = self.pictures.of(slot);
        let before = match slot {
            // It was overwritten, but places that stand still were predicted from it as it was.
            Slot::Last => prediction,
            Slot::Between => &self.earlier,
        };
        let reconstruction = Reconstruction {
            engine: self.engine.as_mut(),
            threads: self.threads,
            frame,
            before,
            rest,
            shift: *shift,
            motion: motion.as_ref(),
            compensator: &mut self.compensator,
            display: self.display,
            quality,
            detail: self.detail.as_ref(),
            number: self.number,
        };
        (reconstruction, &mut self.times)
    }

    /// The prediction of a frame, and the times to which to add what is done with it.
    pub fn prediction_and_times(&mut self, slot: Slot) -> (&Frame, &mut StageTimes) {
        (&self.pictures.of(slot).prediction, &mut self.times)
    }

    pub fn prediction(&self, slot: Slot) -> &Frame {
        &self.pictures.of(slot).prediction
    }

    /// The frames before and after a B-frame.
    pub fn around(&self) -> [&Frame; 2] {
        [&self.earlier, &self.pictures.last.frame]
    }

    /// Rows and columns at 1/`scale` of the coded size.
    pub fn grid(&self, scale: usize) -> (usize, usize) {
        (self.pictures.last.frame.height() / scale, self.pictures.last.frame.width() / scale)
    }

    /// Whether the last frame was an I-frame.
    pub fn is_intra(&self) -> bool {
        self.is_intra
    }

    /// Temporal prior of the flow latent.
    pub fn flow_prior(&self) -> Option<&LatentGrid> {
        self.flow_prior.as_ref()
    }

    /// Temporal prior of the residual latent, moved along by whole cells to where `shift` puts it.
    pub fn residual_prior(&self, shift: (i32, i32)) -> Option<LatentGrid> {
        self.residual_prior.as_ref().map(|(latent, previous)| moved_prior(latent, *previous, shift))
    }

    /// E_I of a frame, kept in the engine.
    pub fn analyse_intra(&mut self, frame: &Frame, quality: &FrameQuality) -> Result<()> {
        let cells = quality.cells(UNSHIFTED);
        self.times.measure("analysis", || self.engine.analyse_intra(frame, cells.grid()))
    }

    /// E_res of a frame and its prediction, kept in the engine.
    pub fn analyse_residual(&mut self, slot: Slot, frame: &Frame, shift: (i32, i32), quality: &FrameQuality) -> Result<()> {
        let (engine, prediction, cells) = (&mut self.engine, &self.pictures.of(slot).prediction, quality.cells(shift));
        self.times.measure("analysis", || engine.analyse_residual(frame, prediction, shift, cells.grid()))
    }

    /// E_flow of a frame and its reference, kept in the engine (`paper` profile).
    pub fn analyse_flow(&mut self, flow: &FlowField, frame: &Frame, quality: u8) -> Result<()> {
        let (engine, reference) = (&mut self.engine, &self.pictures.last.frame);
        self.times.measure("flow analysis", || engine.analyse_flow(flow, frame, reference, quality))
    }

    /// Decodes an I-frame into the reference and forgets the past.
    pub fn intra(&mut self, latent: &LatentGrid, quality: FrameQuality) -> Result<()> {
        let (engine, reference, cells) = (&mut self.engine, &mut self.pictures.last.frame, quality.cells(UNSHIFTED));
        self.times.measure("synthesis", || engine.synthesise_intra(latent, cells.grid(), reference))?;
        self.flow_prior = None;
        self.residual_prior = None;
        self.is_intra = true;
        (self.pictures.last.rest, self.pictures.last.quality, self.pictures.last.motion) = (Rest::Areas(None), quality, None);
        self.renews_golden = true;
        self.number += 1;
        Ok(())
    }

    /// Makes the prediction of a P-frame from its motion in blocks.
    pub fn predict_blocks(&mut self, field: BlockField) -> Result<()> {
        self.predict(&field)?;
        self.accept(field);
        Ok(())
    }

    fn predict(&mut self, field: &BlockField) -> Result<()> {
        let references = References { last: &self.pictures.last.frame, golden: Some(&self.golden) };
        let (compensator, prediction) = (&mut self.compensator, &mut self.pictures.last.prediction);
        let (display, threads) = (self.display, self.threads);
        self.times.measure("prediction", || compensator.predict(references, display, field, threads, prediction))
    }

    /// As [`Self::predict_blocks`], and what the synthesis can do before the residual is known; the reference and its motion stay, in case
    /// that the frame is damaged. [`Self::accept`] follows if it is not.
    pub fn prepare(&mut self, field: &BlockField, shift: (i32, i32), quality: QualityGrid) -> Result<()> {
        self.predict(field)?;
        let (engine, prediction) = (&mut self.engine, &self.pictures.last.prediction);
        self.times.measure("synthesis", || engine.prepare_residual(prediction, shift, quality))
    }

    /// Takes the motion of a frame that was prepared for its own.
    pub fn accept(&mut self, field: BlockField) {
        self.renews_golden = field.renews_golden;
        self.pictures.last.motion = Some(field);
        self.is_ahead = false;
    }

    /// Keeps the last frame for the B-frame that comes between it and the one that is predicted from it just now.
    pub fn keep_earlier(&mut self) {
        if (self.earlier.width(), self.earlier.height()) != (self.pictures.last.frame.width(), self.pictures.last.frame.height())
        {
            self.earlier = Frame::new(self.pictures.last.frame.width(), self.pictures.last.frame.height());
        }
        std::mem::swap(&mut self.earlier, &mut self.pictures.last.frame);
        self.is_ahead = true;
    }

    /// Makes the prediction of a B-frame from its motion, after [`Self::keep_earlier`].
    pub fn predict_between(&mut self, field: BlockField) -> Result<()> {
        self.pictures.between.resize(self.earlier.width(), self.earlier.height());
        self.later.load(&self.pictures.last.frame, self.display, self.threads);
        let references = References { last: &self.earlier, golden: Some(&self.later) };
        let (compensator, prediction) = (&mut self.compensator, &mut self.pictures.between.prediction);
        let (display, threads) = (self.display, self.threads);
        self.times.measure("prediction", || compensator.predict(references, display, &field, threads, prediction))?;
        self.pictures.between.motion = Some(field);
        Ok(())
    }

    /// Whether a frame is worked on with several threads.
    pub fn is_parallel(&self) -> bool {
        self.threads > 1
    }

    /// Makes the prediction of a P-frame from its decoded flow latent (`paper` profile).
    pub fn predict_flow(&mut self, latent: LatentGrid, quality: u8) -> Result<()> {
        let (engine, reference, prediction) = (&mut self.engine, &self.pictures.last.frame, &mut self.pictures.last.prediction);
        self.times.measure("prediction", || engine.predict_flow(&latent, quality, reference, prediction))?;
        self.flow_prior = Some(latent);
        Ok(())
    }

    /// Adds the residual of a frame to its prediction. It becomes the reference, unless it is a B-frame.
    pub fn residual(&mut self, slot: Slot, latent: LatentGrid, quality: FrameQuality, shift: (i32, i32)) -> Result<()> {
        let made = self.pictures.of_mut(slot);
        let (engine, prediction, frame) = (&mut self.engine, &made.prediction, &mut made.frame);
        let cells = quality.cells(shift);
        self.times.measure("synthesis", || engine.synthesise_residual(&latent, prediction, shift, cells.grid(), frame))?;
        // What rests does so on the residual's grid alone.
        let FrameQuality { index, map, rest } = quality;
        made.quality = FrameQuality { index, map, rest: None };
        (made.rest, made.shift) = (Rest::Areas(rest), shift);
        if slot == Slot::Last {
            self.residual_prior = Some((latent, shift));
            self.advance();
        }
        Ok(())
    }

    /// Takes the prediction of a frame for the frame itself.
    pub fn rest(&mut self, slot: Slot, quality: FrameQuality) {
        let made = self.pictures.of_mut(slot);
        made.rest();
        made.quality = quality;
        if slot == Slot::Last {
            self.advance();
        }
    }

    fn advance(&mut self) {
        self.is_intra = false;
        self.number += 1;
    }

    /// Takes back [`Self::residual`] in favour of the prediction. `prior`: what [`Self::take_prior`] gave before, for the last frame.
    pub fn rest_after_all(&mut self, slot: Slot, prior: ResidualPrior) {
        self.pictures.of_mut(slot).rest();
        if slot == Slot::Last {
            self.residual_prior = prior;
        }
    }

    /// The state of the residual's temporal prior, which is gone from here.
    pub fn take_prior(&mut self) -> ResidualPrior {
        self.residual_prior.take()
    }

    /// Applies the loop filter to what [`Self::intra`], [`Self::rest`] or [`Self::residual`] made, and so finishes the frame.
    pub fn filter(&mut self, slot: Slot, params: Option<&FilterParams>) {
        if let Some(params) = params {
            let (display, threads) = (self.display, self.threads);
            let (filter, frame) = (&mut self.loop_filter, &mut self.pictures.of_mut(slot).frame);
            self.times.measure("loop filter", || filter.apply(params, display, frame, threads));
        }
        if slot == Slot::Last && std::mem::take(&mut self.renews_golden) {
            self.golden.load(&self.pictures.last.frame, self.display, self.threads);
        }
    }

    /// How much detail is to be added to the last frame, from place to place; `None`: the same everywhere.
    pub fn set_detail(&mut self, map: Option<DetailMap>) {
        self.detail = map;
    }

    /// The loop filter's parameters that bring what [`Self::intra`] or [`Self::residual`] made nearer to `original`.
    pub fn fit_filter(&mut self, slot: Slot, original: &Frame, coder: &FilterCoder, lambda: f64) -> Option<FilterParams> {
        let (filter, frame) = (&mut self.loop_filter, &self.pictures.of(slot).frame);
        let (display, threads) = (self.display, self.threads);
        self.times.measure("loop filter's search", || filter.estimate(original, frame, display, coder, lambda, threads))
    }

    /// Moves the reference on as the last frame moved: a guess at a frame that is lost. Without motion it stays as it is.
    pub fn extrapolate(&mut self) -> Result<()> {
        let last = &mut self.pictures.last;
        if let Some(field) = &mut last.motion {
            if std::mem::take(&mut self.is_ahead) {
                *field = field.halved();
            }
            // A fade that goes on is a guess too many.
            field.light = None;
            let references = References { last: &last.frame, golden: None };
            self.compensator.predict(references, self.display, field, self.threads, &mut last.prediction)?;
            std::mem::swap(&mut last.frame, &mut last.prediction);
            last.rest = Rest::Areas(None);
            self.number += 1;
        }
        Ok(())
    }
}
