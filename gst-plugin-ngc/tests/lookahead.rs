//! `ngcenc` with a lookahead: frames wait, and all of them come out.

mod common;

use common::*;
use gst::prelude::*;
use gst_check::Harness;

fn looking_ahead(caps: &gst::Caps, frames: i32) -> Harness {
    init();
    let element = element("ngcenc");
    element.set_property("lookahead", frames);
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    harness.set_src_caps(caps.clone());
    harness
}

fn units(harness: &mut Harness) -> Vec<gst::Buffer> {
    std::iter::from_fn(|| harness.try_pull()).collect()
}

#[test]
fn frames_wait_and_the_end_lets_them_go() {
    let caps = raw_caps("I420", 64, 48, 25);
    for b_frames in [false, true] {
        let mut harness = looking_ahead(&caps, 5);
        // Before the caps it would count; this element starts anew.
        let element = harness.element().unwrap();
        element.set_state(gst::State::Ready).unwrap();
        element.set_property("b-frames", b_frames);
        element.set_state(gst::State::Playing).unwrap();
        harness.push_event(gst::event::StreamStart::new("frames"));
        harness.push_event(gst::event::Caps::new(&caps));
        harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
        let (start, gap) = (gst::ClockTime::from_seconds(5), gst::ClockTime::from_mseconds(40));
        // Two frames come out together where they may be a pair: all but the keyframes.
        let waiting = if b_frames { [1, 2, 3, 4, 5, 6, 6, 5, 6, 5, 6, 5] } else { [1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 5, 5] };
        let mut out = Vec::new();
        for i in 0..12 {
            if i == 7 {
                harness.push_upstream_event(gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build());
            }
            harness.push(raw_buffer(&caps, i, start + gap * i)).unwrap();
            out.extend(units(&mut harness));
            assert_eq!(i as usize + 1 - out.len(), waiting[i as usize], "frame {i}");
        }
        assert_eq!(harness.query_latency(), Some(gap * if b_frames { 6 } else { 5 }));
        harness.push_event(gst::event::Eos::new());
        out.extend(units(&mut harness));
        assert_eq!(out.len(), 12);
        for (i, unit) in out.iter().enumerate() {
            assert_eq!((unit.pts(), unit.dts()), (Some(start + gap * i as u64), Some(start + gap * i as u64)));
            assert_eq!(is_key(unit), i == 0 || i == 7, "frame {i}");
        }
        let shown = |unit: &gst::Buffer| unit.map_readable().unwrap()[1] == 0x84;
        assert_eq!(out.iter().any(shown), b_frames);
    }
}

#[test]
fn a_bitrate_has_no_b_frames_and_no_delay_for_them() {
    let caps = raw_caps("I420", 64, 48, 25);
    init();
    let element = element("ngcenc");
    element.set_property("lookahead", 5);
    element.set_property_from_str("rate-control", "vbr");
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    harness.set_src_caps(caps.clone());
    for i in 0..8 {
        harness.push(raw_buffer(&caps, i, FRAME * i)).unwrap();
    }
    assert_eq!(harness.query_latency(), Some(gst::ClockTime::from_mseconds(200)));
    harness.push_event(gst::event::Eos::new());
    assert!(units(&mut harness).iter().all(|unit| unit.map_readable().unwrap()[1] != 0x84));
}

#[test]
fn a_new_size_lets_waiting_frames_go_and_a_flush_drops_them() {
    let small = raw_caps("I420", 64, 48, 25);
    let mut harness = looking_ahead(&small, 10);
    let pts = |i: u64| gst::ClockTime::from_mseconds(40 * i);
    for i in 0..3 {
        harness.push(raw_buffer(&small, i, pts(i))).unwrap();
    }
    assert!(units(&mut harness).is_empty());
    let large = raw_caps("I420", 128, 96, 25);
    harness.set_src_caps(large.clone());
    let out = units(&mut harness);
    assert_eq!(out.iter().map(is_key).collect::<Vec<_>>(), [true, false, false]);
    harness.push(raw_buffer(&large, 3, pts(3))).unwrap();
    harness.push_event(gst::event::FlushStart::new());
    harness.push_event(gst::event::FlushStop::builder(true).build());
    harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    for i in 10..12 {
        harness.push(raw_buffer(&large, i, pts(i))).unwrap();
    }
    harness.push_event(gst::event::Eos::new());
    let out: Vec<_> = units(&mut harness).iter().map(|unit| (unit.pts(), is_key(unit))).collect();
    assert_eq!(out, [(Some(pts(10)), true), (Some(pts(11)), false)]);
}

#[test]
fn nothing_waits_where_the_source_is_live() {
    let caps = raw_caps("I420", 64, 48, 25);
    for (live, out) in [(true, 3), (false, 0)] {
        init();
        let mut harness = Harness::with_element(&element_as_it_is("ngcenc"), Some("sink"), Some("src"));
        harness.set_live(live);
        harness.set_src_caps(caps.clone());
        for i in 0..3 {
            harness.push(raw_buffer(&caps, i, FRAME * i)).unwrap();
        }
        assert_eq!(units(&mut harness).len(), out, "live: {live}");
        harness.push_event(gst::event::Eos::new());
        assert_eq!(units(&mut harness).len(), 3 - out, "live: {live}");
    }
}

