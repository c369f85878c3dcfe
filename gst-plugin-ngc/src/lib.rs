//! GStreamer elements of the NGC neural video codec.
//!
//! | element | does |
//! |---|---|
//! | `ngcenc` | raw video to NGC |
//! | `ngcdec` | NGC to raw video |
//! | `ngcparse` | frames raw `.ngc` streams, and adapts NGC to stock muxers and demuxers |

mod caps;
mod colorimetry;
mod error;
mod frame;
mod hdr;
mod interlacing;
mod memory;
mod ngcdec;
mod ngcenc;
mod ngcparse;
mod settings;
mod typefind;

use gst::glib;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    // libtorch is not touched here: the registry scan must succeed on any machine.
    ngcenc::register(plugin)?;
    ngcdec::register(plugin)?;
    ngcparse::register(plugin)?;
    typefind::register(plugin)
}

gst::plugin_define!(
    ngc,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    // GStreamer knows a fixed list of licence names; this one stands for both of ours.
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("BUILD_REL_DATE")
);
