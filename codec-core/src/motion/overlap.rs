//! Overlapped block motion compensation: how far neighbours' vectors blend into a leaf, and with what weight.
//!
//! (Orchard and Sullivan, "Overlapped block motion compensation", 1994.) Along each side of a leaf, the vector of every
//! neighbouring cell also predicts the samples next to it, over half of the smaller of both leaves. First the upper and the lower
//! side are blended, then the left and the right one, into what the first made; a sample thus has at most three predictions.

use super::Motion;

/// Weights are in units of 1 / this.
pub const UNIT: i32 = 64;

/// Weights of a neighbour's prediction, by the distance in samples from its edge, for an overlap of 2, 4, 8, 16 or 32 samples:
/// half of one minus a quarter of a sine wave.
///
/// # Panics
/// For another overlap.
pub const fn weights(overlap: usize) -> &'static [u8] {
    match overlap {
        2 => &[20, 2],
        4 => &[26, 14, 5, 1],
        8 => &[29, 23, 17, 12, 7, 4, 1, 0],
        16 => &[30, 27, 24, 21, 18, 16, 13, 11, 8, 6, 5, 3, 2, 1, 0, 0],
        32 => &[31, 30, 28, 27, 25, 23, 22, 20, 19, 18, 16, 15, 14, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 3, 2, 2, 1, 1, 0, 0, 0, 0],
        _ => panic!("an overlap is 2, 4, 8, 16 or 32 samples wide"),
    }
}

/// Side of the squares of luma samples within which all samples have the same neighbours.
pub const SQUARE: usize = 4;

/// What predicts the samples of one square: own (1 - v) (1 - h) + vertical v (1 - h) + horizontal h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mixture {
    /// The leaf's own motion, that of the vertical and that of the horizontal neighbour.
    pub motion: [Motion; 3],
    /// Weights of the vertical neighbour in each row of the square.
    pub vertical: [u8; SQUARE],
    /// Weights of the horizontal neighbour in each column.
    pub horizontal: [u8; SQUARE],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_follow_the_sine() {
        for overlap in [2, 4, 8, 16, 32] {
            for (distance, &weight) in weights(overlap).iter().enumerate() {
                let phase = std::f64::consts::PI * (distance as f64 + 0.5) / (2 * overlap) as f64;
                assert_eq!(f64::from(weight), (f64::from(UNIT) / 2.0 * (1.0 - phase.sin())).round(), "{overlap} {distance}");
            }
        }
    }
}
