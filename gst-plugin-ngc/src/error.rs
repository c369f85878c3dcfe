//! Codec errors as GStreamer errors: the right domain, and a text that names the thing and the cure.

use codec_core::Error;
use gst::prelude::*;

/// Says so where the process may not start as many threads as it has processors; the work is done by fewer.
pub fn warn_of_shortage(element: &impl IsA<gst::Element>, threads: usize) {
    if let Some((started, wanted)) = codec_core::threads::shortage().filter(|_| threads != 1) {
        gst::element_warning!(
            element,
            gst::ResourceError::Busy,
            ("only {started} of {wanted} helper threads could be started, so frames take longer; raise the limit on processes (ulimit -u, or pids.max of the control group)")
        );
    }
}

/// Posts an error message that says what `error` says.
pub fn post(element: &impl IsA<gst::Element>, error: &Error) {
    let text = error.to_string();
    match error {
        Error::ModelMissing(_) => gst::element_error!(element, gst::ResourceError::NotFound, ("{text}")),
        Error::ModelMismatch(_) => gst::element_error!(element, gst::StreamError::WrongType, ("{text}")),
        Error::Device(_) => gst::element_error!(element, gst::ResourceError::OpenRead, ("{text}")),
        Error::OutOfMemory(_) => gst::element_error!(element, gst::ResourceError::NoSpaceLeft, ("{text}")),
        Error::InvalidConfig(_) | Error::Limit(_) => gst::element_error!(element, gst::LibraryError::Settings, ("{text}")),
        Error::Io { .. } => gst::element_error!(element, gst::ResourceError::Failed, ("{text}")),
        _ => gst::element_error!(element, gst::StreamError::Failed, ("{text}")),
    }
}
