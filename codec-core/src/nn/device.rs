//! Opening devices for libtorch, and the threads that it runs on.

use std::cell::Cell;
use std::ffi::CStr;
use std::sync::OnceLock;
use std::time::Instant;

use tch::{Device, Kind, Tensor};

use crate::device::DeviceSpec;
use crate::{Error, Result};

/// Opens a device.
///
/// # Errors
/// [`Error::Device`] naming the device, why it cannot be used, and the cure.
pub fn open(spec: &DeviceSpec) -> Result<Device> {
    match spec {
        DeviceSpec::Cpu | DeviceSpec::CpuTorch => Ok(Device::Cpu),
        DeviceSpec::Auto => Ok(if cuda_devices().is_ok_and(|n| n > 0) { Device::Cuda(0) } else { Device::Cpu }),
        DeviceSpec::Cuda(n) => {
            let refuse = |why: String| Error::Device(format!("{spec}: {why}; use device=cpu, or device=auto to take what works"));
            let count = cuda_devices().map_err(refuse)?;
            if count == 0 {
                return Err(refuse("libtorch sees no usable GPU (is the driver installed?)".into()));
            }
            if *n >= count {
                return Err(refuse(format!("only {count} GPU(s) are there, numbered from 0")));
            }
            Ok(Device::Cuda(*n))
        }
    }
}

/// Number of usable GPUs, or why CUDA cannot be had.
///
/// libtorch_cuda is not linked but opened here, so that one binary serves machines with and without it. libtorch looks
/// for its CUDA part only once, so this must come before anything that asks for CUDA.
fn cuda_devices() -> std::result::Result<usize, String> {
    static COUNT: OnceLock<std::result::Result<usize, String>> = OnceLock::new();
    COUNT
        .get_or_init(|| {
            // SAFETY: the name is a valid C string; libtorch_cuda's initialisers only register its kernels.
            let handle = unsafe { libc::dlopen(c"libtorch_cuda.so".as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
            if handle.is_null() {
                // SAFETY: after a failed dlopen, dlerror returns a valid C string.
                let why = unsafe { CStr::from_ptr(libc::dlerror()) }.to_string_lossy().into_owned();
                return Err(format!("libtorch has no CUDA part ({why}); set up with NGC_CUDA=1"));
            }
            Ok(usize::try_from(tch::Cuda::device_count()).unwrap_or(0))
        })
        .clone()
}

/// Whether a GPU multiplies 64-bit floats so much slower than 32-bit ones that exact networks had better take bytes apart. Graphics
/// cards do so by a factor of 32 or 64, those of data centres hardly at all. A CPU never is: it has the integer engine.
pub fn is_slow_at_64_bits(device: Device) -> Result<bool> {
    /// Bytes take two products, and some more kernels around them.
    const WORTH: f64 = 4.0;
    if !device.is_cuda() {
        return Ok(false);
    }
    let seconds = |kind: Kind| -> Result<f64> {
        let square = Tensor::f_ones([1024, 1024], (kind, device))?;
        // The first call chooses and loads a kernel.
        let mut best = f64::INFINITY;
        for _ in 0..4 {
            synchronize(device);
            let start = Instant::now();
            let _ = square.f_matmul(&square)?;
            synchronize(device);
            best = best.min(start.elapsed().as_secs_f64());
        }
        Ok(best)
    };
    Ok(seconds(Kind::Double)? > WORTH * seconds(Kind::Float)?)
}

/// Waits until a GPU has done what it was told.
pub(super) fn synchronize(device: Device) {
    if let Device::Cuda(number) = device {
        tch::Cuda::synchronize(number as i64);
    }
}

/// Makes the calling thread run networks on `threads` threads. libtorch keeps this per calling thread, and streaming
/// threads come and go, so every entry into the codec calls it.
pub fn use_threads(threads: usize) {
    thread_local! {
        static CURRENT: Cell<usize> = const { Cell::new(0) };
    }
    CURRENT.with(|current| {
        if current.get() != threads {
            tch::set_num_threads(i32::try_from(threads).unwrap_or(1));
            current.set(threads);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_gpu_is_named_with_its_cure() {
        let error = open(&DeviceSpec::Cuda(99)).unwrap_err().to_string();
        assert!(error.contains("cuda:99") && error.contains("device=cpu"), "{error}");
    }

    #[test]
    fn cuda_computes_what_the_cpu_computes() {
        use std::io::Write;

        use crate::nn::paths::{self, Paths};
        use crate::nn::{ModelConfig, Networks, ParamStore, codec::quality_tensor};

        let cuda = match open(&DeviceSpec::Cuda(0)) {
            Ok(device) => device,
            Err(error) if std::env::var_os("NGC_NEED_CUDA").is_some() => panic!("{error}"),
            Err(error) => {
                // Not eprintln: the test harness keeps that to itself where tests succeed.
                let _ = writeln!(std::io::stderr(), "skipped: cuda_computes_what_the_cpu_computes ({error})");
                return;
            }
        };
        let mut params = ParamStore::new();
        let model = ModelConfig::rt();
        Networks::init(&mut params, &model, Device::Cpu).unwrap();
        let x = Tensor::rand([2, 96, 16, 24], (Kind::Float, Device::Cpu)) - 0.5;
        let mut on = |device: Device| {
            let networks = Networks::load(&mut params, &model, device).unwrap();
            let q = quality_tensor(&[3, 50], device).unwrap();
            tch::no_grad(|| networks.intra.analysis.forward(&x.to_device(device), &q).unwrap().to_device(Device::Cpu))
        };
        let wanted = on(Device::Cpu);
        let usual = paths::current();
        for other in ["channels-last,convolution", "planar,convolution", "taps,product", "dense,product"] {
            paths::set(other.parse::<Paths>().unwrap());
            let worst = (on(cuda) - &wanted).abs().max().double_value(&[]);
            assert!(worst < 1e-3 * wanted.abs().max().double_value(&[]).max(1.0), "{other}: {worst}");
        }
        paths::set(usual);
    }
}
