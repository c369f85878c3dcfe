//! A stage from its first step to its last: workers, gradients, logs and checkpoints.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use codec_core::nn::uflow::UFlow;
use codec_core::nn::{ModelConfig, Networks, ParamStore};
use tch::{Device, Kind, Tensor};

use super::batch::BatchSource;
use super::checkpoint::{Checkpoint, Progress};
use super::gan::{self, Adversary, DivergenceWatch};
use super::group::Group;
use super::log::RunLog;
use super::motion::MotionFinder;
use super::optimiser::{Optimiser, Rates, share_out};
use super::schedule::rate_factor;
use super::worker::{StepOrder, StepReport, Worker, WorkerSetup};
use super::{RunPaths, Stage, TrainConfig, validate};
use crate::data::{Sampler, SamplerOptions, Split};

/// Gradients are clipped to this norm.
const CLIP_NORM: f64 = 1.0;
/// So many steps in a row without a finite gradient end the run.
const MAX_BAD_STEPS: u32 = 20;
const RECORD_SECONDS: f64 = 20.0;
const VALIDATE_SECONDS: f64 = 600.0;

/// A stage under way.
pub(super) struct Run<'g> {
    group: &'g Group,
    progress: Progress,
    config: TrainConfig,
    params: ParamStore,
    networks: Networks,
    trainable: Vec<String>,
    workers: Vec<Worker>,
    watch: DivergenceWatch,
    device: Device,
}

impl<'g> Run<'g> {
    /// Starts a stage.
    pub fn begin(start: Checkpoint, config: TrainConfig, paths: &RunPaths, device: Device, group: &'g Group) -> Result<Self> {
        let before = &start.progress;
        let progress = Progress {
            model: before.model.clone(),
            train: Some(config.clone()),
            step: 0,
            seconds: 0.0,
            earlier_seconds: before.total_seconds(),
            rate: before.rate.clone(),
        };
        Self::assemble(start.averaged_params(), progress, config, paths, device, None, group)
    }

    /// The stage's settings come from the checkpoint; only the budget and the number of workers may change.
    pub fn resume(
        checkpoint: &Checkpoint,
        wanted: &TrainConfig,
        paths: &RunPaths,
        device: Device,
        group: &'g Group,
    ) -> Result<Self> {
        let Some(stored) = &checkpoint.progress.train else {
            bail!("{}: a starting point, not a run; give it to --init and another --out", paths.checkpoint().display());
        };
        let config = TrainConfig { budget: wanted.budget, workers: wanted.workers, ..stored.clone() };
        if config != *wanted {
            bail!(
                "{} belongs to a run with other settings ({}); give the same ones or another --out",
                paths.checkpoint().display(),
                serde_json::to_string(stored)?
            );
        }
        Self::assemble(checkpoint.raw_params(), checkpoint.progress.clone(), config, paths, device, Some(checkpoint), group)
    }

    fn assemble(
        mut params: ParamStore,
        progress: Progress,
        config: TrainConfig,
        paths: &RunPaths,
        device: Device,
        state: Option<&Checkpoint>,
        group: &'g Group,
    ) -> Result<Self> {
        tch::manual_seed(config.seed as i64);
        let model: ModelConfig = progress.model.clone();
        let networks = Networks::init(&mut params, &model, device)?;
        // The replicas build theirs on the parameters that this creates.
        Adversary::new(&mut params, &model, &config.gan, device)?;
        if config.stage == Stage::Flow {
            UFlow::init(&mut params, device)?;
        }
        let mut trainable = Vec::new();
        for (name, tensor) in params.iter() {
            let learns = config.trains(name);
            let _ = tensor.set_requires_grad(learns);
            if learns {
                trainable.push(name.to_owned());
            }
        }
        if trainable.is_empty() {
            bail!("nothing learns: entropy models learn in the stages intra and inter; leave --entropy-alone out in others");
        }
        let options = SamplerOptions { photo_share: config.photo_share, seed: config.seed, split: Split::Train };
        let sampler = Sampler::open(&paths.data, options)?;
        sampler.verify()?;
        let sampler = Arc::new(sampler);
        let named = trainable.iter().map(|n| (n.clone(), params.get(n).expect("listed above").shallow_clone())).collect();
        let mut workers = Vec::new();
        for (index, share) in share_out(named, config.workers).into_iter().enumerate() {
            let rates = Rates { discriminators: config.discriminator_rate, transforms: config.transform_rate };
            let mut optimiser = Optimiser::new(share, config.ema_decay, rates);
            if let Some(checkpoint) = state {
                optimiser.restore(progress.step, &|name| checkpoint.tensors.get(name).map(Tensor::shallow_clone))?;
            }
            workers.push(Worker::start(WorkerSetup {
                // Counted over all processes: it decides what a worker draws.
                index: group.rank() * config.workers + index,
                config: config.clone(),
                model: model.clone(),
                params: params.replica(),
                trainable: trainable.clone(),
                optimiser,
                source: BatchSource::new(Arc::clone(&sampler), config.batch, config.crop),
                motion: MotionFinder::open(&model, &config.flow, device)?,
                device,
            })?);
        }
        Ok(Self { group, progress, config, params, networks, trainable, workers, watch: DivergenceWatch::default(), device })
    }