#[test]
fn refused_caps_leave_the_element_usable() {
    let caps = raw_caps("I420", 64, 48, 25);
    let mut harness = looking_ahead(&caps, 4);
    harness.push(raw_buffer(&caps, 0, FRAME)).unwrap();
    // Too large for decoders.
    let huge = raw_caps("GRAY8", 8192, 8192, 25);
    harness.set_src_caps(huge);
    assert_eq!(harness.push(gst::Buffer::with_size(8192 * 8192).unwrap()), Err(gst::FlowError::NotNegotiated));
    assert_eq!(units(&mut harness).len(), 1);
    let tiny = raw_caps("I420", 1, 1, 25);
    harness.set_src_caps(tiny.clone());
    for i in 1..7 {
        harness.push(raw_buffer(&tiny, i, FRAME * i)).unwrap();
    }
    harness.push_event(gst::event::Eos::new());
    assert_eq!(units(&mut harness).iter().map(is_key).collect::<Vec<_>>(), [true, false, false, false, false, false]);
}

#[test]
fn new_hdr_metadata_lets_waiting_frames_go() {
    let caps = raw_caps("I420", 64, 48, 25);
    let mut harness = looking_ahead(&caps, 4);
    for i in 0..2 {
        harness.push(raw_buffer(&caps, i, FRAME * i)).unwrap();
    }
    let mut lit = caps.clone();
    lit.make_mut().set("content-light-level", "1000:400");
    harness.set_src_caps(lit.clone());
    assert_eq!(units(&mut harness).len(), 2);
    harness.push(raw_buffer(&lit, 2, FRAME * 2)).unwrap();
    harness.push_event(gst::event::Eos::new());
    assert_eq!(units(&mut harness).iter().map(is_key).collect::<Vec<_>>(), [true]);
}

#[test]
fn nothing_leaves_early_in_a_pause() {
    let caps = raw_caps("I420", 64, 48, 25);
    let mut harness = looking_ahead(&caps, 20);
    for i in 0..3 {
        harness.push(raw_buffer(&caps, i, FRAME * i)).unwrap();
    }
    let element = harness.element().unwrap();
    element.set_state(gst::State::Paused).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert!(harness.try_pull().is_none());
    element.set_state(gst::State::Playing).unwrap();
    harness.push_event(gst::event::Eos::new());
    assert_eq!(units(&mut harness).len(), 3);
}

#[test]
fn frames_do_not_wait_for_ever_for_others() {
    let caps = raw_caps("I420", 64, 48, 25);
    let mut harness = looking_ahead(&caps, 20);
    let bus = gst::Bus::new();
    harness.element().unwrap().set_bus(Some(&bus));
    for i in 0..3 {
        harness.push(raw_buffer(&caps, i, FRAME * i)).unwrap();
    }
    assert!(harness.try_pull().is_none());
    // This waits until one comes.
    assert_eq!(harness.pull().unwrap().pts(), Some(gst::ClockTime::ZERO));
    let warning = bus.timed_pop_filtered(gst::ClockTime::from_seconds(10), &[gst::MessageType::Warning]).expect("a warning");
    let gst::MessageView::Warning(warning) = warning.view() else { unreachable!() };
    let text = format!("{} {:?}", warning.error(), warning.debug());
    assert!(text.contains("while 3 waited") && text.contains("now 2 frames"), "{text}");
    // As many as there were go on waiting.
    harness.push(raw_buffer(&caps, 3, FRAME * 3)).unwrap();
    assert_eq!(units(&mut harness).len(), 1);
    harness.push_event(gst::event::Eos::new());
    assert_eq!(units(&mut harness).len(), 2);
}

#[test]
fn a_branch_without_room_does_not_stop_the_pipeline() {
    init();
    // Until a unit comes out of the encoder nothing plays, so that the other branch takes no more than its queue holds.
    let text = "videotestsrc num-buffers=40 ! video/x-raw,width=64,height=48,framerate=100/1 ! tee name=t \
        t. ! queue max-size-buffers=3 ! fakesink sync=true  t. ! queue ! ngcenc name=e threads=1 device=cpu ! fakesink";
    let pipeline = gst::parse::launch(text).unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error, gst::MessageType::Warning];
    let message = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds).expect("an end");
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    let stats = pipeline.by_name("e").unwrap().property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("frames"), Ok(40));
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn regions_and_qualities_stay_with_their_frames() {
    let caps = raw_caps("I420", 64, 48, 25);
    let encode = |lookahead: i32| {
        let mut harness = looking_ahead(&caps, lookahead);
        let element = harness.element().unwrap();
        // What the lookahead itself changes must not count.
        element.set_property("key-int-max", 1u32);
        for i in 0..6 {
            element.set_property("quality", if i < 3 { 10u32 } else { 50 });
            let mut buffer = raw_buffer(&caps, i, FRAME * i);
            if i == 4 {
                gst_video::VideoRegionOfInterestMeta::add(buffer.get_mut().unwrap(), "face", (0, 0, 32, 32));
            }
            harness.push(buffer).unwrap();
        }
        harness.push_event(gst::event::Eos::new());
        let units = units(&mut harness);
        units.iter().map(|unit| unit.map_readable().unwrap().to_vec()).collect::<Vec<_>>()
    };
    let (held, at_once) = (encode(4), encode(0));
    assert_eq!(held, at_once);
    assert!(at_once[2].len() > 2 * at_once[3].len() && at_once[4].len() > at_once[5].len());
}
