//! Codec errors as GStreamer errors: the right domain, and a text that names the thing and the cure.

use std::sync::Mutex;

use codec_core::{Error, ThreadShortage};
use gst::prelude::*;

/// Says so where the process may not start as many threads as it has processors; the work is done by fewer.
pub fn warn_of_shortage(element: &impl IsA<gst::Element>, threads: usize) {
    if let Some(ThreadShortage { started, wanted }) = ThreadShortage::check().filter(|_| threads != 1) {
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
        _ => gst::element_error!(element, gst::StreamError::Failed, ("{text}")),
    }
}

/// Posts errors that negotiation would repeat: each but once.
#[derive(Debug, Default)]
pub struct Once {
    last: Mutex<String>,
}

impl Once {
    /// As [`post`], unless the same was said last.
    pub fn post(&self, element: &impl IsA<gst::Element>, error: &Error) {
        let text = error.to_string();
        // The words alone: how much memory is free changes from one attempt to the next.
        let words: String = text.chars().filter(|c| !c.is_ascii_digit()).collect();
        if std::mem::replace(&mut *self.last.lock().unwrap(), words.clone()) != words {
            post(element, error);
        }
    }

    /// Says all anew from now on.
    pub fn forget(&self) {
        self.last.lock().unwrap().clear();
    }
}
