//! The depthwise block of the transforms, fused by rows.

use std::cell::RefCell;

use super::{Activation, Backend, Depthwise, LayerParams, Pointwise};
use crate::Result;
use crate::kernels::parallel::{for_bands, split_rows, take_front};

/// Values of a cache line.
const CACHE_LINE: usize = 32;

/// Memory for some rows, kept by each thread between frames.
#[derive(Default)]
struct Scratch {
    /// Three rows of `mix_in`, one of the depthwise layer, one of the stream between the halves, and a wide one.
    values: Vec<i16>,
    zeros: Vec<i16>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Weights of a block's layers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockParams {
    pub mix_in: LayerParams,
    pub depthwise: LayerParams,
    pub mix_out: LayerParams,
    pub expand: LayerParams,
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

    /// Applies the block to `x`, `[rows][cols][channels]`, in up to `threads` stripes of rows, and writes `out`, of the same
    /// shape. Stripes run on the current rayon pool and the calling thread; with 1 all stays on the calling thread.
    ///
    /// # Panics
    /// If the lengths do not fit, or the backend is not available.
    pub fn run(&self, backend: Backend, threads: usize, x: &[i16], (rows, cols): (usize, usize), out: &mut [i16]) {
        let line = cols * self.channels;
        assert!(x.len() == rows * line && out.len() == x.len(), "the lengths do not fit");
        if x.is_empty() {
            return;
        }
        let mut rest = out;
        let stripes = split_rows(rows, 1, threads).map(|range| (range.start, take_front(&mut rest, range.len() * line)));
        for_bands(threads, stripes, |(from, out)| {
            SCRATCH.with_borrow_mut(|scratch| self.run_stripe(backend, x, line, from, out, scratch));
        });
    }

    /// Rows `from..` of the output, as many as `out` holds. Every row of `mix_in` is computed once, and once more where it
    /// borders on another stripe.
    fn run_stripe(&self, backend: Backend, x: &[i16], line: usize, from: usize, out: &mut [i16], scratch: &mut Scratch) {
        let rows = x.len() / line;
        let row = |r: usize| &x[r * line..][..line];
        let Scratch { values, zeros } = scratch;
        let needed = 7 * line;
        if values.len() < needed + CACHE_LINE {
            values.resize(needed + CACHE_LINE, 0);
        }
        // Loads that cross cache lines are slow.
        let first = values.as_ptr().align_offset(2 * CACHE_LINE).min(CACHE_LINE);
        if zeros.len() < line {
            zeros.resize(line, 0);
        }
        let (zeros, values) = (&zeros[..line], &mut values[first..][..needed]);
        let (ring, values) = values.split_at_mut(3 * line);
        let (deep, values) = values.split_at_mut(line);
        let (middle, wide) = values.split_at_mut(line);
        let slot = |r: usize| r % 3 * line..(r % 3 + 1) * line;
        for r in from.saturating_sub(1)..=from {
            self.mix_in.run(backend, row(r), &mut ring[slot(r)]);
        }
        for (r, out) in (from..).zip(out.chunks_exact_mut(line)) {
            if r + 1 < rows {
                self.mix_in.run(backend, row(r + 1), &mut ring[slot(r + 1)]);
            }
            let above = if r == 0 { zeros } else { &ring[slot(r - 1)] };
            let below = if r + 1 < rows { &ring[slot(r + 1)] } else { zeros };
            self.depthwise.run_row(backend, [above, &ring[slot(r)], below], deep);
            self.mix_out.run_adding(backend, deep, row(r), middle);
            self.expand.run(backend, middle, wide);
            self.project.run_adding(backend, wide, middle, out);
        }
    }
}
