//! Batches on their way to the device: sampled on any thread, in memory that the device reads by itself.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use codec_core::training::nn::transfer::Pinned;
use tch::{Device, Tensor};

use super::cache::{CutTable, DeviceCache, HeldItems};
use super::{Batch, Key, shapes};
use crate::data::Sampler;

pub(super) type Sampled = Result<Staged>;
type Job = (Key, Staging, Sender<Sampled>);

/// What any thread needs to sample batches.
#[derive(Clone)]
pub(super) struct Staging {
    pub sampler: Arc<Sampler>,
    /// Clips of a batch, and their side.
    pub size: (usize, usize),
    /// Items whose crops the device cuts by itself.
    pub held: Option<Arc<HeldItems>>,
    pub device: Device,
}

/// A batch that has been sampled.
pub(super) struct Staged {
    /// Planes of the clips that do not come from the device's own data.
    rendered: Option<[Pinned; 2]>,
    /// The others, and where each clip belongs.
    cuts: Option<CutTable>,
}

impl Staging {
    pub(super) fn sample(&self, (step, worker, frames): Key) -> Sampled {
        let (batch, crop) = self.size;
        let held = |item: usize| self.held.as_ref().is_some_and(|held| held.contains(item));
        let sampled = self.sampler.sample_without((step, worker as u32), batch, frames, crop, &held)?;
        let count = sampled.rendered.batch;
        let [luma, chroma] = shapes(count, frames, crop);
        let planes = |data: &[u8], shape: [i64; 5]| -> Result<Pinned> {
            Ok(Pinned::new(Tensor::f_from_slice(data)?.f_view(shape)?, self.device)?)
        };
        let rendered = match count {
            0 => None,
            _ => Some([planes(&sampled.rendered.y, luma)?, planes(&sampled.rendered.uv, chroma)?]),
        };
        let cuts = match &self.held {
            Some(held) if !sampled.cuts.is_empty() => Some(CutTable::new(held, &sampled, self.device)?),
            _ => None,
        };
        Ok(Staged { rendered, cuts })
    }
}

impl Staged {
    /// Starts its copy to the device; waits for nothing. `cache`: the items that its sampling left out.
    pub(super) fn upload(self, cache: Option<&DeviceCache>, device: Device) -> Result<Batch> {
        let rendered = match &self.rendered {
            Some([y, uv]) => Some(Batch { y: y.upload(device)?, uv: uv.upload(device)? }),
            None => None,
        };
        match (self.cuts, cache) {
            (Some(cuts), Some(cache)) => cache.join(&cuts, rendered),
            _ => Ok(rendered.expect("a batch has clips")),
        }
    }
}

/// Threads that sample batches.
#[derive(Clone)]
pub struct SamplingPool {
    jobs: Sender<Job>,
}

impl SamplingPool {
    /// The threads end with the last copy of the pool.
    pub fn start(threads: usize) -> Result<Self> {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads.max(1) {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new().name(format!("ngc-sample-{number}")).spawn(move || {
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                while let Ok((key, staging, reply)) = next() {
                    // Nobody may want it any more.
                    let _ = reply.send(staging.sample(key));
                }
            })?;
        }
        Ok(Self { jobs })
    }

    pub(super) fn order(&self, key: Key, staging: &Staging) -> Receiver<Sampled> {
        let (reply, batch) = channel();
        // A pool that has stopped shows in the receiver.
        let _ = self.jobs.send((key, staging.clone(), reply));
        batch
    }
}
