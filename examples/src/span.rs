//! A part of a file, cut out at whole frames.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use gst::prelude::*;

/// From when to when. Times count as a player shows them that starts at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: gst::ClockTime,
    /// The first time that is outside.
    pub stop: Option<gst::ClockTime>,
    pub zero: Zero,
}

/// Where time zero is, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// At this position of the file.
    Position(i64),
    /// At this time of buffers. Matroska's demuxer says different things about positions, as it finds out that a track begins before
    /// the others; its buffers have the file's own times.
    Buffer(i64),
}

/// Cuts what passes a pad: what is before the span is dropped, what begins in it passes, with times that count from the span's
/// start, and then comes the end.
///
/// Decoders would give the last frame before the start another time, and keep it. Hence this goes behind them.
pub fn cut(pad: &gst::Pad, span: Span) {
    // The buffer times of start and stop in the present segment.
    let (first, end) = (AtomicI64::new(0), AtomicI64::new(i64::MAX));
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| match &mut info.data {
        Some(gst::PadProbeData::Event(event)) => {
            if let gst::EventView::Segment(view) = event.view()
                && let Some(segment) = view.segment().downcast_ref::<gst::ClockTime>()
            {
                let time = |t: Option<gst::ClockTime>| t.map_or(0, |t| t.nseconds() as i64);
                let zero = match span.zero {
                    Zero::Position(position) => time(segment.start()) - time(segment.time()) + position,
                    Zero::Buffer(buffer) => buffer,
                };
                first.store(zero + time(Some(span.start)), Relaxed);
                end.store(span.stop.map_or(i64::MAX, |stop| zero + time(Some(stop))), Relaxed);
                let mut new = gst::FormattedSegment::<gst::ClockTime>::new();
                new.set_start(gst::ClockTime::from_nseconds(first.load(Relaxed).max(0) as u64));
                new.set_time(gst::ClockTime::ZERO);
                *event = gst::event::Segment::new(&new);
            }
            gst::PadProbeReturn::Ok
        }
        Some(gst::PadProbeData::Buffer(buffer)) => {
            let time = buffer.pts().map_or(i64::MIN, |t| t.nseconds() as i64);
            if time < first.load(Relaxed) {
                return gst::PadProbeReturn::Drop;
            }
            if time < end.load(Relaxed) {
                return gst::PadProbeReturn::Ok;
            }
            if let Some(peer) = pad.peer().filter(|_| pad.direction() == gst::PadDirection::Src) {
                peer.send_event(gst::event::Eos::new());
            }
            info.flow_res = Err(gst::FlowError::Eos);
            gst::PadProbeReturn::Handled
        }
        _ => gst::PadProbeReturn::Ok,
    });
}

/// Calls `link` for the pads of a parser as they come; for a span, not before the file was sought: what follows would be disturbed.
pub fn link_pads(
    pipeline: &gst::Pipeline,
    parse: &gst::Element,
    span: Option<Span>,
    link: impl Fn(&gst::Pad) + Send + Sync + 'static,
) {
    let Some(span) = span else {
        parse.connect_pad_added(move |_, pad| link(pad));
        return;
    };
    let (blocked, link) = (Blocked::default(), Arc::new(link));
    let weak = pipeline.downgrade();
    parse.connect_pad_added(move |_, pad| {
        let (weak, pads, link) = (weak.clone(), Arc::clone(&blocked), Arc::clone(&link));
        let probe = pad.add_probe(gst::PadProbeType::BLOCK_DOWNSTREAM, move |_, info| {
            match &info.data {
                Some(gst::PadProbeData::Event(event)) if event.type_().is_sticky() && event.type_() != gst::EventType::Eos => {
                    return gst::PadProbeReturn::Pass;
                }
                _ => {}
            }
            // Data comes only when all pads are there. Whoever takes the list goes; this is a thread that a seek waits for.
            let pads = pads.lock().map(|mut pads| std::mem::take(&mut *pads)).unwrap_or_default();
            if !pads.is_empty() {
                let (weak, link) = (weak.clone(), Arc::clone(&link));
                std::thread::spawn(move || go(&weak, pads, span, link.as_ref()));
            }
            gst::PadProbeReturn::Ok
        });
        if let (Some(probe), Ok(mut pads)) = (probe, blocked.lock()) {
            pads.push((pad.clone(), probe));
        }
    });
}

/// Pads, and what blocks them.
type Blocked = Arc<Mutex<Vec<(gst::Pad, gst::PadProbeId)>>>;

/// Goes to the keyframe before the start, and lets the pads go.
fn go(
    pipeline: &gst::glib::WeakRef<gst::Pipeline>,
    pads: Vec<(gst::Pad, gst::PadProbeId)>,
    span: Span,
    link: &dyn Fn(&gst::Pad),
) {
    let position = match span.zero {
        Zero::Position(position) => span.start.nseconds() as i64 + position,
        // Safely before it, whatever is said about positions.
        Zero::Buffer(_) => span.start.nseconds() as i64 - 1_000_000_000,
    };
    let position = gst::ClockTime::from_nseconds(position.max(0) as u64);
    let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT | gst::SeekFlags::SNAP_BEFORE;
    let seek = || gst::event::Seek::new(1.0, flags, gst::SeekType::Set, position, gst::SeekType::None, gst::ClockTime::NONE);
    // From the beginning there is no need to.
    let done = span.start == gst::ClockTime::ZERO || pads.iter().any(|(pad, _)| pad.send_event(seek()));
    if let Some(pipeline) = pipeline.upgrade().filter(|_| !done) {
        gst::element_error!(pipeline, gst::StreamError::Demux, ("one cannot go to a time in this file"));
    }
    pads.iter().for_each(|(pad, _)| link(pad));
    for (pad, probe) in pads {
        pad.remove_probe(probe);
    }
}
