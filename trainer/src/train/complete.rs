//! From a model with some linear channels to one with all of them, whose blocks choose their transforms.

use anyhow::{Result, ensure};
use codec_core::training::architecture::linear::{COMPLETE, Frequency, frequencies};
use codec_core::training::nn::{ModelConfig, Networks, ParamStore, Profile, TransformConfig};
use tch::{Device, Kind, Tensor};

use super::checkpoint::Checkpoint;

/// Added to what the entropy model's last layer says of the scale of a new channel: beyond the frequencies that the channel has it
/// from, there is less.
const FEWER: f64 = -0.3;
/// Scale of new functions in the analysis; its inverse in the synthesis. About what learned ones have.
const ANALYSIS: f64 = 1.07;
/// Knots of the gains, of 8, from which on models that learned with noise give up luma's high frequencies, and squares of the frequencies
/// whose gains take over there.
const GIVEN_UP: i64 = 5;
const STEADY: std::ops::RangeInclusive<usize> = 9..=16;

/// Where the channels of an old latent lie in a new one, and which old ones the new ones are like.
struct Places {
    /// New channel of each old one.
    latent: Vec<i64>,
    linear: Vec<i64>,
    /// For each new latent channel the old one that it is like: itself, or the nearest in frequency.
    like: Vec<i64>,
    /// New channels that the old latent did not have.
    fresh: Vec<i64>,
    /// Old channels of luma's frequencies within [`STEADY`], and new channels of higher ones.
    steady: Vec<i64>,
    high: Vec<i64>,
}

impl Places {
    fn new(old: &TransformConfig) -> Self {
        let (count, nonlinear) = (old.linear as usize, old.nonlinear() as usize);
        let before = frequencies(count);
        let after = frequencies(COMPLETE);
        let latent_of = |linear: usize, count: usize| {
            let half = count / 2;
            nonlinear / 2 + linear + if linear >= half { nonlinear / 2 } else { 0 }
        };
        let place = |f: &Option<Frequency>| after.iter().position(|g| g == f).expect("a complete transform has every function");
        let linear: Vec<usize> = before.iter().map(place).collect();
        let mut latent = vec![0; nonlinear + count];
        let mut like = vec![-1; nonlinear + COMPLETE];
        let halves = [(0, 0), (nonlinear / 2 + count / 2, nonlinear / 2 + COMPLETE / 2)];
        for (old, new) in halves {
            (0..nonlinear / 2).for_each(|i| latent[old + i] = new + i);
        }
        linear.iter().enumerate().for_each(|(old, &new)| latent[latent_of(old, count)] = latent_of(new, COMPLETE));
        latent.iter().enumerate().for_each(|(old, &new)| like[new] = old as i64);
        for (new, frequency) in after.iter().enumerate() {
            let to = &mut like[latent_of(new, COMPLETE)];
            if *to >= 0 {
                continue;
            }
            let f = frequency.expect("a complete transform has no more channels than functions");
            let distance = |g: &Frequency| g.row.abs_diff(f.row).pow(2) + g.col.abs_diff(f.col).pow(2);
            // A plane that had no channel takes the nearest of another.
            let near = before.iter().enumerate().filter_map(|(i, g)| g.map(|g| (g.plane != f.plane, distance(&g), i)));
            *to = latent_of(near.min().expect("there are linear channels").2, count) as i64;
        }
        let known: std::collections::HashSet<usize> = latent.iter().copied().collect();
        let fresh = (0..nonlinear + COMPLETE).filter(|c| !known.contains(c)).map(|c| c as i64).collect();
        let square = |f: &Option<Frequency>| f.filter(|f| f.plane == 0).map(|f| f.row * f.row + f.col * f.col);
        let of = |all: &[Option<Frequency>], wanted: &dyn Fn(usize) -> bool| {
            let found = all.iter().enumerate().filter(|(_, f)| square(f).is_some_and(wanted));
            found.map(|(i, _)| latent_of(i, all.len()) as i64).collect()
        };
        let (steady, high) = (of(&before, &|s| STEADY.contains(&s)), of(&after, &|s| s > *STEADY.end()));
        let numbers = |places: Vec<usize>| places.into_iter().map(|p| p as i64).collect();
        Self { latent: numbers(latent), linear: numbers(linear), like, fresh, steady, high }
    }
}

