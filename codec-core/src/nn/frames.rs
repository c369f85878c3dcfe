//! Frames as tensors and back.

use std::borrow::Cow;

use tch::{Device, Kind, Tensor};

use super::ops::Planes;
use crate::Result;
use crate::frame::{Frame, Plane};

impl Planes {
    /// A frame of even sides, on a device.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn from_frame(frame: &Frame, device: Device, kind: Kind) -> Result<Self> {
        let tensor = |plane: &Plane| -> Result<Tensor> {
            let size = [1, 1, plane.height as i64, plane.width as i64];
            let bytes = Tensor::f_from_slice(&samples(plane))?.f_view(size)?.f_to_device(device)?;
            Ok(bytes.f_to_kind(kind)?.f_div_scalar(255.0)?.f_sub_scalar(0.5)?)
        };
        let uv = Tensor::f_cat(&[tensor(frame.plane(1))?, tensor(frame.plane(2))?], 1)?;
        Ok(Self { y: tensor(frame.plane(0))?, uv })
    }

    /// Rounds to 8 bits and writes the first frame of the batch into `out`, which has its size.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn write_to(&self, out: &mut Frame) -> Result<()> {
        let planes = self.rounded()?;
        write(&planes.y, &mut out.plane_mut(0).data)?;
        write(&planes.uv.f_select(1, 0)?, &mut out.plane_mut(1).data)?;
        write(&planes.uv.f_select(1, 1)?, &mut out.plane_mut(2).data)
    }
}

/// A plane's samples without gaps between its rows.
fn samples(plane: &Plane) -> Cow<'_, [u8]> {
    let count = plane.width * plane.height;
    if plane.stride == plane.width {
        Cow::Borrowed(&plane.data[..count])
    } else {
        Cow::Owned((0..plane.height).flat_map(|row| plane.row(row)).copied().collect())
    }
}

fn write(x: &Tensor, data: &mut Vec<u8>) -> Result<()> {
    let x = x.f_add_scalar(0.5)?.f_mul_scalar(255.0)?.f_round()?.f_to_kind(Kind::Uint8)?.f_to_device(Device::Cpu)?;
    let x = x.f_contiguous()?;
    let count = x.numel();
    data.resize(count, 0);
    Ok(x.f_view([-1])?.f_copy_data(data, count)?)
}
