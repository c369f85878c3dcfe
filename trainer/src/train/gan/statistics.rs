//! Multi-scale loss on local statistics: textures may differ sample by sample but not in strength.

use anyhow::Result;
use tch::{Kind, Tensor};

/// Sides of the windows over which statistics are taken, at each scale.
const WINDOW: i64 = 16;
const SCALES: usize = 3;

/// Horizontal, vertical and second differences, `[N, 3, H - 2, W - 2]`.
fn responses(x: &Tensor) -> Result<Tensor> {
    let kernels: [[f32; 9]; 3] = [
        [0.0, 0.0, 0.0, -0.5, 0.0, 0.5, 0.0, 0.0, 0.0],
        [0.0, -0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0],
        [0.0, 0.25, 0.0, 0.25, -1.0, 0.25, 0.0, 0.25, 0.0],
    ];
    let kernel = codec_core::training::nn::transfer::constant(kernels.as_flattened(), x.device())?.f_view([3, 1, 3, 3])?;
    Ok(x.f_conv2d(&kernel, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1)?)
}

/// Mean and deviation in overlapping windows.
fn local(x: &Tensor) -> Result<(Tensor, Tensor)> {
    let (_, _, h, w) = x.size4()?;
    let side = WINDOW.min(h).min(w);
    let pool = |t: &Tensor| t.f_avg_pool2d([side; 2], [side / 2; 2], [0, 0], false, true, None);
    let mean = pool(x)?;
    let variance = pool(&x.f_square()?)?.f_sub(&mean.f_square()?)?.f_clamp_min(0.0)?;
    Ok((mean, variance.f_add_scalar(1e-6)?.f_sqrt()?))
}

/// Mean L1 difference of local means and deviations of filter responses of luma `[N, 1, H, W]`, at full, half and quarter
/// resolution; `[N]`, on the [0, 1] scale of samples. Sides of at least 32.
pub fn statistics_loss(target: &Tensor, output: &Tensor) -> Result<Tensor> {
    let (mut a, mut b) = (target.shallow_clone(), output.shallow_clone());
    let mut total = Tensor::zeros([target.size()[0]], (Kind::Float, target.device()));
    for scale in 0..SCALES {
        if scale > 0 {
            let halve = |t: &Tensor| t.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None);
            (a, b) = (halve(&a)?, halve(&b)?);
        }
        let ((mean_a, deviation_a), (mean_b, deviation_b)) = (local(&responses(&a)?)?, local(&responses(&b)?)?);
        for (x, y) in [(mean_a, mean_b), (deviation_a, deviation_b)] {
            total = total.f_add(&x.f_sub(&y)?.f_abs()?.f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float)?)?;
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn other_noise_of_the_same_strength_is_nearer_than_a_blur() {
        let _generator = crate::testing::seeded(9);
        let noise = || Tensor::randn([1, 1, 96, 96], (Kind::Float, Device::Cpu)) * 0.1;
        let (a, b) = (noise(), noise());
        let blurred = a.avg_pool2d([3, 3], [1, 1], [1, 1], false, true, None);
        let loss = |x: &Tensor| statistics_loss(&a, x).unwrap().double_value(&[0]);
        assert!(loss(&a) < 1e-9);
        assert!(loss(&b) < 0.5 * loss(&blurred), "{} against {}", loss(&b), loss(&blurred));
        let x = blurred.detach().set_requires_grad(true);
        statistics_loss(&a, &x).unwrap().sum(Kind::Float).backward();
        assert!(x.grad().abs().max().double_value(&[]) > 0.0);
    }
}
