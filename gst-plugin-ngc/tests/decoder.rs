//! Behaviour of `ngcdec`, as applications see it.

mod common;

use common::*;
use gst::glib;
use gst::prelude::*;
use gst_check::Harness;
use gst_video::prelude::*;

fn decoder(caps: &gst::Caps, conceal: &str) -> Harness {
    init();
    let element = element("ngcdec");
    element.set_property_from_str("conceal", conceal);
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    harness.set_src_caps(caps.clone());
    harness
}

/// A unit with other bytes and the same flags and times.
fn replaced(unit: &gst::Buffer, data: Vec<u8>) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(data);
    unit.copy_into(buffer.get_mut().unwrap(), gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS, ..).unwrap();
    buffer
}

fn bytes(buffer: &gst::BufferRef) -> Vec<u8> {
    buffer.map_readable().unwrap().to_vec()
}

fn keyframe_requests(harness: &mut Harness) -> usize {
    std::iter::from_fn(|| harness.try_pull_upstream_event()).filter(|event| gst_video::ForceKeyUnitEvent::is(event)).count()
}

/// Pushes units, with the one at `damaged` replaced or (`None`) left out; gives back the frames.
fn decode_damaged(harness: &mut Harness, units: &[gst::Buffer], damaged: usize, data: Option<&[u8]>) -> Vec<gst::Buffer> {
    let mut frames = Vec::new();
    for (i, unit) in units.iter().enumerate() {
        match (data, i == damaged) {
            (Some(data), true) => harness.push(replaced(unit, data.to_vec())).unwrap(),
            (None, true) => continue,
            _ => harness.push(unit.clone()).unwrap(),
        };
        frames.extend(std::iter::from_fn(|| harness.try_pull()));
    }
    frames
}

fn is_corrupted(buffer: &gst::Buffer) -> bool {
    buffer.flags().contains(gst::BufferFlags::CORRUPTED)
}

#[test]
fn damage_is_answered_alike() {
    let (caps, units) = units(30);
    let whole = bytes(&units[5]);
    // What is damaged, with what, and the frames that come out clean: all but those from there to the next keyframe.
    let cases: [(&str, Option<Vec<u8>>, usize, usize); 5] = [
        ("truncated", Some(whole[..whole.len() / 2].to_vec()), 5, 25),
        ("garbage", Some(vec![0xa5; 100]), 5, 25),
        ("empty", Some(Vec::new()), 5, 25),
        ("no first keyframe", None, 0, 20),
        ("one frame lost", None, 5, 25),
    ];
    for (name, data, position, clean) in cases {
        for conceal in ["none", "freeze", "predict"] {
            let mut harness = decoder(&caps, conceal);
            let bus = gst::Bus::new();
            harness.element().unwrap().set_bus(Some(&bus));
            let frames = decode_damaged(&mut harness, &units, position, data.as_deref());
            assert_eq!(frames.iter().filter(|f| !is_corrupted(f)).count(), clean, "{name}, {conceal}");
            let concealed = frames.len() - clean;
            let expected = match (conceal, position) {
                // Before the first keyframe there is nothing to show.
                ("none", _) | (_, 0) => 0,
                // A frame that never came has no buffer to be shown in.
                _ => 5 - usize::from(data.is_none()),
            };
            assert_eq!(concealed, expected, "{name}, {conceal}: frames flagged");
            assert!(bus.pop_filtered(&[gst::MessageType::Error]).is_none(), "{name}: an error message");
            assert_eq!(keyframe_requests(&mut harness), 1, "{name}, {conceal}: keyframe requests");
        }
    }
}

#[test]
fn frozen_frames_repeat_the_last_and_predicted_ones_move() {
    // A picture that moves by two samples a frame.
    let caps = raw_caps("I420", 128, 64, 30);
    let mut encoder = encoder(&caps);
    let moving = |i: u64| {
        let mut buffer = raw_buffer(&caps, 0, FRAME * i);
        let mut map = buffer.get_mut().unwrap().map_writable().unwrap();
        for (n, sample) in map.iter_mut().take(128 * 64).enumerate() {
            let x = (n as u64 % 128 + 2 * i) as f64;
            *sample = (128.0 + 60.0 * (x * 0.12).sin() + 30.0 * (n as f64 / 128.0 * 0.3).cos()) as u8;
        }
        drop(map);
        buffer
    };
    let originals: Vec<_> = (0..8).map(moving).collect();
    let units: Vec<_> = originals
        .iter()
        .map(|frame| {
            encoder.push(frame.clone()).unwrap();
            encoder.pull().unwrap()
        })
        .collect();
    let caps = encoder.sinkpad().unwrap().current_caps().unwrap();
    let error = |frame: &gst::Buffer, original: &gst::Buffer| {
        let (a, b) = (bytes(frame), bytes(original));
        a[..128 * 64].iter().zip(&b[..128 * 64]).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>()
    };
    let frozen = decode_damaged(&mut decoder(&caps, "freeze"), &units, 6, Some(&[0; 40]));
    assert_eq!(bytes(&frozen[6]), bytes(&frozen[5]));
    assert_eq!(bytes(&frozen[7]), bytes(&frozen[5]));
    let predicted = decode_damaged(&mut decoder(&caps, "predict"), &units, 6, Some(&[0; 40]));
    assert_eq!(bytes(&predicted[5]), bytes(&frozen[5]));
    assert!(error(&predicted[6], &originals[6]) < 0.7 * error(&frozen[6], &originals[6]));
}

