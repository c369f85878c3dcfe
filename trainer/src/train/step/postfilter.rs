//! The stage of the postfilter.

use anyhow::{Context, Error, Result};
use codec_core::training::nn::codec::{CodedFrame, quality_tensor};
use codec_core::training::nn::entropy::Arithmetic;
use codec_core::training::nn::ops::Planes;
use codec_core::training::nn::whole;
use serde::{Deserialize, Serialize};
use tch::Kind;

use super::coding::{PFrame, coded_intra, coded_on, draw_shift};
use super::examples::{Examples, mean};
use super::{Clip, StepContext, StepResult};
use crate::train::detail;
use crate::train::gan::{Judge, Judged};
use crate::train::loss::{pattern, psnr};
use crate::train::noise::StepRng;

/// Share of the steps of the stage `postfilter` that learn from an I-frame.
const POSTFILTER_INTRA: f64 = 0.2;

/// Share of the steps that have the same strength everywhere.
const EVEN: f64 = 0.35;

/// The strength that the filter has at least where it learns: where the map leaves it out, it shall learn to stay out by itself.
const LEAST_SHARE: f64 = 0.25;

/// Weights of what only the postfilter is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PostfilterLosses {
    /// Luma's error that repeats, see [`pattern`].
    pub pattern: f64,
    /// L1 between luma's error and that of the frame shown before, moved on as the reference was: texture that is not the original's
    /// stays with what moves, and does not flicker. For filters that look back.
    pub consistency: f64,
}

impl Default for PostfilterLosses {
    fn default() -> Self {
        Self { pattern: 20000.0, consistency: 0.0 }
    }
}

/// The postfilter on a frame as the codec makes it: the I-frame or the clip's last P-frame, with distortion and perceptual
/// losses of what is shown.
pub fn postfilter_step(context: &StepContext, clip: &Clip, losses: &PostfilterLosses, rng: &mut StepRng) -> Result<StepResult> {
    let postfilter = context.networks.postfilter.as_ref().context("the model has no postfilter to train")?;
    let examples = Examples::draw(context, &clip.frames[0], rng)?;
    let prepared = context.networks.prepare(Arithmetic::Integer)?;
    let intra = rng.chance(POSTFILTER_INTRA);
    let (inter_frames, judge) = if intra { (0, Judge::Intra) } else { (clip.frames.len() - 1, Judge::Inter) };
    let intra_q = quality_tensor(&examples.intra_qualities(context), context.device)?;
    // As strong as the encoder will wish it, from place to place; in some steps without maps, for streams that have none: a filter that
    // always has them learns to leave it to them where it stays out.
    let even = rng.chance(EVEN);
    let show = |original: &Planes, coded: &CodedFrame, past: Option<&Planes>, least: f64| -> Result<Planes> {
        let q = if coded.inter.is_some() { &examples.q } else { &intra_q };
        if even {
            return Ok(postfilter.forward(&coded.frame, past, q, &whole())?);
        }
        let plain = tch::no_grad(|| postfilter.forward(&coded.frame, None, q, &whole()))?;
        let share = detail::chosen(original, &coded.frame, &plain, context.device)?.f_clamp_min(least)?;
        Ok(postfilter.forward(&coded.frame, past, q, &share)?)
    };
    let mut coded = coded_intra(context, &prepared, &clip.frames[0], &intra_q)?;
    let mut shift = (0, 0);
    let (mut past, mut past_error) = (None, None);
    for pair in clip.frames[..=inter_frames].windows(2) {
        let [last, frame] = pair else { unreachable!("windows of two") };
        // Learning ends at the frame itself: the past is what the filter makes by now, as it will find it.
        let before = || tch::no_grad(|| Ok::<_, Error>(show(last, &coded, past.as_ref(), 0.0)?.rounded()?));
        let shown = postfilter.looks_back().then(before).transpose()?;
        shift = draw_shift(context.networks, 1.0, rng);
        coded = {
            let frame = PFrame { frame, reference: &coded.frame, previous: coded.inter.as_ref(), shift };
            coded_on(context, &prepared, &examples, frame)?
        };
        let moved = |frame: &Planes| context.networks.carried(Some(frame), coded.inter.as_ref());
        past = tch::no_grad(|| shown.as_ref().map(moved).transpose())?.flatten();
        past_error = tch::no_grad(|| match &past {
            Some(past) if losses.consistency > 0.0 => Ok(moved(last)?.map(|last| past.y.f_sub(&last.y)).transpose()?),
            _ => Ok::<_, Error>(None),
        })?;
    }
    let target = &clip.frames[inter_frames];
    let shown = show(target, &coded, past.as_ref(), LEAST_SHARE)?;
    let distortion = context.fidelity.distortion(target, &shown)?;
    let mut loss = examples.perceptual_weight()?.f_mul(&distortion)?.f_mean(Kind::Float)?;
    let woven = pattern(target, &shown)?.f_mean(Kind::Float)?.f_mul_scalar(losses.pattern)?;
    loss = loss.f_add(&woven)?;
    let bpp = coded.bits.f_div_scalar(examples.pixels)?;
    let mut metrics = vec![("pattern", woven.detach())];
    if let Some(before) = past_error {
        let change = shown.y.f_sub(&target.y)?.f_sub(&before)?.f_abs()?.f_mean(Kind::Float)?.f_mul_scalar(losses.consistency)?;
        loss = loss.f_add(&change)?;
        metrics.push(("consistency", change.detach()));
    }
    if let Some(adversary) = context.adversary {
        let judged = Judged { judge, target, output: &shown, latent: &coded.latent, deep: 1.0 };
        loss = loss.f_add(&judged.shifted(adversary, shift, &mut metrics)?)?;
    }
    if !intra {
        metrics.push(("bpp", mean(&bpp)?));
        metrics.push(("psnr_decoded", psnr(&target.y, &coded.frame.y)?));
        metrics.push(("psnr_y", psnr(&target.y, &shown.y)?));
    }
    Ok(StepResult { loss, metrics, rates: examples.rates(&bpp)? })
}

#[cfg(test)]
mod tests {
    use super::PostfilterLosses;
    use crate::train::fixtures::setup;
    use crate::train::{GanLosses, Stage};

    /// Loss of a step that ends with a P-frame.
    fn loss(losses: PostfilterLosses) -> f64 {
        let stage = Stage::Postfilter { lead_in: 1, losses };
        setup(&stage, &GanLosses::default()).step(&stage).loss.double_value(&[])
    }

    #[test]
    fn the_weights_count() {
        let none = PostfilterLosses { pattern: 0.0, consistency: 0.0 };
        let pattern = [100.0, 300.0].map(|pattern| loss(PostfilterLosses { pattern, ..none }));
        let consistency = [1.0, 3.0].map(|consistency| loss(PostfilterLosses { consistency, ..none }));
        let none = loss(none);
        for [once, thrice] in [pattern, consistency] {
            assert!(once > none + 1e-6, "{none} {once}");
            assert!(((thrice - none) / (once - none) - 3.0).abs() < 1e-2, "{none} {once} {thrice}");
        }
    }
}
