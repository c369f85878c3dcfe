//! The I-stage.

use anyhow::Result;
use codec_core::training::nn::entropy::{Arithmetic, Quantiser};

use super::examples::{Examples, mean};
use super::{Clip, StepContext, StepResult};
use crate::train::gan::{Judge, Judged};
use crate::train::loss::psnr;
use crate::train::noise::StepRng;

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
        let judged = Judged { judge: Judge::Intra, target: frame, output: &coded.frame, latent: &coded.latent, deep: 1.0 };
        loss = loss.f_add(&adversary.losses(judged, &mut metrics)?)?;
    }
    Ok(StepResult { loss, metrics, rates: examples.rates(&bpp)? })
}
