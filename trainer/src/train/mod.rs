//! Staged training: data-parallel steps, checkpoints, validation.

mod accumulate;
pub mod batch;
pub mod checkpoint;
mod complete;
mod detail;
pub mod device;
#[cfg(test)]
pub mod fixtures;
mod flow_step;
pub mod gan;
mod group;
mod intra_prediction;
mod log;
pub mod loss;
mod motion;
mod noise;
mod optimiser;
mod rate;
mod readings;
mod run;
pub mod schedule;
pub mod selftest;
mod step;
mod validate;
mod widen;
mod worker;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use codec_core::training::nn::{ModelConfig, Network, ParamStore, Part, Precision, Role};
use serde::{Deserialize, Serialize};

pub use device::Hardware;
pub use gan::GanLosses;
pub use motion::FlowSource;
pub use step::{InterLosses, PostfilterLosses};

use checkpoint::{Checkpoint, Progress};
use group::Group;
use rate::RateController;
use run::Run;
use schedule::{Budget, Unroll};

/// What is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// E_I, G_I and their entropy model, on single frames.
    Intra,
    /// Flow and residual branches over unrolled clips; the I-branch is frozen.
    Inter { unroll: Unroll, losses: InterLosses },
    /// G_I and G_res alone, over unrolled clips: the economical GAN stage. `shift`: share of frames with a random shift.
    /// `lead_in`: most frames between the I-frame and the P-frames that are learned from.
    Detail { unroll: Unroll, shift: f64, lead_in: u32 },
    /// The postfilter alone, on decoded frames. `lead_in`: most P-frames before the one that is learned from, beside the
    /// I-frame.
    Postfilter {
        lead_in: u32,
        #[serde(flatten)]
        losses: PostfilterLosses,
    },
    /// UFlow, without labels.
    Flow,
}

impl Stage {
    fn name(&self) -> &'static str {
        match self {
            Self::Intra => "intra",
            Self::Inter { .. } => "inter",
            Self::Detail { .. } => "detail",
            Self::Postfilter { .. } => "postfilter",
            Self::Flow => "flow",
        }
    }

    /// Whether what plays this role learns in this stage.
    fn trains(&self, role: Role) -> bool {
        let network = role.network;
        match self {
            Self::Intra => matches!(network, Network::Intra | Network::IntraDiscriminator),
            Self::Inter { .. } => matches!(network, Network::Flow | Network::Residual | Network::InterDiscriminator),
            Self::Detail { .. } => {
                let shown = matches!(network, Network::Intra | Network::Residual) && role.part == Part::Synthesis;
                shown || network.is_discriminator()
            }
            Self::Postfilter { .. } => network == Network::Postfilter || network.is_discriminator(),
            Self::Flow => network == Network::FlowEstimator,
        }
    }

    /// Lets the parameters that this stage trains have gradients, and no others.
    fn set_learning(&self, params: &ParamStore) {
        for (name, tensor) in params.iter() {
            let _ = tensor.set_requires_grad(params.role(name).is_some_and(|role| self.trains(role)));
        }
    }

    fn frames(&self, fraction: f64) -> usize {
        match self {
            Self::Intra => 1,
            Self::Inter { unroll, .. } | Self::Detail { unroll, .. } => unroll.at(fraction),
            Self::Postfilter { .. } | Self::Flow => 2,
        }
    }

    /// Frames of a step's clips that are coded without learning, the same for all workers, which wait for each other.
    fn lead_in(&self, seed: u64, step: u64) -> usize {
        /// Sets these draws apart from those of the workers.
        const STREAM: u64 = 0x6c65_6164;
        match self {
            Self::Inter { losses: InterLosses { lead_in, .. }, .. }
            | Self::Detail { lead_in, .. }
            | Self::Postfilter { lead_in, .. } => noise::StepRng::new(seed ^ STREAM, step, 0).below(lead_in + 1) as usize,
            Self::Intra | Self::Flow => 0,
        }
    }
}

/// Everything that decides what a run computes; stored in its checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    pub stage: Stage,
    pub budget: Budget,
    pub fidelity: loss::Fidelity,
    #[serde(default)]
    pub gan: GanLosses,
    /// Learning rate of the discriminators relative to `learning_rate`.
    #[serde(default = "one")]
    pub discriminator_rate: f64,
    /// Learning rate of analysis and synthesis transforms relative to `learning_rate`; linear channels keep theirs.
    #[serde(default = "one")]
    pub transform_rate: f64,
    #[serde(default)]
    pub flow: FlowSource,
    pub learning_rate: f64,
    pub ema_decay: f64,
    /// Clips per worker and step, however many of them are computed at a time.
    pub batch: usize,
    /// Side of the square crops, a multiple of 64.
    pub crop: usize,
    pub photo_share: f32,
    #[serde(default)]
    pub graphics_share: f32,
    /// Of the networks that learn; held-out figures come from full precision.
    #[serde(default)]
    pub precision: Precision,
    /// Of what the stage trains, entropy models alone learn: symbols and pictures stay nearly as they are, and cost less.
    #[serde(default)]
    pub entropy_alone: bool,
    /// E_I's networks, whose view of the prediction G_res knows as the free latent, do not learn.
    #[serde(default)]
    pub keep_free_latent: bool,
    pub workers: usize,
    pub seed: u64,
}

