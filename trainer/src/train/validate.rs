//! Held-out measurement during training: hard rounding, fixed clips and qualities.

use std::path::Path;

use anyhow::Result;
use codec_core::training::nn::Networks;
use codec_core::training::nn::codec::{InterInput, quality_tensor};
use codec_core::training::nn::entropy::{Arithmetic, Quantiser};
use codec_core::training::nn::ops::Planes;
use codec_core::training::nn::transfer::scalar;
use codec_core::training::quality::lambda;
use tch::{Device, Kind, Tensor};

use super::batch::clip_on_device;
use super::loss::{Fidelity, psnr_value as psnr};
use super::motion::MotionFinder;
use super::step::Clip;
use super::{Stage, TrainConfig};
use crate::data::{Sampler, SamplerOptions, Split};

const QUALITIES: [u8; 3] = [10, 30, 50];
const CLIPS: usize = 8;
/// Frames of a validation clip, I-frame included.
const FRAMES: usize = 9;
/// Sides of its crops in pixels: the first for which the data have clips, so that small clips hold something out too.
const SIDES: [usize; 3] = [192, 128, 64];

/// Means over the validation clips at [`QUALITIES`].
pub struct Report {
    /// mean ln(bpp + lambda D); lower is better.
    pub score: f64,
    pub points: Vec<Point>,
}

/// Means at one quality.
pub struct Point {
    pub quality: u8,
    pub bpp: f64,
    pub psnr_y: f64,
    pub psnr_uv: f64,
}

impl Report {
    pub fn metrics(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let middle = &self.points[QUALITIES.len() / 2];
        [
            ("held_out/score", self.score),
            ("held_out/bpp_q30", middle.bpp),
            ("held_out/psnr_y_q30", middle.psnr_y),
            ("held_out/psnr_uv_q30", middle.psnr_uv),
        ]
        .into_iter()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "held-out score {:.4};", self.score)?;
        self.points
            .iter()
            .try_for_each(|p| write!(f, " q{}: {:.4} bpp, Y {:.2} dB, UV {:.2} dB;", p.quality, p.bpp, p.psnr_y, p.psnr_uv))
    }
}

/// Codes the held-out clips (`None` if the data hold none): I-frames only in the I-stage, P-frames with shifts and 8-bit references in the P-stage.
pub fn validate(
    networks: &Networks,
    motion: &MotionFinder,
    config: &TrainConfig,
    data: &Path,
    device: Device,
) -> Result<Option<Report>> {
    if matches!(config.stage, Stage::Flow | Stage::Postfilter { .. }) {
        // Their own losses are all there is to see: rate and distortion of decoded frames stay as they are.
        return Ok(None);
    }
    let photo_share = if config.stage == Stage::Intra { 1.0 } else { 0.0 };
    let options = SamplerOptions { photo_share, graphics_share: 0.0, seed: 0, split: Split::Validation };
    let Some(sampler) = Sampler::open_if_any(data, options)? else {
        return Ok(None);
    };
    let frames = if config.stage == Stage::Intra { 1 } else { FRAMES };
    let clip = clip_on_device(&sampler.validation_clips_of(CLIPS, frames, &SIDES)?, device)?;
    tch::no_grad(|| {
        let points = QUALITIES
            .iter()
            .map(|&q| measure(networks, motion, &clip, q, config.fidelity.squared(), device))
            .collect::<Result<Vec<_>>>()?;
        let score = points.iter().map(|(score, _)| score).sum::<f64>() / points.len() as f64;
        Ok(Some(Report { score, points: points.into_iter().map(|(_, p)| p).collect() }))
    })
}

fn measure(
    networks: &Networks,
    motion: &MotionFinder,
    clip: &Clip,
    quality: u8,
    fidelity: Fidelity,
    device: Device,
) -> Result<(f64, Point)> {
    let prepared = networks.prepare(Arithmetic::Integer)?;
    let (examples, _, h, w) = clip.frames[0].y.size4()?;
    let batch = |quality| quality_tensor(&vec![quality; examples as usize], device);
    let q = batch(quality)?;
    let q_intra = batch(quality.saturating_sub(networks.config.intra_quality_offset))?;
    let (mut score, mut bpp, mut psnr_y, mut psnr_uv, mut count) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let mut tally = |target: &Planes, output: &Planes, bits: &Tensor| -> Result<()> {
        let rate = bits.f_div_scalar((h * w) as f64)?;
        let d = fidelity.distortion(target, output)?;
        score += scalar(&rate.f_add(&d.f_mul_scalar(lambda(f64::from(quality)))?)?.f_log()?.f_mean(Kind::Float)?)?;
        bpp += scalar(&rate.f_mean(Kind::Float)?)?;
        psnr_y += psnr(&target.y, &output.y)?;
        psnr_uv += psnr(&target.uv, &output.uv)?;
        count += 1.0;
        Ok(())
    };
    let single = clip.frames.len() == 1;
    let coded = networks.intra_frame(&prepared, &clip.frames[0], if single { &q } else { &q_intra }, &mut Quantiser::Hard)?;
    let mut previous = coded.frame.rounded()?;
    if single {
        tally(&clip.frames[0], &previous, &coded.bits)?;
    }
    let mut state = None;
    for (t, frame) in clip.frames.iter().enumerate().skip(1) {
        let (dy, dx) = if networks.config.random_shift { codec_core::bitstream::shift(0, t as u32) } else { (0, 0) };
        let shift = (i64::from(dy), i64::from(dx));
        let motion = motion.find(frame, &previous, &vec![quality; examples as usize], state.as_ref())?;
        let input = InterInput { frame, reference: &previous, motion, previous: state.as_ref(), shift };
        let coded = networks.inter_frame(&prepared, input, &q, &mut Quantiser::Hard)?;
        previous = coded.frame.rounded()?;
        tally(frame, &previous, &coded.bits)?;
        state = coded.inter;
    }
    Ok((score / count, Point { quality, bpp: bpp / count, psnr_y: psnr_y / count, psnr_uv: psnr_uv / count }))
}
