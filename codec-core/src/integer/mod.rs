//! Integer convolutions: int16 activations, weights of up to 10 bits, sums in 32 bits.
//!
//! Activations come in as NHWC `[rows][cols][channels]` and go out so. All backends and any number of threads give the same bits:
//! integer sums do not depend on their order, and a layer whose sums could leave 32 bits is refused.

mod area;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod backend;
mod block;
mod dispatch;
mod layer;
mod machine;
#[cfg(target_arch = "aarch64")]
mod neon;
mod packed;
mod params;
mod scalar;
mod stripes;

pub use area::Area;
pub use backend::Backend;
pub use block::{Block, BlockParams};
pub use layer::{Depthwise, Pointwise};
pub use machine::Machine;
pub(crate) use machine::resize;
pub use params::{Activation, LayerParams, MAX_SHIFT};
