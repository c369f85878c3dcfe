//! What a decoder shows: the reconstruction, or the postfilter's work on it.

use super::reconstruct::Reconstructor;
use super::tensors::{packed_tensor, to_nhwc};
use crate::Result;
use crate::frame::Frame;
use crate::kernels::sharpen::sharpen;
use crate::model::Model;
use crate::nn::Postfilter;
use crate::nn::codec::quality_tensor;

/// A filtered frame at coded size, kept from frame to frame.
pub(super) struct Shown {
    frame: Frame,
    buffer: Vec<f32>,
}

impl Shown {
    pub fn new(width: usize, height: usize) -> Self {
        Self { frame: Frame::new(width, height), buffer: Vec::new() }
    }

    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Filters the reconstruction with the postfilter of `model`.
    pub fn update(&mut self, postfilter: &Postfilter, model: &Model, reconstructor: &mut Reconstructor) -> Result<()> {
        let q = quality_tensor(&[reconstructor.quality()], model.device)?;
        let (reference, times) = reconstructor.reference_and_times();
        let (frame, buffer) = (&mut self.frame, &mut self.buffer);
        times.measure("postfilter", || -> Result<()> {
            let packed = packed_tensor(reference, buffer, model.device)?;
            to_nhwc(&postfilter.map(&packed, &q, model.detail_share())?, buffer)?;
            sharpen(reference, buffer, frame)
        })
    }
}
