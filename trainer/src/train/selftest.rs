//! Whether a device computes what the CPU computes, and how fast: the first minute on a GPU.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use codec_core::training::nn::transfer::{place, scalar};
use codec_core::training::nn::{Networks, ParamStore, Precision};
use tch::{Device, Kind, Tensor};

use super::Stage;
use super::batch::clip_on_device;
use super::checkpoint::Checkpoint;
use super::loss::{Distortion, Fidelity};
use super::motion::MotionFinder;
use super::noise::{NoisePool, StepRng};
use super::schedule::Unroll;
use super::step::{Clip, InterLosses, StepContext, StepResult, inter_step, intra_step};
use crate::data::{ClipBatch, Sampler, SamplerOptions, Split};

/// Frames of the compared clips, I-frame included.
const FRAMES: usize = 3;
/// Losses may differ by this share: sums are taken in another order, and a symbol on the edge may fall either way.
const TOLERANCE: f64 = 0.01;
/// Least cosine between the gradients of CPU and device.
const LEAST_COSINE: f64 = 0.98;

/// Sizes of what is compared and timed.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub batch: usize,
    pub crop: usize,
    /// Steps that are timed.
    pub steps: usize,
    pub precision: Precision,
}

/// One stage on the CPU and on the device.
#[derive(Debug, serde::Serialize)]
pub struct Comparison {
    pub stage: &'static str,
    pub cpu_loss: f64,
    pub device_loss: f64,
    /// Between the gradients of all that learns.
    pub cosine: f64,
    /// Mean milliseconds of a step with its gradient on the device, at the sizes to be timed.
    pub step_ms: f64,
    /// Of these, until everything is launched: what waits for the device in between is motion search.
    pub launch_ms: f64,
    /// Milliseconds of the motion search of one frame of each clip.
    pub motion_ms: f64,
    /// Milliseconds that one thread takes for a batch with a third of photos.
    pub sample_ms: f64,
}

impl Comparison {
    pub fn agrees(&self) -> bool {
        (self.device_loss / self.cpu_loss - 1.0).abs() <= TOLERANCE && self.cosine >= LEAST_COSINE
    }
}

/// A model on a device, as a stage trains it.
struct Side {
    params: ParamStore,
    networks: Networks,
    motion: MotionFinder,
    device: Device,
}

impl Side {
    fn new(start: &Checkpoint, stage: &Stage, precision: Precision, device: Device) -> Result<Self> {
        let mut params = start.averaged_params();
        Networks::init(&mut params, &start.progress.model, device)?;
        stage.set_learning(&params);
        let networks = Networks::load_for_training(&mut params, &start.progress.model, device, precision)?;
        let motion = MotionFinder::open(&start.progress.model, &mut params, device)?;
        Ok(Self { params, networks, motion, device })
    }

    /// Loss and gradients of a step, none of them read.
    fn step(&self, stage: &Stage, clip: &Clip, mut rng: StepRng) -> Result<(Tensor, Vec<Tensor>)> {
        let context = StepContext {
            networks: &self.networks,
            adversary: None,
            motion: &self.motion,
            fidelity: Fidelity { kind: Distortion::Mse, chroma_weight: 1.0 },
            fraction: 0.5,
            rate_multiplier: &[1.0; 64],
            device: self.device,
        };
        let StepResult { loss, .. } = match stage {
            Stage::Inter { losses, .. } => inter_step(&context, clip, 0, losses, &mut rng)?,
            _ => intra_step(&context, clip, &mut rng)?,
        };
        let learning: Vec<&Tensor> = self.params.iter().map(|(_, t)| t).filter(|t| t.requires_grad()).collect();
        let gradients = Tensor::f_run_backward(&[&loss], &learning, false, false)?;
        let defined = |(g, t): (Tensor, &&Tensor)| if g.defined() { g } else { t.zeros_like() };
        Ok((loss.detach(), gradients.into_iter().zip(&learning).map(defined).collect()))
    }
}

fn flat(gradients: &[Tensor]) -> Result<Tensor> {
    let parts = gradients.iter().map(|g| g.f_reshape([-1])).collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(place(&Tensor::f_cat(&parts, 0)?, Device::Cpu)?.f_to_kind(Kind::Double)?)
}

