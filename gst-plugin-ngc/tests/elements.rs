//! What all elements have in common.

mod common;

use common::*;
use gst::prelude::*;
use gst_check::Harness;

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
