//! Frames as tensors and back.

use std::borrow::Cow;

use tch::{Device, Kind, Tensor};

use super::ops::Planes;
use super::transfer::Staging;
use crate::frame::{Frame, Plane};
use crate::{Error, Result};

impl Planes {
    /// A frame of even sides, on a device.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn from_frame(frame: &Frame, device: Device, kind: Kind) -> Result<Self> {
        let bytes = Staging::default().upload(&samples(frame), device)?;
        Self::from_samples(&bytes, (frame.height(), frame.width()), kind)
    }

    /// A frame of these even sides (rows, columns) of its [`samples`] on a device.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn from_samples(samples: &Tensor, (height, width): (usize, usize), kind: Kind) -> Result<Self> {
        let (h, w) = (height as i64, width as i64);
        let values = samples.f_to_kind(kind)?.f_div_scalar(255.0)?.f_sub_scalar(0.5)?;
        Ok(Self {
            y: values.f_narrow(0, 0, h * w)?.f_view([1, 1, h, w])?,
            uv: values.f_narrow(0, h * w, h * w / 2)?.f_view([1, 2, h / 2, w / 2])?,
        })
    }

    /// The first frame of the batch, rounded to 8 bits, as [`samples`] on the device.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn to_samples(&self) -> Result<Tensor> {
        let Self { y, uv } = self.rounded()?;
        let flat = |x: &Tensor| x.f_select(0, 0)?.f_reshape([-1]);
        let values = Tensor::f_cat(&[flat(&y)?, flat(&uv)?], 0)?;
        Ok(values.f_add_scalar(0.5)?.f_mul_scalar(255.0)?.f_round()?.f_to_kind(Kind::Uint8)?)
    }
}

/// The three planes of a frame, without gaps between their rows.
pub fn samples(frame: &Frame) -> [Cow<'_, [u8]>; 3] {
    [0, 1, 2].map(|index| of_plane(frame.plane(index)))
}

fn of_plane(plane: &Plane) -> Cow<'_, [u8]> {
    if plane.stride == plane.width {
        Cow::Borrowed(&plane.data[..plane.width * plane.height])
    } else {
        Cow::Owned((0..plane.height).flat_map(|row| plane.row(row)).copied().collect())
    }
}

/// Writes what [`samples`] gives of a frame of this size into it.
///
/// # Errors
/// [`Error::Internal`] if it is of another size.
pub fn set_samples(frame: &mut Frame, mut samples: &[u8]) -> Result<()> {
    for plane in frame.planes_mut() {
        for row in 0..plane.height {
            let width = plane.width;
            let (own, rest) =
                samples.split_at_checked(width).ok_or_else(|| Error::Internal("a frame of too few samples".into()))?;
            plane.row_mut(row).copy_from_slice(own);
            samples = rest;
        }
    }
    Ok(())
}
