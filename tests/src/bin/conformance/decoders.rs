//! What decoders do with damage.

use gst::prelude::*;

use crate::frames::{FRAME, buffer, caps, drain, element, harness};

pub const ELEMENTS: [&str; 7] = ["ngcdec", "avdec_h264", "openh264dec", "vp8dec", "vp9dec", "av1dec", "avdec_ffv1"];
pub const CASES: [&str; 6] = ["clean", "no first keyframe", "truncated", "garbage", "empty", "two frames lost"];

/// The encoder of a decoder's format, a keyframe every ten frames, no frames held back.
fn encoder(decoder: &str) -> &'static str {
    match decoder {
        "ngcdec" => "ngcenc key-int-max=10",
        "vp8dec" => "vp8enc keyframe-max-dist=10 deadline=1 lag-in-frames=0",
        "vp9dec" => "vp9enc keyframe-max-dist=10 deadline=1 lag-in-frames=0",
        "av1dec" => "av1enc keyframe-max-dist=10 cpu-used=8",
        "avdec_ffv1" => "avenc_ffv1 gop-size=10",
        _ => "x264enc key-int-max=10 bframes=0 tune=zerolatency option-string=scenecut=0",
    }
}

fn units(decoder: &str) -> Option<(gst::Caps, Vec<gst::Buffer>)> {
    let element = element(encoder(decoder))?;
    let caps = caps(64, 48, 30);
    let mut harness = harness(&element, &caps);
    for i in 0..30 {
        harness.push(buffer(&caps, i, FRAME * i)).ok()?;
    }
    harness.push_event(gst::event::Eos::new());
    let units = drain(&mut harness);
    Some((harness.sinkpad()?.current_caps()?, units))
}

fn replaced(unit: &gst::Buffer, data: Vec<u8>) -> Option<gst::Buffer> {
    let mut buffer = gst::Buffer::from_mut_slice(data);
    unit.copy_into(buffer.get_mut()?, gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS, ..).ok()?;
    Some(buffer)
}

/// A cell.
pub fn case(name: &str, case: &str) -> String {
    let (Some(decoder), Some((caps, mut units))) = (element(name), units(name)) else { return "-".into() };
    let whole: Vec<u8> = units[5].map_readable().map(|map| map.to_vec()).unwrap_or_default();
    match case {
        "no first keyframe" => drop(units.remove(0)),
        "truncated" => units[5] = replaced(&units[5], whole[..whole.len() / 2].to_vec()).expect("a copy"),
        "garbage" => units[5] = replaced(&units[5], vec![0xa5; 100]).expect("a copy"),
        "empty" => units[5] = replaced(&units[5], Vec::new()).expect("a copy"),
        "two frames lost" => drop(units.drain(5..7)),
        _ => {}
    }
    let bus = gst::Bus::new();
    decoder.set_bus(Some(&bus));
    let mut harness = harness(&decoder, &caps);
    let (mut frames, mut requests) = (Vec::new(), 0);
    for unit in units {
        // A refused frame is a result, too: what counts is what comes out.
        let _ = harness.push(unit);
        frames.extend(drain(&mut harness));
    }
    harness.push_event(gst::event::Eos::new());
    frames.extend(drain(&mut harness));
    while let Some(event) = harness.try_pull_upstream_event() {
        requests += usize::from(gst_video::ForceKeyUnitEvent::is(&event));
    }
    let errors = std::iter::from_fn(|| bus.pop_filtered(&[gst::MessageType::Error])).count();
    let corrupted = frames.iter().filter(|f| f.flags().contains(gst::BufferFlags::CORRUPTED)).count();
    let mut cell = format!("{}", frames.len() - corrupted);
    if corrupted > 0 {
        cell.push_str(&format!(" + {corrupted}"));
    }
    for (count, letter) in [(errors, 'E'), (requests, 'K')] {
        if count > 0 {
            cell.push_str(&format!(" {count}{letter}"));
        }
    }
    cell
}
