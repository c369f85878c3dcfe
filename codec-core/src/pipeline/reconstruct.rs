//! From decoded integers to frames: what encoder and decoder share, so that both hold the same reference.

use std::rc::Rc;

use tch::Tensor;

use super::tensors::{from_frame, from_latent, from_nhwc, to_nhwc, to_prediction};
use super::times::StageTimes;
use crate::Result;
use crate::bitstream::{Profile, prior_cells};
use crate::entropy::LatentGrid;
use crate::frame::Frame;
use crate::kernels::pack::{PackTarget, pack_prediction};
use crate::kernels::unpack::unpack_frame;
use crate::kernels::{MotionCompensator, PACKED_CHANNELS, Prediction, haar};
use crate::model::Model;
use crate::nn::codec::quality_tensor;

/// The last reconstruction, and what made it.
pub struct Reconstruction<'a> {
    pub frame: &'a Frame,
    /// Motion and blur from the one before at 1/8; empty after an I-frame and in the `paper` profile.
    pub motion: &'a [f32],
    /// What moved the one before.
    pub compensator: &'a mut MotionCompensator,
    /// Quality index: of a P-frame's residual.
    pub quality: u8,
    /// Counts reconstructions from 1.
    pub number: u64,
}

/// Frame memory of a stream and the synthesis side of the networks.
pub struct Reconstructor {
    model: Rc<Model>,
    /// The last reconstruction at coded size, 8 bit: the reference of the next frame.
    reference: Frame,
    compensator: MotionCompensator,
    prediction: Prediction,
    flow_prior: Option<LatentGrid>,
    residual_prior: Option<(LatentGrid, (i32, i32))>,
    /// Quality index of the last frame's picture.
    quality: u8,
    /// Motion and blur of the last P-frame at 1/8, empty after an I-frame.
    motion: Vec<f32>,
    /// Reconstructions made.
    number: u64,
    buffer: Vec<f32>,
    pub times: StageTimes,
}

impl Reconstructor {
    /// For frames of the given coded size (multiples of 64).
    pub fn new(model: Rc<Model>, width: usize, height: usize) -> Self {
        Self {
            reference: Frame::new(width, height),
            compensator: MotionCompensator::new(model.config.luma_filter, model.config.chroma_filter),
            model,
            prediction: Prediction::new(width, height),
            flow_prior: None,
            residual_prior: None,
            quality: 0,
            motion: Vec::new(),
            number: 0,
            buffer: Vec::new(),
            times: StageTimes::default(),
        }
    }

    pub fn reference(&self) -> &Frame {
        &self.reference
    }

    /// The last reconstruction, and the times to which to add what is done with it.
    pub fn last_and_times(&mut self) -> (Reconstruction<'_>, &mut StageTimes) {
        let last = Reconstruction {
            frame: &self.reference,
            motion: &self.motion,
            compensator: &mut self.compensator,
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
        self.motion.clear();
        self.number += 1;
        Ok(())
    }

    /// Makes the prediction of a P-frame from its decoded flow latent.
    pub fn predict(&mut self, latent: LatentGrid, quality: u8) -> Result<()> {
        let networks = &self.model.networks;
        let device = self.model.device;
        let q = quality_tensor(&[quality], device)?;
        if self.model.config.profile == Profile::Paper {
            let y = networks.flow.coder.dequantise(&from_latent(&latent, device)?, &q)?;
            let (motion, sigma) = networks.motion(&y, &q)?;
            let predicted = networks.predict(&from_frame(&self.reference, device)?, &motion, &sigma)?;
            to_prediction(&predicted.frame, &mut self.prediction)?;
            self.flow_prior = Some(latent);
            return Ok(());
        }
        let (rows, cols) = self.grid(16);
        let (motion, mut bands) = (&mut self.motion, Vec::new());
        self.times.measure("flow synthesis", || -> Result<()> {
            let y = networks.flow.coder.dequantise(&from_latent(&latent, device)?, &q)?;
            to_nhwc(&networks.flow.synthesis.forward(&y, &q)?, motion)?;
            to_nhwc(&y, &mut bands)?;
            haar::merge_into(&bands, latent.channels, (rows, cols), motion, 3)
        })?;
        let (compensator, reference, prediction) = (&mut self.compensator, &self.reference, &mut self.prediction);
        self.times.measure("warp", || compensator.predict(reference, motion, 1, prediction))?;
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

    /// Moves the reference on as the last frame moved: a guess at a frame that is lost. Without motion it stays as it is.
    pub fn extrapolate(&mut self) -> Result<()> {
        if self.motion.is_empty() {
            return Ok(());
        }
        let (rows, cols) = self.grid(8);
        let (compensator, reference, prediction) = (&mut self.compensator, &mut self.reference, &mut self.prediction);
        compensator.predict(reference, &self.motion, 1, prediction)?;
        self.buffer.clear();
        self.buffer.resize(rows * cols * PACKED_CHANNELS, 0.0);
        unpack_frame(&self.buffer, Some(prediction), (0, 0), reference, 1)?;
        self.number += 1;
        Ok(())
    }
}
