//! The discrete cosine transform as a start of the linear channels.

use crate::architecture::PACKED_CHANNELS;

/// Luma and chroma samples along a side of a block at 1/16.
const LUMA: usize = 16;
const CHROMA: usize = 8;
/// Three quarters of the functions are luma's.
const LUMA_SHARE: (usize, usize) = (3, 4);

/// `count` orthonormal basis functions of the lowest frequencies, each over the channels of an unshuffled packed frame:
/// `[count][4 * 96]`. Each half of them has every second frequency.
///
/// Beyond 256 functions of luma or 64 of a chroma plane there are none: the rest is 0.
pub(super) fn basis(count: usize) -> Vec<f32> {
    let luma = (count * LUMA_SHARE.0 / LUMA_SHARE.1).min(LUMA * LUMA);
    let u = (count - luma) / 2;
    let planes = [(0, LUMA, luma), (1, CHROMA, u), (2, CHROMA, count - luma - u)];
    let mut functions: Vec<(f64, Vec<f32>)> = Vec::new();
    for (plane, side, wanted) in planes {
        functions.extend(lowest(side, wanted).into_iter().map(|(u, v)| {
            let frequency = (u as f64).hypot(v as f64) / side as f64;
            (frequency, function(plane, side, (u, v)))
        }));
    }
    functions.sort_by(|a, b| a.0.total_cmp(&b.0));
    functions.resize_with(count, || (0.0, vec![0.0; 4 * PACKED_CHANNELS as usize]));
    let (even, odd): (Vec<_>, Vec<_>) = functions.into_iter().enumerate().partition(|(i, _)| i % 2 == 0);
    even.into_iter().chain(odd).flat_map(|(_, (_, function))| function).collect()
}

/// The `count` lowest frequencies (row, column) of a transform of `side` x `side` samples.
fn lowest(side: usize, count: usize) -> Vec<(usize, usize)> {
    let mut all: Vec<(usize, usize)> = (0..side * side).map(|i| (i / side, i % side)).collect();
    all.sort_by_key(|(u, v)| (u * u + v * v, *u));
    all.truncate(count);
    all
}

/// One function of a plane.
fn function(plane: usize, side: usize, (u, v): (usize, usize)) -> Vec<f32> {
    let wave = |frequency: usize, at: usize| {
        let scale = if frequency == 0 { (1.0 / side as f64).sqrt() } else { (2.0 / side as f64).sqrt() };
        scale * (std::f64::consts::PI * frequency as f64 * (at as f64 + 0.5) / side as f64).cos()
    };
    // A packed cell is half a block wide; the channels of each of its samples are those of the four cells.
    let cell = side / 2;
    let first = [0, 64, 80][plane];
    let mut values = vec![0.0; 4 * PACKED_CHANNELS as usize];
    for row in 0..side {
        for col in 0..side {
            let channel = first + row % cell * cell + col % cell;
            values[4 * channel + 2 * (row / cell) + col / cell] = (wave(u, row) * wave(v, col)) as f32;
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
