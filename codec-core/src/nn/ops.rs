//! Frame-sized operations on tensors, differentiable: what the trainer runs and what the fused kernels are checked against.

use tch::{Kind, Tensor};

use crate::Result;
use crate::kernels::texture::SMOOTHING;

/// A 4:2:0 frame: luma `[N, 1, H, W]` and chroma `[N, 2, H/2, W/2]`, value/255 - 0.5.
#[derive(Debug)]
pub struct Planes {
    /// Luma, `[N, 1, H, W]`.
    pub y: Tensor,
    /// Chroma, `[N, 2, H/2, W/2]`.
    pub uv: Tensor,
}

impl Planes {
    /// The same tensors.
    pub fn shallow_clone(&self) -> Self {
        Self { y: self.y.shallow_clone(), uv: self.uv.shallow_clone() }
    }

    fn map2(&self, other: &Self, f: impl Fn(&Tensor, &Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self { y: f(&self.y, &other.y)?, uv: f(&self.uv, &other.uv)? })
    }

    /// The sum, sample by sample.
    pub fn add(&self, other: &Self) -> Result<Self> {
        self.map2(other, |a, b| Ok(a.f_add(b)?))
    }

    /// The difference, sample by sample.
    pub fn sub(&self, other: &Self) -> Result<Self> {
        self.map2(other, |a, b| Ok(a.f_sub(b)?))
    }

    /// Values clamped to what 8 bits can hold, -0.5..=0.5.
    pub fn clamped(&self) -> Result<Self> {
        Ok(Self { y: self.y.f_clamp(-0.5, 0.5)?, uv: self.uv.f_clamp(-0.5, 0.5)? })
    }

    /// Circular shift by (`dy`, `dx`) luma samples, both even.
    pub fn rolled(&self, dy: i64, dx: i64) -> Result<Self> {
        Ok(Self { y: self.y.f_roll([dy, dx], [2, 3])?, uv: self.uv.f_roll([dy / 2, dx / 2], [2, 3])? })
    }

    /// Clamped and rounded to 8 bits, halves upwards, without gradient.
    pub fn rounded(&self) -> Result<Self> {
        // The integer engine's sums have 1/64 of a step: what errors of floats make of a half must still count as one.
        const MARGIN: f64 = 1.0 / 1024.0;
        let round = |t: &Tensor| -> Result<Tensor> {
            let steps = t.f_clamp(-0.5, 0.5)?.f_add_scalar(0.5)?.f_mul_scalar(255.0)?;
            Ok(steps.f_add_scalar(0.5 + MARGIN)?.f_floor()?.f_div_scalar(255.0)?.f_sub_scalar(0.5)?)
        };
        tch::no_grad(|| Ok(Self { y: round(&self.y)?, uv: round(&self.uv)? }))
    }

    /// The same values without gradient.
    pub fn detach(&self) -> Self {
        Self { y: self.y.detach(), uv: self.uv.detach() }
    }
}

/// The same values in channels-last memory, on which convolutions are fastest.
pub fn channels_last(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])?)
}

/// Packs a frame into `[N, 96, H/8, W/8]`: luma unshuffled by 8 (64 channels), chroma by 4 (2 x 16).
pub fn pack(frame: &Planes) -> Result<Tensor> {
    channels_last(&Tensor::f_cat(&[frame.y.f_pixel_unshuffle(8)?, frame.uv.f_pixel_unshuffle(4)?], 1)?)
}

/// Inverse of [`pack`].
pub fn unpack(x: &Tensor) -> Result<Planes> {
    Ok(Planes { y: x.f_narrow(1, 0, 64)?.f_pixel_shuffle(8)?, uv: x.f_narrow(1, 64, 32)?.f_pixel_shuffle(4)? })
}

/// Backward warp with bicubic interpolation and border clamp: out(p) = image(p + flow(p)).
///
/// `image` `[N, C, h, w]`, `flow` `[N, 2, h, w]` (dx, dy) in pixels of the image. Warping stage of the article's
/// decoupled scale-space warp.
pub fn warp(image: &Tensor, flow: &Tensor) -> Result<Tensor> {
    let (_, _, h, w) = image.size4()?;
    let options = (Kind::Float, image.device());
    let xs = Tensor::f_arange(w, options)?.f_view([1, 1, w])?;
    let ys = Tensor::f_arange(h, options)?.f_view([1, h, 1])?;
    // grid_sample wants -1..1 over the sample centres (align_corners).
    let x = flow.f_select(1, 0)?.f_add(&xs)?.f_mul_scalar(2.0 / (w - 1) as f64)?.f_sub_scalar(1.0)?;
    let y = flow.f_select(1, 1)?.f_add(&ys)?.f_mul_scalar(2.0 / (h - 1) as f64)?.f_sub_scalar(1.0)?;
    const BICUBIC: i64 = 2;
    const BORDER: i64 = 1;
    Ok(image.f_grid_sampler(&Tensor::f_stack(&[x, y], -1)?, BICUBIC, BORDER, true)?)
}

/// 5x5 binomial blur with edge replication, every channel by itself.
pub fn blur5(x: &Tensor) -> Result<Tensor> {
    blur(x, &[1.0, 4.0, 6.0, 4.0, 1.0])
}

/// 3x3 binomial blur with edge replication, every channel by itself.
fn blur3(x: &Tensor) -> Result<Tensor> {
    blur(x, &[1.0, 2.0, 1.0])
}

