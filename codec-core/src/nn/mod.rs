//! The networks, on libtorch.

pub mod blocks;
pub mod codec;
pub mod config;
mod dct;
pub mod entropy;
pub mod layers;
pub mod ops;
mod paper;
pub mod params;
pub mod paths;
mod postfilter;
mod prices;
pub mod transfer;
pub mod transform;
pub mod uflow;

pub use codec::Networks;
pub use config::{FlowConfig, ModelConfig, Profile, TransformConfig};
pub use params::{ParamStore, Precision};
pub use postfilter::{Postfilter, PostfilterConfig};

impl From<tch::TchError> for crate::Error {
    fn from(error: tch::TchError) -> Self {
        let text = error.to_string();
        // libtorch appends a C++ backtrace; the first line says what happened.
        let first = text.lines().next().unwrap_or_default().to_owned();
        if text.contains("out of memory") || text.contains("not enough memory") {
            Self::OutOfMemory(format!("{first}; use a smaller frame or another device"))
        } else {
            Self::Device(format!("libtorch: {first}"))
        }
    }
}
