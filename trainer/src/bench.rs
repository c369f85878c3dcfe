//! Speed of the codec by itself: no pipeline, no files.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use codec_core::bitstream::VideoInfo;
use codec_core::frame::Frame;
use codec_core::training::StageTimes;
use codec_core::training::integer::{Area, Backend, Block, BlockParams, LayerParams};
use codec_core::{Decoder, DecoderConfig, DeviceSpec, Encoder, EncoderConfig, FrameOptions, ModelSource};

/// Frames coded before the clock starts: the keyframe and the first P-frames, while buffers and kernels are set up.
const WARM_UP: usize = 4;

#[derive(Args)]
pub struct BenchArgs {
    /// Frame sizes, WIDTHxHEIGHT, separated by commas; 360p, 720p, 1080p and 2160p are 16:9.
    #[arg(long, value_parser = parse_size, value_delimiter = ',', default_value = "640x384")]
    size: Vec<(u32, u32)>,
    /// Numbers of threads that work on a frame, separated by commas; 0: as many as the process has cores.
    #[arg(long, value_delimiter = ',', default_value = "0")]
    threads: Vec<usize>,
    /// P-frames that are timed.
    #[arg(long, default_value_t = 60)]
    frames: usize,
    #[arg(long, default_value_t = 38)]
    quality: u8,
    /// Strength of the postfilter, 0 to 1; by default what the model recommends.
    #[arg(long)]
    detail: Option<f32>,
    #[arg(long, default_value = "auto")]
    device: DeviceSpec,
    /// Model file; the built-in model by default.
    #[arg(long)]
    model: Option<std::path::PathBuf>,
    /// Print a JSON object for each size and number of threads instead of tables.
    #[arg(long)]
    json: bool,
}

pub fn parse_size(text: &str) -> Result<(u32, u32), String> {
    if let Some(height) = text.strip_suffix('p').and_then(|height| height.parse::<u32>().ok()).filter(|h| (1..=4320).contains(h))
    {
        return Ok((height * 16 / 9, height));
    }
    let parsed = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    parsed.filter(|&(w, h)| w > 0 && h > 0).ok_or_else(|| format!("{text}: write WIDTHxHEIGHT, such as 640x384, or 1080p"))
}

/// A textured picture under slow pan with a faster moving patch: motion and residual that a camera would give.
pub fn test_frame(width: usize, height: usize, number: usize) -> Frame {
    let mut frame = Frame::new(width, height);
    let wave = |x: f32, y: f32| {
        (x * 0.061).sin() * (y * 0.047).cos() + 0.5 * (x * 0.31 + y * 0.17).sin() + 0.25 * (x * 0.9 - y * 1.1).sin()
    };
    for (index, plane) in frame.planes_mut().iter_mut().enumerate() {
        let scale = if index == 0 { 1.0 } else { 2.0 };
        let (columns, rows, stride) = (plane.width, plane.height, plane.stride);
        for row in 0..rows {
            for column in 0..columns {
                let (mut x, y) = (column as f32 * scale + 1.5 * number as f32, row as f32 * scale + 0.5 * number as f32);
                let inside = (row * 3 / rows, column * 3 / columns) == (1, 1);
                if inside {
                    x += 3.0 * number as f32;
                }
                plane.data[row * stride + column] = (128.0 + 50.0 * wave(x + index as f32 * 40.0, y) / scale) as u8;
            }
        }
    }
    frame
}

struct Side {
    elapsed: Vec<Duration>,
    times: StageTimes,
}

impl Side {
    /// Frames per second by the median frame, which a busy machine disturbs least.
    fn fps(&self) -> f64 {
        let mut sorted = self.elapsed.clone();
        sorted.sort();
        1.0 / sorted[sorted.len() / 2].as_secs_f64()
    }

    fn stages(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        self.times.iter().map(|(name, total)| (name, total.as_secs_f64() * 1e3 / self.elapsed.len() as f64))
    }

    fn json(&self) -> serde_json::Value {
        self.stages().map(|(name, ms)| (name.to_owned(), serde_json::json!(ms))).collect::<serde_json::Map<_, _>>().into()
    }
}

