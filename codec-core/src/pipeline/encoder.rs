//! Frames to units.

mod ahead;
mod flow;
mod intra;
mod pair;
mod residual;
mod rest;
mod trial;

use std::sync::Arc;
use std::time::Duration;

use super::config::{EncoderConfig, FrameOptions, Packet, Speed, check_quality, check_video, detail_index};
use super::detail::{DetailEncoder, has_maps};
use super::engine;
use super::estimator;
use super::maps::MapEncoder;
use super::motion::{MotionEncoder, Pair};
use super::reconstruct::{Reconstructor, Slot};
use super::rest::{AreaSearch, RestCoder};
use super::symbols::{Bound, FrameSymbols};
use super::times::StageTimes;
use crate::bitstream::{self, FrameHeader, FrameType, SequenceHeader, VideoInfo};
use crate::entropy::MEAN_OVERHEAD_BYTES;
#[cfg(feature = "training")]
use crate::entropy::SymbolCounts;
use crate::flow::{DisFlow, FlowEstimator};
use crate::frame::pad::{coded_size, pad_into};
use crate::frame::{Frame, FrameView};
use crate::lookahead::{self, TemporalFilter};
use crate::loopfilter::FilterCoder;
use crate::model::Model;
use crate::motion::{Found, SearchEffort};
use crate::quality::{FrameQuality, QualityMap};
use crate::rate::{Content, Outlook, RateController, RateMode};
use crate::scene;
use crate::threads;
use crate::{Error, Result};
use trial::PairChoice;

/// Seed of the random shifts. Any value does; a fixed one makes streams repeatable.
const SHIFT_SEED: u32 = 0x4e47_4331;

/// Bytes of a unit around its payload: P-frames, I-frames.
const FRAMING_BYTES: [f64; 2] = [11.0, 64.0];

/// How a frame is to be coded.
struct Plan {
    quality: u8,
    map: Option<QualityMap>,
    bound: Option<Bound>,
}

/// Encodes one stream: every frame becomes one packet, in order of display, and nothing is held back. See the [crate's example](crate).
pub struct Encoder {
    model: Arc<Model>,
    threads: usize,
    sequence: SequenceHeader,
    quality: u8,
    key_int_max: u32,
    lookahead: usize,
    max_memory: Option<u64>,
    key_int_min: u32,
    reconstructor: Reconstructor,
    maps: MapEncoder,
    detail: DetailEncoder,
    motion: MotionEncoder,
    /// Estimates the flow that the `paper` profile codes.
    estimator: Box<dyn FlowEstimator>,
    rest: RestCoder,
    areas: AreaSearch,
    filter_coder: FilterCoder,
    /// The frame as it came.
    original: Frame,
    /// The frame as it is to be coded.
    current: Frame,
    temporal_filter: Option<TemporalFilter>,
    rate: RateController,
    last_time: Option<Duration>,
    scene_cut: bool,
    symbols: FrameSymbols,
    frame_number: u32,
    /// Frames since the last keyframe; `None` before the first one and after a reset.
    since_keyframe: Option<u32>,
    /// When frames are coded in pairs.
    pairs: PairChoice,
}

impl Encoder {
    /// Opens the device and loads the model.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] and [`Error::Limit`] naming the value and its range, what [`Model::load`] says, [`Error::Device`] for a
    /// device that cannot be used.
    pub fn new(config: EncoderConfig) -> Result<Self> {
        config.validate()?;
        let threads = threads::count(config.threads);
        let model = Model::load(&config.model)?;
        let mut engine = engine::open(&model, &config.device, threads)?;
        let detail = config.detail.map_or(model.config.default_detail, detail_index);
        engine.set_detail(detail)?;
        let display = config.video.display_size();
        let (width, height) = coded_size(display.0, display.1);
        let (frames, seconds) = config.video.framerate;
        let interval = (frames > 0).then(|| f64::from(seconds) / f64::from(frames));
        let rate = RateController::new(config.rate, interval, model.config.intra_quality_offset);
        let sequence = SequenceHeader {
            model_id: model.id.short(),
            profile: model.config.profile,
            random_shift: model.config.random_shift.then_some(SHIFT_SEED),
            detail,
            video: config.video,
        };
        let (effort, dis) = match config.speed {
            Speed::Fast => (SearchEffort::Fast, DisFlow::fast()),
            Speed::Medium => (SearchEffort::Medium, DisFlow::medium()),
            Speed::Slow => (SearchEffort::Slow, DisFlow::medium()),
        };
        Ok(Self {
            maps: MapEncoder::new(model.config.profile, display, config.adaptive_quality)?,
            detail: DetailEncoder::new(config.adaptive_detail),
            motion: MotionEncoder::new(effort, threads, display),
            estimator: estimator::open(&model, &config.device, threads, dis)?,
            filter_coder: FilterCoder::new(display),
            rest: RestCoder::new(),
            areas: AreaSearch::default(),
            reconstructor: Reconstructor::new(engine, threads, display),
            model,
            threads,
            sequence,
            quality: config.quality,
            key_int_max: config.key_int_max,
            key_int_min: config.key_int_min,
            lookahead: config.lookahead,
            max_memory: config.max_memory,
            current: Frame::new(width, height),
            original: Frame::new(width, height),
            temporal_filter: config.temporal_filter.then(TemporalFilter::default),
            rate,
            last_time: None,
            scene_cut: config.scene_cut,
            symbols: FrameSymbols::new(threads),
            frame_number: 0,
            since_keyframe: None,
            pairs: PairChoice::new(config.speed),
        })
    }

