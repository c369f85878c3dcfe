//! SECTION:element-ngcenc
//!
//! `ngcenc` encodes raw 8-bit 4:2:0 or grey video with the NGC neural codec.
//!
//! Every frame becomes one unit, in order, also where B-frames are predicted from later frames. It waits until `lookahead` more frames have come, so that what later frames are
//! predicted from gets a better quality. With `lookahead=0`, and by default where the source is live, nothing waits.
//!
//! Keyframes carry all that a decoder needs to start, so headers never have to be asked for. With `rate-control=cbr` or `vbr` a
//! frame that would overrun the rate buffer is quantised again, without running the networks again.
//!
//! Regions of interest (`GstVideoRegionOfInterestMeta`) get another quality than the rest of their frame: by the integer `delta-quality` of
//! a parameter `roi/ngc`, by the `delta-qp` of those for other encoders, or by the property `roi-quality`.
//!
//! ```shell
//! gst-launch-1.0 filesrc location=in.mp4 ! decodebin ! videoconvert ! ngcenc quality=38 ! ngcparse ! mp4mux ! filesink location=out.mp4
//! gst-launch-1.0 videotestsrc num-buffers=100 ! ngcenc quality=40 ! filesink location=test.ngc
//! ```

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use codec_core::Packet;
use gst::glib;
use gst::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::subclass::prelude::*;
use gst_video::{VideoCodecFrame, VideoCodecFrameFlags, VideoCodecState, VideoInfo};
use once_cell::sync::Lazy;

use super::RateControl;
use super::session::Session;
use super::settings::Settings;
use super::stall::StallWatch;
use super::stats::Stats;
use crate::{caps, colorimetry, error, frame, hdr};

/// Version as a number: 1.2.3 is 10203.
fn version() -> u32 {
    env!("CARGO_PKG_VERSION").split('.').fold(0, |sum, part| sum * 100 + part.parse::<u32>().unwrap_or(0))
}

/// Frames that wait in the lookahead wait so long for the next one.
const PATIENCE: Duration = Duration::from_secs(3);

static CAT: Lazy<gst::DebugCategory> =
    Lazy::new(|| gst::DebugCategory::new("ngcenc", gst::DebugColorFlags::empty(), Some("NGC video encoder")));

#[derive(Default)]
pub struct NgcEnc {
    settings: Mutex<Settings>,
    stats: Mutex<Stats>,
    /// Locked after the base class's stream lock where both are.
    session: Mutex<Option<Session>>,
    /// What was said about caps that were refused.
    refused: error::Once,
    /// Where frames are held back. Its thread takes the stream lock before any other.
    watch: Mutex<Option<StallWatch>>,
    /// Whether the element has played since it started or was flushed.
    has_played: AtomicBool,
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

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::PausedToPlaying {
            self.has_played.store(true, Ordering::Relaxed);
            // Nothing came in the pause.
            self.watch(StallWatch::wait_anew);
        }
        self.parent_change_state(transition)
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
        self.has_played.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        // Its thread may be about to use the state; nothing is locked while it ends.
        let watch = self.watch.lock().unwrap().take();
        drop(watch);
        *self.session.lock().unwrap() = None;
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
        self.drain();
        let first = self.session.lock().unwrap().is_none();
        self.configure(&info, video.clone()).map_err(|e| {
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
        let latency = self.session.lock().unwrap().as_ref().map_or(gst::ClockTime::ZERO, Session::latency);
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
        if let Some(session) = &*self.session.lock().unwrap() {
            let (size, buffers) = (session.info().size() as u32, session.most_held() as u32 + 1);
            query.add_allocation_pool(None::<&gst::BufferPool>, size, buffers, 0);
        }
        self.parent_propose_allocation(query)
    }

    fn handle_frame(&self, frame: VideoCodecFrame) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.watch(StallWatch::rest);
        let (settings, start) = (self.settings.lock().unwrap().clone(), Instant::now());
        // The lock is released before the base class is called again.
        let taken = match &mut *self.session.lock().unwrap() {
            Some(session) => session.take(&frame, &settings),
            None => return Err(gst::FlowError::NotNegotiated),
        };
        if let Err(e) = taken {
            // Without an output buffer this drops the frame, so that it is not left pending.
            let _ = self.obj().finish_frame(frame);
            return Err(self.fail(&e));
        }
        drop(frame);
        let flow = self.send(false, start)?;
        if self.session.lock().unwrap().as_ref().is_some_and(|session| session.held() > 0) {
            self.watch(StallWatch::wait);
        }
        Ok(flow)
    }

    fn finish(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.watch(StallWatch::rest);
        self.send(true, Instant::now())
    }

    fn flush(&self) -> bool {
        if let Some(session) = &mut *self.session.lock().unwrap() {
            session.flush();
        }
        self.watch(StallWatch::rest);
        self.has_played.store(self.obj().current_state() == gst::State::Playing, Ordering::Relaxed);
        true
    }
}

impl NgcEnc {
    /// Makes an encoder, or tells the one that is there of the new video: the model stays loaded.
    fn configure(&self, info: &VideoInfo, video: codec_core::bitstream::VideoInfo) -> codec_core::Result<()> {
        let mut guard = self.session.lock().unwrap();
        // After an error, everything starts anew.
        *guard = Some(match guard.take() {
            Some(mut session) => {
                session.set_video(info, video)?;
                session
            }
            None => {
                let settings = self.settings.lock().unwrap().clone();
                let session = Session::new(&settings, info, video, self.is_live())?;
                gst::info!(CAT, imp = self, "model {}", session.encoder().model().id());
                if session.most_held() > 0 {
                    self.start_watch();
                }
                session
            }
        });
        Ok(())
    }

