//! What the example programs share.

pub mod failure;
pub mod size;

pub use failure::{Failure, Kind};

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
