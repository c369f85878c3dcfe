//! Recognises raw NGC streams.

use codec_core::bitstream::MAGIC;
use gst::glib;

/// Files of raw NGC start with the marker of an I unit. Nothing is allocated by what the file says.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    let caps = crate::caps::plain();
    gst::TypeFind::register(
        Some(plugin),
        crate::caps::MEDIA_TYPE,
        gst::Rank::PRIMARY,
        Some("ngc"),
        Some(&crate::caps::plain()),
        move |finder| {
            if finder.peek(0, MAGIC.len() as u32) == Some(&MAGIC[..]) {
                finder.suggest(gst::TypeFindProbability::Maximum, &caps);
            }
        },
    )
}
