//! The detailed twin in open loop: literally the bits of the faithful stream, and its references; only what is shown comes from
//! the detailed synthesis transforms.

use anyhow::{Result, ensure};
use codec_core::bitstream::{SequenceHeader, parse_unit};
use codec_core::frame::pad::padded;
use codec_core::model::Model;
use codec_core::nn::codec::{InterState, quality_tensor};
use codec_core::nn::entropy::{Arithmetic, Quantiser};
use codec_core::nn::ops::{Planes, pack, unpack};
use codec_core::{FrameOptions, Limits, ModelSource};
use tch::Device;

use super::codec::{Settings, encoder};
use super::tensors::{frame, planes};
use super::{Clip, Coded};
use crate::train::{FlowSource, MotionFinder};

/// Encodes at detail 0 and shows every frame at `settings.detail`.
///
/// The latents are those that the encoder writes, made again on tensors from its own references.
pub fn code(clip: &Clip, source: &ModelSource, settings: &Settings) -> Result<Coded> {
    let faithful = Model::load(source, Device::Cpu)?;
    let mut detailed = Model::load(source, Device::Cpu)?;
    detailed.set_detail((settings.detail * 255.0).round() as u8)?;
    let mut encoder = encoder(clip, source, settings, 0.0)?;
    let motion = MotionFinder::open(&faithful.config, &FlowSource::Dis, Device::Cpu)?;
    let prepared = faithful.networks.prepare(Arithmetic::Integer)?;
    let mut sequence: Option<SequenceHeader> = None;
    let mut state: Option<InterState> = None;
    let mut last_shown: Option<Planes> = None;
    let (mut bytes, mut frames) = (0, Vec::with_capacity(clip.frames.len()));
    for original in &clip.frames {
        let reference = encoder.reconstruction().clone();
        encoder.send_frame(&original.view(), FrameOptions::default())?;
        let Some(unit) = encoder.receive_unit() else { anyhow::bail!("the encoder gave no unit for a frame") };
        bytes += unit.data.len() as u64;
        let parsed = parse_unit(&unit.data, &Limits::default())?;
        sequence = parsed.sequence.clone().or(sequence);
        let quality = parsed.header.quality;
        ensure!(quality == parsed.header.residual_quality, "rate control is off");
        let target = planes(&padded(&original.view())?)?;
        let q = quality_tensor(&[quality], Device::Cpu)?;
        let shown: Planes = tch::no_grad(|| -> Result<Planes> {
            if unit.keyframe {
                state = None;
                let coded = faithful.networks.intra_frame(&prepared, &target, &q, &mut Quantiser::Hard)?;
                return Ok(unpack(&detailed.networks.intra.synthesis.forward(&coded.latent, &q)?)?);
            }
            let reference = planes(&reference)?;
            let motion = motion.find(&target, &reference, &[quality])?;
            let (dy, dx) = sequence.as_ref().map_or((0, 0), |s| s.shift_of(unit.frame_number));
            let (dy, dx) = (i64::from(dy), i64::from(dx));
            let coded = faithful.networks.inter_frame(
                &prepared,
                &target,
                &reference,
                motion,
                &q,
                state.as_ref(),
                (dy, dx),
                &mut Quantiser::Hard,
            )?;
            let inter = coded.inter.expect("a P-frame has an inter state");
            let packed = pack(&inter.prediction.rolled(dy, dx)?)?;
            let residual = unpack(&detailed.networks.residual_synthesis(&coded.latent, &packed, &q)?)?;
            let shown = inter.prediction.add(&residual.rolled(-dy, -dx)?)?;
            state = Some(inter);
            Ok(shown)
        })?;
        let shown = match detailed.active_postfilter() {
            Some(postfilter) => tch::no_grad(|| -> Result<Planes> {
                let past = detailed.networks.carried(last_shown.as_ref(), state.as_ref())?;
                Ok(postfilter.forward(&shown.rounded()?, past.as_ref(), &q, detailed.detail_share())?)
            })?,
            None => shown,
        };
        let shown = shown.rounded()?;
        frames.push(frame(&shown)?.crop_copy(clip.width, clip.height)?);
        last_shown = Some(shown);
    }
    Ok(Coded { bytes, frames, encode_fps: None, decode_fps: None })
}
