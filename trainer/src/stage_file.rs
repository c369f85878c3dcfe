//! A training stage in TOML: the one way from a file to what a run computes, for `train` and `schedule` alike.
//!
//! In: a table with sections. Out: a [`Plan`]. Keys that are unknown, or that mean nothing in the stage, are errors that say what to do.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use codec_core::training::nn::{PostfilterConfig, Precision};
use serde::Deserialize;
use toml::{Table, Value};

use crate::train::loss::Fidelity;
use crate::train::schedule::{Budget, Unroll, parse_seconds};
use crate::train::{FlowSource, GanLosses, InterLosses, PostfilterLosses, Stage, TrainConfig};

mod sections;

use sections::{Batch, Clip, Discriminators, Features, Losses, Motion, Optimiser, Rate, Start, WidenPostfilter};

/// What a stage trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// E_I and G_I on single frames.
    Intra,
    /// Flow and residual codec on unrolled clips, the I-branch frozen.
    Inter,
    /// G_I and G_res alone, against discriminators: the economical GAN stage.
    Detail,
    /// The filter between decoded frame and screen, on frames as the codec makes them.
    Postfilter,
    /// UFlow, without labels.
    Flow,
}

/// Keys that mean something in some stages alone, and these.
const ONLY_IN: &[(&str, &[Kind])] = {
    use Kind::{Detail, Inter, Intra, Postfilter};
    let coded = &[Intra, Inter, Detail, Postfilter];
    &[
        ("start.residual-from-intra", &[Inter]),
        ("start.complete-linear", &[Intra, Inter]),
        ("start.intra-prediction", &[Intra]),
        ("start.context", &[Inter, Detail]),
        ("start.fresh-postfilter", &[Postfilter]),
        ("start.widen-postfilter", &[Postfilter]),
        ("start.recurrent-postfilter", &[Postfilter]),
        ("optimiser.transform-rate", coded),
        ("optimiser.entropy-alone", &[Intra, Inter]),
        ("optimiser.keep-free-latent", &[Intra]),
        ("clip.unroll", &[Inter, Detail]),
        ("clip.shift", &[Inter, Detail]),
        ("clip.lead-in", &[Inter, Detail, Postfilter]),
        ("clip.intra-offset", &[Inter]),
        ("clip.quality-swing", &[Inter]),
        ("motion.flow", &[Inter, Detail, Postfilter]),
        ("rate.target-bpp", &[Intra, Inter, Detail]),
        ("losses.distortion", coded),
        ("losses.chroma-weight", coded),
        ("losses.drift", &[Inter]),
        ("losses.blur", &[Inter]),
        ("losses.flow", &[Inter]),
        ("losses.warp", &[Inter]),
        ("losses.pattern", &[Postfilter]),
        ("losses.consistency", &[Postfilter]),
        ("losses.adversarial", coded),
        ("losses.feature-matching", coded),
        ("losses.lpips", coded),
        ("losses.texture", coded),
        ("losses.statistics", coded),
        ("features", coded),
        ("features.frames", &[Detail]),
        ("discriminators", coded),
    ]
};

/// A stage as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StageFile {
    /// Of the stage and its folder, in a schedule.
    pub name: Option<String>,
    /// Stage to start from in place of the one before, in a schedule.
    pub from: Option<String>,
    pub kind: Kind,
    /// Length in steps.
    pub steps: Option<u64>,
    /// Length in wall-clock time over all runs that continue it: 90s, 20m, 4h.
    pub time_budget: Option<String>,
    /// What the networks that learn are computed in.
    #[serde(default)]
    precision: FilePrecision,
    #[serde(default)]
    start: Start,
    #[serde(default)]
    batch: Batch,
    #[serde(default)]
    optimiser: Optimiser,
    #[serde(default)]
    clip: Clip,
    #[serde(default)]
    pub motion: Motion,
    #[serde(default)]
    rate: Rate,
    #[serde(default)]
    losses: Losses,
    #[serde(default)]
    features: Features,
    #[serde(default)]
    discriminators: Discriminators,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FilePrecision {
    /// 32-bit floats.
    #[default]
    Full,
    /// Convolutions inside the transforms in bfloat16: for GPUs that have it (Ampere and later).
    Mixed,
    /// Weights and activations rounded as the integer engine does, so that training makes up for it. It starts from an exported model,
    /// which has been calibrated.
    Integers,
}

