//! B-frames, and the P-frames that are shown after them.

use super::Decoder;
use crate::bitstream::ParsedUnit;
use crate::entropy::{LatentContext, LatentGrid, SymbolReader};
use crate::pipeline::reconstruct::Slot;
use crate::pipeline::rest::Rest;
use crate::pipeline::stream::{BetweenFrame, ParsedResidual};
use crate::quality::FrameQuality;
use crate::{Error, Result};

impl Decoder {
    /// Whether the frame shown last was a B-frame, so that the one after it is there.
    pub(super) fn shows_next(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.slot == Slot::Between)
    }

    pub(super) fn decode_show(&mut self, unit: &ParsedUnit, number: u32, lazily: bool) -> Result<()> {
        if !unit.payload.is_empty() {
            return Err(Error::Corrupt(format!("{} bytes in a unit that only shows a frame", unit.payload.len())));
        }
        let stream = self.stream.as_mut().expect("checked by the caller");
        (stream.last_number, stream.slot) = (number, Slot::Last);
        if lazily { Ok(()) } else { stream.catch_up(&mut self.reconstructor) }
    }

    /// Reads the B-frame of a pair, after the frame that follows it in display order.
    pub(super) fn parse_between(
        &mut self,
        mut quality: FrameQuality,
        shift: (i32, i32),
        prior: Option<&LatentGrid>,
        reader: &mut SymbolReader,
    ) -> Result<BetweenFrame> {
        let adaptive = &self.stream.as_ref().expect("checked by the caller").adaptive;
        let (rows, cols) = self.reconstructor.grid(16);
        let motion = adaptive.motion.between().decode(reader)?;
        let rest = adaptive.rest.clone().decode((rows, cols), reader)?;
        let rests = rest == Rest::Frame;
        if let Rest::Areas(map) = rest {
            quality.rest = map;
        }
        let cells = quality.cells(shift);
        let context = LatentContext { model: &self.model.residual_entropy, quality: cells.grid(), rows, cols, prior };
        let latent = if rests { None } else { Some(context.decode(reader, &mut self.scratch)?) };
        let filter = adaptive.filter.clone().decode(reader)?;
        Ok(BetweenFrame { motion, residual: ParsedResidual { latent, quality, shift, filter } })
    }
}
