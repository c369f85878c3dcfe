//! From checkpoints to a model file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use codec_core::ModelSource;
use codec_core::bitstream::Profile;
use codec_core::training::model::calibrate::{calibrate, synthetic};
use codec_core::training::model::{Model, with_postfilter, write_detail, write_model};
use codec_core::training::nn::fixed::Fractions;
use codec_core::training::nn::uflow::UFlow;
use codec_core::training::nn::{Estimator, ModelConfig, Networks, ParamStore};
use tch::Device;

use crate::data::{Sampler, SamplerOptions, Split};
use crate::symbol_tables::with_counted_tables;
use crate::train::TRAINING_HOURS;
use crate::train::batch::clip_on_device;
use crate::train::checkpoint::Checkpoint;

/// What an exported file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// A whole model.
    Model,
    /// Its postfilter, and all else as it is in this model file.
    PostfilterAnd(PathBuf),
    /// Its postfilter alone: a detail file.
    Postfilter,
}

/// Writes the averaged weights of a checkpoint as a model file or a detail file, with the integer networks made from them: what the codec's networks
/// take, and nothing that training alone needs. `data`: what a model that has not been calibrated is calibrated with, and what the
/// probabilities of symbols are counted on; without it they are Gaussians.
///
/// # Errors
/// Naming the tensor that does not fit its integer range, or the file that cannot be written.
pub fn export(checkpoint: &Checkpoint, contents: Contents, data: Option<&Path>, out: &Path, notes: &str) -> Result<()> {
    let mut params = checkpoint.averaged_params();
    let mut model = checkpoint.progress.model.clone();
    // Training knows nothing of it, and every model gains by it.
    for entropy in [&mut model.intra_entropy, &mut model.residual_entropy] {
        entropy.adaptive_scales = entropy.transforms;
    }
    let networks = Networks::load(&mut params, &model, Device::Cpu)?;
    if contents != Contents::Model && model.postfilter.is_none() {
        bail!("the checkpoint has no postfilter: train one with a stage of kind \"postfilter\"");
    }
    if model.estimator() == Some(Estimator::UFlow) {
        // So that the file holds it.
        UFlow::load(&mut params, Device::Cpu)?;
    }
    if params.fractions.is_empty() && model.profile == Profile::Rt {
        params.fractions = calibrated(&params, &model, data)?;
    }
    let hours = checkpoint.progress.total_seconds() / 3600.0;
    let mut metadata = vec![(TRAINING_HOURS, format!("{hours:.2}"))];
    if !notes.is_empty() {
        metadata.push(("notes", notes.to_owned()));
    }
    let bytes = tch::no_grad(|| match contents {
        Contents::Model | Contents::PostfilterAnd(_) => write_model(&model, &params, &networks, &metadata),
        Contents::Postfilter => write_detail(&model, &params, &metadata),
    })?;
    let partial = out.with_extension("partial");
    let write = |bytes: &[u8]| std::fs::write(&partial, bytes).with_context(|| format!("cannot write {}", partial.display()));
    write(&bytes)?;
    if let Contents::PostfilterAnd(rest) = &contents {
        let [filter, rest] = [&partial, rest].map(|path| Model::load(&ModelSource::File(path.clone())));
        write(&with_postfilter(&*rest?, &*filter?, &metadata)?)?;
    }
    if let Some(data) = data.filter(|_| contents == Contents::Model && model.profile == Profile::Rt) {
        write(&with_counted_tables(&partial, data)?)?;
    }
    std::fs::rename(&partial, out).with_context(|| format!("cannot write {}", out.display()))?;
    let size = std::fs::metadata(out)?.len();
    println!("{}: {size} bytes, {hours:.2} h of training", out.display());
    Ok(())
}

/// Clips that a model is calibrated with, and the sides that their crops may have in pixels, the largest that the data have.
const CALIBRATION_CLIPS: usize = 12;
const CALIBRATION_SIDES: [usize; 3] = [256, 128, 64];

