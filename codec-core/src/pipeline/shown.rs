//! What a decoder shows: the reconstruction, or the postfilter's work on it.

use super::reconstruct::Reconstructor;
use super::tensors::{from_nhwc, to_nhwc};
use crate::Result;
use crate::frame::Frame;
use crate::kernels::PACKED_CHANNELS;
use crate::kernels::pack::{PackTarget, pack_frame};
use crate::kernels::sharpen::sharpen;
use crate::model::Model;
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

    /// Filters the reconstruction. Nothing is done, and false given back, where the model has no postfilter or its detail is 0.
    pub fn update(&mut self, model: &Model, reconstructor: &mut Reconstructor) -> Result<bool> {
        let (Some(postfilter), 1..) = (&model.networks.postfilter, model.detail()) else { return Ok(false) };
        let q = quality_tensor(&[reconstructor.quality()], model.device)?;
        let (rows, cols) = reconstructor.grid(8);
        let (reference, times) = reconstructor.reference_and_times();
        let (frame, buffer) = (&mut self.frame, &mut self.buffer);
        times.measure("postfilter", || -> Result<()> {
            buffer.resize(rows * cols * PACKED_CHANNELS, 0.0);
            pack_frame(reference, (0, 0), PackTarget { data: buffer, channels: PACKED_CHANNELS, offset: 0 }, 1)?;
            let packed = from_nhwc(buffer, rows, cols, PACKED_CHANNELS, model.device)?;
            let share = f64::from(model.detail()) / 255.0;
            to_nhwc(&postfilter.strength(&packed, &q)?.f_mul_scalar(share)?, buffer)?;
            for (plane, source) in frame.planes_mut().iter_mut().zip([0, 1, 2].map(|i| reference.plane(i))) {
                plane.clone_from(source);
            }
            sharpen(reference.plane(0), buffer, frame.plane_mut(0))
        })?;
        Ok(true)
    }
}
