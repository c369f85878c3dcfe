//! Loss of one training step of each stage.

use anyhow::{Context, Result};
use codec_core::bitstream;
use codec_core::nn::Networks;
use codec_core::nn::codec::{CodedFrame, InterState, PreparedModel, quality_tensor};
use codec_core::nn::entropy::{Arithmetic, Quantiser};
use codec_core::nn::ops::Planes;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::gan::{Adversary, Judge};
use super::loss::{Fidelity, drift, lambda_weights, pattern, psnr};
use super::motion::Motion;
use super::noise::StepRng;

/// Weights of the P-stage's auxiliary losses (recipe section 2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InterLosses {
    /// Distortion of the prediction, faded to a tenth over the stage.
    pub warp: f64,
    /// L1 between decoded and estimated flow in units of 8 pixels, faded out by 60 % of the stage.
    pub flow: f64,
    /// Low-pass colour error, growing with the frame's number.
    pub drift: f64,
    /// Extra weight of each later frame.
    pub growth: f64,
    /// Share of frames whose residual branch is shifted.
    pub shift: f64,
    /// Blur and its changes from place to place: blur is for what cannot be predicted.
    pub sigma: f64,
    /// Quality steps by which a clip's I-frame is better than its P-frames: least and most. A wide range teaches P-frames
    /// to keep a good reference.
    pub intra_offset: (u8, u8),
    /// Most quality steps by which single P-frames of half of the clips are better or worse than the clip, as under rate control.
    pub swing: u8,
    /// Most frames that are coded without learning before those that are learned from: what a long stream has become, and
    /// not only what follows a keyframe. Their number is drawn for each step.
    pub lead_in: u32,
}

impl Default for InterLosses {
    fn default() -> Self {
        Self {
            warp: 0.3,
            flow: 0.02,
            drift: 1.0,
            growth: 0.1,
            shift: 0.75,
            sigma: 0.002,
            intra_offset: (4, 8),
            swing: 0,
            lead_in: 0,
        }
    }
}

/// A batch on the device: planes of each frame.
pub struct Clip {
    pub frames: Vec<Planes>,
}

/// What a step reports: name and value.
pub type Metrics = Vec<(&'static str, f64)>;

/// The loss to differentiate and what to log. `rates` holds each example's (quality, bits per pixel).
pub struct StepResult {
    pub loss: Tensor,
    pub metrics: Metrics,
    pub rates: Vec<(u8, f64)>,
}

/// Everything a step needs beside its batch.
pub struct StepContext<'a> {
    pub networks: &'a Networks,
    pub adversary: Option<&'a Adversary>,
    pub motion: &'a Motion,
    pub fidelity: Fidelity,
    /// Share of the stage that is done.
    pub fraction: f64,
    /// Factor on the rate of each quality index, from the rate controller.
    pub rate_multiplier: &'a [f64; 64],
    pub device: Device,
}

/// Constants of the examples of a batch.
struct Examples {
    qualities: Vec<u8>,
    q: Tensor,
    lambda: Tensor,
    weight: Tensor,
    rate_weight: Tensor,
    pixels: f64,
}

impl Examples {
    fn draw(context: &StepContext, frame: &Planes, rng: &mut StepRng) -> Result<Self> {
        Self::of(context, frame, rng.qualities(frame.y.size()[0] as usize))
    }

    fn of(context: &StepContext, frame: &Planes, qualities: Vec<u8>) -> Result<Self> {
        let (_, _, h, w) = frame.y.size4()?;
        let (lambda, weight) = lambda_weights(&qualities);
        let multipliers: Vec<f32> = qualities.iter().map(|&q| context.rate_multiplier[usize::from(q)] as f32).collect();
        let device = context.device;
        Ok(Self {
            q: quality_tensor(&qualities, device)?,
            lambda: lambda.to_device(device),
            weight: weight.to_device(device),
            rate_weight: Tensor::from_slice(&multipliers).to_device(device),
            pixels: (h * w) as f64,
            qualities,
        })
    }

    /// The same examples, each at a quality up to `most` steps away.
    fn swung(&self, context: &StepContext, frame: &Planes, most: u8, rng: &mut StepRng) -> Result<Self> {
        let most = i32::from(most);
        let mut swing = |&q: &u8| (i32::from(q) + rng.below(2 * most as u32 + 1) as i32 - most).clamp(0, 63) as u8;
        Self::of(context, frame, self.qualities.iter().map(&mut swing).collect())
    }

