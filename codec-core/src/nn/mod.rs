//! The networks in floats, on libtorch.
//!
//! In: frames and motion as tensors, parameters by name. Out: pictures, latents and estimated bits, with gradients. `model` turns what was
//! learned into integers.

pub mod activation;
pub mod blocks;
pub mod codec;
mod dct;
pub mod device;
pub mod entropy;
pub mod fixed;
pub mod frames;
mod frozen;
pub mod intra;
pub mod layers;
pub mod ops;
mod paper;
pub mod params;
pub mod paths;
mod postfilter;
mod rest;
pub mod role;
mod rotate;
pub mod transfer;
pub mod transform;
pub mod uflow;

pub use crate::architecture::{Estimator, FlowConfig, ModelConfig, PostfilterConfig, Profile, TransformConfig};
pub use codec::Networks;
pub use params::{ParamStore, Precision};
pub use postfilter::{Postfilter, whole};
pub use role::{Form, Network, Part, Role};

impl From<tch::TchError> for crate::Error {
    fn from(error: tch::TchError) -> Self {
        let text = error.to_string();
        // libtorch appends a C++ backtrace; the first line says what happened.
        let first = text.lines().next().unwrap_or_default().to_owned();
        let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
        if says(&["out of memory", "not enough memory", "can't allocate memory"]) {
            Self::OutOfMemory(format!("{first}; use a smaller frame or another device"))
        } else if says(&["CUDA", "cuDNN", "CUDNN", "cublas", "CUBLAS", "NVRTC"]) {
            Self::Device(format!("libtorch: {first}; use device=cpu"))
        } else {
            Self::Internal(format!("libtorch: {first}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Error;

    fn class(text: &str) -> Error {
        tch::TchError::Torch(text.into()).into()
    }

    #[test]
    fn libtorchs_errors_have_classes() {
        assert!(
            matches!(class("CUDA out of memory. Tried to allocate 2 GiB\nframe #0"), Error::OutOfMemory(m) if !m.contains('#'))
        );
        assert!(matches!(class("CUDA error: device-side assert triggered"), Error::Device(m) if m.contains("device=cpu")));
        assert!(matches!(class("The size of tensor a (3) must match the size of tensor b (4)"), Error::Internal(_)));
    }
}
