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
use codec_core::bitstream::{Scan, SequenceHeader, UnitSummary, VideoInfo, scan};
use gst::glib;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use gst_base::{BaseParseFrame, BaseParseFrameFlags};
use once_cell::sync::Lazy;

use super::duration;
use crate::caps;

static CAT: Lazy<gst::DebugCategory> =
    Lazy::new(|| gst::DebugCategory::new("ngcparse", gst::DebugColorFlags::empty(), Some("NGC video parser")));

/// A unit has at least this many bytes.
const MIN_UNIT_BYTES: u32 = 8;

#[derive(Default)]
struct State {
    video: Option<VideoInfo>,
    /// The sequence header has been seen, so delta units make sense.
    started: bool,
    upstream: Option<gst::Structure>,
    /// Downstream takes no form of this stream.
    refused: bool,
}

#[derive(Default)]
pub struct NgcParse {
    state: Mutex<State>,
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
            let mut sink = caps::plain();
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
        // mp4mux (GStreamer 1.22) asserts on a pad that ends without ever having had caps. The pipeline has an error by then.
        if event.type_() == gst::EventType::Eos && self.state.lock().unwrap().refused {
            gst::debug!(CAT, imp = self, "keeping the end of a stream that downstream cannot take");
            return true;
        }
        self.parent_sink_event(event)
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
                self.find_duration(sequence, summary.header.frame_number);
            }
        }
        if !self.state.lock().unwrap().started {
            gst::debug!(CAT, imp = self, "dropping a frame before the first keyframe");
            frame.set_flags(BaseParseFrameFlags::DROP);
        }
        let buffer = frame.buffer_mut().ok_or(gst::FlowError::Error)?;
        if keyframe {
            buffer.unset_flags(gst::BufferFlags::DELTA_UNIT);
        } else {
            buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        // Frames are coded in order of presentation, so a demuxer that knows only one of the two times knows both.
        match (buffer.pts(), buffer.dts()) {
            (None, Some(dts)) => buffer.set_pts(dts),
            (Some(pts), None) => buffer.set_dts(pts),
            _ => {}
        }
        self.obj().finish_frame(frame, len as u32).map(|success| (success, 0))
    }

    /// Tells the base class how long a raw file is, where there is one to look into and its frame rate is known.
    fn find_duration(&self, sequence: &SequenceHeader, first: u32) {
        let pad = self.obj().sink_pad().clone();
        let (numerator, denominator) = sequence.video.framerate;
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

    /// Sets the output caps when the sequence changes: the first form that downstream takes.
    fn update_caps(&self, sequence: &SequenceHeader) -> Result<(), gst::FlowError> {
        let upstream = {
            let mut state = self.state.lock().unwrap();
            state.started = true;
            if state.video.as_ref() == Some(&sequence.video) {
                return Ok(());
            }
            state.video = Some(sequence.video.clone());
            state.upstream.clone()
        };
        let video = &sequence.video;
        let upstream = upstream.as_deref();
        let pad = self.obj().src_pad().clone();
        let mut plain = caps::ngc(video, upstream);
        plain.make_mut().set("parsed", true);
        let allowed = pad.peer_query_caps(Some(&pad.pad_template_caps()));
        let candidates = [plain, caps::mp4(), caps::matroska()].map(|mut candidate| {
            caps::describe(&mut candidate, video, upstream);
            candidate
        });
        let Some(chosen) = candidates.into_iter().find(|c| c.can_intersect(&allowed)) else {
            if pad.pad_flags().contains(gst::PadFlags::FLUSHING) {
                // Asked again with the next keyframe.
                self.state.lock().unwrap().video = None;
                return Err(gst::FlowError::Flushing);
            }
            let side = video.width.min(video.height) as i32;
            if side < caps::MP4_MIN_SIDE && caps::mp4().can_intersect(&allowed) {
                gst::element_imp_error!(
                    self,
                    gst::StreamError::Format,
                    (
                        "MP4 holds frames of at least {0}x{0} pixels, this stream has {1}x{2}; use matroskamux",
                        caps::MP4_MIN_SIDE,
                        video.width,
                        video.height
                    )
                );
            }
            self.state.lock().unwrap().refused = true;
            return Err(gst::FlowError::NotNegotiated);
        };
        self.state.lock().unwrap().refused = false;
        gst::info!(CAT, imp = self, "caps {}", chosen);
        let (numerator, denominator) = video.framerate;
        if numerator > 0 {
            self.obj().set_frame_rate(gst::Fraction::new(numerator as i32, denominator as i32), 0, 0);
        }
        pad.push_event(gst::event::Caps::new(&chosen));
        Ok(())
    }
}
