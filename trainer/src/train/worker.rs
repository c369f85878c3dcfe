//! Data-parallel replicas: threads that share the parameters' storage, each with its own gradients and one compute thread.
//!
//! Two single-threaded replicas beat one two-threaded process by far, since small operators do not
//! split well. Each worker also owns a share of the optimiser.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use anyhow::{Result, anyhow};
use codec_core::training::nn::uflow::UFlow;
use codec_core::training::nn::{Networks, ParamStore};
use tch::{Device, Kind, Tensor};

use super::accumulate::in_parts;
use super::batch::BatchSource;
use super::flow_step::flow_step;
use super::gan::Adversary;
use super::motion::MotionFinder;
use super::noise::{NoisePool, StepRng};
use super::optimiser::Optimiser;
use super::step::{Metrics, Rates, StepContext, StepResult, detail_step, inter_step, intra_step, postfilter_step};
use super::{Stage, TrainConfig};

/// Position of a step, the same for all workers.
#[derive(Clone, Debug)]
pub struct StepOrder {
    pub step: u64,
    pub fraction: f64,
    /// Frames per clip, without those of the lead-in.
    pub frames: usize,
    pub rate_multiplier: Arc<[f64; 64]>,
}

/// One worker's part of a step. Its tensors lie on the device, which may not have computed them yet.
pub struct StepReport {
    pub loss: Tensor,
    pub metrics: Metrics,
    pub rates: Rates,
    pub gradient: Gradient,
}

/// A flat gradient of all that learns, in the order of the trainable names.
pub struct Gradient {
    pub values: Tensor,
    /// Whether anything flowed, for each name; zeros where not.
    pub present: Vec<bool>,
}

/// What [`Optimiser::step`] takes.
pub struct Update {
    pub gradient: Tensor,
    pub present: Vec<bool>,
    pub lr: f64,
    pub proceed: Option<Tensor>,
}

enum Order {
    Step(StepOrder),
    Apply(Update),
    State,
}

enum Reply {
    Step(StepReport),
    Applied,
    State(Vec<(String, Tensor)>),
}

/// A running replica.
pub struct Worker {
    orders: Sender<Order>,
    replies: Receiver<Result<Reply>>,
    /// Parameters whose optimiser state lives here, and their values: this worker's part of a flat gradient.
    pub owned: (usize, i64),
    thread: Option<JoinHandle<()>>,
}

/// What a worker starts with.
pub struct WorkerSetup {
    pub index: usize,
    pub config: TrainConfig,
    pub model: codec_core::training::nn::ModelConfig,
    /// Shares storage with the master copy.
    pub params: ParamStore,
    pub trainable: Vec<String>,
    pub optimiser: Optimiser,
    pub source: BatchSource,
    /// Examples that are computed at a time, at most.
    pub micro_batch: usize,
    pub motion: MotionFinder,
    pub noise: Option<NoisePool>,
    pub device: Device,
}

impl Worker {
    pub fn start(setup: WorkerSetup) -> Result<Self> {
        let (orders, order_queue) = channel();
        let (reply_sender, replies) = channel();
        let owned = (setup.optimiser.names().count(), setup.optimiser.length());
        let name = format!("ngc-train-{}", setup.index);
        let thread = std::thread::Builder::new().name(name).spawn(move || run(setup, &order_queue, &reply_sender))?;
        Ok(Self { orders, replies, owned, thread: Some(thread) })
    }

    fn send(&self, order: Order) -> Result<()> {
        self.orders.send(order).map_err(|_| anyhow!("a training worker has stopped"))
    }

    fn reply(&self) -> Result<Reply> {
        self.replies.recv().map_err(|_| anyhow!("a training worker has stopped"))?
    }

    pub fn begin_step(&self, order: StepOrder) -> Result<()> {
        self.send(Order::Step(order))
    }

    pub fn finish_step(&self) -> Result<StepReport> {
        match self.reply()? {
            Reply::Step(report) => Ok(report),
            _ => Err(anyhow!("a training worker answered out of turn")),
        }
    }

    pub fn begin_apply(&self, update: Update) -> Result<()> {
        self.send(Order::Apply(update))
    }

    pub fn finish_apply(&self) -> Result<()> {
        self.reply().map(|_| ())
    }

