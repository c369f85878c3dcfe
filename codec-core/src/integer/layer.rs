//! Layers: 1x1 and depthwise 3x3 convolutions.

use super::packed::Packed;
use super::stripes::for_stripes;
use super::{Backend, dispatch};
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
        if outputs == 0 || per_output == 0 {
            return Err(bad("it has no weights".into()));
        }
        if Some(self.weight.len()) != outputs.checked_mul(per_output) || self.bias.len() != outputs || self.shift.len() != outputs
        {
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

/// A 1x1 convolution.
#[derive(Clone, Debug)]
pub struct Pointwise {
    layer: Packed,
}

impl Pointwise {
    /// `name` is what errors call it.
    ///
    /// # Errors
    /// As [`LayerParams::check`].
    pub fn new(name: &str, inputs: usize, outputs: usize, params: &LayerParams, activation: Activation) -> Result<Self> {
        params.check(name, outputs, inputs)?;
        Ok(Self { layer: Packed::new(inputs, outputs, params, activation) })
    }

    /// Channels that come in.
    pub fn inputs(&self) -> usize {
        self.layer.inputs
    }

    /// Channels that go out.
    pub fn outputs(&self) -> usize {
        self.layer.outputs
    }

    /// Applies the layer to all positions of `x`, `[n][inputs]`, and writes `out`, `[n][outputs]`.
    ///
    /// # Panics
    /// If the lengths do not fit, or the backend is not available.
    pub fn run(&self, backend: Backend, x: &[i16], out: &mut [i16]) {
        self.run_chunks(backend, x, None, out);
    }

    /// As [`Self::run`], with `skip`, `[n][outputs]`, added to the result, saturating.
    ///
    /// # Panics
    /// As [`Self::run`].
    pub fn run_adding(&self, backend: Backend, x: &[i16], skip: &[i16], out: &mut [i16]) {
        assert_eq!(skip.len(), out.len());
        self.run_chunks(backend, x, Some(skip), out);
    }

    /// Kernels read the inputs once for each block of outputs, so positions go in groups whose inputs stay in the L1 cache.
    fn run_chunks(&self, backend: Backend, x: &[i16], skip: Option<&[i16]>, out: &mut [i16]) {
        const VALUES: usize = 8192;
        let (inputs, outputs) = (self.layer.inputs, self.layer.outputs);
        let n = x.len() / inputs;
        assert!(x.len() == n * inputs && out.len() == n * outputs, "the lengths do not fit");
        let chunk = (VALUES / inputs).next_multiple_of(12).max(12);
        for (i, (x, out)) in x.chunks(chunk * inputs).zip(out.chunks_mut(chunk * outputs)).enumerate() {
            let skip = skip.map(|skip| &skip[i * chunk * outputs..][..out.len()]);
            dispatch::pointwise(backend, &self.layer, x, skip, out);
        }
    }
}

/// A depthwise 3x3 convolution with zero padding.
#[derive(Clone, Debug)]
pub struct Depthwise {
    layer: Packed,
}

impl Depthwise {
    /// `name` is what errors call it.
    ///
    /// # Errors
    /// As [`LayerParams::check`].
    pub fn new(name: &str, channels: usize, params: &LayerParams, activation: Activation) -> Result<Self> {
        params.check(name, channels, 9)?;
        Ok(Self { layer: Packed::new(9, channels, params, activation) })
    }

    /// One row of output, `[cols][channels]`, from the rows above, at and below it. Outside the picture give rows of zeros.
    ///
    /// # Panics
    /// If the lengths do not fit, or the backend is not available.
    pub fn run_row(&self, backend: Backend, rows: [&[i16]; 3], out: &mut [i16]) {
        assert!(
            out.len().is_multiple_of(self.layer.outputs) && rows.iter().all(|row| row.len() == out.len()),
            "the lengths do not fit"
        );
        dispatch::depthwise(backend, &self.layer, rows, out);
    }

    /// Applies the layer to `x`, `[rows][cols][channels]`, in up to `threads` stripes of rows, as [`Block::run`](super::Block)
    /// does, and writes `out`, of the same shape.
    ///
    /// # Panics
    /// If the lengths do not fit, or the backend is not available.
    pub fn run(&self, backend: Backend, threads: usize, x: &[i16], (rows, cols): (usize, usize), out: &mut [i16]) {
        let line = cols * self.layer.outputs;
        assert!(x.len() == rows * line && out.len() == x.len(), "the lengths do not fit");
        if x.is_empty() {
            return;
        }
        for_stripes(threads, line, out, |from, out, scratch| {
            let (zeros, []) = scratch.rows(line, []);
            let row = |r: usize| if (1..=rows).contains(&r) { &x[(r - 1) * line..][..line] } else { zeros };
            for (r, out) in (from..).zip(out.chunks_exact_mut(line)) {
                self.run_row(backend, [row(r), row(r + 1), row(r + 2)], out);
            }
        });
    }
}
