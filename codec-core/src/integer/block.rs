//! The depthwise block of the transforms, fused by rows.

use super::stripes::{Scratch, for_stripes};
use super::{Activation, Area, Backend, Depthwise, LayerParams, Pointwise};
use crate::Result;

/// Weights of a block's layers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockParams {
    /// Pointwise, before the depthwise layer.
    pub mix_in: LayerParams,
    /// Depthwise.
    pub depthwise: LayerParams,
    /// Pointwise, after the depthwise layer.
    pub mix_out: LayerParams,
    /// Pointwise, to more channels.
    pub expand: LayerParams,
    /// Pointwise, back to the block's channels.
    pub project: LayerParams,
}

/// `x + 1x1(dw3x3(leaky(1x1 x)))`, then `x + 1x1(leaky(1x1 x))` with twice the width inside. Additions saturate.
#[derive(Clone, Debug)]
pub struct Block {
    channels: usize,
    mix_in: Pointwise,
    depthwise: Depthwise,
    mix_out: Pointwise,
    expand: Pointwise,
    project: Pointwise,
}

impl Block {
    /// `name` is what errors call it.
    ///
    /// # Errors
    /// As [`LayerParams::check`].
    pub fn new(name: &str, channels: usize, params: &BlockParams) -> Result<Self> {
        let c = channels;
        let layer = |of: &str| format!("{name}.{of}");
        Ok(Self {
            channels,
            mix_in: Pointwise::new(&layer("mix_in"), c, c, &params.mix_in, Activation::Leaky)?,
            depthwise: Depthwise::new(&layer("depthwise"), c, &params.depthwise, Activation::None)?,
            mix_out: Pointwise::new(&layer("mix_out"), c, c, &params.mix_out, Activation::None)?,
            expand: Pointwise::new(&layer("expand"), c, 2 * c, &params.expand, Activation::Leaky)?,
            project: Pointwise::new(&layer("project"), 2 * c, c, &params.project, Activation::None)?,
        })
    }

    /// Applies the block to the cells of `area` in `x`, `[rows][cols][channels]`, in up to `threads` stripes of rows, and writes `out`,
    /// of the same shape. What lies elsewhere neither counts nor changes. Stripes run on the current rayon pool and the calling thread;
    /// with 1 all stays on the calling thread.
    ///
    /// # Panics
    /// If the lengths do not fit, or the backend is not available.
    pub fn run(&self, backend: Backend, threads: usize, x: &[i16], area: &Area, out: &mut [i16]) {
        let (rows, cols) = area.size();
        let line = cols * self.channels;
        assert!(x.len() == rows * line && out.len() == x.len(), "the lengths do not fit");
        if x.is_empty() {
            return;
        }
        for_stripes(threads, line, out, |from, out, scratch| self.run_stripe(backend, x, area, from, out, scratch));
    }

    /// Rows `from..` of the output, as many as `out` holds. Every row of `mix_in` is computed once, and once more where it
    /// borders on another stripe.
    fn run_stripe(&self, backend: Backend, x: &[i16], area: &Area, from: usize, out: &mut [i16], scratch: &mut Scratch) {
        let ((rows, cols), c) = (area.size(), self.channels);
        let line = cols * c;
        let row = |r: usize| &x[r * line..][..line];
        let mix_in = |r: usize, out: &mut [i16]| {
            for span in area.row(r) {
                let values = span.start * c..span.end * c;
                self.mix_in.run(backend, &row(r)[values.clone()], &mut out[values]);
            }
            area.clear_gaps(r, out, c);
        };
        let (zeros, [ring, deep, middle, wide]) = scratch.rows(line, [3 * line, line, line, 2 * line]);
        let slot = |r: usize| r % 3 * line..(r % 3 + 1) * line;
        for r in from.saturating_sub(1)..=from {
            mix_in(r, &mut ring[slot(r)]);
        }
        for (r, out) in (from..).zip(out.chunks_exact_mut(line)) {
            if r + 1 < rows {
                mix_in(r + 1, &mut ring[slot(r + 1)]);
            }
            let above = if r == 0 { zeros } else { &ring[slot(r - 1)] };
            let below = if r + 1 < rows { &ring[slot(r + 1)] } else { zeros };
            self.depthwise.run_row_in(backend, [above, &ring[slot(r)], below], area.row(r), deep);
            for span in area.row(r) {
                let (own, wide) = (span.start * c..span.end * c, &mut wide[..2 * span.len() * c]);
                let middle = &mut middle[own.clone()];
                self.mix_out.run_adding(backend, &deep[own.clone()], &row(r)[own.clone()], middle);
                self.expand.run(backend, middle, wide);
                self.project.run_adding(backend, wide, middle, &mut out[own]);
            }
        }
    }
}