    /// Encodes a frame of the configured size.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for a frame or a quality map of another size, or a quality beyond 63. After any error the next frame
    /// becomes a keyframe.
    pub fn encode(&mut self, frame: &FrameView, options: FrameOptions) -> Result<Packet> {
        threads::inside(self.threads, || self.encode_here(frame, options))
    }

    /// As [`Self::encode`], on the calling thread and those that it splits work over.
    fn encode_here(&mut self, frame: &FrameView, options: FrameOptions) -> Result<Packet> {
        self.load(frame)?;
        self.set_quality(&options)?;
        let since = self.since_keyframe.take();
        let wanted = options.force_keyframe || since.is_none_or(|since| self.key_int_max > 0 && since + 1 >= self.key_int_max);
        let found = if wanted { None } else { self.search_motion(since) };
        let keyframe = found.is_none();
        if keyframe && !wanted {
            self.pairs.restart();
        }
        self.symbols.writer.clear();
        let Plan { quality, map, bound } = self.plan_frame(found.as_ref(), since, options)?;
        let header = match found {
            Some(found) => self.encode_inter(found, quality, map, bound, self.frame_number, false)?,
            None => self.encode_intra(quality, map, bound)?,
        };
        let packet = self.finish_unit(header)?;
        self.rate.report(keyframe, packet.quality, 8.0 * packet.data.len() as f64);
        self.since_keyframe = Some(if keyframe { 0 } else { since.map_or(0, |s| s + 1) });
        self.frame_number = self.frame_number.wrapping_add(1);
        Ok(packet)
    }

    /// Takes a frame as the current one.
    fn load(&mut self, frame: &FrameView) -> Result<()> {
        let video = &self.sequence.video;
        if (frame.width, frame.height) != (video.width as usize, video.height as usize) {
            return Err(Error::InvalidConfig(format!(
                "a frame of {}x{} in a stream of {}x{}: announce another size with set_video",
                frame.width, frame.height, video.width, video.height
            )));
        }
        pad_into(frame, &mut self.original)?;
        self.current.clone_from(&self.original);
        Ok(())
    }

    fn set_quality(&mut self, options: &FrameOptions) -> Result<()> {
        if let Some(quality) = options.quality {
            check_quality(quality)?;
            self.quality = quality;
        }
        Ok(())
    }

    /// Decides how good the current frame is to be, and where; takes noise from it. `found`: its motion, `None` for a keyframe. `since`:
    /// frames from the last keyframe to the frame before.
    fn plan_frame(&mut self, found: Option<&Found>, since: Option<u32>, options: FrameOptions) -> Result<Plan> {
        let keyframe = found.is_none();
        let predicted = self.predicted_later(keyframe, since);
        let outlook = self.outlook(found, since, options.foresight.as_ref(), predicted);
        let (quality, bound) = self.plan(&outlook, options.time);
        let display = self.sequence.video.display_size();
        let importance = options.foresight.as_ref().map(|foresight| self.importance(foresight, predicted));
        let quality = match &importance {
            // Where a rate is held, what stands still gets better with every frame.
            Some(importance) if keyframe && bound.is_none() => quality.saturating_sub(lookahead::keyframe_bonus(importance)),
            _ => quality,
        };
        let map = self.maps.plan(options.quality_map, self.original.plane(0), display, keyframe, importance.as_ref())?;
        if let Some(foresight) = &options.foresight {
            self.filter(foresight.later(predicted), keyframe, map.as_ref());
        }
        if keyframe {
            self.maps.reset(display);
            self.detail.reset(has_maps(self.model.config.profile, self.sequence.detail), display);
        }
        Ok(Plan { quality, map, bound })
    }

    /// Starts anew after a gap, such as a seek: the next frame becomes a keyframe.
    pub fn reset(&mut self) {
        self.since_keyframe = None;
        self.last_time = None;
        self.rate.reset();
    }

