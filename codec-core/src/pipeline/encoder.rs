//! Frames to units.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tch::Tensor;

use super::config::{EncoderConfig, FrameOptions, Speed, Unit, check_quality, check_video};
use super::reconstruct::Reconstructor;
use super::symbols::{Bound, FrameSymbols, LatentJob};
use super::tensors::{from_nhwc, packed_tensor};
use super::times::StageTimes;
use crate::bitstream::{self, FrameHeader, FrameType, SequenceHeader, VideoInfo};
use crate::device;
use crate::entropy::{MEAN_OVERHEAD_BYTES, SymbolWriter};
use crate::flow::{FlowEstimator, FlowField, MotionSearch};
use crate::frame::pad::{coded_size, pad_into};
use crate::frame::{Frame, FrameView};
use crate::kernels::haar::{self, FLOW_BANDS};
use crate::kernels::pack::{PackTarget, pack_frame, pack_prediction, pack_residual};
use crate::kernels::{PACKED_CHANNELS, Prediction};
use crate::model::Model;
use crate::nn::codec::{FLOW_INPUT, quality_tensor};
use crate::quality::lambda;
use crate::rate::{RateController, RateMode};
use crate::scene::{CutDetector, Thumbnail};
use crate::{Error, Result};

/// Seed of the random shifts. Any value does; a fixed one makes streams repeatable.
const SHIFT_SEED: u32 = 0x4e47_4331;

/// Bytes of a unit around its payload: P-frames, I-frames.
const FRAMING_BYTES: [f64; 2] = [11.0, 64.0];
/// Motion may take this share of what a P-frame may have at most.
const MOTION_SHARE: f64 = 0.6;

