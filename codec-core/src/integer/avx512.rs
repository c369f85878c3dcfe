//! The kernels on AVX-512 with VNNI: `vpdpwssd` multiplies two inputs and adds, 12 positions by 32 outputs stay in registers.

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;

use super::Activation;
use super::packed::{BLOCK, Lanes, Packed, depthwise_groups};

/// `vpdpwssd` as written: the intrinsic may become `vpmaddwd` and `vpaddd`, two operations for one.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
#[inline]
fn dot(mut sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: registers only.
    unsafe {
        asm!("vpdpwssd {}, {}, {}", inout(zmm_reg) sum, in(zmm_reg) a, in(zmm_reg) b, options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
#[inline]
fn lanes(lanes: &Lanes) -> __m512i {
    // SAFETY: 64 bytes, aligned.
    unsafe { _mm512_load_si512(lanes.0.as_ptr().cast()) }
}

/// A bit for each output of a block that is no padding.
fn mask(layer: &Packed, block: usize) -> __mmask16 {
    u16::MAX >> (BLOCK - layer.width(block))
}

/// max(sum, sum >> 3) and the rounding term.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
#[inline]
fn leaky_sum(sum: __m512i, rounding: __m512i) -> __m512i {
    _mm512_add_epi32(_mm512_max_epi32(sum, _mm512_srai_epi32::<3>(sum)), rounding)
}

/// max(y, (13 y + 64) >> 7), as on AVX2.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
#[inline]
fn leaky(y: __m256i) -> __m256i {
    _mm256_max_epi16(y, _mm256_mulhrs_epi16(y, _mm256_set1_epi16(13 * 256)))
}

/// `B` (1 or 2) blocks of outputs from `block` on, of `P` positions. `K`: the number of inputs if it is known, so that
/// positions are constant offsets; else 0.
///
/// # Safety
/// `x` holds `P` positions of inputs, `out`, and `skip` unless it is null, `P` positions of outputs.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
#[inline]
unsafe fn tile<const P: usize, const B: usize, const K: usize>(
    layer: &Packed,
    block: usize,
    x: *const i16,
    skip: *const i16,
    out: *mut i16,
) {
    let inputs = if K == 0 { layer.inputs } else { K };
    let pairs = inputs.div_ceil(2);
    let mut sums = [[_mm512_setzero_si512(); B]; P];
    for sums in &mut sums {
        for (b, sum) in sums.iter_mut().enumerate() {
            *sum = lanes(&layer.start[block + b]);
        }
    }
    let weights = &layer.weights[block * pairs..][..B * pairs];
    // SAFETY: as the caller guarantees; weights are aligned lines of 64 bytes.
    unsafe {
        let line = |b: usize, pair: usize| _mm512_load_si512(weights.as_ptr().add(b * pairs + pair).cast());
        for pair in 0..inputs / 2 {
            let mut lines = [_mm512_setzero_si512(); B];
            for (b, weights) in lines.iter_mut().enumerate() {
                *weights = line(b, pair);
            }
            for (p, sums) in sums.iter_mut().enumerate() {
                let x = _mm512_set1_epi32(x.add(p * inputs + 2 * pair).cast::<i32>().read_unaligned());
                for (sum, &weights) in sums.iter_mut().zip(&lines) {
                    *sum = dot(*sum, x, weights);
                }
            }
        }
        if inputs % 2 == 1 {
            for (p, sums) in sums.iter_mut().enumerate() {
                let x = _mm512_set1_epi32(i32::from(*x.add(p * inputs + inputs - 1)));
                for (b, sum) in sums.iter_mut().enumerate() {
                    *sum = dot(*sum, x, line(b, inputs / 2));
                }
            }
        }
    }
    // Loops whose bodies are short are unrolled, which keeps the sums in registers.
    if layer.activation == Activation::LeakySum {
        for sums in &mut sums {
            for (b, sum) in sums.iter_mut().enumerate() {
                *sum = leaky_sum(*sum, lanes(&layer.rounding[block + b]));
            }
        }
    }
    let mut values = [[_mm256_setzero_si256(); B]; P];
    for b in 0..B {
        let shift = lanes(&layer.shift[block + b]);
        for (values, sums) in values.iter_mut().zip(&sums) {
            values[b] = _mm512_cvtsepi32_epi16(_mm512_srav_epi32(sums[b], shift));
        }
    }
    if layer.activation == Activation::Leaky {
        for value in values.as_flattened_mut() {
            *value = leaky(*value);
        }
    }
    for b in 0..B {
        let (first, mask) = ((block + b) * BLOCK, mask(layer, block + b));
        for (p, values) in values.iter().enumerate() {
            let at = p * layer.outputs + first;
            let mut value = values[b];
            // SAFETY: as the caller guarantees; the mask leaves out what lies behind the outputs.
            unsafe {
                if !skip.is_null() {
                    value = _mm256_adds_epi16(value, _mm256_maskz_loadu_epi16(mask, skip.add(at)));
                }
                _mm256_mask_storeu_epi16(out.add(at), mask, value);
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn pointwise(layer: &Packed, x: &[i16], skip: Option<&[i16]>, out: &mut [i16]) {
    match layer.inputs {
        64 => positions::<64>(layer, x, skip, out),
        96 => positions::<96>(layer, x, skip, out),
        128 => positions::<128>(layer, x, skip, out),
        192 => positions::<192>(layer, x, skip, out),
        256 => positions::<256>(layer, x, skip, out),
        384 => positions::<384>(layer, x, skip, out),
        _ => positions::<0>(layer, x, skip, out),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn positions<const K: usize>(layer: &Packed, x: &[i16], skip: Option<&[i16]>, out: &mut [i16]) {
    let blocks = layer.blocks();
    let mut block = 0;
    while block + 2 <= blocks {
        blocks_of::<2, K>(layer, block, x, skip, out);
        block += 2;
    }
    if block < blocks {
        blocks_of::<1, K>(layer, block, x, skip, out);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
#[inline]
fn blocks_of<const B: usize, const K: usize>(layer: &Packed, block: usize, x: &[i16], skip: Option<&[i16]>, out: &mut [i16]) {
    let n = out.len() / layer.outputs;
    assert!(x.len() >= n * layer.inputs && skip.is_none_or(|skip| skip.len() >= n * layer.outputs));
    let mut p = 0;
    while p < n {
        let (x, at) = (x[p * layer.inputs..].as_ptr(), p * layer.outputs);
        let skip = skip.map_or(std::ptr::null(), |skip| skip[at..].as_ptr());
        let out = out[at..].as_mut_ptr();
        // SAFETY: positions p..p + P lie within the slices.
        unsafe {
            p += match n - p {
                12.. => {
                    tile::<12, B, K>(layer, block, x, skip, out);
                    12
                }
                4.. => {
                    tile::<4, B, 0>(layer, block, x, skip, out);
                    4
                }
                _ => {
                    tile::<1, B, 0>(layer, block, x, skip, out);
                    1
                }
            };
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn depthwise(layer: &Packed, rows: [&[i16]; 3], out: &mut [i16]) {
    let cols = out.len() / layer.outputs;
    assert!(rows.iter().all(|row| row.len() >= cols * layer.outputs));
    for columns in depthwise_groups(layer.outputs, cols) {
        for block in 0..layer.blocks() {
            depthwise_columns(layer, block, rows, columns.clone(), out);
        }
    }
}

/// One block of channels.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn depthwise_columns(layer: &Packed, block: usize, rows: [&[i16]; 3], columns: Range<usize>, out: &mut [i16]) {
    /// Interleaves 16 and 16 values to 16 pairs.
    const ORDER: [i16; 2 * BLOCK] = {
        let mut order = [0; 2 * BLOCK];
        let mut i = 0;
        while i < 2 * BLOCK {
            order[i] = (i / 2 + BLOCK * (i % 2)) as i16;
            i += 1;
        }
        order
    };
    let (channels, mask) = (layer.outputs, mask(layer, block));
    let cols = out.len() / channels;
    let mut weights = [_mm512_setzero_si512(); 5];
    for (pair, weights) in weights.iter_mut().enumerate() {
        // SAFETY: an aligned line of 64 bytes.
        *weights = unsafe { _mm512_load_si512(layer.weights[block * 5 + pair].0.as_ptr().cast()) };
    }
    // SAFETY: 64 bytes.
    let order = unsafe { _mm512_loadu_si512(ORDER.as_ptr().cast()) };
    for col in columns {
        let at = col * channels + block * BLOCK;
        let mut values = [_mm256_setzero_si256(); 10];
        for (row, values) in rows.iter().zip(values.chunks_exact_mut(3)) {
            let tap = row[at..].as_ptr();
            // SAFETY: the masked channels of this position and its neighbours, where there are any.
            unsafe {
                if col > 0 {
                    values[0] = _mm256_maskz_loadu_epi16(mask, tap.sub(channels));
                }
                values[1] = _mm256_maskz_loadu_epi16(mask, tap);
                if col + 1 < cols {
                    values[2] = _mm256_maskz_loadu_epi16(mask, tap.add(channels));
                }
            }
        }
        let mut sum = lanes(&layer.start[block]);
        for (taps, &weights) in values.chunks_exact(2).zip(&weights) {
            let both = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(taps[0]), taps[1]);
            sum = dot(sum, _mm512_permutexvar_epi16(order, both), weights);
        }
        if layer.activation == Activation::LeakySum {
            sum = leaky_sum(sum, lanes(&layer.rounding[block]));
        }
        let mut value = _mm512_cvtsepi32_epi16(_mm512_srav_epi32(sum, lanes(&layer.shift[block])));
        if layer.activation == Activation::Leaky {
            value = leaky(value);
        }
        // SAFETY: the masked channels of a position of `out`.
        unsafe { _mm256_mask_storeu_epi16(out[at..].as_mut_ptr(), mask, value) };
    }
}
