//! The networks, on libtorch.

pub mod activation;
pub mod blocks;
pub mod codec;
mod dct;
pub mod device;
pub mod entropy;
pub mod fixed;
pub mod layers;
pub mod ops;
mod paper;
pub mod params;
pub mod paths;
mod postfilter;
pub mod transfer;
pub mod transform;
pub mod uflow;

pub use crate::architecture::{FlowConfig, ModelConfig, PostfilterConfig, Profile, TransformConfig};
pub use codec::Networks;
pub use params::{ParamStore, Precision};
pub use postfilter::Postfilter;

impl From<tch::TchError> for crate::Error {
    fn from(error: tch::TchError) -> Self {
        let text = error.to_string();
        // libtorch appends a C++ backtrace; the first line says what happened.
        let first = text.lines().next().unwrap_or_default().to_owned();
        if ["out of memory", "not enough memory", "can't allocate memory"].iter().any(|words| text.contains(words)) {
            Self::OutOfMemory(format!("{first}; use a smaller frame or another device"))
        } else {
            Self::Device(format!("libtorch: {first}"))
        }
    }
}
