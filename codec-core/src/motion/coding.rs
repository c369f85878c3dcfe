//! Coding of trees and vectors with adaptive binary models (`docs/block-motion.md`).
//!
//! For each root, flags split squares into quarters in Z order; a leaf takes over one of its [`Candidates`] or codes its
//! difference to a predicted vector. Contexts depend on decoded integers alone, so parsing waits for no picture.

mod candidates;
mod contexts;
#[cfg(test)]
mod tests;

pub use candidates::{Candidates, MAX_CANDIDATES, split_context};
pub use contexts::MotionCosts;

use crate::entropy::{AdaptiveBit, SymbolReader, SymbolWriter};
use crate::motion::{BlockField, CELL, Leaf, MAX_COMPONENT, MAX_LOG2, MIN_LOG2, MotionVector, ROOT};
use crate::{Error, Result};
use contexts::{CLASSES, Contexts, size};

/// Adaptive state of a stream's motion: the models and the last frame's field. A keyframe starts a new one; it goes on from
/// P-frame to P-frame.
#[derive(Clone, Debug)]
pub struct MotionCoder {
    width: usize,
    height: usize,
    contexts: Contexts,
    previous: Option<BlockField>,
}

impl MotionCoder {
    /// The state after a keyframe. `width` and `height` are the coded size in luma samples.
    ///
    /// # Panics
    /// If a side is no multiple of [`ROOT`].
    pub fn new(width: usize, height: usize) -> Self {
        assert!(width.is_multiple_of(ROOT) && height.is_multiple_of(ROOT), "{width}x{height} is no coded size");
        Self { width, height, contexts: Contexts::new(), previous: None }
    }

    /// Codes a frame's field.
    ///
    /// # Panics
    /// If the field has another size, or a vector's component is beyond [`MAX_COMPONENT`].
    pub fn encode(&mut self, field: &BlockField, writer: &mut SymbolWriter) {
        assert_eq!((field.cols() * CELL, field.rows() * CELL), (self.width, self.height), "size of the field");
        let inside = |v: &MotionVector| v.x.unsigned_abs().max(v.y.unsigned_abs()) <= MAX_COMPONENT.unsigned_abs();
        assert!(field.vectors().iter().all(inside), "a vector's component is at most {MAX_COMPONENT}");
        self.code(&mut Writing { writer, field }).expect("a writer does not fail");
    }

    /// Reads a frame's field.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if what was read cannot have been written. The state is of no more use then; nor is it after any other
    /// error in the frame.
    pub fn decode(&mut self, reader: &mut SymbolReader) -> Result<BlockField> {
        self.code(&mut Reading { reader })?;
        Ok(self.previous.clone().expect("coding leaves the field"))
    }

    /// The last coded field; none after a keyframe.
    pub fn previous(&self) -> Option<&BlockField> {
        self.previous.as_ref()
    }

    /// What choices cost at present.
    pub fn costs(&self) -> MotionCosts {
        MotionCosts::new(&self.contexts)
    }

    fn code(&mut self, bits: &mut impl Bits) -> Result<()> {
        let previous = self.previous.take();
        let field = BlockField::still(self.width, self.height);
        let mut walk = Walk { bits, contexts: &mut self.contexts, previous: previous.as_ref(), field };
        let root = ROOT / CELL;
        for row in (0..walk.field.rows()).step_by(root) {
            for col in (0..walk.field.cols()).step_by(root) {
                walk.square(row, col, MAX_LOG2)?;
            }
            walk.bits.check()?;
        }
        self.previous = Some(walk.field);
        Ok(())
    }
}

/// Bits on their way in or out: one walk describes the syntax for both.
trait Bits {
    /// A bit; a writer codes `bit`, a reader ignores it.
    fn bit(&mut self, model: &mut AdaptiveBit, bit: bool) -> bool;
    fn raw(&mut self, value: u32, bits: u32) -> u32;
    fn check_symbol(&mut self, symbol: i32);
    fn check(&self) -> Result<()>;
    /// The field to write.
    fn source(&self) -> Option<&BlockField>;
}

struct Writing<'a> {
    writer: &'a mut SymbolWriter,
    field: &'a BlockField,
}

impl Bits for Writing<'_> {
    fn bit(&mut self, model: &mut AdaptiveBit, bit: bool) -> bool {
        self.writer.put_bit(model, bit);
        bit
    }

    fn raw(&mut self, value: u32, bits: u32) -> u32 {
        self.writer.put_raw(value, bits);
        value
    }

    fn check_symbol(&mut self, symbol: i32) {
        self.writer.check_symbol(symbol);
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn source(&self) -> Option<&BlockField> {
        Some(self.field)
    }
}

