//! Patch discriminators of HiFiC (Mentzer et al., "High-Fidelity Generative Image Compression", NeurIPS 2020): conditioned on
//! the detached latent, spectral norm on every convolution (Miyato et al., ICLR 2018).

use anyhow::Result;
use codec_core::training::nn::Form;
use codec_core::training::nn::params::{Init, Scope};
use tch::{Kind, Tensor};

/// Channels that the latent is brought to before it joins the image.
const CONDITION: i64 = 12;
const SLOPE: f64 = 0.2;
/// Power iterations of the spectral norm. They start from the same vector every time, so that a discriminator has no state
/// beside its weights and every replica computes the same.
const POWER_ITERATIONS: usize = 6;

/// A convolution whose weight is divided by its largest singular value.
struct SpectralConv {
    weight: Tensor,
    bias: Tensor,
    stride: i64,
    padding: i64,
}

impl SpectralConv {
    fn new(mut p: Scope, cin: i64, cout: i64, kernel: i64, stride: i64) -> Result<Self> {
        let fan_in = cin * kernel * kernel;
        Ok(Self {
            weight: p.param("weight", Form::Kernel, &[cout, cin, kernel, kernel], Init::Uniform { fan_in, gain: 1.0 })?,
            bias: p.param("bias", Form::Channels, &[cout], Init::Const(0.0))?,
            stride,
            padding: (kernel - 1) / 2,
        })
    }

    /// Computed in the `kind` of number that is asked for, which is that of the result, too. `frozen`: gradients pass through to the
    /// input alone.
    fn forward(&self, x: &Tensor, frozen: bool, kind: Kind) -> Result<Tensor> {
        // The norm keeps 32 bits, and so do the gradients of what learns.
        let normalised = self.weight.f_div(&spectral_norm(&self.weight)?)?;
        let (weight, bias) =
            if frozen { (normalised.detach(), self.bias.detach()) } else { (normalised, self.bias.shallow_clone()) };
        let [x, weight, bias] = [x, &weight, &bias].map(|tensor| tensor.f_to_kind(kind));
        Ok(x?.f_conv2d(&weight?, Some(bias?), [self.stride; 2], [self.padding; 2], [1, 1], 1)?)
    }
}

/// Largest singular value of a convolution's weight as a matrix `[cout, cin * k * k]`; differentiable in the weight.
fn spectral_norm(weight: &Tensor) -> Result<Tensor> {
    let matrix = weight.f_flatten(1, -1)?;
    let (left, right) = tch::no_grad(|| -> Result<_> {
        let options = (Kind::Float, weight.device());
        let unit = |x: Tensor| -> Result<Tensor> { Ok(x.f_div(&x.f_norm()?.f_add_scalar(1e-12)?)?) };
        // No symmetry that a singular vector could be orthogonal to.
        let mut left = unit(Tensor::f_arange(matrix.size()[0], options)?.f_mul_scalar(0.7)?.f_cos()?.f_add_scalar(0.1)?)?;
        let mut right = unit(matrix.f_tr()?.f_mv(&left)?)?;
        for _ in 0..POWER_ITERATIONS {
            left = unit(matrix.f_mv(&right)?)?;
            right = unit(matrix.f_tr()?.f_mv(&left)?)?;
        }
        Ok((left, right))
    })?;
    Ok(left.f_dot(&matrix.f_mv(&right)?)?.f_add_scalar(1e-12)?)
}

/// What a discriminator says of an image.
pub struct Verdict {
    /// Logits of patches, `[N, 1, H/8, W/8]` less one.
    pub logits: Tensor,
    /// Features of the layers before, for feature matching.
    pub features: Vec<Tensor>,
}

/// One discriminator: image and latent to patch logits.
pub struct Discriminator {
    condition: Option<SpectralConv>,
    layers: Vec<SpectralConv>,
    output: SpectralConv,
    /// Of the layers behind the first; parameters have 32 bits in any case.
    kind: Kind,
}

impl Discriminator {
    /// The same on the same parameters, computed in bfloat16 but for the first layers, whose input would lose faint detail.
    pub fn in_bfloat16(self) -> Self {
        Self { kind: Kind::BFloat16, ..self }
    }

