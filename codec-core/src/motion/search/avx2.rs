//! Sums of differences on AVX2.

use std::arch::x86_64::*;

use super::coded::{Ceiling, Moved};
use super::goal::{Goal, HALF_ERROR, Parts};
use super::pair::{Pair, squares_any};
use crate::motion::CELL;

/// # Safety
/// AVX2, and all rows lie within the slices.
#[target_feature(enable = "avx2")]
pub unsafe fn squares(pair: &Pair) -> u32 {
    // SAFETY: the caller's promise; the columns read are `width` rounded down to 8, the rest goes to safe code.
    let whole = unsafe {
        match pair.width / 8 {
            1 => squares_of_eights(pair),
            2 => squares_of_sixteens::<1>(pair, 0),
            4 => squares_of_sixteens::<2>(pair, 0),
            8 => squares_of_sixteens::<4>(pair, 0),
            eights => {
                let mut sum = 0;
                for sixteen in 0..eights / 2 {
                    sum += squares_of_sixteens::<1>(pair, 16 * sixteen);
                }
                if eights % 2 == 1 {
                    sum += squares_of_eights(&pair.after_column(8 * (eights - 1)));
                }
                sum
            }
        }
    };
    if pair.width.is_multiple_of(8) { whole } else { whole + squares_any(&pair.after_column(pair.width / 8 * 8)) }
}

/// Of `N` times 16 columns from `column` on.
///
/// # Safety
/// As for [`squares`], and the columns exist.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn squares_of_sixteens<const N: usize>(pair: &Pair, column: usize) -> u32 {
    let mut sums = [_mm256_setzero_si256(); 2];
    // SAFETY: rows and columns lie within the slices by the caller's promise.
    unsafe {
        let (mut a, mut b) = (pair.a.as_ptr().add(column), pair.b.as_ptr().add(column));
        for _ in 0..pair.height {
            for i in 0..N {
                let left = _mm256_cvtepu8_epi16(_mm_loadu_si128(a.add(16 * i).cast()));
                let right = _mm256_cvtepu8_epi16(_mm_loadu_si128(b.add(16 * i).cast()));
                let difference = _mm256_sub_epi16(left, right);
                sums[i % 2] = _mm256_add_epi32(sums[i % 2], _mm256_madd_epi16(difference, difference));
            }
            (a, b) = (a.wrapping_add(pair.a_stride), b.wrapping_add(pair.b_stride));
        }
    }
    total(_mm256_add_epi32(sums[0], sums[1]))
}

/// Of the first 8 columns.
///
/// # Safety
/// As for [`squares`], and there are 8 columns.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn squares_of_eights(pair: &Pair) -> u32 {
    let mut sum = _mm256_setzero_si256();
    let (mut a, mut b) = (pair.a.as_ptr(), pair.b.as_ptr());
    // SAFETY: as for `squares_of_sixteens`; of an odd number of rows, the last is compared alone.
    unsafe {
        for _ in 0..pair.height / 2 {
            let left = _mm256_cvtepu8_epi16(two_rows(a, pair.a_stride));
            let right = _mm256_cvtepu8_epi16(two_rows(b, pair.b_stride));
            let difference = _mm256_sub_epi16(left, right);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(difference, difference));
            (a, b) = (a.wrapping_add(2 * pair.a_stride), b.wrapping_add(2 * pair.b_stride));
        }
        if pair.height % 2 == 1 {
            let left = _mm256_cvtepu8_epi16(_mm_loadl_epi64(a.cast()));
            let right = _mm256_cvtepu8_epi16(_mm_loadl_epi64(b.cast()));
            let difference = _mm256_sub_epi16(left, right);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(difference, difference));
        }
    }
    total(sum)
}

