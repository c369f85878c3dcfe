//! The kernels on NEON: `smlal` by a lane, 4 positions by 16 outputs stay in registers.

use std::arch::aarch64::*;
use std::ops::Range;

use super::Activation;
use super::packed::{BLOCK, Lanes, Packed, Pairs, depthwise_groups};

/// Sums or other 32-bit values of a block.
type Quarters = [int32x4_t; 4];

#[target_feature(enable = "neon")]
#[inline]
fn quarters(lanes: &Lanes) -> Quarters {
    let mut quarters = [vdupq_n_s32(0); 4];
    for (quarter, lanes) in quarters.iter_mut().zip(lanes.0.chunks_exact(4)) {
        // SAFETY: four values.
        *quarter = unsafe { vld1q_s32(lanes.as_ptr()) };
    }
    quarters
}

/// Weights of the first and the second input of a pair: 8 outputs each, then the other 8.
#[target_feature(enable = "neon")]
#[inline]
fn pair(line: &Pairs) -> [int16x8x2_t; 2] {
    // SAFETY: 32 values.
    unsafe { [vld2q_s16(line.0.as_ptr()), vld2q_s16(line.0.as_ptr().add(BLOCK))] }
}

/// The first `width` values, then zeros.
///
/// # Safety
/// `width` values can be read.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn load(from: *const i16, width: usize) -> [int16x8_t; 2] {
    // SAFETY: as the caller guarantees.
    unsafe {
        if width == BLOCK {
            return [vld1q_s16(from), vld1q_s16(from.add(8))];
        }
        let mut values = [0i16; BLOCK];
        std::ptr::copy_nonoverlapping(from, values.as_mut_ptr(), width);
        [vld1q_s16(values.as_ptr()), vld1q_s16(values.as_ptr().add(8))]
    }
}

/// # Safety
/// `width` values can be written.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn store(to: *mut i16, width: usize, values: [int16x8_t; 2]) {
    let mut all = [0i16; BLOCK];
    // SAFETY: as the caller guarantees.
    unsafe {
        let target = if width == BLOCK { to } else { all.as_mut_ptr() };
        vst1q_s16(target, values[0]);
        vst1q_s16(target.add(8), values[1]);
        if width < BLOCK {
            std::ptr::copy_nonoverlapping(all.as_ptr(), to, width);
        }
    }
}

/// From a block's sums to its outputs.
#[target_feature(enable = "neon")]
#[inline]
fn finish(layer: &Packed, block: usize, mut sums: Quarters) -> [int16x8_t; 2] {
    if layer.activation == Activation::LeakySum {
        for (sum, rounding) in sums.iter_mut().zip(quarters(&layer.rounding[block])) {
            *sum = vaddq_s32(vmaxq_s32(*sum, vshrq_n_s32::<3>(*sum)), rounding);
        }
    }
    for (sum, shift) in sums.iter_mut().zip(quarters(&layer.shift[block])) {
        *sum = vshlq_s32(*sum, vnegq_s32(shift));
    }
    let mut values = [vqmovn_high_s32(vqmovn_s32(sums[0]), sums[1]), vqmovn_high_s32(vqmovn_s32(sums[2]), sums[3])];
    if layer.activation == Activation::Leaky {
        for value in &mut values {
            // (2 * 13 * 256 y + 2^15) >> 16 = (13 y + 64) >> 7
            *value = vmaxq_s16(*value, vqrdmulhq_n_s16(*value, 13 * 256));
        }
    }
    values
}

/// Adds the products of the inputs in lanes `A` and `B`.
#[target_feature(enable = "neon")]
#[inline]
fn step<const P: usize, const A: i32, const B: i32>(sums: &mut [Quarters; P], x: &[int16x8_t; P], line: &Pairs) {
    let [low, high] = pair(line);
    for (sums, &x) in sums.iter_mut().zip(x) {
        sums[0] = vmlal_laneq_s16::<A>(sums[0], vget_low_s16(low.0), x);
        sums[1] = vmlal_high_laneq_s16::<A>(sums[1], low.0, x);
        sums[2] = vmlal_laneq_s16::<A>(sums[2], vget_low_s16(high.0), x);
        sums[3] = vmlal_high_laneq_s16::<A>(sums[3], high.0, x);
        sums[0] = vmlal_laneq_s16::<B>(sums[0], vget_low_s16(low.1), x);
        sums[1] = vmlal_high_laneq_s16::<B>(sums[1], low.1, x);
        sums[2] = vmlal_laneq_s16::<B>(sums[2], vget_low_s16(high.1), x);
        sums[3] = vmlal_high_laneq_s16::<B>(sums[3], high.1, x);
    }
}

