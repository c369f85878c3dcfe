//! A stage from its first step to its last: workers, gradients, logs and checkpoints.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use codec_core::training::nn::fixed::Fractions;
use codec_core::training::nn::transfer::scalar;
use codec_core::training::nn::uflow::UFlow;
use codec_core::training::nn::{ModelConfig, Networks, ParamStore, Precision};
use tch::{Device, Kind, Tensor};

use super::batch::{BatchSource, DeviceCache, SamplingPool};
use super::checkpoint::{Checkpoint, Progress};
use super::gan::{Adversary, DivergenceWatch};
use super::group::Group;
use super::log::RunLog;
use super::motion::MotionFinder;
use super::noise::NoisePool;
use super::optimiser::{Optimiser, Parameter, Rates, share_out};
use super::readings::{GRADIENT_NORM, Reading, Readings};
use super::schedule::rate_factor;
use super::worker::{StepOrder, StepReport, Update, Worker, WorkerSetup};
use super::{Hardware, RunPaths, Stage, TrainConfig, device, validate};
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
    motion: MotionFinder,
    /// Pieces of the flat gradient: values, and whether they belong to a discriminator.
    pieces: Vec<(i64, bool)>,
    workers: Vec<Worker>,
    readings: Readings,
    watch: DivergenceWatch,
    /// Steps in a row without a finite gradient.
    bad_steps: u32,
    device: Device,
}

/// Where a run goes on from.
struct Origin<'a> {
    params: ParamStore,
    progress: Progress,
    /// The optimiser's state, of a run that is resumed.
    state: Option<&'a Checkpoint>,
}

impl<'g> Run<'g> {
    /// Starts a stage.
    pub fn begin(start: Checkpoint, config: TrainConfig, paths: &RunPaths, hardware: Hardware, group: &'g Group) -> Result<Self> {
        let before = &start.progress;
        let (mut model, mut params) = (before.model.clone(), start.averaged_params());
        config.flow.give_to(&mut model, &mut params)?;
        let progress = Progress {
            model,
            train: Some(config.clone()),
            step: 0,
            seconds: 0.0,
            earlier_seconds: before.total_seconds(),
            rate: before.rate.clone(),
            // What learns without their rounding may outgrow its integers: the next export calibrates it anew.
            fractions: if config.precision == Precision::Simulated { before.fractions.clone() } else { Fractions::new() },
        };
        Self::assemble(Origin { params, progress, state: None }, config, paths, hardware, group)
    }

    /// The stage's settings come from the checkpoint; only the budget and the number of workers may change.
    pub fn resume(
        checkpoint: &Checkpoint,
        wanted: &TrainConfig,
        paths: &RunPaths,
        hardware: Hardware,
        group: &'g Group,
    ) -> Result<Self> {
        let Some(stored) = &checkpoint.progress.train else {
            bail!("{}: a starting point, not a run; give it to --init and another --out", paths.checkpoint().display());
        };
        let mut config = TrainConfig { budget: wanted.budget, workers: wanted.workers, ..stored.clone() };
        if checkpoint.progress.model.flow.is_none() {
            // Nothing comes of it.
            config.flow = wanted.flow.clone();
        }
        if config != *wanted {
            bail!(
                "{} belongs to a run with other settings ({}); give the same ones or another --out",
                paths.checkpoint().display(),
                serde_json::to_string(stored)?
            );
        }
        let (params, progress) = (checkpoint.raw_params(), checkpoint.progress.clone());
        Self::assemble(Origin { params, progress, state: Some(checkpoint) }, config, paths, hardware, group)
    }

