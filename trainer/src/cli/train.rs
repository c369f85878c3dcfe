//! The subcommands `train` and `check-device`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use codec_core::bitstream::Profile;
use codec_core::training::nn::{Network, PostfilterConfig, Precision};

use crate::schedule_file::ScheduledStage;
use crate::stage_file::{Machine, Plan, StageFile, StartPlan};
use crate::train::batch::CacheSize;
use crate::train::checkpoint::Checkpoint;
use crate::train::schedule::{Budget, parse_seconds};
use crate::train::{Hardware, RunPaths, device, load_start, rate_controller, selftest, train};

/// What concerns the machine and the run. All that decides what is learned stands in files.
#[derive(Args)]
pub struct RunArgs {
    /// Shards made by `prepare`, or packs.
    #[arg(long)]
    pub data: PathBuf,
    /// Folder of the run (of the runs, one below it for each stage of a schedule): checkpoints and logs. What is there is continued.
    #[arg(long)]
    pub out: PathBuf,
    /// Compute device: cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: codec_core::DeviceSpec,
    /// Single-threaded replicas; by default 2 on a CPU and 1 on a GPU.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds between checkpoints; 0: one after every step.
    #[arg(long, default_value_t = 300.0)]
    checkpoint_seconds: f64,
    /// Clips of a batch that are computed at a time, at most: a matter of memory and speed; what is learned depends on batch.clips
    /// alone. By default 4 on a CPU, and all on a GPU.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    micro_batch: Option<u16>,
    /// Training data that the device keeps, so that it cuts crops by itself: a size such as 800MiB, or off. By default 4 GiB on a GPU
    /// and nothing on a CPU.
    #[arg(long, value_name = "SIZE", default_value = "auto")]
    cache: CacheSize,
    /// Let products on a GPU round their factors to TF32 (10 bits), which is faster where batches are large.
    #[arg(long)]
    tf32: bool,
}

#[derive(Args)]
pub struct TrainArgs {
    /// The stage in TOML; docs/training.md lists its keys.
    file: PathBuf,
    #[command(flatten)]
    run: RunArgs,
    /// Where to start: a checkpoint of another stage, or a model file.
    #[arg(long)]
    init: Option<PathBuf>,
    /// Length in steps, in place of the file's.
    #[arg(long, conflicts_with = "time_budget", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// Length in wall-clock time over all runs that continue it, in place of the file's: 90s, 20m, 4h.
    #[arg(long, value_parser = parse_seconds)]
    time_budget: Option<f64>,
}

#[derive(Args)]
pub struct CheckDeviceArgs {
    /// Checkpoint or model file.
    #[arg(long)]
    init: PathBuf,
    /// Shards made by `prepare`, or packs.
    #[arg(long)]
    data: PathBuf,
    #[arg(long, default_value = "auto")]
    device: codec_core::DeviceSpec,
    /// Clips and crops of the steps that are timed.
    #[arg(long, default_value_t = 32)]
    batch: usize,
    #[arg(long, default_value_t = 256)]
    crop: usize,
    #[arg(long, default_value_t = 10)]
    steps: usize,
    #[arg(long)]
    mixed_precision: bool,
    #[arg(long)]
    tf32: bool,
}

/// Runs or goes on with the stage of a file.
pub fn run(args: &TrainArgs) -> Result<()> {
    let file = StageFile::read(&args.file)?;
    let budget = match (args.steps, args.time_budget) {
        (Some(steps), _) => Budget::Steps(steps),
        (None, Some(seconds)) => Budget::Seconds(seconds),
        (None, None) => file.budget()?,
    };
    run_stage(&file, budget, &args.run, &args.run.out, args.init.as_deref())
}

