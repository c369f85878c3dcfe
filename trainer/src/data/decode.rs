//! Clips to I420 frames through GStreamer.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst_video::VideoFrameExt;

use super::error::DataError;
use super::i420::Size;

/// A decoder that delivers nothing for so long is taken for stuck.
const STALL: Duration = Duration::from_secs(30);
/// Larger pictures are refused: no training clip has them, a damaged header may.
const MAX_SIDE: i32 = 16384;

/// How large a clip is stored.
#[derive(Clone, Copy, Debug)]
pub struct ScalePolicy {
    /// The short side is brought down to this many pixels.
    pub short_side: usize,
    /// Shrink by 2 at least, so that the source's compression artifacts do not become training
    /// material.
    pub halve: bool,
    /// `halve` does not bring the short side below this.
    pub floor: usize,
}

impl ScalePolicy {
    /// Stored size of a source; never larger than the source, both sides even.
    pub fn output(self, source: Size) -> Size {
        let short = source.short_side() as f64;
        let mut scale = (self.short_side as f64 / short).min(1.0);
        if self.halve {
            scale = scale.min(f64::max(0.5, self.floor as f64 / short));
        }
        let even = |side: usize| ((side as f64 * scale / 2.0).round() as usize * 2).max(2);
        Size::new(even(source.width), even(source.height))
    }
}

/// Decoded frames of one clip, all of one size, I420 BT.601 limited range.
#[derive(Debug)]
pub struct DecodedClip {
    pub size: Size,
    pub frames: Vec<Vec<u8>>,
}

/// Decodes at most `max_frames` frames of the first video stream.
///
/// # Errors
/// [`DataError::Decode`] if the file holds no video or a decoder reports an error.
pub fn decode_clip(path: &Path, policy: ScalePolicy, max_frames: usize) -> Result<DecodedClip, DataError> {
    gst::init().map_err(|e| DataError::GStreamer(e.to_string()))?;
    std::fs::File::open(path).map_err(DataError::io(path))?;
    let graph = Graph::new(path, policy)?;
    let result = graph.run(path, max_frames);
    // A pipeline that is dropped while playing leaks its threads.
    let _ = graph.pipeline.set_state(gst::State::Null);
    result
}

struct Graph {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    no_video: Arc<AtomicBool>,
}

impl Graph {
    fn new(path: &Path, policy: ScalePolicy) -> Result<Self, DataError> {
        let location = path.to_str().ok_or_else(|| DataError::decode(path, "the file name is not valid UTF-8"))?;
        let source = element("filesrc", &[("location", location)])?;
        let decoder = element("decodebin", &[])?;
        let convert = element("videoconvert", &[])?;
        let scale = element("videoscale", &[("method", "lanczos"), ("add-borders", "false")])?;
        let filter = element("capsfilter", &[])?;
        let sink = gst_app::AppSink::builder().sync(false).max_buffers(4).build();
        let pipeline = gst::Pipeline::new();
        let tail = [&convert, &scale, &filter, sink.upcast_ref()];
        let built = pipeline
            .add_many([&source, &decoder])
            .and_then(|()| pipeline.add_many(tail))
            .and_then(|()| source.link(&decoder))
            .and_then(|()| gst::Element::link_many(tail));
        built.map_err(|e| DataError::GStreamer(e.to_string()))?;

        let no_video = Arc::new(AtomicBool::new(false));
        let entry = convert.static_pad("sink");
        let target = entry.clone();
        decoder.connect_pad_added(move |_, pad| link_video(pad, target.as_ref(), &filter, policy));
        let flag = no_video.clone();
        decoder.connect_no_more_pads(move |_| {
            let linked = entry.as_ref().is_some_and(|pad| pad.is_linked());
            flag.store(!linked, Ordering::Release);
        });
        Ok(Graph { pipeline, sink, no_video })
    }

