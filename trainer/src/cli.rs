//! Command line of `ngc-trainer`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use codec_core::{ModelConfig, Networks, ParamStore};
use tch::Device;

use crate::data::{PrepareOptions, prepare};
use crate::schedule_file::{self, Folders, Schedule};
use crate::train::checkpoint::Checkpoint;
use crate::train::loss::{Distortion, Fidelity};
use crate::train::schedule::{Budget, Unroll, parse_seconds};
use crate::train::{
    FlowSource, GanLosses, InterLosses, RunPaths, Stage, TrainConfig, load_start, rate_controller, starting_point, train,
};
use crate::{bench, eval, export, import, reference, study};

/// Trains, exports and measures NGC models.
#[derive(Parser)]
#[command(name = "ngc-trainer", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make training shards of photos and clips.
    Prepare(PrepareArgs),
    /// Make a starting point with fresh networks.
    Init(InitArgs),
    /// Run all stages of a TOML schedule, or go on where they were left.
    Schedule(ScheduleArgs),
    /// Run a training stage, or go on with the one in --out.
    Train(Box<TrainArgs>),
    /// Write a model file from a checkpoint.
    Export(ExportArgs),
    /// Turn the prototype's weights into a starting checkpoint.
    ImportReference(ImportArgs),
    /// Compare the networks with the prototype's vectors.
    CheckReference(CheckArgs),
    /// Measure models on clips, beside classical encoders.
    Eval(Box<eval::EvalArgs>),
    /// Build the page of a blind study: which of two methods is closer to the original?
    Study(study::StudyArgs),
    /// Count the answers of a study.
    StudyTable(study::TableArgs),
    /// Measure encoding and decoding speed.
    Bench(bench::BenchArgs),
}

#[derive(Args)]
struct PrepareArgs {
    /// Photo files or folders.
    #[arg(long, num_args = 0..)]
    photos: Vec<PathBuf>,
    /// Clip files or folders; anything that GStreamer can decode.
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
    /// Keep the shards below so many MiB.
    #[arg(long)]
    max_size_mib: Option<u64>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
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
}

