//! Linear latent channels for a trained model that has none: they start as principal components of what its transforms leave
//! out, so that training goes on from where it is.

mod components;

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use codec_core::bitstream::Profile;
use codec_core::nn::entropy::MIN_SCALE;
use codec_core::nn::layers::KNOTS;
use codec_core::nn::{ModelConfig, Networks, ParamStore};
use codec_core::quality::lambda;
use tch::{Device, Kind, Tensor};

use crate::data::{Sampler, SamplerOptions, Split};
use crate::train::{FlowSource, Twin, clip_on_device, load_start, starting_point};
use components::{Moments, measure};

/// Batches that components are taken from, clips of each, frames of a clip and the side of the crops.
const BATCHES: u64 = 48;
const CLIPS: usize = 8;
const FRAMES: usize = 3;
const CROP: usize = 128;
/// Components are taken at these good qualities, where they matter.
const QUALITIES: [u8; CLIPS] = [0, 4, 8, 12, 16, 20, 24, 28];
/// Scale that the entropy model gives the new channels at first, in quantiser steps.
const FIRST_SCALE: f64 = 0.3;

#[derive(Args)]
pub struct WidenArgs {
    /// Model file or checkpoint of the rt profile without linear channels.
    #[arg(long)]
    init: PathBuf,
    /// Shards made by `prepare`.
    #[arg(long)]
    data: PathBuf,
    /// Linear channels of I-frames and residuals, an even number.
    #[arg(long, default_value_t = ModelConfig::rt().intra.linear)]
    linear: i64,
    #[arg(long)]
    out: PathBuf,
}

/// Writes the widened model as a starting point.
pub fn run(args: &WidenArgs) -> Result<()> {
    let start = load_start(&args.init, Twin::Faithful)?;
    let old = &start.progress.model;
    if old.profile != Profile::Rt || old.intra.linear != 0 || old.residual.linear != 0 {
        bail!("{}: only models of the rt profile without linear channels can be widened", args.init.display());
    }
    ensure!((2..=256).contains(&args.linear) && args.linear % 2 == 0, "--linear {}: even and in 2..=256", args.linear);
    let mut params = start.averaged_params();
    let networks = Networks::load(&mut params, old, Device::Cpu)?;
    let options = SamplerOptions { photo_share: 0.3, seed: 1, split: Split::Train };
    let sampler = Sampler::open(&args.data, options).context("--data")?;
    let motion = FlowSource::Dis.open(Device::Cpu, old.luma_filter)?;
    let (mut intra, mut residual) = (Moments::default(), Moments::default());
    tch::no_grad(|| -> Result<()> {
        for batch in 0..BATCHES {
            let clip = clip_on_device(&sampler.sample((batch, 0), CLIPS, FRAMES, CROP)?, Device::Cpu)?;
            measure(&networks, &motion, &clip, &QUALITIES, &mut intra, &mut residual)?;
        }
        Ok(())
    })?;
    let model = widened(old, args.linear);
    let params = tch::no_grad(|| widen(&params, old, &model, [&intra, &residual]))?;
    let mut out = starting_point(model, &params);
    out.progress.earlier_seconds = start.progress.total_seconds();
    out.save(&args.out)
}

/// The configuration with `linear` channels more in the I- and residual latents.
fn widened(old: &ModelConfig, linear: i64) -> ModelConfig {
    let mut model = old.clone();
    for (transform, entropy) in [(&mut model.intra, &mut model.intra_entropy), (&mut model.residual, &mut model.residual_entropy)]
    {
        transform.latent += linear;
        transform.linear = linear;
        entropy.channels = transform.latent as usize;
    }
    model
}

/// Inserts the halves of `patch` behind the halves of the `channels` channels that start at `offset` of dimension `dim`.
fn insert(tensor: &Tensor, dim: i64, offset: i64, channels: i64, patch: &Tensor) -> Result<Tensor> {
    let half = channels / 2;
    let halves = patch.f_chunk(2, dim)?;
    let rest = offset + channels;
    let parts = [
        tensor.f_narrow(dim, 0, offset + half)?,
        halves[0].shallow_clone(),
        tensor.f_narrow(dim, offset + half, half)?,
        halves[1].shallow_clone(),
        tensor.f_narrow(dim, rest, tensor.size()[dim as usize] - rest)?,
    ];
    Ok(Tensor::f_cat(&parts, dim)?)
}

/// Logarithm of the gain `[8, 1]` before rounding that is best at high rates: bits fall by log2 of the step, and lambda times the
/// squared error grows by lambda step^2 / 12, so step^2 = 6 / (lambda ln 2).
fn gain_knots() -> Tensor {
    let knot = |i: usize| {
        let quality = i as f64 * 63.0 / (KNOTS - 1) as f64;
        (0.5 * (lambda(quality) * std::f64::consts::LN_2 / 6.0).ln()) as f32
    };
    Tensor::from_slice(&(0..KNOTS).map(knot).collect::<Vec<_>>()).view([KNOTS as i64, 1])
}

