//! SECTION:element-ngcdec
//!
//! `ngcdec` decodes NGC streams. Damage never stops it: frames that cannot be decoded are concealed and flagged as corrupted
//! (or dropped, see `conceal`), a keyframe is asked for upstream, and clean output goes on with it.
//!
//! A frame that comes too late to be shown is not synthesised unless a later frame needs it.
//!
//! ```shell
//! gst-launch-1.0 filesrc location=test.ngc ! ngcparse ! ngcdec ! videoconvert ! autovideosink
//! gst-launch-1.0 filesrc location=out.mp4 ! decodebin3 ! videoconvert ! autovideosink
//! ```

use std::sync::Mutex;

use codec_core::bitstream::{FieldFlags, Interlacing, VideoInfo};
use codec_core::{Decoder, DetailModel, Error, Picture, estimated_decoding_memory};
use gst::glib;
use gst::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::subclass::prelude::*;
use gst_video::video_codec_state::Readable;
use gst_video::{VideoCodecFrame, VideoCodecFrameFlags, VideoCodecState, VideoDecoderRequestSyncPointFlags};
use once_cell::sync::Lazy;

use super::output;
use super::settings::Settings;
use crate::{caps, error, frame, interlacing, memory};

static CAT: Lazy<gst::DebugCategory> =
    Lazy::new(|| gst::DebugCategory::new("ngcdec", gst::DebugColorFlags::empty(), Some("NGC video decoder")));

struct State {
    decoder: Decoder,
    input: VideoCodecState<'static, Readable>,
    /// What the output caps were made from.
    video: Option<VideoInfo>,
    /// Frames since a keyframe was asked for that has not come yet.
    waiting: Option<u32>,
}

/// Lost frames after which a keyframe is asked for again: the one that was asked for may be lost itself.
const ASK_AGAIN: u32 = 25;

#[derive(Default)]
pub struct NgcDec {
    settings: Mutex<Settings>,
    /// Taken only on the streaming thread.
    state: Mutex<Option<State>>,
    /// What was said about caps that were refused.
    refused: error::Once,
}

#[glib::object_subclass]
impl ObjectSubclass for NgcDec {
    const NAME: &'static str = "GstNgcDec";
    type Type = super::NgcDec;
    type ParentType = gst_video::VideoDecoder;
}

impl ObjectImpl for NgcDec {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(Settings::properties);
        &PROPERTIES
    }

    fn set_property(&self, _: usize, value: &glib::Value, spec: &glib::ParamSpec) {
        self.settings.lock().unwrap().set(spec.name(), value);
    }

    fn property(&self, _: usize, spec: &glib::ParamSpec) -> glib::Value {
        self.settings.lock().unwrap().get(spec.name())
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        obj.set_packetized(true);
        obj.set_needs_format(true);
        // The codec itself knows when it needs a keyframe, and this way each loss is answered alike, by one request.
        obj.set_needs_sync_point(false);
        obj.set_use_default_pad_acceptcaps(true);
    }
}

impl GstObjectImpl for NgcDec {}

impl ElementImpl for NgcDec {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "NGC video decoder",
                "Codec/Decoder/Video",
                "Decodes video of the NGC neural codec",
                "The NGC authors",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            let raw = gst_video::VideoCapsBuilder::new().format_list(frame::OUTPUT_FORMATS).build();
            // Those of muxers too: behind a tee that also feeds one.
            vec![caps::template(gst::PadDirection::Sink, &caps::forms()), caps::template(gst::PadDirection::Src, &raw)]
        });
        &TEMPLATES
    }
}

