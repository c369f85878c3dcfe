//! What becomes of each stream of an input.

use std::path::PathBuf;

use ngc_examples::span::Span;
use ngc_examples::{Failure, Kind, make};

use crate::args::Args;
use crate::container::{Container, template};
use crate::probe::{Media, Source, Stream};

/// Encoders of sound, the preferred one first.
const AUDIO_ENCODERS: [&str; 4] = ["opusenc", "fdkaacenc", "avenc_aac", "voaacenc"];

/// What becomes of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Decoded and encoded to NGC.
    Encode,
    /// Replaced by parts of it that have been encoded before.
    Join(Vec<Part>),
    /// As it is, through a parser where there is one for it.
    Copy { parser: Option<&'static str> },
    /// Decoded and encoded anew.
    Recode { encoder: &'static str },
    /// Subtitles as plain text.
    Text,
}

/// A part of the video that has been encoded before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// When its first frame is shown.
    pub time: gst::ClockTime,
    pub file: PathBuf,
}

/// A stream that is kept.
#[derive(Clone, Debug)]
pub struct Track {
    pub stream: Stream,
    pub treatment: Treatment,
}

/// What is kept, and what has to be said about the rest.
#[derive(Debug)]
pub struct Plan {
    pub container: Container,
    /// The video is the first.
    pub tracks: Vec<Track>,
    pub chapters: Option<gst::Toc>,
    /// What part of the input is taken, if not simply all.
    pub span: Option<Span>,
    pub warnings: Vec<String>,
}

impl Plan {
    /// How many tracks hold this kind of thing.
    pub fn count(&self, media: Media) -> usize {
        self.tracks.iter().filter(|t| t.stream.media == media).count()
    }
}

/// # Errors
/// [`Kind::Input`] where there is no video, [`Kind::Plugin`] where no plugin reads it, or the muxer is missing.
pub fn plan(source: &Source, container: Container, args: &Args) -> Result<Plan, Failure> {
    let missing = || source.missing.join(", ");
    let of = |media| source.streams.iter().filter(move |s| s.media == media);
    let Some(video) = of(Media::Video).next() else {
        return Err(if source.missing.is_empty() {
            Failure::new(Kind::Input, "it holds no video")
        } else {
            Failure::new(Kind::Plugin, format!("no plugin is installed for {}", missing()))
        });
    };
    let mut plan = Plan { container, tracks: Vec::new(), chapters: None, span: None, warnings: Vec::new() };
    plan.span = source.span(args.start, args.stop);
    let treatment = if args.part.is_empty() { Treatment::Encode } else { Treatment::Join(args.part.clone()) };
    plan.tracks.push(Track { stream: video.clone(), treatment });
    let others = of(Media::Video).count() - 1;
    if others > 0 {
        plan.warnings.push(format!("{others} more video streams are left out: the first is taken"));
    }
    if !source.missing.is_empty() {
        plan.warnings.push(format!("left out, since no plugin is installed for it: {}", missing()));
    }
    let mut keep = |stream: &Stream, treatment: Option<Treatment>, what: &str| match treatment {
        Some(treatment) => plan.tracks.push(Track { stream: stream.clone(), treatment }),
        None => plan.warnings.push(format!("{what} ({}) is left out: {} cannot hold it", stream.codec(), container.name())),
    };
    for stream in of(Media::Audio).filter(|_| !args.no_audio) {
        keep(stream, audio(stream, container)?, "a track of sound");
    }
    for stream in of(Media::Text).filter(|_| !args.no_subtitles) {
        keep(stream, text(stream, container)?, "a track of subtitles");
    }
    let unknown = of(Media::Other).count();
    if unknown > 0 {
        plan.warnings.push(format!("{unknown} streams that are neither video, sound nor subtitles are left out"));
    }
    plan.chapters(source, args.start.is_some() || args.stop.is_some())?;
    Ok(plan)
}

impl Plan {
    fn chapters(&mut self, source: &Source, part: bool) -> Result<(), Failure> {
        use gst::prelude::*;
        let Some(toc) = &source.chapters else { return Ok(()) };
        if part {
            self.warnings.push("chapters are left out: only a part is taken".into());
            return Ok(());
        }
        if make(self.container.muxer())?.is::<gst::TocSetter>() {
            self.chapters = Some(toc.clone());
        } else {
            self.warnings.push(format!("chapters are left out: {} writes none, Matroska does", self.container.muxer()));
        }
        Ok(())
    }
}

fn audio(stream: &Stream, container: Container) -> Result<Option<Treatment>, Failure> {
    let takes = template(container.muxer(), "audio_%u")?;
    if let Some(copy) = copy(stream, &takes)? {
        return Ok(Some(copy));
    }
    for encoder in AUDIO_ENCODERS {
        if gst::ElementFactory::find(encoder).is_some() && template(encoder, "src")?.can_intersect(&takes) {
            return Ok(Some(Treatment::Recode { encoder }));
        }
    }
    Ok(None)
}

/// Whether a muxer takes sound as it is. A parser makes the form that the muxer wants, such as AAC without ADTS headers.
fn copy(stream: &Stream, takes: &gst::Caps) -> Result<Option<Treatment>, Failure> {
    let Some(structure) = stream.caps.structure(0) else { return Ok(None) };
    let parser = match (structure.name().as_str(), structure.get::<i32>("mpegversion")) {
        ("audio/mpeg", Ok(1)) => Some("mpegaudioparse"),
        ("audio/mpeg", _) => Some("aacparse"),
        ("audio/x-ac3" | "audio/x-eac3", _) => Some("ac3parse"),
        ("audio/x-opus", _) => Some("opusparse"),
        ("audio/x-flac", _) => Some("flacparse"),
        ("audio/x-dts", _) => Some("dcaparse"),
        _ => None,
    };
    let parser = parser.filter(|parser| gst::ElementFactory::find(parser).is_some());
    let fits = match parser {
        Some(parser) => {
            // Codec and layout must be ones that the muxer has, whatever form the parser gives them.
            let mut wanted = stream.caps.clone();
            for s in wanted.make_mut().iter_mut() {
                s.remove_fields(["stream-format", "alignment", "framed", "parsed"]);
            }
            template(parser, "src")?.intersect(takes).can_intersect(&wanted)
        }
        None => stream.caps.can_intersect(takes),
    };
    Ok(fits.then_some(Treatment::Copy { parser }))
}

fn text(stream: &Stream, container: Container) -> Result<Option<Treatment>, Failure> {
    let takes = template(container.muxer(), "subtitle_%u")?;
    let Some(name) = stream.caps.structure(0).map(|s| s.name().to_string()) else { return Ok(None) };
    let convertible = gst::ElementFactory::find("capssetter").is_some();
    Ok(match name.as_str() {
        "text/x-raw" if convertible => Some(Treatment::Text),
        _ if stream.caps.can_intersect(&takes) => Some(Treatment::Copy { parser: None }),
        _ => None,
    })
}
