//! The element `ngcenc`.

mod imp;
mod settings;

use gst::glib;
use gst::prelude::*;

glib::wrapper! {
    pub struct NgcEnc(ObjectSubclass<imp::NgcEnc>) @extends gst_video::VideoEncoder, gst::Element, gst::Object, @implements gst::Preset;
}

/// Registers `ngcenc`.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "ngcenc", gst::Rank::NONE, NgcEnc::static_type())
}