/// Multiplications of a fixed piece of work a second, in thousand millions, on one thread: what a machine's figures are divided by to
/// compare them with another's. The best of some runs.
fn calibration() -> Result<f64> {
    const C: usize = 96;
    const ROWS: usize = 48;
    const COLS: usize = 80;
    const RUNS: usize = 12;
    let layer = |outputs: usize, inputs: usize| LayerParams {
        weight: (0..outputs * inputs).map(|i| (i * 37 % 401) as i16 - 200).collect(),
        bias: vec![0; outputs],
        shift: vec![14; outputs],
    };
    let params = BlockParams {
        mix_in: layer(C, C),
        depthwise: layer(C, 9),
        mix_out: layer(C, C),
        expand: layer(2 * C, C),
        project: layer(C, 2 * C),
    };
    let block = Block::new("calibration", C, &params)?;
    let x: Vec<i16> = (0..ROWS * COLS * C).map(|i| (i * 7919 % 4001) as i16 - 2000).collect();
    let mut out = vec![0; x.len()];
    let seconds = (0..RUNS).map(|_| {
        let start = Instant::now();
        block.run(Backend::detect(), 1, &x, &Area::whole(ROWS, COLS), &mut out);
        start.elapsed().as_secs_f64()
    });
    let least = seconds.fold(f64::INFINITY, f64::min);
    Ok((6 * C * C + 9 * C) as f64 * (ROWS * COLS) as f64 / least / 1e9)
}

/// Largest resident memory of the process so far, in MiB; `None` where the system does not say.
fn peak_memory() -> Option<u64> {
    Some(process_memory("VmHWM:")? / 1024)
}

/// Memory of the process in KiB, by the name that Linux gives it in `/proc/self/status`; `None` where the system does not say.
pub fn process_memory(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

pub fn run(args: &BenchArgs) -> Result<()> {
    if args.frames == 0 {
        bail!("--frames 0: at least one frame is needed");
    }
    let calibration = calibration()?;
    if !args.json {
        println!("calibration: {calibration:.1} GMAC/s on one thread, instructions {:?}", Backend::detect());
    }
    for &size in &args.size {
        for &threads in &args.threads {
            measure(args, size, threads, calibration)?;
        }
    }
    Ok(())
}

fn measure(args: &BenchArgs, (width, height): (u32, u32), threads: usize, calibration: f64) -> Result<()> {
    let model = args.model.clone().map_or(ModelSource::Embedded, ModelSource::File);
    let config = EncoderConfig {
        quality: args.quality,
        detail: args.detail,
        key_int_max: 0,
        threads,
        device: args.device.clone(),
        model: model.clone(),
        ..EncoderConfig::new(VideoInfo { width, height, ..VideoInfo::default() })
    };
    let mut encoder = Encoder::new(config)?;
    let frames: Vec<Frame> = (0..16).map(|i| test_frame(width as usize, height as usize, i)).collect();
    let mut encode = Side { elapsed: Vec::new(), times: StageTimes::default() };
    let mut units = Vec::new();
    for i in 0..WARM_UP + args.frames {
        if i == WARM_UP {
            encoder.times().clear();
        }
        // Back and forth, so that the motion stays small everywhere.
        let position = i % (2 * frames.len() - 2);
        let frame = &frames[if position < frames.len() { position } else { 2 * frames.len() - 2 - position }];
        let start = Instant::now();
        let unit = encoder.encode(&frame.view(), FrameOptions::default())?;
        if i >= WARM_UP {
            encode.elapsed.push(start.elapsed());
        }
        units.push(unit);
    }
    encode.times = encoder.times().clone();
    drop(encoder);

    let device = args.device.clone();
    let mut decoder = Decoder::new(DecoderConfig { threads, device, model, ..DecoderConfig::default() })?;
    let mut decode = Side { elapsed: Vec::new(), times: StageTimes::default() };
    for (i, unit) in units.iter().enumerate() {
        if i == WARM_UP {
            decoder.times().clear();
        }
        let start = Instant::now();
        decoder.decode(&unit.data)?;
        if i >= WARM_UP {
            decode.elapsed.push(start.elapsed());
        }
    }
    decode.times = decoder.times().clone();

    let bytes: usize = units[WARM_UP..].iter().map(|u| u.data.len()).sum();
    let bpp = bytes as f64 * 8.0 / (f64::from(width) * f64::from(height) * args.frames as f64);
    if args.json {
        let report = serde_json::json!({
            "size": format!("{width}x{height}"), "device": args.device.to_string(), "threads": threads, "frames": args.frames,
            "bpp": bpp,
            "calibration_gmacs": calibration, "instructions": format!("{:?}", Backend::detect()), "peak_memory_mib": peak_memory(),
            "encode_fps": encode.fps(), "decode_fps": decode.fps(),
            "encode_ms": encode.json(), "decode_ms": decode.json(),
        });
        println!("{report}");
    } else {
        let memory = peak_memory().map_or(String::new(), |mib| format!(", {mib} MiB at most so far"));
        println!("{width}x{height}, {threads} threads, {} P-frames, {bpp:.4} bpp{memory}", args.frames);
        for (name, side) in [("encode", &encode), ("decode", &decode)] {
            println!("{name}: {:.1} fps", side.fps());
            side.stages().for_each(|(stage, ms)| println!("  {stage:16} {ms:7.2} ms"));
        }
    }
    Ok(())
}
