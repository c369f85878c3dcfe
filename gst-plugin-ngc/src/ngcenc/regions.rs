//! Regions of interest: what upstream elements say of parts of a frame (`GstVideoRegionOfInterestMeta`) as a quality map.

use codec_core::{QualityMap, QualityRegion};
use gst_video::VideoRegionOfInterestMeta;

/// Parameters for this encoder.
const OWN: &str = "roi/ngc";
/// What parameters for any encoder begin with: `roi/vaapi`, `roi/msdk` and so on.
const ANY: &str = "roi/";
/// Largest change of a quality index.
const LARGEST: i32 = 63;

/// The quality map of a frame of the given size; `None` without regions that change anything. `default`: the change of the quality index in
/// regions that do not say one.
pub fn map(buffer: &gst::BufferRef, size: (u32, u32), default: i32) -> Option<QualityMap> {
    let regions: Vec<QualityRegion> =
        buffer.iter_meta::<VideoRegionOfInterestMeta>().map(|meta| region(&meta, default)).collect();
    if regions.is_empty() {
        return None;
    }
    let map = QualityMap::from_regions(size.0, size.1, &regions);
    (!map.is_zero()).then_some(map)
}

fn region(meta: &VideoRegionOfInterestMeta, default: i32) -> QualityRegion {
    let (x, y, width, height) = meta.rect();
    let own = meta.param(OWN).and_then(|own| own.get::<i32>("delta-quality").ok());
    let others =
        || meta.params().filter(|param| param.name().starts_with(ANY)).find_map(|other| other.get::<i32>("delta-qp").ok());
    let change = own.or_else(|| others().map(of_qp)).unwrap_or(default).clamp(-LARGEST, LARGEST);
    QualityRegion { x: x.into(), y: y.into(), width: width.into(), height: height.into(), change }
}

/// A change of H.264's or H.265's QP as one of the quality index: a QP is worth about 12 % of the bits, an index about 10 %, so six of
/// the first are seven of the second.
fn of_qp(change: i32) -> i32 {
    (change.clamp(-LARGEST, LARGEST) * 7 + 3 * change.signum()) / 6
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (u32, u32) = (128, 64);

    /// The map's values of a frame with one region in its middle.
    fn values(parameters: &[(&str, &str, i32)]) -> Option<Vec<i8>> {
        gst::init().unwrap();
        let mut buffer = gst::Buffer::new();
        {
            let mut meta = VideoRegionOfInterestMeta::add(buffer.get_mut().unwrap(), "face", (32, 0, 64, 64));
            for &(name, field, value) in parameters {
                meta.add_param(gst::Structure::builder(name).field(field, value).build());
            }
        }
        map(&buffer, SIZE, -8).map(|map| map.values().to_vec())
    }

    fn middle(value: i8) -> Option<Vec<i8>> {
        Some([0, value, value, 0].repeat(2))
    }

    #[test]
    fn a_region_has_the_change_that_it_says() {
        assert_eq!(values(&[]), middle(-2), "the default");
        assert_eq!(values(&[("roi/ngc", "delta-quality", -12)]), middle(-3));
        assert_eq!(values(&[("roi/ngc", "delta-quality", 400)]), middle(15));
        assert_eq!(values(&[("roi/ngc", "delta-quality", 0)]), None);
        // 12 QP are 14 indices, which are 3.5 steps.
        assert_eq!(values(&[("roi/vaapi", "delta-qp", -12)]), middle(-4));
        assert_eq!(values(&[("roi/msdk", "delta-qp", i32::MAX)]), middle(15));
        // One's own counts before those of others, and what is not known leaves the default.
        assert_eq!(values(&[("roi/vaapi", "delta-qp", -10), ("roi/ngc", "delta-quality", 4)]), middle(1));
        assert_eq!(values(&[("roi/omx-alg", "quality", 1), ("detection", "delta-qp", 9), ("roi/ngc", "delta-qp", 3)]), middle(1));
        assert_eq!(values(&[("detection", "confidence", 9)]), middle(-2));
    }

    #[test]
    fn quantiser_steps_are_worth_more_than_indices() {
        for (qp, quality) in [(0, 0), (1, 1), (-1, -1), (2, 2), (6, 7), (-12, -14), (i32::MIN, -74)] {
            assert_eq!(of_qp(qp), quality, "{qp}");
        }
    }

    #[test]
    fn a_frame_without_regions_has_no_map() {
        gst::init().unwrap();
        assert!(map(&gst::Buffer::new(), SIZE, -8).is_none());
        let mut buffer = gst::Buffer::new();
        // Beyond the frame, and the largest that a meta can say.
        for rect in [(4000, 0, 64, 64), (0, 0, 0, 0), (u32::MAX, u32::MAX, u32::MAX, u32::MAX)] {
            VideoRegionOfInterestMeta::add(buffer.get_mut().unwrap(), "face", rect);
        }
        assert!(map(&buffer, SIZE, -8).is_none());
        VideoRegionOfInterestMeta::add(buffer.get_mut().unwrap(), "all", (0, 0, u32::MAX, u32::MAX));
        assert_eq!(map(&buffer, SIZE, -8).unwrap().values(), [-2; 8]);
    }
}
