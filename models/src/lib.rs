//! The model that `codec-core` decodes and encodes with unless it is given another. The model card is this crate's README.

#![no_std]
#![deny(missing_docs)]

/// The built-in model of the `rt` profile: the bytes of a safetensors file.
pub static RT: &[u8] = include_bytes!("../rt.safetensors");
