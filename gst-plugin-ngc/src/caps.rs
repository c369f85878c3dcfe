//! Caps of NGC streams, and the disguises in which stock muxers and demuxers carry them.

use codec_core::bitstream::VideoInfo;
use gst::prelude::*;

/// Media type of NGC streams.
pub const MEDIA_TYPE: &str = "video/x-ngc";
/// `ngc1` as mp4mux takes it: a little-endian number.
pub const MP4_FOURCC: u32 = u32::from_le_bytes(*b"ngc1");
/// `NGC1` as Matroska's VFW mapping carries it.
pub const MATROSKA_FOURCC: &str = "NGC1";
/// Smallest side that mp4mux accepts.
pub const MP4_MIN_SIDE: i32 = 16;

/// Template of the element's only pad of a direction.
pub fn template(direction: gst::PadDirection, caps: &gst::Caps) -> gst::PadTemplate {
    let name = if direction == gst::PadDirection::Sink { "sink" } else { "src" };
    gst::PadTemplate::new(name, direction, gst::PadPresence::Always, caps).expect("a valid template")
}

/// NGC as decoders and parsers take it.
pub fn plain() -> gst::Caps {
    gst::Caps::new_empty_simple(MEDIA_TYPE)
}

/// What stock demuxers say of NGC: qtdemux, then matroskademux, of files that FFmpeg copied out of MP4 too: it keeps MP4's fourcc.
pub fn demuxed() -> gst::Caps {
    let mut caps = gst::Caps::new_empty_simple("video/x-gst-fourcc-ngc1");
    for fourcc in [MATROSKA_FOURCC, "ngc1"] {
        caps.merge(gst::Caps::builder("video/x-unknown").field("codec-id", "V_MS/VFW/FOURCC").field("fourcc", fourcc).build());
    }
    caps
}

/// What makes mp4mux write the sample entry `ngc1`.
pub fn mp4() -> gst::Caps {
    gst::Caps::builder("video/x-mp4-part").field("format", MP4_FOURCC).build()
}

/// What makes matroskamux write `V_MS/VFW/FOURCC` with `NGC1`.
pub fn matroska() -> gst::Caps {
    gst::Caps::builder("video/x-wmv").field("wmvversion", 3i32).field("format", MATROSKA_FOURCC).build()
}

/// Whether what asks for `video/x-wmv` behind `pad` is Matroska's muxer. Others take the type too, and write files that nothing
/// reads, as they drop the fourcc. By what they say of other fields, AVI's wants the frame rate to be a fraction, and ASF's
/// minds no width; Matroska's is the other way round.
pub fn matroska_follows(pad: &gst::Pad) -> bool {
    let takes = |field: &str, value: gst::glib::SendValue| {
        let mut probe = matroska();
        probe.make_mut().set_value(field, value);
        !pad.peer_query_caps(Some(&probe)).is_empty()
    };
    takes("framerate", "any".to_send_value()) && !takes("width", 0i32.to_send_value())
}

/// All forms of NGC but those of demuxers.
pub fn forms() -> gst::Caps {
    let mut caps = plain();
    caps.merge(mp4());
    caps.merge(matroska());
    caps
}

fn fraction(value: (u32, u32)) -> gst::Fraction {
    gst::Fraction::new(value.0 as i32, value.1 as i32)
}

/// Adds size, frame rate and pixel aspect ratio to the structures of `caps`; `upstream` fills in what the stream leaves
/// unknown.
pub fn describe(caps: &mut gst::Caps, video: &VideoInfo, upstream: Option<&gst::StructureRef>) {
    let framerate = match (video.framerate, upstream.and_then(|s| s.get::<gst::Fraction>("framerate").ok())) {
        ((0, _), Some(rate)) => rate,
        (rate, _) => fraction(rate),
    };
    for s in caps.make_mut().iter_mut() {
        s.set("width", video.width as i32);
        s.set("height", video.height as i32);
        s.set("framerate", framerate);
        s.set("pixel-aspect-ratio", fraction(video.par));
    }
}

/// Full caps of an NGC stream.
pub fn ngc(video: &VideoInfo, upstream: Option<&gst::StructureRef>) -> gst::Caps {
    let mut caps = gst::Caps::builder(MEDIA_TYPE).field("stream-format", "frame").field("alignment", "au").build();
    describe(&mut caps, video, upstream);
    let s = caps.make_mut().structure_mut(0).expect("one structure");
    if let Some(colorimetry) = crate::colorimetry::to_gst(&video.color) {
        s.set("colorimetry", colorimetry.to_string());
    }
    if let Some(site) = crate::colorimetry::chroma_site_to_gst(video.chroma_site) {
        s.set("chroma-site", site.to_str());
    }
    let (mode, order) = crate::colorimetry::interlacing_to_gst(video.interlacing);
    s.set("interlace-mode", mode.to_str());
    if let Some(order) = order {
        s.set("field-order", order.to_str());
    }
    crate::hdr::write(video, s);
    caps
}
