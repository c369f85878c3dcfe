//! Float parameters in model files: those of the `paper` profile, and what training goes on from.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};

use super::container::{parse, raw_tensor};
use super::detail::DetailFile;
use super::entropy;
use super::file::{Model, ModelSource, source_bytes};
use super::quantise::{self, Integers};
use super::write::{detail_file, file_of};
use crate::architecture::{DetailConfig, ModelConfig, Profile};
use crate::entropy::{EntropyModel, EntropyParams, RawDtype, RawTensor};
use crate::nn::transfer::download;
use crate::nn::uflow::UFlow;
use crate::nn::{Form, Network, Networks, ParamStore, Postfilter, Precision};
use crate::{Error, Result};

/// The configuration and all parameters of a model file as floats: where training goes on from a model.
///
/// # Errors
/// As [`Model::load`].
pub fn read_float_tensors(source: &ModelSource) -> Result<(ModelConfig, ParamStore)> {
    read_bytes(&source_bytes(source)?)
}

/// The networks of a loaded model in floats.
///
/// # Errors
/// [`Error::ModelMismatch`] naming a tensor that does not fit.
pub fn load_networks(model: &Model, device: Device, precision: Precision) -> Result<Networks> {
    let (config, mut params) = read_bytes(model.bytes())?;
    Networks::load_for_training(&mut params, &config, device, precision)
}

/// The flow estimator of a loaded model of the `paper` profile.
///
/// # Errors
/// [`Error::ModelMismatch`] naming a tensor that is missing or has another shape.
pub fn load_uflow(model: &Model, device: Device) -> Result<UFlow> {
    let (_, tensors) = parse::<ModelConfig>(model.bytes())?;
    let own = format!("{}.", Network::FlowEstimator.path());
    UFlow::load(&mut float_params(&tensors, |name| name.starts_with(&own))?, device)
}

/// The filter of a detail file in floats.
///
/// # Errors
/// [`Error::ModelMismatch`] naming a tensor that does not fit.
pub fn load_detail(file: &DetailFile, device: Device, precision: Precision) -> Result<Postfilter> {
    let (config, tensors) = parse::<DetailConfig>(file.bytes())?;
    let (mut params, _) = all_params(&tensors)?;
    Postfilter::load(&mut params, &config.postfilter, device, precision)
}

fn read_bytes(bytes: &[u8]) -> Result<(ModelConfig, ParamStore)> {
    let (config, tensors) = parse::<ModelConfig>(bytes)?;
    let (mut params, all) = all_params(&tensors)?;
    let lookup = |name: &str| all.get(name).cloned();
    let flow = config.flow.as_ref().map(|flow| ("flow", &flow.entropy));
    for (name, entropy_config) in
        [("intra", &config.intra_entropy), ("residual", &config.residual_entropy)].into_iter().chain(flow)
    {
        let parameters = EntropyParams::from_tensors(&format!("{name}.integer"), entropy_config, &lookup)?;
        entropy::insert_float_layers(&format!("{name}.coder.entropy"), entropy_config, &parameters, &mut params)?;
    }
    Ok((config, params))
}

/// The float parameters that all tensors of a file make, and the tensors.
fn all_params(tensors: &SafeTensors) -> Result<(ParamStore, BTreeMap<String, RawTensor>)> {
    let mut params = float_params(tensors, |_| true)?;
    let all = tensors.names().into_iter().filter_map(|name| Some((name.to_owned(), raw_tensor(tensors, name)?))).collect();
    quantise::to_floats(&all, &mut params)?;
    Ok((params, all))
}

fn float_params(tensors: &SafeTensors, wanted: impl Fn(&str) -> bool) -> Result<ParamStore> {
    let mut params = ParamStore::new();
    for (name, view) in tensors.tensors() {
        // Tables of gains stand for knots.
        if name.ends_with(".table") || !wanted(&name) {
            continue;
        }
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            _ => continue,
        };
        let shape: Vec<i64> = view.shape().iter().map(|&s| s as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, kind)?.f_to_kind(Kind::Float)?;
        if !bool::try_from(tensor.f_isfinite()?.f_all()?)? {
            return Err(Error::ModelMismatch(format!("tensor {name} holds values that are not finite")));
        }
        params.insert(name, tensor);
    }
    Ok(params)
}

/// Serialises a model. The transforms of the `rt` profile become integers, for which `params` must be calibrated
/// ([`calibrate`](super::calibrate::calibrate)). Float tensors that integer networks do not replace are stored as fp16, gains as fp32
/// (they are exponents).
///
/// Symbols are coded with Gaussian tables; [`with_tables`](super::with_tables) puts better ones in their place.
///
/// `networks` must be built on `params`; UFlow too, if the model is to bring its own
/// ([`Estimator`](crate::architecture::Estimator)). `notes` are further metadata (schedule, hours, data).
pub fn write_model(config: &ModelConfig, params: &ParamStore, networks: &Networks, notes: &[(&str, String)]) -> Result<Vec<u8>> {
    let mut tensors = tensors_of(config.profile, params)?;
    let flow = networks.flow.as_ref().map(|flow| ("flow", flow));
    for (name, branch) in [("intra", &networks.intra), ("residual", &networks.residual)].into_iter().chain(flow) {
        let parameters = entropy::integer_params(&branch.coder.entropy, branch.coder.steps()?)?;
        // Building the model checks every range before anything is written.
        EntropyModel::new(branch.coder.entropy.config().clone(), parameters.clone())?;
        tensors.extend(parameters.to_tensors(&format!("{name}.integer"), branch.coder.entropy.config()));
    }
    file_of(config, &tensors, notes)
}

/// Serialises the postfilter of a model by itself. Networks must be built on `params`, which must be calibrated as for [`write_model`].
///
/// # Errors
/// [`Error::ModelMismatch`] if there is no postfilter, or if it does not fit its integers.
pub fn write_detail(config: &ModelConfig, params: &ParamStore, notes: &[(&str, String)]) -> Result<Vec<u8>> {
    let Some(postfilter) = config.postfilter.clone() else {
        return Err(Error::ModelMismatch("the model has no postfilter: train one with the stage \"postfilter\"".into()));
    };
    let tensors = tensors_of(config.profile, &params.part(Network::Postfilter))?;
    detail_file(&DetailConfig { profile: config.profile, postfilter }, &tensors, notes)
}

/// All parameters but those of entropy models, as tensors of a file.
fn tensors_of(profile: Profile, params: &ParamStore) -> Result<Vec<(String, RawTensor)>> {
    if profile == Profile::Rt && params.fractions.is_empty() {
        return Err(Error::ModelMismatch("the model has not been calibrated for integers".into()));
    }
    // The paper profile's parameters have no fractional bits, and stay as they are.
    let Integers { mut tensors, replaced } = quantise::to_integers(params)?;
    for (name, tensor, role) in params.taken() {
        if entropy::is_integer_layer(name) || replaced.contains(name) {
            continue;
        }
        let keep = role.form == Form::Knots;
        let (kind, dtype) = if keep { (Kind::Float, RawDtype::F32) } else { (Kind::Half, RawDtype::F16) };
        let data = download::<u8>(&tensor.f_detach()?.f_to_kind(kind)?)?;
        let shape = tensor.size().iter().map(|&s| s as usize).collect();
        tensors.push((name.to_owned(), RawTensor { dtype, shape, data }));
    }
    Ok(tensors)
}
