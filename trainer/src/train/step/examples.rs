//! What a step knows of the examples of its batch.

use anyhow::Result;
use codec_core::training::nn::codec::quality_tensor;
use codec_core::training::nn::ops::Planes;
use codec_core::training::nn::transfer::upload;
use tch::{Kind, Tensor};

use super::{Rates, StepContext};
use crate::train::loss::lambda_weights;
use crate::train::noise::StepRng;

/// Weight of the distortion beside the perceptual losses, at [`DETAIL_PIVOT`] (MS-ILLM's economical stage uses 150).
const DETAIL_DISTORTION: f64 = 150.0;
const DETAIL_PIVOT: f64 = 300.0;

/// Constants of the examples of a batch.
pub(super) struct Examples {
    pub(super) qualities: Vec<u8>,
    pub(super) q: Tensor,
    pub(super) lambda: Tensor,
    pub(super) weight: Tensor,
    pub(super) rate_weight: Tensor,
    pub(super) pixels: f64,
}

impl Examples {
    pub(super) fn draw(context: &StepContext, frame: &Planes, rng: &mut StepRng) -> Result<Self> {
        Self::of(context, frame, rng.qualities(frame.y.size()[0] as usize))
    }

    pub(super) fn of(context: &StepContext, frame: &Planes, qualities: Vec<u8>) -> Result<Self> {
        let (_, _, h, w) = frame.y.size4()?;
        let (lambda, weight) = lambda_weights(&qualities);
        let multipliers: Vec<f32> = qualities.iter().map(|&q| context.rate_multiplier[usize::from(q)] as f32).collect();
        let device = context.device;
        Ok(Self {
            q: quality_tensor(&qualities, device)?,
            lambda: upload(&lambda, device)?,
            weight: upload(&weight, device)?,
            rate_weight: upload(&Tensor::from_slice(&multipliers), device)?,
            pixels: (h * w) as f64,
            qualities,
        })
    }

    /// The same examples, each at a quality up to `most` steps away.
    pub(super) fn swung(&self, context: &StepContext, frame: &Planes, most: u8, rng: &mut StepRng) -> Result<Self> {
        let most = i32::from(most);
        let steps = rng.of_examples(self.qualities.len(), |rng| rng.below(2 * most as usize + 1) as i32 - most);
        let swung = self.qualities.iter().zip(steps).map(|(&q, step)| (i32::from(q) + step).clamp(0, 63) as u8);
        Self::of(context, frame, swung.collect())
    }

    /// mean over examples of weight * (rate_share * bpp + lambda * D).
    pub(super) fn lagrangian(&self, bpp: &Tensor, d: &Tensor, rate_share: f64) -> Result<Tensor> {
        let rate = bpp.f_mul(&self.rate_weight)?.f_mul_scalar(rate_share)?;
        Ok(rate.f_add(&self.lambda.f_mul(d)?)?.f_mul(&self.weight)?.f_mean(Kind::Float)?)
    }

    /// Weight of each example's distortion beside perceptual losses.
    pub(super) fn perceptual_weight(&self) -> Result<Tensor> {
        Ok(self.lambda.f_div_scalar(DETAIL_PIVOT)?.f_sqrt()?.f_mul_scalar(DETAIL_DISTORTION)?)
    }

    /// Quality indices of the I-frames of streams with these.
    pub(super) fn intra_qualities(&self, context: &StepContext) -> Vec<u8> {
        self.qualities.iter().map(|q| q.saturating_sub(context.networks.config.intra_quality_offset)).collect()
    }

    pub(super) fn weighted(&self, d: &Tensor) -> Result<Tensor> {
        Ok(self.lambda.f_mul(&self.weight)?.f_mul(d)?.f_mean(Kind::Float)?)
    }

    /// mean ln(bpp + lambda D): one number that compares runs over the whole quality range.
    pub(super) fn score(&self, bpp: &Tensor, d: &Tensor) -> Result<Tensor> {
        Ok(tch::no_grad(|| bpp.f_add(&self.lambda.f_mul(d)?)?.f_log()?.f_mean(Kind::Float))?)
    }

    pub(super) fn rates(&self, bpp: &Tensor) -> Result<Rates> {
        Ok(Rates { qualities: self.qualities.clone(), bpp: bpp.f_detach()? })
    }
}

/// The mean, a scalar without gradient.
pub(super) fn mean(x: &Tensor) -> Result<Tensor> {
    Ok(tch::no_grad(|| x.f_mean(Kind::Float))?)
}
