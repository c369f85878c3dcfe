//! Sums of differences between two blocks of 8-bit samples, on the best instructions that the processor has.

#[cfg(target_arch = "x86_64")]
use super::avx2;
use super::coded::{Ceiling, Moved, costs_any};
#[cfg(not(target_arch = "aarch64"))]
use super::goal::goal_any;
use super::goal::{Goal, Parts};
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::pair::Pair;
#[cfg(not(target_arch = "aarch64"))]
use super::pair::{cells_any, squares_any};

type Sum = unsafe fn(&Pair) -> u32;
type CellSums = unsafe fn(&Pair, &mut [u32; 64]);
type MakeGoal = unsafe fn(&Parts, &mut Goal);
type Costs = unsafe fn(&[Goal], Moved, Option<Moved>, Ceiling, u64) -> u64;

/// The sums for this machine's instructions.
#[derive(Clone, Copy)]
pub(super) struct Kernels {
    squares: Sum,
    cells: CellSums,
    goal: MakeGoal,
    costs: Costs,
}

impl Kernels {
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            return Self { squares: avx2::squares, cells: avx2::cells, goal: avx2::goal, costs: avx2::costs };
        }
        #[cfg(target_arch = "aarch64")]
        return Self { squares: neon::squares, cells: neon::cells, goal: neon::goal, costs: costs_any };
        #[cfg(not(target_arch = "aarch64"))]
        Self { squares: squares_any, cells: cells_any, goal: goal_any, costs: costs_any }
    }

    /// Sum of squared differences; at most 64x64 samples.
    #[inline]
    pub fn squares(&self, pair: &Pair) -> u32 {
        assert!(pair.is_complete());
        // SAFETY: `detect` chose a function whose instructions the processor has, and all rows lie within the slices.
        unsafe { (self.squares)(pair) }
    }

    /// Sums of squared differences for each of the 8x8 cells of two blocks of 64 columns and at most 64 rows.
    pub fn cells(&self, pair: &Pair, sums: &mut [u32; 64]) {
        assert!(pair.is_complete() && pair.width == 64 && pair.height <= 64);
        // SAFETY: as above.
        unsafe { (self.cells)(pair, sums) }
    }

    /// As [`goal_any`].
    #[inline]
    pub fn goal(&self, parts: &Parts, goal: &mut Goal) {
        assert!(parts.is_complete());
        // SAFETY: `detect` chose a function whose instructions the processor has, and all rows lie within the slices.
        unsafe { (self.goal)(parts, goal) }
    }

    /// As [`costs_any`].
    #[inline]
    pub fn costs(&self, goals: &[Goal], a: Moved, b: Option<Moved>, ceiling: Ceiling, limit: u64) -> u64 {
        // SAFETY: `detect` chose a function whose instructions the processor has.
        unsafe { (self.costs)(goals, a, b, ceiling, limit) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pair::{cells_any, squares_any};
    use super::*;
    use crate::motion::CELL;
    use rand::prelude::*;

    fn plain_squares(pair: &Pair) -> u32 {
        let square = |x: usize, y: usize| {
            (i32::from(pair.a[y * pair.a_stride + x]) - i32::from(pair.b[y * pair.b_stride + x])).pow(2) as u32
        };
        (0..pair.width * pair.height).map(|i| square(i % pair.width, i / pair.width)).sum()
    }

    #[test]
    fn all_sizes_equal_plain_code() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut samples = |extreme: bool| -> Vec<u8> {
            (0..80 * 64).map(|_| if extreme { 255 * u8::from(rng.random::<bool>()) } else { rng.random() }).collect()
        };
        let kernels = Kernels::detect();
        for extreme in [false, true] {
            let (a, b) = (samples(extreme), samples(extreme));
            for (width, height) in
                [(8, 8), (16, 16), (32, 32), (64, 64), (64, 3), (24, 5), (7, 7), (13, 64), (40, 1), (0, 4), (61, 9)]
            {
                // The slices end where the blocks do.
                let pair = Pair {
                    a: &a[3..][..(height - 1) * 80 + width],
                    a_stride: 80,
                    b: &b[..(height - 1) * 70 + width],
                    b_stride: 70,
                    width,
                    height,
                };
                let wanted = plain_squares(&pair);
                assert_eq!((kernels.squares(&pair), squares_any(&pair)), (wanted, wanted), "{width}x{height}");
            }
        }
        for height in [64, 40, 13] {
            let (a, b) = (samples(false), samples(false));
            let pair = Pair { a: &a[..(height - 1) * 80 + 64], a_stride: 80, b: &b[1..], b_stride: 70, width: 64, height };
            let wanted = std::array::from_fn(|cell| {
                let (row, col) = (cell / 8 * CELL, cell % 8 * CELL);
                let (a, b) = (&pair.a[(row * 80 + col).min(pair.a.len())..], &pair.b[row * 70 + col..]);
                plain_squares(&Pair { a, b, width: CELL, height: CELL.min(height.saturating_sub(row)), ..pair })
            });
            let mut found = [[1; 64]; 2];
            kernels.cells(&pair, &mut found[0]);
            cells_any(&pair, &mut found[1]);
            assert_eq!(found, [wanted; 2]);
        }
        let (black, white) = (vec![0; 64 * 64], vec![255; 64 * 64]);
        let pair = Pair { a: &black, a_stride: 64, b: &white, b_stride: 64, width: 64, height: 64 };
        assert_eq!(kernels.squares(&pair), 64 * 64 * 255 * 255);
    }
}