    /// Encodes and sends the frames whose turn it is; if the stream `ends`, all that wait. Work on the first one began at `start`.
    fn send(&self, ends: bool, mut start: Instant) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut flow = gst::FlowSuccess::Ok;
        while let Some(sent) = self.send_next(ends, start) {
            flow = sent?;
            start = Instant::now();
        }
        Ok(flow)
    }

    /// Sends all frames that wait: they belong to the video before. Where they cannot go out, the next frame will say why.
    fn drain(&self) {
        self.watch(StallWatch::rest);
        if self.send(true, Instant::now()).is_err() {
            if let Some(session) = &mut *self.session.lock().unwrap() {
                session.flush();
            }
            for frame in self.obj().frames() {
                let _ = self.obj().finish_frame(frame);
            }
        }
    }

    /// Encodes and sends the next frame, if it is its turn or if the stream `ends`.
    fn send_next(&self, ends: bool, start: Instant) -> Option<Result<gst::FlowSuccess, gst::FlowError>> {
        let element = self.obj();
        let settings = self.settings.lock().unwrap().clone();
        // The lock is released before the base class is called again.
        let (number, packet) = self.session.lock().unwrap().as_mut()?.next(ends, &settings)?;
        let frame = element.frame(number as i32);
        let packet = match packet {
            Ok(packet) => packet,
            Err(e) => {
                // Without an output buffer this drops the frame, so that it is not left pending.
                let _ = frame.map(|frame| element.finish_frame(frame));
                return Some(Err(self.fail(&e)));
            }
        };
        self.stats.lock().unwrap().add(&packet, start.elapsed());
        let Packet { data, keyframe, frame_number, quality, .. } = packet;
        gst::trace!(CAT, imp = self, "frame {frame_number}: {} bytes, quality {quality}, keyframe {keyframe}", data.len());
        let Some(mut frame) = frame else { return Some(Ok(gst::FlowSuccess::Ok)) };
        if keyframe {
            frame.set_flags(VideoCodecFrameFlags::SYNC_POINT);
        }
        // The base class would take the earliest time of all frames that wait, which is another one where times go back.
        frame.set_dts(frame.pts());
        frame.set_output_buffer(gst::Buffer::from_mut_slice(data));
        Some(element.finish_frame(frame))
    }

    /// Tells the watch over waiting frames something, where there is one.
    fn watch(&self, tell: impl Fn(&StallWatch)) {
        self.watch.lock().unwrap().as_ref().map_or((), tell)
    }

    /// Starts the watch over waiting frames.
    fn start_watch(&self) {
        let element = self.obj().downgrade();
        let release = move || element.upgrade().map_or((), |element| element.imp().release());
        // One may be there from before caps that were refused.
        self.watch.lock().unwrap().get_or_insert_with(|| StallWatch::start(PATIENCE, release)).rest();
    }

    /// Sends the frame that waits longest, as none has come for a while: the rest of the pipeline may be waiting for this one. If the
    /// pipeline plays, the lookahead is shorter from then on.
    fn release(&self) {
        let element = self.obj();
        let playing = element.current_state() == gst::State::Playing;
        // Nothing comes in a pause.
        if !playing && self.has_played.load(Ordering::Relaxed) {
            return;
        }
        // This waits for the streaming thread, and keeps it out.
        let Some(_oldest) = element.oldest_frame() else { return };
        if !self.watch.lock().unwrap().as_ref().is_some_and(StallWatch::is_stalled) {
            return;
        }
        let waited = self.session.lock().unwrap().as_ref().map_or(0, Session::held);
        let sent = self.send_next(true, Instant::now());
        // The other frame of a pair.
        let sent = sent.map(|sent| sent.and_then(|_| self.send(false, Instant::now())));
        let Some(Ok(_)) = sent else { return self.watch(StallWatch::rest) };
        if !playing {
            gst::info!(CAT, imp = self, "a frame leaves the lookahead early: none came, and nothing plays yet");
            return;
        }
        let Some((left, latency)) = self.session.lock().unwrap().as_mut().map(|session| {
            session.shorten_lookahead();
            (session.held(), session.latency())
        }) else {
            return;
        };
        element.set_latency(latency, latency);
        let seconds = PATIENCE.as_secs();
        gst::element_imp_warning!(
            self,
            gst::StreamError::Encode,
            (
                "no frame came for {seconds} s while {} waited for it: the lookahead is now {left} frames; give the queues of other branches \
                 more room, or set lookahead=0, which also suits slow sources",
                waited
            )
        );
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
        let Some((info, before)) =
            self.session.lock().unwrap().as_ref().map(|session| (session.info().clone(), session.video().clone()))
        else {
            return true;
        };
        let mut video = before.clone();
        hdr::read(caps, &mut video);
        if video == before {
            return true;
        }
        // This keeps out who else might send.
        let element = self.obj();
        let _oldest = element.oldest_frame();
        self.drain();
        if let Err(e) = self.configure(&info, video.clone()) {
            error::post(&*self.obj(), &e);
            return false;
        }
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
