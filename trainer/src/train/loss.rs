//! Rate-distortion losses. Distortions are per example, `[N]`, on the [0, 1] scale.

use anyhow::Result;
use codec_core::training::nn::ops::Planes;
use codec_core::training::nn::transfer::scalar;
use codec_core::training::quality::lambda;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Weight of U and V beside Y in [`drift`]: what must not accumulate is hue.
const DRIFT_CHROMA_WEIGHT: f64 = 2.0;
/// Scale below which Charbonnier behaves like a squared error.
const CHARBONNIER_EPSILON: f64 = 4e-3;

/// Examples are weighted by (this / lambda)^0.4, so that no end of the range drowns the other.
const LAMBDA_PIVOT: f64 = 300.0;
const LAMBDA_EXPONENT: f64 = 0.4;

/// How reconstruction error is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distortion {
    #[default]
    Mse,
    Charbonnier,
}

/// Distortion of a frame: error(Y) + chroma_weight * error(U, V).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fidelity {
    pub kind: Distortion,
    /// Weight of the mean error of U and V beside Y. 0.5 counts every sample alike, 2 is about RGB MSE.
    pub chroma_weight: f64,
}

impl Fidelity {
    /// The same weighting of the squared error.
    pub fn squared(self) -> Self {
        Self { kind: Distortion::Mse, ..self }
    }

    /// Distortion of each example.
    pub fn distortion(&self, target: &Planes, output: &Planes) -> Result<Tensor> {
        let chroma = error(&target.uv, &output.uv, self.kind)?.f_mul_scalar(self.chroma_weight)?;
        Ok(error(&target.y, &output.y, self.kind)?.f_add(&chroma)?)
    }
}

/// Lambda of each example, and the weight of each example in the loss.
pub fn lambda_weights(qualities: &[u8]) -> (Tensor, Tensor) {
    let lambdas: Vec<f32> = qualities.iter().map(|&q| lambda(f64::from(q)) as f32).collect();
    let weights: Vec<f32> = lambdas.iter().map(|l| (LAMBDA_PIVOT as f32 / l).powf(LAMBDA_EXPONENT as f32)).collect();
    (Tensor::from_slice(&lambdas), Tensor::from_slice(&weights))
}

fn per_example_mean(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float)?)
}

fn error(a: &Tensor, b: &Tensor, kind: Distortion) -> Result<Tensor> {
    let squared = a.f_sub(b)?.f_square()?;
    match kind {
        Distortion::Mse => per_example_mean(&squared),
        Distortion::Charbonnier => {
            // Scaled so that small errors weigh as in MSE: eps * (sqrt(d^2 + eps^2) - eps) * 2 ~ d^2.
            let root =
                squared.f_add_scalar(CHARBONNIER_EPSILON * CHARBONNIER_EPSILON)?.f_sqrt()?.f_sub_scalar(CHARBONNIER_EPSILON)?;
            per_example_mean(&root.f_mul_scalar(2.0 * CHARBONNIER_EPSILON)?)
        }
    }
}

/// Error of the colour averaged over 16x16 luma samples: what accumulates into hue drift.
pub fn drift(target: &Planes, output: &Planes) -> Result<Tensor> {
    let pooled = |a: &Tensor, b: &Tensor, k: i64| -> Result<Tensor> {
        let difference = a.f_sub(b)?.f_avg_pool2d([k, k], [k, k], [0, 0], false, true, None)?;
        per_example_mean(&difference.f_square()?)
    };
    Ok(pooled(&target.y, &output.y, 16)?.f_add(&pooled(&target.uv, &output.uv, 8)?.f_mul_scalar(DRIFT_CHROMA_WEIGHT)?)?)
}

/// Power of luma's error that repeats with a period of 2, 4 or 8 samples: the mean product of the errors (less their mean over a
/// cell) at one place of two different cells of that side, within areas of 32x32 samples; what is negative counts as nothing.
/// It is zero on average for texture of any strength, and shows the weave of whole cells and the checkerboard of single
/// samples that networks put onto surfaces where losses on deep features ask for texture.
pub fn pattern(target: &Planes, output: &Planes) -> Result<Tensor> {
    const AREA: i64 = 32;
    const PERIODS: [i64; 3] = [2, 4, 8];
    let error = target.y.f_sub(&output.y)?;
    let mut total = Tensor::zeros([error.size()[0]], (Kind::Float, error.device()));
    for period in PERIODS {
        let side = AREA / period;
        let cells = (side * side) as f64;
        let over_cells = |x: &Tensor| x.f_avg_pool2d([side, side], [side / 2, side / 2], [0, 0], false, true, None);
        let over_places = |x: &Tensor| x.f_mean_dim(&[1i64][..], true, Kind::Float);
        let places = error.f_pixel_unshuffle(period)?;
        let places = places.f_sub(&over_places(&places)?)?;
        let square_of_mean = over_places(&over_cells(&places)?.f_square()?)?;
        let mean_square = over_cells(&over_places(&places.f_square()?)?)?;
        // The mean over all pairs of cells, without the pairs of a cell and itself.
        let product = square_of_mean.f_mul_scalar(cells)?.f_sub(&mean_square)?.f_div_scalar(cells - 1.0)?;
        total = total.f_add(&per_example_mean(&product.f_clamp_min(0.0)?)?)?;
    }
    Ok(total)
}

