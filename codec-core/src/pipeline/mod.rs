//! Encoder and decoder: frames to units and back.
//!
//! The API follows rav1e: `send_frame` / `receive_unit` / `flush`, and the mirror image for decoding.

mod decoder;
mod encoder;
mod reconstruct;
mod tensors;
mod times;

pub use decoder::{DecodedFrame, Decoder, DecoderConfig};
pub use encoder::{Encoder, EncoderConfig, FrameOptions, Unit};
pub use times::StageTimes;
