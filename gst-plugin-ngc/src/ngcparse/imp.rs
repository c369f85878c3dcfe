//! SECTION:element-ngcparse
//!
//! `ngcparse` cuts raw NGC streams into frames, finds its way again after damage, marks keyframes and restores timestamps.
//! It is also the adapter between NGC and containers that do not know it: mp4mux and matroskamux behind it, qtdemux and
//! matroskademux in front of it.
//!
//! ```shell
//! gst-launch-1.0 videotestsrc num-buffers=100 ! ngcenc ! ngcparse ! matroskamux ! filesink location=test.mkv
//! gst-launch-1.0 filesrc location=test.ngc ! ngcparse ! mp4mux ! filesink location=test.mp4
//! ```

use std::sync::Mutex;

use codec_core::Limits;
use codec_core::bitstream::{Scan, UnitSummary, VideoInfo, scan};
use gst::glib;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use gst_base::{BaseParseFrame, BaseParseFrameFlags};
use once_cell::sync::Lazy;

use super::duration;
use super::raw::Raw;
use super::times::InputTimes;
use crate::caps;

pub(super) static CAT: Lazy<gst::DebugCategory> =
    Lazy::new(|| gst::DebugCategory::new("ngcparse", gst::DebugColorFlags::empty(), Some("NGC video parser")));

/// A unit has at least this many bytes.
const MIN_UNIT_BYTES: u32 = 8;

/// Frames per second where neither the stream nor the caps say.
const DEFAULT_RATE: (u32, u32) = (25, 1);

#[derive(Default)]
pub(super) struct State {
    pub video: Option<VideoInfo>,
    /// The sequence header has been seen, so delta units make sense.
    pub started: bool,
    pub upstream: Option<gst::Structure>,
    /// Downstream takes no form of this stream.
    pub refused: bool,
    /// Number of the unit that is being parsed, as far as its header carries it.
    pub frame_number: u32,
    times: InputTimes,
    /// Times of the last frame of an input that has times.
    last: Option<Times>,
    /// Duration of the last input buffer.
    duration: Option<gst::ClockTime>,
    /// Places in a raw file.
    pub raw: Raw,
    /// It has been said that the frame rate is a guess.
    warned: bool,
}

impl State {
    /// Frame rate of the stream, else that of the input caps.
    pub fn known_rate(&self) -> Option<(u32, u32)> {
        let stream = self.video.as_ref().map(|video| video.framerate);
        let caps = self.upstream.as_ref().and_then(|s| s.get::<gst::Fraction>("framerate").ok());
        let caps = caps.and_then(|rate| Some((u32::try_from(rate.numer()).ok()?, u32::try_from(rate.denom()).ok()?)));
        [stream, caps].into_iter().flatten().find(|rate| rate.0 > 0)
    }

    /// Whether each input buffer is one unit.
    fn is_framed(&self) -> bool {
        let aligned = |s: &gst::Structure| s.name() != caps::MEDIA_TYPE || s.get::<&str>("alignment") == Ok("au");
        self.upstream.as_ref().is_some_and(aligned)
    }
}

/// How long a frame lasts.
fn duration_of(rate: (u32, u32)) -> gst::ClockTime {
    let nanoseconds = 1_000_000_000u64.mul_div_round(rate.1.into(), rate.0.into());
    gst::ClockTime::from_nseconds(nanoseconds.unwrap_or(0))
}

#[derive(Default)]
pub struct NgcParse {
    pub(super) state: Mutex<State>,
}

#[glib::object_subclass]
impl ObjectSubclass for NgcParse {
    const NAME: &'static str = "GstNgcParse";
    type Type = super::NgcParse;
    type ParentType = gst_base::BaseParse;
}

impl ObjectImpl for NgcParse {
    fn constructed(&self) {
        self.parent_constructed();
        // Frames come in order of presentation and carry what time they have; nothing is to be guessed between them.
        self.obj().set_pts_interpolation(false);
        self.obj().set_infer_ts(false);
        let parse = self.obj().downgrade();
        // Before the base class looks at it, so that its own reckoning knows the times too.
        self.obj().sink_pad().add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::PUSH, move |_, info| {
            if let (Some(parse), Some(buffer)) = (parse.upgrade(), info.buffer_mut()) {
                parse.imp().complete_times(buffer);
            }
            gst::PadProbeReturn::Ok
        });
    }
}

impl GstObjectImpl for NgcParse {}

impl ElementImpl for NgcParse {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "NGC video parser",
                "Codec/Parser/Converter/Video",
                "Frames NGC streams and adapts them to containers",
                "The NGC authors",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            let mut sink = caps::forms();
            sink.merge(caps::demuxed());
            let mut src = gst::Caps::builder(caps::MEDIA_TYPE).field("parsed", true).build();
            src.merge(caps::mp4());
            src.merge(caps::matroska());
            vec![caps::template(gst::PadDirection::Sink, &sink), caps::template(gst::PadDirection::Src, &src)]
        });
        &TEMPLATES
    }
}

