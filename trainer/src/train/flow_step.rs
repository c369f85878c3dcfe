//! Unsupervised training of UFlow (Jonschkowski et al., "What Matters in Unsupervised Optical Flow", ECCV 2020): census
//! loss, edge-aware smoothness, occlusions from the forward-backward check.

use anyhow::Result;
use codec_core::training::nn::ops::warp;
use codec_core::training::nn::uflow::UFlow;
use tch::{Kind, Tensor};

use super::step::{Clip, Rates, StepResult};

/// Side of the census transform's patches.
const PATCH: i64 = 7;
const SMOOTHNESS: f64 = 4.0;
/// Edges of the image suppress smoothness by exp(-this * |gradient|), on the [0, 1] scale.
const EDGE: f64 = 150.0;

/// Images of the pair and their flows, `a` being seen from `b` and the other way round.
fn upsample4(flow: &Tensor) -> Result<Tensor> {
    let (_, _, h, w) = flow.size4()?;
    Ok(flow.f_upsample_bilinear2d([h * 4, w * 4], false, None, None)?)
}

/// Soft census transform, `[N, 49, H, W]`: differences to the neighbours in units of 255, squashed.
fn census(image: &Tensor) -> Result<Tensor> {
    let kernel = Tensor::f_eye(PATCH * PATCH, (Kind::Float, image.device()))?.f_view([PATCH * PATCH, 1, PATCH, PATCH])?;
    let neighbours = image.f_conv2d(&kernel, None::<Tensor>, [1, 1], [PATCH / 2; 2], [1, 1], 1)?;
    let difference = neighbours.f_sub(image)?.f_mul_scalar(255.0)?;
    Ok(difference.f_div(&difference.f_square()?.f_add_scalar(0.81)?.f_sqrt()?)?)
}

/// Robust census distance of two images where `mask` is 1, less the border that patches stick out of.
fn census_loss(a: &Tensor, b: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let squared = census(a)?.f_sub(&census(b)?)?.f_square()?;
    let hamming = squared.f_div(&squared.f_add_scalar(0.1)?)?.f_sum_dim_intlist(&[1i64][..], true, Kind::Float)?;
    let robust = hamming.f_abs()?.f_add_scalar(0.01)?.f_pow_tensor_scalar(0.4)?;
    let (_, _, h, w) = mask.size4()?;
    let border = PATCH / 2;
    let inner =
        |t: &Tensor| -> Result<Tensor> { Ok(t.f_narrow(2, border, h - 2 * border)?.f_narrow(3, border, w - 2 * border)?) };
    let mask = inner(mask)?;
    Ok(inner(&robust)?.f_mul(&mask)?.f_sum(Kind::Float)?.f_div(&mask.f_sum(Kind::Float)?.f_add_scalar(1.0)?)?)
}

/// 1 where flow and counter-flow agree (Brox's check): 0 is occluded. Without gradient.
fn visible(flow: &Tensor, back: &Tensor) -> Result<Tensor> {
    tch::no_grad(|| {
        let dims = &[1i64][..];
        let moved = warp(back, flow)?;
        let sum = flow.f_add(&moved)?.f_square()?.f_sum_dim_intlist(dims, true, Kind::Float)?;
        let size = flow.f_square()?.f_add(&moved.f_square()?)?.f_sum_dim_intlist(dims, true, Kind::Float)?;
        Ok(sum.f_lt_tensor(&size.f_mul_scalar(0.01)?.f_add_scalar(0.5)?)?.f_to_kind(Kind::Float)?)
    })
}

/// First-order smoothness of a flow at 1/4, in samples of that scale, weaker at edges of the image.
fn smoothness(flow: &Tensor, image: &Tensor) -> Result<Tensor> {
    let image = image.f_avg_pool2d([4, 4], [4, 4], [0, 0], false, true, None)?;
    let mut total = Tensor::zeros([], (Kind::Float, flow.device()));
    for dim in [2i64, 3] {
        let step = |t: &Tensor| -> Result<Tensor> { Ok(t.f_diff(1, dim, None::<Tensor>, None::<Tensor>)?) };
        let weight = step(&image)?.f_abs()?.f_mul_scalar(-EDGE)?.f_exp()?;
        let change = step(&flow.f_div_scalar(4.0)?)?.f_square()?.f_add_scalar(1e-6)?.f_sqrt()?;
        total = total.f_add(&change.f_mul(&weight)?.f_mean(Kind::Float)?.f_mul_scalar(0.5)?)?;
    }
    Ok(total)
}