impl VideoDecoderImpl for NgcDec {
    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *self.state.lock().unwrap() = None;
        self.refused.forget();
        Ok(())
    }

    fn caps(&self, filter: Option<&gst::Caps>) -> gst::Caps {
        // Sizes and rates that downstream would like do not matter: the stream is as it is.
        let template = self.obj().sink_pad().pad_template_caps();
        filter.map_or(template.clone(), |filter| filter.intersect_with_mode(&template, gst::CapsIntersectMode::First))
    }

    fn set_format(&self, input: &VideoCodecState<'static, Readable>) -> Result<(), gst::LoggableError> {
        let mut guard = self.state.lock().unwrap();
        // New caps in mid-stream do not disturb decoding: all that counts is in-band.
        let first = guard.is_none();
        let decoder = match guard.take() {
            Some(state) => Ok(state.decoder),
            None => {
                let settings = self.settings.lock().unwrap().clone();
                check_memory(input.info(), settings.detail_model())
                    .and_then(|()| settings.decoder_config())
                    .and_then(Decoder::new)
            }
        };
        let decoder = match decoder {
            Ok(decoder) => decoder,
            Err(e) => {
                drop(guard);
                self.refused.post(&*self.obj(), &e);
                return Err(gst::loggable_error!(CAT, "{}", e));
            }
        };
        gst::info!(CAT, imp = self, "model {}", decoder.model().id());
        *guard = Some(State { decoder, input: input.clone(), video: None, waiting: None });
        drop(guard);
        if first {
            let threads = self.settings.lock().unwrap().common.threads();
            error::warn_of_shortage(&*self.obj(), threads);
        }
        self.obj().set_latency(gst::ClockTime::ZERO, gst::ClockTime::ZERO);
        self.parent_set_format(input)
    }

    fn handle_frame(&self, mut frame: VideoCodecFrame) -> Result<gst::FlowSuccess, gst::FlowError> {
        let late = self.obj().max_decode_time(&frame) < 0 && !frame.flags().contains(VideoCodecFrameFlags::SYNC_POINT);
        let settings = self.settings.lock().unwrap().clone();
        let mut loss = None;
        // Held for all of a frame's work, and released before anything is pushed or posted.
        let outcome = match &mut *self.state.lock().unwrap() {
            Some(state) => self.work(state, &mut frame, late, &settings, &mut loss),
            None => Err(Failure::Flow(gst::FlowError::NotNegotiated)),
        };
        if let Some(loss) = loss {
            self.report(loss, &frame);
        }
        match outcome {
            Ok(Outcome::Shown) => self.obj().finish_frame(frame),
            Ok(Outcome::Dropped) => self.obj().drop_frame(frame),
            Err(failure) => {
                self.obj().release_frame(frame);
                Err(match failure {
                    Failure::Flow(flow) => flow,
                    Failure::Codec(e) => {
                        error::post(&*self.obj(), &e);
                        gst::FlowError::Error
                    }
                })
            }
        }
    }

    fn flush(&self) -> bool {
        if let Some(state) = &mut *self.state.lock().unwrap() {
            state.decoder.reset();
            state.waiting = None;
        }
        true
    }

    fn decide_allocation(&self, query: &mut gst::query::Allocation) -> Result<(), gst::LoggableError> {
        self.parent_decide_allocation(query)?;
        if query.find_allocation_meta::<gst_video::VideoMeta>().is_some()
            && let Some((Some(pool), ..)) = query.allocation_pools().next()
        {
            let mut config = pool.config();
            config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META);
            pool.set_config(config).map_err(|e| gst::loggable_error!(CAT, "buffer pool: {}", e))?;
        }
        Ok(())
    }
}

/// Which fields a frame is made of, by its unit. A frame that stands in for another has none of its own.
fn fields_of(frame: &VideoCodecFrame) -> Option<FieldFlags> {
    let whole = !frame.flags().contains(VideoCodecFrameFlags::CORRUPTED);
    let unit = frame.input_buffer().filter(|_| whole)?.map_readable().ok()?;
    Some(interlacing::in_unit(&unit))
}

/// Refuses what there is no memory for, as far as the caps tell. They do not tell whether the postfilter is needed, so its share is counted in.
fn check_memory(info: &gst_video::VideoInfo, detail_model: DetailModel) -> codec_core::Result<()> {
    let size = (info.width(), info.height());
    memory::check("decoding", size, estimated_decoding_memory(size.0, size.1, detail_model))
}

/// Decodes a frame; one that is `late` only as far as later ones need it, and gives back no picture.
fn decode<'d>(decoder: &'d mut Decoder, frame: &VideoCodecFrame, late: bool) -> codec_core::Result<Option<Picture<'d>>> {
    let unreadable = || Error::Corrupt("a buffer cannot be read".into());
    let buffer = frame.input_buffer().ok_or_else(unreadable)?;
    if buffer.flags().contains(gst::BufferFlags::DISCONT) && buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
        // Something before this frame is missing, so its reference is not what the encoder had.
        decoder.lose_reference();
    }
    let data = buffer.map_readable().map_err(|_| unreadable())?;
    if late { decoder.skip(&data).map(|()| None) } else { decoder.decode(&data).map(Some) }
}

/// Copies a picture into the frame's output buffer: the only copy on the way.
fn copy(picture: Picture, frame: &mut VideoCodecFrame, info: &gst_video::VideoInfo) -> codec_core::Result<()> {
    let unavailable = || Error::InvalidConfig("the frame has no output buffer".into());
    frame::copy_out(picture.frame, frame.output_buffer_mut().ok_or_else(unavailable)?, info)
}