    /// Runs to the end of the stage.
    pub fn drive(&mut self, paths: &RunPaths) -> Result<()> {
        let root = self.group.is_root();
        let mut log = RunLog::open(&paths.out, self.config.stage.name(), root)?;
        let clock = Instant::now();
        let seconds_before = self.progress.seconds;
        let (mut recorded, mut saved, mut validated) = (0.0, 0.0, -VALIDATE_SECONDS);
        let mut bad_steps = 0;
        log.say(&format!("{} stage: step {}, {:.0} s so far", self.config.stage.name(), self.progress.step, seconds_before));
        loop {
            let elapsed = clock.elapsed().as_secs_f64();
            self.progress.seconds = self.group.root_value(seconds_before + elapsed);
            let fraction = self.config.budget.fraction(self.progress.step, self.progress.seconds);
            let done = fraction >= 1.0;
            if root && (done || elapsed - validated >= VALIDATE_SECONDS) {
                validated = elapsed;
                match validate::validate(&self.networks, &self.config, &paths.data, self.device)? {
                    Some(report) => {
                        log.say(&report.to_string());
                        report.metrics().for_each(|(name, value)| log.add(name, value));
                    }
                    None => log.say("no held-out figures: the data hold nothing for validation, or the stage has its loss alone"),
                }
            }
            if root && (done || elapsed - recorded >= RECORD_SECONDS) {
                recorded = elapsed;
                log.record(self.progress.step, fraction.min(1.0), self.progress.seconds)?;
            }
            if root && (done || elapsed - saved >= paths.checkpoint_seconds) {
                saved = elapsed;
                self.checkpoint()?.save(&paths.checkpoint())?;
            }
            if done {
                log.say(&format!("{} stage done: {}", self.config.stage.name(), paths.checkpoint().display()));
                return Ok(());
            }
            if self.step(fraction, &mut log, paths)? {
                bad_steps = 0;
            } else {
                bad_steps += 1;
                if bad_steps >= MAX_BAD_STEPS {
                    bail!(
                        "step {}: the gradient has not been finite for {MAX_BAD_STEPS} steps; {} is from before, go on from it with a lower --lr",
                        self.progress.step,
                        paths.checkpoint().display()
                    );
                }
            }
        }
    }

    /// One step of all workers. False where the gradient was not finite and nothing changed.
    fn step(&mut self, fraction: f64, log: &mut RunLog, paths: &RunPaths) -> Result<bool> {
        let mut multipliers = [1.0; 64];
        if let Some(controller) = &self.progress.rate {
            multipliers.iter_mut().enumerate().for_each(|(q, m)| *m = controller.multiplier(q as u8));
        }
        let order = StepOrder {
            step: self.progress.step,
            fraction,
            frames: self.config.stage.frames(fraction),
            rate_multiplier: Arc::new(multipliers),
        };
        for worker in &self.workers {
            worker.begin_step(order.clone())?;
        }
        let reports = self.workers.iter().map(Worker::finish_step).collect::<Result<Vec<_>>>()?;
        self.progress.step += 1;
        self.observe(&reports, log, paths)?;
        let (gradients, norm) = self.average(reports)?;
        log.add("gradient_norm", norm);
        if !norm.is_finite() {
            return Ok(false);
        }
        let lr = self.config.learning_rate * rate_factor(fraction);
        for worker in &self.workers {
            let share = worker.owned.iter().map(|name| {
                let index = self.trainable.binary_search(name).expect("owned parameters are trainable");
                gradients[index].as_ref().map(Tensor::shallow_clone)
            });
            worker.begin_apply(share.collect(), lr)?;
        }
        self.workers.iter().try_for_each(Worker::finish_apply)?;
        Ok(true)
    }