/// Loss of the first two frames of a clip, in both directions.
pub fn flow_step(network: &UFlow, clip: &Clip) -> Result<StepResult> {
    let (first, second) = (&clip.frames[0].y, &clip.frames[1].y);
    let (forward, backward) = (network.forward(second, first)?, network.forward(first, second)?);
    let (full, full_back) = (upsample4(&forward)?, upsample4(&backward)?);
    let mut census_total = Tensor::zeros([], (Kind::Float, first.device()));
    let mut smooth_total = census_total.shallow_clone();
    for (target, source, flow, coarse, back) in
        [(second, first, &full, &forward, &full_back), (first, second, &full_back, &backward, &full)]
    {
        let mask = visible(flow, back)?;
        census_total = census_total.f_add(&census_loss(target, &warp(source, flow)?, &mask)?)?;
        smooth_total = smooth_total.f_add(&smoothness(coarse, target)?)?;
    }
    let warped = tch::no_grad(|| warp(first, &full))?;
    let psnr = super::loss::psnr(second, &warped)?;
    let metrics = vec![("census", census_total.detach()), ("smoothness", smooth_total.detach()), ("psnr_warp", psnr)];
    let loss = census_total.f_add(&smooth_total.f_mul_scalar(SMOOTHNESS)?)?;
    Ok(StepResult { loss, metrics, rates: Rates::none(first.device()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec_core::training::nn::ParamStore;
    use codec_core::training::nn::ops::Planes;
    use tch::Device;

    fn texture(shift: i64) -> Tensor {
        let _generator = crate::testing::seeded(4);
        let noise = Tensor::rand([1, 1, 96, 96], (Kind::Float, Device::Cpu)) - 0.5;
        noise.avg_pool2d([5, 5], [1, 1], [2, 2], false, true, None).roll([shift], [3])
    }

    #[test]
    fn the_right_flow_has_the_least_census_loss() {
        let (a, b) = (texture(0), texture(3));
        let ones = Tensor::ones([1, 1, 96, 96], (Kind::Float, Device::Cpu));
        let loss = |dx: f64| {
            let flow = Tensor::zeros([1, 2, 96, 96], (Kind::Float, Device::Cpu));
            let _ = flow.narrow(1, 0, 1).fill_(dx);
            census_loss(&b, &warp(&a, &flow).unwrap(), &ones).unwrap().double_value(&[])
        };
        assert!(loss(-3.0) < 0.5 * loss(0.0) && loss(-3.0) < 0.5 * loss(3.0), "{} {}", loss(-3.0), loss(0.0));
    }

    #[test]
    fn the_stage_reaches_every_parameter() {
        let mut store = ParamStore::new();
        let network = {
            let _generator = crate::testing::seeded(19);
            UFlow::init(&mut store, Device::Cpu).unwrap()
        };
        let frame = |y: Tensor| Planes { uv: Tensor::zeros([1, 2, 48, 48], (Kind::Float, Device::Cpu)), y };
        let clip = Clip { frames: vec![frame(texture(0)), frame(texture(2))] };
        flow_step(&network, &clip).unwrap().loss.backward();
        for (name, tensor) in store.iter() {
            assert!(tensor.grad().defined(), "{name} gets no gradient");
        }
    }

    #[test]
    fn contradicting_flows_are_occluded() {
        let flow = Tensor::full([1, 2, 32, 32], 4.0, (Kind::Float, Device::Cpu));
        assert_eq!(visible(&flow, &-&flow).unwrap().min().double_value(&[]), 1.0);
        assert_eq!(visible(&flow, &flow).unwrap().max().double_value(&[]), 0.0);
    }
}
