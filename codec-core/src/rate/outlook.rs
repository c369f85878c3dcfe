//! What a frame will take, by what can be measured before it is coded.

/// What is known of a frame before it is coded. Costs are sums of absolute values of Hadamard transforms of 8x8 blocks without their means, for
/// each luma sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlook {
    /// Luma samples that are seen.
    pub samples: f64,
    /// What is to be coded.
    pub content: Content,
}

/// What a frame has to say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Content {
    /// A keyframe: what the picture holds, and what predictions of the P-frames to come will leave, where that is known.
    Picture {
        /// Cost of the picture.
        cost: f64,
        /// Cost of the P-frames to come, as in [`Content::Prediction`].
        later: Option<f64>,
        /// How many frames are predicted before the next keyframe, at most.
        predicted: usize,
    },
    /// A P-frame.
    Prediction {
        /// What prediction leaves, at half the size.
        cost: f64,
        /// The last frame was a keyframe.
        after_keyframe: bool,
    },
}

/// Cost of P-frames of which nothing is known.
pub(super) const USUAL_COST: f64 = 9.0;

/// Added to costs before logarithms are taken.
const LEAST: f64 = 0.01;

// Fitted to the sizes of 16 clips at four qualities each, two seconds long.

/// Logarithm of the bits at quality 0 of a keyframe. For natural clips it is right to within 25 %.
pub(super) fn log_intra(samples: f64, cost: f64) -> f64 {
    (samples * (cost + LEAST)).ln() - 3.25
}

/// Logarithm of the bits at quality 0 of a P-frame. They grow with the root of the cost: what differs from clip to clip is not how much moves,
/// but how well it is predicted, and the cost is of originals. P-frames of natural clips take 0.6 to 1.6 times as much; what stands still takes
/// next to nothing.
pub(super) fn log_inter(samples: f64, cost: f64) -> f64 {
    samples.ln() + 0.5 * (cost + LEAST).ln() - 1.3
}

/// The first P-frame after a keyframe takes less: it is predicted from a better picture.
pub(super) const AFTER_KEYFRAME: f64 = -0.35;
