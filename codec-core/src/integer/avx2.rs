//! The kernels on AVX2: `vpmaddwd` multiplies two inputs at once, 6 positions by 16 outputs stay in registers.

use std::arch::x86_64::*;
use std::ops::Range;

use super::Activation;
use super::packed::{BLOCK, Lanes, Packed, depthwise_groups};

/// Both halves of a block's values.
#[target_feature(enable = "avx2")]
#[inline]
fn halves(lanes: &Lanes) -> [__m256i; 2] {
    // SAFETY: 64 bytes, aligned.
    unsafe { [_mm256_load_si256(lanes.0.as_ptr().cast()), _mm256_load_si256(lanes.0.as_ptr().add(8).cast())] }
}

/// 128-bit halves as `vpunpcklwd` and `vpunpckhwd` leave them: channels 0-3 and 8-11, then 4-7 and 12-15.
#[target_feature(enable = "avx2")]
#[inline]
fn unpacked_order([a, b]: [__m256i; 2]) -> [__m256i; 2] {
    [_mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x31>(a, b)]
}

/// Shifts and saturates; the result has its lanes in the order that `vpackssdw` makes.
#[target_feature(enable = "avx2")]
#[inline]
fn requantise([a, b]: [__m256i; 2], shift: [__m256i; 2]) -> __m256i {
    _mm256_packs_epi32(_mm256_srav_epi32(a, shift[0]), _mm256_srav_epi32(b, shift[1]))
}

/// max(sum, sum >> 3) and the rounding term.
#[target_feature(enable = "avx2")]
#[inline]
fn leaky_sum(sum: __m256i, rounding: __m256i) -> __m256i {
    _mm256_add_epi32(_mm256_max_epi32(sum, _mm256_srai_epi32::<3>(sum)), rounding)
}

/// max(y, (13 y + 64) >> 7): `vpmulhrsw` by 13 * 256 is ((13 y >> 6) + 1) >> 1, the same.
#[target_feature(enable = "avx2")]
#[inline]
fn leaky(y: __m256i) -> __m256i {
    _mm256_max_epi16(y, _mm256_mulhrs_epi16(y, _mm256_set1_epi16(13 * 256)))
}

/// The first `width` values, then zeros.
///
/// # Safety
/// `width` values can be read.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn load(from: *const i16, width: usize) -> __m256i {
    // SAFETY: as the caller guarantees.
    unsafe {
        if width == BLOCK {
            return _mm256_loadu_si256(from.cast());
        }
        let mut values = [0i16; BLOCK];
        std::ptr::copy_nonoverlapping(from, values.as_mut_ptr(), width);
        _mm256_loadu_si256(values.as_ptr().cast())
    }
}

/// # Safety
/// `width` values can be written.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn store(to: *mut i16, width: usize, values: __m256i) {
    // SAFETY: as the caller guarantees.
    unsafe {
        if width == BLOCK {
            return _mm256_storeu_si256(to.cast(), values);
        }
        let mut all = [0i16; BLOCK];
        _mm256_storeu_si256(all.as_mut_ptr().cast(), values);
        std::ptr::copy_nonoverlapping(all.as_ptr(), to, width);
    }
}

/// One block of outputs of `P` positions. `K`: the number of inputs if it is known, so that positions are constant
/// offsets; else 0.
///
/// # Safety
/// `x` holds `P` positions of inputs, `out`, and `skip` unless it is null, `P` positions of outputs.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn tile<const P: usize, const K: usize>(layer: &Packed, block: usize, x: *const i16, skip: *const i16, out: *mut i16) {
    let inputs = if K == 0 { layer.inputs } else { K };
    let mut sums = [halves(&layer.start[block]); P];
    let weights = &layer.weights[block * inputs.div_ceil(2)..][..inputs.div_ceil(2)];
    let madd = |sums: &mut [__m256i; 2], x: i32, weights: [__m256i; 2]| {
        let x = _mm256_set1_epi32(x);
        sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(x, weights[0]));
        sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(x, weights[1]));
    };
    // SAFETY: as the caller guarantees; weights are aligned lines of 64 bytes.
    unsafe {
        let line = |pair: usize| {
            let weights = weights.as_ptr().add(pair).cast::<__m256i>();
            [_mm256_load_si256(weights), _mm256_load_si256(weights.add(1))]
        };
        for pair in 0..inputs / 2 {
            let weights = line(pair);
            for (p, sums) in sums.iter_mut().enumerate() {
                madd(sums, x.add(p * inputs + 2 * pair).cast::<i32>().read_unaligned(), weights);
            }
        }
        if inputs % 2 == 1 {
            let weights = line(inputs / 2);
            for (p, sums) in sums.iter_mut().enumerate() {
                madd(sums, i32::from(*x.add(p * inputs + inputs - 1)), weights);
            }
        }
    }
    if layer.activation == Activation::LeakySum {
        let rounding = halves(&layer.rounding[block]);
        for sums in &mut sums {
            *sums = [leaky_sum(sums[0], rounding[0]), leaky_sum(sums[1], rounding[1])];
        }
    }
    let shift = halves(&layer.shift[block]);
    // Of quarters 0, 2, 1, 3.
    let mut values = [_mm256_setzero_si256(); P];
    for (value, &sums) in values.iter_mut().zip(&sums) {
        *value = _mm256_permute4x64_epi64::<0b11_01_10_00>(requantise(sums, shift));
    }
    if layer.activation == Activation::Leaky {
        for value in &mut values {
            *value = leaky(*value);
        }
    }
    let width = layer.width(block);
    for (p, &value) in values.iter().enumerate() {
        let at = p * layer.outputs + block * BLOCK;
        // SAFETY: as the caller guarantees.
        unsafe {
            let value = if skip.is_null() { value } else { _mm256_adds_epi16(value, load(skip.add(at), width)) };
            store(out.add(at), width, value);
        }
    }
}

