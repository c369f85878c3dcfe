//! The pipeline: one chain of elements for each track, from the parser to the muxer.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gst::prelude::*;
use ngc_examples::{Failure, Kind, make};

use crate::convert;
use crate::plan::{Plan, Track, Treatment};
use crate::text;

/// What has passed so far.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames encoded.
    pub frames: AtomicU64,
    /// Buffers of all tracks: a sign of life.
    pub buffers: AtomicU64,
    /// Time of the last frame encoded, in nanoseconds.
    pub position: AtomicU64,
}

/// A pipeline that is built and not yet running.
#[derive(Debug)]
pub struct Transcoder {
    pub pipeline: gst::Pipeline,
    pub encoder: gst::Element,
    /// Elements that write; errors of others are errors of the input, or of the encoder.
    pub writers: Vec<gst::Element>,
    pub counters: Arc<Counters>,
    /// What conversions lose, found out when the first frame comes.
    pub notes: convert::Notes,
}

fn wrong(error: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Encode, error.to_string())
}

/// # Errors
/// [`Kind::Plugin`] for missing elements, [`Kind::Encode`] for what does not fit together.
pub fn build(input: &Path, output: &Path, plan: &Plan) -> Result<Transcoder, Failure> {
    let pipeline = gst::Pipeline::new();
    let source = make("filesrc")?;
    source.set_property("location", input);
    let parse = make("parsebin")?;
    let muxer = make(plan.container.muxer())?;
    let sink = make("filesink")?;
    sink.set_property("location", output);
    let encoder = make("ngcenc")?;
    pipeline.add_many([&source, &parse, &muxer, &sink]).map_err(wrong)?;
    source.link(&parse).map_err(wrong)?;
    muxer.link(&sink).map_err(wrong)?;
    if let (Some(chapters), Some(setter)) = (&plan.chapters, muxer.dynamic_cast_ref::<gst::TocSetter>()) {
        setter.set_toc(Some(chapters));
    }

    let counters = Arc::new(Counters::default());
    let notes = convert::Notes::default();
    let mut entrances = HashMap::new();
    for track in &plan.tracks {
        let chain = match &track.treatment {
            Treatment::Encode => convert::video(&pipeline, &encoder, &notes)?,
            Treatment::Recode { encoder } => convert::audio(&pipeline, encoder, &track.stream.caps)?,
            Treatment::Copy { parser } => convert::copy(&pipeline, *parser)?,
            Treatment::Text => text::chain(&pipeline, plan.container)?,
        };
        let pad = muxer_pad(&muxer, track)?;
        let exit = chain.exit.static_pad("src").ok_or_else(|| wrong("a chain without an end"))?;
        count(&exit, &counters);
        exit.link(&pad).map_err(wrong)?;
        entrances.insert(track.stream.id.clone(), chain.entrance);
    }
    watch_frames(&encoder, &counters);
    connect(&pipeline, &parse, entrances);
    Ok(Transcoder { pipeline, encoder, writers: vec![muxer, sink], counters, notes })
}

fn muxer_pad(muxer: &gst::Element, track: &Track) -> Result<gst::Pad, Failure> {
    use crate::probe::Media;
    let name = match track.stream.media {
        Media::Video => "video_%u",
        Media::Audio => "audio_%u",
        _ => "subtitle_%u",
    };
    muxer.request_pad_simple(name).ok_or_else(|| wrong(format!("{} has no pad {name}", muxer.name())))
}

/// Links pads of the parser to the chains for their streams; other streams go nowhere.
fn connect(pipeline: &gst::Pipeline, parse: &gst::Element, entrances: HashMap<String, gst::Element>) {
    let weak = pipeline.downgrade();
    let number = AtomicU64::new(0);
    parse.connect_pad_added(move |_, pad| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let Some(pipeline) = weak.upgrade() else { return };
        let id = pad.stream_id().map_or_else(|| number.to_string(), |id| id.to_string());
        let target = match entrances.get(&id) {
            Some(entrance) => entrance.static_pad("sink"),
            None => nowhere(&pipeline),
        };
        if let Some(target) = target
            && !target.is_linked()
            && let Err(error) = pad.link(&target)
        {
            gst::element_error!(pipeline, gst::CoreError::Negotiation, ("{} does not link: {error}", pad.name()));
        }
    });
}

fn nowhere(pipeline: &gst::Pipeline) -> Option<gst::Pad> {
    let sink = gst::ElementFactory::make("fakesink").property("sync", false).property("async", false).build().ok()?;
    pipeline.add(&sink).ok()?;
    sink.sync_state_with_parent().ok()?;
    sink.static_pad("sink")
}

/// Counts what leaves a chain.
fn count(pad: &gst::Pad, counters: &Arc<Counters>) {
    let counters = Arc::clone(counters);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        counters.buffers.fetch_add(1, Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
}

fn watch_frames(encoder: &gst::Element, counters: &Arc<Counters>) {
    let Some(pad) = encoder.static_pad("src") else { return };
    let counters = Arc::clone(counters);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer() {
            counters.frames.fetch_add(1, Ordering::Relaxed);
            if let Some(time) = buffer.pts() {
                counters.position.fetch_max(time.nseconds(), Ordering::Relaxed);
            }
        }
        gst::PadProbeReturn::Ok
    });
}