/// Runs or goes on with a stage in the folder `out`.
pub fn run_stage(file: &StageFile, budget: Budget, args: &RunArgs, out: &Path, init: Option<&Path>) -> Result<()> {
    let device = device::open(&args.device, args.tf32)?;
    let workers = args.workers.map_or(if device.is_cuda() { 1 } else { 2 }, usize::from);
    let Plan { config, start: wanted, target_bpp } = file.plan(budget, Machine { workers, seed: args.seed })?;
    let hardware = Hardware::new(device, args.micro_batch.map(usize::from), args.cache);
    let mut start = init.map(load_start).transpose()?;
    if let Some(start) = &mut start {
        adapt(start, &wanted)?;
        start.progress.rate = target_bpp.map(|(best, worst)| rate_controller(best, worst));
        let at_a_time = config.batch.min(hardware.micro_batch);
        device::choose_kernels(device, &start.progress.model, (at_a_time, config.crop), config.precision)?;
    }
    let paths = RunPaths { data: args.data.clone(), out: out.to_owned(), checkpoint_seconds: args.checkpoint_seconds };
    train(config, start, &paths, hardware)
}

/// Gives the networks that a stage starts from what it wants of them.
fn adapt(start: &mut Checkpoint, wanted: &StartPlan) -> Result<()> {
    if wanted.complete_linear {
        start.complete_linear()?;
    }
    if wanted.intra_prediction {
        start.predict_intra()?;
    }
    if let Some(size) = wanted.widen_postfilter {
        start.widen_postfilter(size.width.into(), size.blocks.map(usize::from))?;
    }
    let before = start.progress.model.clone();
    let fresh = wanted.fresh_postfilter.is_some() || wanted.needs_postfilter && before.postfilter.is_none();
    if fresh {
        start.forget(Network::Postfilter, &before)?;
    }
    let model = &mut start.progress.model;
    model.context |= wanted.context;
    if fresh {
        let size = wanted.fresh_postfilter.clone().unwrap_or_default();
        model.postfilter = Some(PostfilterConfig { recurrent: model.profile == Profile::Rt, ..size });
    }
    if let Some(postfilter) = &mut model.postfilter {
        postfilter.recurrent |= wanted.recurrent_postfilter;
    }
    if wanted.residual_from_intra || *model != before {
        start.progress.fractions.clear();
    }
    if wanted.residual_from_intra {
        refuse_trained_residual(start)?;
        start.residual_from_intra()?;
    }
    Ok(())
}

/// # Errors
/// Where a stage of a schedule would overwrite what P-frames have learned in `init`.
pub fn refuse_unfit_start(stages: &[ScheduledStage], init: &Path) -> Result<()> {
    let Some(stage) = stages.iter().find(|stage| stage.file.replaces_residual()) else { return Ok(()) };
    let at = || format!("stage {}, from {}", stage.name, init.display());
    refuse_trained_residual(&load_start(init)?).with_context(at)
}

/// # Errors
/// Where `start.residual-from-intra` would overwrite what P-frames have learned.
fn refuse_trained_residual(start: &Checkpoint) -> Result<()> {
    ensure!(
        !start.residual_is_trained()?,
        "start.residual-from-intra would overwrite a residual branch that has been trained: leave the key out to go on with it \
         (as trainer/schedules/continue.toml does), or start from fresh networks (ngc-trainer init)"
    );
    Ok(())
}

/// Prints one JSON object a stage.
pub fn check_device(args: &CheckDeviceArgs) -> Result<()> {
    let device = device::open(&args.device, args.tf32)?;
    let precision = if args.mixed_precision { Precision::Mixed } else { Precision::Full };
    let start = load_start(&args.init)?;
    device::choose_kernels(device, &start.progress.model, (args.batch, args.crop), precision)?;
    let sizes = selftest::Sizes { batch: args.batch, crop: args.crop, steps: args.steps, precision };
    let comparisons = selftest::compare(&start, &args.data, device, sizes)?;
    for comparison in &comparisons {
        let mut line = serde_json::to_value(comparison)?;
        line["device"] = format!("{device:?}").into();
        println!("{line}");
    }
    let wrong: Vec<&str> = comparisons.iter().filter(|c| !c.agrees()).map(|c| c.stage).collect();
    if !wrong.is_empty() {
        bail!("{device:?} differs from the CPU in the stages {}", wrong.join(", "));
    }
    Ok(())
}
