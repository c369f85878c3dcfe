//! The element `ngcparse`.

mod duration;
mod imp;
mod index;
mod negotiate;
mod raw;
mod times;

use gst::glib;
use gst::prelude::*;

glib::wrapper! {
    pub struct NgcParse(ObjectSubclass<imp::NgcParse>) @extends gst_base::BaseParse, gst::Element, gst::Object;
}

/// Registers `ngcparse`.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "ngcparse", gst::Rank::PRIMARY + 1, NgcParse::static_type())
}
