//! Frames as the codec makes them, and as judges see them.

use anyhow::Result;
use codec_core::bitstream;
use codec_core::training::nn::Networks;
use codec_core::training::nn::codec::{CodedFrame, InterInput, InterState, PreparedModel};
use codec_core::training::nn::entropy::Quantiser;
use codec_core::training::nn::ops::Planes;
use tch::Tensor;

use super::StepContext;
use super::examples::Examples;
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

/// I-frame of a clip as the codec makes it, without gradient: rounded.
pub(super) fn coded_intra(context: &StepContext, prepared: &PreparedModel, frame: &Planes, q: &Tensor) -> Result<CodedFrame> {
    let coded = tch::no_grad(|| context.networks.intra_frame(prepared, frame, q, &mut Quantiser::Hard))?;
    Ok(CodedFrame { frame: coded.frame.rounded()?, ..coded })
}

/// A P-frame of a clip, whose motion is yet to be found.
pub(super) struct PFrame<'a> {
    pub frame: &'a Planes,
    /// What it is predicted from.
    pub reference: &'a Planes,
    /// State of the frame before; `None` after an I-frame.
    pub previous: Option<&'a InterState>,
    /// Of the residual branch, in luma samples.
    pub shift: (i64, i64),
}

impl<'a> PFrame<'a> {
    /// With its motion, as the encoder finds it for these examples.
    pub fn input(self, context: &StepContext, examples: &Examples) -> Result<InterInput<'a>> {
        let Self { frame, reference, previous, shift } = self;
        let motion = context.motion.find(frame, reference, &examples.qualities, previous)?;
        Ok(InterInput { frame, reference, motion, previous, shift })
    }
}

/// A P-frame as the codec makes it, without gradient: rounded, the next reference, and the state after it.
pub(super) fn coded_on(
    context: &StepContext,
    prepared: &PreparedModel,
    examples: &Examples,
    frame: PFrame,
) -> Result<CodedFrame> {
    let input = frame.input(context, examples)?;
    let coded = tch::no_grad(|| context.networks.inter_frame(prepared, input, &examples.q, &mut Quantiser::Hard))?;
    Ok(CodedFrame { frame: coded.frame.rounded()?, ..coded })
}
