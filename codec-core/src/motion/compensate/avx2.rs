//! Prediction of a block with AVX2.
//!
//! A vector holds 8 lanes of two rows, the second row in its upper half. A block is worked on in columns of 8 lanes; both filters
//! follow each other in registers.

use std::arch::x86_64::*;

use super::filters::{OFFSET, Source, before, taps};
use super::tile::{BY_LANE, BY_ROW, Kernels, LANES, OWN, STRIDE};
use crate::motion::ROOT;

/// Exists only where the processor has AVX2.
#[derive(Clone)]
pub(super) struct Avx2(());

impl Avx2 {
    pub fn detect() -> Option<Self> {
        std::arch::is_x86_feature_detected!("avx2").then_some(Self(()))
    }
}

impl Kernels for Avx2 {
    fn block<const S: usize, const MODE: u8>(
        &mut self,
        source: &Source,
        lanes: usize,
        rows: usize,
        out: &mut [i16],
        weights: &[[i16; 2]],
    ) {
        // SAFETY: `detect` found AVX2.
        unsafe { block::<S, MODE>(source, lanes.next_multiple_of(8), rows, out, weights) };
    }
}

#[target_feature(enable = "avx2")]
fn block<const S: usize, const MODE: u8>(source: &Source, lanes: usize, rows: usize, out: &mut [i16], weights: &[[i16; 2]]) {
    assert!(lanes > 0 && lanes <= LANES && lanes.is_multiple_of(8) && rows > 0 && rows <= ROOT && rows.is_multiple_of(2));
    // Rows come in pairs, so that one more than the taps need is read. A load takes 16 bytes.
    assert!(source.samples.len() >= (rows + taps::<S>() - 1) * source.stride + lanes + 8);
    assert!(out.len() >= (rows - 1) * STRIDE + lanes);
    assert!(MODE != BY_ROW || weights.len() >= rows);
    assert!(MODE != BY_LANE || weights.len() >= lanes);

    let along = source.x.map(|taps| RowFilter::new::<S>(taps));
    let down = source.y.map(|taps| column_factors(taps));
    for lane in (0..lanes).step_by(8) {
        let blend = Blend::<MODE> {
            weights,
            // SAFETY: 8 weights from `lane` on, which is at most lanes - 8.
            lanes: if MODE == BY_LANE { unsafe { lane_weights(weights.as_ptr().wrapping_add(lane)) } } else { [zero(); 2] },
        };
        let out = out[lane..].as_mut_ptr();
        // SAFETY: `row` and the one after it are rows of the block.
        let put = |row: usize, value: __m256i| unsafe { blend.put(row, out.wrapping_add(row * STRIDE), value) };
        let samples = source.samples[lane..].as_ptr();
        let filtered = |row: usize| {
            let first = samples.wrapping_add(row * source.stride);
            match &along {
                // SAFETY: `row` and the one after it are below rows + taps; 16 bytes from `lane` on are asserted above.
                Some(filter) => unsafe { filter.apply::<S>(first, source.stride) },
                // SAFETY: as above, and 8 bytes begin at most 3 later.
                None => unsafe { whole(first.wrapping_add(before::<S>() * S), source.stride) },
            }
        };
        let Some(factors) = &down else {
            for row in (0..rows).step_by(2) {
                put(row, filtered(row + before::<S>()));
            }
            continue;
        };
        // What the taps 2 k and 2 k + 1 are multiplied with, for the present two rows: lower and upper halves of unpacked values.
        // Two rows later, it is what the taps before them are multiplied with.
        let mut pairs = [[zero(); 2]; 4];
        let count = taps::<S>() / 2;
        let mut last = filtered(0);
        let next_pair = |last: &mut __m256i, row: usize| {
            let next = filtered(row);
            let between = _mm256_permute2x128_si256::<0x21>(*last, next);
            let pair = [_mm256_unpacklo_epi16(*last, between), _mm256_unpackhi_epi16(*last, between)];
            *last = next;
            pair
        };
        for (k, pair) in pairs[..count - 1].iter_mut().enumerate() {
            *pair = next_pair(&mut last, 2 * k + 2);
        }
        for row in (0..rows).step_by(2) {
            pairs[count - 1] = next_pair(&mut last, row + 2 * count);
            let mut sums = [zero(); 2];
            for (pair, &factor) in pairs[..count].iter().zip(factors) {
                for (sum, &half) in sums.iter_mut().zip(pair) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(half, factor));
                }
            }
            put(row, shift_and_pack(sums));
            // Copied one by one, they stay in registers.
            for k in 1..count {
                pairs[k - 1] = pairs[k];
            }
        }
    }
}

/// How predictions are written.
struct Blend<'a, const MODE: u8> {
    weights: &'a [[i16; 2]],
    /// Weights of 8 lanes, as they are needed for unpacked values.
    lanes: [__m256i; 2],
}

