//! The subcommand `train`.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use codec_core::bitstream::Profile;
use codec_core::training::nn::{Network, PostfilterConfig, Precision};

use crate::train::loss::{Distortion, Fidelity};
use crate::train::schedule::{Budget, Unroll, parse_seconds};
use crate::train::{
    FlowSource, GanLosses, InterLosses, PATTERN_WEIGHT, RunPaths, Stage, TrainConfig, device, load_start, rate_controller,
    selftest, train,
};

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum StageName {
    /// E_I and G_I on single frames.
    Intra,
    /// Flow and residual codec on unrolled clips, the I-branch frozen.
    Inter,
    /// G_I and G_res alone, against discriminators: the economical GAN stage.
    Detail,
    /// The filter between decoded frame and screen, on frames as the codec makes them.
    Postfilter,
    /// UFlow, without labels.
    Flow,
}

#[derive(Args)]
pub struct TrainArgs {
    stage: StageName,
    /// Shards made by `prepare`.
    #[arg(long)]
    data: PathBuf,
    /// Folder of the run: checkpoint and logs. An existing run is continued.
    #[arg(long)]
    out: PathBuf,
    /// Where to start: a checkpoint of another stage, or a model file.
    #[arg(long)]
    init: Option<PathBuf>,
    /// Inter stage: start the residual branch from the I-branch, as the article does.
    #[arg(long)]
    residual_from_intra: bool,
    /// Let G_res see the packed prediction (conditional coding), where that of the initial model does not.
    #[arg(long)]
    context: bool,
    /// Postfilter stage: weight of luma's error that repeats every 2, 4 or 8 samples.
    #[arg(long, default_value_t = PATTERN_WEIGHT)]
    pattern: f64,
    /// Postfilter stage: start with a fresh filter of this many channels and blocks, in place of the model's own: WIDTH,BLOCKS.
    #[arg(long, value_parser = parse_postfilter)]
    fresh_postfilter: Option<PostfilterConfig>,
    /// Postfilter stage: let the filter see the frame shown before, where the initial model's filter does not.
    #[arg(long)]
    recurrent: bool,
    /// Length in steps.
    #[arg(long, conflicts_with = "time_budget")]
    steps: Option<u64>,
    /// Length in wall-clock time over all sessions: 90s, 20m, 4h.
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
    /// Learning rate of analysis and synthesis transforms relative to --lr, where entropy models have more to learn.
    #[arg(long, default_value_t = 1.0)]
    transform_rate: f64,
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
    /// Weight of the distortion of the prediction, faded to a tenth over the inter stage.
    #[arg(long, default_value_t = InterLosses::default().warp)]
    warp_loss: f64,
    /// Quality steps by which I-frames are better than the P-frames of a clip (inter stage): LEAST,MOST.
    #[arg(long, default_value = "4,8", value_parser = parse_range)]
    intra_offset: (u8, u8),
    /// Most quality steps between a clip and its single P-frames, in half of the clips (inter stage).
    #[arg(long, default_value_t = InterLosses::default().swing, value_parser = clap::value_parser!(u8).range(..=63))]
    quality_swing: u8,
    /// Most frames coded without learning before the P-frames that are learned from (all stages but intra and flow).
    #[arg(long, default_value_t = InterLosses::default().lead_in, value_parser = clap::value_parser!(u32).range(..=100))]
    lead_in: u32,
    /// Flow that the flow codec learns to transmit: dis, or a checkpoint of the stage flow.
    #[arg(long, default_value = "dis")]
    flow: FlowSource,
    #[command(flatten)]
    gan: GanArgs,
    /// Hold these bits per pixel at qualities 0 and 63 with the proportional rate controller: BEST,WORST.
    #[arg(long, value_parser = parse_pair)]
    target_bpp: Option<(f64, f64)>,
    /// Train the entropy models alone, to fit what transforms, motion estimation and keyframes give them by now (stages intra and
    /// inter).
    #[arg(long)]
    entropy_alone: bool,
    /// Compute the convolutions inside the transforms in bfloat16: for GPUs that have it (Ampere and later).
    #[arg(long)]
    mixed_precision: bool,
    /// Round weights and activations as the integer engine does, so that training makes up for it. --init must be an exported model,
    /// which has been calibrated.
    #[arg(long, conflicts_with = "mixed_precision")]
    simulate_integers: bool,
    /// Let products on a GPU round their factors to TF32 (10 bits), which is faster where batches are large.
    #[arg(long)]
    tf32: bool,
    /// Compute device: cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: codec_core::DeviceSpec,
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
    /// Weight of the similarity of structure and texture of LPIPS's features; needs --lpips-weights.
    #[arg(long)]
    texture: Option<f64>,
    /// LPIPS weights (AlexNet or VGG16), as safetensors in torchvision's naming.
    #[arg(long)]
    lpips_weights: Option<PathBuf>,
    /// Weights of another network for the texture loss.
    #[arg(long)]
    texture_weights: Option<PathBuf>,
    /// Weights of DISTS: the texture loss is the metric itself, and not its form with every channel of VGG16 alike.
    #[arg(long)]
    dists_weights: Option<PathBuf>,
    /// Compute LPIPS and texture in bfloat16: twice as fast on processors with AVX512-BF16 or AMX and on GPUs, slow on others.
    #[arg(long)]
    half_features: bool,
    /// Frames of each clip on which LPIPS and texture are computed, drawn anew for each step and standing for all, where all would
    /// take too long (detail stage).
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    deep_frames: Option<u32>,
    /// LPIPS of one half of each batch and texture of the other: half of the time for deep features.
    #[arg(long)]
    split_deep: bool,
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
        let defaults = match stage {
            StageName::Detail => GanLosses::detail(),
            StageName::Postfilter => GanLosses::postfilter(),
            _ => GanLosses::default(),
        };
        GanLosses {
            adversarial: self.adversarial.unwrap_or(defaults.adversarial),
            feature_matching: self.feature_matching.unwrap_or(defaults.feature_matching),
            lpips: self.lpips.unwrap_or(if self.lpips_weights.is_some() { defaults.lpips } else { 0.0 }),
            texture: self.texture.unwrap_or(if self.lpips_weights.is_some() || self.texture_weights.is_some() {
                defaults.texture
            } else {
                0.0
            }),
            statistics: self.statistics.unwrap_or(defaults.statistics),
            conditional: !self.unconditional,
            width: self.discriminator_width,
            lpips_weights: self.lpips_weights,
            texture_weights: self.texture_weights,
            dists_weights: self.dists_weights,
            half_features: self.half_features,
            deep_frames: self.deep_frames.map(|count| count as usize),
            split_deep: self.split_deep,
        }
    }
}

