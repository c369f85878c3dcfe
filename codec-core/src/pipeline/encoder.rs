//! Frames to units.

use std::collections::VecDeque;
use std::rc::Rc;

use tch::Tensor;

use super::reconstruct::Reconstructor;
use super::tensors::{from_nhwc, to_nhwc};
use super::times::StageTimes;
use crate::bitstream::{self, FrameHeader, FrameType, QUALITY_MAX, SequenceHeader, VideoInfo};
use crate::device::{self, DeviceSpec};
use crate::entropy::{EntropyModel, LatentGrid, LatentInput, Scratch, SymbolWriter, encode_latent};
use crate::flow::{DisFlow, FlowEstimator, FlowField};
use crate::frame::pad::{coded_size, pad_into};
use crate::frame::{Frame, FrameView, Plane};
use crate::kernels::haar::{self, FLOW_BANDS};
use crate::kernels::pack::{PackTarget, pack_frame, pack_prediction, pack_residual};
use crate::kernels::{PACKED_CHANNELS, Prediction};
use crate::model::{Model, ModelSource};
use crate::nn::codec::{FLOW_INPUT, quality_tensor};
use crate::nn::entropy::EntropyNet;
use crate::{Error, Limits, Result};

/// Seed of the random shifts. Any value does; a fixed one makes streams repeatable.
const SHIFT_SEED: u32 = 0x4e47_4331;

/// How to encode a stream.
#[derive(Clone, Debug)]
pub struct EncoderConfig {
    pub video: VideoInfo,
    /// Quality index 0..=63 of P-frames, lower is better.
    pub quality: u8,
    /// Largest distance between keyframes in frames; 0: only the first frame is one.
    pub key_int_max: u32,
    /// Threads of the networks; 0: automatic, which is 1 (see [`device::AUTO_THREADS`]).
    pub threads: usize,
    pub device: DeviceSpec,
    pub model: ModelSource,
}

impl EncoderConfig {
    /// Defaults for a video: quality 32, a keyframe every 250 frames, best device, built-in model.
    pub fn new(video: VideoInfo) -> Self {
        Self { video, quality: 32, key_int_max: 250, threads: 0, device: DeviceSpec::Auto, model: ModelSource::Embedded }
    }
}

/// What differs from frame to frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameOptions {
    pub force_keyframe: bool,
    /// Quality index of this frame and all later ones.
    pub quality: Option<u8>,
}

/// One coded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    pub data: Vec<u8>,
    pub keyframe: bool,
    pub frame_number: u32,
    /// Bits that the entropy model estimated for the symbols; the unit has some bytes of framing more.
    pub estimated_bits: u64,
}

/// Encodes one stream. One unit for every frame, in order, without delay.
pub struct Encoder {
    model: Rc<Model>,
    sequence: SequenceHeader,
    threads: usize,
    quality: u8,
    key_int_max: u32,
    reconstructor: Reconstructor,
    estimator: Box<dyn FlowEstimator>,
    current: Frame,
    previous_luma: Plane,
    writer: SymbolWriter,
    scratch: Scratch,
    buffer: Vec<f32>,
    frame_number: u32,
    /// Frames since the last keyframe; `None` before the first one and after a reset.
    since_keyframe: Option<u32>,
    units: VecDeque<Unit>,
}

// SAFETY: tensors may move between threads; what keeps the encoder from it is that encoder and reconstructor share the
// model. No other owner of that `Rc` exists, so both always move together.
unsafe impl Send for Encoder {}

impl Encoder {
    /// Opens the device and loads the model.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] and [`Error::Limit`] naming the value and its range; what [`Model::load`] and
    /// [`device::open`] say.
    pub fn new(config: EncoderConfig) -> Result<Self> {
        check_quality(config.quality)?;
        config.video.validate()?;
        Limits::default().check_size(config.video.width, config.video.height)?;
        let device = device::open(&config.device)?;
        let threads = if config.threads == 0 { device::AUTO_THREADS } else { config.threads };
        device::use_threads(threads);
        let model = Rc::new(Model::load(&config.model, device)?);
        let (width, height) = coded_size(config.video.width as usize, config.video.height as usize);
        let sequence = SequenceHeader {
            model_id: model.id.short(),
            profile: model.config.profile,
            random_shift: model.config.random_shift.then_some(SHIFT_SEED),
            video: config.video,
        };
        Ok(Self {
            reconstructor: Reconstructor::new(Rc::clone(&model), width, height),
            model,
            sequence,
            threads,
            quality: config.quality,
            key_int_max: config.key_int_max,
            estimator: Box::new(DisFlow::default()),
            current: Frame::new(width, height),
            previous_luma: Plane::new(width, height),
            writer: SymbolWriter::new(),
            scratch: Scratch::default(),
            buffer: Vec::new(),
            frame_number: 0,
            since_keyframe: None,
            units: VecDeque::new(),
        })
    }

