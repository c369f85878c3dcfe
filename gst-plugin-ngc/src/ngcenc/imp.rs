//! SECTION:element-ngcenc
//!
//! `ngcenc` encodes raw 4:2:0 video with the NGC neural codec.
//!
//! ```shell
//! gst-launch-1.0 filesrc location=in.mp4 ! decodebin ! videoconvert ! ngcenc quality=32 ! ngcparse ! mp4mux ! filesink location=out.mp4
//! gst-launch-1.0 videotestsrc num-buffers=100 ! ngcenc quality=40 ! filesink location=test.ngc
//! ```

use std::sync::Mutex;

use codec_core::{Encoder, FrameOptions};
use gst::glib;
use gst::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::subclass::prelude::*;
use gst_video::{VideoCodecFrame, VideoCodecFrameFlags, VideoCodecState, VideoInfo};
use once_cell::sync::Lazy;

use super::settings::Settings;
use crate::{caps, colorimetry, error, frame};

static CAT: Lazy<gst::DebugCategory> =
    Lazy::new(|| gst::DebugCategory::new("ngcenc", gst::DebugColorFlags::empty(), Some("NGC video encoder")));

struct State {
    encoder: Encoder,
    info: VideoInfo,
}

#[derive(Default)]
pub struct NgcEnc {
    settings: Mutex<Settings>,
    /// Taken only on the streaming thread.
    state: Mutex<Option<State>>,
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
        self.settings.lock().unwrap().get(spec.name())
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
    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *self.state.lock().unwrap() = None;
        Ok(())
    }

    fn set_format(
        &self,
        state: &VideoCodecState<'static, gst_video::video_codec_state::Readable>,
    ) -> Result<(), gst::LoggableError> {
        let info = state.info().clone();
        let video = colorimetry::video_info(&info);
        let settings = self.settings.lock().unwrap().clone();
        let encoder = settings.encoder_config(video.clone()).and_then(Encoder::new).map_err(|e| {
            error::post(&*self.obj(), &e);
            gst::loggable_error!(CAT, "{}", e)
        })?;
        gst::info!(CAT, imp = self, "model {} on {:?}", encoder.model().id, encoder.model().device);
        *self.state.lock().unwrap() = Some(State { encoder, info });

        let element = self.obj();
        let output = element
            .set_output_state(caps::ngc(&video, None), Some(state))
            .map_err(|_| gst::loggable_error!(CAT, "cannot set the output state"))?;
        element.negotiate(output).map_err(|_| gst::loggable_error!(CAT, "downstream does not take video/x-ngc"))?;
        self.obj().set_latency(gst::ClockTime::ZERO, gst::ClockTime::ZERO);
        let mut tags = gst::TagList::new();
        let list = tags.make_mut();
        list.add::<gst::tags::VideoCodec>(&"NGC", gst::TagMergeMode::Replace);
        list.add::<gst::tags::Encoder>(&"ngcenc", gst::TagMergeMode::Replace);
        self.obj().merge_tags(Some(&tags), gst::TagMergeMode::Replace);
        self.parent_set_format(state)
    }

    fn propose_allocation(&self, query: &mut gst::query::Allocation) -> Result<(), gst::LoggableError> {
        query.add_allocation_meta::<gst_video::VideoMeta>(None);
        self.parent_propose_allocation(query)
    }

    fn handle_frame(&self, mut frame: VideoCodecFrame) -> Result<gst::FlowSuccess, gst::FlowError> {
        let options = FrameOptions {
            force_keyframe: frame.flags().contains(VideoCodecFrameFlags::FORCE_KEYFRAME),
            quality: Some(self.settings.lock().unwrap().quality as u8),
        };
        // The lock is released before the base class is called again.
        let unit = match &mut *self.state.lock().unwrap() {
            Some(state) => encode(state, &frame, options),
            None => return Err(gst::FlowError::NotNegotiated),
        };
        match unit {
            Ok(unit) => {
                if unit.keyframe {
                    frame.set_flags(VideoCodecFrameFlags::SYNC_POINT);
                }
                gst::trace!(
                    CAT,
                    imp = self,
                    "frame {}: {} bytes, keyframe {}",
                    unit.frame_number,
                    unit.data.len(),
                    unit.keyframe
                );
                frame.set_output_buffer(gst::Buffer::from_mut_slice(unit.data));
                self.obj().finish_frame(frame)
            }
            Err(e) => {
                // Without an output buffer this drops the frame, so that it is not left pending.
                let _ = self.obj().finish_frame(frame);
                error::post(&*self.obj(), &e);
                Err(gst::FlowError::Error)
            }
        }
    }

    fn flush(&self) -> bool {
        if let Some(state) = &mut *self.state.lock().unwrap() {
            state.encoder.reset();
        }
        true
    }
}

fn encode(state: &mut State, frame: &VideoCodecFrame, options: FrameOptions) -> codec_core::Result<codec_core::Unit> {
    let unmapped = |what: &str| codec_core::Error::InvalidConfig(format!("{what}: the buffer is smaller than its caps say"));
    let buffer = frame.input_buffer().ok_or_else(|| unmapped("a frame without a buffer"))?;
    let mapped = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &state.info)
        .map_err(|_| unmapped("a frame cannot be mapped"))?;
    state.encoder.send_frame(&frame::view(&mapped)?, options)?;
    Ok(state.encoder.receive_unit().expect("one unit for every frame"))
}
