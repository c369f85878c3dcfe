//! Runs the pipeline: messages, progress, signals.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gst::prelude::*;
use ngc_examples::{Failure, Interrupt, Kind};

use crate::output::Output;
use crate::pipeline::Transcoder;
use crate::probe;
use crate::progress::Progress;

/// Longest time in which nothing leaves any track.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs to the end. The warnings of elements are added to `warnings`.
///
/// # Errors
/// The first error of an element, by its class; [`Kind::Interrupted`].
pub fn run(
    transcoder: &Transcoder,
    output: &Output,
    progress: &Progress,
    interrupt: &Interrupt,
    warnings: &mut Vec<String>,
) -> Result<(), Failure> {
    let pipeline = &transcoder.pipeline;
    // An error says more than the change of state.
    let _ = pipeline.set_state(gst::State::Playing);
    let result = follow(transcoder, output, progress, interrupt, warnings);
    let _ = pipeline.set_state(gst::State::Null);
    if let Ok(notes) = transcoder.notes.lock() {
        warnings.extend(notes.iter().cloned());
    }
    result
}

fn follow(
    transcoder: &Transcoder,
    output: &Output,
    progress: &Progress,
    interrupt: &Interrupt,
    warnings: &mut Vec<String>,
) -> Result<(), Failure> {
    let bus = transcoder.pipeline.bus().ok_or_else(|| Failure::new(Kind::Encode, "no bus"))?;
    let mut missing = Vec::new();
    let (mut life, mut passed) = (Instant::now(), 0);
    loop {
        interrupt.check()?;
        let message = bus.timed_pop(gst::ClockTime::from_mseconds(100));
        match message.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Eos(_)) => return Ok(()),
            Some(gst::MessageView::Error(error)) => return Err(classify(error, transcoder, &missing)),
            Some(gst::MessageView::Warning(warning)) => warnings.push(warning.error().to_string()),
            Some(gst::MessageView::Element(element)) => missing.extend(element.structure().and_then(probe::missing)),
            Some(_) => {}
            None => {
                let counters = &transcoder.counters;
                let now = counters.buffers.load(Ordering::Relaxed) + counters.frames.load(Ordering::Relaxed);
                if now != passed {
                    (passed, life) = (now, Instant::now());
                }
                if life.elapsed() > PATIENCE {
                    return Err(Failure::new(Kind::Encode, format!("nothing has moved for {} s", PATIENCE.as_secs())));
                }
            }
        }
        progress.update(&transcoder.counters, output.size());
    }
}

/// Whose fault an error is.
fn classify(error: &gst::message::Error, transcoder: &Transcoder, missing: &[String]) -> Failure {
    if !missing.is_empty() {
        return Failure::new(Kind::Plugin, format!("no plugin is installed for {}", missing.join(", ")));
    }
    let source = error.src().and_then(|s| s.downcast_ref::<gst::Element>());
    let ours = source.is_some_and(|s| transcoder.writers.contains(s) || made_here(s));
    Failure::from_message(error, if ours { Kind::Encode } else { Kind::Input })
}

fn made_here(element: &gst::Element) -> bool {
    element.factory().is_some_and(|f| f.name() == "ngcparse" || f.has_type(gst::ElementFactoryType::ENCODER))
}
