//! Model files: one safetensors file with the configuration in its metadata, float weights of the transforms, and the
//! integer entropy networks and tables that make parsing exact.

mod file;
mod integer;

pub use file::{DETAIL_PREFIX, Model, ModelId, ModelSource, read_float_tensors, read_metadata, write_model};
