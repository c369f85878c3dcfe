//! How convolutions are computed: the same function by other kernels, where libtorch's usual choice is slow.
//!
//! A CPU keeps the usual ones. On a GPU, libraries differ in their depthwise kernels by an order of magnitude, and small 1x1
//! convolutions cost more to launch than matrix products, so [`choose`] measures.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

use super::device::synchronize;
use super::ops::channels_last;
use super::transfer::remembered;
use crate::{Error, Result};

/// A depthwise 3x3 convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depthwise {
    /// A grouped convolution on channels-last memory.
    ChannelsLast,
    /// A grouped convolution on planes of channels.
    Planar,
    /// Nine shifted products.
    Taps,
    /// A full convolution whose weights between different channels are zero.
    Dense,
}

/// A 1x1 convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pointwise {
    /// The library's convolution.
    Convolution,
    /// A matrix product over channels.
    Product,
}

/// The kernels in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paths {
    /// For depthwise layers.
    pub depthwise: Depthwise,
    /// For 1x1 layers.
    pub pointwise: Pointwise,
}

impl Paths {
    /// Kernels that add up products of inputs and weights and nothing else. A matrix product knows no other way. On planes of channels
    /// in 32-bit floats libtorch takes its own depthwise kernel; on channels-last memory it would ask cuDNN, which may choose
    /// Winograd's method.
    pub const DIRECT: Self = Self { depthwise: Depthwise::Planar, pointwise: Pointwise::Product };
}

const DEPTHWISE: [(&str, Depthwise); 4] = [
    ("channels-last", Depthwise::ChannelsLast),
    ("planar", Depthwise::Planar),
    ("taps", Depthwise::Taps),
    ("dense", Depthwise::Dense),
];
const POINTWISE: [(&str, Pointwise); 2] = [("convolution", Pointwise::Convolution), ("product", Pointwise::Product)];

impl std::fmt::Display for Paths {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{},{}", DEPTHWISE[self.depthwise as usize].0, POINTWISE[self.pointwise as usize].0)
    }
}

impl std::str::FromStr for Paths {
    type Err = Error;

    /// Such as `dense,product`.
    fn from_str(text: &str) -> Result<Self> {
        let known = |(depthwise, pointwise): (&str, &str)| {
            Some(Self {
                depthwise: DEPTHWISE.iter().find(|(name, _)| *name == depthwise)?.1,
                pointwise: POINTWISE.iter().find(|(name, _)| *name == pointwise)?.1,
            })
        };
        text.split_once(',').and_then(known).ok_or_else(|| {
            let names = |list: &[&str]| list.join("|");
            Error::InvalidConfig(format!(
                "convolutions {text:?}: write {},{}",
                names(&DEPTHWISE.map(|(name, _)| name)),
                names(&POINTWISE.map(|(name, _)| name))
            ))
        })
    }
}

static CURRENT: AtomicU8 = AtomicU8::new(0);

/// The kernels in use, by this process as a whole.
pub fn current() -> Paths {
    let code = CURRENT.load(Ordering::Relaxed);
    Paths { depthwise: DEPTHWISE[usize::from(code & 3)].1, pointwise: POINTWISE[usize::from(code >> 2 & 1)].1 }
}

/// Uses other kernels from now on.
pub fn set(paths: Paths) {
    CURRENT.store(paths.depthwise as u8 | (paths.pointwise as u8) << 2, Ordering::Relaxed);
}

impl Depthwise {
    pub(super) fn apply(self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let channels = weight.size()[0];
        let none = ([1, 1], [1, 1], [1, 1]);
        Ok(match self {
            Self::ChannelsLast => x.f_conv2d(weight, Some(bias), none.0, none.1, none.2, channels)?,
            Self::Planar => channels_last(&x.f_contiguous()?.f_conv2d(weight, Some(bias), none.0, none.1, none.2, channels)?)?,
            Self::Taps => {
                let (_, _, h, w) = x.size4()?;
                let padded = channels_last(&x.f_constant_pad_nd([1, 1, 1, 1])?)?;
                let weight = weight.f_view([1, channels, 9])?;
                let mut sum = bias.f_view([1, channels, 1, 1])?;
                for tap in 0..9 {
                    let part = padded.f_narrow(2, tap / 3, h)?.f_narrow(3, tap % 3, w)?;
                    sum = sum.f_addcmul(&part, &weight.f_select(2, tap)?.f_view([1, channels, 1, 1])?)?;
                }
                sum
            }
            Self::Dense => {
                let (kind, device) = (weight.f_kind()?, weight.device());
                let diagonal = remembered("identity", vec![channels, kind as i64], device, || {
                    Ok(Tensor::f_eye(channels, (kind, device))?.f_view([channels, channels, 1, 1])?)
                })?;
                let full = channels_last(&weight.f_mul(&diagonal)?)?;
                x.f_conv2d(&full, Some(bias), none.0, none.1, none.2, 1)?
            }
        })
    }
}

impl Pointwise {
    pub(super) fn apply(self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Convolution => x.f_conv2d(weight, Some(bias), [1, 1], [0, 0], [1, 1], 1)?,
            Self::Product => {
                let (n, c, h, w) = x.size4()?;
                let rows = x.f_permute([0, 2, 3, 1])?.f_reshape([n * h * w, c])?;
                let cout = weight.size()[0];
                let product = rows.f_linear(&weight.f_view([cout, c])?, Some(bias))?;
                product.f_view([n, h, w, cout])?.f_permute([0, 3, 1, 2])?
            }
        })
    }
}

/// Time that a measurement of one kernel may take.
const SPELL: Duration = Duration::from_millis(60);

