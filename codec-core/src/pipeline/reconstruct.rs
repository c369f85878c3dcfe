//! From decoded integers to frames: what encoder and decoder share, so that both hold the same reference.

use std::rc::Rc;

use tch::Tensor;

use super::tensors::{from_frame, from_latent, from_nhwc, to_nhwc, to_prediction};
use super::times::StageTimes;
use crate::Result;
use crate::bitstream::prior_cells;
use crate::entropy::LatentGrid;
use crate::frame::Frame;
use crate::frame::pad::coded_size;
use crate::kernels::pack::{PackTarget, pack_prediction};
use crate::kernels::unpack::unpack_frame;
use crate::kernels::{PACKED_CHANNELS, Prediction};
use crate::loopfilter::{FilterCoder, FilterParams, LoopFilter};
use crate::model::Model;
use crate::motion::{BlockCompensator, BlockField};
use crate::nn::codec::quality_tensor;

/// The last reconstruction, and what made it.
pub struct Reconstruction<'a> {
    pub frame: &'a Frame,
    /// Motion from the one before; `None` after an I-frame and in the `paper` profile.
    pub motion: Option<&'a BlockField>,
    /// What moved the one before.
    pub compensator: &'a mut BlockCompensator,
    /// Visible size.
    pub display: (usize, usize),
    /// Quality index: of a P-frame's residual.
    pub quality: u8,
    /// Counts reconstructions from 1.
    pub number: u64,
}

/// Frame memory of a stream and the synthesis side of the networks.
pub struct Reconstructor {
    model: Rc<Model>,
    /// Visible size in luma samples.
    display: (usize, usize),
    /// The last reconstruction at coded size, 8 bit: the reference of the next frame.
    reference: Frame,
    compensator: BlockCompensator,
    loop_filter: LoopFilter,
    /// Prediction in 8 bits, and as the networks see it.
    predicted: Frame,
    prediction: Prediction,
    /// Temporal priors of the next frame.
    flow_prior: Option<LatentGrid>,
    residual_prior: Option<(LatentGrid, (i32, i32))>,
    /// Quality index of the last frame's picture.
    quality: u8,
    /// Motion of the last P-frame.
    motion: Option<BlockField>,
    /// Reconstructions made.
    number: u64,
    buffer: Vec<f32>,
    pub times: StageTimes,
}

impl Reconstructor {
    /// For frames of the given display size.
    pub fn new(model: Rc<Model>, display: (usize, usize)) -> Self {
        let (width, height) = coded_size(display.0, display.1);
        Self {
            model,
            display,
            reference: Frame::new(width, height),
            compensator: BlockCompensator::default(),
            loop_filter: LoopFilter::default(),
            predicted: Frame::new(width, height),
            prediction: Prediction::new(width, height),
            flow_prior: None,
            residual_prior: None,
            quality: 0,
            motion: None,
            number: 0,
            buffer: Vec::new(),
            times: StageTimes::default(),
        }
    }

    /// Takes another display size if it has the same coded size; false if it has not. To be followed by an I-frame.
    pub fn resize(&mut self, display: (usize, usize)) -> bool {
        let fits = coded_size(display.0, display.1) == (self.reference.width(), self.reference.height());
        if fits {
            self.display = display;
        }
        fits
    }

    pub fn reference(&self) -> &Frame {
        &self.reference
    }

    /// The last reconstruction, and the times to which to add what is done with it.
    pub fn last_and_times(&mut self) -> (Reconstruction<'_>, &mut StageTimes) {
        let last = Reconstruction {
            frame: &self.reference,
            motion: self.motion.as_ref(),
            compensator: &mut self.compensator,
            display: self.display,
            quality: self.quality,
            number: self.number,
        };
        (last, &mut self.times)
    }

    pub fn prediction(&self) -> &Prediction {
        &self.prediction
    }

    /// Rows and columns at 1/`scale` of the coded size.
    pub fn grid(&self, scale: usize) -> (usize, usize) {
        (self.reference.height() / scale, self.reference.width() / scale)
    }

