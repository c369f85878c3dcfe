//! Prediction of a block with AVX2.
//!
//! A vector holds 16 values: 16 lanes of a row, or 8 lanes of two rows in blocks (or their remainders) that are 8 lanes wide. In
//! the second case the lines between the filters are 8 values long, so that both cases filter columns alike.

use std::arch::x86_64::*;

use super::filters::{OFFSET, Source, before, taps};
use super::tile::{BY_LANE, BY_ROW, Kernels, LANES, OWN, STRIDE, Scratch};
use crate::motion::ROOT;

/// Runs where the processor has AVX2; must not be used elsewhere.
pub(super) struct Avx2;

impl Avx2 {
    pub fn available() -> bool {
        std::arch::is_x86_feature_detected!("avx2")
    }
}

impl Kernels for Avx2 {
    fn block<const S: usize, const MODE: u8>(
        source: &Source,
        lanes: usize,
        rows: usize,
        scratch: &mut Scratch,
        out: &mut [i16],
        weights: &[i16],
    ) {
        debug_assert!(Self::available());
        let wide = lanes / 16 * 16;
        if wide > 0 {
            // SAFETY: the type is used only where the processor has AVX2.
            unsafe { columns::<S, MODE, false>(source, 0, wide, rows, scratch, out, weights) };
        }
        if wide < lanes {
            // SAFETY: as above.
            unsafe { columns::<S, MODE, true>(source, wide, 8, rows, scratch, out, weights) };
        }
    }
}

