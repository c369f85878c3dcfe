//! What frames take at which quality: from their content, corrected by what came out.

use super::outlook::{self, Content, Outlook};

/// A quality index more makes a frame smaller by this factor's logarithm (0.060 and 0.062 on two clips, measured in
/// steps of an older range, of which 1.22 make one of today's).
pub const LOG_SIZE_PER_STEP: f64 = 0.073;
/// The cost of predictions counts anew once two frames in turn differ from it by this factor.
const NOTABLE: f64 = 1.5;
/// Shares of a difference between expected and real size that are learned: the usual one; of frames that take far less, since the next one may
/// not repeat its predecessor; of frames that take far more.
const USUAL_SHARE: f64 = 0.3;
const QUIET_SHARE: f64 = 0.1;
const BUSY_SHARE: f64 = 0.7;
/// Differences of logarithms from which on a frame takes far less, or far more.
const QUIET: f64 = -2.0;
const BUSY: f64 = 1.0;
/// A keyframe of fewer bits is mostly what surrounds its content, and tells nothing of others.
const LEAST_BITS: f64 = 1000.0;
/// Keyframes are never expected to differ by more than this from what their content says.
const LARGEST_INTRA_CORRECTION: f64 = 1.2;

/// The kinds of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    P,
    I,
}

/// Logarithm of size against quality: a line for each kind of frame.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    /// Logarithm of the bits at quality 0 that the content of P- and I-frames lets expect.
    expected: [f64; 2],
    /// What came out, beside that.
    correction: [f64; 2],
    seen: [bool; 2],
    /// Cost of predictions.
    inter_cost: f64,
    /// The last prediction's cost differed notably.
    differed: bool,
}

impl Sizes {
    pub fn new() -> Self {
        Self { expected: [0.0; 2], correction: [0.0; 2], seen: [false; 2], inter_cost: outlook::USUAL_COST, differed: false }
    }

    /// What the content of the next frame tells of its size, and of those after it.
    pub fn expect(&mut self, frame: &Outlook) {
        match frame.content {
            Content::Picture { cost, later, .. } => {
                self.inter_cost = later.unwrap_or(self.inter_cost);
                self.expected = [outlook::log_inter(frame.samples, self.inter_cost), outlook::log_intra(frame.samples, cost)];
            }
            Content::Prediction { cost, after_keyframe } => {
                // Small changes are learned from sizes, and single frames may be anything: following them, quality would flutter.
                let differs = !(1.0 / NOTABLE..NOTABLE).contains(&(cost / self.inter_cost));
                if differs && self.differed {
                    self.inter_cost = cost;
                }
                self.differed = differs;
                let less = if after_keyframe { outlook::AFTER_KEYFRAME } else { 0.0 };
                self.expected[0] = outlook::log_inter(frame.samples, self.inter_cost) + less;
            }
        }
    }

    /// Whether sizes of such frames are known.
    pub fn has_seen(&self, kind: Kind) -> bool {
        self.seen[kind as usize]
    }

    /// Bits at a quality index.
    pub fn bits(&self, kind: Kind, quality: f64) -> f64 {
        (self.log_size(kind) - quality * LOG_SIZE_PER_STEP).exp()
    }

    /// The quality index, 0 or less to 63 or more, at which a frame takes so many bits.
    pub fn quality(&self, kind: Kind, bits: f64) -> f64 {
        (self.log_size(kind) - bits.max(1.0).ln()) / LOG_SIZE_PER_STEP
    }

    /// Learns what the frame that was expected last has become.
    pub fn learn(&mut self, kind: Kind, quality: u8, bits: f64) {
        let i = kind as usize;
        let less = f64::from(quality) * LOG_SIZE_PER_STEP;
        if kind == Kind::I && (self.expected[i] - less).exp() < LEAST_BITS {
            return;
        }
        let difference = bits.max(1.0).ln() + less - self.log_size(kind);
        let share = match difference {
            _ if !self.seen[i] => 1.0,
            ..QUIET => QUIET_SHARE,
            BUSY.. => BUSY_SHARE,
            _ => USUAL_SHARE,
        };
        self.correction[i] += difference * share;
        if kind == Kind::I {
            self.correction[i] = self.correction[i].clamp(-LARGEST_INTRA_CORRECTION, LARGEST_INTRA_CORRECTION);
        }
        self.seen[i] = true;
    }

