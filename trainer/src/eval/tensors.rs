//! Frames as tensors, and back.

use anyhow::Result;
use codec_core::frame::{Frame, Plane};
use codec_core::nn::ops::Planes;
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

/// One frame of tensors, clamped and rounded to 8 bits.
pub fn frame(planes: &Planes) -> Result<Frame> {
    let (_, _, height, width) = planes.y.size4()?;
    let mut frame = Frame::new(width as usize, height as usize);
    let sources = [planes.y.f_select(1, 0)?, planes.uv.f_select(1, 0)?, planes.uv.f_select(1, 1)?];
    for (plane, source) in frame.planes_mut().iter_mut().zip(sources) {
        let bytes = source.f_clamp(-0.5, 0.5)?.f_add_scalar(0.5)?.f_mul_scalar(255.0)?.f_round()?.f_to_kind(Kind::Uint8)?;
        let bytes = Vec::<u8>::try_from(bytes.f_contiguous()?.f_view([-1])?)?;
        for (row, line) in bytes.chunks_exact(plane.width).enumerate() {
            plane.row_mut(row).copy_from_slice(line);
        }
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_way_there_and_back() {
        let mut original = Frame::new(6, 4);
        for (i, plane) in original.planes_mut().iter_mut().enumerate() {
            plane.data.iter_mut().enumerate().for_each(|(j, v)| *v = (i * 80 + j * 3) as u8);
        }
        let back = frame(&planes(&original).unwrap()).unwrap();
        assert!((0..3).all(|i| (0..back.plane(i).height).all(|row| back.plane(i).row(row) == original.plane(i).row(row))));
    }
}
