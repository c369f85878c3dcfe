//! Output caps of `ngcdec`.

use codec_core::bitstream::VideoInfo;
use gst_video::VideoFormat;
use gst_video::prelude::*;

use crate::frame::OUTPUT_FORMATS;
use crate::{colorimetry, hdr};

/// The cheapest format that downstream takes.
pub fn choose_format(pad: &gst::Pad) -> VideoFormat {
    let allowed = pad.allowed_caps();
    let takes = |format: &VideoFormat| {
        let caps = gst_video::VideoCapsBuilder::new().format(*format).build();
        allowed.as_ref().is_none_or(|allowed| allowed.can_intersect(&caps))
    };
    OUTPUT_FORMATS.into_iter().find(takes).unwrap_or(OUTPUT_FORMATS[0])
}

/// Info and caps of decoded frames. `input` fills in the frame rate where the stream leaves it unknown.
///
/// # Errors
/// If GStreamer finds the values impossible together.
pub fn describe(
    video: &VideoInfo,
    format: VideoFormat,
    input: &gst_video::VideoInfo,
) -> Result<(gst_video::VideoInfo, gst::Caps), gst::glib::BoolError> {
    let framerate = match video.framerate {
        (0, _) => input.fps(),
        (numerator, denominator) => gst::Fraction::new(numerator as i32, denominator as i32),
    };
    let (mode, order) = colorimetry::interlacing_to_gst(video.interlacing);
    let colorimetry = colorimetry::to_gst(&video.color).filter(|_| format != VideoFormat::Gray8);
    let mut builder = gst_video::VideoInfo::builder(format, video.width, video.height)
        .fps(framerate)
        .par(gst::Fraction::new(video.par.0 as i32, video.par.1 as i32))
        .interlace_mode(mode);
    if let Some(colorimetry) = &colorimetry {
        builder = builder.colorimetry(colorimetry);
    }
    if let Some(site) = colorimetry::chroma_site_to_gst(video.chroma_site) {
        builder = builder.chroma_site(site);
    }
    if let Some(order) = order {
        builder = builder.field_order(order);
    }
    let info = builder.build()?;
    let mut caps = info.to_caps()?;
    hdr::write(video, caps.make_mut().structure_mut(0).expect("one structure"));
    Ok((info, caps))
}
