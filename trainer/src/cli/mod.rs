//! Command line of `ngc-trainer`.

mod train;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use codec_core::training::nn::{ModelConfig, Networks, ParamStore};
use tch::Device;

#[cfg(feature = "gstreamer")]
use crate::data::{Kind, PrepareOptions, plain, prepare, read_manifest};
use crate::data::{PackOptions, pack};
use crate::schedule_file::{self, Schedule};
#[cfg(feature = "gstreamer")]
use crate::study;
use crate::train::checkpoint::Checkpoint;
use crate::train::{load_start, starting_point};
use crate::{bench, check_coding, eval, export};

/// Trains, exports and measures NGC models.
#[derive(Parser)]
#[command(name = "ngc-trainer", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make training shards from photos and clips.
    #[cfg(feature = "gstreamer")]
    Prepare(PrepareArgs),
    /// Make training shards of photos and clips (not in this build).
    #[cfg(not(feature = "gstreamer"))]
    Prepare(Absent),
    /// Pack prepared data for transport.
    #[command(subcommand)]
    Data(DataCommand),
    /// Make a starting point with fresh networks.
    Init(InitArgs),
    /// Run all stages of a TOML schedule, continuing where they stopped.
    Schedule(ScheduleArgs),
    /// Run the training stage of a TOML file, or continue the one in --out.
    Train(Box<train::TrainArgs>),
    /// Compare a device with the CPU, and time it: steps of training from a checkpoint or model file, as JSON lines.
    CheckDevice(train::CheckDeviceArgs),
    /// Compare what a device codes with what the processor codes, to the bit, and watch its memory: JSON lines.
    CheckCoding(check_coding::CheckCodingArgs),
    /// Write a checkpoint without the optimiser's state: enough to start a stage from, not to continue one.
    Slim(SlimArgs),
    /// Write a model file, or a detail file, from a checkpoint.
    Export(ExportArgs),
    /// Measure models on clips, beside classical encoders.
    #[cfg(feature = "gstreamer")]
    Eval(Box<eval::EvalArgs>),
    /// Measure models on clips, beside classical encoders (not in this build).
    #[cfg(not(feature = "gstreamer"))]
    Eval(Absent),
    /// Build the page of a blind study: which of two methods is closer to the original?
    #[cfg(feature = "gstreamer")]
    Study(study::StudyArgs),
    /// Count the answers of a study.
    #[cfg(feature = "gstreamer")]
    StudyTable(study::TableArgs),
    /// Measure a model on the held-out clips of prepared data.
    Score(eval::ScoreArgs),
    /// Measure encoding and decoding speed.
    Bench(bench::BenchArgs),
}

/// What a subcommand takes that needs GStreamer, in a build without it.
#[cfg(not(feature = "gstreamer"))]
#[derive(Args)]
struct Absent {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

#[cfg(not(feature = "gstreamer"))]
fn absent(name: &str) -> Result<()> {
    bail!(
        "{name} reads clips with GStreamer, which this build leaves out: build with the cargo feature `gstreamer` (the default)"
    )
}

#[cfg(feature = "gstreamer")]
#[derive(Args)]
struct PrepareArgs {
    /// What the files of a data set are, in TOML; trainer/manifest.toml is a template.
    #[arg(long)]
    manifest: Option<PathBuf>,
    /// Photo files or folders, of which nothing more is known.
    #[arg(long, num_args = 0..)]
    photos: Vec<PathBuf>,
    /// Clip files or folders, of which nothing more is known; anything that GStreamer can decode.
    #[arg(long, num_args = 0..)]
    clips: Vec<PathBuf>,
    /// Folder of the shards.
    #[arg(long)]
    out: PathBuf,
    /// Short side that clips are downscaled to, in pixels.
    #[arg(long, default_value_t = 360)]
    short_side: usize,
    /// Frames taken from a clip at most.
    #[arg(long, default_value_t = 240)]
    max_frames: usize,
    /// Keep the shards below this size, such as 55MiB or 2GB; without a unit, bytes.
    #[arg(long, value_parser = parse_size)]
    max_size: Option<u64>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Subcommand)]
