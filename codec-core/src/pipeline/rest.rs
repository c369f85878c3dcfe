//! P-frames without a residual, and areas of P-frames: their prediction is the picture, as in scenes that stand still.

mod areas;

use std::ops::Range;

use crate::Result;
use crate::entropy::{AdaptiveBit, Decoding, Encoding, SymbolReader, SymbolWriter, Symbols};
use crate::frame::{Frame, Plane, chroma_size};
use crate::quality::{QualityGrid, RestMap, lambda};

pub(super) use areas::{AreaSearch, Residual};

/// Probability of a frame without residual at a keyframe, in 2^-16.
const AT_FIRST: u16 = 512;
/// Initial probability, set at keyframes, that there are areas that rest, and that an area rests, by how many of those to the left and above rest, and
/// whether it did in the last frame.
const ANY_AT_FIRST: u16 = 16_384;
const AREA_AT_FIRST: [[u16; 3]; 2] = [[8_192, 24_576, 40_960], [24_576, 45_056, 57_344]];
/// Side of the areas that are looked at, in luma samples: that of the cells that have a quality of their own.
const AREA: usize = 16;
/// An area may lose so much of what the residual would have brought it nearer to the original: this share of its error, and this square
/// of grey levels for each sample. What moves in a corner of a noisy picture has to be coded, however little of the whole it is.
const TOLERATED_SHARE: f64 = 0.5;
const TOLERATED: f64 = 1.0;
/// Weight of a squared error of chroma beside one of luma, as models are trained: half of the samples have half of the weight.
const CHROMA_WEIGHT: f64 = 2.0;

/// What of a P-frame has no residual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// All of it.
    Frame,
    /// These areas; `None`: nothing.
    Areas(Option<RestMap>),
}

/// Says of each P-frame what has no residual. A keyframe starts a new one.
#[derive(Clone, Debug)]
pub(super) struct RestCoder {
    frame: AdaptiveBit,
    any: AdaptiveBit,
    area: [[AdaptiveBit; 3]; 2],
    /// Of the last frame that had a residual.
    last: Option<RestMap>,
}

impl RestCoder {
    pub fn new() -> Self {
        Self {
            frame: AdaptiveBit::new(AT_FIRST),
            any: AdaptiveBit::new(ANY_AT_FIRST),
            area: AREA_AT_FIRST.map(|bits| bits.map(AdaptiveBit::new)),
            last: None,
        }
    }

    /// Of a frame whose latent has so many rows and columns.
    pub fn encode(&mut self, rest: &Rest, size: (usize, usize), writer: &mut SymbolWriter) {
        self.code(rest, size, &mut Encoding(writer));
    }

    /// See [`Self::encode`].
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) if the payload has come to its end.
    pub fn decode(&mut self, size: (usize, usize), reader: &mut SymbolReader) -> Result<Rest> {
        let rest = self.code(&Rest::Areas(None), size, &mut Decoding(reader));
        reader.check()?;
        Ok(rest)
    }

    /// `given` counts when writing.
    fn code(&mut self, given: &Rest, size: (usize, usize), symbols: &mut impl Symbols) -> Rest {
        let frame = symbols.bit(&mut self.frame, *given == Rest::Frame);
        symbols.check(frame.into());
        if frame {
            return Rest::Frame;
        }
        let given = match given {
            Rest::Areas(Some(map)) if !map.is_empty() => Some(map),
            _ => None,
        };
        let any = symbols.bit(&mut self.any, given.is_some());
        symbols.check(any.into());
        let last = self.last.take();
        if any {
            let mut above = vec![false; size.1];
            let map = RestMap::new(size, |(row, col)| {
                let before = last.as_ref().is_some_and(|last| last.at((row, col)));
                let beside = usize::from(col > 0 && above[col - 1]) + usize::from(row > 0 && above[col]);
                let rests = symbols.bit(&mut self.area[usize::from(before)][beside], given.is_some_and(|map| map.at((row, col))));
                symbols.check(rests.into());
                above[col] = rests;
                rests
            });
            self.last = Some(map);
        }
        Rest::Areas(self.last.clone())
    }
}

/// A frame and what may stand for it, of coded size, of which `display` (width, height) is seen.
pub(super) struct Choice<'a> {
    pub original: &'a Frame,
    pub prediction: &'a Frame,
    /// The prediction with its residual.
    pub coded: &'a Frame,
    pub display: (usize, usize),
    /// On the grid of the frame, not shifted.
    pub quality: QualityGrid<'a>,
}

