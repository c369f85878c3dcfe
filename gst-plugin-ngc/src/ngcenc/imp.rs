//! SECTION:element-ngcenc
//!
//! `ngcenc` encodes raw 8-bit 4:2:0 or grey video with the NGC neural codec.
//!
//! Every frame becomes one unit, in order. It waits until `lookahead` more frames have come, so that what later frames are predicted from
//! gets a better quality. With `lookahead=0`, and by default where the source is live, nothing waits. Keyframes carry all that a decoder needs to start, so headers never have to be asked
//! for. With `rate-control=cbr` or `vbr` a frame that would overrun the rate
//! buffer is quantised again, without running the networks again.
//!
//! Regions of interest (`GstVideoRegionOfInterestMeta`) get another quality than the rest of their frame: by the integer `delta-quality` of
//! a parameter `roi/ngc`, by the `delta-qp` of those for other encoders, or by the property `roi-quality`.
//!
//! ```shell
//! gst-launch-1.0 filesrc location=in.mp4 ! decodebin ! videoconvert ! ngcenc quality=38 ! ngcparse ! mp4mux ! filesink location=out.mp4
//! gst-launch-1.0 videotestsrc num-buffers=100 ! ngcenc quality=40 ! filesink location=test.ngc
//! ```

use std::sync::Mutex;
use std::time::Instant;

use codec_core::bitstream::{FieldFlags, Interlacing, Profile};
use codec_core::{Encoder, FrameOptions, Limits, Lookahead, Packet, Ready, estimated_memory};
use gst::glib;
use gst::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::subclass::prelude::*;
use gst_video::{VideoCodecFrame, VideoCodecFrameFlags, VideoCodecState, VideoInfo};
use once_cell::sync::Lazy;

use super::RateControl;
use super::regions;
use super::settings::Settings;
use super::stats::Stats;
use crate::{caps, colorimetry, error, frame, hdr, interlacing, memory};

/// Version as a number: 1.2.3 is 10203.
fn version() -> u32 {
    env!("CARGO_PKG_VERSION").split('.').fold(0, |sum, part| sum * 100 + part.parse::<u32>().unwrap_or(0))
}

static CAT: Lazy<gst::DebugCategory> =
    Lazy::new(|| gst::DebugCategory::new("ngcenc", gst::DebugColorFlags::empty(), Some("NGC video encoder")));

struct State {
    encoder: Encoder,
    info: VideoInfo,
    /// What the sequence header says, with the HDR metadata of the caps.
    video: codec_core::bitstream::VideoInfo,
    /// Chroma of grey frames.
    neutral: Vec<u8>,
    lookahead: Lookahead<Held>,
}

impl State {
    /// For how long frames wait.
    fn latency(&self) -> gst::ClockTime {
        let fps = self.info.fps();
        // As other encoders do, where the caps do not say it.
        let (number, per) = if fps.numer() > 0 { (fps.numer() as u64, fps.denom() as u64) } else { (25, 1) };
        let frames = self.lookahead.depth() as u64;
        gst::ClockTime::SECOND.mul_div_floor(frames * per, number).unwrap_or(gst::ClockTime::ZERO)
    }
}

/// What belongs to a frame that the lookahead holds.
struct Held {
    /// Its number in the base class.
    number: u32,
    fields: FieldFlags,
}

#[derive(Default)]
pub struct NgcEnc {
    settings: Mutex<Settings>,
    stats: Mutex<Stats>,
    /// Taken only on the streaming thread.
    state: Mutex<Option<State>>,
    /// What was said about caps that were refused.
    refused: error::Once,
}

#[glib::object_subclass]
impl ObjectSubclass for NgcEnc {
    const NAME: &'static str = "GstNgcEnc";
    type Type = super::NgcEnc;
    type ParentType = gst_video::VideoEncoder;
    type Interfaces = (gst::Preset,);
}

