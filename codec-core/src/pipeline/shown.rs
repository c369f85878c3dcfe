//! What a decoder shows: the reconstruction, or the postfilter's work on it.

use super::engine::LooksBack;
use super::reconstruct::{Reconstruction, Reconstructor, UNSHIFTED};
use crate::Result;
use crate::frame::Frame;
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
}

impl Shown {
    pub fn new(width: usize, height: usize) -> Self {
        Self { frame: Frame::new(width, height), number: 0, past: Frame::new(width, height), map: Vec::new() }
    }

    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Filters the reconstruction. A filter that looks back does so only at the very frame before: where that was not shown, it
    /// starts afresh.
    pub fn update(&mut self, looks_back: LooksBack, reconstructor: &mut Reconstructor) -> Result<()> {
        let (last, times) = reconstructor.last_and_times();
        let Reconstruction { engine, threads, frame: decoded, motion, compensator, display, quality, detail, number } = last;
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
            engine.postfilter_map(decoded, past, quality.cells(UNSHIFTED).grid(), detail, &mut self.map)?;
            for chroma in [1, 2] {
                self.frame.plane_mut(chroma).clone_from(decoded.plane(chroma));
            }
            sharpen(decoded.plane(0), past.map(|past| past.plane(0)), &self.map, self.frame.plane_mut(0), threads)
        })?;
        self.number = number;
        Ok(())
    }
}
