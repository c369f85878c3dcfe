//! What a model is made of.
//!
//! In: the configuration in a model file's metadata. Out: widths, depths and switches that the networks in floats (`nn`) and in integers
//! ([`rt`](crate::rt)) are built by, and constants that both share. Knows nothing of either.

mod config;
pub mod linear;
mod prices;

pub use config::{
    CARRY_START, DetailConfig, Estimator, FlowConfig, ModelConfig, PACKED_CHANNELS, PostfilterConfig, Profile, STRENGTHS,
    TEXTURE_SCALE, TransformConfig,
};
pub use prices::{BitPrices, NO_BIT_PRICES, RESIDUAL_BIT_PRICES};
