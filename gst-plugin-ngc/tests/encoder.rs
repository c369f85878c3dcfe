//! Behaviour of `ngcenc`, as applications see it.

mod common;

use common::*;
use gst::prelude::*;
use gst_check::Harness;
use gst_video::prelude::*;

#[test]
fn timestamps_are_exact_and_keyframes_come_when_asked() {
    let caps = raw_caps("I420", 64, 48, 30);
    let mut harness = encoder(&caps);
    let start = gst::ClockTime::from_seconds(5);
    for i in 0..30 {
        if i == 10 {
            harness.push_upstream_event(gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build());
        }
        harness.push(raw_buffer(&caps, i, start + FRAME * i)).unwrap();
        let unit = harness.pull().unwrap();
        assert_eq!(unit.pts(), Some(start + FRAME * i));
        assert_eq!(unit.dts(), unit.pts());
        assert_eq!(unit.duration(), Some(FRAME));
        assert_eq!(is_key(&unit), i == 0 || i == 10, "frame {i}");
    }
    assert_eq!(harness.query_latency(), Some(gst::ClockTime::ZERO));
}

#[test]
fn all_sizes_and_formats_round_trip() {
    for (format, width, height) in [("I420", 1, 1), ("NV12", 2, 2), ("YV12", 17, 13), ("I420", 65, 49), ("NV12", 65, 49)] {
        let caps = raw_caps(format, width, height, 30);
        let mut harness = encoder(&caps);
        let mut decoder = Harness::with_element(&element("ngcdec"), Some("sink"), Some("src"));
        for i in 0..3 {
            harness.push(raw_buffer(&caps, i, FRAME * i)).unwrap();
            let unit = harness.pull().unwrap();
            if i == 0 {
                decoder.set_src_caps(harness.sinkpad().unwrap().current_caps().unwrap());
            }
            decoder.push(unit).unwrap();
            let frame = decoder.pull().unwrap();
            assert_eq!(frame.pts(), Some(FRAME * i));
        }
        let info = gst_video::VideoInfo::from_caps(&decoder.sinkpad().unwrap().current_caps().unwrap()).unwrap();
        assert_eq!((info.width(), info.height()), (width as u32, height as u32), "{format}");
        assert_eq!(info.fps(), gst::Fraction::new(30, 1));
    }
}

#[test]
fn nv12_and_i420_give_the_same_stream() {
    let (width, height) = (32usize, 32usize);
    let luma: Vec<u8> = (0..width * height).map(|i| (i * 5 % 200) as u8).collect();
    let (u, v): (Vec<u8>, Vec<u8>) = (0..width * height / 4).map(|i| ((i * 3 % 90 + 80) as u8, (i * 7 % 90 + 80) as u8)).unzip();
    let planar = [luma.clone(), u.clone(), v.clone()].concat();
    let interleaved = [luma, u.iter().zip(&v).flat_map(|(&u, &v)| [u, v]).collect()].concat();
    let encode = |format: &str, data: Vec<u8>| {
        let mut harness = encoder(&raw_caps(format, width as i32, height as i32, 30));
        harness.push(gst::Buffer::from_mut_slice(data)).unwrap();
        harness.pull().unwrap().map_readable().unwrap().to_vec()
    };
    assert_eq!(encode("I420", planar), encode("NV12", interleaved));
}

#[test]
fn flush_and_new_caps_are_followed_by_a_keyframe() {
    let caps = raw_caps("I420", 64, 48, 30);
    let mut harness = encoder(&caps);
    for i in 0..3 {
        harness.push(raw_buffer(&caps, i, FRAME * i)).unwrap();
        assert_eq!(is_key(&harness.pull().unwrap()), i == 0);
    }
    harness.push_event(gst::event::FlushStart::new());
    harness.push_event(gst::event::FlushStop::builder(true).build());
    harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    harness.push(raw_buffer(&caps, 3, FRAME * 3)).unwrap();
    assert!(is_key(&harness.pull().unwrap()), "after a flush");
    let larger = raw_caps("I420", 128, 96, 30);
    harness.set_src_caps(larger.clone());
    for i in 4..6 {
        harness.push(raw_buffer(&larger, i, FRAME * i)).unwrap();
        assert_eq!(is_key(&harness.pull().unwrap()), i == 4, "after new caps");
    }
}

