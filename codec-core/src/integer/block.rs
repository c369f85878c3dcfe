//! The depthwise block of the transforms, fused by rows.

use super::{Activation, Backend, Depthwise, LayerParams, Pointwise};
use crate::Result;

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

    /// Applies the block to `x`, `[rows][cols][channels]`, on up to `threads` threads, and writes `out`, of the same shape.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn run(&self, backend: Backend, _threads: usize, x: &[i16], (rows, cols): (usize, usize), out: &mut [i16]) {
        let line = cols * self.channels;
        assert!(x.len() == rows * line && out.len() == x.len());
        let mut mixed = vec![0; x.len()];
        self.mix_in.run(backend, x, &mut mixed);
        let zeros = vec![0; line];
        let row = |r: Option<usize>| r.and_then(|r| mixed.chunks_exact(line).nth(r)).unwrap_or(&zeros);
        let (mut deep, mut middle, mut wide) = (vec![0; line], vec![0; line], vec![0; 2 * line]);
        for (r, (x, out)) in x.chunks_exact(line).zip(out.chunks_exact_mut(line)).enumerate() {
            self.depthwise.run_row(backend, [row(r.checked_sub(1)), row(Some(r)), row(Some(r + 1))], &mut deep);
            self.mix_out.run_adding(backend, &deep, x, &mut middle);
            self.expand.run(backend, &middle, &mut wide);
            self.project.run_adding(backend, &wide, &middle, out);
        }
    }
}
