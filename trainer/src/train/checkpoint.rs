//! Checkpoints: one safetensors file with parameters, optimiser state and where the run stands; replaced atomically.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use codec_core::training::nn::fixed::Fractions;
use codec_core::training::nn::transfer::{download, scalar};
use codec_core::training::nn::{Form, ModelConfig, Network, Networks, ParamStore, Part, Role};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::TrainConfig;
use super::rate::RateController;

/// Value of the metadata key `format`.
const FORMAT: &str = "ngc-checkpoint-1";

/// Where a run stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Progress {
    pub model: ModelConfig,
    /// `None` for a starting point that no stage has trained.
    pub train: Option<TrainConfig>,
    pub step: u64,
    /// Wall-clock seconds of training over all runs of this stage.
    pub seconds: f64,
    /// Seconds of all stages before this one.
    pub earlier_seconds: f64,
    pub rate: Option<RateController>,
    /// Fractional bits of the integer engine's layers, once they have been calibrated.
    #[serde(default)]
    pub fractions: Fractions,
}

impl Progress {
    /// Seconds of training behind the parameters, all stages together.
    pub fn total_seconds(&self) -> f64 {
        self.earlier_seconds + self.seconds
    }
}

/// The bias of E_I's linear channels, which the free latent does without.
const LINEAR_BIAS: &str = "intra.analysis.linear.bias";

/// A checkpoint in memory. Tensor names: `param/NAME`, and `ema/`, `momentum/`, `first/`, `second/` of the optimiser.
pub struct Checkpoint {
    pub progress: Progress,
    pub tensors: BTreeMap<String, Tensor>,
}

impl Checkpoint {
    /// Parameters to go on from: the moving average where there is one, else the raw values.
    pub fn averaged_params(&self) -> ParamStore {
        let mut params = ParamStore::new();
        params.fractions = self.progress.fractions.clone();
        for (name, tensor) in &self.tensors {
            if let Some(name) = name.strip_prefix("param/") {
                let value = self.tensors.get(&format!("ema/{name}")).unwrap_or(tensor);
                params.insert(name, value.copy().set_requires_grad(true));
            }
        }
        params
    }

    /// Makes it a starting point: parameters and their moving averages alone.
    pub fn drop_optimiser(&mut self) {
        self.tensors.retain(|name, _| name.starts_with("param/") || name.starts_with("ema/"));
        let progress = &mut self.progress;
        progress.earlier_seconds += std::mem::take(&mut progress.seconds);
        (progress.train, progress.step) = (None, 0);
    }

    /// Becomes another model, by new values of parameters, whose moving averages start anew. The others stay as they are.
    pub(super) fn become_model(&mut self, model: ModelConfig, values: Vec<(String, Tensor)>) {
        for (name, value) in values {
            self.tensors.remove(&format!("ema/{name}"));
            self.tensors.insert(format!("param/{name}"), value);
        }
        self.progress.model = model;
        self.progress.fractions.clear();
    }

    /// Drops a network of `model`, the configuration that the parameters belong to: a stage starts with a fresh one.
    ///
    /// # Errors
    /// If the parameters do not fit the configuration.
    pub fn forget(&mut self, network: Network, model: &ModelConfig) -> Result<()> {
        let mut params = self.raw_params();
        Networks::load(&mut params, model, Device::Cpu)?;
        let belongs = |name: &str| params.role(name).is_some_and(|role| role.network == network);
        self.tensors.retain(|key, _| !key.split_once('/').is_some_and(|(_, name)| belongs(name)));
        Ok(())
    }

    /// Makes each parameter the mean of its own value and that of another run, such as the one that this one started from: often better than
    /// either (Wortsman et al., "Model soups", 2022), and it halves what a stage changed.
    ///
    /// # Errors
    /// If the other has not the same parameters.
    pub fn average_with(&mut self, other: &Self) -> Result<()> {
        let predicts = |checkpoint: &Self| checkpoint.progress.model.intra_entropy.intra_prediction;
        ensure!(
            predicts(self) == predicts(other),
            "one of the two has intra prediction, so their parameters mean different things"
        );
        let theirs = other.averaged_params();
        for (key, tensor) in &mut self.tensors {
            let Some(name) = key.strip_prefix("param/").or_else(|| key.strip_prefix("ema/")) else { continue };
            let fitting = theirs.get(name).filter(|theirs| theirs.size() == tensor.size());
            let theirs =
                fitting.with_context(|| format!("{name}: the other has no such parameter of the size {:?}", tensor.size()))?;
            *tensor = tch::no_grad(|| tensor.f_add(theirs)?.f_mul_scalar(0.5))?;
        }
        Ok(())
    }

    /// Takes the postfilter of another run, in place of its own if it has one: such a run may go on beside another stage, as nothing is
    /// predicted from what the filter shows.
    ///
    /// # Errors
    /// If the other run has no postfilter, or its parameters do not fit its configuration.
    pub fn take_postfilter(&mut self, from: &Self) -> Result<()> {
        let Some(config) = from.progress.model.postfilter.clone() else { bail!("the other checkpoint has no postfilter") };
        if self.progress.model.postfilter.is_some() {
            self.forget(Network::Postfilter, &self.progress.model.clone())?;
        }
        self.take(Network::Postfilter, from)?;
        self.progress.model.postfilter = Some(config);
        Ok(())
    }

