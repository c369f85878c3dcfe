//! Exhaustive search for blocks of 4x4, 8x8 and 16x16 samples at once.

use super::window::{Best, SUMS, Window};

/// The best displacement (columns, rows) of each block of a group.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// Of 4x4 samples, in row order; no motion if these were not asked for.
    pub fours: [(i32, i32); 16],
    /// Of 8x8 samples.
    pub eights: [(i32, i32); 4],
    pub sixteen: (i32, i32),
}

/// Finds a group's best displacements. `current` starts with the group's first sample, `reference` with the sample at the window's
/// first displacement of it, and is read up to 8 samples beyond the last one's block.
pub(super) fn search(current: (&[u8], usize), reference: (&[u8], usize), window: &Window) -> Group {
    let (columns, rows) = (2 * window.reach.0, 2 * window.reach.1 + 1);
    assert!(columns.is_multiple_of(8) && window.column_costs.len() == columns && window.row_costs.len() == rows);
    assert!(current.0.len() >= 15 * current.1 + 16 && reference.0.len() >= (rows + 14) * reference.1 + columns + 16);
    let mut best = Best { costs: [[u16::MAX; 16]; SUMS], places: [[0; 16]; SUMS] };
    run(current, reference, window, &mut best);
    let place = |sum: usize, half: usize| {
        let costs = &best.costs[sum][8 * half..][..8];
        let lane = (0..8).min_by_key(|&lane| costs[lane]).expect("eight lanes");
        let place = usize::from(best.places[sum][8 * half + lane]);
        let (row, column) = (place / (columns / 8), place % (columns / 8) * 8 + lane);
        (column as i32 - window.reach.0 as i32, row as i32 - window.reach.1 as i32)
    };
    Group {
        fours: std::array::from_fn(|i| if window.fours { place(i / 4 * 2 + i % 2, i % 4 / 2) } else { (0, 0) }),
        eights: std::array::from_fn(|i| place(8 + i / 2, i % 2)),
        sixteen: place(10, 0),
    }
}

fn run(current: (&[u8], usize), reference: (&[u8], usize), window: &Window, best: &mut Best) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, and `search` checked the lengths.
        return unsafe {
            match window.fours {
                true => x86::run::<true>(current, reference, window, best),
                false => x86::run::<false>(current, reference, window, best),
            }
        };
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: every aarch64 processor that Rust's standard library runs on has NEON.
    return unsafe { super::neon::coarse(current, reference, window, best) };
    #[cfg(not(target_arch = "aarch64"))]
    run_any(current, reference, window, best);
}

