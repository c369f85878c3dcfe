//! The element `ngcdec`.

mod imp;
mod output;
mod settings;

use gst::glib;
use gst::prelude::*;

/// What stands in for frames that are lost or damaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNgcDecConceal")]
pub enum Conceal {
    /// They are dropped.
    #[enum_value(name = "Nothing: they are dropped", nick = "none")]
    None,
    /// The last frame.
    #[default]
    #[enum_value(name = "The last frame again", nick = "freeze")]
    Freeze,
    /// The last frame and its motion.
    #[enum_value(name = "The last frame, moved on as it moved before", nick = "predict")]
    Predict,
}

glib::wrapper! {
    pub struct NgcDec(ObjectSubclass<imp::NgcDec>) @extends gst_video::VideoDecoder, gst::Element, gst::Object;
}

/// Registers `ngcdec`.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "ngcdec", gst::Rank::PRIMARY, NgcDec::static_type())
}