    /// Takes the I-branch of another run, in place of its own: such a run may go on beside a stage of P-frames, if it keeps the free latent.
    ///
    /// # Errors
    /// If P-frames would see another free latent, or the other's parameters do not fit its configuration.
    #[expect(clippy::disallowed_methods, reason = "checkpoints lie on the CPU")]
    pub fn take_intra(&mut self, from: &Self) -> Result<()> {
        let (mut own, mut other) = (self.averaged_params(), from.averaged_params());
        Networks::load(&mut own, &self.progress.model, Device::Cpu)?;
        Networks::load(&mut other, &from.progress.model, Device::Cpu)?;
        for (name, tensor, _) in own.taken().filter(|(_, _, role)| role.is_free_latent()) {
            // The bias of the linear channels has no part in it.
            let same = name == LINEAR_BIAS || other.get(name).is_some_and(|o| o.allclose(tensor, 1e-4, 1e-5, false));
            ensure!(
                same,
                "{name}: E_I has learned since the two runs parted, and P-frames see their prediction through it; train I-frames \
                           with optimiser.keep-free-latent"
            );
        }
        self.forget(Network::Intra, &self.progress.model.clone())?;
        self.take(Network::Intra, from)?;
        let (model, other) = (&mut self.progress.model, &from.progress.model);
        (model.intra, model.intra_entropy) = (other.intra.clone(), other.intra_entropy.clone());
        Ok(())
    }

    /// Takes over the parameters of a network of another run.
    fn take(&mut self, network: Network, from: &Self) -> Result<()> {
        let mut params = from.raw_params();
        Networks::load(&mut params, &from.progress.model, Device::Cpu)?;
        let belongs = |name: &str| params.role(name).is_some_and(|role| role.network == network);
        let parts = from.tensors.iter().filter(|(key, _)| key.split_once('/').is_some_and(|(_, name)| belongs(name)));
        self.tensors.extend(parts.map(|(key, tensor)| (key.clone(), tensor.shallow_clone())));
        // Calibrated for the layers that go.
        self.progress.fractions.clear();
        self.progress.earlier_seconds += from.progress.seconds;
        Ok(())
    }

    /// Makes the residual branch start from the I-branch.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn residual_from_intra(&mut self) -> Result<()> {
        let mut params = self.averaged_params();
        Networks::init(&mut params, &self.progress.model, Device::Cpu)?;
        Networks::init_residual_from_intra(&mut params)?;
        for (name, tensor) in params.iter() {
            self.tensors.insert(format!("param/{name}"), tensor.shallow_clone());
            if params.role(name).is_some_and(|role| role.network == Network::Residual) {
                self.tensors.remove(&format!("ema/{name}"));
            }
        }
        Ok(())
    }

    /// Whether P-frames have learned anything yet. In fresh networks, all channels of an entropy model have the same values on the
    /// quality axis.
    ///
    /// # Errors
    /// If the parameters do not fit the configuration.
    pub fn residual_is_trained(&self) -> Result<bool> {
        let mut params = self.averaged_params();
        Networks::load(&mut params, &self.progress.model, Device::Cpu)?;
        let of_residual =
            |role: Role| role.network == Network::Residual && role.part == Part::Entropy && role.form == Form::Knots;
        for (_, knots, _) in params.taken().filter(|(_, _, role)| of_residual(*role)) {
            let spread = knots.f_amax([1], false)?.f_sub(&knots.f_amin([1], false)?)?;
            if scalar(&spread.f_max()?)? > 1e-6 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether its stage has run its whole length.
    pub fn is_finished(&self) -> bool {
        let progress = &self.progress;
        progress.train.as_ref().is_some_and(|train| train.budget.fraction(progress.step, progress.seconds) >= 1.0)
    }

    /// Parameters exactly as they were.
    pub fn raw_params(&self) -> ParamStore {
        let mut params = ParamStore::new();
        params.fractions = self.progress.fractions.clone();
        for (name, tensor) in &self.tensors {
            if let Some(name) = name.strip_prefix("param/") {
                params.insert(name, tensor.copy().set_requires_grad(true));
            }
        }
        params
    }

    /// Writes beside `path` and renames: a kill leaves the old file or the new one, whole.
    pub fn save(&self, path: &Path) -> Result<()> {
        let data: Vec<(String, Vec<usize>, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, tensor)| {
                let bytes = download::<u8>(&tensor.f_detach()?.f_to_kind(Kind::Float)?)?;
                Ok((name.clone(), tensor.size().iter().map(|&s| s as usize).collect(), bytes))
            })
            .collect::<Result<_>>()?;
        let views = data
            .iter()
            .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
            .collect::<Result<Vec<_>>>()?;
        let metadata = HashMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("progress".to_owned(), serde_json::to_string(&self.progress)?),
        ]);
        let bytes = safetensors::serialize(views, Some(metadata))?;
        let partial = path.with_extension("partial");
        let mut file = std::fs::File::create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
        file.write_all(&bytes)
            .and_then(|()| file.sync_all())
            .with_context(|| format!("cannot write {}: is the disk full?", partial.display()))?;
        std::fs::rename(&partial, path).with_context(|| format!("cannot replace {}", path.display()))
    }

    /// # Errors
    /// Naming the file and the cure where it is absent, damaged or of another kind.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("checkpoint {}", path.display()))?;
        let damaged = || format!("{}: not a whole checkpoint; use an older one", path.display());
        let (_, header) = SafeTensors::read_metadata(&bytes).with_context(damaged)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        if metadata.get("format").map(String::as_str) != Some(FORMAT) {
            bail!("{}: not a checkpoint of ngc-trainer (format {FORMAT})", path.display());
        }
        let progress = metadata.get("progress").map(String::as_str).unwrap_or_default();
        let progress: Progress = serde_json::from_str(progress).with_context(damaged)?;
        let file = SafeTensors::deserialize(&bytes).with_context(damaged)?;
        let tensors = file
            .tensors()
            .into_iter()
            .map(|(name, view)| {
                let shape: Vec<i64> = view.shape().iter().map(|&s| s as i64).collect();
                Ok((name, Tensor::f_from_data_size(view.data(), &shape, Kind::Float)?))
            })
            .collect::<Result<_>>()?;
        Ok(Self { progress, tensors })
    }
}