impl TrainConfig {
    /// Whether what plays this role learns.
    fn trains(&self, role: Role) -> bool {
        self.stage.trains(role)
            && (!self.entropy_alone || role.part == Part::Entropy)
            && !(self.keep_free_latent && role.is_free_latent())
    }
}

fn one() -> f64 {
    1.0
}

/// Where a run reads and writes.
pub struct RunPaths {
    pub data: PathBuf,
    /// Holds `checkpoint.safetensors`, `train.jsonl` and `events/`.
    pub out: PathBuf,
    /// Seconds between checkpoints; 0: one after every step.
    pub checkpoint_seconds: f64,
}

impl RunPaths {
    pub fn checkpoint(&self) -> PathBuf {
        self.out.join("checkpoint.safetensors")
    }
}

/// Runs a stage from `start` (a checkpoint of another stage or a starting point), or goes on with the checkpoint in
/// `paths.out` if there is one.
///
/// # Errors
/// Naming the file, the setting or the step at fault. A usable checkpoint remains.
pub fn train(config: TrainConfig, start: Option<Checkpoint>, paths: &RunPaths, hardware: Hardware) -> Result<()> {
    let group = Group::join();
    let result = train_in(&group, config, start, paths, hardware);
    if let Err(error) = &result
        && group.size() > 1
    {
        eprintln!("ngc-trainer: rank {}: {error:#}", group.rank());
        group.abort();
    }
    result
}

fn train_in(group: &Group, config: TrainConfig, start: Option<Checkpoint>, paths: &RunPaths, hardware: Hardware) -> Result<()> {
    std::fs::create_dir_all(&paths.out).with_context(|| paths.out.display().to_string())?;
    let path = paths.checkpoint();
    let resumed = if path.exists() { Some(Checkpoint::load(&path)?) } else { None };
    let mut run = match (&resumed, start) {
        (Some(checkpoint), _) => Run::resume(checkpoint, &config, paths, hardware, group)?,
        (None, Some(start)) => Run::begin(start, config, paths, hardware, group)?,
        (None, None) => bail!("{} holds no checkpoint: say where to start with --init", paths.out.display()),
    };
    run.drive(paths)
}

/// A rate controller that holds `best` and `worst` bits per pixel at qualities 0 and 63.
pub fn rate_controller(best: f64, worst: f64) -> RateController {
    RateController::new(best, worst)
}

/// Key of a model file's metadata: hours of training behind it.
pub const TRAINING_HOURS: &str = "training_hours";

/// A starting point from the parameters of a model.
pub fn starting_point(model: ModelConfig, params: &ParamStore) -> Checkpoint {
    let tensors = params.iter().map(|(name, t)| (format!("param/{name}"), t.shallow_clone())).collect();
    let fractions = params.fractions.clone();
    let progress = Progress { model, train: None, step: 0, seconds: 0.0, earlier_seconds: 0.0, rate: None, fractions };
    Checkpoint { progress, tensors }
}

/// Reads a starting point: a checkpoint or an exported model.
pub fn load_start(path: &Path) -> Result<Checkpoint> {
    match Checkpoint::load(path) {
        Ok(checkpoint) => Ok(checkpoint),
        Err(not_checkpoint) => {
            let source = codec_core::training::model::ModelSource::File(path.to_owned());
            let (model, params) =
                codec_core::training::model::read_float_tensors(&source).map_err(|e| not_checkpoint.context(e.to_string()))?;
            let mut start = starting_point(model, &params);
            let metadata = codec_core::training::model::read_metadata(&source)?;
            let hours = metadata.get(TRAINING_HOURS).and_then(|hours| hours.parse::<f64>().ok());
            start.progress.earlier_seconds = hours.unwrap_or(0.0) * 3600.0;
            Ok(start)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec_core::training::nn::Networks;
    use tch::Device;

    #[test]
    fn hours_behind_a_model_file_count_on() {
        let _generator = crate::testing::seeded(5);
        let model = ModelConfig::rt();
        let mut params = ParamStore::new();
        let networks = Networks::init(&mut params, &model, Device::Cpu).unwrap();
        let pairs = codec_core::training::model::calibrate::synthetic(Device::Cpu).unwrap();
        params.fractions = codec_core::training::model::calibrate::calibrate(&params, &model, &pairs, Device::Cpu).unwrap();
        let notes = [(TRAINING_HOURS, "2.50".to_owned())];
        let bytes = tch::no_grad(|| codec_core::training::model::write_model(&model, &params, &networks, &notes)).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        assert_eq!(load_start(file.path()).unwrap().progress.earlier_seconds, 9000.0);
    }
}
