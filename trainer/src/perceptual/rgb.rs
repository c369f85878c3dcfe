//! Codec frames as RGB.

use anyhow::Result;
use codec_core::training::nn::ops::Planes;
use tch::Tensor;

/// BT.601, limited range: luma from 16 to 235, chroma from 16 to 240.
const LUMA_OFFSET: f64 = 0.5 - 16.0 / 255.0;
const LUMA_GAIN: f64 = 255.0 / 219.0;
const CHROMA_OFFSET: f64 = 0.5 - 128.0 / 255.0;
const CHROMA_GAIN: f64 = 255.0 / 224.0;

/// RGB `[N, 3, H, W]` in 0..=1 of a frame in limited-range BT.601, chroma repeated.
pub fn to_rgb(frame: &Planes) -> Result<Tensor> {
    let (_, _, h, w) = frame.y.size4()?;
    let uv = frame.uv.f_upsample_nearest2d([h, w], None, None)?;
    let y = frame.y.f_add_scalar(LUMA_OFFSET)?.f_mul_scalar(LUMA_GAIN)?;
    let uv = uv.f_add_scalar(CHROMA_OFFSET)?.f_mul_scalar(CHROMA_GAIN)?;
    let (u, v) = (uv.f_narrow(1, 0, 1)?, uv.f_narrow(1, 1, 1)?);
    let red = y.f_add(&v.f_mul_scalar(1.402)?)?;
    let green = y.f_sub(&u.f_mul_scalar(0.344_136)?)?.f_sub(&v.f_mul_scalar(0.714_136)?)?;
    let blue = y.f_add(&u.f_mul_scalar(1.772)?)?;
    Ok(Tensor::f_cat(&[red, green, blue], 1)?.f_clamp(0.0, 1.0)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn known_colours() {
        // (Y, Cb, Cr) of white, black and red in limited-range BT.601.
        for (yuv, rgb) in
            [([235.0, 128.0, 128.0], [1.0, 1.0, 1.0]), ([16.0, 128.0, 128.0], [0.0; 3]), ([81.0, 90.0, 240.0], [1.0, 0.0, 0.0])]
        {
            let value = |v: f64| v / 255.0 - 0.5;
            let y = Tensor::full([1, 1, 2, 2], value(yuv[0]), (Kind::Float, Device::Cpu));
            let chroma = |v| Tensor::full([1, 1, 1, 1], value(v), (Kind::Float, Device::Cpu));
            let frame = Planes { y, uv: Tensor::cat(&[chroma(yuv[1]), chroma(yuv[2])], 1) };
            let out = to_rgb(&frame).unwrap();
            for (channel, expected) in rgb.iter().enumerate() {
                let got = out.double_value(&[0, channel as i64, 1, 1]);
                assert!((got - expected).abs() < 0.01, "{yuv:?} channel {channel}: {got}");
            }
        }
    }
}