impl BaseParseImpl for NgcParse {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        *self.state.lock().unwrap() = State::default();
        self.obj().set_min_frame_size(MIN_UNIT_BYTES);
        Ok(())
    }

    fn set_sink_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let mut state = self.state.lock().unwrap();
        state.upstream = caps.structure(0).map(|s| s.to_owned());
        // The next keyframe makes the caps anew.
        state.video = None;
        Ok(())
    }

    fn sink_caps(&self, filter: Option<&gst::Caps>) -> gst::Caps {
        // Whatever downstream takes, all forms of input can become it.
        let template = self.obj().sink_pad().pad_template_caps();
        match filter {
            Some(filter) => filter.intersect_with_mode(&template, gst::CapsIntersectMode::First),
            None => template,
        }
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        if matches!(event.type_(), gst::EventType::Segment | gst::EventType::FlushStop) {
            let mut state = self.state.lock().unwrap();
            state.times.reset();
            state.last = None;
        }
        // mp4mux (GStreamer 1.22) asserts on a pad that ends without ever having had caps. The pipeline has an error by then.
        if event.type_() == gst::EventType::Eos && self.state.lock().unwrap().refused {
            gst::debug!(CAT, imp = self, "keeping the end of a stream that downstream cannot take");
            return true;
        }
        self.parent_sink_event(event)
    }

    fn src_event(&self, event: gst::Event) -> bool {
        let event = self.prepare_seek(event);
        self.parent_src_event(event)
    }

    fn pre_push_frame(&self, frame: &mut BaseParseFrame) -> Result<gst::FlowSuccess, gst::FlowError> {
        let buffer = frame.buffer().ok_or(gst::FlowError::Error)?;
        let keyframe = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let placed = if self.has_times() { Some(self.timed(buffer)) } else { self.placed(frame, keyframe) };
        // Behind a jump to an unknown place, delta units are of no use.
        let Some(times) = placed else { return Ok(gst_base::BASE_PARSE_FLOW_DROPPED) };
        let buffer = frame.buffer_mut().ok_or(gst::FlowError::Error)?;
        buffer.set_pts(times.pts);
        buffer.set_dts(times.dts);
        if let Some(duration) = times.duration {
            buffer.set_duration(duration);
        }
        if !keyframe && self.shows_keyframes_only() {
            return Ok(gst_base::BASE_PARSE_FLOW_DROPPED);
        }
        self.parent_pre_push_frame(frame)
    }

    fn handle_frame(&self, frame: BaseParseFrame) -> Result<(gst::FlowSuccess, u32), gst::FlowError> {
        let found = {
            let buffer = frame.buffer().ok_or(gst::FlowError::Error)?;
            let map = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
            scan(&map, &Limits::default())
        };
        match found {
            Scan::NeedMore(bytes) => {
                if self.obj().is_draining() {
                    gst::element_imp_warning!(self, gst::StreamError::Demux, ("the stream ends within a frame"));
                    return Ok((gst::FlowSuccess::Ok, 1));
                }
                self.obj().set_min_frame_size(bytes as u32);
                Ok((gst::FlowSuccess::Ok, 0))
            }
            Scan::Skip { bytes, reason } => {
                match reason {
                    Some(why) => {
                        gst::element_imp_warning!(self, gst::StreamError::Demux, ("{why}; going on at the next whole frame"))
                    }
                    None => gst::debug!(CAT, imp = self, "skipping {} bytes that are not NGC", bytes),
                }
                self.obj().set_min_frame_size(MIN_UNIT_BYTES);
                Ok((gst::FlowSuccess::Ok, bytes as u32))
            }
            Scan::Unit { len, summary } => {
                self.obj().set_min_frame_size(MIN_UNIT_BYTES);
                self.finish_unit(frame, len, &summary)
            }
        }
    }
}