/// One block of outputs of `P` positions.
///
/// # Safety
/// `x` holds `P` positions of inputs, `out`, and `skip` unless it is null, `P` positions of outputs.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn tile<const P: usize>(layer: &Packed, block: usize, x: *const i16, skip: *const i16, out: *mut i16) {
    let inputs = layer.inputs;
    let mut sums = [quarters(&layer.start[block]); P];
    let weights = &layer.weights[block * layer.pairs()..][..layer.pairs()];
    let mut values = [vdupq_n_s16(0); P];
    let (eights, tail) = weights.split_at(inputs / 8 * 4);
    for (eight, lines) in eights.chunks_exact(4).enumerate() {
        for (p, values) in values.iter_mut().enumerate() {
            // SAFETY: as the caller guarantees.
            *values = unsafe { vld1q_s16(x.add(p * inputs + 8 * eight)) };
        }
        step::<P, 0, 1>(&mut sums, &values, &lines[0]);
        step::<P, 2, 3>(&mut sums, &values, &lines[1]);
        step::<P, 4, 5>(&mut sums, &values, &lines[2]);
        step::<P, 6, 7>(&mut sums, &values, &lines[3]);
    }
    if !tail.is_empty() {
        let (done, left) = (inputs / 8 * 8, inputs % 8);
        for (p, values) in values.iter_mut().enumerate() {
            let mut last = [0i16; 8];
            // SAFETY: as the caller guarantees.
            unsafe {
                std::ptr::copy_nonoverlapping(x.add(p * inputs + done), last.as_mut_ptr(), left);
                *values = vld1q_s16(last.as_ptr());
            }
        }
        for (i, line) in tail.iter().enumerate() {
            match i {
                0 => step::<P, 0, 1>(&mut sums, &values, line),
                1 => step::<P, 2, 3>(&mut sums, &values, line),
                2 => step::<P, 4, 5>(&mut sums, &values, line),
                _ => step::<P, 6, 7>(&mut sums, &values, line),
            }
        }
    }
    let width = layer.width(block);
    for (p, &sums) in sums.iter().enumerate() {
        let at = p * layer.outputs + block * BLOCK;
        let mut value = finish(layer, block, sums);
        // SAFETY: as the caller guarantees.
        unsafe {
            if !skip.is_null() {
                let skip = load(skip.add(at), width);
                value = [vqaddq_s16(value[0], skip[0]), vqaddq_s16(value[1], skip[1])];
            }
            store(out.add(at), width, value);
        }
    }
}

#[target_feature(enable = "neon")]
pub(super) fn pointwise(layer: &Packed, x: &[i16], skip: Option<&[i16]>, out: &mut [i16]) {
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
                    4.. => {
                        tile::<4>(layer, block, x, skip, out);
                        4
                    }
                    2.. => {
                        tile::<2>(layer, block, x, skip, out);
                        2
                    }
                    _ => {
                        tile::<1>(layer, block, x, skip, out);
                        1
                    }
                };
            }
        }
    }
}

#[target_feature(enable = "neon")]
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
#[target_feature(enable = "neon")]
fn depthwise_columns(layer: &Packed, block: usize, rows: [&[i16]; 3], columns: Range<usize>, out: &mut [i16]) {
    let (channels, width) = (layer.outputs, layer.width(block));
    let cols = out.len() / channels;
    let mut weights = [[vdupq_n_s16(0); 2]; 10];
    for (line, weights) in layer.weights[block * 5..][..5].iter().zip(weights.chunks_exact_mut(2)) {
        let [low, high] = pair(line);
        weights.copy_from_slice(&[[low.0, high.0], [low.1, high.1]]);
    }
    for col in columns {
        let at = col * channels + block * BLOCK;
        let mut sums = quarters(&layer.start[block]);
        for (row, weights) in rows.iter().zip(weights.chunks_exact(3)) {
            let tap = row[at..].as_ptr();
            let mut add = |tap: *const i16, weights: &[int16x8_t; 2]| {
                // SAFETY: `width` channels of this position or of a neighbour that exists.
                let values = unsafe { load(tap, width) };
                sums[0] = vmlal_s16(sums[0], vget_low_s16(values[0]), vget_low_s16(weights[0]));
                sums[1] = vmlal_high_s16(sums[1], values[0], weights[0]);
                sums[2] = vmlal_s16(sums[2], vget_low_s16(values[1]), vget_low_s16(weights[1]));
                sums[3] = vmlal_high_s16(sums[3], values[1], weights[1]);
            };
            if col > 0 {
                add(tap.wrapping_sub(channels), &weights[0]);
            }
            add(tap, &weights[1]);
            if col + 1 < cols {
                add(tap.wrapping_add(channels), &weights[2]);
            }
        }
        // SAFETY: `width` channels of a position of `out`.
        unsafe { store(out[at..].as_mut_ptr(), width, finish(layer, block, sums)) };
    }
}