    /// Optimiser state of this worker's share.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        self.send(Order::State)?;
        match self.reply()? {
            Reply::State(state) => Ok(state),
            _ => Err(anyhow!("a training worker answered out of turn")),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Closing the queue ends the thread's loop.
        self.orders = channel().0;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a replica computes with.
struct Replica {
    networks: Networks,
    adversary: Option<Adversary>,
    flow: Option<UFlow>,
    /// What learns, and zeros in place of gradients that do not flow.
    trainable: Vec<Tensor>,
    zeros: Tensor,
}

impl Replica {
    fn new(setup: &mut WorkerSetup) -> Result<Self> {
        let (params, device) = (&mut setup.params, setup.device);
        let known = |name: &String| params.get(name).map(Tensor::shallow_clone).ok_or_else(|| anyhow!("no parameter {name}"));
        let trainable = setup.trainable.iter().map(known).collect::<Result<Vec<_>>>()?;
        let largest = trainable.iter().map(Tensor::numel).max().unwrap_or(0) as i64;
        Ok(Self {
            trainable,
            zeros: Tensor::f_zeros([largest], (Kind::Float, device))?,
            networks: Networks::load_for_training(params, &setup.model, device, setup.config.precision)?,
            adversary: Adversary::new(params, &setup.model, &setup.config.gan, device)?,
            flow: (setup.config.stage == Stage::Flow).then(|| UFlow::load(params, device)).transpose()?,
        })
    }
}

impl Replica {
    fn gradient(&self, loss: &Tensor) -> Result<Gradient> {
        let parts = Tensor::f_run_backward(&[loss], &self.trainable, false, false)?;
        let present: Vec<bool> = parts.iter().map(Tensor::defined).collect();
        let flat = |(part, param): (&Tensor, &Tensor)| match part.defined() {
            true => part.f_reshape([-1]),
            false => self.zeros.f_narrow(0, 0, param.numel() as i64),
        };
        let flat = parts.iter().zip(&self.trainable).map(flat).collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(Gradient { values: Tensor::f_cat(&flat, 0)?, present })
    }
}

fn run(mut setup: WorkerSetup, orders: &Receiver<Order>, replies: &Sender<Result<Reply>>) {
    tch::set_num_threads(1);
    let replica = match Replica::new(&mut setup) {
        Ok(replica) => replica,
        Err(error) => {
            let _ = replies.send(Err(error));
            return;
        }
    };
    while let Ok(order) = orders.recv() {
        let mut computed = None;
        let reply = match order {
            Order::Step(order) => {
                let report = compute(&mut setup, &replica, &order).map(Reply::Step);
                computed = Some(order);
                report
            }
            Order::Apply(Update { gradient, present, lr, proceed }) => {
                setup.optimiser.step(&gradient, &present, lr, proceed.as_ref()).map(|()| Reply::Applied)
            }
            Order::State => setup.optimiser.state().map(Reply::State),
        };
        if replies.send(reply).is_err() {
            return;
        }
        if let Some(StepOrder { step, frames, .. }) = computed
            && let Err(error) = setup.source.send_ahead(step + 1, setup.index, frames)
        {
            let _ = replies.send(Err(error));
            return;
        }
    }
}

fn compute(setup: &mut WorkerSetup, replica: &Replica, order: &StepOrder) -> Result<StepReport> {
    let config = &setup.config;
    let lead_in = config.stage.lead_in(config.seed, order.step);
    let batch = setup.source.batch(order.step, setup.index, order.frames)?;
    let context = StepContext {
        networks: &replica.networks,
        adversary: replica.adversary.as_ref(),
        motion: &setup.motion,
        fidelity: config.fidelity,
        fraction: order.fraction,
        rate_multiplier: &order.rate_multiplier,
        device: setup.device,
    };
    in_parts(config.batch, setup.micro_batch, |part| {
        let clip = batch.clip(part.examples.clone())?;
        let rng = StepRng::new(config.seed, order.step, setup.index).with_pool(setup.noise.as_ref());
        let mut rng = rng.of_part(part);
        let StepResult { loss, metrics, rates } = match &config.stage {
            Stage::Intra => intra_step(&context, &clip, &mut rng)?,
            Stage::Inter { losses, .. } => inter_step(&context, &clip, lead_in, losses, &mut rng)?,
            Stage::Detail { shift, .. } => detail_step(&context, &clip, lead_in, *shift, &mut rng)?,
            Stage::Postfilter { losses, .. } => postfilter_step(&context, &clip, losses, &mut rng)?,
            Stage::Flow => flow_step(replica.flow.as_ref().expect("made for this stage"), &clip)?,
        };
        Ok(StepReport { gradient: replica.gradient(&loss)?, loss: loss.detach(), metrics, rates })
    })
}

#[cfg(test)]
mod tests;