/// Encodes one stream. One unit for every frame, in order, without delay.
pub struct Encoder {
    model: Rc<Model>,
    sequence: SequenceHeader,
    threads: usize,
    quality: u8,
    key_int_max: u32,
    max_memory: Option<u64>,
    reconstructor: Reconstructor,
    estimator: MotionSearch,
    current: Frame,
    rate: RateController,
    last_time: Option<Duration>,
    cuts: Option<CutDetector>,
    symbols: FrameSymbols,
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
        config.validate()?;
        let device = device::open(&config.device)?;
        let threads = if config.threads == 0 { device::AUTO_THREADS } else { config.threads };
        device::use_threads(threads);
        let mut model = Model::load(&config.model, device)?;
        model.set_detail((config.detail * 255.0).round() as u8)?;
        let model = Rc::new(model);
        let (width, height) = coded_size(config.video.width as usize, config.video.height as usize);
        let pixels = f64::from(config.video.width) * f64::from(config.video.height);
        let rate = RateController::new(config.rate, pixels, model.config.intra_quality_offset);
        let sequence = SequenceHeader {
            model_id: model.id.short(),
            profile: model.config.profile,
            random_shift: model.config.random_shift.then_some(SHIFT_SEED),
            detail: model.detail(),
            video: config.video,
        };
        let search = match config.speed {
            Speed::Fast => MotionSearch::fast,
            Speed::Medium => MotionSearch::medium,
        };
        Ok(Self {
            estimator: search(model.config.luma_filter),
            reconstructor: Reconstructor::new(Rc::clone(&model), width, height),
            model,
            sequence,
            threads,
            quality: config.quality,
            key_int_max: config.key_int_max,
            max_memory: config.max_memory,
            current: Frame::new(width, height),
            rate,
            last_time: None,
            cuts: config.scene_cut.then(CutDetector::default),
            symbols: FrameSymbols::default(),
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
                "a frame of {}x{} in a stream of {}x{}: announce another size with set_video",
                frame.width, frame.height, video.width, video.height
            )));
        }
        if let Some(quality) = options.quality {
            check_quality(quality)?;
            self.quality = quality;
        }
        pad_into(frame, &mut self.current)?;
        let luma = self.current.plane(0);
        let picture = || Thumbnail::new(&luma.data, frame.width, frame.height, luma.stride);
        let new_scene = self.cuts.as_mut().is_some_and(|cuts| cuts.push(picture()));
        let keyframe = options.force_keyframe
            || new_scene
            || self.since_keyframe.is_none_or(|since| self.key_int_max > 0 && since + 1 >= self.key_int_max);
        device::use_threads(self.threads);
        let _no_grad = tch::no_grad_guard();
        let since = self.since_keyframe.take();
        self.symbols.writer = SymbolWriter::new();
        let (quality, bound) = self.plan(keyframe, options.time);
        let unit = if keyframe { self.encode_intra(quality, bound) } else { self.encode_inter(quality, bound) }?;
        self.rate.report(keyframe, unit.quality, 8.0 * unit.data.len() as f64);
        self.units.push_back(unit);
        self.since_keyframe = Some(if keyframe { 0 } else { since.map_or(0, |s| s + 1) });
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
        self.last_time = None;
        self.rate.reset();
        if let Some(cuts) = &mut self.cuts {
            cuts.reset();
        }
    }

    /// Goes on with another video; the next frame is a keyframe. Frame numbers and what rate control learned go on.
    ///
    /// # Errors
    /// As [`Self::new`], for the video's values.
    pub fn set_video(&mut self, video: VideoInfo) -> Result<()> {
        check_video(&video, self.max_memory)?;
        let (width, height) = coded_size(video.width as usize, video.height as usize);
        if self.reconstructor.grid(1) != (height, width) {
            self.reconstructor = Reconstructor::new(Rc::clone(&self.model), width, height);
            self.current = Frame::new(width, height);
        }
        self.sequence.video = video;
        self.since_keyframe = None;
        self.cuts = self.cuts.is_some().then(CutDetector::default);
        Ok(())
    }

    /// Holds another rate from the next frame on.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] naming the value and its range.
    pub fn set_rate(&mut self, rate: RateMode) -> Result<()> {
        rate.validate()?;
        if rate != *self.rate.mode() {
            self.rate.set_mode(rate);
        }
        Ok(())
    }

    /// Largest distance between keyframes from now on, in frames; 0: no largest.
    pub fn set_key_int_max(&mut self, frames: u32) {
        self.key_int_max = frames;
    }

    /// Turns keyframes at scene cuts on or off.
    pub fn set_scene_cut(&mut self, on: bool) {
        if on != self.cuts.is_some() {
            self.cuts = on.then(CutDetector::default);
        }
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

    /// Quality index of the next frame, and what rate control lets its symbols take.
    fn plan(&mut self, keyframe: bool, time: Option<Duration>) -> (u8, Option<Bound>) {
        let elapsed = match (self.last_time, time) {
            (Some(last), Some(now)) => now.checked_sub(last).map(|d| d.as_secs_f64()),
            _ => None,
        };
        self.last_time = time.or(self.last_time);
        let Some(plan) = self.rate.plan(keyframe, elapsed) else {
            let offset = if keyframe { self.model.config.intra_quality_offset } else { 0 };
            return (self.quality.saturating_sub(offset), None);
        };
        let overhead = 8.0 * (MEAN_OVERHEAD_BYTES + FRAMING_BYTES[usize::from(keyframe)]);
        let less = |bits: f64| (bits - overhead).max(0.0);
        (plan.quality, Some(Bound { wanted: less(plan.wanted_bits), most: less(plan.max_bits) }))
    }

    fn encode_intra(&mut self, quality: u8, bound: Option<Bound>) -> Result<Unit> {
        let device = self.model.device;
        let q = quality_tensor(&[quality], device)?;
        let model = Rc::clone(&self.model);
        let packed = {
            let (current, buffer) = (&self.current, &mut self.buffer);
            self.reconstructor.times.measure("pack", || packed_tensor(current, buffer, device))?
        };
        let branch = &model.networks.intra;
        let y = self.reconstructor.times.measure("analysis", || branch.analysis.forward(&packed, &q))?;
        let job = LatentJob { coder: &branch.coder, entropy: &model.intra_entropy, tables: &model.tables, y: &y, prior: None };
        let (latent, quality) = self.symbols.code(job, quality, bound, &mut self.reconstructor.times)?;
        self.reconstructor.intra(&latent, quality)?;
        self.finish_unit(FrameHeader::new(FrameType::I, quality, self.frame_number))
    }

    fn encode_inter(&mut self, quality: u8, bound: Option<Bound>) -> Result<Unit> {
        let device = self.model.device;
        let model = Rc::clone(&self.model);
        let networks = &model.networks;

        let field = self.estimate_motion(quality)?;
        let (input, bands) = self.flow_input(&field)?;
        let q = quality_tensor(&[quality], device)?;
        let y = self.reconstructor.times.measure("flow analysis", || networks.flow_transform(&input, &bands, &q))?;
        let prior = self.reconstructor.flow_prior().cloned();
        let job = LatentJob {
            coder: &networks.flow.coder,
            entropy: &model.flow_entropy,
            tables: &model.tables,
            y: &y,
            prior: prior.as_ref(),
        };
        let motion_bound = bound.map(|bound| bound.part(MOTION_SHARE));
        let (latent, quality) = self.symbols.code(job, quality, motion_bound, &mut self.reconstructor.times)?;
        self.reconstructor.predict(latent, quality)?;

        let video = &self.sequence.video;
        let prediction = self.reconstructor.prediction();
        prediction.fill_padding(video.width as usize, video.height as usize, &mut self.current);
        let shift = self.sequence.shift_of(self.frame_number);
        let input = self.residual_input(shift)?;
        let branch = &networks.residual;
        let q = quality_tensor(&[quality], device)?;
        let y = self.reconstructor.times.measure("analysis", || branch.analysis.forward(&input, &q))?;
        let prior = self.reconstructor.residual_prior(shift);
        let job = LatentJob {
            coder: &branch.coder,
            entropy: &model.residual_entropy,
            tables: &model.tables,
            y: &y,
            prior: prior.as_ref(),
        };
        let (latent, residual_quality) = self.symbols.code(job, quality, bound, &mut self.reconstructor.times)?;
        self.reconstructor.residual(latent, residual_quality, shift)?;
        self.finish_unit(FrameHeader { residual_quality, ..FrameHeader::new(FrameType::P, quality, self.frame_number) })
    }

    /// Flow from the current frame to the last reconstruction. Between originals, what the coded motion misses would never
    /// be made good, and the errors of all frames would add up.
    fn estimate_motion(&mut self, quality: u8) -> Result<FlowField> {
        let (current, estimator, video) = (self.current.plane(0), &mut self.estimator, &self.sequence.video);
        let (last, times) = self.reconstructor.last_and_times();
        times.measure("flow estimation", || {
            let mut field = estimator.estimate(current, last.frame.plane(0), lambda(f64::from(quality)))?;
            field.pad_beyond(video.width as usize, video.height as usize);
            Ok(field)
        })
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

    fn finish_unit(&mut self, header: FrameHeader) -> Result<Unit> {
        let writer = &mut self.symbols.writer;
        let estimated_bits = writer.bits().ceil() as u64;
        let payload = self.reconstructor.times.measure("range coding", || writer.finish());
        let keyframe = header.is_keyframe();
        let data = bitstream::write_unit(&header, keyframe.then_some(&self.sequence), &payload)?;
        let (quality, frame_number) = (header.residual_quality, header.frame_number);
        Ok(Unit { data, keyframe, frame_number, quality, estimated_bits })
    }
}