#[test]
fn late_frames_are_dropped_and_leave_the_rest_as_it_is() {
    let (caps, units) = units(20);
    let all: Vec<_> = decode_damaged(&mut decoder(&caps, "freeze"), &units, usize::MAX, None);
    let mut harness = decoder(&caps, "freeze");
    let mut shown = Vec::new();
    for (i, unit) in units.iter().enumerate() {
        if i == 4 {
            // Frame 3 came 100 ms too late: what should be shown before 3 frames from now is hopeless.
            let late = gst::ClockTimeDiff::from(100_000_000i64);
            harness.push_upstream_event(gst::event::Qos::new(gst::QOSType::Underflow, 0.5, late, FRAME * 4u64));
        }
        harness.push(unit.clone()).unwrap();
        shown.extend(std::iter::from_fn(|| harness.try_pull()));
    }
    assert!((12..20).contains(&shown.len()), "{} of 20 frames shown", shown.len());
    for frame in &shown {
        let same = all.iter().find(|f| f.pts() == frame.pts()).unwrap();
        assert_eq!(bytes(frame), bytes(same), "at {:?}", frame.pts());
        assert!(!is_corrupted(frame));
    }
}

#[test]
fn output_formats_hold_the_same_samples() {
    let (caps, units) = units(2);
    let decode = |format: &str| {
        let mut harness = decoder(&caps, "freeze");
        harness.set_sink_caps(gst::Caps::builder("video/x-raw").field("format", format).build());
        harness.push(units[0].clone()).unwrap();
        let frame = harness.pull().unwrap();
        let info = gst_video::VideoInfo::from_caps(&harness.sinkpad().unwrap().current_caps().unwrap()).unwrap();
        let mapped = gst_video::VideoFrame::from_buffer_readable(frame, &info).unwrap();
        let mut components = Vec::new();
        for component in 0..mapped.format_info().n_components() as usize {
            let format = mapped.format_info();
            let plane = format.plane()[component];
            let (step, offset) = (format.pixel_stride()[component] as usize, format.poffset()[component] as usize);
            let (w, h) = if component == 0 { (64, 48) } else { (32, 24) };
            let data = mapped.plane_data(plane).unwrap();
            let stride = mapped.plane_stride()[plane as usize] as usize;
            components.push((0..h * w).map(|i| data[i / w * stride + i % w * step + offset]).collect::<Vec<u8>>());
        }
        components
    };
    let planar = decode("I420");
    assert_eq!(decode("NV12"), planar);
    assert_eq!(decode("YV12"), planar);
    assert_eq!(decode("GRAY8"), planar[..1]);
}

#[test]
fn a_new_size_in_mid_stream_is_negotiated() {
    let (small_caps, small) = units(2);
    let caps = raw_caps("I420", 130, 70, 30);
    let mut encoder = encoder(&caps);
    encoder.push(raw_buffer(&caps, 0, FRAME * 2u64)).unwrap();
    let large = encoder.pull().unwrap();
    // The caps stay those of the small video: what counts is in-band.
    let mut harness = decoder(&small_caps, "freeze");
    for (unit, size) in [(&small[0], (64, 48)), (&small[1], (64, 48)), (&large, (130, 70)), (&small[0], (64, 48))] {
        harness.push(unit.clone()).unwrap();
        harness.pull().unwrap();
        let info = gst_video::VideoInfo::from_caps(&harness.sinkpad().unwrap().current_caps().unwrap()).unwrap();
        assert_eq!((info.width(), info.height()), size);
    }
}

#[test]
fn larger_videos_than_allowed_are_refused_by_name() {
    let (caps, units) = units(1);
    init();
    let element = element("ngcdec");
    element.set_property("max-resolution", 64u64 * 47);
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    harness.set_src_caps(caps);
    assert_eq!(harness.push(units[0].clone()), Err(gst::FlowError::Error));
    let message = bus.pop_filtered(&[gst::MessageType::Error]).expect("an error message");
    let gst::MessageView::Error(error) = message.view() else { unreachable!() };
    assert!(error.error().message().contains("3072"), "{}", error.error().message());
}