    /// Encodes a frame of the configured size.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for a frame of another size or a quality beyond 63. After any error the next frame becomes
    /// a keyframe.
    pub fn send_frame(&mut self, frame: &FrameView, options: FrameOptions) -> Result<()> {
        let video = &self.sequence.video;
        if (frame.width, frame.height) != (video.width as usize, video.height as usize) {
            return Err(Error::InvalidConfig(format!(
                "a frame of {}x{} in a stream of {}x{}: make a new encoder for another size",
                frame.width, frame.height, video.width, video.height
            )));
        }
        if let Some(quality) = options.quality {
            check_quality(quality)?;
            self.quality = quality;
        }
        pad_into(frame, &mut self.current)?;
        let keyframe = options.force_keyframe
            || self.since_keyframe.is_none_or(|since| self.key_int_max > 0 && since + 1 >= self.key_int_max);
        device::use_threads(self.threads);
        let _no_grad = tch::no_grad_guard();
        let since = self.since_keyframe.take();
        self.writer = SymbolWriter::new();
        let unit = if keyframe { self.encode_intra() } else { self.encode_inter() }?;
        self.units.push_back(unit);
        self.since_keyframe = Some(if keyframe { 0 } else { since.map_or(0, |s| s + 1) });
        let luma = self.current.plane(0);
        self.previous_luma.data.copy_from_slice(&luma.data);
        self.frame_number = self.frame_number.wrapping_add(1);
        Ok(())
    }

    /// The next coded frame, `None` if there is none yet.
    pub fn receive_unit(&mut self) -> Option<Unit> {
        self.units.pop_front()
    }

    /// Ends the stream. Nothing is held back at present, so there is nothing to wait for.
    pub fn flush(&mut self) {}

    /// Drops units not received and makes the next frame a keyframe.
    pub fn reset(&mut self) {
        self.units.clear();
        self.since_keyframe = None;
    }

