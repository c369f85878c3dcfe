//! Encoder and decoder.
//!
//! In: frames and settings (encoder), units (decoder). Out: one packet for every frame, one picture for every unit.
//! Both hold a [`reconstruct::Reconstructor`], which turns integers into the picture that the next frame is predicted from; its networks
//! run in an [`engine`].

mod adaptive;
mod config;
mod decoder;
mod detail;
mod detail_model;
mod encoder;
pub(crate) mod engine;
mod estimator;
mod keep;
mod maps;
mod motion;
mod pictures;
mod reconstruct;
mod rest;
mod shown;
mod stream;
mod symbols;
mod times;

pub use config::{EncoderConfig, FrameOptions, Packet, Speed, estimated_decoding_memory, estimated_memory};
pub use decoder::{Concealment, Decoder, DecoderConfig, Picture};
pub use detail_model::DetailModel;
pub use encoder::Encoder;
#[cfg(feature = "training")]
pub use times::StageTimes;
