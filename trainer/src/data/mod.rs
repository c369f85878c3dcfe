//! Training data: from photos and clips to random space-time crops.
//!
//! [`prepare`] decodes the sources once into shards of planar 4:2:0 (BT.601, limited range);
//! [`Sampler`] maps the shards and cuts batches out of them. A batch depends only on the seed, the
//! training step and the worker, so an interrupted run resumes without any generator state.

mod compact;
mod decode;
mod error;
mod i420;
mod motion;
mod photo;
mod prepare;
mod resample;
mod rng;
mod sampler;
mod scenes;
mod shard;
mod thumbnail;

pub use decode::{ScalePolicy, decode_clip};
pub use prepare::{PrepareOptions, prepare};
pub use sampler::{ClipBatch, Sampler, SamplerOptions};
pub use shard::Split;
