//! The economical GAN stage.

use anyhow::Result;
use codec_core::training::nn::codec::{InterState, quality_tensor};
use codec_core::training::nn::entropy::{Arithmetic, Quantiser};
use codec_core::training::nn::ops::Planes;
use tch::{Kind, Tensor};

use super::coding::{PFrame, coded_on, draw_shift, reference};
use super::examples::{Examples, mean};
use super::{Clip, Metrics, StepContext, StepResult};
use crate::train::gan::{Judge, Judged};
use crate::train::loss::psnr;
use crate::train::noise::StepRng;

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
                let coded =
                    coded_on(context, &prepared, &examples, PFrame { frame, reference, previous: state.as_ref(), shift })?;
                previous = Some((coded.frame, coded.inter));
                continue;
            }
            Some((reference, state)) => {
                let input = PFrame { frame, reference, previous: state.as_ref(), shift }.input(context, &examples)?;
                let coded = context.networks.inter_frame(&prepared, input, &examples.q, &mut Quantiser::Hard)?;
                (coded, Judge::Inter)
            }
        };
        let d = context.fidelity.distortion(frame, &coded.frame)?;
        let bpp = coded.bits.f_div_scalar(examples.pixels)?;
        let price = weight.f_mul(&d)?.f_add(&rate_weight.f_mul(&bpp)?)?;
        total = total.f_add(&price.f_mean(Kind::Float)?)?;
        if let Some(adversary) = context.adversary {
            let deep = if deep.next() == Some(true) { learned as f64 / deep_frames as f64 } else { 0.0 };
            let judged = Judged { judge, target: frame, output: &coded.frame, latent: &coded.latent, deep };
            total = total.f_add(&judged.shifted(adversary, shift, &mut metrics)?)?;
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