/// Register 2 r + h holds, of the r-th row of 4x4 blocks, the h-th and the (h + 2)-th; registers 8 and 9 the 8x8 blocks of the
/// upper and the lower half, register 10 the group twice.
#[cfg_attr(all(target_arch = "aarch64", not(test)), expect(dead_code, reason = "NEON does it"))]
pub(super) fn run_any(current: (&[u8], usize), reference: (&[u8], usize), window: &Window, best: &mut Best) {
    let columns = window.column_costs.len();
    for (row, &row_cost) in window.row_costs.iter().enumerate() {
        for column in (0..columns).step_by(8) {
            let mut sums = [[0u16; 16]; SUMS];
            for four in 0..4 {
                // Of four 4x4 blocks side by side, each of eight displacements.
                let mut blocks = [[0u16; 8]; 4];
                for line in 4 * four..4 * four + 4 {
                    let own = current.0[line * current.1..].first_chunk::<16>().expect("a group's row");
                    let samples = reference.0[(row + line) * reference.1 + column..].first_chunk::<24>().expect("a window's row");
                    for x in 0..16 {
                        let samples: &[u8; 8] = samples[x..].first_chunk().expect("24 samples");
                        for (sum, sample) in blocks[x / 4].iter_mut().zip(samples) {
                            *sum += u16::from(own[x].abs_diff(*sample));
                        }
                    }
                }
                for (i, block) in blocks.iter().enumerate() {
                    sums[2 * four + i % 2][i / 2 * 8..][..8].copy_from_slice(block);
                }
            }
            for half in 0..2 {
                sums[8 + half] = std::array::from_fn(|lane| (0..4).map(|i| sums[4 * half + i][lane]).sum());
            }
            sums[10] = std::array::from_fn(|lane| {
                let [upper, lower] = [8, 9].map(|half| sums[half][lane % 8] + sums[half][8 + lane % 8]);
                upper + lower
            });
            let place = (row * (columns / 8) + column / 8) as u16;
            let costs: &[u16; 8] = window.column_costs[column..].first_chunk().expect("columns are a multiple of 8");
            let more: [u16; 16] = std::array::from_fn(|lane| costs[lane % 8].saturating_add(row_cost));
            for ((sums, costs), places) in sums.iter().zip(&mut best.costs).zip(&mut best.places) {
                for lane in 0..16 {
                    let cost = more[lane].saturating_add(sums[lane]);
                    let better = cost < costs[lane];
                    costs[lane] = if better { cost } else { costs[lane] };
                    places[lane] = if better { place } else { places[lane] };
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Best, Window};
    use std::arch::x86_64::*;

    /// # Safety
    /// AVX2, and the lengths that `search` checks.
    #[target_feature(enable = "avx2")]
    pub unsafe fn run<const FOURS: bool>(current: (&[u8], usize), reference: (&[u8], usize), window: &Window, best: &mut Best) {
        let columns = window.column_costs.len();
        // SAFETY: 16 rows of 16 samples lie in `current`; from every displacement, 16 rows of 24 samples in `reference`, whose
        // last row ends where `search` requires.
        unsafe {
            let lines: [__m256i; 16] = std::array::from_fn(|y| {
                _mm256_broadcastsi128_si256(_mm_loadu_si128(current.0.as_ptr().add(y * current.1).cast()))
            });
            for (row, &row_cost) in window.row_costs.iter().enumerate() {
                for column in (0..columns).step_by(8) {
                    let start = reference.0.as_ptr().add(row * reference.1 + column);
                    let costs = _mm_loadu_si128(window.column_costs.as_ptr().add(column).cast());
                    let costs = _mm256_broadcastsi128_si256(_mm_adds_epu16(costs, _mm_set1_epi16(row_cost as i16)));
                    let place = _mm256_set1_epi16((row * (columns / 8) + column / 8) as i16);
                    let mut take = |i: usize, sums: __m256i| {
                        let (old_costs, old_places) = (best.costs[i].as_mut_ptr().cast(), best.places[i].as_mut_ptr().cast());
                        let old = _mm256_loadu_si256(old_costs);
                        let new = _mm256_min_epu16(old, _mm256_adds_epu16(costs, sums));
                        let same = _mm256_cmpeq_epi16(old, new);
                        _mm256_storeu_si256(old_costs, new);
                        let places = _mm256_blendv_epi8(place, _mm256_loadu_si256(old_places), same);
                        _mm256_storeu_si256(old_places, places);
                    };
                    let mut halves = [_mm256_setzero_si256(); 2];
                    for four in 0..4 {
                        let mut sums = [_mm256_setzero_si256(); 2];
                        for (y, &own) in lines.iter().enumerate().skip(4 * four).take(4) {
                            let line = start.add(y * reference.1);
                            let samples = _mm256_inserti128_si256::<1>(
                                _mm256_castsi128_si256(_mm_loadu_si128(line.cast())),
                                _mm_loadu_si128(line.add(8).cast()),
                            );
                            // Blocks 0 and 2, then 1 and 3, each of eight displacements.
                            sums[0] = _mm256_add_epi16(sums[0], _mm256_mpsadbw_epu8::<0b010_000>(samples, own));
                            sums[1] = _mm256_add_epi16(sums[1], _mm256_mpsadbw_epu8::<0b111_101>(samples, own));
                        }
                        if FOURS {
                            take(2 * four, sums[0]);
                            take(2 * four + 1, sums[1]);
                        }
                        halves[four / 2] = _mm256_add_epi16(halves[four / 2], _mm256_add_epi16(sums[0], sums[1]));
                    }
                    take(8, halves[0]);
                    take(9, halves[1]);
                    let both = _mm256_add_epi16(halves[0], halves[1]);
                    take(10, _mm256_add_epi16(both, _mm256_permute4x64_epi64::<0b01_00_11_10>(both)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::prelude::*;

    /// Sample by sample.
    fn run_plainly(current: (&[u8], usize), reference: (&[u8], usize), window: &Window, best: &mut Best) {
        let columns = window.column_costs.len();
        for (row, &row_cost) in window.row_costs.iter().enumerate() {
            for column in (0..columns).step_by(8) {
                let mut sums = [[0u16; 16]; SUMS];
                for (i, sum) in sums[..8].iter_mut().enumerate() {
                    for (lane, sum) in sum.iter_mut().enumerate() {
                        let (x, y) = (4 * (i % 2 + lane / 8 * 2), i / 2 * 4);
                        for line in y..y + 4 {
                            let a = &current.0[line * current.1 + x..][..4];
                            let b = &reference.0[(row + line) * reference.1 + column + lane % 8 + x..][..4];
                            *sum += a.iter().zip(b).map(|(&a, &b)| u16::from(a.abs_diff(b))).sum::<u16>();
                        }
                    }
                }
                for half in 0..2 {
                    let blocks: [[u16; 16]; 4] = std::array::from_fn(|i| sums[4 * half + i]);
                    sums[8 + half] = std::array::from_fn(|lane| blocks.iter().map(|block| block[lane]).sum());
                }
                for lane in 0..16 {
                    sums[10][lane] = (0..2).map(|half| sums[8 + half][lane % 8] + sums[8 + half][8 + lane % 8]).sum();
                }
                let place = (row * (columns / 8) + column / 8) as u16;
                for ((sums, costs), places) in sums.iter().zip(&mut best.costs).zip(&mut best.places) {
                    for (lane, &sum) in sums.iter().enumerate() {
                        let cost = window.column_costs[column + lane % 8].saturating_add(row_cost).saturating_add(sum);
                        if cost < costs[lane] {
                            (costs[lane], places[lane]) = (cost, place);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn vector_code_equals_plain_code_and_finds_the_best() {
        let mut rng = SmallRng::seed_from_u64(4);
        let reach = (8, 5);
        for levels in [2, 256] {
            let reference: Vec<u8> = (0..40 * 40).map(|_| (rng.random_range(0..levels) * 255 / (levels - 1)) as u8).collect();
            let mut current: Vec<u8> = (0..16 * 16).map(|_| (rng.random_range(0..levels) * 255 / (levels - 1)) as u8).collect();
            // The upper right 8x8 block moves by (5, -4).
            for y in 0..8 {
                let from = (y + reach.1 - 4) * 40 + 8 + reach.0 + 5;
                current[y * 16 + 8..][..8].copy_from_slice(&reference[from..][..8]);
            }
            let column_costs: Vec<u16> = (0..16).map(|i: u16| i.abs_diff(8)).collect();
            let row_costs: Vec<u16> = (0..11).map(|i: u16| i.abs_diff(5)).collect();
            let window = Window { reach, column_costs: &column_costs, row_costs: &row_costs, fours: true };
            let empty = || Best { costs: [[u16::MAX; 16]; SUMS], places: [[0; 16]; SUMS] };
            let mut wanted = empty();
            run_plainly((&current, 16), (&reference, 40), &window, &mut wanted);
            for run in [run, run_any] {
                let mut found = empty();
                run((&current, 16), (&reference, 40), &window, &mut found);
                assert_eq!((found.costs, found.places), (wanted.costs, wanted.places));
            }
            let group = search((&current, 16), (&reference, 40), &window);
            assert_eq!(group.eights[1], (5, -4));
            if levels > 2 {
                assert_eq!([2, 3, 6, 7].map(|i| group.fours[i]), [(5, -4); 4]);
            }
        }
    }
}
