//! What a decoder shows: the reconstruction, or the postfilter's work on it.

use super::reconstruct::{Reconstruction, Reconstructor};
use super::tensors::{from_nhwc, packed_tensor, to_nhwc};
use crate::Result;
use crate::frame::Frame;
use crate::kernels::pack::{PackTarget, pack_residual};
use crate::kernels::sharpen::sharpen;
use crate::kernels::{PACKED_CHANNELS, Prediction};
use crate::model::Model;
use crate::nn::Postfilter;
use crate::nn::codec::quality_tensor;

/// A filtered frame at coded size, kept from frame to frame.
pub(super) struct Shown {
    frame: Frame,
    /// Of the reconstruction that `frame` was made of; 0: there is none yet.
    number: u64,
    /// What was shown before, moved on, in 8 bits and as the filter sees it.
    moved: Frame,
    past: Prediction,
    buffer: Vec<f32>,
}

impl Shown {
    pub fn new(width: usize, height: usize) -> Self {
        Self {
            frame: Frame::new(width, height),
            number: 0,
            moved: Frame::new(width, height),
            past: Prediction::default(),
            buffer: Vec::new(),
        }
    }

    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Filters the reconstruction with the postfilter of `model`. A recurrent filter looks back only at the very frame before:
    /// where that was not shown, it starts afresh.
    pub fn update(&mut self, postfilter: &Postfilter, model: &Model, reconstructor: &mut Reconstructor) -> Result<()> {
        let (last, times) = reconstructor.last_and_times();
        let Reconstruction { frame: decoded, motion, compensator, display, quality, number } = last;
        if self.number == number {
            return Ok(());
        }
        let motion = motion.filter(|_| self.number + 1 == number && postfilter.looks_back());
        let q = quality_tensor(&[quality], model.device)?;
        times.measure("postfilter", || -> Result<()> {
            let packed = packed_tensor(decoded, &mut self.buffer, model.device)?;
            let mut news = None;
            if let Some(motion) = motion {
                compensator.predict(&self.frame, display, motion, 1, &mut self.moved)?;
                self.past.load(&self.moved);
                pack_residual(
                    decoded,
                    &self.past,
                    (0, 0),
                    PackTarget { data: &mut self.buffer, channels: PACKED_CHANNELS, offset: 0 },
                    1,
                )?;
                news = Some(from_nhwc(&self.buffer, decoded.height() / 8, decoded.width() / 8, PACKED_CHANNELS, model.device)?);
            }
            to_nhwc(&postfilter.map(&packed, news.as_ref(), &q, model.detail_share())?, &mut self.buffer)?;
            for chroma in [1, 2] {
                self.frame.plane_mut(chroma).clone_from(decoded.plane(chroma));
            }
            sharpen(decoded.plane(0), news.is_some().then_some(&self.past), &self.buffer, self.frame.plane_mut(0))
        })?;
        self.number = number;
        Ok(())
    }
}