impl ObjectImpl for NgcEnc {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(Settings::properties);
        &PROPERTIES
    }

    fn set_property(&self, _: usize, value: &glib::Value, spec: &glib::ParamSpec) {
        self.settings.lock().unwrap().set(spec.name(), value);
    }

    fn property(&self, _: usize, spec: &glib::ParamSpec) -> glib::Value {
        match spec.name() {
            "stats" => self.stats.lock().unwrap().structure().to_value(),
            name => self.settings.lock().unwrap().get(name),
        }
    }
}

impl GstObjectImpl for NgcEnc {}
impl PresetImpl for NgcEnc {}

impl ElementImpl for NgcEnc {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "NGC video encoder",
                "Codec/Encoder/Video",
                "Encodes video with the NGC neural codec",
                "The NGC authors",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            let raw = gst_video::VideoCapsBuilder::new()
                .format_list(frame::INPUT_FORMATS)
                .width_range(1..=8192)
                .height_range(1..=8192)
                .build();
            vec![caps::template(gst::PadDirection::Sink, &raw), caps::template(gst::PadDirection::Src, &caps::plain())]
        });
        &TEMPLATES
    }
}

impl VideoEncoderImpl for NgcEnc {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        *self.stats.lock().unwrap() = Stats::default();
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *self.state.lock().unwrap() = None;
        self.refused.forget();
        Ok(())
    }

    fn set_format(
        &self,
        state: &VideoCodecState<'static, gst_video::video_codec_state::Readable>,
    ) -> Result<(), gst::LoggableError> {
        let info = state.info().clone();
        let mut video = colorimetry::video_info(&info);
        if let Some(caps) = state.caps().and_then(|caps| caps.structure(0).map(|s| s.to_owned())) {
            hdr::read(&caps, &mut video);
        }
        let element = self.obj();
        // Frames that wait belong to the video before. Where they cannot go out, the next frame will say why.
        let _ = self.send(true, Instant::now());
        let first = self.state.lock().unwrap().is_none();
        self.configure(&info, &video).map_err(|e| {
            self.refused.post(&*element, &e);
            gst::loggable_error!(CAT, "{}", e)
        })?;
        if first {
            // Not before the streaming thread runs, which needs a thread more than the codec does.
            let threads = self.settings.lock().unwrap().common.threads();
            error::warn_of_shortage(&*element, threads);
        }
        // The base class negotiates with the first frame, where it can tell a flush from a refusal.
        element
            .set_output_state(caps::ngc(&video, None), Some(state))
            .map_err(|_| gst::loggable_error!(CAT, "cannot set the output state"))?;
        let latency = self.state.lock().unwrap().as_ref().map_or(gst::ClockTime::ZERO, State::latency);
        element.set_latency(latency, latency);
        element.merge_tags(Some(&self.tags()), gst::TagMergeMode::Replace);
        self.parent_set_format(state)
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        // The base class compares only what its video info holds, and would miss new HDR metadata.
        let hdr = match event.view() {
            gst::EventView::Caps(caps) => caps.caps().structure(0).map(|s| s.to_owned()),
            _ => None,
        };
        let handled = self.parent_sink_event(event);
        match hdr {
            Some(caps) if handled => self.update_hdr(&caps),
            _ => handled,
        }
    }

    fn propose_allocation(&self, query: &mut gst::query::Allocation) -> Result<(), gst::LoggableError> {
        query.add_allocation_meta::<gst_video::VideoMeta>(None);
        query.add_allocation_meta::<gst_video::VideoRegionOfInterestMeta>(None);
        // As many buffers are held as frames wait, and one comes in.
        if let Some(state) = &*self.state.lock().unwrap() {
            let (size, buffers) = (state.info.size() as u32, state.lookahead.depth() as u32 + 1);
            query.add_allocation_pool(None::<&gst::BufferPool>, size, buffers, 0);
        }
        self.parent_propose_allocation(query)
    }

    fn handle_frame(&self, frame: VideoCodecFrame) -> Result<gst::FlowSuccess, gst::FlowError> {
        let (settings, start) = (self.settings.lock().unwrap().clone(), Instant::now());
        // The lock is released before the base class is called again.
        let taken = match &mut *self.state.lock().unwrap() {
            Some(state) => take(state, &frame, &settings),
            None => return Err(gst::FlowError::NotNegotiated),
        };
        if let Err(e) = taken {
            // Without an output buffer this drops the frame, so that it is not left pending.
            let _ = self.obj().finish_frame(frame);
            return Err(self.fail(&e));
        }
        drop(frame);
        self.send(false, start)
    }

    fn finish(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.send(true, Instant::now())
    }

    fn flush(&self) -> bool {
        if let Some(state) = &mut *self.state.lock().unwrap() {
            state.encoder.reset();
            state.lookahead.clear();
        }
        true
    }
}

