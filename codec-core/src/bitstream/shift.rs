//! The random shift of the residual branch, in step between encoder and decoder.
//!
//! Shifting the residual networks' sampling grid by a pseudo-random amount each frame keeps their errors from piling up
//! at the same place of the grid over a chain of P-frames (random shift of the article; here circular).

/// Luma samples per latent cell.
const CELL: i32 = 16;

/// Shift (dy, dx) of a frame's residual branch in luma samples, each even and in `0..=14`.
///
/// Only the low 16 bits of `frame_number` count, since P units carry no more. Both components are uniformly
/// distributed. Exact definition: `docs/bitstream.md`, "Random shift".
pub fn shift(seed: u32, frame_number: u32) -> (i32, i32) {
    let hash = mix(seed.wrapping_add((frame_number & 0xffff).wrapping_mul(0x9e37_79b1)));
    let step = |bits: u32| 2 * (bits & 7) as i32;
    (step(hash >> 29), step(hash >> 26))
}

/// 32-bit finaliser: a bijection whose output bits each depend on all input bits. The multipliers are the fractional
/// parts of the square roots of 2 and 3.
fn mix(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x6a09_e667);
    x = (x ^ (x >> 15)).wrapping_mul(0xbb67_ae85);
    x ^ (x >> 16)
}

/// Latent cells (rows, columns), each -1, 0 or 1, by which the previous residual latent moves circularly to serve as
/// the prior of a frame shifted by `current`: what was at row `r` is then at row `r + rows`.
///
/// The nearest whole number of cells to the change of shift, halves away from zero. Arguments as from [`shift`].
pub fn prior_cells(previous: (i32, i32), current: (i32, i32)) -> (i32, i32) {
    let cells = |change: i32| (change.abs() + CELL / 2) / CELL * change.signum();
    (cells(current.0 - previous.0), cells(current.1 - previous.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mix_vectors() {
        let inputs = [0, 1, 0x1234_5678, u32::MAX];
        let outputs = [0, 0x5fbe_51fa, 0xf187_8fb0, 0x8c81_187b];
        assert_eq!(inputs.map(mix), outputs);
    }

    #[test]
    fn shift_vectors() {
        let first_eight = |seed| std::array::from_fn(|n| shift(seed, n as u32));
        let of_zero = [(0, 0), (4, 14), (6, 2), (0, 8), (8, 14), (0, 12), (10, 0), (2, 8)];
        assert_eq!(of_zero, first_eight(0));
        let of_other = [(6, 8), (12, 6), (14, 14), (8, 10), (8, 10), (4, 12), (14, 4), (10, 10)];
        assert_eq!(of_other, first_eight(0x4e47_4331));
    }

    #[test]
    fn only_16_bits_of_the_frame_number_count() {
        for n in [0, 1, 65_535] {
            assert_eq!(shift(7, n), shift(7, n + 0x1_0000));
            assert_eq!(shift(7, n), shift(7, n | 0xffff_0000));
        }
    }

    /// Chi-square of the 64 cells against uniform; 63 degrees of freedom exceed 120 with probability 2e-5.
    fn chi_square(shifts: impl Iterator<Item = (i32, i32)>) -> f64 {
        let mut counts = [0u32; 64];
        let mut total = 0;
        for (dy, dx) in shifts {
            assert!(dy % 2 == 0 && dx % 2 == 0 && (0..=14).contains(&dy) && (0..=14).contains(&dx), "{dy} {dx}");
            counts[(dy / 2 * 8 + dx / 2) as usize] += 1;
            total += 1;
        }
        let expected = f64::from(total) / 64.0;
        counts.iter().map(|&c| (f64::from(c) - expected).powi(2) / expected).sum()
    }

    #[test]
    fn shifts_are_uniform() {
        for seed in [0, 1, 2, 0xffff_ffff] {
            let over_frames = chi_square((0..4096).map(|n| shift(seed, n)));
            assert!(over_frames < 120.0, "seed {seed}: {over_frames}");
            let over_seeds = chi_square((0..4096).map(|s| shift(s, seed)));
            assert!(over_seeds < 120.0, "frame {seed}: {over_seeds}");
            let changes = chi_square((0..4096).map(|n| {
                let (a, b) = (shift(seed, n), shift(seed, n + 1));
                ((b.0 - a.0).rem_euclid(16), (b.1 - a.1).rem_euclid(16))
            }));
            assert!(changes < 120.0, "seed {seed}: {changes}");
        }
    }

    #[test]
    fn prior_moves_to_the_nearest_cell() {
        let expected = [(-14, -1), (-10, -1), (-8, -1), (-6, 0), (-2, 0), (0, 0), (2, 0), (6, 0), (8, 1), (10, 1), (14, 1)];
        for (change, cells) in expected {
            let (previous, current) = if change < 0 { (-change, 0) } else { (0, change) };
            assert_eq!(prior_cells((previous, 0), (current, 0)), (cells, 0), "{change}");
            assert_eq!(prior_cells((0, previous), (0, current)), (0, cells), "{change}");
        }
        assert_eq!(prior_cells((14, 2), (0, 12)), (-1, 1));
    }
}
