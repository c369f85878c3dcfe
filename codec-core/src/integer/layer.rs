//! Layers: 1x1 and depthwise 3x3 convolutions.

use std::ops::Range;

use super::packed::Packed;
use super::stripes::for_stripes;
use super::{Activation, Area, Backend, LayerParams, dispatch};
use crate::Result;

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

    /// Channels that come in and go out.
    pub fn channels(&self) -> usize {
        self.layer.outputs
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

    /// As [`Self::run_row`], at these spans of the row, with a gap between two of them. What `out` holds elsewhere is of no importance.
    pub(super) fn run_row_in(
        &self,
        backend: Backend,
        rows: [&[i16]; 3],
        spans: impl Iterator<Item = Range<usize>>,
        out: &mut [i16],
    ) {
        let c = self.layer.outputs;
        for span in spans {
            // With the neighbours of its ends; what comes out there is of no use.
            let around = span.start.saturating_sub(1) * c..((span.end + 1) * c).min(out.len());
            self.run_row(backend, rows.map(|row| &row[around.clone()]), &mut out[around]);
        }
    }

    /// Applies the layer to the cells of `area` in `x`, `[rows][cols][channels]`, in up to `threads` stripes of rows, as
    /// [`Block::run`](super::Block) does, and writes `out`, of the same shape. `x` is zero elsewhere.
    ///
    /// # Panics
    /// If the lengths do not fit, or the backend is not available.
    pub fn run(&self, backend: Backend, threads: usize, x: &[i16], area: &Area, out: &mut [i16]) {
        let ((rows, cols), c) = (area.size(), self.layer.outputs);
        let line = cols * c;
        assert!(x.len() == rows * line && out.len() == x.len(), "the lengths do not fit");
        if x.is_empty() {
            return;
        }
        for_stripes(threads, line, out, |from, out, scratch| {
            let (zeros, []) = scratch.rows(line, []);
            let row = |r: usize| if (1..=rows).contains(&r) { &x[(r - 1) * line..][..line] } else { zeros };
            for (r, out) in (from..).zip(out.chunks_exact_mut(line)) {
                let lines = [row(r), row(r + 1), row(r + 2)];
                self.run_row_in(backend, lines, area.row(r), out);
            }
        });
    }
}
