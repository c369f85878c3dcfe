//! How training uses a GPU: what is set up once for a process.

use std::sync::Once;

use anyhow::{Context, Result};
use codec_core::DeviceSpec;
use codec_core::training::nn::paths::{self, Paths};
use codec_core::training::nn::{ModelConfig, Precision};
use tch::{Device, Kind};

use super::batch::CacheSize;

/// Names the kernels of convolutions, such as `dense,product`, in place of a measurement.
const PATHS: &str = "NGC_CONVOLUTIONS";
/// Threads that sample batches ahead, in place of one for each core with a GPU and none without.
const SAMPLING_THREADS: &str = "NGC_SAMPLING_THREADS";

/// What a run computes on. Nothing of it decides what is learned, but for the order of sums.
#[derive(Clone, Copy, Debug)]
pub struct Hardware {
    pub device: Device,
    /// Examples of a batch that are computed at a time, at most.
    pub micro_batch: usize,
    /// Training data that the device keeps.
    pub cache: CacheSize,
}

impl Hardware {
    /// Examples that fit a core's caches.
    const FEW: usize = 4;

    /// `micro_batch`: by default all examples at once on a GPU, which launches kernels for many as fast as for one, and
    /// 4 on a CPU.
    pub fn new(device: Device, micro_batch: Option<usize>, cache: CacheSize) -> Self {
        let usual = if device.is_cuda() { usize::MAX } else { Self::FEW };
        Self { device, micro_batch: micro_batch.unwrap_or(usual), cache }
    }
}

/// Opens a device for training. `tensor_floats`: whether products on a GPU may round their factors to TF32.
///
/// # Errors
/// As [`codec_core::training::nn::device::open`].
pub fn open(spec: &DeviceSpec, tensor_floats: bool) -> Result<Device> {
    if *spec != DeviceSpec::Cpu {
        // cuBLAS and cuDNN read these when they are loaded, which the first look for a device does: later stages of a process find
        // them set.
        let (name, value) = if tensor_floats { ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1") } else { ("NVIDIA_TF32_OVERRIDE", "0") };
        static FIRST: Once = Once::new();
        // SAFETY: the command line has just been read, and no other thread has been started yet.
        FIRST.call_once(|| unsafe { std::env::set_var(name, value) });
    }
    let device = codec_core::training::nn::device::open(spec).context("--device")?;
    if device.is_cuda() {
        tch::Cuda::cudnn_set_benchmark(true);
    }
    Ok(device)
}

/// Chooses the kernels of a model's convolutions for batches of so many crops of so many pixels, and says which.
///
/// # Errors
/// If NGC_CONVOLUTIONS is set to something else than kernels, or the device fails.
pub fn choose_kernels(device: Device, model: &ModelConfig, size: (usize, usize), precision: Precision) -> Result<()> {
    if let Ok(text) = std::env::var(PATHS)
        && !text.is_empty()
    {
        paths::set(text.parse::<Paths>().context(PATHS)?);
        return Ok(());
    }
    let kind = if precision == Precision::Mixed { Kind::BFloat16 } else { Kind::Float };
    let (chosen, times) = paths::choose(device, size, (model.residual.width, model.residual.deep_width), kind)?;
    if device.is_cuda() {
        eprintln!("convolutions: {chosen} ({times})");
    }
    Ok(())
}

/// Threads that sample batches ahead of the device; 0: each worker samples its own.
pub fn sampling_threads(device: Device) -> usize {
    let wanted = std::env::var(SAMPLING_THREADS).ok().and_then(|text| text.parse().ok());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    wanted.unwrap_or(if device.is_cuda() { cores } else { 0 })
}
