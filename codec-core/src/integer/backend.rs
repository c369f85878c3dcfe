//! Which instructions the kernels use.

/// A set of instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Any machine.
    Scalar,
}

impl Backend {
    /// The fastest one that this machine has.
    pub fn detect() -> Self {
        Self::Scalar
    }

    /// Whether this machine can run it.
    pub fn available(self) -> bool {
        true
    }
}
