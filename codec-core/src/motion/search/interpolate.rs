//! HEVC's 8-tap filters (H.265, 8.5.3.3.3.1), on 8-bit samples in one direction.

/// Filter taps at the three fractional positions; the fourth tap is the sample's own.
const TAPS: [[i8; 8]; 3] = [[-1, 4, -10, 58, 17, -5, 1, 0], [-1, 4, -11, 40, 40, -11, 4, -1], [0, 1, -5, 17, 58, -10, 4, -1]];

/// Filters at a quarter, a half and three quarters between the fourth and the fifth of eight lines of samples: eight rows, or
/// one row eight times, each beginning a sample later than the one before. All have the outputs' length, a multiple of 32.
pub(super) fn filter(lines: [&[u8]; 8], out: [&mut [u8]; 3]) {
    let len = lines[0].len();
    assert!(len.is_multiple_of(32) && lines.iter().all(|l| l.len() == len) && out.iter().all(|o| o.len() == len));
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, and all slices have the same length, a multiple of 32.
        return unsafe { x86::filter(lines, out) };
    }
    filter_any(lines, out);
}

fn filter_any(lines: [&[u8]; 8], mut out: [&mut [u8]; 3]) {
    // Samples that are filtered together.
    const CHUNK: usize = 16;
    for at in (0..lines[0].len()).step_by(CHUNK) {
        let samples = lines.map(|line| line[at..].first_chunk::<CHUNK>().expect("whole chunks").map(i16::from));
        for (out, taps) in out.iter_mut().zip(&TAPS) {
            // The sums lie within -6,200..22,500.
            let mut sums = [32; CHUNK];
            for (samples, &tap) in samples.iter().zip(taps) {
                for (sum, sample) in sums.iter_mut().zip(samples) {
                    *sum += i16::from(tap) * sample;
                }
            }
            let out = out[at..].first_chunk_mut::<CHUNK>().expect("whole chunks");
            *out = sums.map(|sum| (sum >> 6).clamp(0, 255) as u8);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::TAPS;
    use std::arch::x86_64::*;

    /// # Safety
    /// AVX2; all slices have the same length, a multiple of 32.
    #[target_feature(enable = "avx2")]
    pub unsafe fn filter(lines: [&[u8]; 8], mut out: [&mut [u8]; 3]) {
        let pair = |a: i8, b: i8| _mm256_set1_epi16(i16::from_le_bytes([a as u8, b as u8]));
        let taps: [[__m256i; 4]; 3] = std::array::from_fn(|q| std::array::from_fn(|k| pair(TAPS[q][2 * k], TAPS[q][2 * k + 1])));
        // (x * 512 + 2^14) >> 15 is (x + 32) >> 6.
        let scale = _mm256_set1_epi16(512);
        for at in (0..lines[0].len()).step_by(32) {
            // SAFETY: `at` + 32 is at most the slices' length.
            unsafe {
                let line = |k: usize| _mm256_loadu_si256(lines[k].as_ptr().add(at).cast());
                // Low and high halves of both lanes, which packing puts back in order.
                let low: [__m256i; 4] = std::array::from_fn(|k| _mm256_unpacklo_epi8(line(2 * k), line(2 * k + 1)));
                let high: [__m256i; 4] = std::array::from_fn(|k| _mm256_unpackhi_epi8(line(2 * k), line(2 * k + 1)));
                for (taps, out) in taps.iter().zip(&mut out) {
                    let filter = |pairs: &[__m256i; 4]| {
                        let product = |k: usize| _mm256_maddubs_epi16(pairs[k], taps[k]);
                        let sum =
                            _mm256_add_epi16(_mm256_add_epi16(product(0), product(1)), _mm256_add_epi16(product(2), product(3)));
                        _mm256_mulhrs_epi16(sum, scale)
                    };
                    let bytes = _mm256_packus_epi16(filter(&low), filter(&high));
                    _mm256_storeu_si256(out.as_mut_ptr().add(at).cast(), bytes);
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
        assert!(TAPS.iter().all(|taps| taps.iter().sum::<i8>() == 64));
    }

    #[test]
    fn vector_code_equals_plain_code() {
        let mut rng = SmallRng::seed_from_u64(2);
        for extreme in [false, true] {
            let mut sample = || if extreme { 255 * u8::from(rng.random::<bool>()) } else { rng.random() };
            let lines: [[u8; 96]; 8] = std::array::from_fn(|_| std::array::from_fn(|_| sample()));
            let lines = lines.each_ref().map(|line| &line[..]);
            let wanted: [[u8; 96]; 3] = std::array::from_fn(|q| {
                std::array::from_fn(|i| {
                    let sum: i32 = (0..8).map(|k| i32::from(TAPS[q][k]) * i32::from(lines[k][i])).sum();
                    ((sum + 32) >> 6).clamp(0, 255) as u8
                })
            });
            let mut found = [[[0; 96]; 3]; 2];
            filter(lines, found[0].each_mut().map(|line| &mut line[..]));
            filter_any(lines, found[1].each_mut().map(|line| &mut line[..]));
            assert_eq!(found, [wanted; 2]);
        }
    }
}
