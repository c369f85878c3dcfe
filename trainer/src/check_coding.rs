//! Whether a device codes what the processor codes, bit for bit, and in memory that does not grow.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use codec_core::bitstream::VideoInfo;
use codec_core::frame::Frame;
use codec_core::{Decoder, DecoderConfig, DeviceSpec, Encoder, EncoderConfig, FrameOptions, ModelSource, Packet};

use crate::bench::{parse_size, process_memory, test_frame};

/// Memory may grow by this much: allocators round, and libraries load kernels when they first need them.
const ALLOWED_MIB: f64 = 16.0;

#[derive(Args)]
pub struct CheckCodingArgs {
    /// cpu-torch or cuda:N.
    #[arg(long)]
    device: DeviceSpec,
    /// Model file; the built-in model by default.
    #[arg(long)]
    model: Option<std::path::PathBuf>,
    /// WIDTHxHEIGHT.
    #[arg(long, value_parser = parse_size, default_value = "352x288")]
    size: (u32, u32),
    /// Frames that are compared.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    frames: u32,
    /// Frames that are coded after these, while memory is watched: that of the GPU, or the process's own without one.
    #[arg(long, default_value_t = 0)]
    memory_frames: u32,
}

impl CheckCodingArgs {
    fn source(&self) -> ModelSource {
        self.model.clone().map_or(ModelSource::Embedded, ModelSource::File)
    }

    fn encoder(&self, device: &DeviceSpec) -> Result<Encoder> {
        let (width, height) = self.size;
        let video = VideoInfo { width, height, ..VideoInfo::default() };
        // With a keyframe among the P-frames.
        let key_int_max = self.frames.div_ceil(2);
        Ok(Encoder::new(EncoderConfig {
            device: device.clone(),
            model: self.source(),
            key_int_max,
            ..EncoderConfig::new(video)
        })?)
    }

    fn decoder(&self, device: &DeviceSpec) -> Result<Decoder> {
        Ok(Decoder::new(DecoderConfig { device: device.clone(), model: self.source(), ..DecoderConfig::default() })?)
    }

    /// Frame number `t`, whose motion goes back and forth.
    fn frame(&self, t: u32) -> Frame {
        const TURN: u32 = 12;
        let at = t % (2 * TURN);
        test_frame(self.size.0 as usize, self.size.1 as usize, at.min(2 * TURN - at) as usize)
    }
}

/// The same frames coded by the processor and by the device.
#[derive(Debug, serde::Serialize)]
struct Comparison {
    check: &'static str,
    device: String,
    size: String,
    frames: u32,
    bytes: usize,
    /// Whether both encoders write the same bytes.
    same_bytes: bool,
    /// Whether both decoders read the same symbols.
    same_symbols: bool,
    /// Whether both decoders show the same pictures.
    same_pictures: bool,
    encode_ms: f64,
    decode_ms: f64,
}

impl Comparison {
    fn agrees(&self) -> bool {
        self.same_bytes && self.same_symbols && self.same_pictures
    }
}

/// What a loop of coding takes.
#[derive(Debug, serde::Serialize)]
struct Memory {
    check: &'static str,
    /// "device" or "process".
    of: &'static str,
    frames: u32,
    /// After a quarter of the frames, and after all.
    early_mib: f64,
    late_mib: f64,
}

impl Memory {
    fn is_flat(&self) -> bool {
        self.late_mib <= self.early_mib + ALLOWED_MIB
    }
}

/// Prints one JSON object for each check.
///
/// # Errors
/// If the device differs from the processor or takes more and more memory, after both have been printed, or does not work.
pub fn run(args: &CheckCodingArgs) -> Result<()> {
    ensure!(
        matches!(args.device, DeviceSpec::CpuTorch | DeviceSpec::Cuda(_)),
        "--device {}: that is the processor itself; say cpu-torch or cuda:N",
        args.device
    );
    let comparison = compare(args)?;
    println!("{}", serde_json::to_string(&comparison)?);
    let memory = (args.memory_frames > 0).then(|| watch(args)).transpose()?;
    if let Some(memory) = &memory {
        println!("{}", serde_json::to_string(memory)?);
    }
    ensure!(comparison.agrees(), "what {} codes differs from what the processor codes", args.device);
    ensure!(
        memory.as_ref().is_none_or(Memory::is_flat),
        "memory grows by more than {ALLOWED_MIB} MiB over {} frames",
        args.memory_frames
    );
    Ok(())
}