    /// Logarithm of the bits at quality 0.
    fn log_size(&self, kind: Kind) -> f64 {
        self.expected[kind as usize] + self.correction[kind as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: f64 = 230_400.0;

    fn picture(cost: f64) -> Outlook {
        Outlook { samples: SAMPLES, content: Content::Picture { cost, later: None, predicted: usize::MAX } }
    }

    fn predicted(cost: f64) -> Outlook {
        Outlook { samples: SAMPLES, content: Content::Prediction { cost, after_keyframe: false } }
    }

    fn after(frame: &Outlook) -> Sizes {
        let mut sizes = Sizes::new();
        sizes.expect(frame);
        sizes
    }

    #[test]
    fn bits_and_quality_are_two_sides_of_a_line() {
        let sizes = after(&picture(60.0));
        for quality in [0.0, 21.5, 63.0] {
            assert!((sizes.quality(Kind::I, sizes.bits(Kind::I, quality)) - quality).abs() < 1e-9);
        }
        assert!((sizes.bits(Kind::I, 10.0) / sizes.bits(Kind::I, 0.0) - (-0.73f64).exp()).abs() < 1e-9);
    }

    #[test]
    fn sizes_are_learned_at_once_and_then_slowly() {
        let mut sizes = after(&predicted(9.0));
        let bits = |sizes: &Sizes| sizes.bits(Kind::P, 40.0).round();
        sizes.learn(Kind::P, 40, 10e3);
        assert_eq!(bits(&sizes), 10e3);
        sizes.learn(Kind::P, 40, 20e3);
        assert_eq!(bits(&sizes), (10e3 * 2f64.powf(0.3)).round());
        // Ten times as much is a change to be followed, a hundredth is a frame that repeats the one before.
        for (factor, share) in [(10.0f64, 0.7), (0.01, 0.1)] {
            let mut sizes = after(&predicted(9.0));
            sizes.learn(Kind::P, 40, 10e3);
            sizes.learn(Kind::P, 40, 10e3 * factor);
            assert_eq!(bits(&sizes), (10e3 * factor.powf(share)).round());
        }
    }

    #[test]
    fn a_black_keyframe_tells_nothing_of_others() {
        let mut sizes = after(&picture(0.0));
        sizes.learn(Kind::I, 20, 600.0);
        sizes.expect(&picture(60.0));
        assert_eq!(sizes.bits(Kind::I, 20.0), after(&picture(60.0)).bits(Kind::I, 20.0));
        // Noise that the encoder removes looks like texture: it misleads by a bounded factor.
        let mut sizes = after(&picture(3.0));
        sizes.learn(Kind::I, 0, 600.0);
        sizes.expect(&picture(60.0));
        let beside = sizes.bits(Kind::I, 20.0) / after(&picture(60.0)).bits(Kind::I, 20.0);
        assert!((beside.ln() + LARGEST_INTRA_CORRECTION).abs() < 1e-9, "{beside}");
    }

    #[test]
    fn a_lasting_change_of_predictions_counts_and_others_do_not() {
        let mut sizes = Sizes::new();
        let mut expected = |cost: f64| {
            sizes.expect(&predicted(cost));
            sizes.bits(Kind::P, 0.0)
        };
        let usual = expected(outlook::USUAL_COST);
        for cost in [1.4, 4.0, 1.0, 0.3, 1.2] {
            assert_eq!(expected(outlook::USUAL_COST * cost), usual, "{cost}");
        }
        expected(outlook::USUAL_COST * 4.0);
        let busy = expected(outlook::USUAL_COST * 4.0);
        assert!((busy / usual - 2.0).abs() < 0.01, "four times the cost, twice the bits: {busy} {usual}");
        assert_eq!(expected(outlook::USUAL_COST * 3.0), busy);
    }
}
