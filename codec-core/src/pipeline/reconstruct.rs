//! From decoded integers to frames: what encoder and decoder share, so that both hold the same reference.

use super::engine::Engine;
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
use crate::motion::{BlockCompensator, BlockField, PaddedFrame, References};
use crate::quality::{FrameQuality, QualityGrid};

/// The grid of an I-frame's latent, and of what is shown.
pub const UNSHIFTED: (i32, i32) = (0, 0);

/// The last residual latent and its shift; `None` if no frame since the I-frame had a residual.
pub type ResidualPrior = Option<(LatentGrid, (i32, i32))>;

/// The last reconstruction, and what made it.
pub struct Reconstruction<'a> {
    pub engine: &'a mut dyn Engine,
    pub threads: usize,
    pub frame: &'a Frame,
    /// What a P-frame was predicted to be.
    pub prediction: &'a Frame,
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
    /// The last reconstruction at coded size, 8 bit: the reference of the next frame.
    reference: Frame,
    /// The last keyframe, or the P-frame that took its place.
    golden: PaddedFrame,
    /// The frame that is being reconstructed becomes the golden one.
    renews_golden: bool,
    compensator: BlockCompensator,
    loop_filter: LoopFilter,
    prediction: Frame,
    /// Temporal priors of the next frame.
    flow_prior: Option<LatentGrid>,
    residual_prior: ResidualPrior,
    /// Of the last frame's picture.
    quality: FrameQuality,
    /// Of the last frame; `None`: the same strength everywhere.
    detail: Option<DetailMap>,
    /// Motion of the last P-frame.
    motion: Option<BlockField>,
    /// What of the last frame has no residual, and how the grid of that is rotated.
    rest: Rest,
    shift: (i32, i32),
    /// Whether the last frame was an I-frame.
    is_intra: bool,
    /// Reconstructions made.
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
            reference: Frame::new(width, height),
            golden: PaddedFrame::default(),
            renews_golden: false,
            compensator: BlockCompensator::default(),
            loop_filter: LoopFilter::default(),
            prediction: Frame::new(width, height),
            flow_prior: None,
            residual_prior: None,
            quality: FrameQuality::default(),
            detail: None,
            motion: None,
            rest: Rest::Areas(None),
            shift: UNSHIFTED,
            is_intra: true,
            number: 0,
            times: StageTimes::default(),
        }
    }

    /// Goes on with frames of another display size; to be followed by an I-frame. The last reconstruction stays where the coded size
    /// does.
    pub fn resize(&mut self, display: (usize, usize)) {
        let (width, height) = coded_size(display.0, display.1);
        if (width, height) != (self.reference.width(), self.reference.height()) {
            self.reference = Frame::new(width, height);
            self.prediction = Frame::new(width, height);
            self.motion = None;
        }
        self.display = display;
    }

    pub fn reference(&self) -> &Frame {
        &self.reference
    }

    /// The last reconstruction, and the times to which to add what is done with it.
    pub fn last_and_times(&mut self) -> (Reconstruction<'_>, &mut StageTimes) {
        let last = Reconstruction {
            engine: self.engine.as_mut(),
            threads: self.threads,
            frame: &self.reference,
            prediction: &self.prediction,
            rest: &self.rest,
            shift: self.shift,
            motion: self.motion.as_ref(),
            compensator: &mut self.compensator,
            display: self.display,
            quality: &self.quality,
            detail: self.detail.as_ref(),
            number: self.number,
        };
        (last, &mut self.times)
    }

    /// The prediction, and the times to which to add what is done with it.
    pub fn prediction_and_times(&mut self) -> (&Frame, &mut StageTimes) {
        (&self.prediction, &mut self.times)
    }

    pub fn prediction(&self) -> &Frame {
        &self.prediction
    }

    /// Rows and columns at 1/`scale` of the coded size.
    pub fn grid(&self, scale: usize) -> (usize, usize) {
        (self.reference.height() / scale, self.reference.width() / scale)
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
        self.residual_prior.as_ref().map(|(latent, previous)| {
            let (dy, dx) = prior_cells(*previous, shift);
            latent.rolled(dy, dx)
        })
    }

    /// E_I of a frame, kept in the engine.
    pub fn analyse_intra(&mut self, frame: &Frame, quality: &FrameQuality) -> Result<()> {
        let cells = quality.cells(UNSHIFTED);
        self.times.measure("analysis", || self.engine.analyse_intra(frame, cells.grid()))
    }

    /// E_res of a frame and its prediction, kept in the engine.
    pub fn analyse_residual(&mut self, frame: &Frame, shift: (i32, i32), quality: &FrameQuality) -> Result<()> {
        let (engine, prediction, cells) = (&mut self.engine, &self.prediction, quality.cells(shift));
        self.times.measure("analysis", || engine.analyse_residual(frame, prediction, shift, cells.grid()))
    }

    /// E_flow of a frame and its reference, kept in the engine (`paper` profile).
    pub fn analyse_flow(&mut self, flow: &FlowField, frame: &Frame, quality: u8) -> Result<()> {
        let (engine, reference) = (&mut self.engine, &self.reference);
        self.times.measure("flow analysis", || engine.analyse_flow(flow, frame, reference, quality))
    }

    /// Decodes an I-frame into the reference and forgets the past.
    pub fn intra(&mut self, latent: &LatentGrid, quality: FrameQuality) -> Result<()> {
        let (engine, reference, cells) = (&mut self.engine, &mut self.reference, quality.cells(UNSHIFTED));
        self.times.measure("synthesis", || engine.synthesise_intra(latent, cells.grid(), reference))?;
        self.flow_prior = None;
        self.residual_prior = None;
        self.rest = Rest::Areas(None);
        self.is_intra = true;
        self.quality = quality;
        self.motion = None;
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
        let references = References { last: &self.reference, golden: Some(&self.golden) };
        let (compensator, prediction) = (&mut self.compensator, &mut self.prediction);
        let (display, threads) = (self.display, self.threads);
        self.times.measure("prediction", || compensator.predict(references, display, field, threads, prediction))
    }

    /// As [`Self::predict_blocks`], and what the synthesis can do before the residual is known; the reference and its motion stay, in case
    /// that the frame is damaged. [`Self::accept`] follows if it is not.
    pub fn prepare(&mut self, field: &BlockField, shift: (i32, i32), quality: QualityGrid) -> Result<()> {
        self.predict(field)?;
        let (engine, prediction) = (&mut self.engine, &self.prediction);
        self.times.measure("synthesis", || engine.prepare_residual(prediction, shift, quality))
    }

    /// Takes the motion of a frame that was prepared for its own.
    pub fn accept(&mut self, field: BlockField) {
        self.renews_golden = field.renews_golden;
        self.motion = Some(field);
    }

    /// Whether a frame is worked on with several threads.
    pub fn is_parallel(&self) -> bool {
        self.threads > 1
    }

    /// Makes the prediction of a P-frame from its decoded flow latent (`paper` profile).
    pub fn predict_flow(&mut self, latent: LatentGrid, quality: u8) -> Result<()> {
        let (engine, reference, prediction) = (&mut self.engine, &self.reference, &mut self.prediction);
        self.times.measure("prediction", || engine.predict_flow(&latent, quality, reference, prediction))?;
        self.flow_prior = Some(latent);
        Ok(())
    }

    /// Adds the residual of a P-frame to its prediction: the new reference.
    pub fn residual(&mut self, latent: LatentGrid, quality: FrameQuality, shift: (i32, i32)) -> Result<()> {
        let (engine, prediction, reference) = (&mut self.engine, &self.prediction, &mut self.reference);
        let cells = quality.cells(shift);
        self.times.measure("synthesis", || engine.synthesise_residual(&latent, prediction, shift, cells.grid(), reference))?;
        self.residual_prior = Some((latent, shift));
        self.is_intra = false;
        // What rests does so on the residual's grid alone.
        let FrameQuality { index, map, rest } = quality;
        self.quality = FrameQuality { index, map, rest: None };
        (self.rest, self.shift) = (Rest::Areas(rest), shift);
        self.number += 1;
        Ok(())
    }

    /// Takes the prediction of a P-frame for the frame itself.
    pub fn rest(&mut self, quality: FrameQuality) {
        self.reference.clone_from(&self.prediction);
        self.rest = Rest::Frame;
        self.is_intra = false;
        self.quality = quality;
        self.number += 1;
    }

    /// Takes back [`Self::residual`] in favour of the prediction. `prior`: what [`Self::take_prior`] gave before.
    pub fn rest_after_all(&mut self, prior: ResidualPrior) {
        self.reference.clone_from(&self.prediction);
        self.rest = Rest::Frame;
        self.residual_prior = prior;
    }

    /// The state of the residual's temporal prior, which is gone from here.
    pub fn take_prior(&mut self) -> ResidualPrior {
        self.residual_prior.take()
    }

    /// Applies the loop filter to what [`Self::intra`], [`Self::rest`] or [`Self::residual`] made, and so finishes the frame.
    pub fn filter(&mut self, params: Option<&FilterParams>) {
        if let Some(params) = params {
            let (filter, reference) = (&mut self.loop_filter, &mut self.reference);
            let (display, threads) = (self.display, self.threads);
            self.times.measure("loop filter", || filter.apply(params, display, reference, threads));
        }
        if std::mem::take(&mut self.renews_golden) {
            self.golden.load(&self.reference, self.display, self.threads);
        }
    }

    /// How much detail is to be added to the last frame, from place to place; `None`: the same everywhere.
    pub fn set_detail(&mut self, map: Option<DetailMap>) {
        self.detail = map;
    }

    /// The loop filter's parameters that bring what [`Self::intra`] or [`Self::residual`] made nearer to `original`.
    pub fn fit_filter(&mut self, original: &Frame, coder: &FilterCoder, lambda: f64) -> Option<FilterParams> {
        let (filter, reference) = (&mut self.loop_filter, &self.reference);
        let (display, threads) = (self.display, self.threads);
        self.times.measure("loop filter's search", || filter.estimate(original, reference, display, coder, lambda, threads))
    }

    /// Moves the reference on as the last frame moved: a guess at a frame that is lost. Without motion it stays as it is.
    pub fn extrapolate(&mut self) -> Result<()> {
        if let Some(field) = &mut self.motion {
            // A fade that goes on is a guess too many.
            field.light = None;
            let references = References { last: &self.reference, golden: None };
            self.compensator.predict(references, self.display, field, self.threads, &mut self.prediction)?;
            std::mem::swap(&mut self.reference, &mut self.prediction);
            self.rest = Rest::Areas(None);
            self.number += 1;
        }
        Ok(())
    }
}
