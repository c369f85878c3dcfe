//! The element `ngcenc`.

mod enums;
mod imp;
mod regions;
mod session;
mod settings;
mod stall;
mod stats;

use gst::glib;
use gst::prelude::*;

pub use enums::{AdaptiveQuality, RateControl, SpeedPreset, Tune};

glib::wrapper! {
    pub struct NgcEnc(ObjectSubclass<imp::NgcEnc>) @extends gst_video::VideoEncoder, gst::Element, gst::Object, @implements gst::Preset;
}

/// Registers `ngcenc`.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "ngcenc", gst::Rank::MARGINAL, NgcEnc::static_type())
}
