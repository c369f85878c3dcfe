//! Frames to units.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tch::Tensor;

use super::config::{EncoderConfig, FrameOptions, Speed, Unit, check_quality, check_video};
use super::motion::{MotionEncoder, Pair};
use super::reconstruct::Reconstructor;
use super::symbols::{Bound, FrameSymbols, LatentJob};
use super::tensors::{from_nhwc, packed_tensor};
use super::times::StageTimes;
use crate::bitstream::{self, FrameHeader, FrameType, SequenceHeader, VideoInfo};
use crate::device;
use crate::entropy::{EntropyModel, MEAN_OVERHEAD_BYTES, SymbolWriter};
use crate::flow::{DisFlow, FlowEstimator, FlowField};
use crate::frame::pad::{coded_size, pad_into};
use crate::frame::{Frame, FrameView};
use crate::kernels::flow::{FLOW_CHANNELS, pack_flow};
use crate::kernels::pack::{PackTarget, pack_frame, pack_prediction, pack_residual};
use crate::kernels::{PACKED_CHANNELS, Prediction};
use crate::loopfilter::FilterCoder;
use crate::model::Model;
use crate::motion::{Found, SearchEffort};
use crate::nn::codec::{FLOW_INPUT, quality_tensor};
use crate::quality::lambda;
use crate::rate::{RateController, RateMode};
use crate::scene;
use crate::{Error, Result};

/// Seed of the random shifts. Any value does; a fixed one makes streams repeatable.
const SHIFT_SEED: u32 = 0x4e47_4331;

/// Bytes of a unit around its payload: P-frames, I-frames.
const FRAMING_BYTES: [f64; 2] = [11.0, 64.0];
/// A flow may take this share of what a P-frame may have at most.
const FLOW_SHARE: f64 = 0.6;

