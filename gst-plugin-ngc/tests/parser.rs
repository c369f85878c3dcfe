//! Behaviour of `ngcparse`, as applications see it.

mod common;

use common::*;
use gst_check::Harness;

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