    fn assemble(origin: Origin, config: TrainConfig, paths: &RunPaths, hardware: Hardware, group: &'g Group) -> Result<Self> {
        let Origin { mut params, progress, state } = origin;
        let Hardware { device, micro_batch, cache } = hardware;
        tch::manual_seed(config.seed as i64);
        let model: ModelConfig = progress.model.clone();
        // The replicas build theirs on the parameters that these create.
        Networks::init(&mut params, &model, device)?;
        Adversary::new(&mut params, &model, &config.gan, device)?;
        if config.stage == Stage::Flow {
            UFlow::init(&mut params, device)?;
        }
        let mut learning = Vec::new();
        for (name, tensor) in params.iter() {
            // What no network has taken plays no role here.
            let role = params.role(name).filter(|role| config.trains(*role));
            let _ = tensor.set_requires_grad(role.is_some());
            if let Some(role) = role {
                learning.push(Parameter { name: name.to_owned(), role, tensor: tensor.shallow_clone() });
            }
        }
        if learning.is_empty() {
            bail!(
                "nothing learns: entropy models learn in the stages intra and inter; leave optimiser.entropy-alone out in others"
            );
        }
        let options = SamplerOptions {
            photo_share: config.photo_share,
            graphics_share: config.graphics_share,
            seed: config.seed,
            split: Split::Train,
        };
        let sampler = Sampler::open(&paths.data, options)?;
        sampler.verify()?;
        let sampler = Arc::new(sampler);
        // A GPU takes a step of the optimiser at once.
        let shares = if device.is_cuda() { 1 } else { config.workers };
        let rates = Rates { discriminators: config.discriminator_rate, transforms: config.transform_rate };
        let mut optimisers = Vec::new();
        for share in share_out(learning, shares) {
            let (mut optimiser, views) = Optimiser::new(share, config.ema_decay, rates)?;
            if let Some(checkpoint) = state {
                optimiser.restore(progress.step, &|name| checkpoint.tensors.get(name).map(Tensor::shallow_clone))?;
            }
            views.into_iter().for_each(|Parameter { name, tensor, .. }| params.insert(name, tensor));
            optimisers.push(optimiser);
        }
        optimisers.resize_with(config.workers, Optimiser::empty);
        let trainable: Vec<String> = optimisers.iter().flat_map(|o| o.names().map(str::to_owned).collect::<Vec<_>>()).collect();
        let size = (config.batch, config.crop);
        let threads = device::sampling_threads(device);
        let pool = (threads > 0).then(|| SamplingPool::start(threads)).transpose()?;
        let cache = DeviceCache::fill(&sampler, config.stage.frames(0.0), cache.on(device), device)?;
        let noise = NoisePool::new(config.seed, device);
        let mut workers = Vec::new();
        for (index, optimiser) in optimisers.into_iter().enumerate() {
            let (stage, seed) = (config.stage.clone(), config.seed);
            let lead_in = move |step| stage.lead_in(seed, step);
            workers.push(Worker::start(WorkerSetup {
                // Counted over all processes: it decides what a worker draws.
                index: group.rank() * config.workers + index,
                config: config.clone(),
                model: model.clone(),
                params: params.replica(),
                trainable: trainable.clone(),
                optimiser,
                source: BatchSource::new(Arc::clone(&sampler), size, cache.as_ref().map(DeviceCache::share), device)
                    .with_lead_in(lead_in)
                    .with_pool(pool.clone()),
                micro_batch,
                motion: MotionFinder::open(&model, &mut params.replica(), device)?,
                noise: noise.as_ref().map(NoisePool::share),
                device,
            })?);
        }
        let networks = Networks::load(&mut params, &model, device)?;
        let motion = MotionFinder::open(&model, &mut params, device)?;
        Ok(Self {
            motion,
            pieces: pieces(&trainable, &params),
            readings: Readings::new(device, progress.rate.is_some() || group.size() > 1),
            group,
            progress,
            config,
            params,
            networks,
            workers,
            watch: DivergenceWatch::default(),
            bad_steps: 0,
            device,
        })
    }