#[cfg(test)]
mod tests {
    use codec_core::training::nn::PostfilterConfig;

    use super::*;
    use crate::train::starting_point;

    fn start(seed: i64, postfilter: Option<PostfilterConfig>) -> Checkpoint {
        let _generator = crate::testing::seeded(seed);
        let model = ModelConfig { postfilter, ..ModelConfig::rt_with(8, 4) };
        let mut params = ParamStore::new();
        Networks::init(&mut params, &model, Device::Cpu).unwrap();
        starting_point(model, &params)
    }

    #[test]
    fn a_postfilter_is_taken_from_another_run() {
        let small = PostfilterConfig { width: 8, blocks: 1, recurrent: true };
        let mut other = start(2, Some(small.clone()));
        other.progress.seconds = 60.0;
        other.tensors.insert("ema/postfilter.input.weight".into(), other.tensors["param/postfilter.input.weight"].copy() * 0.5);
        for own in [None, Some(PostfilterConfig { blocks: 2, ..small.clone() })] {
            let before = start(1, own);
            let mut joined = Checkpoint {
                progress: before.progress.clone(),
                tensors: before.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect(),
            };
            joined.take_postfilter(&other).unwrap();
            assert_eq!((joined.progress.model.postfilter.as_ref(), joined.progress.total_seconds()), (Some(&small), 60.0));
            let of_filter = |name: &String| name.contains("/postfilter.");
            let names =
                |c: &Checkpoint, filter: bool| c.tensors.keys().filter(|k| of_filter(k) == filter).cloned().collect::<Vec<_>>();
            assert_eq!((names(&joined, true), names(&joined, false)), (names(&other, true), names(&before, false)));
            for (name, tensor) in &joined.tensors {
                let source = if of_filter(name) { &other } else { &before };
                assert!(tensor.equal(&source.tensors[name]), "{name}");
            }
        }
        let error = start(1, None).take_postfilter(&start(2, None)).unwrap_err();
        assert!(error.to_string().contains("no postfilter"), "{error}");
    }

    #[test]
    fn a_mean_of_two_runs_lies_between_them() {
        let name = "intra.coder.entropy.z_mean.knots";
        let run = |value: f64| {
            let mut run = start(1, None);
            let knots = run.tensors[&format!("param/{name}")].full_like(value);
            run.tensors.insert(format!("param/{name}"), knots.shallow_clone());
            run.tensors.insert(format!("ema/{name}"), &knots + 1.0);
            run
        };
        let (mut mean, other) = (run(2.0), run(6.0));
        mean.average_with(&other).unwrap();
        // What counts of the other is its moving average, 7.
        for (kind, wanted) in [("param", 4.5), ("ema", 5.0)] {
            let found = &mean.tensors[&format!("{kind}/{name}")];
            assert_eq!(f64::try_from(found.min()).unwrap(), wanted);
            assert_eq!(f64::try_from(found.max()).unwrap(), wanted);
        }
        let mut without = run(6.0);
        without.tensors.remove(&format!("param/{name}"));
        let error = run(2.0).average_with(&without).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }

    #[test]
    fn a_residual_branch_is_fresh_until_a_step_moves_it() {
        let mut fresh = start(1, None);
        assert!(!fresh.residual_is_trained().unwrap());
        fresh.complete_linear().unwrap();
        assert!(!fresh.residual_is_trained().unwrap());
        let name = "param/residual.coder.entropy.z_mean.knots";
        let moved = fresh.tensors[name].copy();
        let _ = moved.get(0).get(0).fill_(1e-3);
        fresh.tensors.insert(name.into(), moved);
        assert!(fresh.residual_is_trained().unwrap());
    }
}
