//! Training data that a device keeps, so that it cuts crops by itself.
//!
//! Only crops of whole samples are cut there, from clips and, in the stage `intra`, from photos. What is drawn, moved by a simulated
//! camera or shrunk is made on the CPU and travels as before.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result};
use codec_core::training::nn::transfer::{Pinned, upload};
use tch::{Device, Kind, Tensor};

use super::Batch;
use crate::data::{Cut, Sampler, Size, WithCuts};

/// What a GPU keeps unless told otherwise. libtorch's interface for other languages does not say how much memory is free, and this is a
/// small part of what a GPU for training has.
const USUAL: u64 = 4 << 30;

/// How much training data a device keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheSize {
    /// 4 GiB on a GPU, nothing on a CPU.
    #[default]
    Auto,
    Off,
    Bytes(u64),
}

impl FromStr for CacheSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            _ => {
                let size = text.parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64());
                size.map(Self::Bytes).ok_or_else(|| format!("{text}: write off, auto, or a size such as 800MiB"))
            }
        }
    }
}

impl CacheSize {
    /// In bytes.
    pub fn on(self, device: Device) -> u64 {
        match self {
            Self::Auto if device.is_cuda() => USUAL,
            Self::Auto | Self::Off => 0,
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Where items lie in the memory of a device.
#[derive(Debug, Default)]
pub struct HeldItems(pub(super) HashMap<usize, (i64, Size)>);

impl HeldItems {
    pub fn contains(&self, item: usize) -> bool {
        self.0.contains_key(&item)
    }
}

/// The items that a device holds: whole frames Y, U, V, one after the other.
#[derive(Debug)]
pub struct DeviceCache {
    bytes: Tensor,
    held: Arc<HeldItems>,
}

impl DeviceCache {
    /// Copies items that batches of `frames` frames are cut out of, as many as fit into so many bytes. `None` where that is none.
    ///
    /// # Errors
    /// If the device has too little memory.
    pub fn fill(sampler: &Sampler, frames: usize, limit: u64, device: Device) -> Result<Option<Self>> {
        let (mut held, mut sum) = (HeldItems::default(), 0);
        for (item, size, count) in sampler.cut_items(frames) {
            let length = (size.bytes() * count) as u64;
            if sum + length <= limit {
                held.0.insert(item, (sum as i64, size));
                sum += length;
            }
        }
        if held.0.is_empty() {
            return Ok(None);
        }
        let bytes = Tensor::f_zeros([sum as i64], (Kind::Uint8, device)).context("--cache: give less, or off")?;
        for (&item, &(start, size)) in &held.0 {
            for (t, frame) in sampler.frames_of(item).enumerate() {
                let mut place = bytes.f_narrow(0, start + (t * size.bytes()) as i64, size.bytes() as i64)?;
                place.f_copy_(&upload(&Tensor::f_from_slice(frame)?, device)?)?;
            }
        }
        eprintln!("cache: {} items, {} on the device", held.0.len(), bytesize::ByteSize(sum));
        Ok(Some(Self { bytes, held: Arc::new(held) }))
    }

    /// The same memory.
    pub fn share(&self) -> Self {
        Self { bytes: self.bytes.shallow_clone(), held: self.held() }
    }

    pub(super) fn held(&self) -> Arc<HeldItems> {
        Arc::clone(&self.held)
    }

    /// Cuts crops, and puts them and the `rendered` clips into the order of the batch.
    pub(super) fn join(&self, cuts: &CutTable, rendered: Option<Batch>) -> Result<Batch> {
        let (table, CutTable { count, frames, crop, clips, .. }) = (cuts.table.upload(self.bytes.device())?, cuts);
        let (m, t, s) = (*count as i64, *frames as i64, *crop as i64);
        let mut at = 0;
        let mut column = |shape: [i64; 5]| -> Result<Tensor> {
            let length = shape.iter().product();
            at += length;
            Ok(table.f_narrow(0, at - length, length)?.f_view(shape)?)
        };
        let starts = [column([m, t, 1, 1, 1])?, column([m, t, 2, 1, 1])?];
        let rows = [column([m, 1, 1, 1, 1])?, column([m, 1, 1, 1, 1])?];
        let direction = column([m, 1, 1, 1, 1])?;
        let order = column([*clips as i64, 1, 1, 1, 1])?.f_view([-1])?;
        let gather = |plane: usize| -> Result<Tensor> {
            let side = Tensor::f_arange(if plane == 0 { s } else { s / 2 }, (Kind::Int64, table.device()))?;
            let line = starts[plane].f_add(&side.f_view([-1, 1])?.f_mul(&rows[plane])?)?;
            Ok(self.bytes.f_take(&line.f_add(&side.f_mul(&direction)?)?)?)
        };
        let own = Batch { y: gather(0)?, uv: gather(1)? };
        let Some(rendered) = rendered else { return Ok(own) };
        let joined = |a: &Tensor, b: &Tensor| -> Result<Tensor> { Ok(Tensor::f_cat(&[a, b], 0)?.f_index_select(0, &order)?) };
        Ok(Batch { y: joined(&own.y, &rendered.y)?, uv: joined(&own.uv, &rendered.uv)? })
    }
}

/// Where the samples of a batch's cuts lie, as numbers that cross in one copy: the first sample of each frame's luma `[M, T]` and of its
/// chroma planes `[M, T, 2]`, samples from row to row of either `[M]`, 1 or -1 for mirrored clips `[M]`, and the place of each of the
/// batch's clips among cuts and rendered ones `[N]`.
pub(super) struct CutTable {
    table: Pinned,
    count: usize,
    frames: usize,
    crop: usize,
    clips: usize,
}

impl CutTable {
    pub(super) fn new(held: &HeldItems, sampled: &WithCuts, device: Device) -> Result<Self> {
        let WithCuts { rendered, places, cuts } = sampled;
        let (frames, crop) = (rendered.frames, rendered.crop);
        let (mut luma, mut chroma, mut rows, mut chroma_rows, mut direction) = (vec![], vec![], vec![], vec![], vec![]);
        for (_, Cut { item, times, corner: (x, y), mirrored }) in cuts {
            let (start, size) = held.0[item];
            // A mirrored row is read from its end.
            let last = |side: usize| if *mirrored { side - 1 } else { 0 };
            let luma_samples = size.width * size.height;
            for t in times {
                let frame = start + (t * size.bytes()) as i64;
                luma.push(frame + (y * size.width + x + last(crop)) as i64);
                let first = luma_samples + y / 2 * (size.width / 2) + x / 2 + last(crop / 2);
                chroma.extend([first, first + luma_samples / 4].map(|offset| frame + offset as i64));
            }
            rows.push(size.width as i64);
            chroma_rows.push(size.width as i64 / 2);
            direction.push(if *mirrored { -1 } else { 1 });
        }
        let mut order = vec![0; cuts.len() + places.len()];
        let clips = cuts.iter().map(|(place, _)| place).chain(places);
        clips.enumerate().for_each(|(from, &place)| order[place] = from as i64);
        let table = Tensor::f_from_slice(&[luma, chroma, rows, chroma_rows, direction, order.clone()].concat())?;
        Ok(Self { table: Pinned::new(table, device)?, count: cuts.len(), frames, crop, clips: order.len() })
    }
}