    /// The last reconstruction at coded size, as the decoder has it.
    pub fn reconstruction(&self) -> &Frame {
        self.reconstructor.reference()
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Time spent in each stage so far.
    pub fn times(&mut self) -> &mut StageTimes {
        &mut self.reconstructor.times
    }

    fn encode_intra(&mut self) -> Result<Unit> {
        let quality = self.quality.saturating_sub(self.model.config.intra_quality_offset);
        let device = self.model.device;
        let q = quality_tensor(&[quality], device)?;
        let model = Rc::clone(&self.model);
        let (rows, cols) = self.reconstructor.grid(8);
        let packed = {
            let (current, buffer) = (&self.current, &mut self.buffer);
            self.reconstructor.times.measure("pack", || -> Result<Tensor> {
                buffer.resize(rows * cols * PACKED_CHANNELS, 0.0);
                pack_frame(current, (0, 0), PackTarget { data: buffer, channels: PACKED_CHANNELS, offset: 0 }, 1)?;
                from_nhwc(buffer, rows, cols, PACKED_CHANNELS, device)
            })?
        };
        let branch = &model.networks.intra;
        let y = self
            .reconstructor
            .times
            .measure("analysis", || branch.coder.quantiser_domain(&branch.analysis.forward(&packed, &q)?, &q))?;
        let latent = self.code_latent(&y, &branch.coder.entropy, &model.intra_entropy, quality, None)?;
        self.reconstructor.intra(&latent, quality)?;
        self.finish_unit(FrameType::I, quality)
    }

    fn encode_inter(&mut self) -> Result<Unit> {
        let quality = self.quality;
        let device = self.model.device;
        let q = quality_tensor(&[quality], device)?;
        let model = Rc::clone(&self.model);
        let networks = &model.networks;

        let (current, previous) = (self.current.plane(0), &self.previous_luma);
        let estimator = &mut self.estimator;
        let field = self.reconstructor.times.measure("flow estimation", || estimator.estimate(current, previous))?;
        let (input, bands) = self.flow_input(&field)?;
        let y = self.reconstructor.times.measure("flow analysis", || networks.flow_latent(&input, &bands, &q))?;
        let prior = self.reconstructor.flow_prior().cloned();
        let latent = self.code_latent(&y, &networks.flow.coder.entropy, &model.flow_entropy, quality, prior.as_ref())?;
        self.reconstructor.predict(latent, quality)?;

        let shift = self.sequence.shift_of(self.frame_number);
        let input = self.residual_input(shift)?;
        let y = self.reconstructor.times.measure("analysis", || networks.residual_latent(&input, &q))?;
        let prior = self.reconstructor.residual_prior(shift);
        let latent = self.code_latent(&y, &networks.residual.coder.entropy, &model.residual_entropy, quality, prior.as_ref())?;
        self.reconstructor.residual(latent, quality, shift)?;
        self.finish_unit(FrameType::P, quality)
    }

    /// Inputs of E_flow: `[1, 200, H/8, W/8]` and the Haar bands `[1, 8, H/16, W/16]`.
    fn flow_input(&mut self, field: &FlowField) -> Result<(Tensor, Tensor)> {
        const CHANNELS: usize = FLOW_INPUT as usize;
        let device = self.model.device;
        let ((rows, cols), (half_rows, half_cols)) = (self.reconstructor.grid(8), self.reconstructor.grid(16));
        self.buffer.resize(rows * cols * CHANNELS, 0.0);
        let buffer = &mut self.buffer;
        haar::pack_flow(field, buffer, CHANNELS)?;
        for (frame, offset) in [(&self.current, FLOW_BANDS), (self.reconstructor.reference(), FLOW_BANDS + PACKED_CHANNELS)] {
            pack_frame(frame, (0, 0), PackTarget { data: buffer, channels: CHANNELS, offset }, 1)?;
        }
        let input = from_nhwc(buffer, rows, cols, CHANNELS, device)?;
        let mut bands = vec![0f32; half_rows * half_cols * FLOW_BANDS];
        haar::split(&field.downsample2(), &mut bands)?;
        Ok((input, from_nhwc(&bands, half_rows, half_cols, FLOW_BANDS, device)?))
    }

    /// Input of E_res: packed residual and packed prediction, both shifted.
    fn residual_input(&mut self, shift: (i32, i32)) -> Result<Tensor> {
        const CHANNELS: usize = 2 * PACKED_CHANNELS;
        let (rows, cols) = self.reconstructor.grid(8);
        self.buffer.resize(rows * cols * CHANNELS, 0.0);
        let buffer = &mut self.buffer;
        let prediction: &Prediction = self.reconstructor.prediction();
        pack_residual(&self.current, prediction, shift, PackTarget { data: buffer, channels: CHANNELS, offset: 0 }, 1)?;
        pack_prediction(prediction, shift, PackTarget { data: buffer, channels: CHANNELS, offset: PACKED_CHANNELS }, 1)?;
        from_nhwc(buffer, rows, cols, CHANNELS, self.model.device)
    }

    /// Turns a latent into symbols and gives back what the decoder will see.
    fn code_latent(
        &mut self,
        y: &Tensor,
        net: &EntropyNet,
        entropy: &EntropyModel,
        quality: u8,
        prior: Option<&LatentGrid>,
    ) -> Result<LatentGrid> {
        let (_, _, rows, cols) = y.size4()?;
        let (mut y_values, mut z_values) = (Vec::new(), Vec::new());
        self.reconstructor.times.measure("hyper analysis", || -> Result<()> {
            to_nhwc(&net.hyper_analysis(y)?, &mut z_values)?;
            to_nhwc(y, &mut y_values)
        })?;
        let input = LatentInput { rows: rows as usize, cols: cols as usize, z: &z_values, y: &y_values };
        let (tables, writer, scratch) = (&self.model.tables, &mut self.writer, &mut self.scratch);
        self.reconstructor.times.measure("entropy", || encode_latent(entropy, tables, quality, &input, prior, writer, scratch))
    }

    fn finish_unit(&mut self, frame_type: FrameType, quality: u8) -> Result<Unit> {
        let estimated_bits = self.writer.bits().ceil() as u64;
        let writer = &mut self.writer;
        let payload = self.reconstructor.times.measure("range coding", || writer.finish());
        let header = FrameHeader { frame_type, quality, frame_number: self.frame_number };
        let keyframe = header.is_keyframe();
        let data = bitstream::write_unit(&header, keyframe.then_some(&self.sequence), &payload)?;
        Ok(Unit { data, keyframe, frame_number: self.frame_number, estimated_bits })
    }
}

fn check_quality(quality: u8) -> Result<()> {
    if quality > QUALITY_MAX {
        return Err(Error::InvalidConfig(format!("quality {quality}: the range is 0..={QUALITY_MAX}, lower is better")));
    }
    Ok(())
}