#[test]
fn an_unknown_frame_rate_keeps_irregular_times() {
    let caps = raw_caps("I420", 64, 48, 0);
    let mut harness = encoder(&caps);
    for (i, ms) in [0u64, 40, 41, 500, 1000].into_iter().enumerate() {
        harness.push(raw_buffer(&caps, i as u64, gst::ClockTime::from_mseconds(ms))).unwrap();
        assert_eq!(harness.pull().unwrap().pts(), Some(gst::ClockTime::from_mseconds(ms)));
    }
}

#[test]
fn an_absent_gpu_is_named() {
    init();
    let element = element("ngcenc");
    element.set_property("device", "cuda:99");
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    let caps = raw_caps("I420", 64, 48, 30);
    harness.set_src_caps(caps.clone());
    let _ = harness.push(raw_buffer(&caps, 0, gst::ClockTime::ZERO));
    let message = bus.pop_filtered(&[gst::MessageType::Error]).expect("an error message");
    let gst::MessageView::Error(error) = message.view() else { unreachable!() };
    assert!(error.error().message().contains("cuda:99"), "{}", error.error().message());
}

#[test]
fn grey_video_has_no_colour() {
    let grey = raw_caps("GRAY8", 33, 17, 30);
    let mut harness = encoder(&grey);
    harness.push(raw_buffer(&grey, 0, gst::ClockTime::ZERO)).unwrap();
    let unit = harness.pull().unwrap();
    let mut decoder = Harness::with_element(&element("ngcdec"), Some("sink"), Some("src"));
    decoder.set_src_caps(harness.sinkpad().unwrap().current_caps().unwrap());
    decoder.push(unit).unwrap();
    let frame = decoder.pull().unwrap();
    let info = gst_video::VideoInfo::from_caps(&decoder.sinkpad().unwrap().current_caps().unwrap()).unwrap();
    let mapped = gst_video::VideoFrame::from_buffer_readable(frame, &info).unwrap();
    for plane in [1, 2] {
        let stride = mapped.plane_stride()[plane] as usize;
        let data = mapped.plane_data(plane as u32).unwrap();
        for row in 0..9 {
            assert!(data[row * stride..][..17].iter().all(|v| v.abs_diff(128) <= 4), "plane {plane}, row {row}");
        }
    }
}

/// A frame of noise that moves and changes, so that sizes depend on the quality.
fn busy(caps: &gst::Caps, number: u64, pts: gst::ClockTime) -> gst::Buffer {
    let mut buffer = raw_buffer(caps, number, pts);
    let mut map = buffer.get_mut().unwrap().map_writable().unwrap();
    let mut seed = number as u32 / 3 + 1;
    for (i, sample) in map.iter_mut().enumerate() {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let wave = 40.0 * ((i as f64 % 320.0 + 3.0 * number as f64) * 0.11).sin();
        *sample = (120.0 + wave + f64::from(seed >> 28) * 4.0) as u8;
    }
    drop(map);
    buffer
}

/// Bits of the units of `frames` frames at the given times in milliseconds.
fn encode_bits(harness: &mut Harness, caps: &gst::Caps, times: impl Iterator<Item = u64>) -> f64 {
    let mut bits = 0;
    for (i, ms) in times.enumerate() {
        harness.push(busy(caps, i as u64, gst::ClockTime::from_mseconds(ms))).unwrap();
        bits += 8 * harness.pull().unwrap().size();
    }
    bits as f64
}