fn parse_pair(text: &str) -> Result<(f64, f64), String> {
    match two(text) {
        Some((a, b)) if a > b && b > 0.0 => Ok((a, b)),
        _ => Err(format!("{text}: write two positive numbers, the larger first, such as 0.5,0.02")),
    }
}

/// Exactly two values with a comma between.
fn two<T: FromStr>(text: &str) -> Option<(T, T)> {
    let (a, b) = text.split_once(',')?;
    Some((a.trim().parse().ok()?, b.trim().parse().ok()?))
}

fn parse_postfilter(text: &str) -> Result<PostfilterConfig, String> {
    match two::<u16>(text) {
        Some((width, blocks)) => {
            Ok(PostfilterConfig { width: width.into(), blocks: blocks.into(), ..PostfilterConfig::default() })
        }
        None => Err(format!("{text}: write channels and blocks, such as 64,6")),
    }
}

fn parse_range(text: &str) -> Result<(u8, u8), String> {
    match two(text) {
        Some((a, b)) if a <= b && b <= 63 => Ok((a, b)),
        _ => Err(format!("{text}: write two numbers of 0 to 63, the smaller first, such as 4,20")),
    }
}

/// Runs or goes on with a stage.
pub fn run(args: TrainArgs) -> Result<()> {
    let stage = match args.stage {
        StageName::Intra => Stage::Intra,
        StageName::Inter => Stage::Inter {
            unroll: Unroll::parse(&args.unroll)?,
            losses: InterLosses {
                shift: args.shift,
                drift: args.drift,
                sigma: args.sigma,
                flow: args.flow_loss,
                warp: args.warp_loss,
                intra_offset: args.intra_offset,
                swing: args.quality_swing,
                lead_in: args.lead_in,
                ..InterLosses::default()
            },
        },
        StageName::Detail => Stage::Detail { unroll: Unroll::parse(&args.unroll)?, shift: args.shift, lead_in: args.lead_in },
        StageName::Postfilter => Stage::Postfilter { lead_in: args.lead_in, pattern: args.pattern },
        StageName::Flow => Stage::Flow,
    };
    let discriminator_rate = args.gan.discriminator_rate;
    let gan = args.gan.losses(args.stage);
    if args.stage == StageName::Postfilter && gan.is_off() {
        bail!("distortion alone would switch the postfilter off: give --lpips-weights FILE, --adversarial or --statistics");
    }
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
        discriminator_rate,
        transform_rate: args.transform_rate,
        gan,
        flow: args.flow,
        ema_decay: args.ema,
        batch: args.batch,
        crop: args.crop,
        photo_share: args.photo_share,
        entropy_alone: args.entropy_alone,
        precision: match (args.simulate_integers, args.mixed_precision) {
            (true, _) => Precision::Simulated,
            (false, true) => Precision::Mixed,
            (false, false) => Precision::Full,
        },
        workers: args.workers.max(1),
        seed: args.seed,
    };
    let mut start = args.init.as_deref().map(load_start).transpose()?;
    if let Some(start) = &mut start {
        let before = start.progress.model.clone();
        let fresh_postfilter =
            args.stage == StageName::Postfilter && (args.fresh_postfilter.is_some() || before.postfilter.is_none());
        if fresh_postfilter {
            start.forget(Network::Postfilter, &before)?;
        }
        let model = &mut start.progress.model;
        model.context |= args.context;
        if fresh_postfilter {
            let fresh = args.fresh_postfilter.unwrap_or_default();
            model.postfilter = Some(PostfilterConfig { recurrent: model.profile == Profile::Rt, ..fresh });
        }
        if let Some(postfilter) = &mut model.postfilter {
            postfilter.recurrent |= args.recurrent;
        }
        if args.residual_from_intra || *model != before {
            start.progress.fractions.clear();
        }
        if args.residual_from_intra {
            start.residual_from_intra()?;
        }
        start.progress.rate = args.target_bpp.map(|(best, worst)| rate_controller(best, worst));
    }
    let paths = RunPaths { data: args.data, out: args.out, checkpoint_seconds: args.checkpoint_seconds };
    let device = device::open(&args.device, args.tf32)?;
    if let Some(start) = &start {
        device::choose_kernels(device, &start.progress.model, (config.batch, config.crop), config.precision)?;
    }
    train(config, start, &paths, device)
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
        println!("{}", serde_json::to_string(comparison)?);
    }
    let wrong: Vec<&str> = comparisons.iter().filter(|c| !c.agrees()).map(|c| c.stage).collect();
    if !wrong.is_empty() {
        bail!("{device:?} differs from the CPU in the stages {}", wrong.join(", "));
    }
    Ok(())
}