    /// `latent` channels of the condition, `None` for a discriminator that sees the image alone. `width` is 64 in HiFiC.
    pub fn new(mut p: Scope, latent: Option<i64>, width: i64) -> Result<Self> {
        let condition = latent.map(|c| SpectralConv::new(p.sub("condition"), c, CONDITION, 3, 1)).transpose()?;
        let mut cin = 3 + if condition.is_some() { CONDITION } else { 0 };
        let mut layers = Vec::new();
        for (i, (factor, stride)) in [(1, 2), (2, 2), (4, 2), (8, 1)].into_iter().enumerate() {
            layers.push(SpectralConv::new(p.sub(format!("layers.{i}")), cin, factor * width, 4, stride)?);
            cin = factor * width;
        }
        Ok(Self { condition, layers, output: SpectralConv::new(p.sub("output"), cin, 1, 4, 1)?, kind: Kind::Float })
    }

    /// `rgb` `[N, 3, H, W]` in 0..=1, `latent` `[N, C, H/16, W/16]`. `frozen`: gradients reach the image alone. Logits and features are
    /// 32-bit floats: means over them, and their differences, are losses.
    pub fn forward(&self, rgb: &Tensor, latent: &Tensor, frozen: bool) -> Result<Verdict> {
        let act = |x: Tensor| Ok::<_, anyhow::Error>(codec_core::training::nn::activation::leaky(&x, SLOPE)?);
        let image = rgb.f_mul_scalar(2.0)?.f_sub_scalar(1.0)?;
        let mut x = match &self.condition {
            Some(condition) => {
                let (_, _, h, w) = rgb.size4()?;
                let seen =
                    act(condition.forward(&latent.detach(), frozen, Kind::Float)?)?.f_upsample_nearest2d([h, w], None, None)?;
                Tensor::f_cat(&[image, seen], 1)?
            }
            None => image,
        };
        let mut features = Vec::with_capacity(self.layers.len());
        for (i, layer) in self.layers.iter().enumerate() {
            x = act(layer.forward(&x, frozen, if i == 0 { Kind::Float } else { self.kind })?)?;
            features.push(x.f_to_kind(Kind::Float)?);
        }
        Ok(Verdict { logits: self.output.forward(&x, frozen, self.kind)?.f_to_kind(Kind::Float)?, features })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec_core::training::nn::params::Builder;
    use codec_core::training::nn::{Network, ParamStore};
    use tch::Device;

    #[test]
    fn spectral_norm_is_the_largest_singular_value() {
        let _generator = crate::testing::seeded(5);
        let weight = Tensor::randn([24, 3, 4, 4], (Kind::Float, Device::Cpu));
        let (_, values, _) = weight.flatten(1, -1).svd(true, false);
        let largest = values.max().double_value(&[]);
        let estimate = spectral_norm(&weight).unwrap().double_value(&[]);
        assert!(estimate <= largest * 1.0001 && estimate > 0.9 * largest, "{estimate} for {largest}");
    }

    #[test]
    fn a_frozen_discriminator_passes_gradients_to_the_image_alone() {
        let _generator = crate::testing::seeded(6);
        let mut store = ParamStore::new();
        let net =
            Discriminator::new(Builder::init(&mut store, Device::Cpu).network(Network::IntraDiscriminator), Some(8), 8).unwrap();
        let rgb = Tensor::rand([1, 3, 64, 64], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let latent = Tensor::rand([1, 8, 4, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let verdict = net.forward(&rgb, &latent, true).unwrap();
        assert_eq!(verdict.features.len(), 4);
        verdict.logits.sum(Kind::Float).backward();
        assert!(rgb.grad().abs().max().double_value(&[]) > 0.0);
        assert!(!latent.grad().defined(), "the condition is detached");
        assert!(store.iter().all(|(_, t)| !t.grad().defined()));
        net.forward(&rgb.detach(), &latent, false).unwrap().logits.sum(Kind::Float).backward();
        assert!(store.iter().all(|(_, t)| t.grad().defined()));
    }

    #[test]
    fn the_latent_changes_the_verdict_of_a_conditioned_one_only() {
        let _generator = crate::testing::seeded(7);
        let rgb = Tensor::rand([1, 3, 64, 64], (Kind::Float, Device::Cpu));
        for latent in [Some(8), None] {
            let mut store = ParamStore::new();
            let net = Discriminator::new(Builder::init(&mut store, Device::Cpu).network(Network::IntraDiscriminator), latent, 8)
                .unwrap();
            let logits =
                |v: f64| net.forward(&rgb, &Tensor::full([1, 8, 4, 4], v, (Kind::Float, Device::Cpu)), true).unwrap().logits;
            let change = (logits(0.0) - logits(1.0)).abs().max().double_value(&[]);
            assert_eq!(change > 0.0, latent.is_some());
        }
    }
}
