//! What a leaf of a B-frame can choose, what that costs, and what it predicts.

use crate::motion::coding::{GoldenContext, GoldenTrack};
use crate::motion::search::costs::Options;
use crate::motion::search::decide::{Area, Inputs};
use crate::motion::search::goal::Block;
use crate::motion::search::pair::Pair;
use crate::motion::{BlockField, Golden, Leaf, Motion, MotionVector, ROOT};

/// The choices of one leaf.
pub(super) struct Offer<'a> {
    inputs: &'a Inputs<'a>,
    track: &'a GoldenTrack,
    options: Options,
    /// `None` outside the picture.
    context: Option<GoldenContext>,
    pub leaf: Leaf,
    /// What counts in place of a vector to the frame before that is not coded.
    pub free: MotionVector,
}

impl<'a> Offer<'a> {
    /// `field` holds all leaves before this one.
    pub fn new(inputs: &'a Inputs<'a>, track: &'a GoldenTrack, field: &BlockField, leaf: Leaf) -> Self {
        let options = inputs.coder.options(field, leaf.row, leaf.col, leaf.log2);
        let context = inputs.coder.surroundings.golden_context(field, leaf.row, leaf.col, leaf.log2);
        let free = options.merges().next().expect("a list is never empty").0;
        Self { inputs, track, options, context, leaf, free }
    }

    /// Vectors to the frame before that cost only an index.
    pub fn merges(&self) -> impl Iterator<Item = MotionVector> {
        self.options.merges().map(|(vector, _)| vector)
    }

    /// The one of these that costs least, and what it costs.
    pub fn cheapest(&self) -> (MotionVector, u64) {
        self.options.merges().min_by_key(|(_, bits)| *bits).expect("a list is never empty")
    }

    /// Bits of a motion.
    pub fn bits(&self, motion: Motion) -> u64 {
        let coder = &self.inputs.coder;
        let (vector, bits) = match motion.golden {
            Golden::Alone(_) => (self.free, 0),
            _ => (motion.vector, coder.any(&self.options, motion.vector)),
        };
        let golden = |context| coder.golden(context, motion.golden, self.track.predict(&self.leaf, vector));
        bits + self.context.map_or(0, golden)
    }
}

/// Makes an area one leaf.
pub(super) fn put(field: &mut BlockField, track: &GoldenTrack, leaf: Leaf, motion: Motion) {
    let vector = match motion.golden {
        Golden::Alone(golden) => track.motion(&leaf, golden),
        _ => motion.vector,
    };
    field.set(Leaf { vector, ..leaf });
    field.set_golden(&leaf, motion.golden);
}

/// Squared error of a motion's prediction.
pub(super) fn distortion(inputs: &Inputs, area: Area, motion: Motion) -> u64 {
    let Some((golden, vector)) = inputs.golden.zip(motion.golden.vector()) else {
        return inputs.distortion(area, motion.vector);
    };
    let after = (golden.block(area.x, area.y, vector), golden.stride());
    let mut both = [0; ROOT * ROOT];
    let (b, b_stride) = match motion.golden {
        Golden::Alone(_) => after,
        _ => {
            let before = (inputs.quarters.block(area.x, area.y, motion.vector), inputs.quarters.stride());
            mean([before, after], (area.width, area.height), &mut both);
            (&both[..], ROOT)
        }
    };
    let current = inputs.current;
    let pair = Pair {
        a: &current.data[area.y * current.stride + area.x..],
        a_stride: current.stride,
        b,
        b_stride,
        width: area.width,
        height: area.height,
    };
    u64::from(inputs.kernels.squares(&pair))
}

/// The mean of two blocks of `width` x `height` samples, rounded up, in rows [`ROOT`] apart.
pub(super) fn mean([a, b]: [Block; 2], (width, height): (usize, usize), out: &mut [u8; ROOT * ROOT]) {
    for (row, out) in out.chunks_exact_mut(ROOT).take(height).enumerate() {
        let (a, b) = (&a.0[row * a.1..][..width], &b.0[row * b.1..][..width]);
        for (out, (&a, &b)) in out.iter_mut().zip(a.iter().zip(b)) {
            *out = (u16::from(a) + u16::from(b)).div_ceil(2) as u8;
        }
    }
}
