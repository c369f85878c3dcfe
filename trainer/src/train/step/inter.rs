//! The P-stage.

use anyhow::Result;
use codec_core::training::nn::codec::{FlowState, InterState, MotionState, PreparedModel, quality_tensor};
use codec_core::training::nn::entropy::{Arithmetic, Quantiser};
use codec_core::training::nn::ops::Planes;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::coding::{PFrame, coded_intra, coded_on, draw_shift, reference};
use super::examples::{Examples, mean};
use super::{Clip, Metrics, StepContext, StepResult};
use crate::train::gan::{Judge, Judged};
use crate::train::loss::{drift, psnr};
use crate::train::noise::StepRng;

/// Weights of the P-stage's auxiliary losses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InterLosses {
    /// Distortion of the prediction of a coded flow (`paper` profile), faded to a tenth over the stage.
    pub warp: f64,
    /// L1 between decoded and estimated flow in units of 8 pixels (`paper` profile), faded out by 60 % of the stage.
    pub flow: f64,
    /// Low-pass colour error, growing with the frame's number.
    pub drift: f64,
    /// Extra weight of each later frame.
    pub growth: f64,
    /// Share of frames whose residual branch is shifted.
    pub shift: f64,
    /// Blur and its changes from place to place (`paper` profile): blur is for what cannot be predicted.
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

/// Mean blur and mean change of blur between neighbours (total variation).
fn sigma_loss(sigma: &Tensor) -> Result<Tensor> {
    let change =
        |dim| -> Result<Tensor> { Ok(sigma.f_diff(1, dim, None::<Tensor>, None::<Tensor>)?.f_abs()?.f_mean(Kind::Float)?) };
    Ok(sigma.f_mean(Kind::Float)?.f_add(&change(2)?)?.f_add(&change(3)?)?)
}

/// What the decoded flow of the `paper` profile shall be: the estimated one, and no more blur than needed.
fn flow_losses(flow: &FlowState, flow_weight: f64, sigma_weight: f64) -> Result<Tensor> {
    let mut total = sigma_loss(&flow.sigma)?.f_mul_scalar(sigma_weight)?;
    if flow_weight > 0.0 {
        let decoded = flow.motion.f_avg_pool2d([4, 4], [4, 4], [0, 0], false, true, None)?;
        let difference = decoded.f_sub(&flow.estimated)?.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?;
        let l1 = difference.f_div_scalar(8.0)?.f_square()?.f_add_scalar(1e-4)?.f_sqrt()?.f_mean(Kind::Float)?;
        total = total.f_add(&l1.f_mul_scalar(flow_weight)?)?;
    }
    Ok(total)
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
    let steps = rng.of_examples(qualities.len(), |rng| least + rng.below(usize::from(most - least) + 1) as u8);
    let better: Vec<u8> = qualities.iter().zip(steps).map(|(q, step)| q.saturating_sub(step)).collect();
    Ok(coded_intra(context, prepared, frame, &quality_tensor(&better, context.device)?)?.frame)
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
        let frame = PFrame { frame: &clip.frames[t], reference: &previous, previous: state.as_ref(), shift };
        let coded = coded_on(context, &prepared, &clip_examples, frame)?;
        (previous, state) = (coded.frame, coded.inter);
    }
    for t in first..=last {
        let frame = &clip.frames[t];
        let swung = swings.then(|| clip_examples.swung(context, frame, losses.swing, rng)).transpose()?;
        let examples = swung.as_ref().unwrap_or(&clip_examples);
        let shift = draw_shift(context.networks, losses.shift, rng);
        let mut noise = |shape: &[i64]| rng.noise(shape, context.device);
        let mut quantiser = Quantiser::Noise(&mut noise);
        let input = PFrame { frame, reference: &previous, previous: state.as_ref(), shift }.input(context, examples)?;
        let coded = context.networks.inter_frame(&prepared, input, &examples.q, &mut quantiser)?;
        let inter = coded.inter.as_ref().expect("a P-frame has an inter state");
        let bpp = coded.bits.f_div_scalar(examples.pixels)?;
        let d = context.fidelity.distortion(frame, &coded.frame)?;
        let weight = 1.0 + losses.growth * (t - first) as f64;
        total = total.f_add(&examples.lagrangian(&bpp, &d, 1.0)?.f_mul_scalar(weight)?)?;
        weights += weight;
        if let MotionState::Flow(flow) = &inter.motion {
            let prediction_error = context.fidelity.squared().distortion(frame, &inter.prediction)?;
            total = total.f_add(&examples.weighted(&prediction_error)?.f_mul_scalar(warp_weight)?)?;
            total = total.f_add(&flow_losses(flow, flow_weight, losses.sigma)?)?;
        }
        if losses.drift > 0.0 {
            let weight = losses.drift * t as f64 / last as f64;
            total = total.f_add(&examples.weighted(&drift(frame, &coded.frame)?)?.f_mul_scalar(weight)?)?;
        }
        if let Some(adversary) = context.adversary {
            let deep = f64::from(t == perceptual);
            let judged = Judged { judge: Judge::Inter, target: frame, output: &coded.frame, latent: &coded.latent, deep };
            total = total.f_add(&judged.shifted(adversary, shift, &mut metrics)?)?;
        }
        if t == first {
            metrics.push(("psnr_warp", psnr(&frame.y, &inter.prediction.y)?));
            metrics.push(("bpp_motion", mean(&inter.motion_bits)? / examples.pixels));
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

#[cfg(test)]
mod tests;
