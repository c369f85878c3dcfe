//! What the example programs share.

use gst::prelude::*;

pub mod failure;
pub mod interrupt;
pub mod loss;
pub mod reader;
pub mod rtp;
pub mod size;
pub mod span;
pub mod stable;

pub use failure::{Failure, Kind};
pub use interrupt::Interrupt;

/// GStreamer, and the elements of NGC: from where plugins are installed, else from beside this program, where cargo puts them.
///
/// # Errors
/// [`Kind::Plugin`] where there are none.
pub fn init() -> Result<(), Failure> {
    gst::init().map_err(|e| Failure::new(Kind::Plugin, format!("GStreamer does not start: {e}")))?;
    let found = || gst::ElementFactory::find("ngcenc").is_some();
    if !found() {
        let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("libgstngc.so")));
        if let Some(plugin) = beside.filter(|path| path.exists()).and_then(|path| gst::Plugin::load_file(path).ok()) {
            let _ = gst::Registry::get().add_plugin(&plugin);
        }
    }
    if found() { Ok(()) } else { Err(missing("ngcenc", "install the NGC plugin, or set GST_PLUGIN_PATH to its folder")) }
}

/// Whether a file can be read. GStreamer's own error does not say which file it is about.
///
/// # Errors
/// [`Kind::Input`] naming the file.
pub fn readable(path: &std::path::Path) -> Result<(), Failure> {
    let data = std::fs::File::open(path).and_then(|file| file.metadata());
    let data = data.map_err(|e| Failure::new(Kind::Input, format!("{}: {e}", path.display())))?;
    if data.is_dir() { Err(Failure::new(Kind::Input, format!("{} is a folder", path.display()))) } else { Ok(()) }
}

/// Prints a line to standard output.
///
/// # Errors
/// [`Kind::Encode`] if nobody can read it: the reader has gone, or the disk is full. `println!` would panic.
pub fn print(line: impl std::fmt::Display) -> Result<(), Failure> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{line}").map_err(|e| Failure::new(Kind::Encode, format!("standard output: {e}")))
}

/// Prints a line to standard error, if anybody reads it. `eprintln!` would panic where nobody does.
pub fn say(line: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// That an element is missing, and what to do.
pub fn missing(element: &str, cure: &str) -> Failure {
    Failure::new(Kind::Plugin, format!("the GStreamer element {element} is missing: {cure}"))
}

/// Makes an element.
///
/// # Errors
/// [`Kind::Plugin`] where it is missing.
pub fn make(element: &str) -> Result<gst::Element, Failure> {
    gst::ElementFactory::make(element).build().map_err(|_| missing(element, "install GStreamer's plugin sets base, good and bad"))
}

/// Keeps events away that say "nothing comes here yet". Decoders that have seen no frame answer them with a size of their own choice.
///
/// `always`: later ones too.
pub fn drop_gaps(pad: &gst::Pad, always: bool) {
    let started = std::sync::atomic::AtomicBool::new(false);
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        use std::sync::atomic::Ordering::Relaxed;
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(_)) => started.store(true, Relaxed),
            Some(gst::PadProbeData::Event(event))
                if event.type_() == gst::EventType::Gap && (always || !started.load(Relaxed)) =>
            {
                // An event that is dropped makes GStreamer 1.22 complain; one that nobody knows does not.
                *event = gst::event::CustomDownstream::new(gst::Structure::new_empty("ngc-examples-nothing"));
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// The pad of a new sink that takes anything, at any speed.
pub fn nowhere(pipeline: &gst::Pipeline) -> Option<gst::Pad> {
    let sink = gst::ElementFactory::make("fakesink").property("sync", false).property("async", false).build().ok()?;
    pipeline.add(&sink).ok()?;
    sink.sync_state_with_parent().ok()?;
    sink.static_pad("sink")
}
