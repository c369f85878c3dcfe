//! Full-resolution work outside the networks, fused: packing, sharpening, flow layout.
//!
//! In: frames of 8 bits. Out: packed values for the networks, and the way back.
//!
//! `threads` says how many threads of the current rayon pool may work on a call, the caller included; 1 stays on the
//! calling thread. Results do not depend on it.

mod detail;
pub mod flow;
pub mod pack;
pub mod parallel;
pub(crate) mod satd;
pub mod sharpen;
pub(crate) mod simd;
pub(crate) mod texture;
pub mod unpack;
mod upsample;

use crate::{Error, Result};

/// Channels of a packed frame: 64 of luma, 2 x 16 of chroma.
pub const PACKED_CHANNELS: usize = 96;

/// Checks that a buffer of `rows` x `cols` cells with `channels` values each has exactly that length.
fn check_len(name: &str, len: usize, rows: usize, cols: usize, channels: usize) -> Result<()> {
    if len == rows * cols * channels {
        return Ok(());
    }
    Err(Error::InvalidConfig(format!(
        "{name}: {len} values, {rows}x{cols} cells of {channels} channels need {}",
        rows * cols * channels
    )))
}

/// Checks that `used` channels from `offset` on fit into `channels`.
fn check_channels(name: &str, offset: usize, used: usize, channels: usize) -> Result<()> {
    if offset.checked_add(used).is_some_and(|end| end <= channels) {
        return Ok(());
    }
    Err(Error::InvalidConfig(format!("{name}: {used} channels from channel {offset} on do not fit into {channels}")))
}