    /// mean over examples of weight * (rate_share * bpp + lambda * D).
    fn lagrangian(&self, bpp: &Tensor, d: &Tensor, rate_share: f64) -> Result<Tensor> {
        let rate = bpp.f_mul(&self.rate_weight)?.f_mul_scalar(rate_share)?;
        Ok(rate.f_add(&self.lambda.f_mul(d)?)?.f_mul(&self.weight)?.f_mean(Kind::Float)?)
    }

    /// Weight of each example's distortion beside perceptual losses.
    fn perceptual_weight(&self) -> Result<Tensor> {
        Ok(self.lambda.f_div_scalar(DETAIL_PIVOT)?.f_sqrt()?.f_mul_scalar(DETAIL_DISTORTION)?)
    }

    /// Quality indices of the I-frames of streams with these.
    fn intra_qualities(&self, context: &StepContext) -> Vec<u8> {
        self.qualities.iter().map(|q| q.saturating_sub(context.networks.config.intra_quality_offset)).collect()
    }

    fn weighted(&self, d: &Tensor) -> Result<Tensor> {
        Ok(self.lambda.f_mul(&self.weight)?.f_mul(d)?.f_mean(Kind::Float)?)
    }

    /// mean ln(bpp + lambda D): one number that compares runs over the whole quality range.
    fn score(&self, bpp: &Tensor, d: &Tensor) -> Result<f64> {
        Ok(tch::no_grad(|| bpp.f_add(&self.lambda.f_mul(d)?)?.f_log()?.f_mean(Kind::Float))?.f_double_value(&[])?)
    }

    fn rates(&self, bpp: &Tensor) -> Result<Vec<(u8, f64)>> {
        let values = Vec::<f32>::try_from(&bpp.f_detach()?.f_to_device(Device::Cpu)?)?;
        Ok(self.qualities.iter().copied().zip(values.into_iter().map(f64::from)).collect())
    }
}

fn mean(x: &Tensor) -> Result<f64> {
    Ok(x.f_mean(Kind::Float)?.f_double_value(&[])?)
}

/// I-stage: rate and distortion of single frames. The rate counts half for the first tenth, so that detail comes first.
pub fn intra_step(context: &StepContext, clip: &Clip, rng: &mut StepRng) -> Result<StepResult> {
    let frame = &clip.frames[0];
    let examples = Examples::draw(context, frame, rng)?;
    let prepared = context.networks.prepare(Arithmetic::Integer)?;
    let mut noise = |shape: &[i64]| rng.noise(shape, context.device);
    let coded = context.networks.intra_frame(&prepared, frame, &examples.q, &mut Quantiser::Noise(&mut noise))?;
    let bpp = coded.bits.f_div_scalar(examples.pixels)?;
    let d = context.fidelity.distortion(frame, &coded.frame)?;
    let rate_share = if context.fraction < 0.1 { 0.5 } else { 1.0 };
    let mut loss = examples.lagrangian(&bpp, &d, rate_share)?;
    let mut metrics = vec![
        ("bpp", mean(&bpp)?),
        ("score", examples.score(&bpp, &d)?),
        ("psnr_y", psnr(&frame.y, &coded.frame.y)?),
        ("psnr_uv", psnr(&frame.uv, &coded.frame.uv)?),
    ];
    if let Some(adversary) = context.adversary {
        loss = loss.f_add(&adversary.losses(Judge::Intra, frame, &coded.frame, &coded.latent, 1.0, &mut metrics)?)?;
    }
    Ok(StepResult { loss, metrics, rates: examples.rates(&bpp)? })
}

/// Mean blur and mean change of blur between neighbours (total variation).
fn sigma_loss(sigma: &Tensor) -> Result<Tensor> {
    let change =
        |dim| -> Result<Tensor> { Ok(sigma.f_diff(1, dim, None::<Tensor>, None::<Tensor>)?.f_abs()?.f_mean(Kind::Float)?) };
    Ok(sigma.f_mean(Kind::Float)?.f_add(&change(2)?)?.f_add(&change(3)?)?)
}

/// A frame as it serves as the reference of the next: clamped, as 8 bits clamp it.
fn reference(coded: &CodedFrame) -> Result<Planes> {
    Ok(coded.frame.clamped()?)
}

fn draw_shift(networks: &Networks, share: f64, rng: &mut StepRng) -> (i64, i64) {
    if networks.config.random_shift && rng.chance(share) {
        let (dy, dx) = bitstream::shift(rng.below(u32::MAX), 0);
        (i64::from(dy), i64::from(dx))
    } else {
        (0, 0)
    }
}