fn compare(args: &CheckCodingArgs) -> Result<Comparison> {
    let frames: Vec<Frame> = (0..args.frames).map(|t| args.frame(t)).collect();
    let encode = |device: &DeviceSpec| -> Result<(Vec<Packet>, f64)> {
        let mut encoder = args.encoder(device)?;
        let begin = Instant::now();
        let units =
            frames.iter().map(|frame| encoder.encode(&frame.view(), FrameOptions::default())).collect::<Result<_, _>>()?;
        Ok((units, begin.elapsed().as_secs_f64() * 1e3 / f64::from(args.frames)))
    };
    let ((by_cpu, _), (by_device, encode_ms)) = (encode(&DeviceSpec::Cpu)?, encode(&args.device)?);
    let (mut cpu, mut device) = (args.decoder(&DeviceSpec::Cpu)?, args.decoder(&args.device)?);
    let (mut same_symbols, mut same_pictures, mut seconds) = (true, true, 0.0);
    for unit in &by_device {
        let begin = Instant::now();
        let found = device.decode(&unit.data)?;
        seconds += begin.elapsed().as_secs_f64();
        let wanted = cpu.decode(&unit.data)?;
        same_symbols &= found.checksum == wanted.checksum;
        same_pictures &= found.frame == wanted.frame;
    }
    Ok(Comparison {
        check: "coding",
        device: args.device.to_string(),
        size: format!("{}x{}", args.size.0, args.size.1),
        frames: args.frames,
        bytes: by_device.iter().map(|unit| unit.data.len()).sum(),
        same_bytes: by_cpu.iter().map(|unit| &unit.data).eq(by_device.iter().map(|unit| &unit.data)),
        same_symbols,
        same_pictures,
        encode_ms,
        decode_ms: seconds * 1e3 / f64::from(args.frames),
    })
}

fn watch(args: &CheckCodingArgs) -> Result<Memory> {
    let (mut encoder, mut decoder) = (args.encoder(&args.device)?, args.decoder(&args.device)?);
    let used = || used_mib(&args.device);
    let mut early_mib = 0.0;
    for t in 0..args.memory_frames {
        decoder.decode(&encoder.encode(&args.frame(t).view(), FrameOptions::default())?.data)?;
        if t == args.memory_frames / 4 {
            early_mib = used()?;
        }
    }
    let of = if matches!(args.device, DeviceSpec::Cuda(_)) { "device" } else { "process" };
    Ok(Memory { check: "memory", of, frames: args.memory_frames, early_mib, late_mib: used()? })
}

/// Memory in use: all of a GPU's, since in containers it does not say whose it is, and of this process otherwise.
fn used_mib(device: &DeviceSpec) -> Result<f64> {
    let DeviceSpec::Cuda(number) = device else {
        return Ok(process_memory("VmRSS:").context("the system does not say how much memory the process has")? as f64 / 1024.0);
    };
    let arguments = [&format!("--id={number}")[..], "--query-gpu=memory.used", "--format=csv,noheader,nounits"];
    let output = std::process::Command::new("nvidia-smi").args(arguments).output().context("nvidia-smi")?;
    String::from_utf8_lossy(&output.stdout).trim().parse().context("nvidia-smi does not say how much memory is in use")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(device: DeviceSpec) -> CheckCodingArgs {
        CheckCodingArgs { device, model: None, size: (96, 64), frames: 4, memory_frames: 8 }
    }

    #[test]
    fn libtorch_codes_what_the_processor_codes() {
        let found = compare(&args(DeviceSpec::CpuTorch)).unwrap();
        assert!(found.agrees() && found.bytes > 100 && found.encode_ms > 0.0, "{found:?}");
        for other in [
            Comparison { same_bytes: false, ..compare(&args(DeviceSpec::Cpu)).unwrap() },
            Comparison { same_symbols: false, ..compare(&args(DeviceSpec::Cpu)).unwrap() },
            Comparison { same_pictures: false, ..compare(&args(DeviceSpec::Cpu)).unwrap() },
        ] {
            assert!(!other.agrees());
        }
    }

    #[test]
    fn memory_that_grows_is_not_flat() {
        let found = watch(&args(DeviceSpec::Cpu)).unwrap();
        assert_eq!((found.of, found.frames), ("process", 8));
        assert!(found.early_mib > 1.0, "{found:?}");
        assert!(Memory { late_mib: found.early_mib + 15.0, ..found }.is_flat());
        assert!(!Memory { late_mib: 117.0, early_mib: 100.0, check: "", of: "", frames: 1 }.is_flat());
    }

    #[test]
    fn cuda_codes_what_the_processor_codes() {
        match compare(&args(DeviceSpec::Cuda(0))) {
            Ok(found) => assert!(found.agrees(), "{found:?}"),
            Err(error) if std::env::var_os("NGC_NEED_CUDA").is_some() => panic!("{error:#}"),
            Err(error) => crate::testing::skipped(&format!("cuda_codes_what_the_processor_codes ({error:#})")),
        }
    }
}
