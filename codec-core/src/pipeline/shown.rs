//! What a decoder shows: the reconstruction, or the postfilter's work on it.

use super::detail_model::DetailModel;
use super::engine::{Filtered, LooksBack};
use super::keep::{Kept, area_to_filter};
use super::reconstruct::{Reconstruction, Reconstructor, UNSHIFTED};
use crate::Result;
use crate::frame::Frame;
use crate::integer::Area;
use crate::kernels::sharpen::sharpen;
use crate::motion::References;

/// A filtered frame at coded size, kept from frame to frame.
pub(super) struct Shown {
    frame: Frame,
    /// Of the reconstruction that `frame` was made of; 0: there is none yet.
    number: u64,
    /// What was shown before, moved on.
    past: Frame,
    map: Vec<f32>,
    /// Frames that were made since the filter started afresh.
    turn: usize,
    /// The filter that made the last frame, and its strength.
    filter: (DetailModel, u8),
}

impl Shown {
    pub fn new(width: usize, height: usize) -> Self {
        Self {
            frame: Frame::new(width, height),
            number: 0,
            past: Frame::new(width, height),
            map: Vec::new(),
            turn: 0,
            filter: (DetailModel::Off, 0),
        }
    }

    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Says which filter comes next, and how strong it is. Another one works everywhere at first: what an earlier one made is not kept.
    pub fn set_filter(&mut self, which: DetailModel, strength: u8) {
        if std::mem::replace(&mut self.filter, (which, strength)) != (which, strength) {
            self.turn = 0;
        }
    }

    /// Filters the reconstruction. A filter that looks back does so only at the very frame before: where that was not shown, it
    /// starts afresh.
    pub fn update(&mut self, looks_back: LooksBack, reconstructor: &mut Reconstructor) -> Result<()> {
        let (last, times) = reconstructor.last_and_times();
        let Reconstruction { engine, threads, frame: decoded, prediction, motion, compensator, .. } = last;
        let Reconstruction { display, quality, rest, shift, detail, number, .. } = last;
        if self.number == number {
            return Ok(());
        }
        let motion = motion.filter(|_| self.number + 1 == number && looks_back.0);
        times.measure("postfilter", || -> Result<()> {
            if let Some(motion) = motion {
                let references = References { last: &self.frame, golden: None };
                compensator.predict(references, display, motion, threads, &mut self.past)?;
            }
            let past = motion.map(|_| &self.past);
            // The first map with a past has more channels than one without.
            self.turn = motion.map_or(0, |_| self.turn + 1);
            let area = match motion {
                Some(motion) if self.turn > 1 => area_to_filter(rest, shift, motion, self.turn),
                _ => Area::whole(decoded.height() / 8, decoded.width() / 8),
            };
            let cells = quality.cells(UNSHIFTED);
            let filtered = Filtered { decoded, past, quality: cells.grid(), detail, area: &area };
            engine.postfilter_map(filtered, &mut self.map)?;
            for chroma in [1, 2] {
                self.frame.plane_mut(chroma).clone_from(decoded.plane(chroma));
            }
            let (map, out) = (&self.map[..], self.frame.plane_mut(0));
            sharpen(decoded.plane(0), past.map(|past| past.plane(0)), (map, &area), out, threads)?;
            if let Some(past) = past {
                Kept { past, decoded, prediction }.write(&area, self.frame.plane_mut(0), threads);
            }
            Ok(())
        })?;
        self.number = number;
        Ok(())
    }
}
