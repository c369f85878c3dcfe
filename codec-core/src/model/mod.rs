//! Model files: one safetensors file with the configuration in its metadata, the integer networks that make parsing and, in the `rt`
//! profile, pictures exact, and the float weights of the `paper` profile. Detail files hold a postfilter alone.
//!
//! In: a file. Out: integer networks that run ([`rt`](crate::rt), [`entropy`](crate::entropy)). With libtorch also the way back: what was
//! learned (`nn`) becomes integers and a file.

#[cfg(feature = "torch")]
pub mod calibrate;
mod container;
mod detail;
#[cfg(feature = "torch")]
pub(crate) mod entropy;
mod file;
#[cfg(feature = "torch")]
mod floats;
#[cfg(feature = "torch")]
pub mod quantise;
#[cfg(any(feature = "torch", feature = "training"))]
mod write;

pub use detail::DetailFile;
pub use file::{Model, ModelId, ModelSource, read_metadata};
#[cfg(feature = "torch")]
pub use floats::{load_detail, load_networks, load_uflow, read_float_tensors, write_detail, write_model};
#[cfg(any(feature = "torch", feature = "training"))]
pub use write::detail_file;
#[cfg(feature = "training")]
pub use write::{with_postfilter, with_tables};
