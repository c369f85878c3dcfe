//! The adversarial side of training: discriminators, and the losses that make detail look real.

mod discriminator;
mod statistics;
mod watch;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result};
use codec_core::training::nn::ops::Planes;
use codec_core::training::nn::params::Builder;
use codec_core::training::nn::{ModelConfig, Network, ParamStore};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

pub use discriminator::{Discriminator, Verdict};
pub use statistics::statistics_loss;
pub use watch::DivergenceWatch;

use super::step::Metrics;
use crate::perceptual::{Dists, Lpips, to_rgb};

/// Weights of the losses beside rate and distortion. A weight of 0 switches a loss off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GanLosses {
    /// Non-saturating adversarial loss.
    pub adversarial: f64,
    /// L1 between the discriminator's features of real and decoded frames.
    pub feature_matching: f64,
    pub lpips: f64,
    /// Similarity of structure and texture of deep features in the form of DISTS, on the network of LPIPS.
    pub texture: f64,
    /// Local statistics, see [`statistics_loss`].
    pub statistics: f64,
    /// The discriminators see the latent.
    pub conditional: bool,
    /// Width of the discriminators' first layer: 64 in the article, half of it for the `rt` profile.
    pub width: i64,
    /// The discriminators are computed in bfloat16.
    pub half_discriminators: bool,
    /// Weights file of LPIPS, for it and the texture loss.
    pub lpips_weights: Option<PathBuf>,
    /// Weights file of another network for the texture loss.
    pub texture_weights: Option<PathBuf>,
    /// Weights file of DISTS: the texture loss is the metric itself, not its form with every channel alike.
    pub dists_weights: Option<PathBuf>,
    /// Deep features are computed in bfloat16.
    pub half_features: bool,
    /// Frames of a clip that the losses on deep features are taken of in the stage `detail`, drawn anew for each step and
    /// counted for all; `None`: every frame.
    pub deep_frames: Option<usize>,
    /// LPIPS sees the first half of a batch and texture the second: half of the time a step.
    pub split_deep: bool,
}

impl Default for GanLosses {
    /// Everything off.
    fn default() -> Self {
        Self {
            adversarial: 0.0,
            feature_matching: 0.0,
            lpips: 0.0,
            texture: 0.0,
            statistics: 0.0,
            conditional: true,
            width: 32,
            half_discriminators: false,
            lpips_weights: None,
            texture_weights: None,
            dists_weights: None,
            half_features: false,
            deep_frames: None,
            split_deep: false,
        }
    }
}

impl GanLosses {
    /// Weights of the economical stage.
    pub fn detail() -> Self {
        Self { adversarial: 0.06, feature_matching: 0.1, lpips: 1.0, texture: 4.0, statistics: 2.0, ..Self::default() }
    }

    /// Weights of the stage `postfilter`, which has no discriminators unless asked for.
    pub fn postfilter() -> Self {
        Self { lpips: 4.0, texture: 12.0, ..Self::default() }
    }

    /// Whether discriminators are trained.
    pub fn has_discriminators(&self) -> bool {
        self.adversarial > 0.0 || self.feature_matching > 0.0
    }

    /// Whether rate and distortion are all there is.
    pub fn is_off(&self) -> bool {
        !self.has_discriminators() && self.lpips <= 0.0 && self.texture <= 0.0 && self.statistics <= 0.0
    }
}

/// Which discriminator judges a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    /// D_I, conditioned on the I-frame's latent.
    Intra,
    /// D_P, conditioned on the residual latent.
    Inter,
}

/// A decoded frame beside the original.
pub struct Judged<'a> {
    pub judge: Judge,
    pub target: &'a Planes,
    pub output: &'a Planes,
    /// What a conditional discriminator sees beside them.
    pub latent: &'a Tensor,
    /// How often the costly losses on deep features count here, 0 to leave them out.
    pub deep: f64,
}

impl Judged<'_> {
    /// The losses of a frame whose residual was coded with a circular shift: the latent belongs to the shifted frame.
    pub fn shifted(self, adversary: &Adversary, (dy, dx): (i64, i64), metrics: &mut Metrics) -> Result<Tensor> {
        let (target, output) = (&self.target.rolled(dy, dx)?, &self.output.rolled(dy, dx)?);
        adversary.losses(Judged { target, output, ..self }, metrics)
    }
}

/// Discriminators and perceptual networks of one replica.
pub struct Adversary {
    losses: GanLosses,
    intra: Option<Discriminator>,
    inter: Option<Discriminator>,
    lpips: Option<Rc<Lpips>>,
    texture: Option<Dists>,
}

impl Adversary {
    /// Builds what `losses` ask for on the parameters of `store`, creating those that are missing. `None` if all is off.
    ///
    /// # Errors
    /// If LPIPS or texture has a weight but no file.
    pub fn new(store: &mut ParamStore, model: &ModelConfig, losses: &GanLosses, device: Device) -> Result<Option<Self>> {
        if losses.is_off() {
            return Ok(None);
        }
        let own_texture = losses.texture > 0.0 && losses.texture_weights.is_some();
        let shared = losses.lpips > 0.0 || losses.texture > 0.0 && !own_texture;
        let load = |path: &Option<PathBuf>| load_lpips(path.as_deref(), losses.half_features, device);
        let features = shared.then(|| load(&losses.lpips_weights)).transpose()?;
        let of_texture = if own_texture { Some(load(&losses.texture_weights)?) } else { features.clone() };
        let mut builder = Builder::init(store, device);
        let mut discriminator = |network: Network, latent: i64| -> Result<Option<Discriminator>> {
            let condition = losses.conditional.then_some(latent);
            let make = || -> Result<Discriminator> {
                let full = Discriminator::new(builder.network(network), condition, losses.width)?;
                Ok(if losses.half_discriminators { full.in_bfloat16() } else { full })
            };
            losses.has_discriminators().then(make).transpose()
        };
        Ok(Some(Self {
            intra: discriminator(Network::IntraDiscriminator, model.intra.latent)?,
            inter: discriminator(Network::InterDiscriminator, model.residual.latent)?,
            texture: match &of_texture {
                Some(network) if losses.texture > 0.0 => Some(texture_loss(network, losses, device)?),
                _ => None,
            },
            lpips: features.filter(|_| losses.lpips > 0.0),
            losses: losses.clone(),
        }))
    }