/// What concerns the machine and the run, and no file.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Single-threaded replicas.
    pub workers: usize,
    pub seed: u64,
}

/// What a stage does before its first step, and in each.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub config: TrainConfig,
    pub start: StartPlan,
    /// Bits per pixel at qualities 0 and 63 that the rate controller holds.
    pub target_bpp: Option<(f64, f64)>,
}

/// What becomes of the networks that a stage starts from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StartPlan {
    /// Start the residual branch from the I-branch, as the article does.
    pub residual_from_intra: bool,
    /// Give both branches all linear channels, and their blocks a choice of transforms.
    pub complete_linear: bool,
    /// Let I-frames predict luma.
    pub intra_prediction: bool,
    /// Let G_res see the packed prediction, where that of the initial model does not.
    pub context: bool,
    /// The stage needs a postfilter: a model without one gets a fresh one.
    pub needs_postfilter: bool,
    /// A fresh postfilter in place of the model's own.
    pub fresh_postfilter: Option<PostfilterConfig>,
    /// A larger postfilter that starts as the model's own.
    pub widen_postfilter: Option<WidenPostfilter>,
    /// Let the filter see the frame shown before, where the initial model's filter does not.
    pub recurrent_postfilter: bool,
}

/// What a section says goes before what `common` says, key by key.
fn merged(common: &Table, own: &Table) -> Table {
    let mut out = common.clone();
    for (key, value) in own {
        match (out.get_mut(key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => *below = merged(below, above),
            _ => drop(out.insert(key.clone(), value.clone())),
        }
    }
    // A stage that says its length one way has no other.
    for (one, other) in [("steps", "time-budget"), ("time-budget", "steps")] {
        if own.contains_key(one) && !own.contains_key(other) {
            out.remove(other);
        }
    }
    out
}

/// The stages that a key is for; `None` for all.
fn stages_of(key: &str) -> Option<&'static [Kind]> {
    ONLY_IN.iter().find(|(name, _)| *name == key).map(|(_, kinds)| *kinds)
}

impl StageFile {
    /// Reads the file of a single stage.
    ///
    /// # Errors
    /// Naming the file, the key and the cure.
    pub fn read(path: &Path) -> Result<Self> {
        let in_file = || format!("stage {}", path.display());
        let text = std::fs::read_to_string(path).with_context(in_file)?;
        let table: Table = toml::from_str(&text).with_context(in_file)?;
        if table.contains_key("stage") {
            bail!("{}: it holds several stages; run them with the subcommand schedule", path.display());
        }
        let file = Self::from_tables(&Table::new(), &table).with_context(in_file)?;
        if file.from.is_some() {
            bail!("{}: from names a stage of a schedule; give --init FILE", path.display());
        }
        if file.motion.flow.as_deref().is_some_and(|flow| flow.starts_with('@')) {
            bail!("{}: motion.flow names a stage of a schedule; name a checkpoint", path.display());
        }
        Ok(file)
    }

    /// A stage of its own table and of what all stages of a schedule have in common. Of the latter, it takes what it has a use for.
    ///
    /// # Errors
    /// Naming the key and the cure.
    pub fn from_tables(common: &Table, own: &Table) -> Result<Self> {
        let known: Self = merged(common, own).try_into().context("a key or value is not one of a stage's")?;
        for (section, value) in own {
            known.refuse_meaningless(section)?;
            for key in value.as_table().into_iter().flat_map(Table::keys) {
                known.refuse_meaningless(&format!("{section}.{key}"))?;
            }
        }
        Ok(known)
    }