/// Predicts `lanes` lanes from `first` on; with `PAIRS` 8 lanes, two rows at a time, else a multiple of 16.
#[target_feature(enable = "avx2")]
fn columns<const S: usize, const MODE: u8, const PAIRS: bool>(
    source: &Source,
    first: usize,
    lanes: usize,
    rows: usize,
    scratch: &mut Scratch,
    out: &mut [i16],
    weights: &[i16],
) {
    let (row_step, lane_step) = if PAIRS { (2, 8) } else { (1, 16) };
    assert!(rows > 0 && rows <= ROOT && rows.is_multiple_of(row_step));
    assert!(lanes > 0 && lanes <= LANES && lanes.is_multiple_of(lane_step));
    // The last row is read for the second half of a vector only; a load takes 16 bytes, and a vector two of them, 8 apart.
    assert!(source.samples.len() > (rows + taps::<S>()) * source.stride + first + lanes + 16);
    assert!(out.len() >= first + (rows - 1) * STRIDE + lanes);
    assert!(match MODE {
        OWN => true,
        BY_ROW => weights.len() >= rows,
        BY_LANE => weights.len() >= first + lanes,
        _ => false,
    });
    // What follows accesses three buffers through pointers:
    // - samples: rows below rows + taps, lanes below first + lanes + 16: asserted above.
    // - scratch: lines below rows + taps, each of `line` values.
    // - out: rows below `rows`, lanes below first + lanes: asserted above.
    let line = if PAIRS { 8 } else { lanes };
    const { assert!(size_of::<Scratch>() >= (ROOT + 8) * LANES * size_of::<i16>()) };
    let samples = source.samples.as_ptr();
    let second = if PAIRS { source.stride } else { 8 };
    let at = |row: usize, lane: usize| samples.wrapping_add(row * source.stride + first + lane);

    let put = |out: &mut [i16], row: usize, lane: usize, value: __m256i| {
        let to = out.as_mut_ptr().wrapping_add(row * STRIDE + first + lane);
        let to = [to, to.wrapping_add(if PAIRS { STRIDE } else { 8 })];
        let value = if MODE == OWN {
            value
        } else {
            // SAFETY: within `out`, see above.
            let old = unsafe { _mm256_loadu2_m128i(to[1].cast(), to[0].cast()) };
            let [low, high] = match MODE {
                BY_ROW if PAIRS => {
                    let pairs = [weights[row], weights[row + 1]].map(|w| _mm_set1_epi32(weight_pair(w)));
                    [_mm256_set_m128i(pairs[1], pairs[0]); 2]
                }
                BY_ROW => [_mm256_set1_epi32(weight_pair(weights[row])); 2],
                _ => {
                    let from = weights.as_ptr().wrapping_add(first + lane);
                    // SAFETY: lane + 8 with PAIRS, else lane + 16, is at most `lanes`.
                    let w = unsafe {
                        if PAIRS {
                            _mm256_broadcastsi128_si256(_mm_loadu_si128(from.cast()))
                        } else {
                            _mm256_loadu_si256(from.cast())
                        }
                    };
                    let rest = _mm256_sub_epi16(_mm256_set1_epi16(64), w);
                    [_mm256_unpacklo_epi16(rest, w), _mm256_unpackhi_epi16(rest, w)]
                }
            };
            shift_and_pack(
                _mm256_madd_epi16(_mm256_unpacklo_epi16(old, value), low),
                _mm256_madd_epi16(_mm256_unpackhi_epi16(old, value), high),
            )
        };
        // SAFETY: within `out`, see above.
        unsafe { _mm256_storeu2_m128i(to[1].cast(), to[0].cast(), value) };
    };

    let along = source.x.map(|taps| RowFilter::new::<S>(taps));
    let filtered = |row: usize, lane: usize| match &along {
        // SAFETY: 16 bytes from two positions within `samples`, see above.
        Some(filter) => unsafe { filter.apply::<S>(at(row, lane), second) },
        // SAFETY: 8 bytes from two positions within `samples`.
        None => unsafe { whole(at(row, lane + before::<S>() * S), second) },
    };

    let Some(down) = source.y else {
        for row in (0..rows).step_by(row_step) {
            for lane in (0..lanes).step_by(lane_step) {
                put(out, row, lane, filtered(row + before::<S>(), lane));
            }
        }
        return;
    };
    let between = scratch.as_mut_ptr();
    for row in (0..rows + taps::<S>() - 1).step_by(row_step) {
        for lane in (0..lanes).step_by(lane_step) {
            // SAFETY: a vector of one line, or of two of which the second one is below rows + taps.
            unsafe { _mm256_storeu_si256(between.add(row * line + lane).cast(), filtered(row, lane)) };
        }
    }
    let factors: [__m256i; 4] =
        std::array::from_fn(|k| _mm256_set1_epi32(i32::from(down[2 * k + 1]) << 16 | i32::from(down[2 * k]) & 0xffff));
    for row in (0..rows).step_by(row_step) {
        for lane in (0..lanes).step_by(lane_step) {
            // SAFETY: tap < taps, so the lines are below rows + taps, that of a vector's second row included.
            let load = |tap: usize| unsafe { _mm256_loadu_si256(between.add((row + tap) * line + lane).cast()) };
            let (mut low, mut high) = (_mm256_setzero_si256(), _mm256_setzero_si256());
            for (k, &factor) in factors[..taps::<S>() / 2].iter().enumerate() {
                let (a, b) = (load(2 * k), load(2 * k + 1));
                low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), factor));
                high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), factor));
            }
            put(out, row, lane, shift_and_pack(low, high));
        }
    }
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
            // No pair of taps sums up to more than 80, so products stay below the limit of saturation.
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
    let values = _mm256_unpacklo_epi8(_mm256_set_m128i(halves[1], halves[0]), _mm256_setzero_si256());
    _mm256_sub_epi16(_mm256_slli_epi16(values, 6), _mm256_set1_epi16(OFFSET))
}

/// (value + 32) >> 6 of 32-bit values in the order that unpacking makes.
#[target_feature(enable = "avx2")]
#[inline]
fn shift_and_pack(low: __m256i, high: __m256i) -> __m256i {
    let half = _mm256_set1_epi32(32);
    let shift = |values: __m256i| _mm256_srai_epi32(_mm256_add_epi32(values, half), 6);
    _mm256_packs_epi32(shift(low), shift(high))
}

/// Factors of a value (64 - weight, lower half) and of the one that is blended in (weight).
#[inline(always)]
fn weight_pair(weight: i16) -> i32 {
    i32::from(weight) << 16 | (64 - i32::from(weight))
}
