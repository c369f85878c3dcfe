//! What an input holds: its streams as parsers see them, its duration, its chapters.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gst::prelude::*;
use ngc_examples::span::{Span, Zero};
use ngc_examples::{Failure, Kind, make, readable};

/// Longest wait for the first buffers of an input, and for the next sign of life.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    Video,
    Audio,
    Text,
    Other,
}

/// A stream of the input.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Tells it apart from the others, each time that the input is opened.
    pub id: String,
    pub media: Media,
    /// Parsed, not decoded.
    pub caps: gst::Caps,
    pub tags: gst::TagList,
    /// Of the whole input, where it was scanned.
    pub bytes: u64,
    pub buffers: u64,
    /// Running times in nanoseconds: of the first buffer and, where it was scanned, of the end. What comes before zero is not shown.
    pub first: Option<i64>,
    pub end: Option<i64>,
    /// What the container adds to running times, in nanoseconds, to make positions of them.
    shift: i64,
    /// As `first` and `end`, in times of buffers.
    raw: Option<(i64, i64)>,
    seen: bool,
}

impl Stream {
    fn new(id: String, caps: Option<gst::Caps>) -> Self {
        let (caps, tags) = (caps.unwrap_or_else(gst::Caps::new_empty), gst::TagList::new());
        Self {
            id,
            media: media(&caps),
            caps,
            tags,
            bytes: 0,
            buffers: 0,
            first: None,
            end: None,
            shift: 0,
            raw: None,
            seen: false,
        }
    }

    fn count(&mut self, pad: &gst::Pad, buffer: &gst::BufferRef) {
        self.bytes += buffer.size() as u64;
        self.buffers += 1;
        if let Some(time) = buffer.pts().map(|t| t.nseconds() as i64) {
            let end = time + buffer.duration().map_or(0, |d| d.nseconds() as i64);
            let (first, last) = self.raw.unwrap_or((time, end));
            self.raw = Some((first.min(time), last.max(end)));
        }
        let segment = pad.sticky_event::<gst::event::Segment>(0);
        let segment = segment.as_ref().and_then(|event| event.segment().downcast_ref::<gst::ClockTime>());
        let Some((segment, pts)) = segment.zip(buffer.pts()) else { return };
        let running = |time| segment.to_running_time_full(time).map(|t: gst::Signed<gst::ClockTime>| t.nseconds());
        let signed = |t: Option<gst::Signed<u64>>| match t {
            Some(gst::Signed::Positive(t)) => i64::try_from(t).ok(),
            Some(gst::Signed::Negative(t)) => i64::try_from(t).ok().map(|t| -t),
            None => None,
        };
        let (first, end) = (signed(running(pts)), signed(running(pts + buffer.duration().unwrap_or_default())));
        if self.first.is_none()
            && let Some((position, running)) = segment.to_stream_time(pts).zip(first)
        {
            self.shift = position.nseconds() as i64 - running;
        }
        self.first = self.first.into_iter().chain(first).min();
        self.end = self.end.into_iter().chain(end).max();
    }

    /// The name of its codec, or its media type.
    pub fn codec(&self) -> String {
        let named = self.tags.get::<gst::tags::AudioCodec>().map(|t| t.get().to_owned());
        named.or_else(|| self.caps.structure(0).map(|s| s.name().to_string())).unwrap_or_default()
    }
}

/// An input.
#[derive(Debug, Default)]
pub struct Source {
    pub streams: Vec<Stream>,
    pub duration: Option<gst::ClockTime>,
    pub chapters: Option<gst::Toc>,
    /// What no plugin is there for.
    pub missing: Vec<String>,
    /// The first time of any buffer, of Matroska.
    zero: Option<i64>,
}

impl Source {
    /// A part of this, in terms of its container; all of it needs none, mostly.
    pub fn span(&self, start: Option<gst::ClockTime>, stop: Option<gst::ClockTime>) -> Option<Span> {
        let position = self.streams.iter().find(|s| s.media == Media::Video).map_or(0, |s| s.shift);
        let zero = self.zero.map_or(Zero::Position(position), Zero::Buffer);
        let whole = start.is_none() && stop.is_none() && self.zero.is_none();
        (!whole).then(|| Span { start: start.unwrap_or_default(), stop, zero })
    }

    /// Puts the times of Matroska right.
    fn settle(&mut self) {
        self.zero = self.streams.iter().filter_map(|s| Some(s.raw?.0)).min();
        let zero = self.zero.unwrap_or(0);
        for stream in &mut self.streams {
            stream.first = stream.raw.map(|(first, _)| first - zero);
            stream.end = stream.raw.map(|(_, end)| end - zero);
        }
    }
}

/// Whether a file begins as Matroska and WebM do.
fn is_matroska(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic));
    read.is_ok() && magic == [0x1a, 0x45, 0xdf, 0xa3]
}

type Streams = Arc<Mutex<Vec<Stream>>>;

