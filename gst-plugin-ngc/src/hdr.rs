//! HDR metadata of caps. GStreamer and the bitstream use the same units, so values pass unchanged.

use codec_core::bitstream::{ContentLight, MasteringDisplay, VideoInfo};

const MASTERING: &str = "mastering-display-info";
const LIGHT: &str = "content-light-level";

/// Takes what `caps` say of mastering display and content light level. What cannot be read counts as absent.
pub fn read(caps: &gst::StructureRef, video: &mut VideoInfo) {
    video.mastering_display = numbers::<10>(caps, MASTERING).and_then(mastering);
    video.content_light = numbers::<2>(caps, LIGHT).and_then(|[max_content, max_frame_average]| {
        Some(ContentLight {
            max_content: u16::try_from(max_content).ok()?,
            max_frame_average: u16::try_from(max_frame_average).ok()?,
        })
    });
}

/// Adds mastering display and content light level to `caps`.
pub fn write(video: &VideoInfo, caps: &mut gst::StructureRef) {
    if let Some(m) = &video.mastering_display {
        let points = m.primaries.iter().chain([&m.white_point]).flat_map(|&(x, y)| [u32::from(x), u32::from(y)]);
        caps.set(MASTERING, join(points.chain([m.max_luminance, m.min_luminance])));
    }
    if let Some(light) = &video.content_light {
        caps.set(LIGHT, join([light.max_content.into(), light.max_frame_average.into()].into_iter()));
    }
}

fn numbers<const N: usize>(caps: &gst::StructureRef, field: &str) -> Option<[u32; N]> {
    let text = caps.get::<String>(field).ok()?;
    let values: Vec<u32> = text.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
    values.try_into().ok()
}

fn mastering(values: [u32; 10]) -> Option<MasteringDisplay> {
    let [points @ .., max_luminance, min_luminance] = values;
    let coordinate = |i: usize| u16::try_from(points[i]).ok();
    let point = |i: usize| Some((coordinate(2 * i)?, coordinate(2 * i + 1)?));
    Some(MasteringDisplay { primaries: [point(0)?, point(1)?, point(2)?], white_point: point(3)?, max_luminance, min_luminance })
}

fn join(values: impl Iterator<Item = u32>) -> String {
    values.map(|v| v.to_string()).collect::<Vec<_>>().join(":")
}
