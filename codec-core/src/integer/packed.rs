//! Weights in the order in which the kernels read them.

use std::ops::Range;

use super::{Activation, LayerParams};

/// Outputs that kernels compute together.
pub(super) const BLOCK: usize = 16;

/// Weights of two inputs for 16 outputs, `[16][2]`: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Pairs(pub(super) [i16; 2 * BLOCK]);

/// One value for each of 16 outputs: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Lanes(pub(super) [i32; BLOCK]);

/// A layer laid out for the kernels. Outputs are padded with zeros to a multiple of [`BLOCK`], weights of an output to an
/// even number.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    /// Weights of an output: the inputs, or the 9 taps of a depthwise layer.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) activation: Activation,
    /// `[blocks][pairs]`
    pub(super) weights: Vec<Pairs>,
    /// What a sum begins with, `[blocks]`. It holds the rounding term, except before [`Activation::LeakySum`].
    pub(super) start: Vec<Lanes>,
    /// The rounding term, `[blocks]`.
    pub(super) rounding: Vec<Lanes>,
    pub(super) shift: Vec<Lanes>,
}

impl Packed {
    /// `params` were checked.
    pub(super) fn new(inputs: usize, outputs: usize, params: &LayerParams, activation: Activation) -> Self {
        let (blocks, pairs) = (outputs.div_ceil(BLOCK), inputs.div_ceil(2));
        let zeros = vec![Lanes([0; BLOCK]); blocks];
        let (mut start, mut rounding, mut shift) = (zeros.clone(), zeros.clone(), zeros);
        let mut weights = vec![Pairs([0; 2 * BLOCK]); blocks * pairs];
        for output in 0..outputs {
            let (block, lane) = (output / BLOCK, output % BLOCK);
            shift[block].0[lane] = params.shift[output].into();
            rounding[block].0[lane] = 1 << params.shift[output] >> 1;
            let early = if activation == Activation::LeakySum { 0 } else { rounding[block].0[lane] };
            start[block].0[lane] = params.bias[output] + early;
            for (input, &weight) in params.weight[output * inputs..][..inputs].iter().enumerate() {
                weights[block * pairs + input / 2].0[2 * lane + input % 2] = weight;
            }
        }
        Self { inputs, outputs, activation, weights, start, rounding, shift }
    }

    pub(super) fn blocks(&self) -> usize {
        self.start.len()
    }

    /// Pairs of weights of an output.
    pub(super) fn pairs(&self) -> usize {
        self.inputs.div_ceil(2)
    }

    /// Outputs of a block that are no padding.
    pub(super) fn width(&self, block: usize) -> usize {
        BLOCK.min(self.outputs - block * BLOCK)
    }
}

/// Columns in groups such that three rows of a group stay in the L1 cache while all blocks of channels pass over them.
pub(super) fn depthwise_groups(channels: usize, cols: usize) -> impl Iterator<Item = Range<usize>> {
    const VALUES: usize = 4096;
    let group = (VALUES / channels).max(8);
    (0..cols).step_by(group).map(move |first| first..cols.min(first + group))
}
