//! What encoders do.

use gst_check::Harness;

use crate::frames::{FRAME, buffer, caps, drain, element, harness, is_key};

pub const ELEMENTS: [&str; 8] = ["ngcenc", "x264enc", "x265enc", "vp8enc", "vp9enc", "av1enc", "openh264enc", "avenc_ffv1"];
pub const CASES: [&str; 8] = ["frames", "keyframes", "latency", "tags", "sizes", "size change", "0/1 fps", "flush"];
const START: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// The element as users run it, quick where speed is a setting.
fn encoder(name: &str) -> Option<gst::Element> {
    element(match name {
        "vp8enc" | "vp9enc" => return element(&format!("{name} deadline=1")),
        "av1enc" => "av1enc cpu-used=8",
        other => other,
    })
}

/// A cell.
pub fn case(name: &str, case: &str) -> String {
    let Some(element) = encoder(name) else { return "-".into() };
    match case {
        "frames" => frames(&element),
        "keyframes" => keyframes(&element),
        "latency" => latency(&element),
        "tags" => tags(&element),
        "sizes" => sizes(name),
        "size change" => size_change(&element),
        "0/1 fps" => unknown_rate(&element),
        _ => flush(&element),
    }
}

/// All units of 30 frames, with a keyframe forced at frame 10.
fn encode(harness: &mut Harness) -> Vec<gst::Buffer> {
    let caps = caps(64, 48, 30);
    let mut units = Vec::new();
    for i in 0..30 {
        if i == 10 {
            harness.push_upstream_event(gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build());
        }
        if harness.push(buffer(&caps, i, START + FRAME * i)).is_err() {
            break;
        }
        units.extend(drain(harness));
    }
    harness.push_event(gst::event::Eos::new());
    units.extend(drain(harness));
    units
}

fn frames(element: &gst::Element) -> String {
    let units = encode(&mut harness(element, &caps(64, 48, 30)));
    let mut times: Vec<_> = units.iter().filter_map(|unit| unit.pts()).collect();
    times.sort();
    let regular = times.len() == 30 && times.iter().enumerate().all(|(i, t)| *t == times[0] + FRAME * i as u64);
    let verdict = match times.first() {
        Some(first) if regular && *first == START => "exact".to_owned(),
        Some(first) if regular => format!("exact + {} h", (first.saturating_sub(START).seconds() + 1800) / 3600),
        _ => "not exact".to_owned(),
    };
    format!("{}, {verdict}", units.len())
}

fn keyframes(element: &gst::Element) -> String {
    let units = encode(&mut harness(element, &caps(64, 48, 30)));
    let keys: Vec<String> = units.iter().enumerate().filter(|(_, unit)| is_key(unit)).map(|(i, _)| i.to_string()).collect();
    keys.join(", ")
}

fn latency(element: &gst::Element) -> String {
    let mut harness = harness(element, &caps(64, 48, 30));
    encode(&mut harness);
    harness.query_latency().map_or("none".into(), |latency| format!("{:.3} s", latency.nseconds() as f64 / 1e9))
}

fn tags(element: &gst::Element) -> String {
    let mut harness = harness(element, &caps(64, 48, 30));
    encode(&mut harness);
    let mut names: Vec<String> = Vec::new();
    while let Some(event) = harness.try_pull_event() {
        if let gst::EventView::Tag(tag) = event.view() {
            names.extend(tag.tag().iter().map(|(name, _)| name.to_string()));
        }
    }
    names.sort();
    names.dedup();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn sizes(name: &str) -> String {
    let works = |(width, height): (i32, i32)| {
        let Some(element) = encoder(name) else { return false };
        let caps = caps(width, height, 30);
        let mut harness = harness(&element, &caps);
        let pushed = (0..3).all(|i| harness.push(buffer(&caps, i, FRAME * i)).is_ok());
        pushed && harness.push_event(gst::event::Eos::new()) && drain(&mut harness).len() == 3
    };
    [(1, 1), (2, 2), (17, 13), (65, 49)].map(|size| if works(size) { "yes" } else { "no" }).join("/")
}

fn size_change(element: &gst::Element) -> String {
    let mut harness = harness(element, &caps(64, 48, 30));
    let mut units = Vec::new();
    for (part, caps) in [caps(64, 48, 30), caps(128, 96, 30)].into_iter().enumerate() {
        harness.set_src_caps(caps.clone());
        for i in 0..10 {
            let number = 10 * part as u64 + i;
            if harness.push(buffer(&caps, number, FRAME * number)).is_err() {
                return format!("{} out, refused", units.len());
            }
            units.extend(drain(&mut harness));
        }
    }
    harness.push_event(gst::event::Eos::new());
    units.extend(drain(&mut harness));
    let key = units.get(10).is_some_and(is_key);
    format!("{} out{}", units.len(), if key { ", key" } else { "" })
}

fn unknown_rate(element: &gst::Element) -> String {
    let caps = caps(64, 48, 0);
    let mut harness = harness(element, &caps);
    let mut units = Vec::new();
    for (i, ms) in [0u64, 40, 41, 500, 1000, 1033].into_iter().enumerate() {
        if harness.push(buffer(&caps, i as u64, gst::ClockTime::from_mseconds(ms))).is_err() {
            return "refused".into();
        }
        units.extend(drain(&mut harness));
    }
    harness.push_event(gst::event::Eos::new());
    units.extend(drain(&mut harness));
    format!("{} of 6", units.len())
}

fn flush(element: &gst::Element) -> String {
    let caps = caps(64, 48, 30);
    let mut harness = harness(element, &caps);
    for i in 0..5 {
        if harness.push(buffer(&caps, i, FRAME * i)).is_err() {
            return "refused".into();
        }
    }
    drain(&mut harness);
    harness.push_event(gst::event::FlushStart::new());
    harness.push_event(gst::event::FlushStop::builder(true).build());
    harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    for i in 5..10 {
        if harness.push(buffer(&caps, i, FRAME * i)).is_err() {
            return "refused".into();
        }
    }
    harness.push_event(gst::event::Eos::new());
    match drain(&mut harness).first() {
        Some(first) if is_key(first) => "key".into(),
        Some(_) => "no key".into(),
        None => "nothing comes out".into(),
    }
}