/// # Safety
/// AVX2, all rows lie within the slices, and there are 64 columns and at most 64 rows.
#[target_feature(enable = "avx2")]
pub unsafe fn cells(pair: &Pair, sums: &mut [u32; 64]) {
    for row in 0..8 {
        let rows = pair.height.saturating_sub(row * CELL).min(CELL);
        let mut quads = [_mm256_setzero_si256(); 4];
        let mut a = pair.a.as_ptr().wrapping_add(row * CELL * pair.a_stride);
        let mut b = pair.b.as_ptr().wrapping_add(row * CELL * pair.b_stride);
        // SAFETY: rows of 64 samples lie within the slices by the caller's promise.
        unsafe {
            for _ in 0..rows {
                for (i, quad) in quads.iter_mut().enumerate() {
                    let left = _mm256_cvtepu8_epi16(_mm_loadu_si128(a.add(16 * i).cast()));
                    let right = _mm256_cvtepu8_epi16(_mm_loadu_si128(b.add(16 * i).cast()));
                    let difference = _mm256_sub_epi16(left, right);
                    *quad = _mm256_add_epi32(*quad, _mm256_madd_epi16(difference, difference));
                }
                (a, b) = (a.wrapping_add(pair.a_stride), b.wrapping_add(pair.b_stride));
            }
            // A lane holds the even cells, the other one the odd ones.
            let pairs = [_mm256_hadd_epi32(quads[0], quads[1]), _mm256_hadd_epi32(quads[2], quads[3])];
            let all = _mm256_hadd_epi32(pairs[0], pairs[1]);
            let (even, odd) = (_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all));
            let out = sums.as_mut_ptr().add(8 * row);
            _mm_storeu_si128(out.cast(), _mm_unpacklo_epi32(even, odd));
            _mm_storeu_si128(out.add(4).cast(), _mm_unpackhi_epi32(even, odd));
        }
    }
}

/// # Safety
/// AVX2, and the parts are complete.
#[target_feature(enable = "avx2")]
pub unsafe fn goal(parts: &Parts, goal: &mut Goal) {
    // Of two rows, 16 values.
    let unit = _mm256_set1_epi16(64);
    // SAFETY: all blocks have the rows that are read, eight samples each; weights and goals are arrays of that size.
    unsafe {
        let wide = |values: &[u8; CELL]| _mm_cvtepu8_epi16(_mm_loadl_epi64(values.as_ptr().cast()));
        let flags = |flags: [bool; 2]| _mm_set_epi64x(-i64::from(flags[1]), -i64::from(flags[0]));
        let h = wide(&parts.weights[1]);
        let open = _mm256_broadcastsi128_si256(_mm_and_si128(h, flags(parts.horizontal_open)));
        let h = _mm256_broadcastsi128_si256(h);
        let (scaled, rest_of_h) = (_mm256_slli_epi16::<9>(h), _mm256_sub_epi16(unit, h));
        let v = wide(&parts.weights[0]);
        let share = _mm_add_epi16(
            _mm_and_si128(v, flags(parts.vertical_open)),
            _mm_and_si128(_mm_sub_epi16(_mm_set1_epi16(64), v), flags([parts.own_open; 2])),
        );
        let (v, share) = (_mm256_broadcastsi128_si256(v), _mm256_broadcastsi128_si256(share));
        // Spreads the values of rows 0 and 1 over the lanes; each further pair is 4 bytes on.
        let first_rows = _mm256_inserti128_si256::<1>(_mm256_set1_epi16(0x0100), _mm_set1_epi16(0x0302));
        for row in (0..CELL).step_by(2) {
            let spread = _mm256_add_epi8(first_rows, _mm256_set1_epi8(2 * row as i8));
            let load = |block: (&[u8], usize), row: usize| two_rows(block.0.as_ptr().add(row * block.1), block.1);
            let by_row = |values: __m256i| _mm256_shuffle_epi8(values, spread);
            let own = _mm256_cvtepu8_epi16(load(parts.own, row));
            let vertical = _mm256_cvtepu8_epi16(load(parts.vertical[row / 4], row % 4));
            let (left, right) = (load(parts.horizontal[0], row), load(parts.horizontal[1], row));
            let horizontal = _mm256_cvtepu8_epi16(_mm_blend_epi32::<0b1010>(left, right));
            let current = _mm256_cvtepu8_epi16(load(parts.current, row));
            let v = by_row(v);
            let first = _mm256_add_epi16(_mm256_mullo_epi16(own, _mm256_sub_epi16(unit, v)), _mm256_mullo_epi16(vertical, v));
            // (d * (h * 512) + 2^14) >> 15 is (d * h + 32) >> 6.
            let difference = _mm256_sub_epi16(_mm256_slli_epi16::<6>(horizontal), first);
            let blended = _mm256_add_epi16(first, _mm256_mulhrs_epi16(difference, scaled));
            let share = _mm256_mullo_epi16(rest_of_h, by_row(share));
            let share = _mm256_srli_epi16::<6>(_mm256_add_epi16(share, _mm256_set1_epi16(32)));
            let weight = _mm256_add_epi16(share, open);
            // The sums wrap to what fits 16 bits again.
            let wanted = _mm256_mullo_epi16(current, _mm256_add_epi16(unit, weight));
            let target = _mm256_add_epi16(_mm256_sub_epi16(wanted, blended), _mm256_set1_epi16(HALF_ERROR as i16));
            let at = row * CELL;
            _mm256_store_si256(goal.target.as_mut_ptr().add(at).cast(), target);
            _mm256_store_si256(goal.weight.as_mut_ptr().add(at).cast(), weight);
        }
    }
}

