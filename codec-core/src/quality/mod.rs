//! Quality indices: what they stand for, and how they vary over a picture.
//!
//! A frame has one index. A [`QualityMap`] adds to it from place to place; what networks work with is the index of each latent cell, a
//! [`QualityGrid`]. [`MapCoder`] codes maps.

mod coding;
mod grid;
mod map;
mod regions;
mod rest;

pub use coding::MapCoder;
pub use grid::{CellQualities, FrameQuality, QualityGrid};
pub use map::QualityMap;
pub use regions::QualityRegion;
pub use rest::{LEAST_WORTH, RestMap};

use crate::bitstream::QUALITY_MAX;

/// Lambda at quality 0 and at quality 63, log-linear between: what models are trained with.
pub const LAMBDA_BEST: f64 = 8000.0;
/// See [`LAMBDA_BEST`].
pub const LAMBDA_WORST: f64 = 12.0;

/// Lambda of a quality index: weight of the distortion (mean squared error on [0, 1]) against bits per pixel.
pub fn lambda(quality: f64) -> f64 {
    (LAMBDA_BEST.ln() + (LAMBDA_WORST / LAMBDA_BEST).ln() * quality / f64::from(QUALITY_MAX)).exp()
}

/// The quality index whose lambda is the given one (not rounded; may lie outside 0..=63).
pub fn quality_of_lambda(lambda: f64) -> f64 {
    (lambda / LAMBDA_BEST).ln() / (LAMBDA_WORST / LAMBDA_BEST).ln() * f64::from(QUALITY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lambda_runs_log_linearly_between_its_ends() {
        assert!((lambda(0.0) - 8000.0).abs() < 1e-6 && (lambda(63.0) - 12.0).abs() < 1e-6);
        assert!((lambda(31.5) - (8000.0f64 * 12.0).sqrt()).abs() < 1e-6);
        assert!((quality_of_lambda(lambda(17.0)) - 17.0).abs() < 1e-9);
    }
}
