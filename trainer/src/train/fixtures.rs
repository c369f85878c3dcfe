//! A small model, a small clip and one step of training, for the tests of the stages.

use codec_core::training::nn::ops::Planes;
use codec_core::training::nn::{ModelConfig, Networks, ParamStore};
use tch::{Device, Kind, Tensor};

use super::Stage;
use super::gan::{Adversary, GanLosses};
use super::loss::{Distortion, Fidelity};
use super::motion::MotionFinder;
use super::noise::StepRng;
use super::schedule::Unroll;
use super::step::{Clip, InterLosses, StepContext, StepResult, detail_step, inter_step, intra_step, postfilter_step};

/// A model with parameters of its own, as a stage sees it: what the stage does not train is frozen.
pub struct Setup {
    pub params: ParamStore,
    pub networks: Networks,
    pub adversary: Option<Adversary>,
}

/// The `rt` profile.
pub fn setup(stage: &Stage, losses: &GanLosses) -> Setup {
    let postfilter = matches!(stage, Stage::Postfilter { .. }).then(Default::default);
    setup_of(ModelConfig { postfilter, ..ModelConfig::rt() }, stage, losses)
}

/// A `paper` profile that is small enough for a test.
pub fn small_paper() -> ModelConfig {
    ModelConfig::paper_with(4, 1, 12, 8, 8)
}

/// Another model.
pub fn setup_of(model: ModelConfig, stage: &Stage, losses: &GanLosses) -> Setup {
    let _generator = crate::testing::seeded(11);
    let mut params = ParamStore::new();
    let networks = Networks::init(&mut params, &model, Device::Cpu).unwrap();
    let adversary = Adversary::new(&mut params, &model, losses, Device::Cpu).unwrap();
    stage.set_learning(&params);
    Setup { params, networks, adversary }
}

impl Setup {
    /// One step on a clip of three frames, the first one alone in the I-stage.
    pub fn step(&self, stage: &Stage) -> StepResult {
        self.step_number(stage, 0)
    }

    /// As [`Self::step`], with the draws of another step.
    pub fn step_number(&self, stage: &Stage, number: u64) -> StepResult {
        let rng = StepRng::new(1, number, 0);
        in_context(&self.networks, self.adversary.as_ref(), |context| draw_step(context, stage, 3, rng))
    }
}

/// Runs `work` in the middle of a stage.
pub fn in_context<T>(networks: &Networks, adversary: Option<&Adversary>, work: impl FnOnce(&StepContext) -> T) -> T {
    work(&StepContext {
        networks,
        adversary,
        motion: &MotionFinder::open(&networks.config, &mut ParamStore::new(), Device::Cpu).unwrap(),
        fidelity: Fidelity { kind: Distortion::Mse, chroma_weight: 1.0 },
        fraction: 0.5,
        rate_multiplier: &[1.0; 64],
        device: Device::Cpu,
    })
}

/// One step on a clip of `frames` frames, the first one alone in the I-stage; the same draws every time.
pub fn step(context: &StepContext, stage: &Stage, frames: usize) -> StepResult {
    draw_step(context, stage, frames, StepRng::new(1, 0, 0))
}

fn draw_step(context: &StepContext, stage: &Stage, frames: usize, mut rng: StepRng) -> StepResult {
    match stage {
        Stage::Intra => intra_step(context, &clip(1), &mut rng),
        Stage::Inter { losses, .. } => {
            let lead_in = losses.lead_in as usize;
            inter_step(context, &clip(frames + lead_in), lead_in, losses, &mut rng)
        }
        Stage::Detail { shift, lead_in, .. } => {
            let lead_in = *lead_in as usize;
            detail_step(context, &clip(frames + lead_in), lead_in, *shift, &mut rng)
        }
        Stage::Postfilter { lead_in, losses } => postfilter_step(context, &clip(2 + *lead_in as usize), losses, &mut rng),
        Stage::Flow => unreachable!("has a test of its own"),
    }
    .unwrap()
}

/// Two clips of 64x64 pixels that move by two pixels a frame.
pub fn clip(frames: usize) -> Clip {
    let _generator = crate::testing::seeded(12);
    let options = (Kind::Float, Device::Cpu);
    let smooth = |c: i64, side: i64| {
        (Tensor::rand([2, c, side, side], options) - 0.5).avg_pool2d([3, 3], [1, 1], [1, 1], false, true, None)
    };
    let first = Planes { y: smooth(1, 64), uv: smooth(2, 32) };
    Clip { frames: (0..frames as i64).map(|t| first.rolled(2 * t, 0).unwrap()).collect() }
}

pub fn inter(losses: InterLosses) -> Stage {
    Stage::Inter { unroll: Unroll::parse("3:1").unwrap(), losses }
}