/// As [`costs_any`](super::coded::costs_any).
///
/// # Safety
/// AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn costs(goals: &[Goal], a: Moved, b: Option<Moved>, ceiling: Ceiling, limit: u64) -> u64 {
    let (threshold, ones) = (_mm256_set1_epi16(ceiling.threshold), _mm256_set1_epi16(1));
    let mut sum = 0;
    for goal in goals {
        let block = |(samples, way): Moved| {
            let block = samples.block(goal.x + way.0, goal.y + way.1);
            assert!(block.len() >= (CELL - 1) * samples.stride + CELL);
            (block.as_ptr(), samples.stride)
        };
        let (a, b) = (block(a), b.map(block));
        let mut v = [_mm256_setzero_si256(); 4];
        for (row, v) in (0..CELL).step_by(2).zip(&mut v) {
            // SAFETY: the blocks have eight rows of eight samples, as a goal has values.
            unsafe {
                let mut samples = two_rows(a.0.add(row * a.1), a.1);
                if let Some(b) = b {
                    samples = _mm_avg_epu8(samples, two_rows(b.0.add(row * b.1), b.1));
                }
                let weights = _mm256_load_si256(goal.weight.as_ptr().add(row * CELL).cast());
                let targets = _mm256_load_si256(goal.target.as_ptr().add(row * CELL).cast());
                let errors = _mm256_sub_epi16(targets, _mm256_mullo_epi16(weights, _mm256_cvtepu8_epi16(samples)));
                *v = _mm256_srai_epi16::<6>(errors);
            }
        }
        // Down the columns: rows 4 and 2 apart, then those that share a register. Nothing depends on the order of what comes out.
        v = butterflies(v, [(0, 2), (1, 3)]);
        v = butterflies(v, [(0, 1), (2, 3)]);
        v = [
            _mm256_permute2x128_si256::<0x20>(v[0], v[1]),
            _mm256_permute2x128_si256::<0x31>(v[0], v[1]),
            _mm256_permute2x128_si256::<0x20>(v[2], v[3]),
            _mm256_permute2x128_si256::<0x31>(v[2], v[3]),
        ];
        v = butterflies(v, [(0, 1), (2, 3)]);
        // Along the rows: each time what is 4 values apart, of two registers.
        for _ in 0..3 {
            v = [
                _mm256_unpacklo_epi16(v[0], v[1]),
                _mm256_unpackhi_epi16(v[0], v[1]),
                _mm256_unpacklo_epi16(v[2], v[3]),
                _mm256_unpackhi_epi16(v[2], v[3]),
            ];
            v = butterflies(v, [(0, 1), (2, 3)]);
        }
        let (mut squares, mut beyond) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        for v in v {
            let size = _mm256_abs_epi16(v);
            let within = _mm256_min_epi16(size, threshold);
            squares = _mm256_add_epi32(squares, _mm256_madd_epi16(within, within));
            beyond = _mm256_add_epi32(beyond, _mm256_madd_epi16(_mm256_sub_epi16(size, within), ones));
        }
        sum += u64::from(total(squares)) + u64::from(ceiling.slope) * u64::from(total(beyond));
        if sum >= limit {
            break;
        }
    }
    sum
}

/// Sums and differences of two pairs of registers.
#[target_feature(enable = "avx2")]
#[inline]
fn butterflies(mut v: [__m256i; 4], pairs: [(usize, usize); 2]) -> [__m256i; 4] {
    for (i, j) in pairs {
        (v[i], v[j]) = (_mm256_add_epi16(v[i], v[j]), _mm256_sub_epi16(v[i], v[j]));
    }
    v
}

/// Eight samples each of two rows.
///
/// # Safety
/// Both lie within an allocation.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn two_rows(at: *const u8, stride: usize) -> __m128i {
    // SAFETY: the caller's promise.
    unsafe { _mm_unpacklo_epi64(_mm_loadl_epi64(at.cast()), _mm_loadl_epi64(at.add(stride).cast())) }
}

/// Sum of eight lanes.
#[target_feature(enable = "avx2")]
#[inline]
fn total(lanes: __m256i) -> u32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256::<1>(lanes));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b00_00_11_10>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<1>(two))) as u32
}