/// Compares the stages intra and inter on a small batch with noise handed in from the CPU, and times them.
///
/// # Errors
/// If the data hold no batch or the device fails.
pub fn compare(start: &Checkpoint, data: &Path, device: Device, sizes: Sizes) -> Result<Vec<Comparison>> {
    let sampler = Sampler::open(data, SamplerOptions { photo_share: 0.3, graphics_share: 0.0, seed: 1, split: Split::Train })?;
    let inter = Stage::Inter { unroll: Unroll::parse(&FRAMES.to_string())?, losses: InterLosses::default() };
    let small = |frames| sampler.sample((0, 0), 2, frames, 128.min(sizes.crop));
    let large = |frames| sampler.sample((1, 0), sizes.batch, frames, sizes.crop);
    [("intra", Stage::Intra, 1), ("inter", inter, FRAMES)]
        .into_iter()
        .map(|(name, stage, frames)| {
            let run = |device: Device| -> Result<(f64, Tensor)> {
                let side = Side::new(start, &stage, Precision::Full, device)?;
                let clip = clip_on_device(&small(frames)?, device)?;
                let (loss, gradients) = side.step(&stage, &clip, StepRng::new(1, 0, 0))?;
                Ok((scalar(&loss)?, flat(&gradients)?))
            };
            let ((cpu_loss, a), (device_loss, b)) = (run(Device::Cpu)?, run(device)?);
            let cosine = scalar(&a.f_dot(&b)?)? / (scalar(&a.f_norm()?)? * scalar(&b.f_norm()?)?);
            let begin = Instant::now();
            let batch = large(frames)?;
            let sample_ms = begin.elapsed().as_secs_f64() * 1e3;
            let motion_ms = time_motion(start, &batch, device)?;
            let (step_ms, launch_ms) = time(start, &stage, &batch, device, sizes)?;
            Ok(Comparison { stage: name, cpu_loss, device_loss, cosine, step_ms, launch_ms, motion_ms, sample_ms })
        })
        .collect()
}

fn time_motion(start: &Checkpoint, batch: &ClipBatch, device: Device) -> Result<f64> {
    const REPEATS: u32 = 4;
    let motion = MotionFinder::open(&start.progress.model, &mut start.averaged_params(), device)?;
    let clip = clip_on_device(batch, device)?;
    let [reference, .., frame] = &clip.frames[..] else { return Ok(0.0) };
    let qualities: Vec<u8> = (0..batch.batch).map(|i| (i * 37 % 64) as u8).collect();
    motion.find(frame, reference, &qualities, None)?;
    let begin = Instant::now();
    (0..REPEATS).try_for_each(|_| motion.find(frame, reference, &qualities, None).map(|_| ()))?;
    Ok(begin.elapsed().as_secs_f64() * 1e3 / f64::from(REPEATS))
}

/// Milliseconds of a step, and those until all of it is launched.
fn time(start: &Checkpoint, stage: &Stage, batch: &ClipBatch, device: Device, sizes: Sizes) -> Result<(f64, f64)> {
    let side = Side::new(start, stage, sizes.precision, device)?;
    let pool = NoisePool::new(1, device);
    let (mut whole, mut launched) = (0.0, 0.0);
    // The first steps choose kernels.
    for step in 0..sizes.steps as u64 + 3 {
        let begin = Instant::now();
        let clip = clip_on_device(batch, device)?;
        let (loss, gradients) = side.step(stage, &clip, StepRng::new(1, step, 0).with_pool(pool.as_ref()))?;
        let launch = begin.elapsed().as_secs_f64();
        let last = gradients.last().map_or(loss.shallow_clone(), |g| g.sum(Kind::Float));
        scalar(&loss.f_add(&last)?)?;
        if step >= 3 {
            whole += begin.elapsed().as_secs_f64();
            launched += launch;
        }
    }
    let milliseconds = |seconds: f64| seconds * 1e3 / sizes.steps.max(1) as f64;
    Ok((milliseconds(whole), milliseconds(launched)))
}

#[cfg(test)]
mod tests {
    use codec_core::DeviceSpec;
    use codec_core::training::nn::ModelConfig;

    use super::*;
    use crate::data::testing::moving_clips;
    use crate::train::device;

    fn comparisons(device: Device) -> Vec<Comparison> {
        let start = {
            let _generator = crate::testing::seeded(6);
            let (model, mut params) = (ModelConfig::rt(), ParamStore::new());
            Networks::init(&mut params, &model, Device::Cpu).unwrap();
            crate::train::starting_point(model, &params)
        };
        let data = tempfile::tempdir().unwrap();
        moving_clips(data.path(), 3, 4);
        let sizes = Sizes { batch: 2, crop: 64, steps: 1, precision: Precision::Full };
        compare(&start, data.path(), device, sizes).unwrap()
    }

    #[test]
    fn the_cpu_agrees_with_itself() {
        let found = comparisons(Device::Cpu);
        assert_eq!(found.iter().map(|c| c.stage).collect::<Vec<_>>(), ["intra", "inter"]);
        for c in &found {
            assert!(c.agrees() && c.cpu_loss == c.device_loss && c.cosine > 1.0 - 1e-6, "{c:?}");
            assert!(c.step_ms > 0.0 && c.cpu_loss > 0.0, "{c:?}");
        }
        let worse = |c: &Comparison| Comparison { device_loss: c.cpu_loss * 1.02, stage: c.stage, ..*c };
        let other = |c: &Comparison| Comparison { cosine: 0.9, stage: c.stage, ..*c };
        assert!(!worse(&found[0]).agrees() && !other(&found[0]).agrees());
    }

    #[test]
    fn cuda_trains_as_the_cpu_does() {
        match device::open(&DeviceSpec::Cuda(0), false) {
            Err(error) if std::env::var_os("NGC_NEED_CUDA").is_some() => panic!("{error:#}"),
            Err(error) => crate::testing::skipped(&format!("cuda_trains_as_the_cpu_does ({error:#})")),
            Ok(device) => comparisons(device).iter().for_each(|c| assert!(c.agrees(), "{c:?}")),
        }
    }
}