enum DataCommand {
    /// Write shards as files of JPEG pictures, a tenth of their size, which all subcommands take in place of shards.
    Pack(PackArgs),
}

#[derive(Args)]
struct PackArgs {
    /// Shards made by `prepare`.
    #[arg(long)]
    data: PathBuf,
    /// Folder of the packs.
    #[arg(long)]
    out: PathBuf,
    /// MiB of all files together; what does not fit is left out.
    #[arg(long, default_value_t = 100.0)]
    max_mib: f64,
    /// MiB of each file.
    #[arg(long, default_value_t = 45.0)]
    part_mib: f64,
    /// JPEG quality.
    #[arg(long, default_value_t = 92, value_parser = clap::value_parser!(u8).range(50..=100))]
    quality: u8,
    /// Frames of each clip at most.
    #[arg(long, default_value_t = 96)]
    max_frames: usize,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum ProfileName {
    /// Real time on a CPU: depthwise-separable blocks on space-to-depth frames.
    Rt,
    /// The article's widths; for GPUs.
    Paper,
}

#[derive(Args)]
struct InitArgs {
    #[arg(long, value_enum)]
    profile: ProfileName,
    #[arg(long)]
    out: PathBuf,
    /// Seed of the random weights.
    #[arg(long, default_value_t = 1)]
    seed: i64,
    /// G_res sees the residual latent alone.
    #[arg(long)]
    no_free_latent: bool,
    /// G_res also sees the packed prediction (`rt`).
    #[arg(long)]
    context: bool,
    /// Channels at 1/8 (`rt`); there are twice as many at 1/16.
    #[arg(long, default_value_t = 96)]
    width: i64,
}

#[derive(Args)]
struct ScheduleArgs {
    /// The schedule, such as trainer/schedules/rt.toml.
    file: PathBuf,
    #[command(flatten)]
    run: train::RunArgs,
    /// Factor on all lengths; 1 is the schedule as it stands.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Where to start in place of fresh networks.
    #[arg(long)]
    init: Option<PathBuf>,
    /// Only say whether the schedule is valid and fits what it starts from.
    #[arg(long)]
    check: bool,
}

fn parse_size(text: &str) -> Result<u64, String> {
    let size = text.parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64());
    size.filter(|&bytes| bytes > 0 && bytes < u64::MAX).ok_or_else(|| format!("{text}: not a size such as 55MiB, 2GB or 4096"))
}

#[derive(Args)]
struct SlimArgs {
    #[arg(long)]
    checkpoint: PathBuf,
    /// Checkpoint of a run of stage `postfilter` whose filter it gets.
    #[arg(long)]
    postfilter: Option<PathBuf>,
    /// Checkpoint of a run of stage `intra` with `optimiser.keep-free-latent` whose I-branch it gets.
    #[arg(long)]
    intra: Option<PathBuf>,
    /// Checkpoint or model file: each parameter becomes the mean of both, after the options above. What a stage changed is halved by its
    /// starting point.
    #[arg(long)]
    mean_with: Option<PathBuf>,
    #[arg(long)]
    out: PathBuf,
}

