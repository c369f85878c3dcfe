//! Colour description: GStreamer's enumerations and the code points of ISO/IEC 23091-2 that streams carry.

use codec_core::bitstream::{ChromaSite, ColorInfo, ColorRange, Interlacing, VideoInfo};
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
                VideoColorRange::Range0_255 => ColorRange::Full,
                VideoColorRange::Range16_235 => ColorRange::Limited,
                _ => ColorRange::Unknown,
            },
            matrix: code(c.matrix().to_iso()),
            transfer: code(c.transfer().to_iso()),
            primaries: code(c.primaries().to_iso()),
        },
        chroma_site: chroma_site(info.chroma_site()),
        interlacing: match info.interlace_mode() {
            VideoInterlaceMode::Progressive => Interlacing::Progressive,
            VideoInterlaceMode::Interleaved if info.field_order() == VideoFieldOrder::BottomFieldFirst => {
                Interlacing::BottomFieldFirst
            }
            VideoInterlaceMode::Interleaved => Interlacing::TopFieldFirst,
            _ => Interlacing::Mixed,
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
        ColorRange::Full => VideoColorRange::Range0_255,
        ColorRange::Limited => VideoColorRange::Range16_235,
        ColorRange::Unknown => VideoColorRange::Unknown,
    };
    let matrix = VideoColorMatrix::from_iso(color.matrix.into());
    if range == VideoColorRange::Unknown && matrix == VideoColorMatrix::Unknown {
        return None;
    }
    let transfer = VideoTransferFunction::from_iso(color.transfer.into());
    let primaries = VideoColorPrimaries::from_iso(color.primaries.into());
    Some(VideoColorimetry::new(range, matrix, transfer, primaries))
}

const SITES: [(ChromaSite, VideoChromaSite); 6] = [
    (ChromaSite::Left, VideoChromaSite::H_COSITED),
    (ChromaSite::Centre, VideoChromaSite::NONE),
    (ChromaSite::TopLeft, VideoChromaSite::COSITED),
    (ChromaSite::Top, VideoChromaSite::V_COSITED),
    (ChromaSite::BottomLeft, VideoChromaSite::ALT_LINE.union(VideoChromaSite::H_COSITED)),
    (ChromaSite::Bottom, VideoChromaSite::ALT_LINE),
];

fn chroma_site(site: VideoChromaSite) -> ChromaSite {
    SITES.iter().find(|(_, s)| *s == site).map_or(ChromaSite::Unknown, |(ours, _)| *ours)
}

/// Where chroma samples lie, `None` if unknown.
pub fn chroma_site_to_gst(site: ChromaSite) -> Option<VideoChromaSite> {
    SITES.iter().find(|(ours, _)| *ours == site).map(|(_, site)| *site)
}

/// Interlace mode and field order of a stream.
pub fn interlacing_to_gst(interlacing: Interlacing) -> (VideoInterlaceMode, Option<VideoFieldOrder>) {
    match interlacing {
        Interlacing::Progressive => (VideoInterlaceMode::Progressive, None),
        Interlacing::TopFieldFirst => (VideoInterlaceMode::Interleaved, Some(VideoFieldOrder::TopFieldFirst)),
        Interlacing::BottomFieldFirst => (VideoInterlaceMode::Interleaved, Some(VideoFieldOrder::BottomFieldFirst)),
        Interlacing::Mixed => (VideoInterlaceMode::Mixed, None),
    }
}