impl NgcParse {
    fn finish_unit(
        &self,
        mut frame: BaseParseFrame,
        len: usize,
        summary: &UnitSummary,
    ) -> Result<(gst::FlowSuccess, u32), gst::FlowError> {
        let keyframe = summary.header.is_keyframe();
        if let Some(sequence) = &summary.sequence {
            let first = !self.state.lock().unwrap().started;
            self.update_caps(sequence)?;
            if first {
                self.find_duration(summary.header.frame_number);
            }
        }
        let started = {
            let mut state = self.state.lock().unwrap();
            state.frame_number = summary.header.frame_number;
            state.started
        };
        if !started {
            gst::debug!(CAT, imp = self, "dropping a frame before the first keyframe");
            frame.set_flags(BaseParseFrameFlags::DROP);
        }
        // A buffer of its own: the base class changes times and flags of what may belong to others as well, as behind a tee.
        let mut unit = frame
            .buffer()
            .and_then(|buffer| buffer.copy_region(gst::BufferCopyFlags::all(), ..len).ok())
            .ok_or(gst::FlowError::Error)?;
        let flags = unit.make_mut();
        if keyframe {
            flags.unset_flags(gst::BufferFlags::DELTA_UNIT);
        } else {
            flags.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        frame.set_output_buffer(unit);
        self.obj().finish_frame(frame, len as u32).map(|success| (success, 0))
    }

    /// Whether the input carries times: everything but a raw file does.
    fn has_times(&self) -> bool {
        let pad = self.obj().sink_pad().clone();
        let segment = pad.sticky_event::<gst::event::Segment>(0);
        pad.mode() == gst::PadMode::Push && segment.is_some_and(|e| e.segment().format() == gst::Format::Time)
    }

    /// Gives an input buffer the presentation time that it leaves out.
    fn complete_times(&self, buffer: &mut gst::Buffer) {
        let segment = self.obj().sink_pad().sticky_event::<gst::event::Segment>(0);
        let Some(segment) = segment.as_ref().and_then(|e| e.segment().downcast_ref::<gst::ClockTime>()) else { return };
        let (pts, dts) = (buffer.pts(), buffer.dts());
        let mut state = self.state.lock().unwrap();
        state.duration = buffer.duration();
        let rate = state.known_rate();
        let step = duration_of(rate.unwrap_or(DEFAULT_RATE));
        let time = state.times.of(pts, dts, segment.start().unwrap_or_default(), step);
        let warn = pts.or(dts).is_none() && rate.is_none() && !std::mem::replace(&mut state.warned, true);
        drop(state);
        if warn {
            self.warn_of_rate();
        }
        if pts.is_none() {
            buffer.make_mut().set_pts(time);
        }
    }

    fn warn_of_rate(&self) {
        gst::element_imp_warning!(
            self,
            gst::StreamError::Format,
            (
                "neither times nor a frame rate are known, {} frames/s are assumed; put the right one in front: \"video/x-ngc,framerate=30/1\"",
                DEFAULT_RATE.0
            )
        );
    }

    /// Times of a frame of an input that has times. The base class leaves out a time that is equal to the one before, and all
    /// durations; muxers lose a last frame without one.
    fn timed(&self, buffer: &gst::BufferRef) -> Times {
        let forward = self.obj().segment().rate() > 0.0;
        let mut state = self.state.lock().unwrap();
        let framed = state.is_framed();
        let usual = duration_of(state.known_rate().unwrap_or(DEFAULT_RATE));
        let last = state.last;
        let step = if framed { gst::ClockTime::ZERO } else { usual };
        let pts = buffer.pts().or_else(|| Some(last?.pts.saturating_add(step))).unwrap_or_default();
        // Decoding is in order of presentation. Muxers want times that do not go back, even where the presentation does.
        let before = last.map(|last| last.dts).filter(|_| forward && !buffer.flags().contains(gst::BufferFlags::DISCONT));
        let dts = before.map_or(pts, |before| before.max(pts));
        let duration = state.duration.filter(|_| framed && forward).or(buffer.duration()).or(Some(usual));
        let times = Times { pts, dts, duration };
        state.last = Some(times);
        times
    }

    /// Whether a trick mode wants only keyframes.
    fn shows_keyframes_only(&self) -> bool {
        let segment = self.obj().src_pad().sticky_event::<gst::event::Segment>(0);
        segment.is_some_and(|e| e.segment().flags().contains(gst::SegmentFlags::TRICKMODE_KEY_UNITS))
    }

    /// Tells the base class how long a raw file is, where there is one to look into and its frame rate is known.
    fn find_duration(&self, first: u32) {
        let pad = self.obj().sink_pad().clone();
        let (numerator, denominator) = self.state.lock().unwrap().known_rate().unwrap_or(DEFAULT_RATE);
        let Some(size) = pad.peer_query_duration::<gst::format::Bytes>().map(|size| *size).filter(|_| numerator > 0) else {
            return;
        };
        let length = size.min(duration::TAIL_BYTES);
        if pad.mode() != gst::PadMode::Pull {
            return;
        }
        let Ok(tail) = pad.pull_range(size - length, length as u32) else { return };
        let frames = tail.map_readable().ok().and_then(|tail| duration::frames(first, size, &tail));
        let time = frames.and_then(|frames| {
            frames.mul_div_round(1_000_000_000 * u64::from(denominator), numerator.into()).map(gst::ClockTime::from_nseconds)
        });
        gst::debug!(CAT, imp = self, "{:?} frames, {:?}", frames, time);
        if let Some(time) = time {
            self.obj().set_duration(time, 0);
        }
    }

    /// Tells the base class the frame rate, which a raw file must have.
    pub(super) fn set_rate(&self) {
        let timed = self.has_times();
        let mut state = self.state.lock().unwrap();
        let known = state.known_rate();
        let warn = known.is_none() && !timed && !std::mem::replace(&mut state.warned, true);
        drop(state);
        if let Some((numerator, denominator)) = known.or((!timed).then_some(DEFAULT_RATE)) {
            self.obj().set_frame_rate(gst::Fraction::new(numerator as i32, denominator as i32), 0, 0);
        }
        if warn {
            self.warn_of_rate();
        }
    }

    /// Rate that a raw file plays at.
    pub(super) fn raw_rate(&self) -> (u32, u32) {
        self.state.lock().unwrap().known_rate().unwrap_or(DEFAULT_RATE)
    }
}

/// Times of one frame.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub pts: gst::ClockTime,
    pub dts: gst::ClockTime,
    pub duration: Option<gst::ClockTime>,
}
