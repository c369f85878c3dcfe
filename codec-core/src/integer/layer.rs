//! Layers: 1x1 and depthwise 3x3 convolutions.

use super::Backend;
use crate::{Error, Result};

/// Largest right shift of a sum.
pub const MAX_SHIFT: u8 = 24;

/// What becomes of a layer's sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// y = sat16((sum + 2^(shift-1)) >> shift); with a shift of 0 nothing is added.
    None,
    /// LeakyReLU with a slope of 13/128 on what [`Self::None`] gives: max(y, (13 y + 64) >> 7).
    Leaky,
    /// LeakyReLU with a slope of 1/8 on the sum: max(sum, sum >> 3), then as [`Self::None`].
    LeakySum,
}

/// Weights of a layer as a model file holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerParams {
    /// `[outputs][inputs]`, or `[channels][3][3]` of a depthwise layer.
    pub weight: Vec<i16>,
    /// In units of the sum, one for each output.
    pub bias: Vec<i32>,
    /// Right shift of each output's sum, 0..=[`MAX_SHIFT`].
    pub shift: Vec<u8>,
}

impl LayerParams {
    /// Checks numbers and that no sum can leave 32 bits: |bias| + 2^(shift-1) + 32768 sum |weight| < 2^31.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] naming the layer and the output.
    pub fn check(&self, name: &str, outputs: usize, per_output: usize) -> Result<()> {
        let bad = |what: String| Error::ModelMismatch(format!("layer {name}: {what}"));
        if self.weight.len() != outputs * per_output || self.bias.len() != outputs || self.shift.len() != outputs {
            return Err(bad(format!("{outputs} outputs of {per_output} weights are needed")));
        }
        for (output, (&bias, &shift)) in self.bias.iter().zip(&self.shift).enumerate() {
            if shift > MAX_SHIFT {
                return Err(bad(format!("shift {shift} of output {output} is above {MAX_SHIFT}")));
            }
            let weights = &self.weight[output * per_output..][..per_output];
            let magnitude: i64 = weights.iter().map(|&w| i64::from(w).abs()).sum();
            if 32_768 * magnitude + i64::from(bias).abs() + (1 << shift >> 1) > i64::from(i32::MAX) {
                return Err(bad(format!("the sum of output {output} could overflow 32 bits")));
            }
        }
        Ok(())
    }
}

fn requantise(sum: i32, shift: u8, activation: Activation) -> i16 {
    let sum = if activation == Activation::LeakySum { sum.max(sum >> 3) } else { sum };
    let y = ((sum + (1 << shift >> 1)) >> shift).clamp(i16::MIN.into(), i16::MAX.into());
    let y = if activation == Activation::Leaky { y.max((13 * y + 64) >> 7) } else { y };
    y as i16
}

/// A 1x1 convolution.
#[derive(Clone, Debug)]
pub struct Pointwise {
    inputs: usize,
    outputs: usize,
    activation: Activation,
    params: LayerParams,
}

impl Pointwise {
    /// # Errors
    /// As [`LayerParams::check`].
    pub fn new(name: &str, inputs: usize, outputs: usize, params: &LayerParams, activation: Activation) -> Result<Self> {
        params.check(name, outputs, inputs)?;
        Ok(Self { inputs, outputs, activation, params: params.clone() })
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Applies the layer to all positions of `x`, `[n][inputs]`, and writes `out`, `[n][outputs]`.
    ///
    /// # Panics
    /// If the lengths do not fit, or the backend is not available.
    pub fn run(&self, _backend: Backend, x: &[i16], out: &mut [i16]) {
        assert_eq!(x.len() / self.inputs, out.len() / self.outputs);
        for (x, out) in x.chunks_exact(self.inputs).zip(out.chunks_exact_mut(self.outputs)) {
            for (o, value) in out.iter_mut().enumerate() {
                let weights = &self.params.weight[o * self.inputs..][..self.inputs];
                let sum: i32 = x.iter().zip(weights).map(|(&x, &w)| i32::from(x) * i32::from(w)).sum();
                *value = requantise(sum + self.params.bias[o], self.params.shift[o], self.activation);
            }
        }
    }

    /// As [`Self::run`], with `skip`, `[n][outputs]`, added to the result, saturating.
    ///
    /// # Panics
    /// As [`Self::run`].
    pub fn run_adding(&self, backend: Backend, x: &[i16], skip: &[i16], out: &mut [i16]) {
        assert_eq!(skip.len(), out.len());
        self.run(backend, x, out);
        out.iter_mut().zip(skip).for_each(|(out, &skip)| *out = out.saturating_add(skip));
    }
}

/// A depthwise 3x3 convolution with zero padding.
#[derive(Clone, Debug)]
pub struct Depthwise {
    channels: usize,
    activation: Activation,
    params: LayerParams,
}

impl Depthwise {
    /// # Errors
    /// As [`LayerParams::check`].
    pub fn new(name: &str, channels: usize, params: &LayerParams, activation: Activation) -> Result<Self> {
        params.check(name, channels, 9)?;
        Ok(Self { channels, activation, params: params.clone() })
    }

    /// One row of output, `[cols][channels]`, from the rows above, at and below it. Outside the picture give rows of zeros.
    ///
    /// # Panics
    /// If the lengths do not fit, or the backend is not available.
    pub fn run_row(&self, _backend: Backend, rows: [&[i16]; 3], out: &mut [i16]) {
        let c = self.channels;
        let cols = out.len() / c;
        assert!(rows.iter().all(|row| row.len() == out.len()));
        for (col, out) in out.chunks_exact_mut(c).enumerate() {
            for (o, value) in out.iter_mut().enumerate() {
                let mut sum = self.params.bias[o];
                for (dy, row) in rows.iter().enumerate() {
                    for dx in 0..3 {
                        if col + dx >= 1 && col + dx <= cols {
                            sum += i32::from(row[(col + dx - 1) * c + o]) * i32::from(self.params.weight[o * 9 + dy * 3 + dx]);
                        }
                    }
                }
                *value = requantise(sum, self.params.shift[o], self.activation);
            }
        }
    }
}