    /// Logs what all workers of all processes report, and lets the controllers learn from it.
    fn observe(&mut self, reports: &[StepReport], log: &mut RunLog, paths: &RunPaths) -> Result<()> {
        let mut sums: std::collections::BTreeMap<&str, (f64, f64)> = Default::default();
        for report in reports {
            for (name, value) in report.metrics.iter().copied().chain([("loss", report.loss)]) {
                let (sum, count) = sums.entry(name).or_default();
                *sum += value;
                *count += 1.0;
            }
        }
        // Every process takes the same kind of step, so the names are the same everywhere.
        let mut flat: Vec<f64> = sums.values().flat_map(|(sum, count)| [*sum, *count]).collect();
        self.group.sum(&mut flat);
        for (name, pair) in sums.keys().zip(flat.chunks_exact(2)) {
            let mean = pair[0] / pair[1];
            log.add(name, mean);
            if *name == "loss_discriminator" {
                self.watch
                    .observe(mean)
                    .with_context(|| format!("step {}; {} is from before", self.progress.step, paths.checkpoint().display()))?;
            }
        }
        if let Some(controller) = &mut self.progress.rate {
            let own: Vec<f64> = reports.iter().flat_map(|r| &r.rates).flat_map(|(q, rate)| [f64::from(*q), *rate]).collect();
            self.group.gather(&own).chunks_exact(2).for_each(|pair| controller.observe(pair[0] as u8, pair[1]));
        }
        Ok(())
    }

    /// Mean gradients of all workers of all processes, those of the codec and those of the discriminators each clipped to
    /// [`CLIP_NORM`], and the norm of the codec's before clipping (not finite if either is not).
    fn average(&self, reports: Vec<StepReport>) -> Result<(Vec<Option<Tensor>>, f64)> {
        let workers = (reports.len() * self.group.size()) as f64;
        let mut lists = reports.into_iter().map(|r| r.gradients);
        let mut sum = lists.next().expect("at least one worker");
        tch::no_grad(|| {
            for list in lists {
                for (total, part) in sum.iter_mut().zip(list) {
                    match (total.as_mut(), part) {
                        (Some(total), Some(part)) => drop(total.f_add_(&part)?),
                        (None, part) => *total = part,
                        (Some(_), None) => {}
                    }
                }
            }
            let like: Vec<&Tensor> = self.trainable.iter().filter_map(|name| self.params.get(name)).collect();
            self.group.sum_gradients(&mut sum, &like)?;
            let (mut codec, mut discriminators) = (Vec::new(), Vec::new());
            for (gradient, name) in sum.iter_mut().zip(&self.trainable) {
                let part = if name.starts_with(gan::PREFIX) { &mut discriminators } else { &mut codec };
                part.extend(gradient.as_mut());
            }
            let other = clip(&mut discriminators, workers)?;
            let norm = clip(&mut codec, workers)?;
            Ok((sum, if other.is_finite() { norm } else { other }))
        })
    }

    fn checkpoint(&self) -> Result<Checkpoint> {
        let mut tensors = std::collections::BTreeMap::new();
        for (name, tensor) in self.params.iter() {
            tensors.insert(format!("param/{name}"), tensor.shallow_clone());
        }
        for worker in &self.workers {
            tensors.extend(worker.state()?);
        }
        Ok(Checkpoint { progress: self.progress.clone(), tensors })
    }
}

/// Divides summed gradients by the number of `workers` and clips them to [`CLIP_NORM`]; gives back their norm before.
fn clip(gradients: &mut [&mut Tensor], workers: f64) -> Result<f64> {
    let squares = gradients.iter().map(|g| Ok(g.f_square()?.f_sum(Kind::Float)?)).collect::<Result<Vec<_>>>()?;
    if squares.is_empty() {
        return Ok(0.0);
    }
    let norm = Tensor::f_stack(&squares, 0)?.f_sum(Kind::Float)?.f_double_value(&[])?.sqrt() / workers;
    let scale = (CLIP_NORM / norm).min(1.0) / workers;
    for gradient in gradients {
        let _ = gradient.f_mul_scalar_(scale)?;
    }
    Ok(norm)
}