    /// Whether the stage has a use for a key.
    fn uses(&self, key: &str) -> bool {
        stages_of(key).is_none_or(|kinds| kinds.contains(&self.kind))
    }

    fn refuse_meaningless(&self, key: &str) -> Result<()> {
        if let Some(kinds) = stages_of(key).filter(|_| !self.uses(key)) {
            let names: Vec<String> = kinds.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect();
            let own = format!("{:?}", self.kind).to_lowercase();
            bail!("{key} means nothing in a stage of kind {own}, only in {}: leave it out", names.join(", "));
        }
        Ok(())
    }

    /// Its length.
    ///
    /// # Errors
    /// Where there is none, or two.
    pub fn budget(&self) -> Result<Budget> {
        match (self.steps, &self.time_budget) {
            (Some(0), None) => bail!("steps: a stage has one at least"),
            (Some(steps), None) => Ok(Budget::Steps(steps)),
            (None, Some(text)) => Ok(Budget::Seconds(parse_seconds(text).map_err(anyhow::Error::msg).context("time-budget")?)),
            (None, None) => bail!("no length: say steps = N or time-budget = \"20m\""),
            (Some(_), Some(_)) => bail!("steps and time-budget are two lengths: leave one out"),
        }
    }

    /// What the stage does for as long as `budget`.
    ///
    /// # Errors
    /// Naming the key of a value that cannot be, and the cure.
    pub fn plan(&self, budget: Budget, machine: Machine) -> Result<Plan> {
        let (batch, optimiser) = (&self.batch, &self.optimiser);
        batch.check()?;
        optimiser.check()?;
        self.clip.check()?;
        ensure!(
            self.start.fresh_postfilter.is_none() || self.start.widen_postfilter.is_none(),
            "start.fresh-postfilter and start.widen-postfilter are two filters to start with: leave one out"
        );
        let gan = self.gan_losses()?;
        if self.kind == Kind::Postfilter && gan.is_off() {
            bail!(
                "distortion alone would switch the postfilter off: set features.lpips-weights, losses.adversarial or losses.statistics"
            );
        }
        let config = TrainConfig {
            stage: self.stage()?,
            budget,
            fidelity: Fidelity {
                kind: self.losses.distortion.unwrap_or_default(),
                chroma_weight: self.losses.chroma_weight.unwrap_or(1.0),
            },
            learning_rate: optimiser.learning_rate,
            discriminator_rate: self.discriminators.rate,
            transform_rate: optimiser.transform_rate,
            gan,
            flow: self.motion.flow.as_deref().map_or(FlowSource::Model, FlowSource::from),
            ema_decay: optimiser.ema,
            batch: batch.clips,
            crop: batch.crop,
            photo_share: batch.photo_share,
            graphics_share: batch.graphics_share,
            entropy_alone: optimiser.entropy_alone && self.uses("optimiser.entropy-alone"),
            keep_free_latent: optimiser.keep_free_latent && self.uses("optimiser.keep-free-latent"),
            precision: match self.precision {
                FilePrecision::Full => Precision::Full,
                FilePrecision::Mixed => Precision::Mixed,
                FilePrecision::Integers => Precision::Simulated,
            },
            workers: machine.workers.max(1),
            seed: machine.seed,
        };
        Ok(Plan { config, start: self.start_plan(), target_bpp: self.rate.target()?.filter(|_| self.uses("rate.target-bpp")) })
    }

