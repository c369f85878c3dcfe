//! Behaviour of the elements, as applications see it.

use gst::prelude::*;
use gst_check::Harness;

const FRAME: gst::ClockTime = gst::ClockTime::from_nseconds(33_333_333);

fn init() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstngc::plugin_register_static().unwrap();
    });
}

fn element(name: &str) -> gst::Element {
    gst::ElementFactory::make(name).property("threads", 1u32).property("device", "cpu").build().unwrap()
}

fn raw_caps(format: &str, width: i32, height: i32, fps: i32) -> gst::Caps {
    init();
    gst::Caps::builder("video/x-raw")
        .field("format", format)
        .field("width", width)
        .field("height", height)
        .field("framerate", gst::Fraction::new(fps, 1))
        .build()
}

fn raw_buffer(caps: &gst::Caps, number: u64, pts: gst::ClockTime) -> gst::Buffer {
    let info = gst_video::VideoInfo::from_caps(caps).unwrap();
    let data: Vec<u8> = (0..info.size() as u64).map(|i| (((i / 7 + number * 3) % 64) * 2 + 64) as u8).collect();
    let mut buffer = gst::Buffer::from_mut_slice(data);
    let target = buffer.get_mut().unwrap();
    target.set_pts(pts);
    target.set_duration(FRAME);
    buffer
}

fn encoder(caps: &gst::Caps) -> Harness {
    init();
    let mut harness = Harness::with_element(&element("ngcenc"), Some("sink"), Some("src"));
    harness.set_src_caps(caps.clone());
    harness
}

/// Units of `count` frames, a keyframe every ten.
fn units(count: u64) -> (gst::Caps, Vec<gst::Buffer>) {
    let caps = raw_caps("I420", 64, 48, 30);
    init();
    let element = element("ngcenc");
    element.set_property("key-int-max", 10u32);
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    harness.set_src_caps(caps.clone());
    let buffers = (0..count)
        .map(|i| {
            harness.push(raw_buffer(&caps, i, FRAME * i)).unwrap();
            harness.pull().unwrap()
        })
        .collect();
    (harness.sinkpad().unwrap().current_caps().unwrap(), buffers)
}

fn is_key(buffer: &gst::Buffer) -> bool {
    !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)
}

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
fn damage_drops_frames_and_asks_once_for_a_keyframe() {
    let (caps, units) = units(30);
    let copy = |data: &[u8], like: &gst::Buffer| {
        let mut buffer = gst::Buffer::from_mut_slice(data.to_vec());
        like.copy_into(buffer.get_mut().unwrap(), gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS, ..).unwrap();
        buffer
    };
    let bytes = units[5].map_readable().unwrap().to_vec();
    let cases: [(&str, Option<Vec<u8>>, usize, usize); 4] = [
        ("truncated", Some(bytes[..bytes.len() / 2].to_vec()), 5, 25),
        ("garbage", Some(vec![0xa5; 100]), 5, 25),
        ("no first keyframe", None, 0, 20),
        ("one frame lost", None, 5, 25),
    ];
    for (name, replacement, position, expected) in cases {
        init();
        let mut harness = Harness::with_element(&element("ngcdec"), Some("sink"), Some("src"));
        let bus = gst::Bus::new();
        harness.element().unwrap().set_bus(Some(&bus));
        harness.set_src_caps(caps.clone());
        let mut received = 0;
        for (i, unit) in units.iter().enumerate() {
            match (&replacement, i == position) {
                (Some(data), true) => harness.push(copy(data, unit)).unwrap(),
                (None, true) => continue,
                _ => harness.push(unit.clone()).unwrap(),
            };
            while harness.try_pull().is_some() {
                received += 1;
            }
        }
        assert_eq!(received, expected, "{name}");
        assert!(bus.pop_filtered(&[gst::MessageType::Error]).is_none(), "{name}: an error message");
        let mut asked = 0;
        while let Some(event) = harness.try_pull_upstream_event() {
            asked += usize::from(gst_video::ForceKeyUnitEvent::is(&event));
        }
        assert_eq!(asked, 1, "{name}: keyframe requests");
    }
}

#[test]
fn a_missing_model_file_is_named() {
    init();
    for name in ["ngcenc", "ngcdec"] {
        let element = element(name);
        element.set_property("model-file", "/nowhere/model.safetensors");
        let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let caps = if name == "ngcenc" { raw_caps("I420", 64, 48, 30) } else { units(1).0 };
        harness.set_src_caps(caps.clone());
        let _ = harness.push(if name == "ngcenc" { raw_buffer(&caps, 0, gst::ClockTime::ZERO) } else { units(1).1.remove(0) });
        let message = bus.pop_filtered(&[gst::MessageType::Error]).expect("an error message");
        let gst::MessageView::Error(error) = message.view() else { unreachable!() };
        assert!(error.error().matches(gst::ResourceError::NotFound));
        assert!(error.error().message().contains("/nowhere/model.safetensors"), "{}", error.error().message());
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
fn the_parser_frames_a_raw_stream_through_garbage() {
    let (_, units) = units(12);
    let mut bytes = b"some garbage NGC and more".to_vec();
    for (i, unit) in units.iter().enumerate() {
        if i == 3 {
            bytes.extend([0u8; 33]);
        }
        bytes.extend_from_slice(&unit.map_readable().unwrap());
    }
    let mut harness = Harness::new("ngcparse");
    harness.set_src_caps_str("video/x-ngc");
    for chunk in bytes.chunks(57) {
        harness.push(gst::Buffer::from_mut_slice(chunk.to_vec())).unwrap();
    }
    harness.push_event(gst::event::Eos::new());
    for (i, unit) in units.iter().enumerate() {
        let frame = harness.pull().unwrap();
        assert_eq!(frame.map_readable().unwrap().as_slice(), unit.map_readable().unwrap().as_slice(), "frame {i}");
        assert_eq!(is_key(&frame), i % 10 == 0, "frame {i}");
    }
    assert!(harness.try_pull().is_none());
}

#[test]
fn states_cycle() {
    init();
    for name in ["ngcenc", "ngcdec"] {
        let element = element(name);
        for state in
            [gst::State::Ready, gst::State::Paused, gst::State::Ready, gst::State::Null, gst::State::Paused, gst::State::Null]
        {
            element.set_state(state).unwrap();
        }
    }
}