/// Measures the kernels on a GPU at the sizes of training, forward and backward, and uses the fastest from now on. On a CPU
/// it changes nothing. `batch` and `crop`: examples and side of the frames in pixels; `widths`: channels at 1/8 and at 1/16. Gives
/// back what was chosen, and the milliseconds of each kernel.
///
/// # Errors
/// [`Error::Device`] if the device fails.
pub fn choose(device: Device, (batch, crop): (usize, usize), widths: (i64, i64), kind: Kind) -> Result<(Paths, String)> {
    if !device.is_cuda() {
        return Ok((current(), String::new()));
    }
    let (n, side) = (batch as i64, crop as i64 / 8);
    let options = (kind, device);
    let mut report = Vec::new();
    // Width, side and number of the layers at 1/8 and 1/16.
    let sizes = [(widths.0, side, 6.0), (widths.1, side / 2, 1.0)];
    let mut time = |name: &str, cin_cout: fn(i64) -> [i64; 4], apply: &dyn Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>| {
        let mut total = 0.0;
        for (c, side, count) in sizes {
            let x = channels_last(&Tensor::f_rand([n, c, side, side], options)?)?.set_requires_grad(true);
            let shape = cin_cout(c);
            let weight = Tensor::f_rand(shape, options)?.set_requires_grad(true);
            let bias = Tensor::f_rand([shape[0]], options)?.set_requires_grad(true);
            let seed = channels_last(&Tensor::f_rand([n, shape[0], side, side], options)?)?;
            let step = || -> Result<()> {
                let loss = apply(&x, &weight, &bias)?.f_mul(&seed)?.f_sum(Kind::Float)?;
                Tensor::f_run_backward(&[loss], &[&x, &weight, &bias], false, false)?;
                Ok(())
            };
            // The first calls choose and load kernels.
            (0..3).try_for_each(|_| step())?;
            synchronize(device);
            let (start, mut calls) = (Instant::now(), 0);
            while start.elapsed() < SPELL {
                (0..4).try_for_each(|_| step())?;
                synchronize(device);
                calls += 4;
            }
            total += count * start.elapsed().as_secs_f64() * 1e3 / f64::from(calls);
        }
        report.push(format!("{name} {total:.2} ms"));
        Ok::<f64, Error>(total)
    };
    let fastest = |times: Vec<(u8, Result<f64>)>| -> u8 {
        let usable = times.into_iter().filter_map(|(i, t)| Some((i, t.ok()?)));
        usable.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(i, _)| i)
    };
    let depthwise = DEPTHWISE
        .iter()
        .map(|(name, kernel)| (*kernel as u8, time(name, |c| [c, 1, 3, 3], &|x, w, b| kernel.apply(x, w, b))))
        .collect();
    let depthwise = DEPTHWISE[usize::from(fastest(depthwise))].1;
    let pointwise = POINTWISE
        .iter()
        .map(|(name, kernel)| (*kernel as u8, time(name, |c| [c, c, 1, 1], &|x, w, b| kernel.apply(x, w, b))))
        .collect();
    let pointwise = POINTWISE[usize::from(fastest(pointwise))].1;
    let paths = Paths { depthwise, pointwise };
    set(paths);
    Ok((paths, report.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(x: &Tensor, shape: &[i64], apply: impl Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>) -> Vec<Tensor> {
        let wave = |n: i64, step: f64| (Tensor::arange(n, (Kind::Float, Device::Cpu)) * step).sin();
        let x = x.copy().set_requires_grad(true);
        let weight = wave(shape.iter().product(), 0.7).view(shape).set_requires_grad(true);
        let bias = wave(shape[0], 0.3).set_requires_grad(true);
        let y = apply(&channels_last(&x).unwrap(), &weight, &bias).unwrap();
        let seed = wave(y.numel() as i64, 0.13).view(y.size().as_slice());
        let mut out = Tensor::run_backward(&[(&y * seed).sum(Kind::Float)], &[&x, &weight, &bias], false, false);
        out.push(y.detach());
        out
    }

    #[test]
    fn all_kernels_compute_the_same_with_the_same_gradients() {
        let x = (Tensor::arange(2 * 12 * 9 * 7, (Kind::Float, Device::Cpu)) * 0.37).sin().view([2, 12, 9, 7]);
        let compare = |name: &str, a: &[Tensor], b: &[Tensor]| {
            for (part, (a, b)) in a.iter().zip(b).enumerate() {
                assert_eq!(a.size(), b.size());
                let worst = (a - b).abs().max().double_value(&[]);
                assert!(worst < 1e-4, "{name}, part {part}: {worst}");
            }
        };
        let wanted = result(&x, &[12, 1, 3, 3], |x, w, b| Depthwise::ChannelsLast.apply(x, w, b));
        for (name, kernel) in &DEPTHWISE[1..] {
            compare(name, &wanted, &result(&x, &[12, 1, 3, 3], |x, w, b| kernel.apply(x, w, b)));
        }
        let wanted = result(&x, &[8, 12, 1, 1], |x, w, b| Pointwise::Convolution.apply(x, w, b));
        compare("product", &wanted, &result(&x, &[8, 12, 1, 1], |x, w, b| Pointwise::Product.apply(x, w, b)));
    }

    #[test]
    fn names_round_trip() {
        for text in ["channels-last,convolution", "dense,product", "taps,convolution"] {
            assert_eq!(text.parse::<Paths>().unwrap().to_string(), text);
        }
        assert!("dense".parse::<Paths>().is_err() && "a,b".parse::<Paths>().is_err());
        assert_eq!(current().to_string(), "channels-last,convolution");
    }
}
