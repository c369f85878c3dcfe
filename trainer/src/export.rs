//! From checkpoints to a model file.

use std::path::Path;

use anyhow::{Context, Result, bail};
use codec_core::bitstream::Profile;
use codec_core::model::calibrate::{calibrate, synthetic};
use codec_core::model::{DETAIL_PREFIX, write_model};
use codec_core::nn::fixed::Fractions;
use codec_core::{ModelConfig, Networks, ParamStore};
use tch::{Device, Kind};

use crate::data::{Sampler, SamplerOptions, Split};
use crate::train::TRAINING_HOURS;
use crate::train::batch::clip_on_device;
use crate::train::checkpoint::Checkpoint;

/// Parts of a checkpoint that only training needs.
const TRAINING_ONLY: [&str; 2] = [crate::train::gan::PREFIX, "uflow."];
/// What the stage `detail` trains.
const SYNTHESIS: [&str; 2] = ["intra.synthesis.", "residual.synthesis."];

/// Writes the averaged weights of a checkpoint as a model file, with the integer entropy networks made from them, and the
/// synthesis transforms of `detail` as the detailed ones.
///
/// # Errors
/// Naming the tensor that does not fit its integer range or shows that the two checkpoints are no twins, or the file that
/// cannot be written.
pub fn export(checkpoint: &Checkpoint, detail: Option<&Checkpoint>, data: Option<&Path>, out: &Path, notes: &str) -> Result<()> {
    let mut params = ParamStore::new();
    let averaged = checkpoint.averaged_params();
    params.fractions = averaged.fractions.clone();
    for (name, tensor) in averaged.iter() {
        if !TRAINING_ONLY.iter().any(|prefix| name.starts_with(prefix)) {
            params.insert(name, tensor.shallow_clone());
        }
    }
    let mut model = checkpoint.progress.model.clone();
    if detail.is_some() && model.profile == Profile::Rt {
        bail!(
            "--detail: models of the rt profile have one synthesis transform; export the checkpoint of the stage detail by itself"
        );
    }
    let networks = Networks::load(&mut params, &model, Device::Cpu)?;
    if params.fractions.is_empty() && model.profile == Profile::Rt {
        params.fractions = calibrated(&params, &model, data)?;
    }
    let hours = |c: &Checkpoint| c.progress.total_seconds() / 3600.0;
    let mut metadata = vec![(TRAINING_HOURS, format!("{:.2}", hours(detail.unwrap_or(checkpoint))))];
    if !notes.is_empty() {
        metadata.push(("notes", notes.to_owned()));
    }
    if let Some(detail) = detail {
        add_detail(&mut params, &detail.averaged_params())?;
        model.detail = true;
    }
    let bytes = tch::no_grad(|| write_model(&model, &params, &networks, &metadata))?;
    let partial = out.with_extension("partial");
    std::fs::write(&partial, &bytes).with_context(|| format!("cannot write {}", partial.display()))?;
    std::fs::rename(&partial, out).with_context(|| format!("cannot write {}", out.display()))?;
    println!("{}: {} bytes, {:.2} h of training", out.display(), bytes.len(), hours(detail.unwrap_or(checkpoint)));
    Ok(())
}

/// Clips and their side in pixels that a model is calibrated with.
const CALIBRATION: (usize, usize) = (12, 256);

/// Fractional bits of the integer layers, from frames of `data` or, without any, made-up ones.
fn calibrated(params: &ParamStore, model: &ModelConfig, data: Option<&Path>) -> Result<Fractions> {
    let pairs = match data {
        Some(data) => {
            let options = SamplerOptions { photo_share: 0.0, seed: 0, split: Split::Train };
            let sampler = Sampler::open(data, options)?;
            let clip = clip_on_device(&sampler.validation_clips(CALIBRATION.0, 2, CALIBRATION.1)?, Device::Cpu)?;
            let [first, second] = &clip.frames[..] else { bail!("{}: no pairs of frames to calibrate with", data.display()) };
            vec![[first.shallow_clone(), second.shallow_clone()]]
        }
        None => {
            eprintln!("export: no --data, so the integer layers are calibrated with made-up frames: expect a little more noise");
            synthetic(Device::Cpu)?
        }
    };
    Ok(calibrate(params, model, &pairs, Device::Cpu)?)
}

/// Adds the synthesis transforms of `detail`, whose other parts must be those of `params`.
fn add_detail(params: &mut ParamStore, detail: &ParamStore) -> Result<()> {
    let names: Vec<String> = params.iter().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        let Some(other) = detail.get(&name) else { bail!("the detail checkpoint lacks the tensor {name}: not of this model") };
        if SYNTHESIS.iter().any(|prefix| name.starts_with(prefix)) {
            params.insert(format!("{DETAIL_PREFIX}{name}"), other.shallow_clone());
            continue;
        }
        let own = params.get(&name).expect("listed above");
        let same = own.size() == other.size() && own.f_sub(other)?.f_abs()?.f_sum(Kind::Float)?.f_double_value(&[])? == 0.0;
        if !same {
            bail!("tensor {name} differs between the two checkpoints: the detail stage must start from the other one");
        }
    }
    Ok(())
}