/// The adversary's losses of a target and an output whose residual was coded with `shift`: the latent that the discriminator
/// sees belongs to the shifted frame.
fn shifted_losses(
    adversary: &Adversary,
    judge: Judge,
    pair: [&Planes; 2],
    latent: &Tensor,
    (dy, dx): (i64, i64),
    deep: f64,
    metrics: &mut Metrics,
) -> Result<Tensor> {
    let [target, output] = pair;
    adversary.losses(judge, &target.rolled(dy, dx)?, &output.rolled(dy, dx)?, latent, deep, metrics)
}

/// I-frame of a clip as the codec makes it, without gradient: rounded.
fn coded_intra(context: &StepContext, prepared: &PreparedModel, frame: &Planes, q: &Tensor) -> Result<CodedFrame> {
    let coded = tch::no_grad(|| context.networks.intra_frame(prepared, frame, q, &mut Quantiser::Hard))?;
    Ok(CodedFrame { frame: coded.frame.rounded()?, ..coded })
}

/// I-frame of an unrolled clip: frozen, some quality steps better than the P-frames.
fn frozen_intra(
    context: &StepContext,
    prepared: &PreparedModel,
    frame: &Planes,
    qualities: &[u8],
    (least, most): (u8, u8),
    rng: &mut StepRng,
) -> Result<Planes> {
    let better: Vec<u8> =
        qualities.iter().map(|q| q.saturating_sub(least + rng.below(u32::from(most - least) + 1) as u8)).collect();
    Ok(coded_intra(context, prepared, frame, &quality_tensor(&better, context.device)?)?.frame)
}

/// A P-frame as the codec makes it, without gradient: rounded, the next reference, and the state after it.
fn coded_on(
    context: &StepContext,
    prepared: &PreparedModel,
    frame: &Planes,
    reference: &Planes,
    examples: &Examples,
    state: Option<&InterState>,
    shift: (i64, i64),
) -> Result<CodedFrame> {
    let flow = context.motion.estimate(frame, reference, &examples.qualities)?;
    let mut quantiser = Quantiser::Hard;
    let coded = tch::no_grad(|| {
        context.networks.inter_frame(prepared, frame, reference, &flow, &examples.q, state, shift, &mut quantiser)
    })?;
    Ok(CodedFrame { frame: coded.frame.rounded()?, ..coded })
}

