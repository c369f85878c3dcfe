//! HEVC's 8-tap filters over whole rows (H.265, 8.5.3.3.3.1).

use crate::kernels::simd::multiversion;

/// Filter taps by quarter position; the fourth tap is the sample's own.
const TAPS: [[i16; 8]; 4] =
    [[0, 0, 0, 64, 0, 0, 0, 0], [-1, 4, -10, 58, 17, -5, 1, 0], [-1, 4, -11, 40, 40, -11, 4, -1], [0, 1, -5, 17, 58, -10, 4, -1]];

multiversion! {
    /// Filters a row; `samples` starts 3 samples before the first output's own and holds 7 more than `out`. Outputs are in 1/64.
    pub(super) fn horizontal(samples: &[u8], quarter: usize, out: &mut [i16]) = horizontal_any
}

#[inline(always)]
fn horizontal_any(samples: &[u8], quarter: usize, out: &mut [i16]) {
    let taps = TAPS[quarter];
    let shifted: [&[u8]; 8] = std::array::from_fn(|k| &samples[k..][..out.len()]);
    for (i, out) in out.iter_mut().enumerate() {
        // The sums lie within -6,000..23,000.
        *out = (0..8).fold(0, |sum, k| sum + taps[k] * i16::from(shifted[k][i]));
    }
}

/// Filters eight rows of [`horizontal`]'s outputs into the row of samples between the fourth and the fifth, at three quarter
/// positions. All rows have the same length, a multiple of 16.
pub(super) fn vertical(rows: [&[i16]; 8], out: [&mut [u8]; 3]) {
    let len = rows[0].len();
    assert!(len.is_multiple_of(16) && rows.iter().all(|r| r.len() == len) && out.iter().all(|o| o.len() == len));
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, and all slices have the same length, a multiple of 16.
        return unsafe { x86::vertical(rows, out) };
    }
    vertical_any(rows, out);
}

fn vertical_any(rows: [&[i16]; 8], out: [&mut [u8]; 3]) {
    for (out, taps) in out.into_iter().zip(&TAPS[1..]) {
        for (i, out) in out.iter_mut().enumerate() {
            let sum: i32 = (0..8).map(|k| i32::from(taps[k]) * i32::from(rows[k][i])).sum();
            *out = ((sum >> 6) + 32 >> 6).clamp(0, 255) as u8;
        }
    }
}

multiversion! {
    /// Rounds [`horizontal`]'s outputs to samples.
    pub(super) fn round(row: &[i16], out: &mut [u8]) = round_any
}

#[inline(always)]
fn round_any(row: &[i16], out: &mut [u8]) {
    for (out, value) in out.iter_mut().zip(row) {
        *out = (value + 32 >> 6).clamp(0, 255) as u8;
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::TAPS;
    use std::arch::x86_64::*;

    /// # Safety
    /// AVX2; all slices have the same length, a multiple of 16.
    #[target_feature(enable = "avx2")]
    pub unsafe fn vertical(rows: [&[i16]; 8], mut out: [&mut [u8]; 3]) {
        let pair = |a: i16, b: i16| _mm256_set1_epi32(i32::from(a) & 0xffff | i32::from(b) << 16);
        let taps: [[__m256i; 4]; 3] =
            std::array::from_fn(|q| std::array::from_fn(|k| pair(TAPS[q + 1][2 * k], TAPS[q + 1][2 * k + 1])));
        let half = _mm256_set1_epi16(32);
        for at in (0..rows[0].len()).step_by(16) {
            // SAFETY: `at` + 16 is at most the slices' length.
            unsafe {
                let row = |k: usize| _mm256_loadu_si256(rows[k].as_ptr().add(at).cast());
                // Low and high halves of both lanes, which packing puts back in order.
                let low: [__m256i; 4] = std::array::from_fn(|k| _mm256_unpacklo_epi16(row(2 * k), row(2 * k + 1)));
                let high: [__m256i; 4] = std::array::from_fn(|k| _mm256_unpackhi_epi16(row(2 * k), row(2 * k + 1)));
                for (taps, out) in taps.iter().zip(&mut out) {
                    let filter = |pairs: &[__m256i; 4]| {
                        let product = |k: usize| _mm256_madd_epi16(pairs[k], taps[k]);
                        let sum =
                            _mm256_add_epi32(_mm256_add_epi32(product(0), product(1)), _mm256_add_epi32(product(2), product(3)));
                        _mm256_srai_epi32::<6>(sum)
                    };
                    // The sums in 1/64 need not fit 16 bits; packing saturates them, far beyond the samples' range.
                    let sums = _mm256_packs_epi32(filter(&low), filter(&high));
                    let values = _mm256_srai_epi16::<6>(_mm256_adds_epi16(sums, half));
                    let bytes = _mm256_packus_epi16(values, values);
                    let bytes = _mm256_permute4x64_epi64::<0b00_00_10_00>(bytes);
                    _mm_storeu_si128(out.as_mut_ptr().add(at).cast(), _mm256_castsi256_si128(bytes));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::prelude::*;

    #[test]
    fn taps_sum_to_one() {
        assert!(TAPS.iter().all(|taps| taps.iter().sum::<i16>() == 64));
    }

    #[test]
    fn vector_code_equals_plain_code() {
        let mut rng = SmallRng::seed_from_u64(2);
        for extreme in [false, true] {
            let samples: Vec<Vec<u8>> = (0..8)
                .map(|_| (0..39).map(|_| if extreme { 255 * u8::from(rng.random::<bool>()) } else { rng.random() }).collect())
                .collect();
            for quarter in 0..4 {
                let rows: Vec<Vec<i16>> = samples
                    .iter()
                    .map(|samples| {
                        let mut out = vec![0; 32];
                        horizontal(samples, quarter, &mut out);
                        for (i, &out) in out.iter().enumerate() {
                            let wanted: i32 = (0..8).map(|k| i32::from(TAPS[quarter][k]) * i32::from(samples[i + k])).sum();
                            assert_eq!(i32::from(out), wanted);
                        }
                        out
                    })
                    .collect();
                let rows: [&[i16]; 8] = std::array::from_fn(|k| &rows[k][..]);
                let mut found = [[0; 32]; 3];
                let mut wanted = [[0; 32]; 3];
                let [a, b, c] = &mut found;
                vertical(rows, [a, b, c]);
                let [a, b, c] = &mut wanted;
                vertical_any(rows, [a, b, c]);
                assert_eq!(found, wanted);
            }
        }
    }
}
