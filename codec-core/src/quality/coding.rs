//! Coding of quality maps with adaptive bits (`docs/bitstream.md`, "Payload: quality map").
//!
//! Most frames keep the map of the frame before. Where a map changes, cells that keep their value are told by a bit each, and new values
//! are predicted from the cells on the left and above: regions that come, go or move cost bits at their edges alone.

#[cfg(test)]
mod tests;

use super::map::QualityMap;
use crate::entropy::{AdaptiveBit, Decoding, Encoding, SymbolReader, SymbolWriter, Symbols};
use crate::{Error, Result};

const LIMIT: i32 = QualityMap::LIMIT as i32;
/// Models of the length of a difference; the last one serves all further bits.
const LENGTHS: usize = 6;

/// A model whose bit is at first 1 with so many in a hundred.
const fn percent(ones: u32) -> AdaptiveBit {
    AdaptiveBit::new(((ones << 16) / 100) as u16)
}

/// What a stream's maps are coded with: the last map and adaptive probabilities. Encoder and decoder start a new one at each keyframe and
/// pass every frame through it.
#[derive(Clone, Debug)]
pub struct MapCoder {
    map: QualityMap,
    is_zero: bool,
    /// No frame has passed yet.
    at_keyframe: bool,
    models: Models,
}

#[derive(Clone, Debug)]
struct Models {
    /// The map changes; in P-frames, in keyframes.
    changes: [AdaptiveBit; 2],
    /// A cell changes: by how many of its neighbours do, and whether its last value is the predicted one.
    differs: [[AdaptiveBit; 2]; 3],
    /// A cell that changes has the predicted value, by how many of its neighbours change.
    predicted: [AdaptiveBit; 3],
    /// A difference is negative: by the predicted value's sign (negative, zero, positive).
    negative: [AdaptiveBit; 3],
    /// A difference is longer.
    longer: [AdaptiveBit; LENGTHS],
}

impl MapCoder {
    /// The state at a keyframe of the given display size in luma samples.
    pub fn new((width, height): (usize, usize)) -> Self {
        let models = Models {
            changes: [percent(5); 2],
            differs: [[percent(50), percent(5)], [percent(60), percent(20)], [percent(80), percent(50)]],
            predicted: [percent(30), percent(60), percent(80)],
            negative: [percent(50); 3],
            longer: [percent(40); LENGTHS],
        };
        Self { map: QualityMap::zero(width as u32, height as u32), is_zero: true, at_keyframe: true, models }
    }

    /// The map of the frame that was coded last; `None` if it is zero everywhere.
    pub fn map(&self) -> Option<&QualityMap> {
        (!self.is_zero).then_some(&self.map)
    }

    /// Codes a frame's map; `None`: zero.
    ///
    /// # Panics
    /// If the map has another size.
    pub fn encode(&mut self, map: Option<&QualityMap>, writer: &mut SymbolWriter) {
        let same = match map {
            Some(map) => {
                assert_eq!(map.size(), self.map.size(), "size of the quality map");
                *map == self.map
            }
            None => self.is_zero,
        };
        let given = |cell: usize| map.map_or(0, |map| map.values()[cell]);
        self.code(&mut Encoding(writer), !same, given).expect("a writer does not fail");
    }

    /// Codes that a frame has the map of the frame before.
    pub fn encode_same(&mut self, writer: &mut SymbolWriter) {
        self.code(&mut Encoding(writer), false, |_| 0).expect("a writer does not fail");
    }

    /// Reads a frame's map.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a value goes beyond its limit; the state is of no more use then; nor is it after any other error in the
    /// frame.
    pub fn decode(&mut self, reader: &mut SymbolReader) -> Result<()> {
        self.code(&mut Decoding(reader), false, |_| 0)?;
        reader.check()
    }

    fn code(&mut self, symbols: &mut impl Symbols, changes: bool, given: impl Fn(usize) -> i8) -> Result<()> {
        let kind = usize::from(std::mem::take(&mut self.at_keyframe));
        if !symbols.bit(&mut self.models.changes[kind], changes) {
            return Ok(());
        }
        let (_, cols) = self.map.size();
        let last = self.map.values();
        let mut values = last.to_vec();
        for cell in 0..values.len() {
            let surroundings = Surroundings::of(&values, last, cell, cols);
            let value = self.models.value(symbols, &surroundings, last[cell].into(), given(cell).into());
            if value.abs() > LIMIT {
                return Err(Error::Corrupt("quality map: a value beyond its limit".into()));
            }
            symbols.check(value);
            values[cell] = value as i8;
        }
        self.is_zero = values.iter().all(|&value| value == 0);
        self.map.replace(values);
        Ok(())
    }
}

/// What is known of a cell before it is coded.
struct Surroundings {
    predicted: i32,
    /// How many of the cells on the left and above change.
    changing: usize,
}

impl Surroundings {
    /// `values` are this frame's before `cell`, and the last frame's from there on.
    fn of(values: &[i8], last: &[i8], cell: usize, cols: usize) -> Self {
        let left = (!cell.is_multiple_of(cols)).then(|| cell - 1);
        let upper = cell.checked_sub(cols);
        let changing = [left, upper].into_iter().flatten().filter(|&other| values[other] != last[other]).count();
        let value = |cell: usize| i32::from(values[cell]);
        let predicted = match (left, upper) {
            (Some(left), Some(upper)) => {
                let (a, b) = (value(left), value(upper));
                // The median of both and of what goes on as they do.
                (a + b - value(upper - 1)).clamp(a.min(b), a.max(b))
            }
            (Some(other), None) | (None, Some(other)) => value(other),
            (None, None) => value(cell),
        };
        Self { predicted, changing }
    }
}

impl Models {
    /// Codes a cell and returns its value: the given one or, when decoding, the one read, which may be beyond the limit.
    fn value(&mut self, symbols: &mut impl Symbols, around: &Surroundings, last: i32, given: i32) -> i32 {
        let &Surroundings { predicted, changing } = around;
        let alike = usize::from(predicted == last);
        if !symbols.bit(&mut self.differs[changing][alike], given != last) {
            return last;
        }
        // A value that changes is not the last one.
        if predicted != last && symbols.bit(&mut self.predicted[changing], given == predicted) {
            return predicted;
        }
        let difference = given - predicted;
        let negative = symbols.bit(&mut self.negative[(predicted.signum() + 1) as usize], difference < 0);
        let mut magnitude = 1;
        while magnitude < 2 * LIMIT
            && symbols.bit(&mut self.longer[(magnitude as usize - 1).min(LENGTHS - 1)], difference.abs() > magnitude)
        {
            magnitude += 1;
        }
        if negative { predicted - magnitude } else { predicted + magnitude }
    }
}
