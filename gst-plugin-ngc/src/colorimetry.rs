//! Colour description: GStreamer's enumerations and the code points of ISO/IEC 23091-2 that streams carry.

use codec_core::bitstream::{ColorInfo, VideoInfo};
use gst_video::{
    VideoChromaSite, VideoColorMatrix, VideoColorPrimaries, VideoColorRange, VideoColorimetry, VideoFieldOrder,
    VideoInfo as GstVideoInfo, VideoInterlaceMode, VideoTransferFunction,
};

/// Code point for "unspecified".
const UNSPECIFIED: u8 = 2;

/// Describes raw video for the sequence header.
pub fn video_info(info: &GstVideoInfo) -> VideoInfo {
    let c = info.colorimetry();
    let code = |value: u32| u8::try_from(value).unwrap_or(UNSPECIFIED);
    VideoInfo {
        width: info.width(),
        height: info.height(),
        framerate: pair(info.fps(), (0, 1)),
        par: pair(info.par(), (1, 1)),
        color: ColorInfo {
            range: match c.range() {
                VideoColorRange::Range0_255 => 1,
                VideoColorRange::Range16_235 => 2,
                _ => 0,
            },
            matrix: code(c.matrix().to_iso()),
            transfer: code(c.transfer().to_iso()),
            primaries: code(c.primaries().to_iso()),
        },
        chroma_site: chroma_site(info.chroma_site()),
        interlace: match info.interlace_mode() {
            VideoInterlaceMode::Progressive => 0,
            VideoInterlaceMode::Interleaved if info.field_order() == VideoFieldOrder::BottomFieldFirst => 2,
            VideoInterlaceMode::Interleaved => 1,
            _ => 3,
        },
        ..VideoInfo::default()
    }
}

fn pair(value: gst::Fraction, unknown: (u32, u32)) -> (u32, u32) {
    match (u32::try_from(value.numer()), u32::try_from(value.denom())) {
        (Ok(n), Ok(d)) if d > 0 && n > 0 => (n, d),
        _ => unknown,
    }
}

/// Colorimetry of a stream, `None` if nothing is known of it.
pub fn to_gst(color: &ColorInfo) -> Option<VideoColorimetry> {
    let range = match color.range {
        1 => VideoColorRange::Range0_255,
        2 => VideoColorRange::Range16_235,
        _ => VideoColorRange::Unknown,
    };
    let matrix = VideoColorMatrix::from_iso(color.matrix.into());
    if range == VideoColorRange::Unknown && matrix == VideoColorMatrix::Unknown {
        return None;
    }
    let transfer = VideoTransferFunction::from_iso(color.transfer.into());
    let primaries = VideoColorPrimaries::from_iso(color.primaries.into());
    Some(VideoColorimetry::new(range, matrix, transfer, primaries))
}

const SITES: [(u8, VideoChromaSite); 6] = [
    (1, VideoChromaSite::H_COSITED),
    (2, VideoChromaSite::NONE),
    (3, VideoChromaSite::COSITED),
    (4, VideoChromaSite::V_COSITED),
    (5, VideoChromaSite::ALT_LINE.union(VideoChromaSite::H_COSITED)),
    (6, VideoChromaSite::ALT_LINE),
];

fn chroma_site(site: VideoChromaSite) -> u8 {
    SITES.iter().find(|(_, s)| *s == site).map_or(0, |(code, _)| *code)
}

/// Where chroma samples lie, `None` if unknown.
pub fn chroma_site_to_gst(code: u8) -> Option<VideoChromaSite> {
    SITES.iter().find(|(c, _)| *c == code).map(|(_, site)| *site)
}

/// Interlace mode and field order of a stream.
pub fn interlace_to_gst(code: u8) -> (VideoInterlaceMode, Option<VideoFieldOrder>) {
    match code {
        0 => (VideoInterlaceMode::Progressive, None),
        1 => (VideoInterlaceMode::Interleaved, Some(VideoFieldOrder::TopFieldFirst)),
        2 => (VideoInterlaceMode::Interleaved, Some(VideoFieldOrder::BottomFieldFirst)),
        _ => (VideoInterlaceMode::Mixed, None),
    }
}
