//! DISTS (Ding et al., "Image Quality Assessment: Unifying Structure and Texture Similarity", TPAMI 2020) on VGG16 with L2
//! pooling; the same form on AlexNet serves as a training loss, so that the metric stays a judge from outside.

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use codec_core::training::nn::transfer::upload;
use safetensors::SafeTensors;
use tch::{Device, Kind, Tensor};

use super::lpips::{Backbone, Lpips, load_tensor};

const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];
/// Keep the similarities finite where nothing is to be compared.
const C1: f64 = 1e-6;
const C2: f64 = 1e-6;

/// Similarity of structure (correlation) and texture (mean) of each channel of RGB and of a network's stages.
pub struct Dists {
    network: Rc<Lpips>,
    alpha: Tensor,
    beta: Tensor,
    mean: Tensor,
    deviation: Tensor,
    window: Tensor,
}

impl Dists {
    /// The metric, on the VGG16 of an LPIPS file. `path` holds `alpha` and `beta`, a weight for each of the channels of RGB and the five stages.
    ///
    /// # Errors
    /// Naming the file, or if `vgg` is another network.
    pub fn load(path: &Path, vgg: &Rc<Lpips>, device: Device) -> Result<Self> {
        ensure!(vgg.backbone() == Backbone::Vgg, "DISTS needs the VGG16 weights of LPIPS, not AlexNet's");
        let bytes = std::fs::read(path).with_context(|| format!("DISTS weights {}", path.display()))?;
        let file = SafeTensors::deserialize(&bytes).with_context(|| format!("{}: not a safetensors file", path.display()))?;
        let get = |name: &str| load_tensor(&file, name, device).with_context(|| path.display().to_string());
        Self::assemble(vgg, &get("alpha")?, &get("beta")?, device)
    }

    /// The same form on any network, where every stage counts alike and structure as much as texture.
    pub fn even(network: &Rc<Lpips>, device: Device) -> Result<Self> {
        let shares: Vec<f32> = std::iter::once(3)
            .chain(network.channels())
            .flat_map(|channels| std::iter::repeat_n(1.0 / channels as f32, channels as usize))
            .collect();
        let weights = upload(&Tensor::from_slice(&shares), device)?;
        Self::assemble(network, &weights, &weights, device)
    }

    fn assemble(network: &Rc<Lpips>, alpha: &Tensor, beta: &Tensor, device: Device) -> Result<Self> {
        let constant = |values: &[f32; 3]| upload(&Tensor::f_from_slice(values)?.f_view([1, 3, 1, 1])?, device);
        let total = alpha.f_sum(Kind::Float)?.f_add(&beta.f_sum(Kind::Float)?)?;
        // The inner part of a Hann window of five samples, in both directions.
        let row = Tensor::from_slice(&[0.25f32, 0.5, 0.25]);
        let window = upload(&row.f_view([3, 1])?.f_mul(&row.f_view([1, 3])?)?.f_view([1, 1, 3, 3])?, device)?;
        Ok(Self {
            network: Rc::clone(network),
            alpha: alpha.f_view([-1])?.f_div(&total)?,
            beta: beta.f_view([-1])?.f_div(&total)?,
            mean: constant(&MEAN)?,
            deviation: constant(&DEVIATION)?,
            window,
        })
    }

    fn pool(&self, x: &Tensor) -> Result<Tensor> {
        let (_, c, ..) = x.size4()?;
        let window = self.window.f_to_kind(x.kind())?.f_expand([c, 1, 3, 3], false)?;
        Ok(x.f_square()?.f_conv2d(&window, None::<Tensor>, [2, 2], [1, 1], [1, 1], c)?.f_add_scalar(1e-12)?.f_sqrt()?)
    }

    fn features(&self, rgb: &Tensor) -> Result<Vec<Tensor>> {
        let mut out = vec![rgb.shallow_clone()];
        out.extend(self.network.stages(rgb.f_sub(&self.mean)?.f_div(&self.deviation)?, &|x| self.pool(x))?);
        Ok(out)
    }

    /// Distance of each pair, `[N]`; 0 for equal images.
    pub fn distance(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let spatial = |x: &Tensor| x.f_mean_dim(&[2i64, 3][..], false, Kind::Float);
        let mut similarity = Tensor::zeros([a.size()[0]], (Kind::Float, a.device()));
        let mut start = 0;
        for (x, y) in self.features(a)?.iter().zip(&self.features(b)?) {
            let channels = x.size()[1];
            let (alpha, beta) = (self.alpha.f_narrow(0, start, channels)?, self.beta.f_narrow(0, start, channels)?);
            start += channels;
            let (mean_x, mean_y) = (spatial(x)?, spatial(y)?);
            let variance_x = spatial(&x.f_square()?)?.f_sub(&mean_x.f_square()?)?;
            let variance_y = spatial(&y.f_square()?)?.f_sub(&mean_y.f_square()?)?;
            let covariance = spatial(&x.f_mul(y)?)?.f_sub(&mean_x.f_mul(&mean_y)?)?;
            let ratio = |product: &Tensor, sum: &Tensor, c: f64| -> Result<Tensor> {
                Ok(product.f_mul_scalar(2.0)?.f_add_scalar(c)?.f_div(&sum.f_add_scalar(c)?)?)
            };
            let texture = ratio(&mean_x.f_mul(&mean_y)?, &mean_x.f_square()?.f_add(&mean_y.f_square()?)?, C1)?;
            let structure = ratio(&covariance, &variance_x.f_add(&variance_y)?, C2)?;
            let stage = texture.f_mul(&alpha)?.f_add(&structure.f_mul(&beta)?)?;
            similarity = similarity.f_add(&stage.f_sum_dim_intlist(&[1i64][..], false, Kind::Float)?)?;
        }
        Ok(similarity.f_neg()?.f_add_scalar(1.0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lpips::tests::{image, random_vgg};
    use super::*;

    #[test]
    fn equal_images_have_no_distance_and_gradients_pass() {
        let vgg = Rc::new(random_vgg());
        let channels = 3 + 4 + 8 + 16 + 32 + 32;
        let ones = Tensor::ones([1, channels, 1, 1], (Kind::Float, Device::Cpu));
        for dists in [Dists::assemble(&vgg, &ones, &ones, Device::Cpu).unwrap(), Dists::even(&vgg, Device::Cpu).unwrap()] {
            let (a, b) = (image(1), image(2).set_requires_grad(true));
            assert!(dists.distance(&a, &a).unwrap().abs().max().double_value(&[]) < 1e-4);
            let distance = dists.distance(&a, &b).unwrap();
            assert!(distance.min().double_value(&[]) > 0.01);
            distance.sum(Kind::Float).backward();
            assert!(b.grad().abs().max().double_value(&[]) > 0.0);
        }
    }

    #[test]
    fn even_weights_count_every_stage_alike() {
        let dists = Dists::even(&Rc::new(random_vgg()), Device::Cpu).unwrap();
        assert!((dists.alpha.sum(Kind::Float).double_value(&[]) - 0.5).abs() < 1e-6);
        let of_stage = |start, channels| dists.beta.narrow(0, start, channels).sum(Kind::Float).double_value(&[]);
        for (start, channels) in [(0, 3), (3, 4), (7, 8), (63, 32)] {
            assert!((of_stage(start, channels) - 1.0 / 12.0).abs() < 1e-6);
        }
    }
}