impl<const MODE: u8> Blend<'_, MODE> {
    /// Writes 8 lanes of the rows `row` and `row` + 1 to `to` and to [`STRIDE`] further on.
    ///
    /// # Safety
    /// 8 values must be readable and writable at both; in mode [`BY_ROW`] both rows must have weights.
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn put(&self, row: usize, to: *mut i16, value: __m256i) {
        let (first, second) = (to.cast::<__m128i>(), to.wrapping_add(STRIDE).cast::<__m128i>());
        let mixed = if MODE == OWN {
            value
        } else {
            let [low, high] = if MODE == BY_LANE {
                self.lanes
            } else {
                // SAFETY: by the caller's promise, these are two pairs of 4 bytes each.
                let pairs = unsafe { _mm_loadl_epi64(self.weights.as_ptr().wrapping_add(row).cast()) };
                let spread = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
                [_mm256_permutevar8x32_epi32(_mm256_castsi128_si256(pairs), spread); 2]
            };
            // SAFETY: by the caller's promise.
            let old = unsafe { _mm256_loadu2_m128i(second, first) };
            shift_and_pack([
                _mm256_madd_epi16(_mm256_unpacklo_epi16(old, value), low),
                _mm256_madd_epi16(_mm256_unpackhi_epi16(old, value), high),
            ])
        };
        // SAFETY: by the caller's promise.
        unsafe { _mm256_storeu2_m128i(second, first, mixed) };
    }
}

/// # Safety
/// 8 weights must be readable.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn lane_weights(weights: *const [i16; 2]) -> [__m256i; 2] {
    // SAFETY: by the caller's promise.
    let halves = unsafe { [_mm_loadu_si128(weights.cast()), _mm_loadu_si128(weights.wrapping_add(4).cast())] };
    halves.map(|half| _mm256_broadcastsi128_si256(half))
}

/// The filter along rows: shuffles that bring the samples of two taps together, and the taps.
struct RowFilter {
    shuffles: [__m256i; 4],
    factors: [__m256i; 4],
}

impl RowFilter {
    #[target_feature(enable = "avx2")]
    #[inline]
    fn new<const S: usize>(taps: &[i8; 8]) -> Self {
        let lanes = _mm_setr_epi8(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
        let lanes = _mm256_broadcastsi128_si256(lanes);
        Self {
            shuffles: std::array::from_fn(|k| {
                let first = (2 * k * S) as i16;
                _mm256_add_epi8(lanes, _mm256_set1_epi16((first + S as i16) << 8 | first))
            }),
            factors: std::array::from_fn(|k| _mm256_set1_epi16(i16::from(taps[2 * k + 1]) << 8 | i16::from(taps[2 * k]) & 0xff)),
        }
    }

    /// 8 filtered values of the samples at `first`, and 8 of those `second` further on.
    ///
    /// # Safety
    /// 16 bytes must be readable at both.
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn apply<const S: usize>(&self, first: *const u8, second: usize) -> __m256i {
        // SAFETY: by the caller's promise.
        let samples = unsafe { _mm256_loadu2_m128i(first.wrapping_add(second).cast(), first.cast()) };
        let mut sum = _mm256_set1_epi16(-OFFSET);
        for k in 0..taps::<S>() / 2 {
            // Two neighbouring taps sum up to 80 at most, so products stay below the limit of saturation.
            let product = _mm256_maddubs_epi16(_mm256_shuffle_epi8(samples, self.shuffles[k]), self.factors[k]);
            sum = _mm256_add_epi16(sum, product);
        }
        sum
    }
}

/// 8 samples at `first` and 8 samples `second` further on, at 64 per grey level, less the offset.
///
/// # Safety
/// 8 bytes must be readable at both.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn whole(first: *const u8, second: usize) -> __m256i {
    // SAFETY: by the caller's promise.
    let halves = unsafe { [_mm_loadl_epi64(first.cast()), _mm_loadl_epi64(first.wrapping_add(second).cast())] };
    let values = _mm256_unpacklo_epi8(_mm256_set_m128i(halves[1], halves[0]), zero());
    _mm256_sub_epi16(_mm256_slli_epi16(values, 6), _mm256_set1_epi16(OFFSET))
}

/// The taps of the filter along columns, two by two.
#[target_feature(enable = "avx2")]
#[inline]
fn column_factors(taps: &[i8; 8]) -> [__m256i; 4] {
    std::array::from_fn(|k| _mm256_set1_epi32(i32::from(taps[2 * k + 1]) << 16 | i32::from(taps[2 * k]) & 0xffff))
}

/// (value + 32) >> 6 of 32-bit values in the order that unpacking makes.
#[target_feature(enable = "avx2")]
#[inline]
fn shift_and_pack(values: [__m256i; 2]) -> __m256i {
    let half = _mm256_set1_epi32(32);
    let [low, high] = values.map(|values| _mm256_srai_epi32(_mm256_add_epi32(values, half), 6));
    _mm256_packs_epi32(low, high)
}

#[target_feature(enable = "avx2")]
#[inline]
fn zero() -> __m256i {
    _mm256_setzero_si256()
}