#[target_feature(enable = "avx2")]
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

#[target_feature(enable = "avx2")]
fn positions<const K: usize>(layer: &Packed, x: &[i16], skip: Option<&[i16]>, out: &mut [i16]) {
    let n = out.len() / layer.outputs;
    assert!(x.len() >= n * layer.inputs && skip.is_none_or(|skip| skip.len() >= n * layer.outputs));
    for block in 0..layer.blocks() {
        let mut p = 0;
        while p < n {
            let (x, at) = (x[p * layer.inputs..].as_ptr(), p * layer.outputs);
            let skip = skip.map_or(std::ptr::null(), |skip| skip[at..].as_ptr());
            let out = out[at..].as_mut_ptr();
            // SAFETY: positions p..p + P lie within the slices.
            unsafe {
                p += match n - p {
                    6.. => {
                        tile::<6, K>(layer, block, x, skip, out);
                        6
                    }
                    4.. => {
                        tile::<4, 0>(layer, block, x, skip, out);
                        4
                    }
                    2.. => {
                        tile::<2, 0>(layer, block, x, skip, out);
                        2
                    }
                    _ => {
                        tile::<1, 0>(layer, block, x, skip, out);
                        1
                    }
                };
            }
        }
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn depthwise(layer: &Packed, rows: [&[i16]; 3], out: &mut [i16]) {
    let cols = out.len() / layer.outputs;
    assert!(rows.iter().all(|row| row.len() >= cols * layer.outputs));
    for columns in depthwise_groups(layer.outputs, cols) {
        for block in 0..layer.blocks() {
            if layer.width(block) == BLOCK {
                depthwise_columns::<true>(layer, block, rows, columns.clone(), out);
            } else {
                depthwise_columns::<false>(layer, block, rows, columns.clone(), out);
            }
        }
    }
}

/// One block of channels. `WHOLE`: all 16 channels are real.
#[target_feature(enable = "avx2")]
fn depthwise_columns<const WHOLE: bool>(layer: &Packed, block: usize, rows: [&[i16]; 3], columns: Range<usize>, out: &mut [i16]) {
    let cols = out.len() / layer.outputs;
    let (first, width) = (block * BLOCK, if WHOLE { BLOCK } else { layer.width(block) });
    let mut weights = [[_mm256_setzero_si256(); 2]; 5];
    for (pair, weights) in weights.iter_mut().enumerate() {
        let line = layer.weights[block * 5 + pair].0.as_ptr().cast::<__m256i>();
        // SAFETY: an aligned line of 64 bytes.
        *weights = unsafe { unpacked_order([_mm256_load_si256(line), _mm256_load_si256(line.add(1))]) };
    }
    let start = unpacked_order(halves(&layer.start[block]));
    let shift = unpacked_order(halves(&layer.shift[block]));
    for col in columns {
        let at = col * layer.outputs + first;
        let taps = rows.map(|row| row[at..].as_ptr());
        // SAFETY: taps are `width` channels of this position and its neighbours, where there are any.
        let mut sums = unsafe {
            match (col > 0, col + 1 < cols) {
                (true, true) => depthwise_sums::<true, true>(taps, layer.outputs, width, &weights, start),
                (true, false) => depthwise_sums::<true, false>(taps, layer.outputs, width, &weights, start),
                (false, true) => depthwise_sums::<false, true>(taps, layer.outputs, width, &weights, start),
                (false, false) => depthwise_sums::<false, false>(taps, layer.outputs, width, &weights, start),
            }
        };
        if layer.activation == Activation::LeakySum {
            let rounding = unpacked_order(halves(&layer.rounding[block]));
            sums = [leaky_sum(sums[0], rounding[0]), leaky_sum(sums[1], rounding[1])];
        }
        // The pack undoes the order of the unpacked channels.
        let mut value = requantise(sums, shift);
        if layer.activation == Activation::Leaky {
            value = leaky(value);
        }
        // SAFETY: `width` channels of a position of `out`.
        unsafe { store(out[at..].as_mut_ptr(), width, value) };
    }
}

/// `taps`: this position in three rows. `LEFT` and `RIGHT`: whether it has neighbours there.
///
/// # Safety
/// `width` values can be read there and at the neighbours, `stride` values away.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn depthwise_sums<const LEFT: bool, const RIGHT: bool>(
    taps: [*const i16; 3],
    stride: usize,
    width: usize,
    weights: &[[__m256i; 2]; 5],
    start: [__m256i; 2],
) -> [__m256i; 2] {
    let mut values = [_mm256_setzero_si256(); 10];
    for (row, tap) in taps.into_iter().enumerate() {
        // SAFETY: as the caller guarantees.
        unsafe {
            if LEFT {
                values[3 * row] = load(tap.sub(stride), width);
            }
            values[3 * row + 1] = load(tap, width);
            if RIGHT {
                values[3 * row + 2] = load(tap.add(stride), width);
            }
        }
    }
    let mut sums = start;
    for (pair, weights) in weights.iter().enumerate() {
        let (a, b) = (values[2 * pair], values[2 * pair + 1]);
        sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), weights[0]));
        sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), weights[1]));
    }
    sums
}