impl NgcEnc {
    /// Makes an encoder, or tells the one that is there of the new video: the model stays loaded.
    fn configure(&self, info: &VideoInfo, video: &codec_core::bitstream::VideoInfo) -> codec_core::Result<()> {
        let mut guard = self.state.lock().unwrap();
        let settings = self.settings.lock().unwrap().clone();
        let depth = guard.as_ref().map_or_else(|| settings.lookahead(self.is_live()), |state| state.lookahead.depth());
        check_size(video, guard.as_ref().map(|state| &state.video), depth)?;
        let (encoder, lookahead) = match guard.take() {
            Some(mut state) => {
                state.encoder.set_video(video.clone())?;
                (state.encoder, state.lookahead)
            }
            None => {
                let encoder = Encoder::new(settings.encoder_config(video.clone(), depth)?)?;
                gst::info!(CAT, imp = self, "model {}", encoder.model().id());
                let depth = match encoder.model().profile() {
                    Profile::Rt => depth,
                    // Its streams have one quality for a whole frame.
                    Profile::Paper => 0,
                };
                (encoder, Lookahead::new(depth, settings.common.threads())?)
            }
        };
        let neutral = frame::neutral_chroma(info);
        *guard = Some(State { encoder, info: info.clone(), video: video.clone(), neutral, lookahead });
        Ok(())
    }

    /// Encodes and sends the frames whose turn it is; if the stream `ends`, all that wait. Work on the first one began at `start`.
    fn send(&self, ends: bool, mut start: Instant) -> Result<gst::FlowSuccess, gst::FlowError> {
        let element = self.obj();
        let mut flow = gst::FlowSuccess::Ok;
        loop {
            let settings = self.settings.lock().unwrap().clone();
            // The lock is released before the base class is called again.
            let next = match &mut *self.state.lock().unwrap() {
                Some(state) => state.lookahead.pop(ends).map(|ready| (encode(state, &ready, &settings), ready.item)),
                None => None,
            };
            let Some((packet, held)) = next else { return Ok(flow) };
            let frame = element.frame(held.number as i32);
            match packet {
                Ok(packet) => {
                    self.stats.lock().unwrap().add(&packet, start.elapsed());
                    gst::trace!(
                        CAT,
                        imp = self,
                        "frame {}: {} bytes, quality {}, keyframe {}",
                        packet.frame_number,
                        packet.data.len(),
                        packet.quality,
                        packet.keyframe
                    );
                    let Some(mut frame) = frame else { continue };
                    if packet.keyframe {
                        frame.set_flags(VideoCodecFrameFlags::SYNC_POINT);
                    }
                    frame.set_output_buffer(gst::Buffer::from_mut_slice(packet.data));
                    flow = element.finish_frame(frame)?;
                    start = Instant::now();
                }
                Err(e) => {
                    // Without an output buffer this drops the frame, so that it is not left pending.
                    if let Some(frame) = frame {
                        let _ = element.finish_frame(frame);
                    }
                    return Err(self.fail(&e));
                }
            }
        }
    }

    /// Posts an error.
    fn fail(&self, error: &codec_core::Error) -> gst::FlowError {
        error::post(&*self.obj(), error);
        gst::FlowError::Error
    }

    /// Whether the source is live, as far as it says.
    fn is_live(&self) -> bool {
        let mut query = gst::query::Latency::new();
        self.obj().sink_pad().peer_query(&mut query) && query.result().0
    }