#[derive(Args)]
struct ExportArgs {
    /// Checkpoint of a run, or a model file.
    #[arg(long)]
    checkpoint: PathBuf,
    /// Training data: what the integer layers of a new model are calibrated with, and whose symbols give their probabilities; without it those are Gaussians.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Calibrate the integer layers anew where the checkpoint says how they were.
    #[arg(long)]
    recalibrate: bool,
    #[arg(long)]
    out: PathBuf,
    /// Write the postfilter alone, as a detail file, which decoders use with any model of the profile (ngcdec detail-model=rich).
    #[arg(long, conflicts_with_all = ["intra_offset", "detail"])]
    postfilter_alone: bool,
    /// Take all but the postfilter and its strength from this model file, to the last bit: after a stage `postfilter`, streams stay what they were.
    #[arg(long, conflicts_with_all = ["intra_offset", "postfilter_alone"])]
    rest_from: Option<PathBuf>,
    /// Quality steps by which I-frames are better than the P-frames after them; by default as in the checkpoint.
    #[arg(long, value_parser = clap::value_parser!(u8).range(..=63))]
    intra_offset: Option<u8>,
    /// Strength of the postfilter that encoders ask for by default, 0 to 1; by default as in the checkpoint.
    #[arg(long, value_parser = detail)]
    detail: Option<u8>,
    /// A line for the file's metadata, such as the data's licences.
    #[arg(long, default_value = "")]
    notes: String,
}

/// A strength from 0 to 1, in steps of 1/255.
fn detail(text: &str) -> Result<u8, String> {
    match text.parse::<f32>() {
        Ok(detail) if (0.0..=1.0).contains(&detail) => Ok((detail * 255.0).round() as u8),
        _ => Err("a number from 0 to 1 is needed".into()),
    }
}

impl Cli {
    pub fn run(self) -> Result<()> {
        match self.command {
            #[cfg(feature = "gstreamer")]
            Command::Prepare(args) => run_prepare(args),
            #[cfg(not(feature = "gstreamer"))]
            Command::Prepare(_) => absent("prepare"),
            Command::Data(DataCommand::Pack(args)) => run_pack(args),
            Command::Init(args) => init(&args),
            Command::Schedule(args) => run_schedule(&args),
            Command::Train(args) => train::run(&args),
            Command::CheckDevice(args) => train::check_device(&args),
            Command::Slim(args) => {
                let mut checkpoint = Checkpoint::load(&args.checkpoint)?;
                if let Some(path) = &args.postfilter {
                    checkpoint.take_postfilter(&Checkpoint::load(path)?).with_context(|| path.display().to_string())?;
                }
                if let Some(path) = &args.intra {
                    checkpoint.take_intra(&Checkpoint::load(path)?).with_context(|| path.display().to_string())?;
                }
                if let Some(path) = &args.mean_with {
                    checkpoint.average_with(&load_start(path)?).with_context(|| path.display().to_string())?;
                }
                checkpoint.drop_optimiser();
                checkpoint.save(&args.out)
            }
            Command::Export(args) => {
                let mut checkpoint = load_start(&args.checkpoint)?;
                let model = &mut checkpoint.progress.model;
                model.intra_quality_offset = args.intra_offset.unwrap_or(model.intra_quality_offset);
                model.default_detail = args.detail.unwrap_or(model.default_detail);
                if args.recalibrate {
                    checkpoint.progress.fractions.clear();
                }
                let contents = match args.rest_from {
                    Some(rest) => export::Contents::PostfilterAnd(rest),
                    None if args.postfilter_alone => export::Contents::Postfilter,
                    None => export::Contents::Model,
                };
                export::export(&checkpoint, contents, args.data.as_deref(), &args.out, &args.notes)
            }
            #[cfg(feature = "gstreamer")]
            Command::Eval(args) => eval::run(&args),
            #[cfg(not(feature = "gstreamer"))]
            Command::Eval(_) => absent("eval"),
            #[cfg(feature = "gstreamer")]
            Command::Study(args) => study::run(&args),
            #[cfg(feature = "gstreamer")]
            Command::StudyTable(args) => study::table(&args),
            Command::Score(args) => eval::score_held_out(&args),
            Command::Bench(args) => bench::run(&args),
            Command::CheckCoding(args) => check_coding::run(&args),
        }
    }
}