/// Parameters of the model with linear channels. What was there stays as it was; new channels start silent for the networks.
fn widen(old: &ParamStore, from: &ModelConfig, to: &ModelConfig, moments: [&Moments; 2]) -> Result<ParamStore> {
    let mut params = ParamStore::new();
    for (name, tensor) in old.iter() {
        params.insert(name, tensor.detach());
    }
    let branches = [
        ("intra", &from.intra, &to.intra, &from.intra_entropy),
        ("residual", &from.residual, &to.residual, &from.residual_entropy),
    ];
    for ((branch, transform, wide, entropy), moments) in branches.into_iter().zip(moments) {
        let (channels, linear, width) = (transform.latent, wide.linear, entropy.width as i64);
        let mut replace = |name: &str, dim: i64, offset: i64, value: &dyn Fn(&[i64]) -> Tensor| -> Result<()> {
            let name = format!("{branch}.{name}");
            let tensor = params.get(&name).with_context(|| format!("tensor {name} is missing"))?;
            let mut shape = tensor.size();
            shape[dim as usize] = linear;
            let wider = insert(tensor, dim, offset, channels, &value(&shape))?;
            params.insert(name, wider);
            Ok(())
        };
        let constant = |value: f64| move |shape: &[i64]| Tensor::full(shape, value, (Kind::Float, Device::Cpu));
        replace("coder.encoder_gain.knots", 1, 0, &|shape| gain_knots().expand(shape, false))?;
        replace("coder.decoder_gain.knots", 1, 0, &|shape| -gain_knots().expand(shape, false))?;
        replace("coder.entropy.ha0.weight", 1, 0, &constant(0.0))?;
        if entropy.temporal {
            replace("coder.entropy.p1a.weight", 1, width, &constant(0.0))?;
        }
        replace("coder.entropy.p2a.weight", 1, 2 * width, &constant(0.0))?;
        for head in ["h1", "h2"] {
            // Scales lie behind the means, and go first so that these do not move them.
            for offset in [channels, 0] {
                replace(&format!("coder.entropy.{head}.weight"), 0, offset, &constant(0.0))?;
            }
            let scale = ((FIRST_SCALE - MIN_SCALE).exp() - 1.0).ln();
            replace(&format!("coder.entropy.{head}.bias"), 0, channels, &constant(scale))?;
            replace(&format!("coder.entropy.{head}.bias"), 0, 0, &constant(0.0))?;
        }
        replace("synthesis.input.weight", 1, 0, &constant(0.0))?;
        let (analysis, synthesis) = moments.components(linear)?;
        for (part, weight) in [("analysis", analysis), ("synthesis", synthesis)] {
            let outputs = weight.size()[0];
            params.insert(format!("{branch}.{part}.linear.weight"), weight);
            params.insert(format!("{branch}.{part}.linear.bias"), Tensor::zeros([outputs], (Kind::Float, Device::Cpu)));
        }
    }
    // Says whether all of it fits.
    Networks::load(&mut params, to, Device::Cpu)?;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use codec_core::nn::codec::quality_tensor;
    use codec_core::nn::entropy::{Arithmetic, Quantiser};
    use codec_core::nn::ops::Planes;

    use super::*;
    use crate::train::Clip;
    use crate::train::loss::{Distortion, Fidelity};

    /// Clips whose blocks vary in a few directions alone, which a few components hold.
    fn clip() -> Clip {
        let options = (Kind::Float, Device::Cpu);
        let directions = Tensor::randn([6, 384], options) * 0.05;
        let frame = || {
            let packed = Tensor::randn([2 * 16, 6], options).matmul(&directions).view([2, 4, 4, 384]).permute([0, 3, 1, 2]);
            codec_core::nn::ops::unpack(&packed.pixel_shuffle(2)).unwrap()
        };
        Clip { frames: (0..3).map(|_| frame()).collect() }
    }

    #[test]
    fn a_widened_model_keeps_what_it_had_and_errs_less() {
        let _generator = crate::testing::seeded(23);
        let old = ModelConfig::rt_with(0);
        let mut params = ParamStore::new();
        let narrow = Networks::init(&mut params, &old, Device::Cpu).unwrap();
        let (mut intra, mut residual) = (Moments::default(), Moments::default());
        let motion = FlowSource::Dis.open(Device::Cpu, old.luma_filter).unwrap();
        tch::no_grad(|| {
            let clip = clip();
            for _ in 0..8 {
                measure(&narrow, &motion, &clip, &[0, 8], &mut intra, &mut residual).unwrap();
            }
            let model = widened(&old, 16);
            let mut wider = widen(&params, &old, &model, [&intra, &residual]).unwrap();
            let wide = Networks::load(&mut wider, &model, Device::Cpu).unwrap();
            let frame = &clip.frames[0];
            let q = quality_tensor(&[0, 0], Device::Cpu).unwrap();
            let code = |networks: &Networks| {
                let prepared = networks.prepare(Arithmetic::Integer).unwrap();
                networks.intra_frame(&prepared, frame, &q, &mut Quantiser::Hard).unwrap()
            };
            let (before, after) = (code(&narrow), code(&wide));
            for (from, to) in [(0, 0), (32, 40)] {
                let difference = before.latent.narrow(1, from, 32) - after.latent.narrow(1, to, 32);
                // Sums of other lengths round otherwise, which now and then takes a symbol to the next one.
                let others = difference.abs().gt(1e-4).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
                assert!(others < 0.01, "{others} of the networks' channels");
            }
            let fidelity = Fidelity { kind: Distortion::Mse, chroma_weight: 1.0 };
            let error = |output: &Planes| fidelity.distortion(frame, output).unwrap().mean(Kind::Float).double_value(&[]);
            assert!(error(&after.frame) < 0.6 * error(&before.frame), "{} {}", error(&before.frame), error(&after.frame));
        });
    }

    #[test]
    fn insertion_keeps_order_within_each_half() {
        let row = |values: &[f32]| Tensor::from_slice(values).view([1, -1]);
        let wider = insert(&row(&[9.0, 1.0, 2.0, 3.0, 4.0, 8.0]), 1, 1, 4, &row(&[5.0, 6.0])).unwrap();
        assert_eq!(Vec::<f32>::try_from(wider.view([-1])).unwrap(), [9.0, 1.0, 2.0, 5.0, 3.0, 4.0, 6.0, 8.0]);
    }
}