    /// Goes on with another video; the next frame is a keyframe. Frame numbers and what rate control learned go on.
    ///
    /// # Errors
    /// As [`Self::new`], for the video's values.
    pub fn set_video(&mut self, video: VideoInfo) -> Result<()> {
        check_video(&video, self.lookahead, self.max_memory)?;
        let (width, height) = coded_size(video.width as usize, video.height as usize);
        self.reconstructor.resize(video.display_size());
        if (width, height) != (self.original.width(), self.original.height()) {
            self.original = Frame::new(width, height);
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

    /// Another strength of [`EncoderConfig::adaptive_quality`] from the next frame on.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] naming the value and its range, or if the model's profile has no quality maps.
    pub fn set_adaptive_quality(&mut self, strength: Option<f32>) -> Result<()> {
        self.maps.set_strength(strength)
    }

    /// Turns keyframes at scene cuts on or off.
    pub fn set_scene_cut(&mut self, on: bool) {
        self.scene_cut = on;
    }

    /// The last reconstruction at coded size, as the decoder has it.
    pub fn reconstruction(&self) -> &Frame {
        self.reconstructor.frame(Slot::Last)
    }

    /// The model that it encodes with.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The symbols of frames since the last call; the first call starts counting.
    #[cfg(feature = "training")]
    pub fn take_symbol_counts(&mut self) -> SymbolCounts {
        self.symbols.writer.take_counts()
    }

    /// Time spent in each stage so far.
    #[cfg(feature = "training")]
    pub fn times(&mut self) -> &mut StageTimes {
        &mut self.reconstructor.times
    }

    /// Quality index of the next frame, and what rate control lets its symbols take.
    fn plan(&mut self, outlook: &Outlook, time: Option<Duration>) -> (u8, Option<Bound>) {
        let keyframe = matches!(outlook.content, Content::Picture { .. });
        let elapsed = match (self.last_time, time) {
            (Some(last), Some(now)) => now.checked_sub(last).map(|d| d.as_secs_f64()),
            _ => None,
        };
        self.last_time = time.or(self.last_time);
        let Some(plan) = self.rate.plan(outlook, elapsed) else {
            let offset = if keyframe { self.model.config.intra_quality_offset } else { 0 };
            return (self.quality.saturating_sub(offset), None);
        };
        let overhead = 8.0 * (MEAN_OVERHEAD_BYTES + FRAMING_BYTES[usize::from(keyframe)]);
        let less = |bits: f64| (bits - overhead).max(0.0);
        (plan.quality, Some(Bound { wanted: less(plan.wanted_bits), most: less(plan.max_bits) }))
    }

    /// Searches motion for a P-frame; `None` if a new scene starts. `since`: frames since the last keyframe.
    fn search_motion(&mut self, since: Option<u32>) -> Option<Found> {
        // The quality of the last frame is near enough to that of the next, here and from place to place.
        let index = self.later_quality();
        let (last, times) = self.reconstructor.reconstruction(Slot::Last);
        let quality = FrameQuality { index, map: last.quality.map.clone(), rest: None };
        let samples = last.display.0 * last.display.1;
        let found =
            self.motion.search(Pair { current: &self.current, reference: last.frame, display: last.display }, quality, times);
        let since = since.unwrap_or(0) + 1;
        let new_scene = scene::starts_anew(found.inter_cost, found.intra_cost, samples);
        let cut = self.scene_cut && since >= self.key_int_min && new_scene;
        (!cut).then_some(found)
    }

    /// Codes the current frame, which has such a number, from the last one, with the wanted quality map as far as `bound` allows. `ahead`: a
    /// B-frame comes between the two.
    fn encode_inter(
        &mut self,
        found: Found,
        quality: u8,
        map: Option<QualityMap>,
        bound: Option<Bound>,
        number: u32,
        ahead: bool,
    ) -> Result<FrameHeader> {
        let model = Arc::clone(&self.model);
        let map = self.maps.code(map, quality, bound, &mut self.symbols.writer);
        let mut quality = FrameQuality { index: quality, map, rest: None };
        match &model.flow_entropy {
            Some(entropy) => quality.index = self.code_flow(entropy, quality.index, bound)?,
            None => {
                let (last, times) = self.reconstructor.reconstruction(Slot::Last);
                let pair = Pair { current: &self.current, reference: last.frame, display: last.display };
                let field = self.motion.code(found, pair, bound, &mut self.symbols.writer, times);
                self.reconstructor.predict_blocks(field)?;
            }
        }
        if ahead {
            self.reconstructor.keep_earlier();
        }
        let flow_quality = quality.index;
        let residual_quality = self.code_residual(Slot::Last, quality, number, bound)?;
        self.code_detail(bound)?;
        // Blocks have no quality of their own.
        let index = if model.flow_entropy.is_none() { residual_quality } else { flow_quality };
        Ok(FrameHeader { residual_quality, ..FrameHeader::new(FrameType::P, index, number) })
    }

    fn code_detail(&mut self, bound: Option<Bound>) -> Result<()> {
        self.detail.code(&self.original, &mut self.reconstructor, bound, &mut self.symbols.writer)
    }

    fn finish_unit(&mut self, header: FrameHeader) -> Result<Packet> {
        let writer = &mut self.symbols.writer;
        let estimated_bits = writer.bits().ceil() as u64;
        let payload = self.reconstructor.times.measure("range coding", || writer.finish());
        let keyframe = header.is_keyframe();
        let data = bitstream::write_unit(&header, keyframe.then_some(&self.sequence), &payload)?;
        let quality = if header.frame_type == FrameType::Pair { header.b_quality } else { header.residual_quality };
        Ok(Packet { data, keyframe, frame_number: header.frame_number, quality, estimated_bits })
    }
}