    fn run(&self, path: &Path, max_frames: usize) -> Result<DecodedClip, DataError> {
        let bus = self.pipeline.bus().ok_or_else(|| DataError::GStreamer("the pipeline has no bus".into()))?;
        let failed = || match bus.pop_filtered(&[gst::MessageType::Error]) {
            Some(message) => match message.view() {
                gst::MessageView::Error(e) => Some(e.error().to_string()),
                _ => None,
            },
            None => None,
        };
        if self.pipeline.set_state(gst::State::Playing).is_err() {
            let reason = failed().unwrap_or_else(|| "the pipeline does not start".into());
            return Err(DataError::decode(path, reason));
        }
        let mut clip = DecodedClip { size: Size::new(0, 0), frames: Vec::new() };
        let mut last = Instant::now();
        while clip.frames.len() < max_frames {
            let sample = self.sink.try_pull_sample(gst::ClockTime::from_mseconds(100));
            if let Some(reason) = failed() {
                return Err(DataError::decode(path, reason));
            }
            if self.no_video.load(Ordering::Acquire) {
                return Err(DataError::decode(path, "it has no video stream"));
            }
            match sample {
                Some(sample) => {
                    push_frame(path, &sample, &mut clip)?;
                    last = Instant::now();
                }
                None if self.sink.is_eos() => break,
                None if last.elapsed() > STALL => {
                    return Err(DataError::decode(path, "the decoder delivers no frames"));
                }
                None => {}
            }
        }
        if clip.frames.is_empty() {
            return Err(DataError::decode(path, "it has no frames"));
        }
        Ok(clip)
    }
}

fn element(name: &str, properties: &[(&str, &str)]) -> Result<gst::Element, DataError> {
    let missing = |e: gst::glib::BoolError| DataError::GStreamer(e.to_string());
    let element = gst::ElementFactory::make(name).build().map_err(missing)?;
    for (property, value) in properties {
        element.set_property_from_str(property, value);
    }
    Ok(element)
}

/// Links the first video pad, after fixing the output size by the size of the stream.
fn link_video(pad: &gst::Pad, entry: Option<&gst::Pad>, filter: &gst::Element, policy: ScalePolicy) {
    let Some(entry) = entry.filter(|entry| !entry.is_linked()) else {
        return;
    };
    let Some(caps) = pad.current_caps() else {
        return;
    };
    let Some(structure) = caps.structure(0).filter(|s| s.name() == "video/x-raw") else {
        return;
    };
    let side = |name| structure.get::<i32>(name).ok().filter(|side| (2..=MAX_SIDE).contains(side));
    let (Some(width), Some(height)) = (side("width"), side("height")) else {
        return;
    };
    let size = policy.output(Size::new(width as usize, height as usize));
    // "bt601" is limited range with the BT.601 matrix; videoconvert maps full-range and BT.709
    // sources to it.
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("colorimetry", "bt601")
        .field("width", size.width as i32)
        .field("height", size.height as i32)
        .build();
    filter.set_property("caps", caps);
    // A refused link shows as "no video stream".
    let _ = pad.link(entry);
}

fn push_frame(path: &Path, sample: &gst::Sample, clip: &mut DecodedClip) -> Result<(), DataError> {
    let broken = |what: &str| DataError::decode(path, format!("a decoded frame has no {what}"));
    let caps = sample.caps().ok_or_else(|| broken("caps"))?;
    let info = gst_video::VideoInfo::from_caps(caps).map_err(|_| broken("video caps"))?;
    let buffer = sample.buffer().ok_or_else(|| broken("buffer"))?;
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).map_err(|_| broken("readable memory"))?;
    let size = Size::new(info.width() as usize, info.height() as usize);
    if clip.frames.is_empty() {
        clip.size = size;
    } else if clip.size != size {
        return Err(DataError::decode(path, "its picture size changes"));
    }
    let mut out = Vec::with_capacity(size.bytes());
    for plane in 0..3 {
        let shift = usize::from(plane > 0);
        let (width, height) = (size.width >> shift, size.height >> shift);
        let stride = frame.plane_stride()[plane as usize] as usize;
        let data = frame.plane_data(plane).map_err(|_| broken("complete plane"))?;
        for row in 0..height {
            let row = data.get(row * stride..row * stride + width);
            out.extend_from_slice(row.ok_or_else(|| broken("complete plane"))?);
        }
    }
    clip.frames.push(out);
    Ok(())
}