/// Copies `old` to the places of `target` along a dimension, from `first` on in both.
fn place(target: &Tensor, old: &Tensor, dim: i64, first: i64, places: &[i64]) -> Result<()> {
    let index = Tensor::f_from_slice(places)?.f_add_scalar(first)?;
    let _ = target.shallow_clone().f_index_copy_(dim, &index, &old.f_narrow(dim, first, places.len() as i64)?)?;
    Ok(())
}

/// The start of a parameter of a complete branch, named `name` in it, from the old one. `fresh`: as a new network starts.
fn started(name: &str, old: &Tensor, fresh: &Tensor, places: &Places) -> Result<Tensor> {
    let rest = |dim: i64, first: i64, places: i64| -> Result<Option<Tensor>> {
        let size = old.size()[dim as usize] - first - places;
        Ok(if size > 0 { Some(old.f_narrow(dim, first + places, size)?) } else { None })
    };
    let latent = places.latent.len() as i64;
    let wide = places.like.len() as i64;
    let out = fresh.copy();
    match name {
        "analysis.linear.weight" | "synthesis.linear.weight" => {
            let (dim, scale) = if name.starts_with('a') { (0, ANALYSIS) } else { (1, 1.0 / ANALYSIS) };
            let out = out.f_mul_scalar(scale)?;
            place(&out, old, dim, 0, &places.linear)?;
            return Ok(out);
        }
        "analysis.linear.bias" => place(&out, old, 0, 0, &places.linear)?,
        "coder.encoder_gain.knots" | "coder.decoder_gain.knots" => {
            let like = old.f_index_select(1, &Tensor::f_from_slice(&places.like)?)?;
            let knots = like.size()[0] - GIVEN_UP;
            let late = old.f_narrow(0, GIVEN_UP, knots)?.f_index_select(1, &Tensor::f_from_slice(&places.steady)?)?;
            let gains = late.f_mean_dim(&[1i64][..], true, Kind::Float)?.f_expand([knots, places.high.len() as i64], false)?;
            let _ = like.f_narrow(0, GIVEN_UP, knots)?.f_index_copy_(1, &Tensor::f_from_slice(&places.high)?, &gains)?;
            return Ok(like);
        }
        "coder.entropy.ha0.weight" => {
            let out = out.f_zeros_like()?;
            place(&out, old, 1, 0, &places.latent)?;
            return Ok(out);
        }
        "coder.entropy.p1a.weight" | "coder.entropy.p2a.weight" | "synthesis.input.weight" => {
            let out = out.f_zeros_like()?;
            // Inputs: features, if any, then a latent, if any, then others.
            let features = match name {
                "synthesis.input.weight" => 0,
                "coder.entropy.p1a.weight" => out.size()[1] - 2 - if old.size()[1] > latent { wide } else { 0 },
                _ => old.size()[1] - latent,
            };
            if features > 0 {
                out.f_narrow(1, 0, features)?.f_copy_(&old.f_narrow(1, 0, features)?)?;
            }
            if old.size()[1] - features >= latent {
                place(&out, old, 1, features, &places.latent)?;
                if let Some(others) = rest(1, features, latent)? {
                    out.f_narrow(1, features + wide, others.size()[1])?.f_copy_(&others)?;
                }
            }
            return Ok(out);
        }
        "coder.entropy.h1.weight" | "coder.entropy.h2.weight" | "coder.entropy.h1.bias" | "coder.entropy.h2.bias" => {
            let index = Tensor::f_from_slice(&places.like)?;
            let of = |first: i64| -> Result<Tensor> { Ok(old.f_narrow(0, first, latent)?.f_index_select(0, &index)?) };
            let (means, scales) = (of(0)?, of(latent)?);
            let fresh = Tensor::f_from_slice(&places.fresh)?;
            let _ = means.shallow_clone().f_index_fill_(0, &fresh, 0.0)?;
            if name.ends_with("bias") {
                let fewer = Tensor::f_full([places.fresh.len() as i64], FEWER, (Kind::Float, Device::Cpu))?;
                let _ = scales.shallow_clone().f_index_add_(0, &fresh, &fewer)?;
            }
            return Ok(Tensor::f_cat(&[means, scales], 0)?);
        }
        _ => ensure!(false, "{name}: {:?} became {:?}, which is not expected", old.size(), fresh.size()),
    }
    Ok(out)
}

