//! Frames as tensors.

use anyhow::Result;
use codec_core::frame::Frame;
use codec_core::training::nn::ops::Planes;
use tch::{Device, Kind};

/// A frame of even sides as tensors.
pub fn planes(frame: &Frame) -> Result<Planes> {
    Ok(Planes::from_frame(frame, Device::Cpu, Kind::Float)?)
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

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
