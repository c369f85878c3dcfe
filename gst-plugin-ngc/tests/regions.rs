//! Regions of interest and adaptive quality, through `ngcenc` and `ngcdec`.

mod common;

use common::*;
use gst::prelude::*;
use gst_check::Harness;
use gst_video::VideoRegionOfInterestMeta;

const WIDTH: usize = 256;
const HEIGHT: usize = 128;

/// Texture that stays, with weak noise that does not.
fn textured(number: u64) -> gst::Buffer {
    let mut seed = number as u32 + 1;
    let mut data = vec![128; WIDTH * HEIGHT * 3 / 2];
    for (i, sample) in data[..WIDTH * HEIGHT].iter_mut().enumerate() {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (x, y) = ((i % WIDTH) as f64, (i / WIDTH) as f64);
        *sample = (120.0 + 30.0 * (x * 0.6).sin() * (y * 0.5 + x * 0.1).cos() + f64::from(seed >> 30)) as u8;
    }
    let mut buffer = gst::Buffer::from_mut_slice(data);
    buffer.get_mut().unwrap().set_pts(FRAME * number);
    buffer
}

/// What comes of four frames: bytes, and the mean squared error of luma in the left and in the right half.
fn coded(element: &gst::Element, mark: impl Fn(&mut gst::BufferRef)) -> (usize, [f64; 2]) {
    element.set_property("quality", 36u32);
    let mut encoder = Harness::with_element(element, Some("sink"), Some("src"));
    encoder.set_src_caps(raw_caps("I420", WIDTH as i32, HEIGHT as i32, 30));
    let mut decoder = Harness::with_element(&common::element("ngcdec"), Some("sink"), Some("src"));
    let (mut bytes, mut errors) = (0, [0.0; 2]);
    for number in 0..4 {
        let original = textured(number);
        let mut buffer = original.copy_deep().unwrap();
        mark(buffer.get_mut().unwrap());
        encoder.push(buffer).unwrap();
        let unit = encoder.pull().unwrap();
        bytes += unit.size();
        if number == 0 {
            decoder.set_src_caps(encoder.sinkpad().unwrap().current_caps().unwrap());
        }
        decoder.push(unit).unwrap();
        let found = decoder.pull().unwrap();
        let (a, b) = (original.map_readable().unwrap(), found.map_readable().unwrap());
        for (i, (a, b)) in a[..WIDTH * HEIGHT].iter().zip(&b[..WIDTH * HEIGHT]).enumerate() {
            errors[usize::from(i % WIDTH >= WIDTH / 2)] += f64::from(a.abs_diff(*b)).powi(2);
        }
    }
    (bytes, errors.map(|sum| sum / (4 * WIDTH * HEIGHT / 2) as f64))
}

/// A region in the left half, with parameters.
fn left(buffer: &mut gst::BufferRef, parameters: Option<(&str, &str, i32)>) {
    // It lies partly outside, as trackers have it, in two pieces that overlap.
    for rect in [(0, 0, 100, 4000), (50, 20, 78, 80)] {
        let mut meta = VideoRegionOfInterestMeta::add(buffer, "person", rect);
        if let Some((name, field, value)) = parameters {
            meta.add_param(gst::Structure::builder(name).field(field, value).build());
        }
    }
}

fn ngcenc() -> gst::Element {
    init();
    element("ngcenc")
}

#[test]
fn regions_get_the_quality_that_they_or_the_property_say() {
    let plain = coded(&ngcenc(), |_| {});
    let improved = |name: &str, found: (usize, [f64; 2])| {
        println!("{name}: {} bytes, errors {:.2?}; without {}, {:.2?}", found.0, found.1, plain.0, plain.1);
        assert!(found.0 > plain.0 && found.1[0] < 0.9 * plain.1[0], "{name}");
        assert!((found.1[1] / plain.1[1] - 1.0).abs() < 0.2, "{name}: the rest");
    };
    improved("the default", coded(&ngcenc(), |buffer| left(buffer, None)));
    let own = coded(&ngcenc(), |buffer| left(buffer, Some(("roi/ngc", "delta-quality", -16))));
    improved("its own", own);
    improved("those of another encoder", coded(&ngcenc(), |buffer| left(buffer, Some(("roi/vaapi", "delta-qp", -10)))));
    let element = ngcenc();
    element.set_property("roi-quality", -16i32);
    assert_eq!(coded(&element, |buffer| left(buffer, None)), own, "by the property");
    let element = ngcenc();
    element.set_property("roi-quality", 0i32);
    assert_eq!(coded(&element, |buffer| left(buffer, None)), plain, "turned off");
    let worse = coded(&ngcenc(), |buffer| left(buffer, Some(("roi/ngc", "delta-quality", 16))));
    assert!(worse.0 < plain.0 && worse.1[0] > 1.1 * plain.1[0], "{worse:?}");
}

#[test]
fn upstream_learns_that_regions_are_of_use() {
    let mut harness = Harness::with_element(&ngcenc(), Some("sink"), Some("src"));
    let caps = raw_caps("I420", 64, 64, 30);
    harness.set_src_caps(caps.clone());
    let mut query = gst::query::Allocation::new(Some(&caps), true);
    assert!(harness.element().unwrap().static_pad("sink").unwrap().query(&mut query));
    assert!(query.find_allocation_meta::<VideoRegionOfInterestMeta>().is_some());
}

#[test]
fn adaptive_quality_can_change_while_playing() {
    let plain = coded(&ngcenc(), |_| {});
    // Smooth on the left, so that quality has something to follow.
    let flat = |buffer: &mut gst::BufferRef| {
        let mut map = buffer.map_writable().unwrap();
        map[..WIDTH * HEIGHT].iter_mut().enumerate().filter(|(i, _)| i % WIDTH < WIDTH / 2).for_each(|(_, v)| *v = 100 + *v / 16);
    };
    let with = |mode: &str, strength: f64| {
        let element = ngcenc();
        element.set_property_from_str("adaptive-quality", mode);
        element.set_property("adaptive-quality-strength", strength);
        coded(&element, flat).0
    };
    assert!(with("none", 3.0) != plain.0);
    assert!(with("variance", 3.0) < with("none", 3.0), "the busy half gets less");
    assert_eq!(with("variance", 0.0), with("none", 3.0));
}
