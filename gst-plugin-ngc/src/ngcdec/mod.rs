//! The element `ngcdec`.

mod detail_file;
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

/// Which postfilter adds the detail that the stream asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNgcDecDetailModel")]
pub enum DetailModel {
    /// By what there is.
    #[default]
    #[enum_value(name = "The rich filter if there is a detail file and a GPU is used, else the fast one", nick = "auto")]
    Auto,
    /// The model's.
    #[enum_value(name = "The filter of the model", nick = "fast")]
    Fast,
    /// The detail file's.
    #[enum_value(name = "The larger filter of a detail file", nick = "rich")]
    Rich,
    /// None.
    #[enum_value(name = "No filter: fastest, and highest PSNR", nick = "off")]
    Off,
}

impl From<DetailModel> for codec_core::DetailModel {
    fn from(which: DetailModel) -> Self {
        match which {
            DetailModel::Auto => Self::Auto,
            DetailModel::Fast => Self::Fast,
            DetailModel::Rich => Self::Rich,
            DetailModel::Off => Self::Off,
        }
    }
}

glib::wrapper! {
    pub struct NgcDec(ObjectSubclass<imp::NgcDec>) @extends gst_video::VideoDecoder, gst::Element, gst::Object;
}

/// Registers `ngcdec`.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "ngcdec", gst::Rank::PRIMARY, NgcDec::static_type())
}
