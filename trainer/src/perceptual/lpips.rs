//! LPIPS (Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018) on AlexNet or
//! VGG16, from files of plain weights in torchvision's naming.

use std::path::Path;

use anyhow::{Context, Result, bail};
use codec_core::training::nn::transfer::upload;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use tch::{Device, Kind, Tensor};

/// Mean and deviation that LPIPS expects of images in -1..=1.
const SHIFT: [f32; 3] = [-0.030, -0.088, -0.188];
const SCALE: [f32; 3] = [0.458, 0.448, 0.450];

/// Convolutions of a stage by their number in torchvision, with stride and padding; a stage starts with pooling but for
/// the first.
type Stage = &'static [(usize, i64, i64)];
const ALEX: [(Stage, bool); 5] =
    [(&[(0, 4, 2)], false), (&[(3, 1, 2)], true), (&[(6, 1, 1)], true), (&[(8, 1, 1)], false), (&[(10, 1, 1)], false)];
const VGG: [(Stage, bool); 5] = [
    (&[(0, 1, 1), (2, 1, 1)], false),
    (&[(5, 1, 1), (7, 1, 1)], true),
    (&[(10, 1, 1), (12, 1, 1), (14, 1, 1)], true),
    (&[(17, 1, 1), (19, 1, 1), (21, 1, 1)], true),
    (&[(24, 1, 1), (26, 1, 1), (28, 1, 1)], true),
];

/// Network that features come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backbone {
    Alex,
    Vgg,
}

impl Backbone {
    fn stages(self) -> &'static [(Stage, bool); 5] {
        match self {
            Self::Alex => &ALEX,
            Self::Vgg => &VGG,
        }
    }

    fn max_pool(self, x: &Tensor) -> Result<Tensor> {
        let side = if self == Self::Alex { 3 } else { 2 };
        Ok(x.f_max_pool2d([side; 2], [2, 2], [0, 0], [1, 1], false)?)
    }
}

/// A frozen feature network with the linear heads of LPIPS.
pub struct Lpips {
    backbone: Backbone,
    convolutions: Vec<Vec<(Tensor, Tensor)>>,
    heads: Vec<Tensor>,
    shift: Tensor,
    scale: Tensor,
}

impl Lpips {
    /// Loads a file that holds `features.N.weight`, `features.N.bias` and `lin0.weight` to `lin4.weight`; the layers say
    /// which network it is.
    ///
    /// # Errors
    /// Naming the file and the tensor that is missing.
    pub fn load(path: &Path, device: Device) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("LPIPS weights {}", path.display()))?;
        let file = SafeTensors::deserialize(&bytes).with_context(|| format!("{}: not a safetensors file", path.display()))?;
        let get = |name: &str| load_tensor(&file, name, device).with_context(|| path.display().to_string());
        let backbone = if file.names().into_iter().any(|n| n == "features.28.weight") { Backbone::Vgg } else { Backbone::Alex };
        let convolutions = backbone
            .stages()
            .iter()
            .map(|(stage, _)| {
                let layer = |(i, ..): &(usize, i64, i64)| {
                    Ok((get(&format!("features.{i}.weight"))?, get(&format!("features.{i}.bias"))?))
                };
                stage.iter().map(layer).collect::<Result<Vec<_>>>()
            })
            .collect::<Result<Vec<_>>>()?;
        let heads = (0..5).map(|i| get(&format!("lin{i}.weight"))).collect::<Result<_>>()?;
        Self::assemble(backbone, convolutions, heads, device)
    }

    fn assemble(
        backbone: Backbone,
        convolutions: Vec<Vec<(Tensor, Tensor)>>,
        heads: Vec<Tensor>,
        device: Device,
    ) -> Result<Self> {
        let constant = |values: &[f32; 3]| upload(&Tensor::f_from_slice(values)?.f_view([1, 3, 1, 1])?, device);
        Ok(Self { backbone, convolutions, heads, shift: constant(&SHIFT)?, scale: constant(&SCALE)? })
    }

    /// The same network with its convolutions in bfloat16, but for the first, whose input would lose faint detail. Twice as fast
    /// where the processor has instructions for it (AVX512-BF16, AMX), and on a GPU; precise enough for gradients.
    pub fn in_bfloat16(mut self) -> Result<Self> {
        for (weight, bias) in self.convolutions.iter_mut().flatten().skip(1) {
            *weight = weight.f_to_kind(Kind::BFloat16)?;
            *bias = bias.f_to_kind(Kind::BFloat16)?;
        }
        Ok(self)
    }

    pub fn backbone(&self) -> Backbone {
        self.backbone
    }

    /// Channels of each stage's features.
    pub fn channels(&self) -> impl Iterator<Item = i64> {
        self.convolutions.iter().map(|stage| stage.last().expect("a stage has layers").0.size()[0])
    }

    /// Features after each stage, with `pool` between stages that the network pools between.
    pub(super) fn stages(&self, input: Tensor, pool: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<Vec<Tensor>> {
        let mut x = codec_core::training::nn::ops::channels_last(&input)?;
        let mut out = Vec::with_capacity(5);
        for ((stage, pooled), weights) in self.backbone.stages().iter().zip(&self.convolutions) {
            if *pooled {
                x = pool(&x)?;
            }
            for ((_, stride, padding), (weight, bias)) in stage.iter().zip(weights) {
                let input = x.f_to_kind(weight.kind())?;
                x = input.f_conv2d(weight, Some(bias), [*stride; 2], [*padding; 2], [1, 1], 1)?.f_relu()?;
            }
            out.push(x.f_to_kind(Kind::Float)?);
        }
        Ok(out)
    }

    fn features(&self, rgb: &Tensor) -> Result<Vec<Tensor>> {
        let input = rgb.f_mul_scalar(2.0)?.f_sub_scalar(1.0)?.f_sub(&self.shift)?.f_div(&self.scale)?;
        let features = self.stages(input, &|x| self.backbone.max_pool(x))?;
        features
            .iter()
            .map(|f| {
                let norm = f.f_square()?.f_sum_dim_intlist(&[1i64][..], true, Kind::Float)?.f_add_scalar(1e-20)?.f_sqrt()?;
                Ok(f.f_div(&norm.f_add_scalar(1e-10)?)?)
            })
            .collect()
    }

    /// Distance of each pair, `[N]`; 0 for equal images. Sides of at least 32 pixels.
    pub fn distance(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let mut total: Option<Tensor> = None;
        for ((x, y), head) in self.features(a)?.iter().zip(&self.features(b)?).zip(&self.heads) {
            let weighted = x.f_sub(y)?.f_square()?.f_conv2d(head, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1)?;
            let mean = weighted.f_mean_dim(&[1i64, 2, 3][..], false, Kind::Float)?;
            total = Some(match total {
                Some(sum) => sum.f_add(&mean)?,
                None => mean,
            });
        }
        Ok(total.expect("five stages"))
    }
}