/// What becomes of a frame.
enum Outcome {
    /// It has an output buffer.
    Shown,
    Dropped,
}

/// Why a frame ends the stream.
enum Failure {
    Codec(Error),
    Flow(gst::FlowError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Codec(error)
    }
}

impl From<gst::FlowError> for Failure {
    fn from(flow: gst::FlowError) -> Self {
        Self::Flow(flow)
    }
}

/// A frame that could not be decoded.
struct Loss {
    why: Error,
    /// A keyframe is to be asked for.
    ask: bool,
}

impl State {
    /// Counts a lost frame. Whether a keyframe is to be asked for: once for each loss, and again where none comes.
    fn lose(&mut self, frame: &VideoCodecFrame) -> bool {
        let another = frame.input_buffer().is_some_and(|buffer| buffer.flags().contains(gst::BufferFlags::DISCONT));
        let ask = another || self.waiting.is_none_or(|frames| frames >= ASK_AGAIN);
        self.waiting = Some(if ask { 0 } else { self.waiting.map_or(0, |frames| frames + 1) });
        ask
    }
}

impl NgcDec {
    /// Decodes a frame, or conceals or drops one that cannot be decoded.
    fn work(
        &self,
        state: &mut State,
        frame: &mut VideoCodecFrame,
        late: bool,
        settings: &Settings,
        loss: &mut Option<Loss>,
    ) -> Result<Outcome, Failure> {
        state.decoder.set_detail_model(settings.detail_model())?;
        state.decoder.set_detail(settings.detail());
        let picture = match decode(&mut state.decoder, frame, late) {
            Ok(picture) => {
                state.waiting = None;
                if late {
                    gst::debug!(CAT, imp = self, "too late to be shown");
                }
                picture
            }
            Err(why) if why.is_damage() => {
                *loss = Some(Loss { why, ask: state.lose(frame) });
                let stand_in = settings.concealment().map(|how| state.decoder.conceal(how)).transpose()?.flatten();
                if stand_in.is_some() {
                    frame.set_flags(VideoCodecFrameFlags::CORRUPTED);
                }
                stand_in
            }
            Err(e) => return Err(e.into()),
        };
        match picture {
            Some(picture) => self.output(picture, &state.input, &mut state.video, frame).map(|()| Outcome::Shown),
            None => Ok(Outcome::Dropped),
        }
    }

    /// Says that a frame was lost, and asks for a keyframe.
    fn report(&self, loss: Loss, frame: &VideoCodecFrame) {
        let Loss { why, ask } = loss;
        if ask {
            gst::element_imp_warning!(self, gst::StreamError::Decode, ("{why}; clean output resumes at the next keyframe"));
            self.obj().request_sync_point(frame, VideoDecoderRequestSyncPointFlags::empty());
        }
        gst::debug!(CAT, imp = self, "lost: {}", why);
    }

    /// Puts a picture into a buffer of downstream's pool. `described`: what the output caps were made from.
    fn output(
        &self,
        picture: Picture,
        input: &VideoCodecState<'static, Readable>,
        described: &mut Option<VideoInfo>,
        frame: &mut VideoCodecFrame,
    ) -> Result<(), Failure> {
        if described.as_ref() != Some(picture.video) {
            *described = Some(picture.video.clone());
            self.describe_output(picture.video, input)?;
        }
        let fields = (picture.video.interlacing != Interlacing::Progressive).then(|| fields_of(frame)).flatten();
        self.obj().allocate_output_frame(frame, None)?;
        let info = self.obj().output_state().ok_or(gst::FlowError::NotNegotiated)?.info().clone();
        copy(picture, frame, &info)?;
        if let (Some(fields), Some(buffer)) = (fields, frame.output_buffer_mut()) {
            interlacing::put(fields, buffer);
        }
        Ok(())
    }

    /// Sets the output caps from the sequence header; the input caps fill in what it leaves unknown.
    fn describe_output(&self, video: &VideoInfo, input: &VideoCodecState<'static, Readable>) -> Result<(), gst::FlowError> {
        let element = self.obj();
        let format = output::choose_format(element.src_pad());
        let mut output = element.set_output_state(format, video.width, video.height, Some(input))?;
        let (info, caps) = output::describe(video, format, input.info()).map_err(|e| {
            gst::error!(CAT, imp = self, "output caps: {}", e);
            gst::FlowError::NotNegotiated
        })?;
        output.set_info(info);
        output.set_caps(&caps);
        // The base class negotiates with the frame, where it can tell a flush from a refusal.
        Ok(())
    }
}