/// Mean PSNR in dB over examples of one plane, a scalar without gradient.
pub fn psnr(target: &Tensor, output: &Tensor) -> Result<Tensor> {
    tch::no_grad(|| {
        let mse = per_example_mean(&target.f_sub(&output.f_clamp(-0.5, 0.5)?)?.f_square()?)?;
        Ok(mse.f_clamp_min(1e-7)?.f_log10()?.f_mul_scalar(-10.0)?.f_mean(Kind::Float)?)
    })
}

/// [`psnr`] as a number.
pub fn psnr_value(target: &Tensor, output: &Tensor) -> Result<f64> {
    Ok(scalar(&psnr(target, output)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn flat(y: f64, uv: f64) -> Planes {
        let full = |c, s, v| Tensor::full([1, c, s, s], v, (Kind::Float, Device::Cpu));
        Planes { y: full(1, 32, y), uv: full(2, 16, uv) }
    }

    #[test]
    fn chroma_counts_by_its_weight() {
        for chroma_weight in [0.5, 2.0] {
            let fidelity = Fidelity { kind: Distortion::Mse, chroma_weight };
            let d = fidelity.distortion(&flat(0.0, 0.0), &flat(0.1, 0.2)).unwrap().double_value(&[0]);
            assert!((d - (0.01 + chroma_weight * 0.04)).abs() < 1e-6, "{d}");
        }
    }

    #[test]
    fn charbonnier_equals_mse_for_small_errors_and_grows_linearly() {
        let fidelity = Fidelity { kind: Distortion::Charbonnier, chroma_weight: 1.0 };
        let at = |e| fidelity.distortion(&flat(0.0, 0.0), &flat(e, 0.0)).unwrap().double_value(&[0]);
        assert!((at(4e-4) / 1.6e-7 - 1.0).abs() < 0.01, "{}", at(4e-4));
        assert!((at(0.4) / at(0.2) - 2.0).abs() < 0.05);
    }

    #[test]
    fn a_pattern_is_what_repeats() {
        let _generator = crate::testing::seeded(4);
        let options = (Kind::Float, Device::Cpu);
        let with = |y: Tensor| Planes { y, uv: Tensor::zeros([1, 2, 32, 32], options) };
        let of = |y: Tensor| pattern(&with(Tensor::zeros([1, 1, 64, 64], options)), &with(y)).unwrap().double_value(&[0]);
        let columns = |period: f64| {
            let column = Tensor::arange(64, options).remainder(period).eq(1.0).to_kind(Kind::Float) * 0.8;
            column.view([1, 1, 1, 64]).expand([1, 1, 64, 64], false).copy()
        };
        // A column of each 8: mean square of 0.8 at one place of eight, less 0.1. Of cells of 4 every second one has a column, of
        // cells of 2 every fourth: mean squares of 0.03 and 0.01, less the 64th and 256th part that a cell has with itself.
        let parts = [0.07, (64.0 * 0.03 - 0.06) / 63.0, (256.0 * 0.01 - 0.04) / 255.0];
        assert!((of(columns(8.0)) - parts.iter().sum::<f64>()).abs() < 1e-5, "{}", of(columns(8.0)));
        // Every second column is 0.4 from the mean by every period.
        assert!((of(columns(2.0)) - 3.0 * 0.16).abs() < 1e-5);
        assert!(of(Tensor::full([1, 1, 64, 64], 0.3, options)) < 1e-9);
        let noise = of(Tensor::randn([1, 1, 64, 64], options) * 0.4);
        assert!(noise < 3.0 * 0.16 / 100.0, "{noise}");
    }

    #[test]
    fn drift_sees_a_cast_and_not_noise() {
        let noise = (Tensor::arange(32, (Kind::Float, Device::Cpu)).remainder(2.0) * 2.0 - 1.0)
            .view([1, 1, 1, 32])
            .expand([1, 1, 32, 32], false)
            * 0.1;
        let noisy = Planes { y: noise.shallow_clone(), uv: Tensor::zeros([1, 2, 16, 16], (Kind::Float, Device::Cpu)) };
        assert!(drift(&flat(0.0, 0.0), &noisy).unwrap().double_value(&[0]) < 1e-9);
        assert!((drift(&flat(0.0, 0.0), &flat(0.1, 0.0)).unwrap().double_value(&[0]) - 0.01).abs() < 1e-6);
    }
}