#[derive(Args)]
struct ScheduleArgs {
    /// The schedule, such as trainer/schedules/rt.toml.
    file: PathBuf,
    /// Shards made by `prepare`.
    #[arg(long)]
    data: PathBuf,
    /// Folder of the runs, one below it for each stage.
    #[arg(long)]
    out: PathBuf,
    /// Factor on all lengths; 1 is the schedule as it stands.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Where to start in place of fresh networks.
    #[arg(long)]
    init: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum StageName {
    /// E_I and G_I on single frames.
    Intra,
    /// Flow and residual codec on unrolled clips, the I-branch frozen.
    Inter,
    /// G_I and G_res alone, against discriminators: the economical GAN stage.
    Detail,
    /// UFlow, without labels.
    Flow,
}

#[derive(Args)]
struct TrainArgs {
    stage: StageName,
    /// Shards made by `prepare`.
    #[arg(long)]
    data: PathBuf,
    /// Folder of the run: checkpoint and logs. A run that is there is gone on with.
    #[arg(long)]
    out: PathBuf,
    /// Where to start: a checkpoint of another stage or a model file.
    #[arg(long)]
    init: Option<PathBuf>,
    /// Inter stage: start the residual branch from the I-branch, as the article does.
    #[arg(long)]
    residual_from_intra: bool,
    /// Let G_res see the packed prediction (conditional coding) where the model to start from does not.
    #[arg(long)]
    context: bool,
    /// Length in steps.
    #[arg(long, conflicts_with = "time_budget")]
    steps: Option<u64>,
    /// Length in wall-clock time over all sittings: 90s, 20m, 4h.
    #[arg(long, value_parser = parse_seconds)]
    time_budget: Option<f64>,
    /// Unroll lengths T with their shares of the stage.
    #[arg(long, default_value = "2:1,3:1.5,4:2,6:2,8:2")]
    unroll: String,
    #[arg(long, value_enum, default_value_t)]
    distortion: Distortion,
    /// Weight of the mean error of U and V beside Y.
    #[arg(long, default_value_t = 1.0)]
    chroma_weight: f64,
    /// Peak learning rate.
    #[arg(long, default_value_t = 1e-3)]
    lr: f64,
    #[arg(long, default_value_t = 0.999)]
    ema: f64,
    /// Clips per worker and step.
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Side of the crops in pixels, a multiple of 64.
    #[arg(long, default_value_t = 128)]
    crop: usize,
    /// Share of photos (with simulated camera motion in the inter stage).
    #[arg(long, default_value_t = 0.3)]
    photo_share: f32,
    /// Seconds between checkpoints; 0: one after every step.
    #[arg(long, default_value_t = 300.0)]
    checkpoint_seconds: f64,
    /// Single-threaded replicas.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Share of frames with a random residual shift.
    #[arg(long, default_value_t = InterLosses::default().shift)]
    shift: f64,
    /// Weight of the low-pass colour error.
    #[arg(long, default_value_t = InterLosses::default().drift)]
    drift: f64,
    /// Weight of blur and its changes (inter stage).
    #[arg(long, default_value_t = InterLosses::default().sigma)]
    sigma: f64,
    /// Weight of the L1 between decoded and estimated flow, faded out over the inter stage.
    #[arg(long, default_value_t = InterLosses::default().flow)]
    flow_loss: f64,
    /// Flow that the flow codec learns to pass on: dis, or a checkpoint of the stage flow.
    #[arg(long, default_value = "dis")]
    flow: FlowSource,
    #[command(flatten)]
    gan: GanArgs,
    /// Hold these bits per pixel at qualities 0 and 63 with the proportional rate controller: BEST,WORST.
    #[arg(long, value_parser = parse_pair)]
    target_bpp: Option<(f64, f64)>,
    /// Compute device: cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: codec_core::DeviceSpec,
}

/// Losses beside rate and distortion. The stage detail has its own defaults.
#[derive(Args)]
struct GanArgs {
    /// Weight of the adversarial loss; 0: no discriminators unless features are matched.
    #[arg(long)]
    adversarial: Option<f64>,
    /// Weight of the L1 between the discriminator's features of real and decoded frames.
    #[arg(long)]
    feature_matching: Option<f64>,
    /// Weight of LPIPS; needs --lpips-weights.
    #[arg(long)]
    lpips: Option<f64>,
    /// LPIPS weights (AlexNet or VGG16), as safetensors in torchvision's naming.
    #[arg(long)]
    lpips_weights: Option<PathBuf>,
    /// Weight of the multi-scale loss on local statistics.
    #[arg(long)]
    statistics: Option<f64>,
    /// The discriminators see the image alone, not the latent.
    #[arg(long)]
    unconditional: bool,
    /// Width of the discriminators' first layer.
    #[arg(long, default_value_t = GanLosses::default().width)]
    discriminator_width: i64,
    /// Learning rate of the discriminators relative to --lr.
    #[arg(long, default_value_t = 1.0)]
    discriminator_rate: f64,
}

impl GanArgs {
    fn losses(self, stage: StageName) -> GanLosses {
        let defaults = if stage == StageName::Detail { GanLosses::detail() } else { GanLosses::default() };
        GanLosses {
            adversarial: self.adversarial.unwrap_or(defaults.adversarial),
            feature_matching: self.feature_matching.unwrap_or(defaults.feature_matching),
            lpips: self.lpips.unwrap_or(if self.lpips_weights.is_some() { defaults.lpips } else { 0.0 }),
            statistics: self.statistics.unwrap_or(defaults.statistics),
            conditional: !self.unconditional,
            width: self.discriminator_width,
            lpips_weights: self.lpips_weights,
        }
    }
}

fn parse_pair(text: &str) -> Result<(f64, f64), String> {
    let parts: Vec<f64> = text.split(',').filter_map(|p| p.trim().parse().ok()).collect();
    match parts[..] {
        [a, b] if a > b && b > 0.0 => Ok((a, b)),
        _ => Err(format!("{text}: write two positive numbers, the larger first, such as 0.5,0.02")),
    }
}

#[derive(Args)]
struct ExportArgs {
    #[arg(long)]
    checkpoint: PathBuf,
    /// Checkpoint of the stage detail that started from --checkpoint: its synthesis transforms become the detailed ones.
    #[arg(long)]
    detail: Option<PathBuf>,
    #[arg(long)]
    out: PathBuf,
    /// A line for the file's metadata, such as the data's licences.
    #[arg(long, default_value = "")]
    notes: String,
}

#[derive(Args)]
struct ImportArgs {
    /// The prototype's safetensors file.
    #[arg(long)]
    weights: PathBuf,
    #[arg(long)]
    out: PathBuf,
}

#[derive(Args)]
struct CheckArgs {
    /// The prototype's safetensors file.
    #[arg(long)]
    weights: PathBuf,
    /// Its test vectors.
    #[arg(long)]
    vectors: PathBuf,
}

impl Cli {
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Prepare(args) => run_prepare(args),
            Command::Init(args) => init(&args),
            Command::Schedule(args) => run_schedule(&args),
            Command::Train(args) => run_train(*args),
            Command::Export(args) => {
                let detail = args.detail.as_deref().map(Checkpoint::load).transpose()?;
                export::export(&Checkpoint::load(&args.checkpoint)?, detail.as_ref(), &args.out, &args.notes)
            }
            Command::ImportReference(args) => {
                let (model, params) = import::import_prototype(&args.weights)?;
                starting_point(model, &params).save(&args.out)
            }
            Command::CheckReference(args) => reference::check(&args.weights, &args.vectors),
            Command::Eval(args) => eval::run(&args),
            Command::Study(args) => study::run(&args),
            Command::StudyTable(args) => study::table(&args),
            Command::Bench(args) => bench::run(&args),
        }
    }
}

