//! Why a program failed, and its exit status.

use gst::prelude::*;

/// What went wrong, in classes that a script can tell apart by the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line.
    Usage = 2,
    /// The input: it does not exist, is damaged, or holds no video.
    Input = 3,
    /// A GStreamer plugin is missing.
    Plugin = 4,
    /// Encoding, or writing the output.
    Encode = 5,
    /// The output exists, or another process is writing it.
    Exists = 6,
    /// The result does not stand up to `--verify`.
    Verify = 7,
    /// A signal.
    Interrupted = 130,
}

/// An error with its class.
#[derive(Clone, Debug)]
pub struct Failure {
    pub kind: Kind,
    pub text: String,
}

impl Failure {
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// An error message of the bus, from an element that `kind` is told of.
    pub fn from_message(error: &gst::message::Error, kind: Kind) -> Self {
        let missing =
            error.error().matches(gst::CoreError::MissingPlugin) || error.error().matches(gst::StreamError::CodecNotFound);
        let kind = if missing { Kind::Plugin } else { kind };
        let source = error.src().map(|s| s.name().to_string()).unwrap_or_default();
        Self::new(kind, format!("{} ({source})", error.error()))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}