impl Checkpoint {
    /// Gives the I-branch and the residual branch all linear channels, and their blocks a choice of transforms. New channels start as a
    /// DCT, with the probabilities of the nearest old ones.
    ///
    /// # Errors
    /// If the model is of another profile, or its parameters do not fit.
    pub fn complete_linear(&mut self) -> Result<()> {
        let old = self.progress.model.clone();
        ensure!(old.profile == Profile::Rt, "start.complete-linear: models of the paper profile have no linear channels");
        let complete = COMPLETE as i64;
        ensure!(
            old.intra.linear > 0 && old.residual.linear > 0,
            "start.complete-linear: the initial model has no linear channels"
        );
        if old.intra.linear == complete && old.residual.linear == complete {
            return Ok(());
        }
        let mut new: ModelConfig = old.clone();
        for (transform, entropy) in [(&mut new.intra, &mut new.intra_entropy), (&mut new.residual, &mut new.residual_entropy)] {
            transform.latent += complete - transform.linear;
            transform.linear = complete;
            entropy.channels = transform.latent as usize;
            entropy.transforms = true;
        }
        let mut before = self.averaged_params();
        Networks::load(&mut before, &old, Device::Cpu)?;
        let mut after = ParamStore::new();
        Networks::init(&mut after, &new, Device::Cpu)?;
        let mut values = Vec::new();
        tch::no_grad(|| -> Result<()> {
            for (name, fresh) in after.iter() {
                let Some(was) = before.get(name) else { continue };
                let transform = if name.starts_with("intra.") { &old.intra } else { &old.residual };
                let value = match name.split_once('.') {
                    Some((_, part)) if was.size() != fresh.size() => started(part, was, fresh, &Places::new(transform))?,
                    _ => was.copy(),
                };
                ensure!(value.size() == fresh.size(), "{name}: {:?} became {:?}", fresh.size(), value.size());
                values.push((name.to_owned(), value));
            }
            Ok(())
        })?;
        self.become_model(new, values);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use codec_core::training::nn::codec::quality_tensor;

    use super::*;
    use crate::train::starting_point;

    #[test]
    fn old_channels_keep_their_meaning_and_new_ones_start_silent() {
        let _generator = crate::testing::seeded(8);
        let old = ModelConfig::rt_with(8, 128);
        let mut params = ParamStore::new();
        let before = Networks::init(&mut params, &old, Device::Cpu).unwrap();
        let mut checkpoint = starting_point(old.clone(), &params);
        checkpoint.complete_linear().unwrap();
        let new = checkpoint.progress.model.clone();
        assert_eq!((new.residual.linear, new.residual.latent, new.residual_entropy.channels), (384, 448, 448));
        assert!(new.intra_entropy.transforms && new.residual_entropy.transforms);
        let mut completed = checkpoint.raw_params();
        let after = Networks::load(&mut completed, &new, Device::Cpu).unwrap();

        let places = Places::new(&old.intra);
        let index = Tensor::from_slice(&places.latent);
        let q = quality_tensor(&[20], Device::Cpu).unwrap();
        let packed = Tensor::rand([1, 96, 8, 8], (Kind::Float, Device::Cpu)) - 0.5;
        let y = before.intra.analysis.forward(&packed, &q).unwrap();
        let wide = after.intra.analysis.forward(&packed, &q).unwrap();
        let same = |a: &Tensor, b: &Tensor| assert!((a - b).abs().max().double_value(&[]) < 1e-4);
        same(&wide.index_select(1, &index), &y);
        // New channels take part in the linear synthesis alone, so their absence changes nothing.
        let alone = Tensor::zeros([1, 448, 4, 4], (Kind::Float, Device::Cpu)).index_copy(1, &index, &y);
        same(&after.intra.synthesis.forward(&alone, &q).unwrap(), &before.intra.synthesis.forward(&y, &q).unwrap());
        checkpoint.complete_linear().unwrap();
        assert_eq!(checkpoint.progress.model, new);
    }

    #[test]
    fn models_without_linear_channels_are_refused() {
        let _generator = crate::testing::seeded(14);
        let mut params = ParamStore::new();
        Networks::init(&mut params, &crate::train::fixtures::small_paper(), Device::Cpu).unwrap();
        let error = starting_point(crate::train::fixtures::small_paper(), &params).complete_linear().unwrap_err().to_string();
        assert!(error.contains("start.complete-linear"), "{error}");
    }
}
