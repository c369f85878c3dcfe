//! What one call of the engine sends to the device, in one copy.

use std::borrow::Cow;

use tch::{Device, Kind, Tensor};

use crate::Result;
use crate::entropy::{ACTIVATION_FRACTION_BITS, LatentGrid, QUALITIES};
use crate::frame::Frame;
use crate::integer::Area;
use crate::nn::Precision;
use crate::nn::frames::samples;
use crate::nn::layers::RESTS;
use crate::nn::ops::Planes;
use crate::nn::transfer::{Staging, remembered};
use crate::quality::QualityGrid;

/// A cell that rests, in bytes that are sent.
const RESTING: u8 = u8::MAX;

/// Quality indices of cells, or nothing where all are alike.
fn indices(quality: QualityGrid<'_>) -> Option<Cow<'_, [u8]>> {
    match quality.rest() {
        None => quality.cells().map(Cow::Borrowed),
        Some(rest) => {
            let index = |cell| if rest.at_cell(cell) { RESTING } else { quality.at(cell) };
            Some((0..rest.cells()).map(index).collect())
        }
    }
}

/// Gathers what is to be sent.
#[derive(Default)]
pub struct Parcel<'a> {
    parts: Vec<Cow<'a, [u8]>>,
}

impl<'a> Parcel<'a> {
    pub fn frame(mut self, frame: &'a Frame) -> Self {
        self.parts.extend(samples(frame));
        self
    }

    pub fn latent(mut self, latent: &'a LatentGrid) -> Self {
        self.parts.push(Cow::Borrowed(bytemuck::cast_slice(&latent.data)));
        self
    }

    /// Of a frame whose cells are alike, nothing.
    pub fn quality(mut self, quality: QualityGrid<'a>) -> Self {
        self.parts.extend(indices(quality));
        self
    }

    /// Of a whole grid, nothing.
    pub fn area(mut self, area: &Area) -> Self {
        if !area.is_whole() {
            let (rows, cols) = area.size();
            let mut marks = vec![0; rows * cols];
            area.cells().for_each(|cell| marks[cell] = 1);
            self.parts.push(marks.into());
        }
        self
    }

    /// All of it, to be taken in the order in which it was put in.
    pub fn send(self, staging: &mut Staging, device: Device, precision: Precision) -> Result<Sent> {
        Ok(Sent { bytes: staging.upload(&self.parts, device)?, taken: 0, precision })
    }
}

/// Bytes on the device.
pub struct Sent {
    bytes: Tensor,
    taken: i64,
    /// What values are for.
    precision: Precision,
}

impl Sent {
    fn take(&mut self, count: usize) -> Result<Tensor> {
        let part = self.bytes.f_narrow(0, self.taken, count as i64)?;
        self.taken += count as i64;
        Ok(part)
    }

    /// A frame of the size of `frame`.
    pub fn frame(&mut self, frame: &Frame) -> Result<Planes> {
        let size = (frame.height(), frame.width());
        Planes::from_samples(&self.take(size.0 * size.1 * 3 / 2)?, size, self.precision.kind())
    }

    /// A latent in quantiser steps, of the size of `latent`. It must have been put in first: its values are aligned there.
    pub fn latent(&mut self, latent: &LatentGrid) -> Result<Tensor> {
        let size = [1, latent.rows as i64, latent.cols as i64, latent.channels as i64];
        let values = self.take(size_of_val(&latent.data[..]))?.f_view_dtype(Kind::Int)?.f_view(size)?;
        // Of 32 bits, all of which count where results are exact.
        let kind = if self.precision.is_exact() { Kind::Double } else { Kind::Float };
        let steps = values.f_to_kind(kind)?.f_mul_scalar((-f64::from(ACTIVATION_FRACTION_BITS)).exp2())?;
        Ok(steps.f_permute([0, 3, 1, 2])?)
    }

    /// 1 at the cells of an area and 0 elsewhere, `[1, 1, rows, cols]`; `None` for a whole grid.
    pub fn area(&mut self, area: &Area) -> Result<Option<Tensor>> {
        if area.is_whole() {
            return Ok(None);
        }
        let (rows, cols) = area.size();
        let marks = self.take(rows * cols)?.f_view([1, 1, rows as i64, cols as i64])?;
        Ok(Some(marks.f_to_kind(self.precision.kind())?))
    }

    /// Quality indices, `[1]`, or `[1, H/16, W/16]` where cells differ; [`RESTS`] where they rest.
    pub fn quality(&mut self, quality: QualityGrid) -> Result<Tensor> {
        if let Some(rest) = quality.rest() {
            let cells = self.take(rest.cells())?.f_view([1, -1, rest.cell_cols() as i64])?.f_to_kind(Kind::Int64)?;
            return Ok(cells.f_masked_fill(&cells.f_eq(i64::from(RESTING))?, RESTS)?);
        }
        match quality.cells() {
            None => frame_quality(quality.frame(), self.bytes.device()),
            Some(cells) => Ok(self.take(cells.len())?.f_view([1, -1, quality.cols() as i64])?.f_to_kind(Kind::Int64)?),
        }
    }
}

/// The quality index of a whole frame, `[1]`, which a device has already.
pub fn frame_quality(quality: u8, device: Device) -> Result<Tensor> {
    let all = remembered("qualities", Vec::new(), device, || Ok(Tensor::f_arange(QUALITIES as i64, (Kind::Int64, device))?))?;
    Ok(all.f_narrow(0, quality.into(), 1)?)
}
