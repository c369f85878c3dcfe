//! What sender and receiver of RTP share.

use gst::prelude::*;

use crate::{Failure, Kind};

/// Caps of the packets. The last two let `rtpbin` turn requests for keyframes into RTCP (PLI, or FIR), and back.
pub const CAPS: &str = "application/x-rtp,media=application,clock-rate=90000,encoding-name=X-GST,payload=96,\
rtcp-fb-nack-pli=(boolean)true,rtcp-fb-ccm-fir=(boolean)true";

/// Lets a session send feedback at once (RFC 4585), not every five seconds.
pub fn quick_feedback(bin: &gst::Element) {
    bin.set_property_from_str("rtp-profile", "avpf");
    if let Some(session) = bin.emit_by_name::<Option<gst::Element>>("get-session", &[&0u32]) {
        session.set_property("rtcp-min-interval", 20_000_000u64);
        // Bytes a second.
        session.set_property("rtcp-fraction", 20_000.0f64);
    }
}

/// A pipeline from its text.
///
/// # Errors
/// [`Kind::Plugin`] for missing elements, [`Kind::Usage`] else.
pub fn launch(text: &str) -> Result<gst::Pipeline, Failure> {
    let failed = |e: gst::glib::Error| {
        let kind = if e.matches(gst::ParseError::NoSuchElement) { Kind::Plugin } else { Kind::Usage };
        Failure::new(kind, e.to_string())
    };
    let element = gst::parse::launch(text).map_err(failed)?;
    element.downcast().map_err(|_| Failure::new(Kind::Usage, "not a pipeline"))
}

/// An element of a pipeline.
///
/// # Errors
/// [`Kind::Usage`] if it is not there.
pub fn element(pipeline: &gst::Pipeline, name: &str) -> Result<gst::Element, Failure> {
    pipeline.by_name(name).ok_or_else(|| Failure::new(Kind::Usage, format!("no element {name}")))
}

/// A pad of an element of a pipeline.
///
/// # Errors
/// [`Kind::Usage`] if it is not there.
pub fn pad(pipeline: &gst::Pipeline, name: &str, pad: &str) -> Result<gst::Pad, Failure> {
    element(pipeline, name)?.static_pad(pad).ok_or_else(|| Failure::new(Kind::Usage, format!("no pad {name}.{pad}")))
}

/// Calls `count` for requests for keyframes that go upstream through a pad.
pub fn on_keyframe_request(pad: &gst::Pad, count: impl Fn() + Send + Sync + 'static) {
    pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        if let Some(event) = info.event()
            && event.structure().is_some_and(|s| s.name() == "GstForceKeyUnit")
        {
            count();
        }
        gst::PadProbeReturn::Ok
    });
}