struct Reading<'a, 'b> {
    reader: &'a mut SymbolReader<'b>,
}

impl Bits for Reading<'_, '_> {
    fn bit(&mut self, model: &mut AdaptiveBit, _: bool) -> bool {
        self.reader.get_bit(model)
    }

    fn raw(&mut self, _: u32, bits: u32) -> u32 {
        self.reader.get_raw(bits)
    }

    fn check_symbol(&mut self, symbol: i32) {
        self.reader.check_symbol(symbol);
    }

    fn check(&self) -> Result<()> {
        self.reader.check()
    }

    fn source(&self) -> Option<&BlockField> {
        None
    }
}

struct Walk<'a, B> {
    bits: &'a mut B,
    contexts: &'a mut Contexts,
    previous: Option<&'a BlockField>,
    /// Coded so far.
    field: BlockField,
}

impl<B: Bits> Walk<'_, B> {
    /// A square of 2^`log2` samples a side, a leaf or four quarters.
    fn square(&mut self, row: usize, col: usize, log2: u8) -> Result<()> {
        if log2 > MIN_LOG2 {
            let wanted = self.bits.source().is_some_and(|field| field.log2(row, col) < log2);
            let context = split_context(&self.field, row, col, log2);
            if self.bits.bit(&mut self.contexts.split[size(log2) - 1][context], wanted) {
                let half = 1 << (log2 - 1 - MIN_LOG2);
                for (down, right) in [(0, 0), (0, half), (half, 0), (half, half)] {
                    self.square(row + down, col + right, log2 - 1)?;
                }
                return Ok(());
            }
        }
        let candidates = Candidates::new(&self.field, self.previous, row, col, log2);
        let wanted = self.bits.source().map_or(MotionVector::default(), |field| field.vector(row, col));
        let vector = self.vector(&candidates, log2, wanted)?;
        self.field.set(Leaf { row, col, log2, vector });
        for integer in [i32::from(log2), vector.x.into(), vector.y.into()] {
            self.bits.check_symbol(integer);
        }
        Ok(())
    }

    /// The vector of a leaf.
    fn vector(&mut self, candidates: &Candidates, log2: u8, wanted: MotionVector) -> Result<MotionVector> {
        let list = candidates.merge();
        let position = list.iter().position(|&vector| vector == wanted);
        if self.bits.bit(&mut self.contexts.merge[size(log2)][list.len() - 1], position.is_some()) {
            let mut index = 0;
            while index + 1 < list.len() {
                let model = &mut self.contexts.index[list.len() - 1][index];
                if !self.bits.bit(model, position.is_some_and(|p| p > index)) {
                    break;
                }
                index += 1;
            }
            return Ok(list[index]);
        }
        let predictor = candidates.predictor();
        let dx = self.difference(candidates, 0, false, i32::from(wanted.x) - i32::from(predictor.x))?;
        let dy = self.difference(candidates, 1, dx != 0, i32::from(wanted.y) - i32::from(predictor.y))?;
        let component = |predicted: i16, difference: i32| {
            let sum = i32::from(predicted) + difference;
            if sum.abs() > MAX_COMPONENT.into() {
                return Err(Error::Corrupt(format!("motion: a vector's component is {sum}, its limit {MAX_COMPONENT}")));
            }
            Ok(sum as i16)
        };
        Ok(MotionVector { x: component(predictor.x, dx)?, y: component(predictor.y, dy)? })
    }

    /// One component of a vector difference.
    fn difference(&mut self, candidates: &Candidates, component: usize, other: bool, wanted: i32) -> Result<i32> {
        let spread = candidates.spread()[component];
        let models = &mut self.contexts.components[component];
        if !self.bits.bit(&mut models.nonzero[spread][usize::from(other)], wanted != 0) {
            return Ok(0);
        }
        let magnitude = wanted.unsigned_abs().max(1);
        let mut class = 0;
        while class + 1 < CLASSES && self.bits.bit(&mut models.beyond[spread][class], magnitude.ilog2() as usize > class) {
            class += 1;
        }
        // The highest bit is known from the class, the next has a model, the rest is raw together with the sign.
        let mut found = 1;
        if class > 0 {
            found = 2 | u32::from(self.bits.bit(&mut models.second[class], magnitude << 1 >> class & 1 != 0));
        }
        let low = class.saturating_sub(1) as u32;
        let tail = (magnitude & ((1 << low) - 1)) << 1 | u32::from(wanted < 0);
        let tail = self.bits.raw(tail, low + 1);
        let magnitude = (found << low | tail >> 1) as i32;
        Ok(if tail & 1 != 0 { -magnitude } else { magnitude })
    }
}
