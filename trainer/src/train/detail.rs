//! Detail maps as the encoder chooses them.

use anyhow::Result;
use codec_core::frame::Plane;
use codec_core::training::detail::DetailChooser;
use codec_core::training::nn::ops::Planes;
use codec_core::training::nn::transfer::upload;
use tch::{Device, Tensor};

use super::motion::{of_examples, samples};

/// What the postfilter's strength is multiplied by, `[N, 1, H/8, W/8]`, for decoded frames, their originals, and what the filter without
/// a past makes of them with the full strength everywhere.
pub fn chosen(original: &Planes, decoded: &Planes, shown: &Planes, device: Device) -> Result<Tensor> {
    let (n, _, h, w) = original.y.size4()?;
    let (height, width) = (h as usize, w as usize);
    let samples = samples(&[&original.y, &decoded.y, &shown.y])?;
    let plane = |picture: usize, example: usize| {
        let size = width * height;
        Plane::from_vec(samples[(picture * n as usize + example) * size..][..size].to_vec(), width, height)
    };
    let of_example = |example: usize| -> Result<Vec<f32>> {
        let [original, decoded, shown] = [0, 1, 2].map(|picture| plane(picture, example));
        Ok(DetailChooser::default().choose(&original?, &decoded?, &shown?, (width, height)).factors())
    };
    let factors = of_examples(n as usize, device, of_example)?.concat();
    Ok(upload(&Tensor::f_from_slice(&factors)?, device)?.f_view([n, 1, h / 8, w / 8])?)
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    #[test]
    fn detail_goes_to_the_example_that_lost_it() {
        let wave =
            Tensor::arange(64, (Kind::Float, Device::Cpu)).remainder(2.0).view([1, 1, 1, 64]).expand([1, 1, 64, 64], false);
        let planes = |contrasts: [f64; 2]| Planes {
            y: Tensor::cat(&contrasts.map(|contrast| &wave * (contrast / 255.0)), 0),
            uv: Tensor::zeros([2, 2, 32, 32], (Kind::Float, Device::Cpu)),
        };
        let map = chosen(&planes([20.0, 12.0]), &planes([12.0, 12.0]), &planes([16.0, 16.0]), Device::Cpu).unwrap();
        assert_eq!(map.size(), [2, 1, 8, 8]);
        assert_eq!([0, 1].map(|example| map.double_value(&[example, 0, 3, 3])), [2.0, 0.0]);
    }
}