impl Choice<'_> {
    /// Whether the prediction alone has the smaller J = squared error in grey levels + 65025 / lambda * bits, and no area of it is much
    /// worse. `bits`: those of the residual. Errors weigh more where the quality is to be better, and are tolerated less.
    pub fn rests(&self, bits: f64) -> bool {
        let lambda_of = |index: u8| lambda(f64::from(index));
        let lambda = lambda_of(self.quality.frame());
        let chroma = chroma_size(self.display.0, self.display.1);
        let visible = [(self.display, 1.0, AREA), (chroma, CHROMA_WEIGHT, AREA / 2), (chroma, CHROMA_WEIGHT, AREA / 2)];
        let mut left = 65025.0 / lambda * bits;
        visible.into_iter().enumerate().all(|(plane, (size, weight, side))| {
            let [original, prediction, coded] = [self.original, self.prediction, self.coded].map(|frame| frame.plane(plane));
            areas(size, side).all(|[rows, cols]| {
                let error = |plane: &Plane| original.squared_error(plane, rows.clone(), cols.clone()) as f64;
                let (without, with) = (error(prediction), error(coded));
                let cell = rows.start / side * self.quality.cols() + cols.start / side;
                let worth = lambda_of(self.quality.at(cell)) / lambda;
                left -= worth * weight * (without - with);
                let samples = (rows.len() * cols.len()) as f64;
                worth * (without - with) <= with * TOLERATED_SHARE + TOLERATED * samples
            })
        }) && left > 0.0
    }
}

/// Rows and columns of each area of `side` samples, row by row.
fn areas((width, height): (usize, usize), side: usize) -> impl Iterator<Item = [Range<usize>; 2]> {
    let parts = move |length: usize| (0..length).step_by(side).map(move |start| start..(start + side).min(length));
    parts(height).flat_map(move |rows| parts(width).map(move |cols| [rows.clone(), cols]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::{FrameQuality, QualityMap};

    fn flat(value: u8) -> Frame {
        let mut frame = Frame::new(64, 64);
        frame.planes_mut().iter_mut().for_each(|plane| plane.data.fill(value));
        frame
    }

    #[test]
    fn bits_are_weighed_against_errors_and_no_area_is_left_behind() {
        let (original, coded) = (flat(100), flat(98));
        let in_quality = |prediction: &Frame, bits: f64, quality: QualityGrid| {
            // As if a bit were worth 4.
            let bits = bits * lambda(30.0) * 4.0 / 65025.0;
            Choice { original: &original, prediction, coded: &coded, display: (50, 40), quality }.rests(bits)
        };
        let rests = |prediction: &Frame, bits: f64| in_quality(prediction, bits, QualityGrid::uniform(30));
        assert!(rests(&coded, 1.0));
        assert!(!rests(&coded, 0.0));
        // One sample is 4 instead of 2 off: 12 more, as much as 3 bits. In chroma it counts twice.
        let mut near = coded.clone();
        near.planes_mut()[0].row_mut(20)[20] = 96;
        assert!(rests(&near, 3.1) && !rests(&near, 2.9));
        let mut colour = coded.clone();
        colour.planes_mut()[1].row_mut(10)[10] = 96;
        assert!(rests(&colour, 6.1) && !rests(&colour, 5.9));
        // Where a map asks for more quality, it counts more.
        let map = QualityMap::new(50, 40, vec![-5, 0, 0, 0]).unwrap();
        let better = FrameQuality { index: 30, map: Some(map), rest: None }.cells((0, 0));
        assert!(!in_quality(&near, 3.1, better.grid()));
        // What is not seen does not count.
        let mut hidden = coded.clone();
        hidden.planes_mut()[0].row_mut(41).fill(0);
        assert!(rests(&hidden, 1.0));
        // A small thing that is far off has to be coded, whatever it costs.
        let mut missing = coded.clone();
        (17..22).for_each(|row| missing.planes_mut()[0].row_mut(row)[33..38].fill(80));
        assert!(!rests(&missing, 1e6));
    }

    #[test]
    fn what_was_said_is_read() {
        let size = (8, 12);
        let areas = |rests: fn((usize, usize)) -> bool| Rest::Areas(Some(RestMap::new(size, rests)));
        let said = [
            Rest::Areas(None),
            areas(|(row, _)| row > 0),
            areas(|(row, col)| row + col == 2),
            Rest::Frame,
            areas(|_| true),
            Rest::Areas(None),
        ];
        let mut writer = SymbolWriter::new();
        let mut coder = RestCoder::new();
        said.iter().for_each(|rest| coder.encode(rest, size, &mut writer));
        // A map of nothing is none.
        coder.encode(&areas(|_| false), size, &mut writer);
        let payload = writer.finish();
        let mut reader = SymbolReader::new(&payload).unwrap();
        let mut coder = RestCoder::new();
        for rest in said.iter().chain([&Rest::Areas(None)]) {
            assert_eq!(coder.decode(size, &mut reader).unwrap(), *rest);
        }
        reader.finish().unwrap();
    }
}
