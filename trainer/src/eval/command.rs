//! The subcommand `eval`: models on clips, beside each other and classical encoders.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use codec_core::{DeviceSpec, ModelSource};

use super::anchors::{self, Anchor};
use super::report::Report;
use super::score::Scorer;
use super::{Clip, Run, codec, planar};
use crate::data::{ScalePolicy, decode_clip};

#[derive(Args)]
pub struct EvalArgs {
    /// Clips, or folders of them; anything that GStreamer can decode.
    #[arg(long, num_args = 1.., required = true)]
    clips: Vec<PathBuf>,
    /// Frames of each clip at most.
    #[arg(long, default_value_t = 60)]
    frames: usize,
    /// Bring the short side down to this many pixels (Lanczos); the result counts as the original.
    #[arg(long)]
    short_side: Option<usize>,
    /// Quality indices to encode at.
    #[arg(long, value_delimiter = ',', default_value = "24,38,47,57")]
    qualities: Vec<u8>,
    /// Model files to compare; the built-in model by default.
    #[arg(long)]
    model: Vec<PathBuf>,
    /// Strength of the postfilter, 0 to 1; several values are compared with each other. By default what the model recommends.
    #[arg(long, value_delimiter = ',')]
    detail: Vec<f32>,
    #[arg(long, default_value = "cpu")]
    device: DeviceSpec,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Classical encoders beside them.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "x264,x265")]
    anchors: Vec<Anchor>,
    /// Quantisers of the classical encoders.
    #[arg(long, value_delimiter = ',', default_value = "25,30,35,40")]
    anchor_quantisers: Vec<u32>,
    /// Folder with the weights of LPIPS (VGG16) and DISTS; without it these two are left out.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Perceptual metrics are taken of every so manieth frame.
    #[arg(long, default_value_t = 10)]
    metric_step: usize,
    /// Folder for results.csv, bd.csv and report.html.
    #[arg(long)]
    out: PathBuf,
}

/// # Errors
/// Naming the clip, the model or the folder at fault.
pub fn run(args: &EvalArgs) -> Result<()> {
    gst::init()?;
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let scorer = Scorer::new(args.weights.as_deref(), args.metric_step)?;
    let anchors: Vec<Anchor> = args.anchors.iter().copied().filter(|anchor| available(*anchor)).collect();
    let models = models(&args.model, &args.detail);
    let paths = clip_files(&args.clips)?;
    let total = paths.len() * (models.len() * args.qualities.len() + anchors.len() * args.anchor_quantisers.len());
    let style = indicatif::ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg} {eta}")?;
    let bar = indicatif::ProgressBar::new(total as u64).with_style(style);
    let mut report = Report::default();
    for path in &paths {
        let clip = load_clip(path, args.frames, args.short_side)?;
        for Contestant { name, source, detail } in &models {
            for &quality in &args.qualities {
                bar.set_message(format!("{} {name} {quality}", clip.name));
                let config = codec::Settings { quality, detail: *detail, threads: args.threads, device: args.device.clone() };
                let coded = codec::code(&clip, source, &config).with_context(|| format!("{}: {name}", clip.name))?;
                let run = Run { codec: name.clone(), setting: quality.into(), anchor: false };
                report.add(&clip, run, scorer.measure(&clip, &coded)?, &coded);
                bar.inc(1);
            }
        }
        for &anchor in &anchors {
            for &quantiser in &args.anchor_quantisers {
                bar.set_message(format!("{} {anchor} {quantiser}", clip.name));
                let coded = anchors::code(&clip, anchor, quantiser).with_context(|| format!("{}: {anchor}", clip.name))?;
                let run = Run { codec: anchor.to_string(), setting: quantiser, anchor: true };
                report.add(&clip, run, scorer.measure(&clip, &coded)?, &coded);
                bar.inc(1);
            }
        }
        // Written after every clip, so that an interrupted run leaves what it has measured.
        report.write(&args.out)?;
    }
    bar.finish_and_clear();
    print!("{}", report.summary());
    println!("{}", args.out.join("report.html").display());
    Ok(())
}

fn available(anchor: Anchor) -> bool {
    let missing: Vec<_> = anchor.elements().into_iter().filter(|name| gst::ElementFactory::find(name).is_none()).collect();
    if !missing.is_empty() {
        eprintln!("{anchor} is left out: GStreamer has no {}", missing.join(", "));
    }
    missing.is_empty()
}

/// A model at some detail.
struct Contestant {
    name: String,
    source: ModelSource,
    detail: Option<f32>,
}

fn models(files: &[PathBuf], details: &[f32]) -> Vec<Contestant> {
    let name = |path: &Path| path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let mut models: Vec<_> = files.iter().map(|path| (name(path), ModelSource::File(path.clone()))).collect();
    if models.is_empty() {
        models.push(("ngc".to_owned(), ModelSource::Embedded));
    }
    let mut out = Vec::new();
    for (name, source) in models {
        if details.is_empty() {
            out.push(Contestant { name: name.clone(), source: source.clone(), detail: None });
        }
        for &detail in details {
            let name = if details.len() > 1 { format!("{name} detail {detail}") } else { name.clone() };
            out.push(Contestant { name, source: source.clone(), detail: Some(detail) });
        }
    }
    out
}

/// The files themselves, and those directly in the folders, in the order of their names.
fn clip_files(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut inside = std::fs::read_dir(path)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>())
            .with_context(|| path.display().to_string())?;
        inside.retain(|p| p.is_file());
        inside.sort();
        files.extend(inside);
    }
    if files.is_empty() {
        bail!("no clips: the folders given with --clips are empty");
    }
    Ok(files)
}

fn load_clip(path: &Path, frames: usize, short_side: Option<usize>) -> Result<Clip> {
    let policy = ScalePolicy { short_side: short_side.unwrap_or(usize::MAX), halve: false, floor: 2 };
    let decoded = decode_clip(path, policy, frames)?;
    let (width, height) = (decoded.size.width, decoded.size.height);
    let frames = decoded.frames.iter().map(|data| planar(data, width, height)).collect();
    Ok(Clip { name: path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(), width, height, frames })
}
