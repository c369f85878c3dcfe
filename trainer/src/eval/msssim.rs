//! MS-SSIM (Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image quality assessment", 2003) of luma.

use anyhow::{Result, ensure};
use codec_core::frame::Plane;
use codec_core::training::nn::transfer::scalar;
use tch::{Kind, Tensor};

const WEIGHTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];
const WINDOW: i64 = 11;
const SIGMA: f64 = 1.5;
const C1: f64 = 0.01 * 0.01;
const C2: f64 = 0.03 * 0.03;

fn tensor(plane: &Plane) -> Result<Tensor> {
    let samples: Vec<u8> = (0..plane.height).flat_map(|row| plane.row(row)).copied().collect();
    let tensor = Tensor::f_from_slice(&samples)?.f_view([1, 1, plane.height as i64, plane.width as i64])?;
    Ok(tensor.f_to_kind(Kind::Float)?.f_div_scalar(255.0)?)
}

fn blur(x: &Tensor, taps: &Tensor) -> Result<Tensor> {
    let none = None::<Tensor>;
    let rows = x.f_conv2d(&taps.f_view([1, 1, 1, WINDOW])?, none.as_ref(), [1, 1], [0, 0], [1, 1], 1)?;
    Ok(rows.f_conv2d(&taps.f_view([1, 1, WINDOW, 1])?, none, [1, 1], [0, 0], [1, 1], 1)?)
}

/// Means of the SSIM and of its contrast-structure part.
fn ssim(a: &Tensor, b: &Tensor, taps: &Tensor) -> Result<(f64, f64)> {
    let (mean_a, mean_b) = (blur(a, taps)?, blur(b, taps)?);
    let (aa, bb, ab) = (mean_a.f_square()?, mean_b.f_square()?, mean_a.f_mul(&mean_b)?);
    let variance = blur(&a.f_square()?, taps)?.f_sub(&aa)?.f_add(&blur(&b.f_square()?, taps)?.f_sub(&bb)?)?;
    let covariance = blur(&a.f_mul(b)?, taps)?.f_sub(&ab)?;
    let structure = covariance.f_mul_scalar(2.0)?.f_add_scalar(C2)?.f_div(&variance.f_add_scalar(C2)?)?;
    let luminance = ab.f_mul_scalar(2.0)?.f_add_scalar(C1)?.f_div(&aa.f_add(&bb)?.f_add_scalar(C1)?)?;
    let mean = |t: &Tensor| -> Result<f64> { Ok(scalar(&t.f_mean(Kind::Float)?)?) };
    Ok((mean(&luminance.f_mul(&structure)?)?, mean(&structure)?))
}

/// MS-SSIM of two planes in 0..=1. Pictures too small for five scales use as many as fit, their weights scaled to sum to 1.
///
/// # Errors
/// If a side is below the window's 11 samples.
pub fn ms_ssim(original: &Plane, decoded: &Plane) -> Result<f64> {
    let short = original.width.min(original.height) as i64;
    ensure!(short >= WINDOW, "MS-SSIM needs at least {WINDOW} samples a side, the clip has {short}");
    let scales = (0..WEIGHTS.len()).take_while(|&s| short >> s >= WINDOW).count();
    let total: f64 = WEIGHTS[..scales].iter().sum();
    let middle = (WINDOW / 2) as f64;
    let taps: Vec<f32> = (0..WINDOW).map(|i| (-0.5 * ((i as f64 - middle) / SIGMA).powi(2)).exp() as f32).collect();
    let taps = Tensor::f_from_slice(&taps)?;
    let taps = taps.f_div(&taps.f_sum(Kind::Float)?)?;
    let (mut a, mut b) = (tensor(original)?, tensor(decoded)?);
    let mut product = 1.0;
    for (scale, weight) in WEIGHTS[..scales].iter().enumerate() {
        let (whole, structure) = ssim(&a, &b, &taps)?;
        let part = if scale + 1 == scales { whole } else { structure };
        product *= part.max(0.0).powf(weight / total);
        let halve = |t: &Tensor| t.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None);
        if scale + 1 < scales {
            (a, b) = (halve(&a)?, halve(&b)?);
        }
    }
    Ok(product)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(noise: u8) -> Plane {
        let (w, h) = (200, 180);
        let data = (0..w * h).map(|i| (100 + (i % w) / 4 + if i % 7 == 0 { usize::from(noise) } else { 0 }) as u8).collect();
        Plane::from_vec(data, w, h).unwrap()
    }

    #[test]
    fn one_for_equal_pictures_and_falls_with_noise() {
        let clean = picture(0);
        assert!((ms_ssim(&clean, &clean).unwrap() - 1.0).abs() < 1e-5);
        let (little, much) = (ms_ssim(&clean, &picture(10)).unwrap(), ms_ssim(&clean, &picture(40)).unwrap());
        assert!(little < 0.999 && much < little, "{little} {much}");
        let tiny = Plane::new(10, 10);
        assert!(ms_ssim(&tiny, &tiny).is_err());
    }

    #[test]
    fn constant_pictures_differ_in_luminance_alone() {
        // Only the coarsest scale sees luminance: (2ab + C1) / (a^2 + b^2 + C1) to the power of its weight.
        let flat = |v: u8| Plane::from_vec(vec![v; 200 * 200], 200, 200).unwrap();
        let (a, b) = (100.0f64 / 255.0, 150.0f64 / 255.0);
        let expected = ((2.0 * a * b + C1) / (a * a + b * b + C1)).powf(WEIGHTS[4] / WEIGHTS.iter().sum::<f64>());
        let found = ms_ssim(&flat(100), &flat(150)).unwrap();
        assert!((found - expected).abs() < 1e-4, "{found} {expected}");
    }
}
