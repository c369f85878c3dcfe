//! Training data: from photos and clips to random space-time crops.
//!
//! [`mod@prepare`] decodes the sources once into shards of planar 4:2:0 (BT.601, limited range);
//! [`Sampler`] maps the shards and cuts batches out of them. A batch depends only on the seed, the
//! training step and the worker, so an interrupted run resumes without any generator state.

#[cfg(feature = "gstreamer")]
mod compact;
#[cfg(feature = "gstreamer")]
mod decode;
mod error;
mod graphics;
mod i420;
#[cfg(feature = "gstreamer")]
mod manifest;
mod motion;
mod pack;
#[cfg(feature = "gstreamer")]
mod photo;
#[cfg(feature = "gstreamer")]
mod prepare;
mod resample;
pub(crate) mod rng;
mod sampler;
#[cfg(feature = "gstreamer")]
mod scenes;
mod shard;
#[cfg(test)]
pub mod testing;
mod thumbnail;

#[cfg(feature = "gstreamer")]
pub use decode::{ScalePolicy, decode_clip};
pub use i420::Size;
#[cfg(feature = "gstreamer")]
pub use manifest::{plain, read_manifest};
pub use pack::{PackOptions, pack};
#[cfg(feature = "gstreamer")]
pub use prepare::{PrepareOptions, prepare};
pub use sampler::{ClipBatch, Cut, Sampler, SamplerOptions, WithCuts};
pub use shard::{Entry, Kind, ShardSet, Split};