#[test]
fn bitrates_are_held_with_any_frame_rate_and_change_while_playing() {
    for (mode, fps, gap) in [("cbr", 25, 40u64), ("vbr", 25, 40), ("cbr", 0, 71)] {
        let caps = raw_caps("I420", 320, 180, fps);
        init();
        let element = element("ngcenc");
        element.set_property_from_str("rate-control", mode);
        element.set_property("bitrate", 200u32);
        let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
        harness.set_src_caps(caps.clone());
        let count = 6000 / gap;
        let reached = encode_bits(&mut harness, &caps, (0..count).map(|i| i * gap)) / 6.0 / 200e3;
        assert!((0.9..=1.1).contains(&reached), "{mode} at {fps}/1: {reached} of the bitrate");
        element.set_property("bitrate", 400u32);
        let times = |from: u64| (0..3000 / gap).map(move |i| from + i * gap);
        encode_bits(&mut harness, &caps, times(count * gap));
        let reached = encode_bits(&mut harness, &caps, times(count * gap + 3000)) / 3.0 / 400e3;
        assert!((0.85..=1.15).contains(&reached), "{mode} at {fps}/1 after a change: {reached} of the bitrate");
    }
}

#[test]
fn a_new_scene_starts_with_a_keyframe_unless_told_otherwise() {
    let caps = raw_caps("I420", 64, 48, 30);
    // Scene cuts, the smallest distance between keyframes, and whether the cut after three frames makes one.
    for (scene_cut, key_int_min, cuts) in [(true, 3u32, true), (true, 4, false), (false, 3, false)] {
        let mut harness = encoder(&caps);
        harness.element().unwrap().set_property("scene-cut", scene_cut);
        harness.element().unwrap().set_property("key-int-min", key_int_min);
        for i in 0..6 {
            let mut buffer = raw_buffer(&caps, 0, FRAME * i);
            if i >= 3 {
                buffer.get_mut().unwrap().map_writable().unwrap().iter_mut().for_each(|v| *v = 255 - *v / 2);
            }
            harness.push(buffer).unwrap();
            assert_eq!(is_key(&harness.pull().unwrap()), i == 0 || (i == 3 && cuts), "frame {i} of {scene_cut}, {key_int_min}");
        }
    }
}

#[test]
fn description_of_the_video_reaches_the_decoder() {
    const MASTERING: &str = "35400:14600:8500:39850:6550:2300:15635:16450:10000000:1";
    let describe = |light: &str| {
        let mut caps = raw_caps("I420", 64, 48, 25);
        let s = caps.make_mut().structure_mut(0).unwrap();
        s.set("pixel-aspect-ratio", gst::Fraction::new(4, 3));
        s.set("colorimetry", "bt2100-pq");
        s.set("chroma-site", "cosited");
        s.set("interlace-mode", "interleaved");
        s.set("field-order", "bottom-field-first");
        s.set("mastering-display-info", MASTERING);
        s.set("content-light-level", light);
        caps
    };
    let mut harness = encoder(&describe("1000:300"));
    let mut decoder = Harness::with_element(&element("ngcdec"), Some("sink"), Some("src"));
    for (i, light) in ["1000:300", "900:200"].into_iter().enumerate() {
        // Only the light level changes, which the base class does not notice.
        let caps = describe(light);
        harness.set_src_caps(caps.clone());
        harness.push(raw_buffer(&caps, i as u64, FRAME * i as u64)).unwrap();
        let unit = harness.pull().unwrap();
        assert!(is_key(&unit), "a new description takes a new header");
        // The input caps say no more than the size: the rest is in-band.
        decoder.set_src_caps_str("video/x-ngc, width=64, height=48, framerate=0/1");
        decoder.push(unit).unwrap();
        decoder.pull().unwrap();
        let caps = decoder.sinkpad().unwrap().current_caps().unwrap();
        let s = caps.structure(0).unwrap();
        assert_eq!(s.get::<gst::Fraction>("pixel-aspect-ratio").unwrap(), gst::Fraction::new(4, 3));
        assert_eq!(s.get::<gst::Fraction>("framerate").unwrap(), gst::Fraction::new(25, 1));
        for (field, value) in [
            ("colorimetry", "bt2100-pq"),
            ("chroma-site", "cosited"),
            ("interlace-mode", "interleaved"),
            ("field-order", "bottom-field-first"),
            ("mastering-display-info", MASTERING),
            ("content-light-level", light),
        ] {
            assert_eq!(s.get::<String>(field).unwrap(), value, "{field}");
        }
    }
}

