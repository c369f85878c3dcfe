//! What the encoder is told: quality, bitrate, and any other property.

use gst::glib;
use gst::prelude::*;
use ngc_examples::{Failure, Kind};

use crate::args::Args;

/// Sets up `ngcenc`.
///
/// # Errors
/// [`Kind::Usage`] for what it does not have.
pub fn configure(encoder: &gst::Element, args: &Args, bitrate: Option<u32>) -> Result<(), Failure> {
    if let Some(quality) = args.quality {
        encoder.set_property("quality", quality);
    }
    if let Some(bitrate) = bitrate {
        encoder.set_property_from_str("rate-control", "vbr");
        encoder.set_property("bitrate", bitrate);
    }
    for (name, value) in &args.set {
        set(encoder, name, value)?;
    }
    Ok(())
}

/// Encodes a frame with the settings, to find out before the input is read whether it takes them.
///
/// # Errors
/// [`Kind::Usage`] with its error.
pub fn check(args: &Args) -> Result<(), Failure> {
    let encoder = ngc_examples::make("ngcenc")?;
    configure(&encoder, args, args.bitrate)?;
    if args.set.is_empty() {
        return Ok(());
    }
    let failed = |e: gst::glib::BoolError| Failure::new(Kind::Usage, e.to_string());
    let pipeline = gst::Pipeline::new();
    let (source, sink) = (ngc_examples::make("videotestsrc")?, ngc_examples::make("fakesink")?);
    source.set_property("num-buffers", 1);
    pipeline.add_many([&source, &encoder, &sink]).map_err(failed)?;
    let caps = gst::Caps::builder("video/x-raw").field("format", "I420").field("width", 64).field("height", 64).build();
    source.link_filtered(&encoder, &caps).and_then(|()| encoder.link(&sink)).map_err(failed)?;
    let _ = pipeline.set_state(gst::State::Playing);
    let wanted = [gst::MessageType::Error, gst::MessageType::Eos];
    let message = pipeline.bus().and_then(|bus| bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &wanted));
    let _ = pipeline.set_state(gst::State::Null);
    match message.as_ref().map(|m| m.view()) {
        Some(gst::MessageView::Error(error)) => Err(Failure::new(Kind::Usage, error.error().to_string())),
        _ => Ok(()),
    }
}

fn set(encoder: &gst::Element, name: &str, text: &str) -> Result<(), Failure> {
    let wrong = |why: String| Failure::new(Kind::Usage, format!("--set {name}={text}: {why}; gst-inspect-1.0 ngcenc lists all"));
    let spec = encoder
        .find_property(name)
        .filter(|spec| spec.flags().contains(glib::ParamFlags::WRITABLE) && !["name", "parent"].contains(&spec.name()))
        .ok_or_else(|| wrong("ngcenc has no such property".into()))?;
    let value = glib::Value::deserialize_with_pspec(text, &spec).map_err(|_| wrong("not a value of this property".into()))?;
    if let Some((low, high)) = range(&spec)
        && let Ok(number) = text.parse::<f64>()
        && !(low..=high).contains(&number)
    {
        return Err(wrong(format!("goes from {low} to {high}")));
    }
    encoder.set_property_from_value(name, &value);
    Ok(())
}

/// The range of a number.
fn range(spec: &glib::ParamSpec) -> Option<(f64, f64)> {
    if let Some(s) = spec.downcast_ref::<glib::ParamSpecUInt>() {
        return Some((s.minimum().into(), s.maximum().into()));
    }
    if let Some(s) = spec.downcast_ref::<glib::ParamSpecUInt64>() {
        return Some((s.minimum() as f64, s.maximum() as f64));
    }
    spec.downcast_ref::<glib::ParamSpecDouble>().map(|s| (s.minimum(), s.maximum()))
}
