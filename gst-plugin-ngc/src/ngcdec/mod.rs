//! The element `ngcdec`.

mod imp;

use gst::glib;
use gst::prelude::*;

glib::wrapper! {
    pub struct NgcDec(ObjectSubclass<imp::NgcDec>) @extends gst_video::VideoDecoder, gst::Element, gst::Object;
}

/// Registers `ngcdec`.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "ngcdec", gst::Rank::PRIMARY, NgcDec::static_type())
}
