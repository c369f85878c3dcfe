//! Frames as the codec makes them, and as judges see them.

use anyhow::Result;
use codec_core::bitstream;
use codec_core::training::nn::Networks;
use codec_core::training::nn::codec::{CodedFrame, InterState, PreparedModel};
use codec_core::training::nn::entropy::Quantiser;
use codec_core::training::nn::ops::Planes;
use tch::Tensor;

use super::examples::Examples;
use super::{Metrics, StepContext};
use crate::train::gan::{Adversary, Judge};
use crate::train::noise::StepRng;

/// A frame as it serves as the reference of the next: clamped, as 8 bits clamp it.
pub(super) fn reference(coded: &CodedFrame) -> Result<Planes> {
    Ok(coded.frame.clamped()?)
}

pub(super) fn draw_shift(networks: &Networks, share: f64, rng: &mut StepRng) -> (i64, i64) {
    if networks.config.random_shift && rng.chance(share) {
        let (dy, dx) = bitstream::shift(rng.below(u32::MAX), 0);
        (i64::from(dy), i64::from(dx))
    } else {
        (0, 0)
    }
}

/// The adversary's losses of a target and an output whose residual was coded with `shift`: the latent that the discriminator
/// sees belongs to the shifted frame.
pub(super) fn shifted_losses(
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
pub(super) fn coded_intra(context: &StepContext, prepared: &PreparedModel, frame: &Planes, q: &Tensor) -> Result<CodedFrame> {
    let coded = tch::no_grad(|| context.networks.intra_frame(prepared, frame, q, &mut Quantiser::Hard))?;
    Ok(CodedFrame { frame: coded.frame.rounded()?, ..coded })
}

/// A P-frame as the codec makes it, without gradient: rounded, the next reference, and the state after it.
pub(super) fn coded_on(
    context: &StepContext,
    prepared: &PreparedModel,
    frame: &Planes,
    reference: &Planes,
    examples: &Examples,
    state: Option<&InterState>,
    shift: (i64, i64),
) -> Result<CodedFrame> {
    let motion = context.motion.find(frame, reference, &examples.qualities, state)?;
    let mut quantiser = Quantiser::Hard;
    let coded = tch::no_grad(|| {
        context.networks.inter_frame(prepared, frame, reference, motion, &examples.q, state, shift, &mut quantiser)
    })?;
    Ok(CodedFrame { frame: coded.frame.rounded()?, ..coded })
}
