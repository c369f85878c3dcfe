//! Which cubic interpolates.

use serde::{Deserialize, Serialize};

/// Kernel of cubic convolution (Keys, "Cubic convolution interpolation for digital image processing", 1981).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cubic {
    /// a = -3/4, as in libtorch: sharp. Halfway between samples it amplifies some frequencies by up to 3 % a frame.
    #[default]
    Sharp,
    /// a = -1/2, Keys' own: never amplifies, so that no error grows from frame to frame.
    Stable,
}

impl Cubic {
    /// Keys' a.
    pub const fn parameter(self) -> f32 {
        match self {
            Self::Sharp => -0.75,
            Self::Stable => -0.5,
        }
    }
}