/// P-stage: an I-frame and `lead_in` P-frames without gradient, then the clip's other P-frames with back-propagation through
/// time.
pub fn inter_step(
    context: &StepContext,
    clip: &Clip,
    lead_in: usize,
    losses: &InterLosses,
    rng: &mut StepRng,
) -> Result<StepResult> {
    let clip_examples = Examples::draw(context, &clip.frames[0], rng)?;
    let prepared = context.networks.prepare(Arithmetic::Integer)?;
    let mut previous = frozen_intra(context, &prepared, &clip.frames[0], &clip_examples.qualities, losses.intra_offset, rng)?;
    let swings = losses.swing > 0 && rng.chance(0.5);
    let warp_weight = losses.warp * (1.0 - context.fraction).max(0.1);
    let flow_weight = losses.flow * (1.0 - context.fraction / 0.6).max(0.0);
    let mut state: Option<InterState> = None;
    let mut total = Tensor::zeros([], (Kind::Float, context.device));
    let mut weights = 0.0;
    let mut metrics = Metrics::new();
    let mut bpp_sum: Option<Tensor> = None;
    let last = clip.frames.len() - 1;
    let first = lead_in + 1;
    let perceptual = first + rng.below((last - lead_in) as u32) as usize;
    for t in 1..first {
        let shift = draw_shift(context.networks, losses.shift, rng);
        let coded = coded_on(context, &prepared, &clip.frames[t], &previous, &clip_examples, state.as_ref(), shift)?;
        (previous, state) = (coded.frame, coded.inter);
    }
    for t in first..=last {
        let frame = &clip.frames[t];
        let swung = swings.then(|| clip_examples.swung(context, frame, losses.swing, rng)).transpose()?;
        let examples = swung.as_ref().unwrap_or(&clip_examples);
        let flow = context.motion.estimate(frame, &previous, &examples.qualities)?;
        let shift = draw_shift(context.networks, losses.shift, rng);
        let mut noise = |shape: &[i64]| rng.noise(shape, context.device);
        let mut quantiser = Quantiser::Noise(&mut noise);
        let coded = context.networks.inter_frame(
            &prepared,
            frame,
            &previous,
            &flow,
            &examples.q,
            state.as_ref(),
            shift,
            &mut quantiser,
        )?;
        let inter = coded.inter.as_ref().expect("a P-frame has an inter state");
        let bpp = coded.bits.f_div_scalar(examples.pixels)?;
        let d = context.fidelity.distortion(frame, &coded.frame)?;
        let weight = 1.0 + losses.growth * (t - first) as f64;
        total = total.f_add(&examples.lagrangian(&bpp, &d, 1.0)?.f_mul_scalar(weight)?)?;
        weights += weight;
        let prediction_error = context.fidelity.squared().distortion(frame, &inter.prediction.frame)?;
        total = total.f_add(&examples.weighted(&prediction_error)?.f_mul_scalar(warp_weight)?)?;
        if losses.drift > 0.0 {
            let weight = losses.drift * t as f64 / last as f64;
            total = total.f_add(&examples.weighted(&drift(frame, &coded.frame)?)?.f_mul_scalar(weight)?)?;
        }
        if flow_weight > 0.0 {
            let decoded = inter.prediction.flow.f_avg_pool2d([4, 4], [4, 4], [0, 0], false, true, None)?;
            let difference = decoded.f_sub(&flow)?.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?.f_div_scalar(8.0)?;
            let l1 = difference.f_square()?.f_add_scalar(1e-4)?.f_sqrt()?.f_mean(Kind::Float)?;
            total = total.f_add(&l1.f_mul_scalar(flow_weight)?)?;
        }
        if losses.sigma > 0.0 {
            total = total.f_add(&sigma_loss(&inter.sigma)?.f_mul_scalar(losses.sigma)?)?;
        }
        if let Some(adversary) = context.adversary {
            let deep = f64::from(t == perceptual);
            let pair = [frame, &coded.frame];
            total = total.f_add(&shifted_losses(adversary, Judge::Inter, pair, &coded.latent, shift, deep, &mut metrics)?)?;
        }
        if t == first {
            metrics.push(("psnr_warp", psnr(&frame.y, &inter.prediction.frame.y)?));
            metrics.push(("bpp_flow", mean(&inter.flow_bits)? / examples.pixels));
        }
        if t == last {
            metrics.push(("bpp", mean(&bpp)?));
            metrics.push(("score", examples.score(&bpp, &d)?));
            metrics.push(("psnr_y", psnr(&frame.y, &coded.frame.y)?));
            metrics.push(("psnr_uv", psnr(&frame.uv, &coded.frame.uv)?));
        }
        bpp_sum = Some(match bpp_sum {
            Some(sum) => sum.f_add(&bpp)?,
            None => bpp,
        });
        previous = reference(&coded)?;
        state = coded.inter;
    }
    let mean_bpp = bpp_sum.expect("at least one P-frame").f_div_scalar((last - lead_in) as f64)?;
    Ok(StepResult { loss: total.f_div_scalar(weights)?, metrics, rates: clip_examples.rates(&mean_bpp)? })
}

/// Weight of the distortion beside the perceptual losses, at [`DETAIL_PIVOT`] (MS-ILLM's economical stage uses 150).
const DETAIL_DISTORTION: f64 = 150.0;
const DETAIL_PIVOT: f64 = 300.0;

