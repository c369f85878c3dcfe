//! The kernels in plain Rust: the reference, and what machines without vector kernels run.

use super::Activation;
use super::packed::{BLOCK, Packed, Pairs};

/// Adds products of one pair of inputs for each output.
#[inline(always)]
fn add_products(sums: &mut [i32; BLOCK], input: impl Fn(usize) -> (i16, i16), weights: &Pairs) {
    for (lane, sum) in sums.iter_mut().enumerate() {
        let (a, b) = input(lane);
        *sum += i32::from(a) * i32::from(weights.0[2 * lane]) + i32::from(b) * i32::from(weights.0[2 * lane + 1]);
    }
}

#[inline(always)]
fn finish(layer: &Packed, block: usize, sums: &[i32; BLOCK], skip: Option<&[i16]>, out: &mut [i16]) {
    for (lane, value) in out.iter_mut().enumerate() {
        let mut sum = sums[lane];
        if layer.activation == Activation::LeakySum {
            sum = sum.max(sum >> 3) + layer.rounding[block].0[lane];
        }
        let mut y = (sum >> layer.shift[block].0[lane]).clamp(i16::MIN.into(), i16::MAX.into());
        if layer.activation == Activation::Leaky {
            y = y.max((13 * y + 64) >> 7);
        }
        *value = y as i16;
        if let Some(skip) = skip {
            *value = value.saturating_add(skip[lane]);
        }
    }
}

pub(super) fn pointwise(layer: &Packed, x: &[i16], skip: Option<&[i16]>, out: &mut [i16]) {
    for (p, (x, out)) in x.chunks_exact(layer.inputs).zip(out.chunks_exact_mut(layer.outputs)).enumerate() {
        let skip = skip.map(|skip| &skip[p * layer.outputs..][..layer.outputs]);
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let mut sums = layer.start[block].0;
            let weights = &layer.weights[block * layer.pairs()..][..layer.pairs()];
            for (x, weights) in x.chunks(2).zip(weights) {
                let pair = (x[0], x.get(1).copied().unwrap_or(0));
                add_products(&mut sums, |_| pair, weights);
            }
            finish(layer, block, &sums, skip.map(|skip| &skip[block * BLOCK..]), out);
        }
    }
}

pub(super) fn depthwise(layer: &Packed, rows: [&[i16]; 3], out: &mut [i16]) {
    let channels = layer.outputs;
    let cols = out.len() / channels;
    for block in 0..layer.blocks() {
        let (first, width) = (block * BLOCK, layer.width(block));
        for col in 0..cols {
            let tap = |t: usize| {
                let mut values = [0; BLOCK];
                let at = col + t % 3;
                if t < 9 && (1..=cols).contains(&at) {
                    values[..width].copy_from_slice(&rows[t / 3][(at - 1) * channels + first..][..width]);
                }
                values
            };
            let mut sums = layer.start[block].0;
            for pair in 0..layer.pairs() {
                let (a, b) = (tap(2 * pair), tap(2 * pair + 1));
                add_products(&mut sums, |lane| (a[lane], b[lane]), &layer.weights[block * layer.pairs() + pair]);
            }
            finish(layer, block, &sums, None, &mut out[col * channels + first..][..width]);
        }
    }
}
