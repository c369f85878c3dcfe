//! Errors of data preparation and sampling.

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong between the source files and a batch. Every message names the file and a cure.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder could not be read or written.
    #[error("{}: {source}; check that it exists, is accessible and that the disk is not full", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// A source clip or photo could not be decoded.
    #[error("{}: cannot be decoded: {reason}; remove the file, or install the GStreamer plug-in for its format", path.display())]
    Decode { path: PathBuf, reason: String },
    /// A shard or the index is damaged or was written by another version.
    #[error("{}: {reason}; run `prepare` again", path.display())]
    Damaged { path: PathBuf, reason: String },
    /// The data hold nothing that fits the request.
    #[error("{}: {reason}", path.display())]
    NothingFits { path: PathBuf, reason: String },
    /// An option has a value that cannot work.
    #[error("option {option}: {reason}")]
    Option { option: &'static str, reason: String },
    /// GStreamer or one of its elements is missing.
    #[error("GStreamer: {0}; install GStreamer 1.22 with the base and libav plug-ins")]
    GStreamer(String),
}

impl DataError {
    /// Attaches a path to an I/O error; for `map_err`.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| DataError::Io { path, source }
    }

    pub(super) fn decode(path: &Path, reason: impl Into<String>) -> Self {
        DataError::Decode { path: path.to_owned(), reason: reason.into() }
    }

    pub(super) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        DataError::Damaged { path: path.to_owned(), reason: reason.into() }
    }
}
