//! Decoded frames of a file, one after the other.

use std::path::{Path, PathBuf};

use gst::prelude::*;
use gst_video::VideoFrameExt;

use crate::span::{self, Span};
use crate::{Failure, Interrupt, Kind, drop_gaps, make, nowhere};

/// Longest wait for a frame.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// Decodes the first video stream of a file to I420, with whatever decoder GStreamer has for it.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    interrupt: Interrupt,
}

/// A decoded frame.
#[derive(Debug)]
pub struct Frame {
    /// When it is shown, from the beginning of the file.
    pub time: gst::ClockTime,
    pub info: gst_video::VideoInfo,
    pub buffer: gst::Buffer,
}

impl Reader {
    /// `upright`: turn pictures as the file's rotation tag says. `span`: only a part of it; times count from its start.
    ///
    /// # Errors
    /// [`Kind::Plugin`].
    pub fn new(path: &Path, upright: bool, span: Option<Span>, interrupt: &Interrupt) -> Result<Self, Failure> {
        let failed = |e: gst::glib::BoolError| Failure::new(Kind::Input, e.to_string());
        let pipeline = gst::Pipeline::new();
        let source = make("filesrc")?;
        source.set_property("location", path);
        let (parse, decode, convert, queue) = (make("parsebin")?, make("decodebin")?, make("videoconvert")?, make("queue")?);
        let caps = gst::Caps::builder("video/x-raw").field("format", "I420").build();
        let sink = gst_app::AppSink::builder().caps(&caps).sync(false).max_buffers(2).build();
        pipeline.add_many([&source, &parse, &queue, &decode, &convert, sink.upcast_ref()]).map_err(failed)?;
        gst::Element::link_many([&source, &parse]).map_err(failed)?;
        queue.link(&decode).map_err(failed)?;
        if upright {
            let (flip, again) = (make("videoflip")?, make("videoconvert")?);
            flip.set_property_from_str("video-direction", "auto");
            pipeline.add_many([&flip, &again]).map_err(failed)?;
            gst::Element::link_many([&convert, &flip, &again, sink.upcast_ref()]).map_err(failed)?;
        } else {
            convert.link(&sink).map_err(failed)?;
        }
        if let Some(pad) = queue.static_pad("sink") {
            drop_gaps(&pad, true);
        }
        let weak = pipeline.downgrade();
        span::link_pads(&pipeline, &parse, span, move |pad| {
            let Some(pipeline) = weak.upgrade() else { return };
            let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
            let name = caps.structure(0).map(|s| s.name().to_string()).unwrap_or_default();
            let free = queue.static_pad("sink").filter(|sink| !sink.is_linked());
            let target = match free {
                Some(sink) if name.starts_with("video/") || name.starts_with("image/") => Some(sink),
                _ => nowhere(&pipeline),
            };
            if let Some(target) = target {
                let _ = pad.link(&target);
            }
        });
        decode.connect_pad_added(move |_, pad| {
            if let Some(target) = convert.static_pad("sink").filter(|sink| !sink.is_linked()) {
                if let Some(span) = span {
                    span::cut(pad, span);
                }
                let _ = pad.link(&target);
            }
        });
        // An error says more than the change of state.
        let _ = pipeline.set_state(gst::State::Playing);
        Ok(Self { path: path.into(), pipeline, sink, interrupt: interrupt.clone() })
    }

    /// The next frame; `None` after the last.
    ///
    /// # Errors
    /// [`Kind::Input`] for what cannot be decoded, [`Kind::Plugin`] where no plugin does, [`Kind::Interrupted`].
    pub fn next_frame(&self) -> Result<Option<Frame>, Failure> {
        let slice = gst::ClockTime::from_mseconds(200);
        let mut waited = gst::ClockTime::ZERO;
        loop {
            self.interrupt.check()?;
            if let Some(sample) = self.sink.try_pull_sample(slice) {
                return Frame::of(&sample).map(Some);
            }
            let wanted = [gst::MessageType::Error, gst::MessageType::StreamCollection];
            let message = self.pipeline.bus().and_then(|bus| bus.pop_filtered(&wanted));
            let failed = |kind, text: &str| Err(Failure::new(kind, format!("{}: {text}", self.path.display())));
            match message.as_ref().map(|m| m.view()) {
                Some(gst::MessageView::Error(error)) => {
                    let failure = Failure::from_message(error, Kind::Input);
                    return failed(failure.kind, &failure.text);
                }
                // Then nothing would ever come, and no element would say so.
                Some(gst::MessageView::StreamCollection(streams)) if only_sound_or_text(&streams.stream_collection()) => {
                    return failed(Kind::Input, "it holds no video");
                }
                _ => {}
            }
            if self.sink.is_eos() {
                return Ok(None);
            }
            waited += slice;
            if waited > PATIENCE {
                return Err(Failure::new(Kind::Input, "no more frames come"));
            }
        }
    }
}

/// Whether a file that has streams has none with pictures.
fn only_sound_or_text(streams: &gst::StreamCollection) -> bool {
    let other = |stream: &gst::Stream| !stream.stream_type().intersects(gst::StreamType::AUDIO | gst::StreamType::TEXT);
    !streams.is_empty() && !streams.iter().any(|stream| other(&stream))
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

impl Frame {
    fn of(sample: &gst::Sample) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::new(Kind::Input, format!("a frame without {what}"));
        let buffer = sample.buffer_owned().ok_or_else(|| wrong("data"))?;
        let info = sample.caps().and_then(|caps| gst_video::VideoInfo::from_caps(caps).ok()).ok_or_else(|| wrong("caps"))?;
        let segment = sample.segment().and_then(|s| s.downcast_ref::<gst::ClockTime>()).ok_or_else(|| wrong("a segment"))?;
        let time = segment.to_running_time(buffer.pts()).ok_or_else(|| wrong("a time"))?;
        Ok(Self { time, info, buffer })
    }

    /// Mean squared difference to another frame of the same size, over luma.
    ///
    /// # Errors
    /// [`Kind::Input`] if a frame cannot be mapped.
    pub fn luma_error(&self, other: &Self) -> Result<f64, Failure> {
        let map = |frame: &Self| {
            gst_video::VideoFrame::from_buffer_readable(frame.buffer.clone(), &frame.info)
                .map_err(|_| Failure::new(Kind::Input, "a frame cannot be read"))
        };
        let (a, b) = (map(self)?, map(other)?);
        let (width, height) = (self.info.width() as usize, self.info.height() as usize);
        if (other.info.width() as usize, other.info.height() as usize) != (width, height) {
            return Err(Failure::new(Kind::Input, "frames of different sizes"));
        }
        let plane = |frame: &gst_video::VideoFrame<gst_video::video_frame::Readable>| {
            let stride = frame.plane_stride().first().copied().unwrap_or(0) as usize;
            frame.plane_data(0).map(|data| (data.to_vec(), stride)).map_err(|e| Failure::new(Kind::Input, e.to_string()))
        };
        let ((a, stride_a), (b, stride_b)) = (plane(&a)?, plane(&b)?);
        let rows =
            (0..height).filter_map(|row| Some((a.get(row * stride_a..)?.get(..width)?, b.get(row * stride_b..)?.get(..width)?)));
        let sum: u64 = rows.map(|(a, b)| a.iter().zip(b).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum::<u64>()).sum();
        Ok(sum as f64 / (width * height) as f64)
    }
}

/// PSNR in dB of 8-bit samples with this mean squared error.
pub fn psnr(error: f64) -> f64 {
    10.0 * (255.0f64.powi(2) / error.max(1e-6)).log10()
}