    /// How many of `frames` frames the losses on deep features are taken of.
    pub fn deep_frames(&self, frames: usize) -> usize {
        self.losses.deep_frames.map_or(frames, |count| count.clamp(1, frames))
    }

    /// Examples of a batch that LPIPS sees, and those that texture sees.
    fn deep_parts(&self, batch: i64) -> [Range<i64>; 2] {
        if self.losses.split_deep && batch > 1 { [0..batch / 2, batch / 2..batch] } else { [0..batch, 0..batch] }
    }

    /// The losses of a decoded frame.
    ///
    /// One backward pass serves both sides: the generator's part sees frozen discriminators, the discriminator's part sees
    /// detached frames.
    pub fn losses(&self, judged: Judged, metrics: &mut Metrics) -> Result<Tensor> {
        let Judged { judge, target, output, latent, deep } = judged;
        let mut total = Tensor::zeros([], (Kind::Float, target.y.device()));
        let mut add = |weight: f64, loss: &Tensor, name: &'static str, metrics: &mut Metrics| -> Result<()> {
            metrics.push((name, loss.detach()));
            total = total.f_add(&loss.f_mul_scalar(weight)?)?;
            Ok(())
        };
        let (real, fake) = (to_rgb(target)?, to_rgb(output)?);
        let [first, second] = self.deep_parts(real.size()[0]);
        let part = |x: &Tensor, of: &Range<i64>| x.f_narrow(0, of.start, of.end - of.start);
        if let (Some(lpips), true) = (&self.lpips, deep > 0.0) {
            let distance = lpips.distance(&part(&real, &first)?, &part(&fake, &first)?)?;
            add(deep * self.losses.lpips, &distance.f_mean(Kind::Float)?, "lpips", metrics)?;
        }
        if let (Some(texture), true) = (&self.texture, deep > 0.0) {
            let distance = texture.distance(&part(&real, &second)?, &part(&fake, &second)?)?;
            add(deep * self.losses.texture, &distance.f_mean(Kind::Float)?, "texture", metrics)?;
        }
        if self.losses.statistics > 0.0 {
            let loss = statistics_loss(&target.y, &output.y)?.f_mean(Kind::Float)?;
            add(self.losses.statistics, &loss, "statistics", metrics)?;
        }
        let discriminator = match judge {
            Judge::Intra => &self.intra,
            Judge::Inter => &self.inter,
        };
        let Some(discriminator) = discriminator else { return Ok(total) };
        let of_real = discriminator.forward(&real, latent, false)?;
        let of_fake = discriminator.forward(&fake.detach(), latent, false)?;
        let through = discriminator.forward(&fake, latent, true)?;
        if self.losses.adversarial > 0.0 {
            add(self.losses.adversarial, &softplus(&through.logits.f_neg()?)?, "loss_generator", metrics)?;
        }
        if self.losses.feature_matching > 0.0 {
            add(self.losses.feature_matching, &feature_matching(&of_real, &through)?, "feature_matching", metrics)?;
        }
        let loss = softplus(&of_real.logits.f_neg()?)?.f_add(&softplus(&of_fake.logits)?)?.f_mul_scalar(0.5)?;
        add(1.0, &loss, "loss_discriminator", metrics)?;
        Ok(total)
    }
}

/// DISTS where its weights are given, or else its form with every channel alike.
fn texture_loss(network: &Rc<Lpips>, losses: &GanLosses, device: Device) -> Result<Dists> {
    match &losses.dists_weights {
        Some(path) => Dists::load(path, network, device),
        None => Dists::even(network, device),
    }
}

fn load_lpips(path: Option<&Path>, half: bool, device: Device) -> Result<Rc<Lpips>> {
    let path = path.context(
        "the losses on deep features need weights: set features.lpips-weights, or losses.lpips = 0 and losses.texture = 0",
    )?;
    let network = Lpips::load(path, device)?;
    Ok(Rc::new(if half { network.in_bfloat16()? } else { network }))
}

/// mean ln(1 + e^x): the non-saturating loss of either side.
fn softplus(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_softplus()?.f_mean(Kind::Float)?)
}

fn feature_matching(real: &Verdict, fake: &Verdict) -> Result<Tensor> {
    let mut total: Option<Tensor> = None;
    for (a, b) in real.features.iter().zip(&fake.features) {
        let difference = a.detach().f_sub(b)?.f_abs()?.f_mean(Kind::Float)?;
        total = Some(match total {
            Some(sum) => sum.f_add(&difference)?,
            None => difference,
        });
    }
    Ok(total.expect("a discriminator has layers"))
}

#[cfg(test)]
mod tests;
