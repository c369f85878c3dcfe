//! Coding of prediction modes.

use super::QUARTERS;
use super::predict::{MEAN, MODES, PLANAR, VERTICAL};
use crate::entropy::AdaptiveBit;
use crate::entropy::Symbols;

/// Modes that a block most likely has.
pub(super) const LIKELY: usize = 3;
/// Bits that tell the others apart.
const REST_BITS: u32 = 5;

/// The most likely modes of a block, from those of the blocks to the left and above, as in HEVC (ITU-T H.265, 8.4.2).
pub(super) fn likely(left: u8, above: u8) -> [u8; LIKELY] {
    if left != above {
        let third = [PLANAR, MEAN, VERTICAL].into_iter().find(|&mode| mode != left && mode != above);
        return [left, above, third.expect("two cannot be three")];
    }
    match left {
        PLANAR | MEAN => [PLANAR, MEAN, VERTICAL],
        // The directions beside it, around the circle.
        _ => [left, 2 + (left + 29) % 32, 2 + (left - 2 + 1) % 32],
    }
}

/// The modes to the left of and above a quarter of the block `at`.
#[inline(always)]
pub(super) fn neighbours(modes: &[[u8; QUARTERS]], at: usize, quarter: usize, cols: usize) -> (u8, u8) {
    let left = match quarter % 2 {
        1 => modes[at][quarter - 1],
        _ if !at.is_multiple_of(cols) => modes[at - 1][quarter + 1],
        _ => MEAN,
    };
    let above = match quarter / 2 {
        1 => modes[at][quarter - 2],
        _ if at >= cols => modes[at - cols][quarter + 2],
        _ => MEAN,
    };
    (left, above)
}

/// Probabilities of modes, which learn within a frame.
pub(in crate::entropy) struct ModeModels {
    /// Whether quarters have modes of their own, by transform (1, 2).
    apart: [AdaptiveBit; 2],
    /// Whether a mode is one of the likely ones, by whether the neighbours have the same.
    likely: [AdaptiveBit; 2],
    /// Which one: not the first, not the second.
    index: [AdaptiveBit; LIKELY - 1],
    /// The others, highest bit first.
    rest: [AdaptiveBit; 1 << REST_BITS],
}

impl ModeModels {
    pub fn new() -> Self {
        let bit = |share: f64| AdaptiveBit::new((share * 65_536.0) as u16);
        Self {
            apart: [bit(0.8); 2],
            likely: [bit(0.45), bit(0.55)],
            index: [bit(0.6), bit(0.5)],
            rest: [bit(0.5); 1 << REST_BITS],
        }
    }

    /// Codes the modes of a grid of `cols` columns, row by row, of blocks with these `transforms`. `modes` count when writing; they are what
    /// was written or read afterwards.
    pub fn code(&mut self, symbols: &mut impl Symbols, transforms: &[u8], modes: &mut [[u8; QUARTERS]], cols: usize) {
        for at in 0..modes.len() {
            let apart = match transforms[at] {
                0 => false,
                transform => {
                    let wanted = modes[at].iter().any(|&mode| mode != modes[at][0]);
                    symbols.bit(&mut self.apart[usize::from(transform) - 1], wanted)
                }
            };
            for quarter in 0..if apart { QUARTERS } else { 1 } {
                let (left, above) = neighbours(modes, at, quarter, cols);
                let mode = self.mode(symbols, modes[at][quarter], (left, above));
                modes[at][quarter] = mode;
                symbols.check(mode.into());
            }
            if !apart {
                modes[at] = [modes[at][0]; QUARTERS];
            }
        }
    }

    fn mode(&mut self, symbols: &mut impl Symbols, wanted: u8, (left, above): (u8, u8)) -> u8 {
        let likely = likely(left, above);
        let position = likely.iter().position(|&mode| mode == wanted);
        if !symbols.bit(&mut self.likely[usize::from(left == above)], position.is_some()) {
            return self.rest(symbols, wanted, likely);
        }
        let mut index = 0;
        while index + 1 < LIKELY && symbols.bit(&mut self.index[index], position.is_some_and(|p| p > index)) {
            index += 1;
        }
        likely[index]
    }

    fn rest(&mut self, symbols: &mut impl Symbols, mode: u8, mut likely: [u8; LIKELY]) -> u8 {
        likely.sort_unstable();
        // Its number among those that are not likely.
        let number = usize::from(mode) - likely.iter().filter(|&&other| other < mode).count();
        let mut node = 1;
        for bit in (0..REST_BITS).rev() {
            node = 2 * node + usize::from(symbols.bit(&mut self.rest[node], number >> bit & 1 != 0));
        }
        let number = (node - (1 << REST_BITS)) as u8;
        likely.into_iter().fold(number, |mode, other| mode + u8::from(mode >= other))
    }
}

const _: () = assert!(MODES == LIKELY + (1 << REST_BITS));
