//! The subcommand `score`: a model on the held-out clips of prepared data, without GStreamer.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use codec_core::{DeviceSpec, ModelSource};
use serde::Serialize;

use super::fidelity::{mean, psnrs};
use super::{Clip, Measurement, codec, planar};
use crate::data::{Entry, Kind, ShardSet, Split};

#[derive(Args)]
pub struct ScoreArgs {
    /// Model file; the built-in model by default.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Shards made by `prepare`, or packs.
    #[arg(long)]
    data: PathBuf,
    /// Clips at most, of those that are held out.
    #[arg(long, default_value_t = 8)]
    clips: usize,
    /// Frames of each clip at most.
    #[arg(long, default_value_t = 32)]
    frames: usize,
    /// Quality indices to encode at.
    #[arg(long, value_delimiter = ',', default_value = "24,38,47,57")]
    qualities: Vec<u8>,
    /// Strength of the postfilter, 0 to 1; without it what is measured is what the bits say.
    #[arg(long, default_value_t = 0.0)]
    detail: f32,
    #[arg(long, default_value = "cpu")]
    device: DeviceSpec,
    /// Threads; 0: as many as the process has cores.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Print a JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Means over all clips at one quality.
#[derive(Debug, Serialize)]
struct Point {
    quality: u8,
    /// Bits per luma sample.
    bpp: f64,
    /// dB.
    psnr_y: f64,
    psnr_u: f64,
    psnr_v: f64,
}

/// # Errors
/// Naming the data or the model at fault.
pub fn run(args: &ScoreArgs) -> Result<()> {
    ensure!(args.clips > 0 && args.frames > 0, "--clips and --frames: 1 at least");
    if let Some(quality) = args.qualities.iter().find(|quality| **quality > 63) {
        bail!("--qualities {quality}: qualities go from 0 to 63");
    }
    let clips = held_out_clips(args)?;
    let points = args.qualities.iter().map(|&quality| point(args, &clips, quality)).collect::<Result<Vec<_>>>()?;
    let frames: usize = clips.iter().map(|clip| clip.frames.len()).sum();
    if args.json {
        println!("{}", serde_json::json!({ "clips": clips.len(), "frames": frames, "points": points }));
        return Ok(());
    }
    println!("{} clips, {frames} frames", clips.len());
    println!("quality     bpp   PSNR Y   PSNR U   PSNR V");
    for Point { quality, bpp, psnr_y, psnr_u, psnr_v } in points {
        println!("{quality:7} {bpp:7.4} {psnr_y:8.2} {psnr_u:8.2} {psnr_v:8.2}");
    }
    Ok(())
}

/// The first frames of the clips that training does not see.
fn held_out_clips(args: &ScoreArgs) -> Result<Vec<Clip>> {
    let set = ShardSet::open(&args.data)?;
    let held_out = |entry: &Entry| (entry.kind, entry.split) == (Kind::Clip, Split::Validation) && entry.frames > 0;
    let found = set.entries().iter().enumerate().filter(|(_, entry)| held_out(entry));
    let clip = |(item, entry): (usize, &Entry)| Clip {
        name: entry.name.clone(),
        width: entry.width,
        height: entry.height,
        frames: (0..entry.frames.min(args.frames)).map(|t| planar(set.frame(item, t), entry.width, entry.height)).collect(),
    };
    let clips: Vec<Clip> = found.take(args.clips).map(clip).collect();
    ensure!(
        !clips.is_empty(),
        "{}: the data hold no clip out; prepare four clips or more, or mark some with held-out = true in a manifest",
        args.data.display()
    );
    Ok(clips)
}

fn point(args: &ScoreArgs, clips: &[Clip], quality: u8) -> Result<Point> {
    let model = args.model.clone().map_or(ModelSource::Embedded, ModelSource::File);
    let (mut bpp, mut psnr) = (Vec::new(), [const { Vec::new() }; 3]);
    for clip in clips {
        let settings = codec::Settings { quality, detail: Some(args.detail), threads: args.threads, device: args.device.clone() };
        let coded = codec::code(clip, &model, &settings).with_context(|| clip.name.clone())?;
        bpp.push(Measurement::bpp(&coded, clip));
        for (all, own) in psnr.iter_mut().zip(psnrs(&clip.frames, &coded.frames)) {
            all.push(mean(&own));
        }
    }
    let [psnr_y, psnr_u, psnr_v] = psnr.map(|values| mean(&values));
    Ok(Point { quality, bpp: mean(&bpp), psnr_y, psnr_u, psnr_v })
}
