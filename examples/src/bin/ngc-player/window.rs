//! Playing in a window.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gst::prelude::*;
use ngc_examples::{Failure, Interrupt, Kind, make};

use crate::Args;
use crate::statistics::Statistics;

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Input, error.to_string())
}

/// Plays to the end, or until Ctrl-C; gives the statistics of each video.
pub fn play(args: &Args, inputs: &[PathBuf], interrupt: &Interrupt) -> Result<String, Failure> {
    let pipeline = gst::Pipeline::new();
    let sink = if args.no_display {
        let sink = make("fakesink")?;
        sink.set_property("sync", false);
        sink
    } else {
        make("autovideosink")?
    };
    // One video goes straight to the sink; two are put together.
    let (mixer, convert) = (make(if inputs.len() > 1 { "compositor" } else { "videoconvert" })?, make("videoconvert")?);
    pipeline.add_many([&mixer, &convert, &sink]).map_err(failed)?;
    gst::Element::link_many([&mixer, &convert, &sink]).map_err(failed)?;
    let mut told = Vec::new();
    for (number, input) in inputs.iter().enumerate() {
        let sound = number == 0 && !args.mute && !args.no_display;
        told.push(add(&pipeline, &mixer, input, sound, !args.no_overlay)?);
    }
    let _ = pipeline.set_state(gst::State::Playing);
    let result = follow(&pipeline, &told, interrupt);
    let _ = pipeline.set_state(gst::State::Null);
    result?;
    let lines: Vec<_> = told.iter().map(|(statistics, _)| statistics.line()).collect();
    if told.iter().any(|(statistics, _)| statistics.frames() == 0) {
        return Err(failed("there are no frames"));
    }
    Ok(lines.join(" | "))
}

/// Statistics, and what shows them in the picture, where it is there.
type Told = (Arc<Statistics>, Option<gst::Element>);

/// Adds a video: `decodebin`, statistics, and the way to the mixer.
fn add(pipeline: &gst::Pipeline, mixer: &gst::Element, input: &Path, sound: bool, overlay: bool) -> Result<Told, Failure> {
    let (source, decode, queue, convert) = (make("filesrc")?, make("decodebin")?, make("queue")?, make("videoconvert")?);
    source.set_property("location", input);
    pipeline.add_many([&source, &decode, &queue, &convert]).map_err(failed)?;
    source.link(&decode).map_err(failed)?;
    queue.link(&convert).map_err(failed)?;
    // Of GStreamer's set "x" or "pango"; statistics go to standard error without it too.
    let text = gst::ElementFactory::make("textoverlay").build().ok().filter(|_| overlay);
    let last = match &text {
        Some(text) => {
            text.set_property_from_str("valignment", "top");
            text.set_property_from_str("halignment", "left");
            pipeline.add(text).map_err(failed)?;
            convert.link(text).map_err(failed)?;
            text
        }
        None => &convert,
    };
    let target =
        mixer.static_pad("sink").or_else(|| mixer.request_pad_simple("sink_%u")).ok_or_else(|| failed("no place for a video"))?;
    last.static_pad("src").ok_or_else(|| failed("no pad"))?.link(&target).map_err(failed)?;
    let statistics = Statistics::new();
    let counts = Arc::clone(&statistics);
    // The parser or decoder of NGC says what comes in; for other codecs the bitrate stays unknown.
    decode.connect("element-added", false, move |values| {
        if let Some(element) = values.get(1).and_then(|v| v.get::<gst::Element>().ok())
            && element
                .factory()
                .is_some_and(|f| f.has_type(gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO))
            && let Some(pad) = element.static_pad("sink")
        {
            counts.count_bytes(&pad);
        }
        None
    });
    let weak = pipeline.downgrade();
    let counts = Arc::clone(&statistics);
    decode.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else { return };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let video = caps.structure(0).is_some_and(|s| s.name().starts_with("video/"));
        let free = queue.static_pad("sink").filter(|sink| !sink.is_linked());
        let target = match free {
            Some(free) if video => {
                counts.count_frames(pad);
                place(&target, &caps);
                Some(free)
            }
            _ if sound && !video => speakers(&pipeline).or_else(|| ngc_examples::nowhere(&pipeline)),
            _ => ngc_examples::nowhere(&pipeline),
        };
        if let Some(target) = target {
            let _ = pad.link(&target);
        }
    });
    Ok((statistics, text))
}

/// Puts a video of a mixer to the right of those before it.
fn place(pad: &gst::Pad, caps: &gst::Caps) {
    let Some(mixer) = pad.parent_element().filter(|_| pad.has_property("xpos")) else { return };
    let width = caps.structure(0).and_then(|s| s.get::<i32>("width").ok()).unwrap_or(0);
    if pad.name() == "sink_0" {
        if let Some(second) = mixer.static_pad("sink_1") {
            second.set_property("xpos", width);
        }
    }
}

/// The way to the loudspeakers, where there are any.
fn speakers(pipeline: &gst::Pipeline) -> Option<gst::Pad> {
    let names = ["queue", "audioconvert", "audioresample", "autoaudiosink"];
    let elements: Vec<_> = names.iter().map(|name| gst::ElementFactory::make(name).build().ok()).collect::<Option<_>>()?;
    pipeline.add_many(&elements).ok()?;
    gst::Element::link_many(&elements).ok()?;
    for element in &elements {
        element.sync_state_with_parent().ok()?;
    }
    elements.first()?.static_pad("sink")
}

fn follow(pipeline: &gst::Pipeline, told: &[Told], interrupt: &Interrupt) -> Result<(), Failure> {
    let bus = pipeline.bus().ok_or_else(|| failed("no bus"))?;
    let mut printed = std::time::Instant::now();
    loop {
        let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
        match bus.timed_pop_filtered(gst::ClockTime::from_mseconds(200), &wanted).as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Error(error)) => return Err(Failure::from_message(error, Kind::Input)),
            Some(_) => return Ok(()),
            None if interrupt.came() => return Ok(()),
            None => {}
        }
        for (statistics, text) in told {
            if let Some(text) = text {
                text.set_property("text", statistics.line());
            }
        }
        if printed.elapsed().as_secs() >= 1 {
            printed = std::time::Instant::now();
            let lines: Vec<_> = told.iter().map(|(statistics, _)| statistics.line()).collect();
            eprintln!("ngc-player: {}", lines.join(" | "));
        }
    }
}
