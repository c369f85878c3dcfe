//! Frames as tensors.

use anyhow::Result;
use codec_core::frame::{Frame, Plane};
use codec_core::training::nn::ops::Planes;
use tch::{Kind, Tensor};

/// A frame of even sides as tensors.
pub fn planes(frame: &Frame) -> Result<Planes> {
    let tensor = |plane: &Plane| -> Result<Tensor> {
        let samples: Vec<u8> = (0..plane.height).flat_map(|row| plane.row(row)).copied().collect();
        let tensor = Tensor::f_from_slice(&samples)?.f_view([1, 1, plane.height as i64, plane.width as i64])?;
        Ok(tensor.f_to_kind(Kind::Float)?.f_div_scalar(255.0)?.f_sub_scalar(0.5)?)
    };
    Ok(Planes { y: tensor(frame.plane(0))?, uv: Tensor::f_cat(&[tensor(frame.plane(1))?, tensor(frame.plane(2))?], 1)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_keep_their_places() {
        let mut frame = Frame::new(6, 4);
        for (i, plane) in frame.planes_mut().iter_mut().enumerate() {
            plane.data.iter_mut().enumerate().for_each(|(j, v)| *v = (i * 80 + j * 3) as u8);
        }
        let planes = planes(&frame).unwrap();
        assert_eq!((planes.y.size(), planes.uv.size()), (vec![1, 1, 4, 6], vec![1, 2, 2, 3]));
        let byte = |t: &Tensor, at: &[i64]| ((t.double_value(at) + 0.5) * 255.0).round() as u8;
        assert_eq!(byte(&planes.y, &[0, 0, 3, 5]), frame.plane(0).row(3)[5]);
        assert_eq!(byte(&planes.uv, &[0, 0, 1, 2]), frame.plane(1).row(1)[2]);
        assert_eq!(byte(&planes.uv, &[0, 1, 1, 0]), frame.plane(2).row(1)[0]);
    }
}
