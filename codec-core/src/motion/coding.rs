//! Coding of trees and vectors with adaptive binary models (`docs/bitstream.md`, "Payload: block motion").
//!
//! For each root, flags split squares into quarters in Z order; a leaf takes over one of its [`Candidates`] or codes its
//! difference to a predicted vector. Contexts depend on decoded integers alone, so parsing waits for no picture.

mod candidates;
mod contexts;
mod golden;
mod initial;
mod models;
#[cfg(test)]
mod tests;

pub use candidates::{Candidates, GoldenContext, MAX_CANDIDATES, Surroundings};
pub use golden::GoldenTrack;
pub use models::MotionCosts;

use crate::entropy::{AdaptiveBit, SymbolReader, SymbolWriter};
use crate::motion::light::{GAIN_BITS, OFFSET_BITS};
use crate::motion::{BlockField, CELL, Golden, Leaf, Light, MAX_COMPONENT, MAX_LOG2, MIN_LOG2, Motion, MotionVector, ROOT};
use crate::{Error, Result};
use contexts::{CLASSES, Component};
use models::Models;

/// Adaptive state of a stream's motion: the models, the last frame's field and where the golden frame is. A keyframe starts a new one; it goes on from
/// P-frame to P-frame.
///
/// That of a B-frame is made from the P-frame's after it, and serves for this one frame.
#[derive(Clone, Debug)]
pub struct MotionCoder {
    display: (usize, usize),
    /// Of a P-frame or of a B-frame.
    is_between: bool,
    models: Models<AdaptiveBit>,
    previous: Option<BlockField>,
    track: GoldenTrack,
}

impl MotionCoder {
    /// The state after a keyframe. `width` and `height` of the picture are in luma samples; fields have the coded size, which is that
    /// rounded up to whole roots.
    pub fn new(width: usize, height: usize) -> Self {
        let track = GoldenTrack::still(width.next_multiple_of(ROOT), height.next_multiple_of(ROOT));
        Self { display: (width, height), is_between: false, models: Models::new(), previous: None, track }
    }