/// Economical GAN stage: encoders and entropy model are frozen, and only the synthesis transforms of I- and P-frames learn,
/// with back-propagation through time. The rate counts as beside the distortion, since detail that the next frame's residual
/// takes back costs bits in closed loop. `lead_in` P-frames after the I-frame are coded without learning.
pub fn detail_step(
    context: &StepContext,
    clip: &Clip,
    lead_in: usize,
    shift_share: f64,
    rng: &mut StepRng,
) -> Result<StepResult> {
    let examples = Examples::draw(context, &clip.frames[0], rng)?;
    let prepared = context.networks.prepare(Arithmetic::Integer)?;
    let better = examples.intra_qualities(context);
    let weight = examples.perceptual_weight()?;
    let rate_weight = weight.f_div(&examples.lambda)?;
    let last = clip.frames.len() - 1;
    let learned = clip.frames.len() - lead_in;
    let deep_frames = context.adversary.map_or(learned, |adversary| adversary.deep_frames(learned));
    let mut deep = rng.choose(deep_frames, learned).into_iter();
    let mut total = Tensor::zeros([], (Kind::Float, context.device));
    let mut metrics = Metrics::new();
    let mut rates: Option<Tensor> = None;
    let mut previous: Option<(Planes, Option<InterState>)> = None;
    for (t, frame) in clip.frames.iter().enumerate() {
        let shift = if t == 0 { (0, 0) } else { draw_shift(context.networks, shift_share, rng) };
        let (coded, judge) = match &previous {
            None => {
                let q = quality_tensor(&better, context.device)?;
                (context.networks.intra_frame(&prepared, frame, &q, &mut Quantiser::Hard)?, Judge::Intra)
            }
            Some((reference, state)) if t <= lead_in => {
                let coded = coded_on(context, &prepared, frame, reference, &examples, state.as_ref(), shift)?;
                previous = Some((coded.frame, coded.inter));
                continue;
            }
            Some((reference, state)) => {
                let flow = context.motion.estimate(frame, reference, &examples.qualities)?;
                let coded = context.networks.inter_frame(
                    &prepared,
                    frame,
                    reference,
                    &flow,
                    &examples.q,
                    state.as_ref(),
                    shift,
                    &mut Quantiser::Hard,
                )?;
                (coded, Judge::Inter)
            }
        };
        let d = context.fidelity.distortion(frame, &coded.frame)?;
        let bpp = coded.bits.f_div_scalar(examples.pixels)?;
        let price = weight.f_mul(&d)?.f_add(&rate_weight.f_mul(&bpp)?)?;
        total = total.f_add(&price.f_mean(Kind::Float)?)?;
        if let Some(adversary) = context.adversary {
            let deep = if deep.next() == Some(true) { learned as f64 / deep_frames as f64 } else { 0.0 };
            let pair = [frame, &coded.frame];
            total = total.f_add(&shifted_losses(adversary, judge, pair, &coded.latent, shift, deep, &mut metrics)?)?;
        }
        if t == last {
            metrics.push(("psnr_y", psnr(&frame.y, &coded.frame.y)?));
            metrics.push(("psnr_uv", psnr(&frame.uv, &coded.frame.uv)?));
            metrics.push(("bpp", mean(&bpp)?));
            rates = Some(bpp);
        }
        previous = Some((reference(&coded)?, coded.inter));
    }
    let rates = examples.rates(&rates.expect("a clip has frames"))?;
    Ok(StepResult { loss: total.f_div_scalar(learned as f64)?, metrics, rates })
}

/// Share of the steps of the stage `postfilter` that learn from an I-frame.
const POSTFILTER_INTRA: f64 = 0.2;

/// Weight of [`pattern`] in that stage.
const POSTFILTER_PATTERN: f64 = 5000.0;

/// The postfilter on a frame as the codec makes it: the I-frame or the clip's last P-frame, with distortion and perceptual
/// losses of what is shown.
pub fn postfilter_step(context: &StepContext, clip: &Clip, rng: &mut StepRng) -> Result<StepResult> {
    let postfilter = context.networks.postfilter.as_ref().context("the model has no postfilter to train")?;
    let examples = Examples::draw(context, &clip.frames[0], rng)?;
    let prepared = context.networks.prepare(Arithmetic::Integer)?;
    let intra = rng.chance(POSTFILTER_INTRA);
    let (inter_frames, judge) = if intra { (0, Judge::Intra) } else { (clip.frames.len() - 1, Judge::Inter) };
    let intra_q = quality_tensor(&examples.intra_qualities(context), context.device)?;
    let mut coded = coded_intra(context, &prepared, &clip.frames[0], &intra_q)?;
    let mut shift = (0, 0);
    for frame in &clip.frames[1..=inter_frames] {
        shift = draw_shift(context.networks, 1.0, rng);
        coded = coded_on(context, &prepared, frame, &coded.frame, &examples, coded.inter.as_ref(), shift)?;
    }
    let target = &clip.frames[inter_frames];
    let shown = postfilter.forward(&coded.frame, if intra { &intra_q } else { &examples.q }, 1.0)?;
    let distortion = context.fidelity.distortion(target, &shown)?;
    let mut loss = examples.perceptual_weight()?.f_mul(&distortion)?.f_mean(Kind::Float)?;
    let woven = pattern(target, &shown)?.f_mean(Kind::Float)?.f_mul_scalar(POSTFILTER_PATTERN)?;
    loss = loss.f_add(&woven)?;
    let bpp = coded.bits.f_div_scalar(examples.pixels)?;
    let mut metrics = vec![("pattern", woven.f_double_value(&[])?)];
    if let Some(adversary) = context.adversary {
        let pair = [target, &shown];
        loss = loss.f_add(&shifted_losses(adversary, judge, pair, &coded.latent, shift, 1.0, &mut metrics)?)?;
    }
    if !intra {
        metrics.push(("bpp", mean(&bpp)?));
        metrics.push(("psnr_decoded", psnr(&target.y, &coded.frame.y)?));
        metrics.push(("psnr_y", psnr(&target.y, &shown.y)?));
    }
    Ok(StepResult { loss, metrics, rates: examples.rates(&bpp)? })
}

#[cfg(test)]
mod tests;
