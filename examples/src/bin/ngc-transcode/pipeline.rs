//! The pipeline: one chain of elements for each track, from the parser to the muxer.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gst::prelude::*;
use ngc_examples::span::{self, Span};
use ngc_examples::{Failure, Kind, make, nowhere};

use crate::plan::{Plan, Track, Treatment};
use crate::probe::Media;
use crate::{convert, join, text};

/// What has passed so far.
#[derive(Debug)]
pub struct Counters {
    /// Frames written.
    pub frames: AtomicU64,
    pub keyframes: AtomicU64,
    /// Buffers of all tracks: a sign of life.
    pub buffers: AtomicU64,
    /// Times of the first and the last frame so far, in nanoseconds.
    pub first: AtomicU64,
    pub last: AtomicU64,
}

impl Counters {
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self { frames: zero(), keyframes: zero(), buffers: zero(), first: AtomicU64::new(u64::MAX), last: zero() }
    }

    /// Seconds from the first frame to the last.
    pub fn seconds(&self) -> f64 {
        let (first, last) = (self.first.load(Ordering::Relaxed), self.last.load(Ordering::Relaxed));
        last.saturating_sub(first) as f64 / 1e9
    }
}

/// A pipeline that is built and not yet running.
#[derive(Debug)]
pub struct Transcoder {
    pub pipeline: gst::Pipeline,
    /// Elements that write; errors of others are errors of the input.
    pub writers: Vec<gst::Element>,
    pub counters: Arc<Counters>,
    /// What conversions lose, found out when the first frame comes.
    pub notes: convert::Notes,
}

fn wrong(error: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Encode, error.to_string())
}

/// `encoder`: an `ngcenc` with its settings.
///
/// # Errors
/// [`Kind::Plugin`] for missing elements, [`Kind::Encode`] for what does not fit together.
pub fn build(input: &Path, output: &Path, plan: &Plan, encoder: &gst::Element) -> Result<Transcoder, Failure> {
    let pipeline = gst::Pipeline::new();
    let source = make("filesrc")?;
    source.set_property("location", input);
    let parse = make("parsebin")?;
    let muxer = make(plan.container.muxer())?;
    let sink = make("filesink")?;
    sink.set_property("location", output);
    pipeline.add_many([&source, &parse, &muxer, &sink]).map_err(wrong)?;
    source.link(&parse).map_err(wrong)?;
    muxer.link(&sink).map_err(wrong)?;
    if let (Some(chapters), Some(setter)) = (&plan.chapters, muxer.dynamic_cast_ref::<gst::TocSetter>()) {
        setter.set_toc(Some(chapters));
    }

    let counters = Arc::new(Counters::new());
    let notes = convert::Notes::default();
    let mut entrances = HashMap::new();
    for track in &plan.tracks {
        let span = plan.span;
        let chain = match &track.treatment {
            Treatment::Encode => convert::video(&pipeline, encoder, span, &notes)?,
            Treatment::Join(parts) => join::chain(&pipeline, parts)?,
            Treatment::Recode { encoder } => convert::audio(&pipeline, encoder, &track.stream.caps, span)?,
            Treatment::Copy { parser } => convert::copy(&pipeline, *parser)?,
            Treatment::Text => text::chain(&pipeline, plan.container)?,
        };
        let pad = muxer_pad(&muxer, track)?;
        let exit = chain.exit.static_pad("src").ok_or_else(|| wrong("a chain without an end"))?;
        count(&exit, &counters, track.stream.media == Media::Video);
        exit.link(&pad).map_err(wrong)?;
        if let Some(entrance) = chain.entrance {
            // What is decoded is cut afterwards.
            let decoded = matches!(track.treatment, Treatment::Encode | Treatment::Recode { .. });
            entrances.insert(track.stream.id.clone(), (entrance, span.filter(|_| !decoded)));
        }
    }
    connect(&pipeline, &parse, entrances, plan.span);
    Ok(Transcoder { pipeline, writers: vec![muxer, sink], counters, notes })
}

fn muxer_pad(muxer: &gst::Element, track: &Track) -> Result<gst::Pad, Failure> {
    let name = match track.stream.media {
        Media::Video => "video_%u",
        Media::Audio => "audio_%u",
        _ => "subtitle_%u",
    };
    muxer.request_pad_simple(name).ok_or_else(|| wrong(format!("{} has no pad {name}", muxer.name())))
}

/// Links pads of the parser to the chains for their streams; other streams go nowhere.
fn connect(
    pipeline: &gst::Pipeline,
    parse: &gst::Element,
    entrances: HashMap<String, (gst::Element, Option<Span>)>,
    span: Option<Span>,
) {
    let weak = pipeline.downgrade();
    let number = AtomicU64::new(0);
    span::link_pads(pipeline, parse, span, move |pad| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let Some(pipeline) = weak.upgrade() else { return };
        let id = pad.stream_id().map_or_else(|| number.to_string(), |id| id.to_string());
        let (target, span) = match entrances.get(&id) {
            Some((entrance, span)) => (entrance.static_pad("sink"), *span),
            None => (nowhere(&pipeline), span),
        };
        if let Some(span) = span {
            span::cut(pad, span);
        }
        if let Some(target) = target
            && !target.is_linked()
            && let Err(error) = pad.link(&target)
        {
            gst::element_error!(pipeline, gst::CoreError::Negotiation, ("{} does not link: {error}", pad.name()));
        }
    });
}

/// Counts what leaves a chain; of the video, its frames.
fn count(pad: &gst::Pad, counters: &Arc<Counters>, video: bool) {
    let counters = Arc::clone(counters);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        counters.buffers.fetch_add(1, Ordering::Relaxed);
        if let Some(buffer) = info.buffer().filter(|_| video) {
            counters.frames.fetch_add(1, Ordering::Relaxed);
            counters.keyframes.fetch_add(u64::from(!buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)), Ordering::Relaxed);
            let segment = pad.sticky_event::<gst::event::Segment>(0);
            let segment = segment.as_ref().and_then(|event| event.segment().downcast_ref::<gst::ClockTime>());
            if let Some(time) = segment.and_then(|segment| segment.to_running_time(buffer.pts())) {
                counters.first.fetch_min(time.nseconds(), Ordering::Relaxed);
                counters.last.fetch_max(time.nseconds(), Ordering::Relaxed);
            }
        }
        gst::PadProbeReturn::Ok
    });
}
