//! Batches on the device.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use anyhow::{Result, anyhow};
use codec_core::training::nn::ops::Planes;
use codec_core::training::nn::transfer::upload;
use tch::{Device, Kind, Tensor};

use super::step::Clip;
use crate::data::{ClipBatch, Sampler};

mod cache;
mod staging;

pub use cache::{CacheSize, DeviceCache};
pub use staging::SamplingPool;

use staging::{Sampled, Staging};

/// Steps that batches are sampled ahead of the device.
const AHEAD: u64 = 8;

/// Step, worker and frames.
type Key = (u64, usize, usize);

/// Where a worker's batches come from.
pub struct BatchSource {
    staging: Staging,
    /// Frames of the lead-in at each step.
    lead_in: Box<dyn Fn(u64) -> usize + Send>,
    cache: Option<DeviceCache>,
    pool: Option<SamplingPool>,
    expected: HashMap<Key, Receiver<Sampled>>,
    /// On its way to the device before its step.
    sent: Option<(Key, Batch)>,
}

impl BatchSource {
    /// Batches of so many clips and so many pixels a side. `cache`: items of the sampler's data that the device holds.
    pub fn new(sampler: Arc<Sampler>, size: (usize, usize), cache: Option<DeviceCache>, device: Device) -> Self {
        let staging = Staging { sampler, size, held: cache.as_ref().map(DeviceCache::held), device };
        Self { staging, lead_in: Box::new(|_| 0), cache, pool: None, expected: HashMap::new(), sent: None }
    }

    /// `lead_in`: frames before the others at each step.
    #[must_use]
    pub fn with_lead_in(self, lead_in: impl Fn(u64) -> usize + Send + 'static) -> Self {
        Self { lead_in: Box::new(lead_in), ..self }
    }

    /// With a pool the next batches are sampled ahead.
    #[must_use]
    pub fn with_pool(self, pool: Option<SamplingPool>) -> Self {
        Self { pool, ..self }
    }

    fn key(&self, step: u64, worker: usize, frames: usize) -> Key {
        (step, worker, frames + (self.lead_in)(step))
    }

    /// The batch of (step, worker), always the same one: `frames` frames after those of the lead-in.
    pub fn batch(&mut self, step: u64, worker: usize, frames: usize) -> Result<Batch> {
        let wanted = self.key(step, worker, frames);
        let waiting = self.expected.remove(&wanted);
        if let Some(pool) = &self.pool {
            // What was expected with other lengths is of no use any more.
            self.expected.retain(|&(other, ..), _| other > step);
            for next in step + 1..=step + AHEAD {
                let key = self.key(next, worker, frames);
                self.expected.entry(key).or_insert_with(|| pool.order(key, &self.staging));
            }
        }
        match self.sent.take() {
            Some((key, batch)) if key == wanted => return Ok(batch),
            _ => {}
        }
        let staged = match waiting {
            Some(staged) => staged.recv().map_err(|_| anyhow!("the sampling threads have stopped"))??,
            None => self.staging.sample(wanted)?,
        };
        staged.upload(self.cache.as_ref(), self.staging.device)
    }

    /// Starts the copy of the batch of a step to come, where a pool has sampled it: a GPU then has it before its step. Waits for
    /// nothing, and changes no batch.
    pub fn send_ahead(&mut self, step: u64, worker: usize, frames: usize) -> Result<()> {
        let key = self.key(step, worker, frames);
        let Some(Ok(staged)) = self.expected.get(&key).map(Receiver::try_recv) else { return Ok(()) };
        self.expected.remove(&key);
        self.sent = Some((key, staged?.upload(self.cache.as_ref(), self.staging.device)?));
        Ok(())
    }
}

/// Clips on the device, 8 bits a sample.
#[derive(Debug)]
pub struct Batch {
    /// `[N, T, 1, S, S]`
    y: Tensor,
    /// `[N, T, 2, S/2, S/2]`
    uv: Tensor,
}

impl Batch {
    /// As floats, of some of its clips.
    pub fn clip(&self, examples: Range<usize>) -> Result<Clip> {
        let to_float = |bytes: &Tensor| -> Result<Tensor> {
            let part = bytes.f_narrow(0, examples.start as i64, examples.len() as i64)?;
            Ok(part.f_to_kind(Kind::Float)?.f_div_scalar(255.0)?.f_sub_scalar(0.5)?)
        };
        let (y, uv) = (to_float(&self.y)?, to_float(&self.uv)?);
        let frames = (0..y.size()[1])
            .map(|i| Ok(Planes { y: y.f_select(1, i)?.f_contiguous()?, uv: uv.f_select(1, i)?.f_contiguous()? }))
            .collect::<Result<_>>()?;
        Ok(Clip { frames })
    }
}

/// Shapes of the planes of so many clips, frames and pixels a side.
fn shapes(n: usize, t: usize, s: usize) -> [[i64; 5]; 2] {
    let (n, t, s) = (n as i64, t as i64, s as i64);
    [[n, t, 1, s, s], [n, t, 2, s / 2, s / 2]]
}

/// Converts a batch to tensors. 8 bits travel; floats are made on the device.
pub fn clip_on_device(batch: &ClipBatch, device: Device) -> Result<Clip> {
    let [luma, chroma] = shapes(batch.batch, batch.frames, batch.crop);
    let bytes =
        |data: &[u8], shape: [i64; 5]| -> Result<Tensor> { Ok(upload(&Tensor::f_from_slice(data)?, device)?.f_view(shape)?) };
    Batch { y: bytes(&batch.y, luma)?, uv: bytes(&batch.uv, chroma)? }.clip(0..batch.batch)
}

#[cfg(test)]
mod tests;