/// Opens an input, as far as its first buffers; all of it, without decoding, if `scan`.
///
/// # Errors
/// [`Kind::Input`], or [`Kind::Plugin`] where nothing reads it.
pub fn probe(path: &Path, scan: bool) -> Result<Source, Failure> {
    readable(path)?;
    let pipeline = gst::Pipeline::new();
    let source = make("filesrc")?;
    source.set_property("location", path);
    let parse = make("parsebin")?;
    let result = pipeline.add_many([&source, &parse]).and_then(|()| source.link(&parse));
    result.map_err(|e| Failure::new(Kind::Input, e.to_string()))?;
    let streams = Streams::default();
    let (weak, found) = (pipeline.downgrade(), Arc::clone(&streams));
    parse.connect_pad_added(move |_, pad| {
        if let Some(pipeline) = weak.upgrade() {
            watch(&pipeline, pad, &found);
        }
    });
    let result = look(&pipeline, &streams, scan);
    let duration = pipeline.query_duration::<gst::ClockTime>();
    let _ = pipeline.set_state(gst::State::Null);
    let mut source = result.map_err(|f| Failure::new(f.kind, format!("{} cannot be read: {}", path.display(), f.text)))?;
    source.duration = duration;
    source.streams = streams.lock().map(|s| s.clone()).unwrap_or_default();
    if is_matroska(path) {
        source.settle();
    }
    Ok(source)
}

/// Ends a pad of the parser in a sink, and notes what passes.
fn watch(pipeline: &gst::Pipeline, pad: &gst::Pad, streams: &Streams) {
    let Ok(sink) = gst::ElementFactory::make("fakesink").property("sync", false).property("async", false).build() else { return };
    let Some(target) = sink.static_pad("sink") else { return };
    let Ok(mut list) = streams.lock() else { return };
    let number = list.len();
    let id = pad.stream_id().map_or_else(|| number.to_string(), |id| id.to_string());
    list.push(Stream::new(id, pad.current_caps()));
    drop(list);
    let shared = Arc::clone(streams);
    pad.add_probe(
        gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST | gst::PadProbeType::EVENT_DOWNSTREAM,
        move |pad, info| {
            if let Some(stream) = shared.lock().ok().as_deref_mut().and_then(|list| list.get_mut(number)) {
                note(stream, pad, info);
            }
            gst::PadProbeReturn::Ok
        },
    );
    if pipeline.add(&sink).is_ok() && pad.link(&target).is_ok() {
        let _ = sink.sync_state_with_parent();
    }
}

fn note(stream: &mut Stream, pad: &gst::Pad, info: &gst::PadProbeInfo) {
    match &info.data {
        Some(gst::PadProbeData::Buffer(buffer)) => stream.count(pad, buffer),
        Some(gst::PadProbeData::BufferList(list)) => list.iter().for_each(|buffer| stream.count(pad, buffer)),
        Some(gst::PadProbeData::Event(event)) => match event.view() {
            gst::EventView::Tag(tag) => {
                stream.tags = stream.tags.merge(tag.tag(), gst::TagMergeMode::Replace);
                return;
            }
            gst::EventView::Caps(caps) => {
                stream.caps = caps.caps_owned();
                stream.media = media(&stream.caps);
                return;
            }
            // A stream without buffers has been seen too.
            gst::EventView::Eos(_) | gst::EventView::Gap(_) => {}
            _ => return,
        },
        _ => return,
    }
    stream.seen = true;
}

fn media(caps: &gst::Caps) -> Media {
    let name = caps.structure(0).map(|s| s.name().to_string()).unwrap_or_default();
    match name.split('/').next() {
        Some("video") => Media::Video,
        Some("image") if !matches!(name.as_str(), "image/svg+xml") => Media::Video,
        Some("audio") => Media::Audio,
        Some("text" | "subpicture" | "subtitle") => Media::Text,
        Some("application") if ["x-ssa", "x-ass", "x-subtitle", "x-usf"].iter().any(|n| name.contains(n)) => Media::Text,
        _ => Media::Other,
    }
}

/// Follows the pipeline's messages until enough is known.
fn look(pipeline: &gst::Pipeline, streams: &Streams, scan: bool) -> Result<Source, Failure> {
    let bus = pipeline.bus().ok_or_else(|| Failure::new(Kind::Input, "no bus"))?;
    let mut source = Source::default();
    // While it is paused the first stream would keep the others waiting. An error says more than the change of state.
    let _ = pipeline.set_state(gst::State::Playing);
    let (mut exposed, mut life, mut count) = (false, Instant::now(), 0u64);
    loop {
        if let Some(message) = bus.timed_pop(gst::ClockTime::from_mseconds(10)) {
            match message.view() {
                gst::MessageView::Error(error) => {
                    let mut failure = Failure::from_message(error, Kind::Input);
                    if !source.missing.is_empty() {
                        failure = Failure::new(Kind::Plugin, format!("no plugin is installed for {}", source.missing.join(", ")));
                    }
                    return Err(failure);
                }
                gst::MessageView::Toc(toc) => source.chapters = Some(toc.toc().0),
                gst::MessageView::Element(element) => source.missing.extend(element.structure().and_then(missing)),
                gst::MessageView::AsyncDone(_) => exposed = true,
                gst::MessageView::Eos(_) => return Ok(source),
                _ => {}
            }
            continue;
        }
        let list = streams.lock().map(|s| s.clone()).unwrap_or_default();
        let sum = list.iter().map(|s| s.buffers).sum();
        if sum != count {
            (count, life) = (sum, Instant::now());
        }
        // Subtitles may begin late: what counts is that sound and pictures have been seen, or a moment has passed.
        let waiting = list.iter().any(|s| !s.seen);
        if !scan && exposed && !list.is_empty() && (!waiting || life.elapsed() > Duration::from_millis(500)) {
            return Ok(source);
        }
        if life.elapsed() > PATIENCE {
            return Err(Failure::new(Kind::Input, "nothing comes out of it"));
        }
    }
}

/// What a "missing plugin" message is about.
pub fn missing(structure: &gst::StructureRef) -> Option<String> {
    if structure.name() != "missing-plugin" {
        return None;
    }
    structure.get::<String>("name").ok().or_else(|| Some("a part of it".into()))
}