fn blur(x: &Tensor, taps: &[f32]) -> Result<Tensor> {
    let (n, c, h, w) = x.size4()?;
    let (count, pad) = (taps.len() as i64, taps.len() as i64 / 2);
    let taps = super::transfer::constant(taps, x.device())?.f_div_scalar(f64::from(taps.iter().sum::<f32>()))?;
    let kernel = taps.f_view([1, 1, count, 1])?.f_mul(&taps.f_view([1, 1, 1, count])?)?;
    let planes = x.f_reshape([n * c, 1, h, w])?.f_replication_pad2d([pad; 4])?;
    Ok(planes.f_conv2d(&kernel, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1)?.f_view([n, c, h, w])?)
}

/// Two bands of detail of a plane `[N, 1, H, W]`, `[N, 2, H, W]`: what a 3x3 binomial blur takes away, and what a 5x5 one takes away
/// beyond that.
fn detail_bands(x: &Tensor) -> Result<Tensor> {
    let (blurred3, blurred5) = (blur3(x)?, blur5(x)?);
    Ok(Tensor::f_cat(&[x.f_sub(&blurred3)?, blurred3.f_sub(&blurred5)?], 1)?)
}

/// A plane `[N, 1, H, W]` and the two bands of detail of `guide`, of the same shape, times `strength` `[N, 2, H/8, W/8]`,
/// upsampled bilinearly.
pub fn add_detail(plane: &Tensor, guide: &Tensor, strength: &Tensor) -> Result<Tensor> {
    let change = detail_bands(guide)?.f_mul(&upsample8(strength)?)?.f_sum_dim_intlist(&[1i64][..], true, Kind::Float)?;
    Ok(plane.f_add(&change)?)
}

/// A frame whose luma has its own detail amplified by `strength` `[N, 2, H/8, W/8]`, see [`add_detail`], and `texture`
/// `[N, 64, H/8, W/8]` added, a sample to a channel, smoothed by [`SMOOTHING`].
pub fn sharpen(frame: &Planes, strength: &Tensor, texture: &Tensor) -> Result<Planes> {
    let texture = blur(&texture.f_pixel_shuffle(8)?, &SMOOTHING)?;
    let y = add_detail(&frame.y, &frame.y, strength)?.f_add(&texture)?;
    Ok(Planes { y, uv: frame.uv.shallow_clone() })
}

fn upsample8(x: &Tensor) -> Result<Tensor> {
    let (_, _, h, w) = x.size4()?;
    Ok(x.f_contiguous()?.f_upsample_bilinear2d([h * 8, w * 8], false, None, None)?)
}

/// Motion-compensated prediction of a frame and the full-resolution flow that made it.
pub struct Prediction {
    /// The predicted frame.
    pub frame: Planes,
    /// `[N, 2, H, W]`, pixels.
    pub flow: Tensor,
}

/// Scales of the Gaussian stack, in pixels; the first level is the image itself.
const STACK_SIGMAS: [f64; 4] = [0.0, 1.5, 3.0, 6.0];

/// Gaussian blur with edge replication, every channel by itself.
fn gaussian_blur(x: &Tensor, sigma: f64) -> Result<Tensor> {
    let radius = (3.0 * sigma).ceil() as i64;
    let taps: Vec<f32> = (-radius..=radius).map(|i| (-0.5 * (i as f64 / sigma).powi(2)).exp() as f32).collect();
    let taps = super::transfer::constant(&taps, x.device())?;
    let taps = taps.f_div(&taps.f_sum(Kind::Float)?)?;
    let (n, c, h, w) = x.size4()?;
    let count = 2 * radius + 1;
    let planes = x.f_reshape([n * c, 1, h, w])?.f_replication_pad2d([radius; 4])?;
    let none = None::<Tensor>;
    let rows = planes.f_conv2d(&taps.f_view([1, 1, 1, count])?, none.as_ref(), [1, 1], [0, 0], [1, 1], 1)?;
    let both = rows.f_conv2d(&taps.f_view([1, 1, count, 1])?, none, [1, 1], [0, 0], [1, 1], 1)?;
    Ok(both.f_view([n, c, h, w])?)
}

/// Blurs each sample with its own sigma: linear in the variance between the levels of a Gaussian stack.
fn scale_space_blur(x: &Tensor, sigma: &Tensor) -> Result<Tensor> {
    let variance = sigma.f_square()?;
    let mut out = x.shallow_clone();
    let mut level = x.shallow_clone();
    for pair in STACK_SIGMAS.windows(2) {
        let (low, high) = (pair[0] * pair[0], pair[1] * pair[1]);
        let next = gaussian_blur(x, pair[1])?;
        let share = variance.f_sub_scalar(low)?.f_div_scalar(high - low)?.f_clamp(0.0, 1.0)?;
        out = out.f_add(&next.f_sub(&level)?.f_mul(&share)?)?;
        level = next;
    }
    Ok(out)
}

/// Decoupled scale-space warp of the `paper` profile: bicubic warp with full-resolution flow `[N, 2, H, W]`, then a Gaussian
/// stack driven by `sigma` `[N, 1, H, W]` in pixels (0: exactly no blur).
pub fn predict_full(reference: &Planes, flow: &Tensor, sigma: &Tensor) -> Result<Prediction> {
    let halve =
        |t: &Tensor| -> Result<Tensor> { Ok(t.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?.f_mul_scalar(0.5)?) };
    let warped = Planes { y: warp(&reference.y, flow)?, uv: warp(&reference.uv, &halve(flow)?)? }.clamped()?;
    let frame = Planes { y: scale_space_blur(&warped.y, sigma)?, uv: scale_space_blur(&warped.uv, &halve(sigma)?)? };
    Ok(Prediction { frame, flow: flow.shallow_clone() })
}