/// Fractional bits of the integer layers, from frames of `data` or, without any, made-up ones.
fn calibrated(params: &ParamStore, model: &ModelConfig, data: Option<&Path>) -> Result<Fractions> {
    let pairs = match data {
        Some(data) => {
            let options = SamplerOptions { photo_share: 0.0, graphics_share: 0.0, seed: 0, split: Split::Train };
            let sampler = Sampler::open(data, options)?;
            let crops = sampler.validation_clips_of(CALIBRATION_CLIPS, 2, &CALIBRATION_SIDES)?;
            let clip = clip_on_device(&crops, Device::Cpu)?;
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

#[cfg(test)]
mod tests {
    use codec_core::training::model::{DetailFile, read_float_tensors};
    use codec_core::training::nn::PostfilterConfig;

    use super::*;
    use crate::train::fixtures::small_paper;
    use crate::train::{FlowSource, load_start, starting_point};

    #[test]
    fn a_postfilter_is_exported_by_itself() {
        let _generator = crate::testing::seeded(9);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rich.safetensors");
        let start = |postfilter| {
            let model = ModelConfig { postfilter, ..ModelConfig::rt_with(8, 4) };
            let mut params = ParamStore::new();
            Networks::init(&mut params, &model, Device::Cpu).unwrap();
            starting_point(model, &params)
        };
        let filter = PostfilterConfig { width: 24, blocks: 1, recurrent: true };
        export(&start(Some(filter)), Contents::Postfilter, None, &file, "").unwrap();
        DetailFile::load(&file).unwrap();
        let size = std::fs::metadata(&file).unwrap().len();
        assert!(size < 30_000, "{size} bytes: more than a filter");
        let as_model = load_start(&file).err().map(|error| format!("{error:#}")).unwrap();
        assert!(as_model.contains("this is a detail file, but a model file is needed"), "{as_model}");
        let error = export(&start(None), Contents::Postfilter, None, &file, "").unwrap_err().to_string();
        assert!(error.contains("no postfilter"), "{error}");
    }

    #[test]
    fn a_postfilter_goes_into_another_model_and_changes_nothing_else() {
        let _generator = crate::testing::seeded(9);
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        let start = |width| {
            let postfilter = Some(PostfilterConfig { width, blocks: 1, recurrent: true });
            let model = ModelConfig { postfilter, ..ModelConfig::rt_with(8, 4) };
            let mut params = ParamStore::new();
            Networks::init(&mut params, &model, Device::Cpu).unwrap();
            starting_point(model, &params)
        };
        let (old, new) = (start(8), start(16));
        export(&old, Contents::Model, None, &file("old"), "").unwrap();
        export(&new, Contents::Model, None, &file("new"), "").unwrap();
        export(&new, Contents::PostfilterAnd(file("old")), None, &file("both"), "").unwrap();
        let [old, new, both] = ["old", "new", "both"].map(|name| Model::load(&ModelSource::File(file(name))).unwrap());
        assert_eq!(both.config(), &ModelConfig { postfilter: new.config().postfilter.clone(), ..old.config().clone() });
        let tensors = |model: &Model, filter: bool| {
            let mut tensors = model.tensors().unwrap();
            tensors.retain(|name, _| name.starts_with("postfilter.") == filter);
            tensors
        };
        assert_eq!(tensors(&both, true), tensors(&new, true));
        assert_eq!(tensors(&both, false), tensors(&old, false));
        assert_ne!(tensors(&new, false), tensors(&old, false));
    }

    #[test]
    fn models_whose_blocks_choose_transforms_get_adaptive_scales() {
        let _generator = crate::testing::seeded(9);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("model.safetensors");
        for (linear, wanted) in [(384, true), (4, false)] {
            let model = ModelConfig::rt_with(8, linear);
            let mut params = ParamStore::new();
            Networks::init(&mut params, &model, Device::Cpu).unwrap();
            export(&starting_point(model, &params), Contents::Model, None, &file, "").unwrap();
            let found = Model::load(&ModelSource::File(file.clone())).unwrap().config().clone();
            assert_eq!([&found.intra_entropy, &found.residual_entropy].map(|entropy| entropy.adaptive_scales), [wanted; 2]);
        }
    }

    #[test]
    fn the_flow_estimator_goes_from_its_stage_into_the_model_file() {
        let _generator = crate::testing::seeded(6);
        let dir = tempfile::tempdir().unwrap();
        let flow = dir.path().join("flow.safetensors");
        let mut estimator = ParamStore::new();
        UFlow::init(&mut estimator, Device::Cpu).unwrap();
        starting_point(small_paper(), &estimator).save(&flow).unwrap();
        let file = dir.path().join("model.safetensors");
        let exported = |source: &FlowSource, start: &Checkpoint| {
            let (mut model, mut params) = (start.progress.model.clone(), start.averaged_params());
            source.give_to(&mut model, &mut params).unwrap();
            export(&starting_point(model, &params), Contents::Model, None, &file, "").unwrap();
            read_float_tensors(&ModelSource::File(file.clone())).unwrap()
        };
        let mut params = ParamStore::new();
        Networks::init(&mut params, &small_paper(), Device::Cpu).unwrap();
        let start = starting_point(small_paper(), &params);

        let (model, params) = exported(&FlowSource::UFlow(flow), &start);
        assert_eq!(model.estimator(), Some(Estimator::UFlow));
        for (name, wanted, _) in estimator.taken() {
            let found = params.get(name).unwrap_or_else(|| panic!("no {name}"));
            assert!((found - wanted).abs().max().double_value(&[]) < 1e-3, "{name}");
        }
        // It stays where a later stage says nothing of it, and goes where one says so.
        let start = starting_point(model, &params);
        assert_eq!(exported(&FlowSource::Model, &start).0.estimator(), Some(Estimator::UFlow));
        let (model, params) = exported(&FlowSource::Dis, &start);
        assert_eq!(model.estimator(), Some(Estimator::Dis));
        assert!(estimator.taken().all(|(name, ..)| params.get(name).is_none()));
    }
}
