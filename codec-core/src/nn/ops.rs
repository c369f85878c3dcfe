//! Frame-sized operations on tensors, differentiable: what the trainer runs and what the fused kernels are checked against.

use tch::{Kind, Tensor};

use crate::Result;
use crate::kernels::Cubic;

/// A 4:2:0 frame: luma `[N, 1, H, W]` and chroma `[N, 2, H/2, W/2]`, value/255 - 0.5.
#[derive(Debug)]
pub struct Planes {
    pub y: Tensor,
    pub uv: Tensor,
}

impl Planes {
    pub fn shallow_clone(&self) -> Self {
        Self { y: self.y.shallow_clone(), uv: self.uv.shallow_clone() }
    }

    fn map2(&self, other: &Self, f: impl Fn(&Tensor, &Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self { y: f(&self.y, &other.y)?, uv: f(&self.uv, &other.uv)? })
    }

    pub fn add(&self, other: &Self) -> Result<Self> {
        self.map2(other, |a, b| Ok(a.f_add(b)?))
    }

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

    /// Clamped and rounded to 8 bits, without gradient.
    pub fn rounded(&self) -> Result<Self> {
        let round = |t: &Tensor| -> Result<Tensor> {
            Ok(t.f_clamp(-0.5, 0.5)?.f_add_scalar(0.5)?.f_mul_scalar(255.0)?.f_round()?.f_div_scalar(255.0)?.f_sub_scalar(0.5)?)
        };
        tch::no_grad(|| Ok(Self { y: round(&self.y)?, uv: round(&self.uv)? }))
    }

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
pub fn warp(image: &Tensor, flow: &Tensor, filter: Cubic) -> Result<Tensor> {
    match filter {
        Cubic::Sharp => warp_sharp(image, flow),
        Cubic::Stable => warp_cubic(image, flow, filter),
    }
}

/// Cubic convolution tap by tap, for kernels that libtorch does not have.
fn warp_cubic(image: &Tensor, flow: &Tensor, filter: Cubic) -> Result<Tensor> {
    let (n, c, h, w) = image.size4()?;
    let options = (Kind::Float, image.device());
    let samples = image.f_reshape([n, c, h * w])?;
    // Sample before the position, and weights of the four around it, along one direction.
    let split = |part: i64, size: i64, shape: [i64; 3]| -> Result<(Tensor, [Tensor; 4])> {
        let position = flow.f_select(1, part)?.f_add(&Tensor::f_arange(size, options)?.f_view(shape)?)?;
        let whole = position.f_detach()?.f_floor()?;
        let fraction = position.f_sub(&whole)?;
        Ok((whole.f_to_kind(Kind::Int64)?, cubic_weights(&fraction, f64::from(filter.parameter()))?))
    };
    let (left, across) = split(0, w, [1, 1, w])?;
    let (top, down) = split(1, h, [1, h, 1])?;
    let mut sum = image.f_zeros_like()?;
    for (row, weight) in (-1..).zip(&down) {
        let start = top.f_add_scalar(row)?.f_clamp(0, h - 1)?.f_mul_scalar(w)?;
        let mut line = image.f_zeros_like()?;
        for (col, weight) in (-1..).zip(&across) {
            let index = left.f_add_scalar(col)?.f_clamp(0, w - 1)?.f_add(&start)?;
            let index = index.f_view([n, 1, h * w])?.f_expand([n, c, h * w], false)?;
            let tap = samples.f_gather(2, &index, false)?.f_view([n, c, h, w])?;
            line = line.f_add(&tap.f_mul(&weight.f_unsqueeze(1)?)?)?;
        }
        sum = sum.f_add(&line.f_mul(&weight.f_unsqueeze(1)?)?)?;
    }
    Ok(sum)
}

/// Weights of the samples at -1, 0, 1 and 2 for positions in 0..1.
fn cubic_weights(t: &Tensor, a: f64) -> Result<[Tensor; 4]> {
    let near = |t: &Tensor| -> Result<Tensor> {
        let inner = t.f_mul_scalar(a + 2.0)?.f_sub_scalar(a + 3.0)?;
        Ok(inner.f_mul(t)?.f_mul(t)?.f_add_scalar(1.0)?)
    };
    let far = |t: &Tensor| -> Result<Tensor> {
        let inner = t.f_mul_scalar(a)?.f_sub_scalar(5.0 * a)?.f_mul(t)?.f_add_scalar(8.0 * a)?;
        Ok(inner.f_mul(t)?.f_sub_scalar(4.0 * a)?)
    };
    let rest = t.f_neg()?.f_add_scalar(1.0)?;
    Ok([far(&t.f_add_scalar(1.0)?)?, near(t)?, near(&rest)?, far(&rest.f_add_scalar(1.0)?)?])
}

fn warp_sharp(image: &Tensor, flow: &Tensor) -> Result<Tensor> {
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

/// Fixed 2x2 Haar split over the four unshuffled positions of each of two channels, `[N, 8, h, w]`; means, not sums.
/// Applied twice it gives a quarter of its input, so its inverse is itself times four.
pub fn haar(x: &Tensor) -> Result<Tensor> {
    let (n, _, h, w) = x.size4()?;
    let p = x.f_view([n, 2, 4, h, w]).or_else(|_| x.f_reshape([n, 2, 4, h, w]))?.f_unbind(2)?;
    let sum = |signs: [f64; 3]| -> Result<Tensor> {
        let mut total = p[0].shallow_clone();
        for (sign, part) in signs.iter().zip(&p[1..]) {
            total = if *sign > 0.0 { total.f_add(part)? } else { total.f_sub(part)? };
        }
        Ok(total)
    };
    let bands = [sum([1.0, 1.0, 1.0])?, sum([-1.0, 1.0, -1.0])?, sum([1.0, -1.0, -1.0])?, sum([-1.0, -1.0, 1.0])?];
    Ok(Tensor::f_stack(&bands, 2)?.f_reshape([n, 8, h, w])?.f_mul_scalar(0.25)?)
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
/// `[N, 64, H/8, W/8]` added, a sample to a channel.
pub fn sharpen(frame: &Planes, strength: &Tensor, texture: &Tensor) -> Result<Planes> {
    let y = add_detail(&frame.y, &frame.y, strength)?.f_add(&texture.f_pixel_shuffle(8)?)?;
    Ok(Planes { y, uv: frame.uv.shallow_clone() })
}

fn upsample8(x: &Tensor) -> Result<Tensor> {
    let (_, _, h, w) = x.size4()?;
    Ok(x.f_contiguous()?.f_upsample_bilinear2d([h * 8, w * 8], false, None, None)?)
}

/// Motion-compensated prediction of a frame and the full-resolution flow it used.
pub struct Prediction {
    pub frame: Planes,
    /// `[N, 2, H, W]`, pixels.
    pub flow: Tensor,
}

/// Decoupled scale-space warp of the `rt` profile: bicubic warp, then a two-level blur steered by sigma.
///
/// `motion` `[N, 2, H/8, W/8]` in full-resolution pixels, `sigma` `[N, 1, H/8, W/8]` in 0..=1 (0: exactly no blur), `filters`
/// of luma and chroma.
pub fn predict(reference: &Planes, motion: &Tensor, sigma: &Tensor, filters: [Cubic; 2]) -> Result<Prediction> {
    let flow = upsample8(motion)?;
    let sigma = upsample8(sigma)?;
    let halve = |t: &Tensor| t.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None);
    let chroma_flow = halve(&flow)?.f_mul_scalar(0.5)?;
    let warped =
        Planes { y: warp(&reference.y, &flow, filters[0])?, uv: warp(&reference.uv, &chroma_flow, filters[1])? }.clamped()?;
    let blend = |x: &Tensor, s: &Tensor| -> Result<Tensor> { Ok(x.f_add(&blur5(x)?.f_sub(x)?.f_mul(s)?)?) };
    let frame = Planes { y: blend(&warped.y, &sigma)?, uv: blend(&warped.uv, &halve(&sigma)?)? };
    Ok(Prediction { frame, flow })
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
pub fn predict_full(reference: &Planes, flow: &Tensor, sigma: &Tensor, filters: [Cubic; 2]) -> Result<Prediction> {
    let halve =
        |t: &Tensor| -> Result<Tensor> { Ok(t.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?.f_mul_scalar(0.5)?) };
    let warped =
        Planes { y: warp(&reference.y, flow, filters[0])?, uv: warp(&reference.uv, &halve(flow)?, filters[1])? }.clamped()?;
    let frame = Planes { y: scale_space_blur(&warped.y, sigma)?, uv: scale_space_blur(&warped.uv, &halve(sigma)?)? };
    Ok(Prediction { frame, flow: flow.shallow_clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn cubic_convolution_equals_that_of_libtorch_with_its_gradients() {
        let options = (Kind::Float, Device::Cpu);
        let wave = |n: i64, step: f64| (Tensor::arange(n, options) * step).sin();
        let image = wave(2 * 3 * 12 * 20, 0.7).view([2, 3, 12, 20]);
        let flow = wave(2 * 2 * 12 * 20, 0.31).view([2, 2, 12, 20]) * 4.0;
        let target = wave(2 * 3 * 12 * 20, 0.13).view([2, 3, 12, 20]);
        let run = |warp: &dyn Fn(&Tensor, &Tensor) -> Result<Tensor>| {
            let (image, flow) = (image.copy().set_requires_grad(true), flow.copy().set_requires_grad(true));
            let out = warp(&image, &flow).unwrap();
            (&out * &target).sum(Kind::Float).backward();
            [out.detach(), image.grad(), flow.grad()]
        };
        let (wanted, found) = (run(&warp_sharp), run(&|image, flow| warp_cubic(image, flow, Cubic::Sharp)));
        for (part, (a, b)) in wanted.iter().zip(&found).enumerate() {
            let difference = (a - b).abs().max().double_value(&[]);
            assert!(difference < 1e-3, "part {part}: {difference}");
        }
    }
}