#[test]
fn statistics_and_tags() {
    let caps = raw_caps("I420", 64, 48, 30);
    let mut harness = encoder(&caps);
    let mut bytes = 0;
    for i in 0..4 {
        harness.push(raw_buffer(&caps, i, FRAME * i)).unwrap();
        bytes += harness.pull().unwrap().size() as u64;
    }
    let stats = harness.element().unwrap().property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("frames").unwrap(), 4);
    assert_eq!(stats.get::<u64>("keyframes").unwrap(), 1);
    assert_eq!(stats.get::<u64>("bytes").unwrap(), bytes);
    assert!(stats.get::<u32>("encode-time-p95-us").unwrap() >= stats.get::<u32>("encode-time-p50-us").unwrap());
    let tags = std::iter::from_fn(|| harness.try_pull_event())
        .find_map(|event| match event.view() {
            gst::EventView::Tag(tag) => Some(tag.tag_owned()),
            _ => None,
        })
        .expect("a tag event");
    assert_eq!(tags.get::<gst::tags::Encoder>().unwrap().get(), "ngcenc");
    assert_eq!(tags.get::<gst::tags::VideoCodec>().unwrap().get(), "NGC");
}

#[test]
fn too_much_memory_is_refused_by_name() {
    init();
    let element = element("ngcenc");
    element.set_property("max-memory", 200u32);
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    let caps = raw_caps("I420", 1920, 1080, 30);
    harness.set_src_caps(caps.clone());
    let _ = harness.push(raw_buffer(&caps, 0, gst::ClockTime::ZERO));
    let message = bus.pop_filtered(&[gst::MessageType::Error]).expect("an error message");
    let gst::MessageView::Error(error) = message.view() else { unreachable!() };
    assert!(error.error().message().contains("max-memory"), "{}", error.error().message());
}

#[test]
fn times_that_run_backwards_or_are_missing_do_no_harm() {
    let caps = raw_caps("I420", 64, 48, 30);
    init();
    let element = element("ngcenc");
    element.set_property_from_str("rate-control", "cbr");
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    harness.set_src_caps(caps.clone());
    for (i, ms) in [Some(1000), Some(500), None, Some(0), Some(3_600_000)].into_iter().enumerate() {
        let mut buffer = raw_buffer(&caps, i as u64, gst::ClockTime::ZERO);
        buffer.get_mut().unwrap().set_pts(ms.map(gst::ClockTime::from_mseconds));
        harness.push(buffer).unwrap();
        harness.pull().unwrap();
    }
}

#[test]
fn every_preset_loads() {
    // Read once per process, before the first preset is asked for.
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/presets");
    // SAFETY: no other test of this binary reads this variable, and GStreamer reads it through its own lock.
    unsafe { std::env::set_var("GST_PRESET_PATH", folder) };
    init();
    let element = element("ngcenc");
    let preset = element.dynamic_cast_ref::<gst::Preset>().unwrap();
    let names = preset.preset_names();
    assert!(names.len() >= 5, "{names:?}");
    for name in &names {
        preset.load_preset(name).unwrap();
        assert!(preset.meta(name, "comment").is_some_and(|c| !c.is_empty()), "{name} has no comment");
    }
    // It says that it has the defaults.
    let values = |element: &gst::Element| {
        ["rate-control", "quality", "key-int-max", "scene-cut", "speed-preset", "lookahead", "temporal-filter"]
            .map(|name| format!("{:?}", element.property_value(name)))
    };
    // Presets set what others change.
    for before in ["Profile Archive", "Profile Live"] {
        preset.load_preset(before).unwrap();
        preset.load_preset("Profile Balanced").unwrap();
        assert_eq!(values(&element), values(&element_as_it_is("ngcenc")), "after {before}");
    }
    preset.load_preset("Profile Live").unwrap();
    assert_eq!(element.property::<u32>("vbv-buffer"), 600);
    assert_eq!(element.property::<u32>("bitrate"), 500);
    assert_eq!(element.property_value("rate-control").serialize().unwrap(), "cbr");
}