fn run_prepare(args: PrepareArgs) -> Result<()> {
    if args.photos.is_empty() && args.clips.is_empty() {
        bail!("nothing to prepare: give --photos or --clips");
    }
    let options = PrepareOptions {
        photos: args.photos,
        clips: args.clips,
        out: args.out,
        short_side: args.short_side,
        max_frames_per_clip: args.max_frames,
        max_size: args.max_size_mib.map(|m| m << 20),
        seed: args.seed,
    };
    let summary = prepare(&options, &mut |line| eprintln!("{line}"))?;
    println!("{summary}");
    Ok(())
}

fn init(args: &InitArgs) -> Result<()> {
    let mut model = match args.profile {
        ProfileName::Rt => ModelConfig::rt(),
        ProfileName::Paper => ModelConfig::paper(),
    };
    model.free_latent = !args.no_free_latent;
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
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let start = args.init.clone().unwrap_or_else(|| args.out.join("start.safetensors"));
    if args.init.is_none() && !start.exists() {
        let profile = match schedule.profile {
            codec_core::bitstream::Profile::Rt => ProfileName::Rt,
            codec_core::bitstream::Profile::Paper => ProfileName::Paper,
        };
        init(&InitArgs { profile, out: start.clone(), seed: 1, no_free_latent: false })?;
    }
    let folders = Folders { data: &args.data, out: &args.out, start: &start };
    for stage in schedule.commands(&folders, args.scale)? {
        let path = schedule_file::checkpoint(&args.out, &stage.name);
        if path.exists() && Checkpoint::load(&path)?.is_finished() {
            println!("{}: done before", stage.name);
            continue;
        }
        let in_stage = || format!("stage {} of {}", stage.name, args.file.display());
        let cli = Cli::try_parse_from(std::iter::once("ngc-trainer".to_owned()).chain(stage.arguments)).with_context(in_stage)?;
        cli.run().with_context(in_stage)?;
    }
    Ok(())
}

fn run_train(args: TrainArgs) -> Result<()> {
    let stage = match args.stage {
        StageName::Intra => Stage::Intra,
        StageName::Inter => Stage::Inter {
            unroll: Unroll::parse(&args.unroll)?,
            losses: InterLosses {
                shift: args.shift,
                drift: args.drift,
                sigma: args.sigma,
                flow: args.flow_loss,
                ..InterLosses::default()
            },
        },
        StageName::Detail => Stage::Detail { unroll: Unroll::parse(&args.unroll)?, shift: args.shift },
        StageName::Flow => Stage::Flow,
    };
    let budget = match (args.steps, args.time_budget) {
        (Some(steps), _) => Budget::Steps(steps),
        (None, Some(seconds)) => Budget::Seconds(seconds),
        (None, None) => bail!("say how long to train: --steps N or --time-budget 20m"),
    };
    let config = TrainConfig {
        stage,
        budget,
        fidelity: Fidelity { kind: args.distortion, chroma_weight: args.chroma_weight },
        learning_rate: args.lr,
        discriminator_rate: args.gan.discriminator_rate,
        gan: args.gan.losses(args.stage),
        flow: args.flow,
        ema_decay: args.ema,
        batch: args.batch,
        crop: args.crop,
        photo_share: args.photo_share,
        workers: args.workers.max(1),
        seed: args.seed,
    };
    let mut start = args.init.as_deref().map(load_start).transpose()?;
    if let Some(start) = &mut start {
        start.progress.model.context |= args.context;
        if args.residual_from_intra {
            let mut params = start.averaged_params();
            codec_core::Networks::init(&mut params, &start.progress.model, Device::Cpu)?;
            codec_core::Networks::init_residual_from_intra(&mut params)?;
            start.tensors.extend(params.iter().map(|(name, t)| (format!("param/{name}"), t.shallow_clone())));
            start.tensors.retain(|name, _| !name.starts_with("ema/residual."));
        }
        start.progress.rate = args.target_bpp.map(|(best, worst)| rate_controller(best, worst));
    }
    let paths = RunPaths { data: args.data, out: args.out, checkpoint_seconds: args.checkpoint_seconds };
    let device = codec_core::device::open(&args.device).context("--device")?;
    train(config, start, &paths, device)
}