    /// Codes a frame's field. Vectors to the last frame of leaves that use the golden frame alone are not coded: [`Self::previous`] has
    /// those that a decoder takes in their place.
    ///
    /// # Panics
    /// If the field has another size, or a vector's component is beyond [`MAX_COMPONENT`].
    pub fn encode(&mut self, field: &BlockField, writer: &mut SymbolWriter) {
        let (width, height) = self.coded();
        assert_eq!((field.cols() * CELL, field.rows() * CELL), (width, height), "size of the field");
        let inside = |v: &MotionVector| v.x.unsigned_abs().max(v.y.unsigned_abs()) <= MAX_COMPONENT.unsigned_abs();
        let golden = field.leaves().filter_map(|leaf| field.golden(leaf.row, leaf.col).vector());
        assert!(
            golden.chain(field.vectors().iter().copied()).all(|v| inside(&v)),
            "a vector's component is at most {MAX_COMPONENT}"
        );
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

    /// For the B-frame in the middle between the last frame and the one before it: in its fields, the last frame takes the golden frame's
    /// place, and the one before that of the last.
    pub fn between(&self) -> Self {
        Self {
            display: self.display,
            is_between: true,
            models: Models::between(),
            previous: self.previous.as_ref().map(BlockField::halved),
            track: GoldenTrack::mirror(),
        }
    }

    /// The last coded field; none after a keyframe.
    pub fn previous(&self) -> Option<&BlockField> {
        self.previous.as_ref()
    }

    /// Where the cells of the last frame come from in the golden frame.
    pub fn track(&self) -> &GoldenTrack {
        &self.track
    }

    /// What choices cost at present.
    pub fn costs(&self) -> MotionCosts {
        MotionCosts::new(&self.models)
    }

    fn coded(&self) -> (usize, usize) {
        (self.display.0.next_multiple_of(ROOT), self.display.1.next_multiple_of(ROOT))
    }

    fn code(&mut self, bits: &mut impl Bits) -> Result<()> {
        let previous = self.previous.take();
        let (width, height) = self.coded();
        let surroundings = Surroundings::new(self.display, previous.as_ref());
        let mut field = BlockField::still(width, height);
        let golden = self.is_between || self.frame_flags(&mut field, bits);
        let track = golden.then_some(&self.track);
        let mut walk = Walk { bits, models: &mut self.models, surroundings, track, field };
        for row in (0..height / CELL).step_by(ROOT / CELL) {
            for col in (0..width / CELL).step_by(ROOT / CELL) {
                walk.square(row, col, MAX_LOG2)?;
            }
            walk.bits.check()?;
        }
        let field = walk.field;
        match field.renews_golden {
            _ if self.is_between => {}
            true => self.track = GoldenTrack::still(width, height),
            false => self.track.follow(&field),
        }
        self.previous = Some(field);
        Ok(())
    }

    /// What is said of a P-frame as a whole. Gives back whether it uses the golden frame.
    fn frame_flags(&mut self, field: &mut BlockField, bits: &mut impl Bits) -> bool {
        let wanted = |of: fn(&BlockField) -> bool| bits.source().is_some_and(of);
        let (golden, renews) = (wanted(BlockField::uses_golden), wanted(|field| field.renews_golden));
        let golden = bits.bit(&mut self.models.frame[0], golden);
        field.renews_golden = bits.bit(&mut self.models.frame[1], renews);
        let light = bits.source().and_then(|field| field.light);
        let changes = bits.bit(&mut self.models.frame[2], light.is_some());
        bits.check_symbol(i32::from(golden) + 2 * i32::from(field.renews_golden) + 4 * i32::from(changes));
        if changes {
            let (gain, offset) = light.map_or((0, 0), Light::raw);
            let (gain, offset) = (bits.raw(gain, GAIN_BITS), bits.raw(offset, OFFSET_BITS));
            field.light = Some(Light::from_raw(gain, offset));
            bits.check_symbol(gain as i32);
            bits.check_symbol(offset as i32);
        }
        golden
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
    models: &'a mut Models<AdaptiveBit>,
    surroundings: Surroundings<'a>,
    /// `None` if the frame does not use the golden frame.
    track: Option<&'a GoldenTrack>,
    /// Coded so far.
    field: BlockField,
}

impl<B: Bits> Walk<'_, B> {
    /// A square of 2^`log2` samples a side, a leaf or four quarters.
    fn square(&mut self, row: usize, col: usize, log2: u8) -> Result<()> {
        if log2 > MIN_LOG2 {
            let wanted = self.bits.source().is_some_and(|field| field.log2(row, col) < log2);
            let context = self.surroundings.split_context(&self.field, row, col, log2);
            if self.bits.bit(&mut self.models.split[context], wanted) {
                let half = 1 << (log2 - 1 - MIN_LOG2);
                for (down, right) in [(0, 0), (0, half), (half, 0), (half, half)] {
                    self.square(row + down, col + right, log2 - 1)?;
                }
                return Ok(());
            }
        }
        let candidates = self.surroundings.candidates(&self.field, row, col, log2);
        let wanted = self.bits.source().map_or(Motion::default(), |field| field.motion(row, col));
        let place = Leaf { row, col, log2, vector: MotionVector::default() };
        let flags = self.golden_flags(row, col, log2, wanted.golden);
        let motion = match (flags, self.track) {
            (Golden::Alone(wanted), Some(track)) => {
                let golden = self.golden_vector(track.predict(&place, candidates.merge()[0]), wanted)?;
                Motion { vector: track.motion(&place, golden), golden: Golden::Alone(golden) }
            }
            (Golden::Mixed(of_golden), Some(track)) => {
                let vector = self.vector(&candidates, log2, wanted.vector)?;
                Motion { vector, golden: Golden::Mixed(self.golden_vector(track.predict(&place, vector), of_golden)?) }
            }
            _ => Motion { vector: self.vector(&candidates, log2, wanted.vector)?, golden: Golden::Unused },
        };
        let Motion { vector, golden } = motion;
        let leaf = Leaf { vector, ..place };
        self.field.set(leaf);
        self.field.set_golden(&leaf, golden);
        for integer in [i32::from(log2), vector.x.into(), vector.y.into()] {
            self.bits.check_symbol(integer);
        }
        if let Some(vector) = golden.vector() {
            for integer in [i32::from(matches!(golden, Golden::Mixed(_))), vector.x.into(), vector.y.into()] {
                self.bits.check_symbol(integer);
            }
        }
        Ok(())
    }

    /// What a leaf takes from the golden frame; the vector is not known yet, but for the one that is to be written.
    fn golden_flags(&mut self, row: usize, col: usize, log2: u8, wanted: Golden) -> Golden {
        let Some(context) = self.surroundings.golden_context(&self.field, row, col, log2).filter(|_| self.track.is_some()) else {
            return Golden::Unused;
        };
        if !self.bits.bit(&mut self.models.golden[context.used], wanted != Golden::Unused) {
            return Golden::Unused;
        }
        let vector = wanted.vector().unwrap_or_default();
        match self.bits.bit(&mut self.models.alone[context.alone], matches!(wanted, Golden::Alone(_))) {
            true => Golden::Alone(vector),
            false => Golden::Mixed(vector),
        }
    }

    /// The vector to the golden frame.
    fn golden_vector(&mut self, predictor: MotionVector, wanted: MotionVector) -> Result<MotionVector> {
        let x = self.difference(Component::golden(None), i32::from(wanted.x) - i32::from(predictor.x), false)?;
        let y = self.difference(Component::golden(Some(x)), i32::from(wanted.y) - i32::from(predictor.y), false)?;
        added(predictor, [x, y])
    }

    /// The vector of a leaf.
    fn vector(&mut self, candidates: &Candidates, log2: u8, wanted: MotionVector) -> Result<MotionVector> {
        let list = candidates.merge();
        let position = list.iter().position(|&vector| vector == wanted);
        if self.bits.bit(&mut self.models.merge[contexts::merge(candidates, log2)], position.is_some()) {
            let mut index = 0;
            while index + 1 < list.len() {
                let model = &mut self.models.index[contexts::index(candidates, index)];
                if !self.bits.bit(model, position.is_some_and(|p| p > index)) {
                    break;
                }
                index += 1;
            }
            return Ok(list[index]);
        }
        let predictor = candidates.predictor();
        let wanted = [i32::from(wanted.x) - i32::from(predictor.x), i32::from(wanted.y) - i32::from(predictor.y)];
        let x = self.difference(Component::x(candidates, log2), wanted[0], false)?;
        // The predictor itself would have been taken over if it is in the list.
        let y = self.difference(Component::y(candidates, log2, x), wanted[1], x == 0 && candidates.listed)?;
        added(predictor, [x, y])
    }

    /// One component of a vector difference. `certain`: that it is not 0 is known.
    fn difference(&mut self, component: Component, wanted: i32, certain: bool) -> Result<i32> {
        if !certain && !self.bits.bit(&mut self.models.nonzero[component.nonzero()], wanted != 0) {
            return Ok(0);
        }
        let negative = self.bits.bit(&mut self.models.negative[component.negative()], wanted < 0);
        let wanted = wanted.unsigned_abs().max(1);
        let [near, far] = component.rows(negative);
        let mut class = 0;
        while class + 1 < CLASSES {
            let row = if class < component.near(negative) { near } else { far };
            if !self.bits.bit(&mut self.models.beyond[row][class], wanted.ilog2() as usize > class) {
                break;
            }
            class += 1;
        }
        // The highest bit is known from the class, the next has a model, the rest is raw.
        let mut magnitude = 1;
        if class > 0 {
            let second = self.bits.bit(&mut self.models.second[component.second(class)], wanted << 1 >> class & 1 != 0);
            let low = class as u32 - 1;
            magnitude = (2 | u32::from(second)) << low | self.bits.raw(wanted & ((1 << low) - 1), low);
        }
        Ok(if negative { -(magnitude as i32) } else { magnitude as i32 })
    }
}

/// A predicted vector plus a difference.
fn added(predictor: MotionVector, difference: [i32; 2]) -> Result<MotionVector> {
    let sum = |predicted: i16, difference: i32| {
        let sum = i32::from(predicted) + difference;
        if sum.abs() > MAX_COMPONENT.into() {
            return Err(Error::Corrupt(format!("motion: a vector's component is {sum}, its limit {MAX_COMPONENT}")));
        }
        Ok(sum as i16)
    };
    Ok(MotionVector { x: sum(predictor.x, difference[0])?, y: sum(predictor.y, difference[1])? })
}
