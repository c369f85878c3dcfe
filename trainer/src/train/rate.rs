//! The article's proportional rate controller: holds a bitrate per quality while other losses change.

use serde::{Deserialize, Serialize};

/// Knots on the quality axis that are controlled separately.
const KNOTS: usize = 8;
/// Proportional gain on the log-rate error, per step and example.
const GAIN: f64 = 5e-3;
/// Lambda is scaled by at most this factor either way.
const LIMIT: f64 = 64.0;

/// Multiplies the weight of the rate so that the measured rate meets a target curve.
///
/// log m += gain * (log r - log r*), where r is the measured and r* the wanted rate in bits per pixel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateController {
    /// Wanted bits per pixel at qualities 0 and 63, log-linear between.
    target: (f64, f64),
    log_multiplier: [f64; KNOTS],
}

impl RateController {
    pub fn new(best: f64, worst: f64) -> Self {
        Self { target: (best, worst), log_multiplier: [0.0; KNOTS] }
    }

    fn position(quality: u8) -> (usize, f64) {
        let position = f64::from(quality) * (KNOTS - 1) as f64 / 63.0;
        let left = (position.floor() as usize).min(KNOTS - 2);
        (left, position - left as f64)
    }

    /// Bits per pixel wanted at a quality index.
    pub fn target(&self, quality: u8) -> f64 {
        (self.target.0.ln() + (self.target.1 / self.target.0).ln() * f64::from(quality) / 63.0).exp()
    }

    /// Factor on the weight of the rate term at a quality index.
    pub fn multiplier(&self, quality: u8) -> f64 {
        let (left, fraction) = Self::position(quality);
        (self.log_multiplier[left] * (1.0 - fraction) + self.log_multiplier[left + 1] * fraction).exp()
    }

    /// Learns from one example's measured bits per pixel.
    pub fn observe(&mut self, quality: u8, bits_per_pixel: f64) {
        if bits_per_pixel <= 0.0 || !bits_per_pixel.is_finite() {
            return;
        }
        let step = GAIN * (bits_per_pixel / self.target(quality)).ln();
        let (left, fraction) = Self::position(quality);
        for (knot, share) in [(left, 1.0 - fraction), (left + 1, fraction)] {
            let value = &mut self.log_multiplier[knot];
            *value = (*value + step * share).clamp(-LIMIT.ln(), LIMIT.ln());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_target_of_a_plant_that_answers_to_the_multiplier() {
        // A codec whose rate falls with the square root of the rate's weight, off by a factor of three.
        let mut controller = RateController::new(0.5, 0.02);
        let plant = |c: &RateController, q| 3.0 * c.target(q) / c.multiplier(q).sqrt();
        for step in 0..100_000u32 {
            let q = (step * 37 % 64) as u8;
            let rate = plant(&controller, q);
            controller.observe(q, rate);
        }
        for q in [0, 20, 40, 63] {
            assert!((plant(&controller, q) / controller.target(q)).ln().abs() < 0.05, "quality {q}");
        }
    }

    #[test]
    fn ignores_rates_that_mean_nothing() {
        let mut controller = RateController::new(0.5, 0.02);
        controller.observe(10, f64::NAN);
        controller.observe(10, 0.0);
        assert_eq!(controller, RateController::new(0.5, 0.02));
    }
}
