//! The one error type of codec-core.

/// Result of codec-core's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, in classes that callers act on. Every message names the thing at fault and the cure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data is damaged: a checksum, length or symbol does not fit. Decoding resumes at the next keyframe.
    #[error("corrupt data: {0}")]
    Corrupt(String),
    /// Valid, but made by a newer version or with a feature that this build lacks.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// A size lies beyond the configured [`Limits`](crate::Limits).
    #[error("limit exceeded: {0}")]
    Limit(String),
    /// The model file does not exist or cannot be read.
    #[error("model missing: {0}")]
    ModelMissing(String),
    /// The stream was made with another model, or a model file lacks a tensor or has one of another shape.
    #[error("model mismatch: {0}")]
    ModelMismatch(String),
    /// The asked-for compute device cannot be used.
    #[error("device: {0}")]
    Device(String),
    /// Memory, of the host or of the device, ran out.
    #[error("not enough memory: {0}")]
    OutOfMemory(String),
    /// A computation failed that should not: a defect of this library.
    #[error("internal error: {0}; please report it")]
    Internal(String),
    /// A configuration value lies outside its range.
    #[error("invalid configuration: {0}")]
    InvalidConfig(String),
    /// A P-frame arrived while no reference exists: send a keyframe first.
    #[error("a keyframe is needed before frame {frame_number}")]
    NeedKeyframe {
        /// As far as the unit carries it: the low 16 bits.
        frame_number: u32,
    },
}

impl Error {
    /// Whether the unit is at fault: damaged, or its reference is not there. [`Decoder::conceal`](crate::Decoder::conceal) gives a
    /// stand-in, and decoding goes on at the next keyframe. After any other error it would fail again.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt(_) | Self::NeedKeyframe { .. })
    }
}
