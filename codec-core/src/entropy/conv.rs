//! Integer convolutions on NHWC activations, int16 with 8 fractional bits.

use super::MAX_SHIFT;
use super::config::LayerShape;
use super::params::IntLayer;
use super::simd::{self, Backend};
use crate::{Error, Result};

/// Outputs that the vector kernels compute together.
pub(super) const BLOCK: usize = 16;

/// A layer with its weights laid out for the kernels.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) leaky: bool,
    depthwise: bool,
    /// 1x1: `[outputs / 16][inputs / 2][16][2]`, zero-padded; depthwise: `[9][channels]`.
    pub(super) weights: Vec<i16>,
    /// Padded to a multiple of [`BLOCK`], as `shift`.
    pub(super) bias: Vec<i32>,
    pub(super) shift: Vec<i32>,
}

impl Layer {
    /// # Errors
    /// [`Error::ModelMismatch`] naming the layer if sizes do not fit, a shift is above 14, or a sum could overflow.
    pub(super) fn new(shape: &LayerShape, layer: &IntLayer) -> Result<Self> {
        let bad = |what: String| Error::ModelMismatch(format!("entropy layer {}: {what}", shape.name));
        let per_output = shape.weights_per_output();
        if layer.weight.len() != shape.outputs * per_output
            || layer.bias.len() != shape.outputs
            || layer.shift.len() != shape.outputs
        {
            return Err(bad(format!("{} outputs of {per_output} weights are needed", shape.outputs)));
        }
        for output in 0..shape.outputs {
            let shift = layer.shift[output];
            if shift > MAX_SHIFT {
                return Err(bad(format!("shift {shift} of output {output} is above {MAX_SHIFT}")));
            }
            let weights = &layer.weight[output * per_output..][..per_output];
            let magnitude: i64 = weights.iter().map(|&w| i64::from(w).abs()).sum();
            // Room for the largest sum and for the rounding term.
            if 32_768 * magnitude + i64::from(layer.bias[output]).abs() + (1 << MAX_SHIFT) > i64::from(i32::MAX) {
                return Err(bad(format!("the sum of output {output} could overflow 32 bits")));
            }
        }
        let padded = shape.outputs.next_multiple_of(BLOCK);
        let mut bias = layer.bias.clone();
        bias.resize(padded, 0);
        let mut shift: Vec<i32> = layer.shift.iter().map(|&s| s.into()).collect();
        shift.resize(padded, 0);
        let weights = if shape.depthwise { by_tap(shape, layer) } else { by_block(shape, layer, padded) };
        Ok(Self {
            inputs: shape.inputs,
            outputs: shape.outputs,
            leaky: shape.leaky,
            depthwise: shape.depthwise,
            weights,
            bias,
            shift,
        })
    }

    /// Applies the layer to `rows` x `cols` positions. `input` may be longer than they need.
    pub(super) fn run(&self, backend: Backend, input: &[i16], rows: usize, cols: usize, output: &mut Vec<i16>) {
        let positions = rows * cols;
        // Kernels read inputs in pairs, so one value past the last position must exist.
        assert!(input.len() > positions * self.inputs, "activations lack their spare value");
        output.clear();
        output.resize(positions * self.outputs + 1, 0);
        let out = &mut output[..positions * self.outputs];
        if self.depthwise {
            simd::depthwise(backend, self, input, rows, cols, out);
        } else {
            simd::pointwise(backend, self, input, out);
        }
    }

    /// Requantises a sum to an activation.
    #[inline(always)]
    pub(super) fn requantise(&self, output: usize, sum: i32) -> i16 {
        let sum = if self.leaky { sum.max(sum >> 3) } else { sum };
        let shift = self.shift[output];
        ((sum + ((1 << shift) >> 1)) >> shift).clamp(i16::MIN.into(), i16::MAX.into()) as i16
    }
}

fn by_tap(shape: &LayerShape, layer: &IntLayer) -> Vec<i16> {
    (0..9).flat_map(|tap| (0..shape.outputs).map(move |c| layer.weight[c * 9 + tap].into())).collect()
}

fn by_block(shape: &LayerShape, layer: &IntLayer, padded: usize) -> Vec<i16> {
    let pairs = shape.inputs.div_ceil(2);
    let mut weights = vec![0; padded * pairs * 2];
    for output in 0..shape.outputs {
        for input in 0..shape.inputs {
            let at = ((output / BLOCK * pairs + input / 2) * BLOCK + output % BLOCK) * 2 + input % 2;
            weights[at] = layer.weight[output * shape.inputs + input].into();
        }
    }
    weights
}

/// Reference 1x1 convolution.
pub(super) fn pointwise_scalar(layer: &Layer, input: &[i16], out: &mut [i16]) {
    let pairs = layer.inputs.div_ceil(2);
    for (x, y) in input.chunks_exact(layer.inputs).zip(out.chunks_exact_mut(layer.outputs)) {
        for (block, outputs) in y.chunks_mut(BLOCK).enumerate() {
            let mut sums = [0i32; BLOCK];
            sums.copy_from_slice(&layer.bias[block * BLOCK..][..BLOCK]);
            let weights = &layer.weights[block * pairs * BLOCK * 2..][..pairs * BLOCK * 2];
            for (pair, weights) in x.chunks(2).zip(weights.chunks_exact(BLOCK * 2)) {
                let (a, b) = (i32::from(pair[0]), pair.get(1).map_or(0, |&b| i32::from(b)));
                for (sum, w) in sums.iter_mut().zip(weights.chunks_exact(2)) {
                    *sum += a * i32::from(w[0]) + b * i32::from(w[1]);
                }
            }
            for (i, value) in outputs.iter_mut().enumerate() {
                *value = layer.requantise(block * BLOCK + i, sums[i]);
            }
        }
    }
}

/// Depthwise 3x3 convolution with zero padding; the compiler vectorises it for whatever the caller enables.
#[inline(always)]
pub(super) fn depthwise_any(layer: &Layer, input: &[i16], rows: usize, cols: usize, out: &mut [i16]) {
    let channels = layer.outputs;
    let mut sums = vec![0i32; channels];
    for row in 0..rows {
        for col in 0..cols {
            sums.copy_from_slice(&layer.bias[..channels]);
            for dy in 0..3 {
                for dx in 0..3 {
                    let (y, x) = (row + dy, col + dx);
                    if y == 0 || y > rows || x == 0 || x > cols {
                        continue;
                    }
                    let values = &input[((y - 1) * cols + x - 1) * channels..][..channels];
                    let weights = &layer.weights[(dy * 3 + dx) * channels..][..channels];
                    for ((sum, &v), &w) in sums.iter_mut().zip(values).zip(weights) {
                        *sum += i32::from(v) * i32::from(w);
                    }
                }
            }
            let outputs = &mut out[(row * cols + col) * channels..][..channels];
            for (i, value) in outputs.iter_mut().enumerate() {
                *value = layer.requantise(i, sums[i]);
            }
        }
    }
}
