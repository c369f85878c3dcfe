//! Batches on the device.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use codec_core::training::nn::ops::Planes;
use codec_core::training::nn::transfer::upload;
use tch::{Device, Kind, Tensor};

use super::step::Clip;
use crate::data::{ClipBatch, DataError, Sampler};

/// Steps that batches are sampled ahead of the device.
const AHEAD: u64 = 8;

/// Step, worker and frames.
type Key = (u64, usize, usize);
type Sampled = Result<ClipBatch, DataError>;
type Job = (Key, Sender<Sampled>);

/// Where a worker's batches come from.
pub struct BatchSource {
    sampler: Arc<Sampler>,
    batch: usize,
    crop: usize,
    /// Frames of the lead-in at each step.
    lead_in: Box<dyn Fn(u64) -> usize + Send>,
    pool: Option<SamplingPool>,
    expected: Mutex<HashMap<Key, Receiver<Sampled>>>,
}

impl BatchSource {
    /// `lead_in`: frames before the others at each step. With a `pool` the next batches are sampled ahead.
    pub fn new(
        sampler: Arc<Sampler>,
        (batch, crop): (usize, usize),
        lead_in: impl Fn(u64) -> usize + Send + 'static,
        pool: Option<SamplingPool>,
    ) -> Self {
        Self { sampler, batch, crop, lead_in: Box::new(lead_in), pool, expected: Mutex::default() }
    }

    /// The batch of (step, worker), always the same one: `frames` frames after those of the lead-in.
    pub fn clip(&self, step: u64, worker: usize, frames: usize, device: Device) -> Result<Clip> {
        let key = |step: u64| (step, worker, frames + (self.lead_in)(step));
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = expected.remove(&key(step));
        if let Some(pool) = &self.pool {
            // What was expected with other lengths is of no use any more.
            expected.retain(|&(other, ..), _| other > step);
            for next in step + 1..=step + AHEAD {
                expected.entry(key(next)).or_insert_with(|| pool.order(key(next)));
            }
        }
        drop(expected);
        let batch = match waiting {
            Some(batch) => batch.recv().map_err(|_| anyhow!("the sampling threads have stopped"))??,
            None => self.sampler.sample((step, worker as u32), self.batch, key(step).2, self.crop)?,
        };
        clip_on_device(&batch, device)
    }
}

/// Threads that sample batches.
#[derive(Clone)]
pub struct SamplingPool {
    jobs: Sender<Job>,
}

impl SamplingPool {
    /// The threads end with the last copy of the pool.
    pub fn start(threads: usize, sampler: &Arc<Sampler>, (batch, crop): (usize, usize)) -> Result<Self> {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads.max(1) {
            let (queue, sampler) = (Arc::clone(&queue), Arc::clone(sampler));
            std::thread::Builder::new().name(format!("ngc-sample-{number}")).spawn(move || {
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                while let Ok(((step, worker, frames), reply)) = next() {
                    // Nobody may want it any more.
                    let _ = reply.send(sampler.sample((step, worker as u32), batch, frames, crop));
                }
            })?;
        }
        Ok(Self { jobs })
    }

    fn order(&self, key: Key) -> Receiver<Sampled> {
        let (reply, batch) = channel();
        // A pool that has stopped shows in the receiver.
        let _ = self.jobs.send((key, reply));
        batch
    }
}

/// Converts a batch to tensors. 8 bits travel; floats are made on the device.
pub fn clip_on_device(batch: &ClipBatch, device: Device) -> Result<Clip> {
    let (n, t, s) = (batch.batch, batch.frames, batch.crop);
    let to_float = |data: &[u8], shape: &[i64]| -> Result<Tensor> {
        let bytes = upload(&Tensor::f_from_slice(data)?, device)?.f_view(shape)?;
        Ok(bytes.f_to_kind(Kind::Float)?.f_div_scalar(255.0)?.f_sub_scalar(0.5)?)
    };
    let (n64, t64, s64) = (n as i64, t as i64, s as i64);
    let y = to_float(&batch.y, &[n64, t64, 1, s64, s64])?;
    let uv = to_float(&batch.uv, &[n64, t64, 2, s64 / 2, s64 / 2])?;
    let frames = (0..t64)
        .map(|i| Ok(Planes { y: y.f_select(1, i)?.f_contiguous()?, uv: uv.f_select(1, i)?.f_contiguous()? }))
        .collect::<Result<_>>()?;
    Ok(Clip { frames })
}