#[test]
fn the_postfilter_may_be_switched_off_while_playing() {
    let (faithful, detailed) = (units(4), detailed_units(4, 1.0));
    let show = |(caps, units): &(gst::Caps, Vec<gst::Buffer>), detail_model: &dyn Fn(usize) -> &'static str| -> Vec<Vec<u8>> {
        let mut harness = decoder(caps, "none");
        let element = harness.element().unwrap();
        let frame = |(i, unit): (usize, &gst::Buffer)| {
            element.set_property_from_str("detail-model", detail_model(i));
            harness.push(unit.clone()).unwrap();
            bytes(&harness.pull().unwrap())
        };
        units.iter().enumerate().map(frame).collect()
    };
    let (plain, filtered) = (show(&faithful, &|_| "auto"), show(&detailed, &|_| "auto"));
    assert!(plain.iter().zip(&filtered).all(|(a, b)| a != b));
    let switched = show(&detailed, &|i| if i == 2 { "off" } else { "fast" });
    let wanted = [&filtered[0], &filtered[1], &plain[2]];
    assert!(switched.iter().zip(wanted).all(|(a, b)| a == b));
    // It starts afresh.
    assert!(switched[3] != plain[3]);
}

#[test]
fn detail_takes_the_place_of_what_the_stream_asks_for() {
    let show = |(caps, units): &(gst::Caps, Vec<gst::Buffer>), properties: &[(&str, glib::Value)]| -> Vec<Vec<u8>> {
        let mut harness = decoder(caps, "none");
        let element = harness.element().unwrap();
        properties.iter().for_each(|(name, value)| element.set_property_from_value(name, value));
        let frame = |unit: &gst::Buffer| {
            harness.push(unit.clone()).unwrap();
            bytes(&harness.pull().unwrap())
        };
        units.iter().map(frame).collect()
    };
    let streams = [0.0, 1.0].map(|detail| detailed_units(2, detail));
    let [faithful, detailed] = streams.each_ref().map(|stream| show(stream, &[]));
    assert_ne!(faithful, detailed);
    assert_eq!(show(&streams[1], &[("detail", 0.0f64.to_value())]), faithful);
    assert_eq!(show(&streams[1], &[("detail", (-1.0f64).to_value())]), detailed);
    assert_ne!(show(&streams[0], &[("detail", 1.0f64.to_value())]), faithful);
    let mut harness = decoder(&streams[1].0, "none");
    harness.element().unwrap().set_property_from_str("detail-model", "off");
    harness.push(streams[1].1[0].clone()).unwrap();
    assert_eq!(bytes(&harness.pull().unwrap()), faithful[0]);
}

#[test]
fn a_rich_filter_needs_a_file() {
    let (caps, units) = detailed_units(2, 1.0);
    init();
    let element = element("ngcdec");
    element.set_property_from_str("detail-model", "rich");
    element.set_property("detail-file", "/nowhere/rich.safetensors");
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    harness.set_src_caps(caps.clone());
    assert!(harness.push(units[0].clone()).is_err());
    let message = bus.pop_filtered(&[gst::MessageType::Error]).expect("an error message");
    let gst::MessageView::Error(error) = message.view() else { unreachable!() };
    assert!(error.error().message().contains("/nowhere/rich.safetensors"), "{}", error.error().message());

    // Before it is asked for, nothing is missing.
    let mut harness = decoder(&caps, "none");
    let element = harness.element().unwrap();
    element.set_property("detail-file", "/nowhere/rich.safetensors");
    harness.push(units[0].clone()).unwrap();
    harness.pull().unwrap();
    element.set_property_from_str("detail-model", "rich");
    assert_eq!(harness.push(units[1].clone()), Err(gst::FlowError::Error));
}

#[test]
fn a_keyframe_that_does_not_come_is_asked_for_again() {
    let caps = raw_caps("I420", 64, 48, 30);
    let mut encoder = encoder(&caps);
    let units: Vec<_> = (0..70)
        .map(|i| {
            encoder.push(raw_buffer(&caps, i, FRAME * i)).unwrap();
            encoder.pull().unwrap()
        })
        .collect();
    let caps = encoder.sinkpad().unwrap().current_caps().unwrap();
    let mut harness = decoder(&caps, "freeze");
    // One frame is lost, and no keyframe follows: after 25 more frames, and 25 more, the decoder asks again.
    decode_damaged(&mut harness, &units, 5, None);
    assert_eq!(keyframe_requests(&mut harness), 3);

    // Another loss while waiting is a request of its own.
    let mut harness = decoder(&caps, "freeze");
    for (i, unit) in units[..12].iter().enumerate() {
        let mut unit = unit.clone();
        match i {
            3 | 7 => continue,
            4 | 8 => unit.make_mut().set_flags(gst::BufferFlags::DISCONT),
            _ => {}
        }
        harness.push(unit).unwrap();
    }
    assert_eq!(keyframe_requests(&mut harness), 2);
}
