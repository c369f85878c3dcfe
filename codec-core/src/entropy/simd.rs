//! Vector kernels. They equal the scalar ones bit for bit: integer sums do not depend on their order.

use super::conv::{Layer, depthwise_any, pointwise_scalar};

/// Which instructions the kernels use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Any machine.
    Scalar,
    Avx2,
    /// AVX-512 F, BW and VNNI.
    Avx512,
}

impl Backend {
    /// The fastest one that this machine has.
    pub fn detect() -> Self {
        [Self::Avx512, Self::Avx2].into_iter().find(|b| b.available()).unwrap_or(Self::Scalar)
    }

    /// Whether this machine can run it.
    pub fn available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        match self {
            Self::Scalar => true,
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Scalar
        }
    }
}

/// 1x1 convolution of all positions of `out`.
///
/// # Panics
/// If the backend is not available.
pub(super) fn pointwise(backend: Backend, layer: &Layer, input: &[i16], out: &mut [i16]) {
    assert!(backend.available());
    match backend {
        Backend::Scalar => pointwise_scalar(layer, &input[..out.len() / layer.outputs * layer.inputs], out),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the features were just checked; `Layer::run` guarantees the spare input value that pairs may read.
        Backend::Avx2 => unsafe { x86::pointwise_avx2(layer, input, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Backend::Avx512 => unsafe { x86::pointwise_avx512(layer, input, out) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => unreachable!("not available here"),
    }
}

/// Depthwise 3x3 convolution.
///
/// # Panics
/// If the backend is not available.
pub(super) fn depthwise(backend: Backend, layer: &Layer, input: &[i16], rows: usize, cols: usize, out: &mut [i16]) {
    assert!(backend.available());
    match backend {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the features were just checked.
        Backend::Avx2 => unsafe { x86::depthwise_avx2(layer, input, rows, cols, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the features were just checked.
        Backend::Avx512 => unsafe { x86::depthwise_avx512(layer, input, rows, cols, out) },
        _ => depthwise_any(layer, input, rows, cols, out),
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::conv::{BLOCK, Layer, depthwise_any};

    #[target_feature(enable = "avx2")]
    pub fn depthwise_avx2(layer: &Layer, input: &[i16], rows: usize, cols: usize, out: &mut [i16]) {
        depthwise_any(layer, input, rows, cols, out);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub fn depthwise_avx512(layer: &Layer, input: &[i16], rows: usize, cols: usize, out: &mut [i16]) {
        depthwise_any(layer, input, rows, cols, out);
    }

    /// Calls `kernel` for groups of `GROUP` positions and then for single ones.
    macro_rules! for_positions {
        ($layer:ident, $input:ident, $out:ident, $group:literal, $kernel:ident) => {
            let positions = $out.len() / $layer.outputs;
            let mut position = 0;
            while position + $group <= positions {
                // SAFETY: this group lies within `out`, and `input` has a spare value behind its last position.
                unsafe { $kernel::<$group>($layer, $input, $out, position) };
                position += $group;
            }
            while position < positions {
                // SAFETY: as above.
                unsafe { $kernel::<1>($layer, $input, $out, position) };
                position += 1;
            }
        };
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    pub fn pointwise_avx512(layer: &Layer, input: &[i16], out: &mut [i16]) {
        for_positions!(layer, input, out, 8, tile_avx512);
    }

    #[target_feature(enable = "avx2")]
    pub fn pointwise_avx2(layer: &Layer, input: &[i16], out: &mut [i16]) {
        for_positions!(layer, input, out, 4, tile_avx2);
    }

    /// `P` positions from `position` on, two blocks of 16 outputs at a time.
    ///
    /// # Safety
    /// The positions lie within `out`, and `input` holds one value more than they need.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn tile_avx512<const P: usize>(layer: &Layer, input: &[i16], out: &mut [i16], position: usize) {
        let pairs = layer.inputs.div_ceil(2);
        let blocks = layer.outputs.div_ceil(BLOCK);
        let x = &input[position * layer.inputs..];
        let mut block = 0;
        while block < blocks {
            let second = block + 1 < blocks;
            // SAFETY: weights hold `blocks * pairs * 32` values; the reads of inputs end one value behind the last
            // position; bias and shift are padded to whole blocks; stores are masked to the real outputs.
            unsafe {
                let bias = |b: usize| _mm512_loadu_si512(layer.bias.as_ptr().add(b * BLOCK).cast());
                let mut sums = [[bias(block); P], [bias(if second { block + 1 } else { block }); P]];
                let weights = layer.weights.as_ptr().add(block * pairs * BLOCK * 2);
                let next = if second { weights.add(pairs * BLOCK * 2) } else { weights };
                for pair in 0..pairs {
                    let w0 = _mm512_loadu_si512(weights.add(pair * BLOCK * 2).cast());
                    let w1 = _mm512_loadu_si512(next.add(pair * BLOCK * 2).cast());
                    let [first, second] = &mut sums;
                    for (p, (first, second)) in first.iter_mut().zip(second).enumerate() {
                        let v = x.as_ptr().add(p * layer.inputs + pair * 2).cast::<i32>().read_unaligned();
                        let v = _mm512_set1_epi32(v);
                        *first = _mm512_dpwssd_epi32(*first, v, w0);
                        *second = _mm512_dpwssd_epi32(*second, v, w1);
                    }
                }
                for (half, sums) in sums.iter().enumerate().take(if second { 2 } else { 1 }) {
                    let first = (block + half) * BLOCK;
                    let shift = _mm512_loadu_si512(layer.shift.as_ptr().add(first).cast());
                    let rounding = _mm512_srli_epi32(_mm512_sllv_epi32(_mm512_set1_epi32(1), shift), 1);
                    let mask = if layer.outputs - first >= BLOCK { 0xffff } else { (1u16 << (layer.outputs - first)) - 1 };
                    for (p, &sum) in sums.iter().enumerate() {
                        let sum = if layer.leaky { _mm512_max_epi32(sum, _mm512_srai_epi32(sum, 3)) } else { sum };
                        let value = _mm512_srav_epi32(_mm512_add_epi32(sum, rounding), shift);
                        let target = out.as_mut_ptr().add((position + p) * layer.outputs + first);
                        _mm256_mask_storeu_epi16(target, mask, _mm512_cvtsepi32_epi16(value));
                    }
                }
            }
            block += 2;
        }
    }

    /// `P` positions from `position` on, one block of 16 outputs at a time.
    ///
    /// # Safety
    /// The positions lie within `out`, and `input` holds one value more than they need.
    #[target_feature(enable = "avx2")]
    unsafe fn tile_avx2<const P: usize>(layer: &Layer, input: &[i16], out: &mut [i16], position: usize) {
        let pairs = layer.inputs.div_ceil(2);
        let x = &input[position * layer.inputs..];
        for block in 0..layer.outputs.div_ceil(BLOCK) {
            let first = block * BLOCK;
            // SAFETY: as in `tile_avx512`.
            unsafe {
                let load = |values: &[i32], i: usize| _mm256_loadu_si256(values.as_ptr().add(first + 8 * i).cast());
                let mut sums = [[load(&layer.bias, 0), load(&layer.bias, 1)]; P];
                let weights = layer.weights.as_ptr().add(block * pairs * BLOCK * 2);
                for pair in 0..pairs {
                    let w0 = _mm256_loadu_si256(weights.add(pair * BLOCK * 2).cast());
                    let w1 = _mm256_loadu_si256(weights.add(pair * BLOCK * 2 + BLOCK).cast());
                    for (p, sums) in sums.iter_mut().enumerate() {
                        let v = x.as_ptr().add(p * layer.inputs + pair * 2).cast::<i32>().read_unaligned();
                        let v = _mm256_set1_epi32(v);
                        sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(v, w0));
                        sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(v, w1));
                    }
                }
                let one = _mm256_set1_epi32(1);
                let count = (layer.outputs - first).min(BLOCK);
                for (p, sums) in sums.iter().enumerate() {
                    let mut values = [_mm256_setzero_si256(); 2];
                    for (i, value) in values.iter_mut().enumerate() {
                        let shift = load(&layer.shift, i);
                        let rounding = _mm256_srli_epi32(_mm256_sllv_epi32(one, shift), 1);
                        let sum = if layer.leaky { _mm256_max_epi32(sums[i], _mm256_srai_epi32(sums[i], 3)) } else { sums[i] };
                        *value = _mm256_srav_epi32(_mm256_add_epi32(sum, rounding), shift);
                    }
                    // The pack works within 128-bit lanes; the permutation puts the quarters in order.
                    let packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(values[0], values[1]), 0b11_01_10_00);
                    let mut lanes = [0i16; BLOCK];
                    _mm256_storeu_si256(lanes.as_mut_ptr().cast(), packed);
                    out[(position + p) * layer.outputs + first..][..count].copy_from_slice(&lanes[..count]);
                }
            }
        }
    }
}