    /// Takes HDR metadata that came with caps which are the same for the base class. False if that fails.
    fn update_hdr(&self, caps: &gst::StructureRef) -> bool {
        let video = {
            let mut guard = self.state.lock().unwrap();
            let Some(state) = &mut *guard else { return true };
            let mut video = state.video.clone();
            hdr::read(caps, &mut video);
            if video == state.video {
                return true;
            }
            state.video = video.clone();
            if let Err(e) = state.encoder.set_video(video.clone()) {
                drop(guard);
                error::post(&*self.obj(), &e);
                return false;
            }
            video
        };
        let element = self.obj();
        let input = element.output_state();
        element.set_output_state(caps::ngc(&video, None), input.as_ref()).is_ok()
    }

    fn tags(&self) -> gst::TagList {
        let settings = self.settings.lock().unwrap();
        let mut tags = gst::TagList::new();
        let list = tags.make_mut();
        list.add::<gst::tags::VideoCodec>(&"NGC", gst::TagMergeMode::Replace);
        list.add::<gst::tags::Encoder>(&"ngcenc", gst::TagMergeMode::Replace);
        list.add::<gst::tags::EncoderVersion>(&version(), gst::TagMergeMode::Replace);
        if settings.rate_control != RateControl::Quality {
            let bits = |kilobits: u32| kilobits.saturating_mul(1000);
            list.add::<gst::tags::NominalBitrate>(&bits(settings.bitrate), gst::TagMergeMode::Replace);
        }
        tags
    }
}

/// Refuses what decoders do not take, and what there is no memory for besides that of the video `before`. `lookahead`: frames that wait.
fn check_size(
    video: &codec_core::bitstream::VideoInfo,
    before: Option<&codec_core::bitstream::VideoInfo>,
    lookahead: usize,
) -> codec_core::Result<()> {
    let (width, height) = (video.width, video.height);
    let limit = Limits::MAX_PIXELS;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limit {
        return Err(codec_core::Error::Limit(format!(
            "a frame of {width}x{height} has {pixels} pixels, decoders take {limit} (8192x4352); scale the video down"
        )));
    }
    let held = before.map_or(0, |before| estimated_memory(before.width, before.height, lookahead));
    memory::check("encoding", (width, height), estimated_memory(width, height, lookahead).saturating_sub(held))
}

/// Gives a frame to the lookahead.
fn take(state: &mut State, frame: &VideoCodecFrame, settings: &Settings) -> codec_core::Result<()> {
    let unmapped = |what: &str| codec_core::Error::InvalidConfig(format!("{what}: the buffer is smaller than its caps say"));
    let buffer = frame.input_buffer().ok_or_else(|| unmapped("a frame without a buffer"))?;
    // Streams of the other profile have one quality for a whole frame, which is no reason to fail.
    let has_maps = state.encoder.model().profile() == Profile::Rt;
    let size = (state.video.width, state.video.height);
    let options = FrameOptions {
        force_keyframe: frame.flags().contains(VideoCodecFrameFlags::FORCE_KEYFRAME),
        quality: Some(settings.quality as u8),
        quality_map: if has_maps { regions::map(buffer, size, settings.roi_quality) } else { None },
        foresight: None,
        time: frame.pts().map(Into::into),
    };
    let mapped = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &state.info)
        .map_err(|_| unmapped("a frame cannot be mapped"))?;
    let view = frame::view(&mapped, &state.neutral)?;
    let (number, fields) = (frame.system_frame_number(), interlacing::of(buffer));
    state.lookahead.push(&view, options, Held { number, fields })
}

fn encode(state: &mut State, ready: &Ready<Held>, settings: &Settings) -> codec_core::Result<Packet> {
    let encoder = &mut state.encoder;
    encoder.set_rate(settings.rate())?;
    encoder.set_key_int_max(settings.key_int_max);
    encoder.set_key_int_min(settings.key_int_min);
    encoder.set_scene_cut(settings.scene_cut);
    encoder.set_adaptive_quality(settings.adaptive_quality())?;
    let mut packet = ready.encode(encoder)?;
    let fields = ready.item.fields;
    if state.video.interlacing != Interlacing::Progressive && fields != FieldFlags::default() {
        packet.data = interlacing::add(&packet.data, fields)?;
    }
    Ok(packet)
}