#[cfg(feature = "gstreamer")]
fn run_prepare(args: PrepareArgs) -> Result<()> {
    let mut sources = args.manifest.as_deref().map(read_manifest).transpose()?.unwrap_or_default();
    sources.extend(plain(&args.clips, Kind::Clip)?);
    sources.extend(plain(&args.photos, Kind::Photo)?);
    if sources.is_empty() {
        bail!("nothing to prepare: give --manifest, --photos or --clips");
    }
    let options = PrepareOptions {
        sources,
        out: args.out,
        short_side: args.short_side,
        max_frames_per_clip: args.max_frames,
        max_size: args.max_size,
        seed: args.seed,
    };
    let summary = prepare(&options, &mut |line| eprintln!("{line}"))?;
    println!("{summary}");
    Ok(())
}

fn run_pack(args: PackArgs) -> Result<()> {
    if !(args.max_mib > 0.0 && args.part_mib > 0.0) {
        bail!("--max-mib and --part-mib are positive numbers");
    }
    let bytes = |mib: f64| (mib * f64::from(1 << 20)) as u64;
    let options = PackOptions {
        data: args.data,
        out: args.out,
        max_size: bytes(args.max_mib),
        part_size: bytes(args.part_mib),
        quality: args.quality,
        max_frames: args.max_frames,
    };
    println!("{}", pack(&options, &mut |line| eprintln!("{line}"))?);
    Ok(())
}

fn init(args: &InitArgs) -> Result<()> {
    let mut model = match args.profile {
        ProfileName::Rt => ModelConfig::rt_with(args.width, 128),
        ProfileName::Paper => ModelConfig::paper(),
    };
    model.free_latent = !args.no_free_latent;
    model.context = args.context;
    model.validate()?;
    tch::manual_seed(args.seed);
    let mut params = ParamStore::new();
    Networks::init(&mut params, &model, Device::Cpu)?;
    starting_point(model, &params).save(&args.out)
}

fn run_schedule(args: &ScheduleArgs) -> Result<()> {
    if !(args.scale.is_finite() && args.scale > 0.0) {
        bail!("--scale {}: a positive factor is needed", args.scale);
    }
    let schedule = Schedule::read(&args.file)?;
    let out = &args.run.out;
    // A stage at fault is found before the first one runs.
    let start = args.init.clone().unwrap_or_else(|| out.join("start.safetensors"));
    let in_schedule = || format!("schedule {}", args.file.display());
    let stages = schedule.stages(out, &start, args.scale).with_context(in_schedule)?;
    if let Some(init) = &args.init {
        train::refuse_unfit_start(&stages, init).with_context(in_schedule)?;
    }
    if args.check {
        println!("{}: {} stages", args.file.display(), stages.len());
        return Ok(());
    }
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    if args.init.is_none() && !start.exists() {
        let profile = match schedule.profile {
            codec_core::bitstream::Profile::Rt => ProfileName::Rt,
            codec_core::bitstream::Profile::Paper => ProfileName::Paper,
        };
        init(&InitArgs { profile, out: start.clone(), seed: 1, no_free_latent: false, context: false, width: 96 })?;
    }
    for stage in stages {
        let path = schedule_file::checkpoint(out, &stage.name);
        if path.exists() && Checkpoint::load(&path)?.is_finished() {
            println!("{}: done before", stage.name);
            continue;
        }
        train::run_stage(&stage.file, stage.budget, &args.run, &out.join(&stage.name), Some(&stage.start))
            .with_context(|| format!("stage {} of {}", stage.name, args.file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("55MiB"), Ok(55 << 20));
        assert_eq!((parse_size("4096"), parse_size("5MB")), (Ok(4096), Ok(5_000_000)));
        assert!(["0", "5XB", "MiB", "-1KiB", "99999999999999GiB"].iter().all(|text| parse_size(text).is_err()));
    }

    #[cfg(feature = "gstreamer")]
    #[test]
    fn manual_page_and_completion_are_current() {
        use clap::CommandFactory;
        crate::pages::check(Cli::command());
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
