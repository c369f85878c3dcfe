//! The discrete cosine transform as a start of the linear channels.

use crate::architecture::PACKED_CHANNELS;
use crate::architecture::linear::{Frequency, frequencies, wave};

/// `count` orthonormal basis functions of the lowest frequencies, each over the channels of an unshuffled packed frame:
/// `[count][4 * 96]`, in the order of [`frequencies`]. Where there are no more functions, the rest is 0.
pub(super) fn basis(count: usize) -> Vec<f32> {
    let none = || vec![0.0; 4 * PACKED_CHANNELS as usize];
    frequencies(count).into_iter().flat_map(|frequency| frequency.map_or_else(none, function)).collect()
}

/// One function of a plane.
pub(super) fn function(frequency: Frequency) -> Vec<f32> {
    let Frequency { plane, row: u, col: v } = frequency;
    let side = frequency.side();
    // A packed cell is half a block wide; the channels of each of its samples are those of the four cells.
    let cell = side / 2;
    let first = [0, 64, 80][plane];
    let mut values = vec![0.0; 4 * PACKED_CHANNELS as usize];
    for row in 0..side {
        for col in 0..side {
            let channel = first + row % cell * cell + col % cell;
            values[4 * channel + 2 * (row / cell) + col / cell] = (wave(side, u, row) * wave(side, v, col)) as f32;
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_orthonormal_and_the_first_ones_are_means() {
        let basis = basis(128);
        let row = |i: usize| &basis[i * 384..][..384];
        for i in 0..128 {
            for j in 0..=i {
                let product: f32 = row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum();
                assert!((product - f32::from(u8::from(i == j))).abs() < 1e-5, "{i} {j}: {product}");
            }
        }
        // Means of Y, U and V lie at the start of both halves.
        let means = [(0, 256, 1.0 / 16.0), (64, 256, 0.0), (1, 320, 0.0)];
        assert!(row(means[0].0)[..256].iter().all(|v| (v - means[0].2).abs() < 1e-6));
        assert!(row(64)[256..320].iter().all(|v| (v - 0.125).abs() < 1e-6));
        assert!(row(1)[320..].iter().all(|v| (v - 0.125).abs() < 1e-6));
    }
}
