//! Chains of elements for video and sound.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gst_video::VideoFormatFlags;
use ngc_examples::span::{self, Span};
use ngc_examples::{Failure, Kind, drop_gaps, make};

use crate::budget;

/// Compressed data that a queue holds at most, in bytes. Tracks that lie far apart in a file need it.
const QUEUE_BYTES: u32 = 64 << 20;

/// What `ngcenc` takes.
const MAX_SIDE: u32 = 8192;
const MAX_SAMPLES: u64 = 8192 * 4352;

/// Duration of a lone frame in nanoseconds.
const USUAL_DISTANCE: u64 = 40_000_000;

/// Elements in a row. The first, where it is fed by the input, has a pad `sink`, the last a pad `src`.
#[derive(Debug)]
pub struct Chain {
    pub entrance: Option<gst::Element>,
    pub exit: gst::Element,
}

/// What is found out about a video once frames come: warnings.
pub type Notes = Arc<Mutex<Vec<String>>>;

fn wrong(error: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Encode, error.to_string())
}

/// A queue for compressed data.
///
/// # Errors
/// [`Kind::Plugin`].
pub fn queue() -> Result<gst::Element, Failure> {
    let queue = make("queue")?;
    queue.set_property("max-size-bytes", QUEUE_BYTES);
    queue.set_property("max-size-buffers", 0u32);
    queue.set_property("max-size-time", 0u64);
    Ok(queue)
}

/// Puts elements into a pipeline, one after the other.
///
/// # Errors
/// [`Kind::Encode`] if they do not fit.
pub fn link(pipeline: &gst::Pipeline, elements: &[gst::Element]) -> Result<(), Failure> {
    pipeline.add_many(elements).map_err(wrong)?;
    gst::Element::link_many(elements).map_err(wrong)
}

/// Decodes, and encodes to NGC with `encoder`.
///
/// # Errors
/// [`Kind::Plugin`].
pub fn video(pipeline: &gst::Pipeline, encoder: &gst::Element, span: Option<Span>, notes: &Notes) -> Result<Chain, Failure> {
    let entrance = queue()?;
    let decode = make("decodebin")?;
    let frames = make("queue")?;
    // No muxer here writes how the picture is to be turned, so the picture itself is.
    let (first, flip, second) = (make("videoconvert")?, make("videoflip")?, make("videoconvert")?);
    flip.set_property_from_str("video-direction", "auto");
    let (parse, exit) = (make("ngcparse")?, queue()?);
    link(pipeline, &[entrance.clone(), decode.clone()])?;
    link(pipeline, &[first.clone(), flip, second, frames, encoder.clone(), parse, exit.clone()])?;
    if let Some(pad) = entrance.static_pad("sink") {
        drop_gaps(&pad, true);
    }
    if let Some(pad) = encoder.static_pad("sink") {
        fill_durations(&pad);
    }
    follow(&decode, &first, span, notes);
    Ok(Chain { entrance: Some(entrance), exit })
}

/// Decodes, and encodes with an encoder of sound.
///
/// # Errors
/// [`Kind::Plugin`].
pub fn audio(pipeline: &gst::Pipeline, encoder: &str, caps: &gst::Caps, span: Option<Span>) -> Result<Chain, Failure> {
    let entrance = queue()?;
    let decode = make("decodebin")?;
    let convert = make("audioconvert")?;
    let encoder = make(encoder)?;
    encoder.set_property("bitrate", budget::recoded_bits(caps) as i32);
    let exit = queue()?;
    link(pipeline, &[entrance.clone(), decode.clone()])?;
    link(pipeline, &[convert.clone(), make("audioresample")?, encoder, exit.clone()])?;
    if let Some(pad) = entrance.static_pad("sink") {
        drop_gaps(&pad, false);
    }
    follow(&decode, &convert, span, &Notes::default());
    Ok(Chain { entrance: Some(entrance), exit })
}

/// Passes on what the muxer takes as it is.
///
/// # Errors
/// [`Kind::Plugin`].
pub fn copy(pipeline: &gst::Pipeline, parser: Option<&str>) -> Result<Chain, Failure> {
    let entrance = queue()?;
    let Some(parser) = parser else {
        link(pipeline, std::slice::from_ref(&entrance))?;
        return Ok(Chain { exit: entrance.clone(), entrance: Some(entrance) });
    };
    let exit = make(parser)?;
    link(pipeline, &[entrance.clone(), exit.clone()])?;
    Ok(Chain { entrance: Some(entrance), exit })
}

/// Links the decoder's pad, when it comes, to what follows.
fn follow(decode: &gst::Element, next: &gst::Element, span: Option<Span>, notes: &Notes) {
    let (next, notes) = (next.downgrade(), Arc::clone(notes));
    decode.connect_pad_added(move |decode, pad| {
        let Some(target) = next.upgrade().and_then(|next| next.static_pad("sink")) else { return };
        if target.is_linked() {
            return;
        }
        if let Some(span) = span {
            span::cut(pad, span);
        }
        // They do not even link.
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        if let Some(text) = too_large(&caps) {
            gst::element_error!(decode, gst::StreamError::Format, ("{text}"));
        }
        describe(&caps, &notes);
        let _ = pad.link(&target);
    });
}

/// Gives frames without a duration, or with one that a decoder made up, the distance to the one before: in MP4 a last frame without would not be shown.
fn fill_durations(pad: &gst::Pad) {
    let last = AtomicU64::new(u64::MAX);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data
            && let Some(time) = buffer.pts()
        {
            let before = last.swap(time.nseconds(), Ordering::Relaxed);
            let distance = time.nseconds().checked_sub(before).filter(|&d| d > 0);
            if buffer.duration().is_none_or(|d| d < gst::ClockTime::MSECOND) {
                let distance = gst::ClockTime::from_nseconds(distance.unwrap_or(USUAL_DISTANCE));
                buffer.make_mut().set_duration(distance);
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// Why frames of these caps are refused: `ngcenc` would only say that nothing fits.
fn too_large(caps: &gst::Caps) -> Option<String> {
    let info = gst_video::VideoInfo::from_caps(caps).ok()?;
    let (width, height) = (info.width(), info.height());
    let large = width.max(height) > MAX_SIDE || u64::from(width) * u64::from(height) > MAX_SAMPLES;
    large.then(|| format!("frames of {width}x{height} are too large: NGC has sides up to {MAX_SIDE} and {MAX_SAMPLES} pixels"))
}

/// Says what the conversion to 8 bits and 4:2:0 loses.
fn describe(caps: &gst::Caps, notes: &Notes) {
    let Ok(info) = gst_video::VideoInfo::from_caps(caps) else { return };
    let format = info.format_info();
    let Ok(mut notes) = notes.lock() else { return };
    let depth = format.depth().iter().copied().max().unwrap_or(8);
    if depth > 8 {
        notes.push(format!("the input has {depth} bits a sample; NGC keeps 8"));
    }
    if format.flags().contains(VideoFormatFlags::ALPHA) {
        notes.push("transparency is left out: NGC has none".into());
    }
    let chroma = |shift: &[u32]| shift.get(1).copied().unwrap_or(0);
    let gray = format.flags().contains(VideoFormatFlags::GRAY);
    if !gray && (chroma(format.w_sub()), chroma(format.h_sub())) != (1, 1) {
        notes.push(format!("the input's colours ({}) are kept at half the resolution (4:2:0)", info.format().to_str()));
    }
}
