//! Encoder and decoder: frames to units and back.
//!
//! The API follows rav1e: `send_frame` / `receive_unit` / `flush`, and the mirror image for decoding.

mod config;
mod decoder;
mod encoder;
pub(crate) mod engine;
mod motion;
mod reconstruct;
mod shown;
mod symbols;
mod times;

pub use config::{EncoderConfig, FrameOptions, Speed, Unit, estimated_memory};
pub use decoder::{Concealment, DecodedFrame, Decoder, DecoderConfig, Picture};
pub use encoder::Encoder;
pub use times::StageTimes;