    /// Whether the last frame was an I-frame.
    pub fn is_intra(&self) -> bool {
        self.residual_prior.is_none()
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

    /// Decodes an I-frame into the reference and forgets the past.
    pub fn intra(&mut self, latent: &LatentGrid, quality: u8) -> Result<()> {
        let branch = &self.model.networks.intra;
        let device = self.model.device;
        let q = quality_tensor(&[quality], device)?;
        let buffer = &mut self.buffer;
        self.times.measure("synthesis", || -> Result<()> {
            let y = branch.coder.dequantise(&from_latent(latent, device)?, &q)?;
            to_nhwc(&branch.synthesis.forward(&y, &q)?, buffer)
        })?;
        let reference = &mut self.reference;
        self.times.measure("unpack", || unpack_frame(buffer, None, (0, 0), reference, 1))?;
        self.flow_prior = None;
        self.residual_prior = None;
        self.quality = quality;
        self.motion = None;
        self.number += 1;
        Ok(())
    }

    /// Makes the prediction of a P-frame from its motion in blocks.
    pub fn predict_blocks(&mut self, field: BlockField) -> Result<()> {
        let (compensator, reference, predicted) = (&mut self.compensator, &self.reference, &mut self.predicted);
        self.times.measure("prediction", || -> Result<()> {
            compensator.predict(reference, self.display, &field, 1, predicted)?;
            self.prediction.load(predicted);
            Ok(())
        })?;
        self.motion = Some(field);
        Ok(())
    }

    /// Makes the prediction of a P-frame from its decoded flow latent (`paper` profile).
    pub fn predict_flow(&mut self, latent: LatentGrid, quality: u8) -> Result<()> {
        let networks = &self.model.networks;
        let device = self.model.device;
        let q = quality_tensor(&[quality], device)?;
        let (reference, prediction) = (&self.reference, &mut self.prediction);
        self.times.measure("prediction", || -> Result<()> {
            let y = networks.flow_codec()?.coder.dequantise(&from_latent(&latent, device)?, &q)?;
            let (motion, sigma) = networks.flow_field(&y, &q)?;
            let predicted = networks.warped(&from_frame(reference, device)?, &motion, &sigma)?;
            to_prediction(&predicted.frame, prediction)
        })?;
        self.flow_prior = Some(latent);
        Ok(())
    }

    /// Adds the residual of a P-frame to its prediction: the new reference.
    pub fn residual(&mut self, latent: LatentGrid, quality: u8, shift: (i32, i32)) -> Result<()> {
        let networks = &self.model.networks;
        let device = self.model.device;
        let q = quality_tensor(&[quality], device)?;
        let (rows, cols) = self.grid(8);
        let buffer = &mut self.buffer;
        buffer.resize(rows * cols * PACKED_CHANNELS, 0.0);
        let prediction = &self.prediction;
        self.times.measure("pack", || {
            pack_prediction(prediction, shift, PackTarget { data: buffer, channels: PACKED_CHANNELS, offset: 0 }, 1)
        })?;
        self.times.measure("synthesis", || -> Result<()> {
            let packed: Tensor = from_nhwc(buffer, rows, cols, PACKED_CHANNELS, device)?;
            let y = networks.residual.coder.dequantise(&from_latent(&latent, device)?, &q)?;
            to_nhwc(&networks.residual_synthesis(&y, &packed, &q)?, buffer)
        })?;
        let reference = &mut self.reference;
        self.times.measure("unpack", || unpack_frame(buffer, Some(prediction), shift, reference, 1))?;
        self.residual_prior = Some((latent, shift));
        self.quality = quality;
        self.number += 1;
        Ok(())
    }

    /// Applies the loop filter to what [`Self::intra`] or [`Self::residual`] made.
    pub fn filter(&mut self, params: Option<&FilterParams>) {
        if let Some(params) = params {
            let (filter, reference, display) = (&mut self.loop_filter, &mut self.reference, self.display);
            self.times.measure("loop filter", || filter.apply(params, display, reference, 1));
        }
    }

    /// The loop filter's parameters that bring what [`Self::intra`] or [`Self::residual`] made nearer to `original`.
    pub fn fit_filter(&mut self, original: &Frame, coder: &FilterCoder, lambda: f64) -> Option<FilterParams> {
        let (filter, reference, display) = (&mut self.loop_filter, &self.reference, self.display);
        self.times.measure("loop filter's search", || filter.estimate(original, reference, display, coder, lambda))
    }

    /// Moves the reference on as the last frame moved: a guess at a frame that is lost. Without motion it stays as it is.
    pub fn extrapolate(&mut self) -> Result<()> {
        if let Some(field) = &self.motion {
            self.compensator.predict(&self.reference, self.display, field, 1, &mut self.predicted)?;
            std::mem::swap(&mut self.reference, &mut self.predicted);
            self.number += 1;
        }
        Ok(())
    }
}