    fn stage(&self) -> Result<Stage> {
        let (clip, losses, defaults) = (&self.clip, &self.losses, InterLosses::default());
        let unroll = || Unroll::parse(&clip.unroll).context("clip.unroll");
        Ok(match self.kind {
            Kind::Intra => Stage::Intra,
            Kind::Inter => Stage::Inter {
                unroll: unroll()?,
                losses: InterLosses {
                    shift: clip.shift,
                    drift: losses.drift.unwrap_or(defaults.drift),
                    sigma: losses.blur.unwrap_or(defaults.sigma),
                    flow: losses.flow.unwrap_or(defaults.flow),
                    warp: losses.warp.unwrap_or(defaults.warp),
                    intra_offset: clip.intra_offset,
                    swing: clip.quality_swing,
                    lead_in: clip.lead_in,
                    ..defaults
                },
            },
            Kind::Detail => Stage::Detail { unroll: unroll()?, shift: clip.shift, lead_in: clip.lead_in },
            Kind::Postfilter => {
                let defaults = PostfilterLosses::default();
                let losses = PostfilterLosses {
                    pattern: losses.pattern.unwrap_or(defaults.pattern),
                    consistency: losses.consistency.unwrap_or(defaults.consistency),
                };
                Stage::Postfilter { lead_in: clip.lead_in, losses }
            }
            Kind::Flow => Stage::Flow,
        })
    }

    /// Whether the stage starts the residual branch anew.
    pub fn replaces_residual(&self) -> bool {
        self.start_plan().residual_from_intra
    }

    fn start_plan(&self) -> StartPlan {
        let start = &self.start;
        let fresh = start.fresh_postfilter.filter(|_| self.uses("start.fresh-postfilter"));
        StartPlan {
            residual_from_intra: start.residual_from_intra && self.uses("start.residual-from-intra"),
            complete_linear: start.complete_linear && self.uses("start.complete-linear"),
            intra_prediction: start.intra_prediction && self.uses("start.intra-prediction"),
            context: start.context && self.uses("start.context"),
            needs_postfilter: self.kind == Kind::Postfilter,
            fresh_postfilter: fresh.map(sections::FreshPostfilter::config),
            widen_postfilter: start.widen_postfilter.filter(|_| self.uses("start.widen-postfilter")),
            recurrent_postfilter: start.recurrent_postfilter && self.uses("start.recurrent-postfilter"),
        }
    }

    /// Losses beside rate and distortion. Some stages have defaults of their own.
    fn gan_losses(&self) -> Result<GanLosses> {
        let (losses, features, judges) = (&self.losses, &self.features, &self.discriminators);
        let defaults = match self.kind {
            Kind::Detail => GanLosses::detail(),
            Kind::Postfilter => GanLosses::postfilter(),
            Kind::Intra | Kind::Inter | Kind::Flow => GanLosses::default(),
        };
        if self.kind == Kind::Flow {
            return Ok(GanLosses { width: judges.width, ..defaults });
        }
        ensure!(judges.width >= 1, "discriminators.width: 1 at least");
        ensure!(features.frames != Some(0), "features.frames: 1 at least, or leave it out for all");
        let where_known = |weight: f64, known: bool| if known { weight } else { 0.0 };
        let has_lpips = features.lpips_weights.is_some();
        let has_texture = has_lpips || features.texture_weights.is_some();
        Ok(GanLosses {
            adversarial: losses.adversarial.unwrap_or(defaults.adversarial),
            feature_matching: losses.feature_matching.unwrap_or(defaults.feature_matching),
            lpips: losses.lpips.unwrap_or(where_known(defaults.lpips, has_lpips)),
            texture: losses.texture.unwrap_or(where_known(defaults.texture, has_texture)),
            statistics: losses.statistics.unwrap_or(defaults.statistics),
            conditional: judges.conditional,
            width: judges.width,
            half_discriminators: judges.half,
            lpips_weights: features.lpips_weights.clone(),
            texture_weights: features.texture_weights.clone(),
            dists_weights: features.dists_weights.clone(),
            half_features: features.half,
            deep_frames: features.frames.filter(|_| self.uses("features.frames")).map(|count| count as usize),
            split_deep: features.split,
        })
    }
}

#[cfg(test)]
mod tests;
