//! All that is measured of a decoded clip.

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result};
use codec_core::frame::Frame;
use codec_core::training::nn::transfer::scalar;
use tch::Device;

use super::fidelity::{drift, flicker, mean, psnrs};
use super::msssim::ms_ssim;
use super::tensors::planes;
use super::{Clip, Coded};
use crate::perceptual::{Dists, Lpips, to_rgb};
use crate::train::gan::statistics_loss;

const LPIPS_FILE: &str = "lpips_vgg16_backbone_v0.1_fp16.safetensors";
const DISTS_FILE: &str = "dists_alpha_beta.safetensors";

/// Means over a clip.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// Bits per luma sample.
    pub bpp: f64,
    /// dB, of Y, U and V.
    pub psnr: [f64; 3],
    /// 0..=1.
    pub ms_ssim: Option<f64>,
    pub lpips: Option<f64>,
    pub dists: Option<f64>,
    /// Difference of local statistics of luma, see [`statistics_loss`]; frames with sides of at least 32.
    pub statistics: Option<f64>,
    /// Grey levels, see [`flicker`].
    pub flicker: f64,
    /// Change from frame to frame relative to the original's.
    pub liveliness: f64,
    /// Fall over the clip in dB, of Y, U and V.
    pub drift: [f64; 3],
}

/// Measures decoded clips.
pub struct Scorer {
    perceptual: Option<(Rc<Lpips>, Dists)>,
    step: usize,
}

impl Scorer {
    /// `weights`: folder with the weights of LPIPS and DISTS, without which these are left out.
    ///
    /// # Errors
    /// Naming the file that is missing.
    pub fn new(weights: Option<&Path>, step: usize) -> Result<Self> {
        if weights.is_none() {
            eprintln!("no --weights: LPIPS and DISTS are left out");
        }
        let load = |folder: &Path| -> Result<_> {
            let vgg = Rc::new(Lpips::load(&folder.join(LPIPS_FILE), Device::Cpu)?);
            let dists = Dists::load(&folder.join(DISTS_FILE), &vgg, Device::Cpu).context("DISTS")?;
            Ok((vgg, dists))
        };
        Ok(Self { perceptual: weights.map(load).transpose()?, step: step.max(1) })
    }

    pub fn measure(&self, clip: &Clip, coded: &Coded) -> Result<Measurement> {
        let psnr = psnrs(&clip.frames, &coded.frames);
        let (flicker, liveliness) = flicker(&clip.frames, &coded.frames);
        let sampled: Vec<(&Frame, &Frame)> =
            clip.frames.iter().zip(&coded.frames).skip(self.step / 2).step_by(self.step).collect();
        let sampled = if sampled.is_empty() { vec![(&clip.frames[0], &coded.frames[0])] } else { sampled };
        let ms_ssim = if clip.width.min(clip.height) >= 11 {
            let values: Vec<f64> = sampled.iter().map(|(a, b)| ms_ssim(a.plane(0), b.plane(0))).collect::<Result<_>>()?;
            Some(mean(&values))
        } else {
            None
        };
        let statistics = if clip.width.min(clip.height) >= 32 {
            let distance = |(a, b): &(&Frame, &Frame)| Ok(scalar(&statistics_loss(&planes(a)?.y, &planes(b)?.y)?)?);
            Some(mean(&sampled.iter().map(distance).collect::<Result<Vec<f64>>>()?))
        } else {
            None
        };
        let (lpips, dists) = self.perceptual(&sampled)?;
        Ok(Measurement {
            bpp: Measurement::bpp(coded, clip),
            drift: psnr.each_ref().map(|values| drift(values)),
            psnr: psnr.map(|values| mean(&values)),
            ms_ssim,
            lpips,
            dists,
            statistics,
            flicker,
            liveliness,
        })
    }

    fn perceptual(&self, pairs: &[(&Frame, &Frame)]) -> Result<(Option<f64>, Option<f64>)> {
        let Some((vgg, dists)) = &self.perceptual else { return Ok((None, None)) };
        tch::no_grad(|| {
            let (mut lpips_values, mut dists_values) = (Vec::new(), Vec::new());
            for (original, decoded) in pairs {
                let (a, b) = (to_rgb(&planes(original)?)?, to_rgb(&planes(decoded)?)?);
                lpips_values.push(scalar(&vgg.distance(&a, &b)?)?);
                dists_values.push(scalar(&dists.distance(&a, &b)?)?);
            }
            Ok((Some(mean(&lpips_values)), Some(mean(&dists_values))))
        })
    }
}
