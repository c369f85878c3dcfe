//! NGC: a GAN-trained neural video codec.
//!
//! Data flows one way: a [`frame`] goes through the networks (`nn`) to integers, which [`entropy`] codes exactly, into the
//! units of the [`bitstream`]; decoding goes back the same way. `bitstream`, `entropy`, `frame`, `kernels`, `flow`, `loopfilter`, `motion`, `rate` and `scene` build
//! without libtorch; the networks, `Encoder` and `Decoder` need the feature `torch`.

pub mod bitstream;
#[cfg(feature = "torch")]
pub mod device;
pub mod entropy;
pub mod error;
pub mod flow;
pub mod frame;
pub mod kernels;
pub mod limits;
pub mod loopfilter;
#[cfg(feature = "torch")]
pub mod model;
pub mod motion;
#[cfg(feature = "torch")]
pub mod nn;
#[cfg(feature = "torch")]
mod pipeline;
pub mod quality;
pub mod rate;
pub mod scene;

#[cfg(feature = "torch")]
pub use device::DeviceSpec;
pub use error::{Error, Result};
pub use limits::Limits;
#[cfg(feature = "torch")]
pub use model::ModelSource;
#[cfg(feature = "torch")]
pub use nn::{ModelConfig, Networks, ParamStore};
#[cfg(feature = "torch")]
pub use pipeline::{
    Concealment, DecodedFrame, Decoder, DecoderConfig, Encoder, EncoderConfig, FrameOptions, Picture, Speed, StageTimes, Unit,
    estimated_memory,
};