/// A float tensor of the file on the device, in channels-last memory if it has four dimensions.
pub(super) fn load_tensor(file: &SafeTensors, name: &str, device: Device) -> Result<Tensor> {
    let view = file.tensor(name).with_context(|| format!("tensor {name} is missing"))?;
    let kind = match view.dtype() {
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        other => bail!("tensor {name} has type {other:?}, floats are needed"),
    };
    let shape: Vec<i64> = view.shape().iter().map(|&s| s as i64).collect();
    let tensor = upload(&Tensor::f_from_data_size(view.data(), &shape, kind)?.f_to_kind(Kind::Float)?, device)?;
    Ok(if shape.len() == 4 { codec_core::training::nn::ops::channels_last(&tensor)? } else { tensor })
}

#[cfg(test)]
pub(in crate::perceptual) mod tests {
    use super::*;

    /// A network with random weights, its widths a sixteenth of VGG16's.
    pub fn random_vgg() -> Lpips {
        let _generator = crate::testing::seeded(3);
        let options = (Kind::Float, Device::Cpu);
        let mut cin = 3;
        let widths = [4, 8, 16, 32, 32];
        let convolutions = VGG
            .iter()
            .zip(widths)
            .map(|((stage, _), cout)| {
                let layer = |_| {
                    let weight = Tensor::randn([cout, cin, 3, 3], options) * (2.0 / (9.0 * cin as f64)).sqrt();
                    cin = cout;
                    (weight, Tensor::zeros([cout], options))
                };
                stage.iter().map(layer).collect()
            })
            .collect();
        let heads = widths.map(|c| Tensor::rand([1, c, 1, 1], options)).into();
        Lpips::assemble(Backbone::Vgg, convolutions, heads, Device::Cpu).unwrap()
    }

    pub fn image(seed: i64) -> Tensor {
        let _generator = crate::testing::seeded(seed);
        Tensor::rand([2, 3, 64, 64], (Kind::Float, Device::Cpu))
    }

    #[test]
    fn equal_images_have_no_distance_and_gradients_pass() {
        let lpips = random_vgg();
        let (a, b) = (image(1), image(2).set_requires_grad(true));
        assert!(lpips.distance(&a, &a).unwrap().abs().max().double_value(&[]) < 1e-9);
        let distance = lpips.distance(&a, &b).unwrap();
        assert_eq!(distance.size(), [2]);
        assert!(distance.min().double_value(&[]) > 1e-4);
        distance.sum(Kind::Float).backward();
        assert!(b.grad().abs().max().double_value(&[]) > 0.0);
    }

    #[test]
    fn bfloat16_gives_nearly_the_same_distance_and_gradient() {
        let measure = |lpips: &Lpips| {
            let (a, b) = (image(1), image(2).set_requires_grad(true));
            let distance = lpips.distance(&a, &b).unwrap().sum(Kind::Float);
            distance.backward();
            (distance.double_value(&[]), b.grad())
        };
        let (exact, gradient) = measure(&random_vgg());
        let (rough, other) = measure(&random_vgg().in_bfloat16().unwrap());
        assert!((rough / exact - 1.0).abs() < 0.02, "{rough}, not {exact}");
        let cosine = (&gradient * &other).sum(Kind::Float) / (gradient.norm() * other.norm());
        // Few random channels: many of them change sides of a ReLU.
        let cosine = cosine.double_value(&[]);
        assert!(rough != exact && cosine > 0.7, "{cosine}");
    }
}
