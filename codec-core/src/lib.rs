//! NGC: a GAN-trained neural video codec.
//!
//! Data flows one way: a [`frame`] goes through the networks ([`rt`]) to integers, which [`entropy`] codes exactly, into the units of the
//! [`bitstream`]; decoding goes back the same way. All of it is integer arithmetic. With the feature `torch` there are also the float networks
//! (`nn`) that training works on, models of the `paper` profile, and GPUs.

pub mod bitstream;
pub mod device;
pub mod entropy;
pub mod error;
pub mod flow;
pub mod frame;
pub mod integer;
pub mod kernels;
pub mod limits;
pub mod loopfilter;
pub mod model;
pub mod motion;
#[cfg(feature = "torch")]
pub mod nn;
pub(crate) mod pipeline;
pub mod quality;
pub mod rate;
pub mod rt;
pub mod scene;
pub mod threads;

pub use device::DeviceSpec;
pub use error::{Error, Result};
pub use limits::Limits;
pub use model::ModelSource;
pub use model::config::ModelConfig;
#[cfg(feature = "torch")]
pub use nn::{Networks, ParamStore};
pub use pipeline::{
    Concealment, DecodedFrame, Decoder, DecoderConfig, Encoder, EncoderConfig, FrameOptions, Picture, Speed, StageTimes, Unit,
    estimated_memory,
};
