//! Rate control: which quality index a frame gets, and how many bits it may have at most.
//!
//! In: times and sizes of frames, and what can be told of a frame before it is coded ([`Outlook`]). Out: a quality index and bounds on
//! bits. The time between frames is measured, and a frame rate counts only until one is, so variable and unknown frame rates need
//! nothing special.

mod buffer;
mod controller;
mod outlook;
mod sizes;

pub use buffer::LeakyBucket;
pub use controller::{FramePlan, RateController};
pub use outlook::{Content, Outlook};
pub use sizes::LOG_SIZE_PER_STEP;

use crate::{Error, Result};

/// Longest and shortest buffer in seconds.
const BUFFER_RANGE: std::ops::RangeInclusive<f64> = 0.05..=60.0;

/// What rate control holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RateMode {
    /// The quality index; the size follows.
    #[default]
    Quality,
    /// `bitrate` on average, at most `max_bitrate` over the buffer.
    Variable {
        /// Bits per second, 1000 to 1e10.
        bitrate: f64,
        /// Bits per second, at least `bitrate`.
        max_bitrate: f64,
        /// Seconds that the decoder's rate buffer holds at `max_bitrate`, 0.05 to 60.
        buffer: f64,
    },
    /// `bitrate`, with deviations that the buffer takes up.
    Constant {
        /// Bits per second, 1000 to 1e10.
        bitrate: f64,
        /// Seconds that the decoder's rate buffer holds, 0.05 to 60.
        buffer: f64,
    },
}

impl RateMode {
    /// Checks all values.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] naming the value and its range.
    pub fn validate(&self) -> Result<()> {
        let (bitrate, max_bitrate, buffer) = match *self {
            Self::Quality => return Ok(()),
            Self::Variable { bitrate, max_bitrate, buffer } => (bitrate, max_bitrate, buffer),
            Self::Constant { bitrate, buffer } => (bitrate, bitrate, buffer),
        };
        if !(1000.0..=1e10).contains(&bitrate) {
            return Err(Error::InvalidConfig(format!("the bitrate is {bitrate} bit/s, it must be in 1000..=10000000000")));
        }
        if !(bitrate..=1e10).contains(&max_bitrate) {
            return Err(Error::InvalidConfig(format!(
                "the largest bitrate is {max_bitrate} bit/s, it must be at least the bitrate, {bitrate}"
            )));
        }
        if !BUFFER_RANGE.contains(&buffer) {
            return Err(Error::InvalidConfig(format!(
                "the rate buffer is {buffer} s, it must be in {}..={} s",
                BUFFER_RANGE.start(),
                BUFFER_RANGE.end()
            )));
        }
        Ok(())
    }
}
