//! What a decoder shows: the reconstruction, or the postfilter's work on it.

use super::detail_model::DetailModel;
use super::engine::{Filtered, LooksBack};
use super::keep::{Kept, area_to_filter};
use super::reconstruct::{Reconstruction, Reconstructor, Slot, UNSHIFTED};
use crate::Result;
use crate::frame::Frame;
use crate::integer::Area;
use crate::kernels::sharpen::sharpen;
use crate::motion::{ROOT, References};

/// A filtered frame at coded size, kept from frame to frame.
pub(super) struct Shown {
    frame: Frame,
    /// The last B-frame, filtered; the next filtered frame looks back at the one before it.
    between: Frame,
    /// Of the reconstruction that `frame` was made of; 0: there is none yet.
    number: u64,
    /// What was shown before, moved on.
    past: Frame,
    map: Vec<f32>,
    between_map: Vec<f32>,
    /// Frames that were made since the filter started afresh.
    turn: usize,
    /// The filter that made the last frame, and its strength.
    filter: (DetailModel, u8),
}

impl Shown {
    pub fn new(width: usize, height: usize) -> Self {
        Self {
            frame: Frame::new(width, height),
            // Of the right size once there is a B-frame.
            between: Frame::new(ROOT, ROOT),
            number: 0,
            past: Frame::new(width, height),
            map: Vec::new(),
            between_map: Vec::new(),
            turn: 0,
            filter: (DetailModel::Off, 0),
        }
    }

    pub fn frame(&self, slot: Slot) -> &Frame {
        match slot {
            Slot::Last => &self.frame,
            Slot::Between => &self.between,
        }
    }

    /// Says which filter comes next, and how strong it is. Another one works everywhere at first: what an earlier one made is not kept.
    pub fn set_filter(&mut self, which: DetailModel, strength: u8) {
        if std::mem::replace(&mut self.filter, (which, strength)) != (which, strength) {
            self.turn = 0;
        }
    }

    /// Filters a reconstruction. A filter that looks back does so only at the very frame that this one was predicted from: where that was
    /// not shown, it starts afresh.
    pub fn update(&mut self, slot: Slot, looks_back: LooksBack, reconstructor: &mut Reconstructor) -> Result<()> {
        let (last, times) = reconstructor.reconstruction(slot);
        let Reconstruction { engine, threads, frame: decoded, before, motion, compensator, .. } = last;
        let Reconstruction { display, quality, rest, shift, detail, number, .. } = last;
        if self.number == number && slot == Slot::Last {
            return Ok(());
        }
        let motion = motion.filter(|_| self.number + 1 == number && looks_back.0);
        let turn = motion.map_or(0, |_| self.turn + 1);
        times.measure("postfilter", || -> Result<()> {
            if let Some(motion) = motion {
                let references = References { last: &self.frame, golden: None };
                compensator.predict(references, display, motion, threads, &mut self.past)?;
            }
            let past = motion.map(|_| &self.past);
            // The first map with a past has more channels than one without.
            let area = match motion {
                Some(motion) if turn > 1 => area_to_filter(slot, rest, shift, motion, turn),
                _ => Area::whole(decoded.height() / 8, decoded.width() / 8),
            };
            let cells = quality.cells(UNSHIFTED);
            let filtered = Filtered { decoded, past, quality: cells.grid(), detail, area: &area };
            let (out, map) = match slot {
                Slot::Last => (&mut self.frame, &mut self.map),
                Slot::Between => {
                    // What it leaves is not to show in the next frame, which may come without it.
                    self.between_map.clone_from(&self.map);
                    (&mut self.between, &mut self.between_map)
                }
            };
            engine.postfilter_map(filtered, map)?;
            for chroma in [1, 2] {
                out.plane_mut(chroma).clone_from(decoded.plane(chroma));
            }
            let luma = out.plane_mut(0);
            if (luma.width, luma.height) != (decoded.width(), decoded.height()) {
                luma.clone_from(decoded.plane(0));
            }
            sharpen(decoded.plane(0), past.map(|past| past.plane(0)), (&map[..], &area), luma, threads)?;
            if let Some(past) = past {
                Kept { past, decoded, before }.write(&area, luma, threads);
            }
            Ok(())
        })?;
        if slot == Slot::Last {
            (self.number, self.turn) = (number, turn);
        }
        Ok(())
    }
}