/// Encodes one stream. One unit for every frame, in order, without delay.
pub struct Encoder {
    model: Rc<Model>,
    sequence: SequenceHeader,
    threads: usize,
    quality: u8,
    key_int_max: u32,
    max_memory: Option<u64>,
    key_int_min: u32,
    reconstructor: Reconstructor,
    motion: MotionEncoder,
    /// Estimates the flow that the `paper` profile codes.
    estimator: DisFlow,
    filter_coder: FilterCoder,
    current: Frame,
    rate: RateController,
    last_time: Option<Duration>,
    scene_cut: bool,
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
        let display = config.video.display_size();
        let (width, height) = coded_size(display.0, display.1);
        let pixels = f64::from(config.video.width) * f64::from(config.video.height);
        let rate = RateController::new(config.rate, pixels, model.config.intra_quality_offset);
        let sequence = SequenceHeader {
            model_id: model.id.short(),
            profile: model.config.profile,
            random_shift: model.config.random_shift.then_some(SHIFT_SEED),
            detail: model.detail(),
            video: config.video,
        };
        let (effort, estimator) = match config.speed {
            Speed::Fast => (SearchEffort::Fast, DisFlow::fast()),
            Speed::Medium => (SearchEffort::Medium, DisFlow::medium()),
            Speed::Slow => (SearchEffort::Slow, DisFlow::medium()),
        };
        Ok(Self {
            motion: MotionEncoder::new(effort, display),
            estimator,
            filter_coder: FilterCoder::new(display),
            reconstructor: Reconstructor::new(Rc::clone(&model), display),
            model,
            sequence,
            threads,
            quality: config.quality,
            key_int_max: config.key_int_max,
            key_int_min: config.key_int_min,
            max_memory: config.max_memory,
            current: Frame::new(width, height),
            rate,
            last_time: None,
            scene_cut: config.scene_cut,
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
        device::use_threads(self.threads);
        let _no_grad = tch::no_grad_guard();
        let since = self.since_keyframe.take();
        let wanted = options.force_keyframe || since.is_none_or(|since| self.key_int_max > 0 && since + 1 >= self.key_int_max);
        let found = if wanted { None } else { self.look_ahead(since) };
        let keyframe = found.is_none();
        self.symbols.writer = SymbolWriter::new();
        let (quality, bound) = self.plan(keyframe, options.time);
        let unit = match found {
            Some(found) => self.encode_inter(found, quality, bound),
            None => self.encode_intra(quality, bound),
        }?;
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
    }

    /// Goes on with another video; the next frame is a keyframe. Frame numbers and what rate control learned go on.
    ///
    /// # Errors
    /// As [`Self::new`], for the video's values.
    pub fn set_video(&mut self, video: VideoInfo) -> Result<()> {
        check_video(&video, self.max_memory)?;
        let (width, height) = coded_size(video.width as usize, video.height as usize);
        if !self.reconstructor.resize(video.display_size()) {
            self.reconstructor = Reconstructor::new(Rc::clone(&self.model), video.display_size());
            self.current = Frame::new(width, height);
        }
        self.sequence.video = video;
        self.since_keyframe = None;
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

    /// Smallest distance between a keyframe and a scene cut that makes another from now on, in frames.
    pub fn set_key_int_min(&mut self, frames: u32) {
        self.key_int_min = frames;
    }

    /// Turns keyframes at scene cuts on or off.
    pub fn set_scene_cut(&mut self, on: bool) {
        self.scene_cut = on;
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
        let display = self.sequence.video.display_size();
        self.motion.reset(display);
        self.filter_coder = FilterCoder::new(display);
        self.code_filter(quality);
        self.finish_unit(FrameHeader::new(FrameType::I, quality, self.frame_number))
    }

    /// Searches motion for a P-frame; `None` if a new scene starts. `since`: frames since the last keyframe.
    fn look_ahead(&mut self, since: Option<u32>) -> Option<Found> {
        // The quality of the last frame is near enough to that of the next.
        let quality = self.rate.expected_quality().unwrap_or(self.quality);
        let (last, times) = self.reconstructor.last_and_times();
        let samples = last.display.0 * last.display.1;
        let found =
            self.motion.search(Pair { current: &self.current, reference: last.frame, display: last.display }, quality, times);
        let since = since.unwrap_or(0) + 1;
        let new_scene = scene::starts_anew(found.inter_cost, found.intra_cost, samples);
        let cut = self.scene_cut && since >= self.key_int_min && new_scene;
        (!cut).then_some(found)
    }

    fn encode_inter(&mut self, found: Found, quality: u8, bound: Option<Bound>) -> Result<Unit> {
        let device = self.model.device;
        let model = Rc::clone(&self.model);
        let networks = &model.networks;
        let quality = match &model.flow_entropy {
            Some(entropy) => self.code_flow(entropy, quality, bound)?,
            None => {
                let (last, times) = self.reconstructor.last_and_times();
                let pair = Pair { current: &self.current, reference: last.frame, display: last.display };
                let field = self.motion.code(found, pair, bound, &mut self.symbols.writer, times);
                self.reconstructor.predict_blocks(field)?;
                quality
            }
        };

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
        self.code_filter(residual_quality);
        // Blocks have no quality of their own.
        let quality = if model.flow_entropy.is_some() { quality } else { residual_quality };
        self.finish_unit(FrameHeader { residual_quality, ..FrameHeader::new(FrameType::P, quality, self.frame_number) })
    }

    /// Estimates and codes the flow of the `paper` profile, and predicts with it. Gives back the quality that it took.
    fn code_flow(&mut self, entropy: &EntropyModel, quality: u8, bound: Option<Bound>) -> Result<u8> {
        let model = Rc::clone(&self.model);
        let codec = model.networks.flow_codec()?;
        let flow = self.estimate_flow(quality)?;
        let input = self.flow_input(&flow)?;
        let q = quality_tensor(&[quality], model.device)?;
        let y = self.reconstructor.times.measure("flow analysis", || codec.analysis.forward(&input, &q))?;
        let prior = self.reconstructor.flow_prior().cloned();
        let job = LatentJob { coder: &codec.coder, entropy, tables: &model.tables, y: &y, prior: prior.as_ref() };
        let bound = bound.map(|bound| bound.part(FLOW_SHARE));
        let (latent, quality) = self.symbols.code(job, quality, bound, &mut self.reconstructor.times)?;
        self.reconstructor.predict_flow(latent, quality)?;
        Ok(quality)
    }

    /// Flow from the current frame to the last reconstruction (`paper` profile).
    fn estimate_flow(&mut self, quality: u8) -> Result<FlowField> {
        let (current, estimator, video) = (self.current.plane(0), &mut self.estimator, &self.sequence.video);
        let (last, times) = self.reconstructor.last_and_times();
        times.measure("flow estimation", || {
            let mut field = estimator.estimate(current, last.frame.plane(0), lambda(f64::from(quality)))?;
            field.pad_beyond(video.width as usize, video.height as usize);
            Ok(field)
        })
    }

    /// Input of E_flow: `[1, 200, H/8, W/8]`.
    fn flow_input(&mut self, field: &FlowField) -> Result<Tensor> {
        const CHANNELS: usize = FLOW_INPUT as usize;
        let (rows, cols) = self.reconstructor.grid(8);
        self.buffer.resize(rows * cols * CHANNELS, 0.0);
        let buffer = &mut self.buffer;
        pack_flow(field, buffer, CHANNELS)?;
        for (frame, offset) in [(&self.current, FLOW_CHANNELS), (self.reconstructor.reference(), FLOW_CHANNELS + PACKED_CHANNELS)]
        {
            pack_frame(frame, (0, 0), PackTarget { data: buffer, channels: CHANNELS, offset }, 1)?;
        }
        from_nhwc(buffer, rows, cols, CHANNELS, self.model.device)
    }

    /// Fits, codes and applies the loop filter.
    fn code_filter(&mut self, quality: u8) {
        let params = self.reconstructor.fit_filter(&self.current, &self.filter_coder, lambda(f64::from(quality)));
        self.filter_coder.encode(params.as_ref(), &mut self.symbols.writer);
        self.reconstructor.filter(params.as_ref());
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