    /// Runs to the end of the stage.
    pub fn drive(&mut self, paths: &RunPaths) -> Result<()> {
        let root = self.group.is_root();
        let mut log = RunLog::open(&paths.out, self.config.stage.name(), root)?;
        let clock = Instant::now();
        let seconds_before = self.progress.seconds;
        let (mut recorded, mut saved, mut validated) = (0.0, 0.0, -VALIDATE_SECONDS);
        log.say(&format!("{} stage: step {}, {:.0} s so far", self.config.stage.name(), self.progress.step, seconds_before));
        loop {
            let elapsed = clock.elapsed().as_secs_f64();
            self.progress.seconds = self.group.root_value(seconds_before + elapsed);
            let fraction = self.config.budget.fraction(self.progress.step, self.progress.seconds);
            let done = fraction >= 1.0;
            let validates = done || elapsed - validated >= VALIDATE_SECONDS;
            if validates || elapsed - recorded >= RECORD_SECONDS {
                self.observe(&mut log, paths)?;
            }
            if root && validates {
                validated = elapsed;
                match validate::validate(&self.networks, &self.motion, &self.config, &paths.data, self.device)? {
                    Some(report) => {
                        log.say(&report.to_string());
                        report.metrics().for_each(|(name, value)| log.add(name, value));
                    }
                    None => log.say("no held-out figures: the data hold nothing for validation, or the stage has its loss alone"),
                }
            }
            if root && (validates || elapsed - recorded >= RECORD_SECONDS) {
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
            self.step(fraction, &mut log, paths)?;
        }
    }

    /// One step of all workers. Where the gradient is not finite, nothing changes.
    fn step(&mut self, fraction: f64, log: &mut RunLog, paths: &RunPaths) -> Result<()> {
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
        let Average { gradient, present, norm, finite } = self.average(&reports)?;
        self.readings.add(reports, norm);
        if self.readings.are_due() {
            self.observe(log, paths)?;
        }
        // A CPU knows at once; a GPU is told what to do in either case.
        let proceed = if self.device.is_cuda() {
            Some(finite.f_to_kind(Kind::Float)?)
        } else if scalar(&finite)? == 0.0 {
            return Ok(());
        } else {
            None
        };
        let lr = self.config.learning_rate * rate_factor(fraction);
        let (mut name, mut value) = (0, 0);
        for worker in &self.workers {
            let (names, values) = worker.owned;
            worker.begin_apply(Update {
                gradient: gradient.f_narrow(0, value, values)?,
                present: present[name..name + names].to_vec(),
                lr,
                proceed: proceed.as_ref().map(Tensor::shallow_clone),
            })?;
            (name, value) = (name + names, value + values);
        }
        self.workers.iter().try_for_each(Worker::finish_apply)
    }

    /// Reads what all workers of all processes have reported: logs it, lets the controllers learn from it, and ends a run that
    /// has gone astray.
    fn observe(&mut self, log: &mut RunLog, paths: &RunPaths) -> Result<()> {
        let readings = self.readings.read(self.progress.rate.is_some())?;
        let first = self.progress.step - readings.len() as u64;
        for (step, Reading { mut sums, rates }) in (first + 1..).zip(readings) {
            // The gradient is already that of all processes.
            let (norm, _) = sums.remove(GRADIENT_NORM).unwrap_or_default();
            // Every process takes the same kind of step, so the names are the same everywhere.
            let mut flat: Vec<f64> = sums.values().flat_map(|(sum, count)| [*sum, *count]).collect();
            self.group.sum(&mut flat);
            for (name, pair) in sums.keys().zip(flat.chunks_exact(2)) {
                let mean = pair[0] / pair[1];
                log.add(name, mean);
                if *name == "loss_discriminator" {
                    self.watch
                        .observe(mean)
                        .with_context(|| format!("step {step}; {} is from before", paths.checkpoint().display()))?;
                }
            }
            if let Some(controller) = &mut self.progress.rate {
                let own: Vec<f64> = rates.iter().flat_map(|(q, rate)| [f64::from(*q), *rate]).collect();
                self.group.gather(&own).chunks_exact(2).for_each(|pair| controller.observe(pair[0] as u8, pair[1]));
            }
            log.add(GRADIENT_NORM, norm);
            self.bad_steps = if norm.is_finite() { 0 } else { self.bad_steps + 1 };
            if self.bad_steps >= MAX_BAD_STEPS {
                bail!(
                    "step {step}: the gradient has not been finite for {MAX_BAD_STEPS} steps; {} is from before, go on from it with a lower optimiser.learning-rate",
                    paths.checkpoint().display()
                );
            }
        }
        Ok(())
    }

    /// Mean gradient of all workers of all processes, those of the codec and those of the discriminators each clipped to
    /// [`CLIP_NORM`].
    fn average(&self, reports: &[StepReport]) -> Result<Average> {
        let workers = (reports.len() * self.group.size()) as f64;
        let anyone = |i: usize| reports.iter().any(|r| r.gradient.present[i]);
        // What is absent here may flow in another process.
        let present = (0..reports[0].gradient.present.len()).map(|i| self.group.size() > 1 || anyone(i)).collect();
        tch::no_grad(|| {
            let mut sum = reports[0].gradient.values.shallow_clone();
            for report in &reports[1..] {
                let _ = sum.f_add_(&report.gradient.values)?;
            }
            let sum = self.group.sum_gradient(sum)?;
            let lengths: Vec<i64> = self.pieces.iter().map(|(length, _)| *length).collect();
            let parts = sum.f_split_with_sizes(&lengths, 0)?;
            let norm = |discriminators: bool| -> Result<Tensor> {
                let own = parts.iter().zip(&self.pieces).filter(|(_, (_, of_discriminator))| *of_discriminator == discriminators);
                let norms = own.map(|(part, _)| part.f_norm()).collect::<std::result::Result<Vec<_>, _>>()?;
                let total = if norms.is_empty() {
                    Tensor::f_zeros([], (sum.kind(), sum.device()))?
                } else {
                    Tensor::f_stack(&norms, 0)?.f_norm()?
                };
                Ok(total.f_div_scalar(workers)?)
            };
            let (norm, other) = (norm(false)?, norm(true)?);
            let finite = norm.f_add(&other)?.f_isfinite()?;
            let zero = norm.f_zeros_like()?;
            for (part, (_, of_discriminator)) in parts.iter().zip(&self.pieces) {
                let norm = if *of_discriminator { &other } else { &norm };
                let scale = norm.f_reciprocal()?.f_mul_scalar(CLIP_NORM)?.f_clamp_max(1.0)?.f_div_scalar(workers)?;
                let mut part = part.shallow_clone();
                part.f_copy_(&part.f_mul(&scale)?.f_where_self(&finite, &zero)?)?;
            }
            // What stands in the log is not finite if either is not.
            let norm = norm.f_where_self(&other.f_isfinite()?, &other)?;
            Ok(Average { gradient: sum, present, norm, finite })
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

/// What a step moves along.
struct Average {
    /// Zero where it is not finite.
    gradient: Tensor,
    present: Vec<bool>,
    /// Of the codec's part before clipping.
    norm: Tensor,
    finite: Tensor,
}

/// Neighbours of the flat gradient that belong to discriminators or do not, and their values.
fn pieces(trainable: &[String], params: &ParamStore) -> Vec<(i64, bool)> {
    let mut out: Vec<(i64, bool)> = Vec::new();
    for name in trainable {
        let length = params.get(name).map_or(0, Tensor::numel) as i64;
        let of_discriminator = params.role(name).is_some_and(|role| role.network.is_discriminator());
        match out.last_mut() {
            Some(last) if last.1 == of_discriminator => last.0 += length,
            _ => out.push((length, of_discriminator)),
        }
    }
    out
}
