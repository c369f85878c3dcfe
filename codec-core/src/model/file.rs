//! Reading and writing model files.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use super::integer;
use crate::entropy::{EntropyModel, RawDtype, RawTensor, Tables};
use crate::nn::{ModelConfig, Networks, ParamStore, Postfilter};
use crate::{Error, Result};

/// Value of the metadata key `format`.
const FORMAT: &str = "ngc-model-1";
/// A model file is a few MB; a larger one than this is not one of ours.
const MAX_FILE_BYTES: u64 = 2 << 30;

static EMBEDDED: &[u8] = include_bytes!("../../../models/rt.safetensors");

/// Where a model comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ModelSource {
    /// The default model, built into the library.
    #[default]
    Embedded,
    /// A model file made by `ngc-trainer export`.
    File(PathBuf),
}

/// SHA-256 of a model file. Streams carry its first 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModelId(pub [u8; 32]);

impl ModelId {
    /// The part that the sequence header carries.
    pub fn short(&self) -> [u8; 16] {
        self.0[..16].try_into().expect("16 of 32 bytes")
    }
}

impl std::fmt::Display for ModelId {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.0[..8].iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl std::fmt::Debug for ModelId {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "ModelId({self})")
    }
}

/// A loaded model: float networks on a device, exact integer entropy models on the host.
pub struct Model {
    pub id: ModelId,
    pub config: ModelConfig,
    pub networks: Networks,
    pub intra_entropy: EntropyModel,
    /// Of the flow codec, if the model has one.
    pub flow_entropy: Option<EntropyModel>,
    pub residual_entropy: EntropyModel,
    pub tables: Tables,
    pub device: Device,
    /// All float parameters, the faithful ones under their own names, the detailed ones below [`DETAIL_PREFIX`].
    params: ParamStore,
    detail: u8,
}

/// Where a model file keeps the detailed synthesis transforms: `detail.intra.synthesis...`, `detail.residual.synthesis...`.
pub const DETAIL_PREFIX: &str = "detail.";

impl Model {
    /// Loads a model and moves its networks to `device`.
    ///
    /// # Errors
    /// [`Error::ModelMissing`] naming the path, [`Error::ModelMismatch`] naming the tensor that does not fit.
    pub fn load(source: &ModelSource, device: Device) -> Result<Self> {
        let bytes = source_bytes(source)?;
        tch::no_grad(|| Self::from_bytes(&bytes, device)).map_err(|e| match (e, source) {
            (Error::ModelMismatch(m), ModelSource::File(path)) => Error::ModelMismatch(format!("{}: {m}", path.display())),
            (e, _) => e,
        })
    }

    fn from_bytes(bytes: &[u8], device: Device) -> Result<Self> {
        let (config, tensors) = parse(bytes)?;
        let mut params = float_params(&tensors)?;
        let lookup = |name: &str| tensors.tensor(name).ok().and_then(|view| raw_tensor(&view));
        let mut entropy = |name: &str, entropy_config: &crate::entropy::EntropyConfig| -> Result<EntropyModel> {
            let prefix = format!("{name}.integer");
            let parameters = crate::entropy::EntropyParams::from_tensors(&prefix, entropy_config, &lookup)?;
            integer::insert_float_layers(&format!("{name}.coder.entropy"), entropy_config, &parameters, &mut params)?;
            EntropyModel::new(entropy_config.clone(), parameters)
        };
        let intra_entropy = entropy("intra", &config.intra_entropy)?;
        let flow_entropy = config.flow.as_ref().map(|flow| entropy("flow", &flow.entropy)).transpose()?;
        let residual_entropy = entropy("residual", &config.residual_entropy)?;
        let networks = Networks::load(&mut params, &config, device)?;
        Ok(Self {
            id: ModelId(Sha256::digest(bytes).into()),
            tables: Tables::from_flat(&u16_tensor(&lookup, "tables.starts")?, &u16_tensor(&lookup, "tables.sizes")?)?,
            config,
            networks,
            intra_entropy,
            flow_entropy,
            residual_entropy,
            device,
            params,
            detail: 0,
        })
    }

    /// Where the synthesis transforms lie between the faithful (0) and the detailed (255) ones, and the postfilter between doing
    /// nothing and its full strength.
    pub fn detail(&self) -> u8 {
        self.detail
    }

    /// [`Self::detail`] from 0 to 1.
    pub fn detail_share(&self) -> f64 {
        f64::from(self.detail) / 255.0
    }

    /// The postfilter, where the model has one and its detail is not 0.
    pub fn active_postfilter(&self) -> Option<&Postfilter> {
        self.networks.postfilter.as_ref().filter(|_| self.detail > 0)
    }

    /// Moves the synthesis transforms to a point between the faithful (0) and the detailed (255) ones, where there are such, and
    /// sets the strength of the postfilter, if there is one.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] if the model has neither and `detail` is not 0.
    pub fn set_detail(&mut self, detail: u8) -> Result<()> {
        if detail == self.detail {
            return Ok(());
        }
        if detail != 0 && !self.config.has_detail() {
            return Err(Error::ModelMismatch(format!(
                "model {} has neither a postfilter nor detailed synthesis transforms: use detail 0 or a model trained with the stage \
                 \"postfilter\" or \"detail\"",
                self.id
            )));
        }
        let share = f64::from(detail) / 255.0;
        let mut params = ParamStore::new();
        tch::no_grad(|| {
            for (name, faithful) in self.params.iter().filter(|(name, _)| !name.starts_with(DETAIL_PREFIX)) {
                let mixed = match self.params.get(&format!("{DETAIL_PREFIX}{name}")) {
                    Some(detailed) if share > 0.0 => faithful.f_lerp(&detailed.f_to_device(self.device)?, share)?,
                    _ => faithful.shallow_clone(),
                };
                params.insert(name, mixed);
            }
            self.networks = Networks::load(&mut params, &self.config, self.device)?;
            self.detail = detail;
            Ok(())
        })
    }
}

fn source_bytes(source: &ModelSource) -> Result<Cow<'static, [u8]>> {
    match source {
        ModelSource::Embedded => Ok(Cow::Borrowed(EMBEDDED)),
        ModelSource::File(path) => {
            let missing = |e: std::io::Error| {
                Error::ModelMissing(format!(
                    "{}: {e}; give the path of a model file made by `ngc-trainer export`",
                    path.display()
                ))
            };
            let length = std::fs::metadata(path).map_err(missing)?.len();
            if length > MAX_FILE_BYTES {
                return Err(Error::Limit(format!(
                    "{}: {length} bytes, a model file has at most {MAX_FILE_BYTES}",
                    path.display()
                )));
            }
            Ok(Cow::Owned(std::fs::read(path).map_err(missing)?))
        }
    }
}

/// Configuration and tensors of a model file.
fn parse(bytes: &[u8]) -> Result<(ModelConfig, SafeTensors<'_>)> {
    let bad = |what: String| Error::ModelMismatch(format!("{what}; export the model again with `ngc-trainer export`"));
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| bad(format!("not a safetensors file: {e}")))?;
    let empty = HashMap::new();
    let metadata = header.metadata().as_ref().unwrap_or(&empty);
    match metadata.get("format").map(String::as_str) {
        Some(FORMAT) => {}
        Some(other) => return Err(Error::Unsupported(format!("model format {other}, this build reads {FORMAT}"))),
        None => return Err(bad("the metadata lacks the key \"format\": not an NGC model".into())),
    }
    let config = metadata.get("config").ok_or_else(|| bad("the metadata lacks the key \"config\"".into()))?;
    let config: ModelConfig = serde_json::from_str(config).map_err(|e| bad(format!("metadata key \"config\": {e}")))?;
    config.validate()?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| bad(format!("not a safetensors file: {e}")))?;
    Ok((config, tensors))
}

/// What a model file says of itself beside its configuration, such as `training_hours`.
pub fn read_metadata(source: &ModelSource) -> Result<HashMap<String, String>> {
    let bytes = source_bytes(source)?;
    parse(&bytes)?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| Error::ModelMismatch(e.to_string()))?;
    Ok(header.metadata().clone().unwrap_or_default())
}

/// The configuration and all parameters of a model file as floats: where training goes on from a model.
pub fn read_float_tensors(source: &ModelSource) -> Result<(ModelConfig, ParamStore)> {
    let bytes = source_bytes(source)?;
    let (config, tensors) = parse(&bytes)?;
    let mut params = float_params(&tensors)?;
    let lookup = |name: &str| tensors.tensor(name).ok().and_then(|view| raw_tensor(&view));
    let flow = config.flow.as_ref().map(|flow| ("flow", &flow.entropy));
    for (name, entropy_config) in
        [("intra", &config.intra_entropy), ("residual", &config.residual_entropy)].into_iter().chain(flow)
    {
        let parameters = crate::entropy::EntropyParams::from_tensors(&format!("{name}.integer"), entropy_config, &lookup)?;
        integer::insert_float_layers(&format!("{name}.coder.entropy"), entropy_config, &parameters, &mut params)?;
    }
    Ok((config, params))
}

fn float_params(tensors: &SafeTensors) -> Result<ParamStore> {
    let mut params = ParamStore::new();
    for (name, view) in tensors.tensors() {
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

fn raw_tensor(view: &TensorView) -> Option<RawTensor> {
    let dtype = match view.dtype() {
        Dtype::I8 => RawDtype::I8,
        Dtype::U8 => RawDtype::U8,
        Dtype::U16 => RawDtype::U16,
        Dtype::I32 => RawDtype::I32,
        _ => return None,
    };
    Some(RawTensor { dtype, shape: view.shape().to_vec(), data: view.data().to_vec() })
}

fn u16_tensor(lookup: &dyn Fn(&str) -> Option<RawTensor>, name: &str) -> Result<Vec<u16>> {
    let tensor = lookup(name).filter(|t| t.dtype == RawDtype::U16);
    let tensor = tensor.ok_or_else(|| Error::ModelMismatch(format!("tensor {name} (u16) is missing")))?;
    Ok(tensor.data.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect())
}

/// Serialises a model. Float tensors of `params` that the integer networks do not replace are stored as fp16, gains as
/// fp32 (they are exponents).
///
/// `networks` must be built on `params`. `notes` are further metadata (schedule, hours, data).
pub fn write_model(config: &ModelConfig, params: &ParamStore, networks: &Networks, notes: &[(&str, String)]) -> Result<Vec<u8>> {
    let mut tensors: Vec<(String, RawTensor, Dtype)> = Vec::new();
    for (name, tensor) in params.iter() {
        if integer::is_integer_layer(name) {
            continue;
        }
        let keep = name.ends_with("knots");
        let (kind, dtype, width) = if keep { (Kind::Float, Dtype::F32, 4) } else { (Kind::Half, Dtype::F16, 2) };
        let host = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(kind)?.f_contiguous()?;
        let mut data = vec![0u8; host.numel() * width];
        let count = host.numel();
        host.f_copy_data_u8(&mut data, count)?;
        let shape = host.size().iter().map(|&s| s as usize).collect();
        tensors.push((name.to_owned(), RawTensor { dtype: RawDtype::U8, shape, data }, dtype));
    }
    let flow = networks.flow.as_ref().map(|flow| ("flow", flow));
    for (name, branch) in [("intra", &networks.intra), ("residual", &networks.residual)].into_iter().chain(flow) {
        let parameters = integer::integer_params(&branch.coder.entropy)?;
        // Building the model checks every range before anything is written.
        EntropyModel::new(branch.coder.entropy.config().clone(), parameters.clone())?;
        for (name, raw) in parameters.to_tensors(&format!("{name}.integer"), branch.coder.entropy.config()) {
            let dtype = match raw.dtype {
                RawDtype::I8 => Dtype::I8,
                RawDtype::U8 => Dtype::U8,
                RawDtype::U16 => Dtype::U16,
                RawDtype::I32 => Dtype::I32,
            };
            tensors.push((name, raw, dtype));
        }
    }
    let (starts, sizes) = Tables::gaussian().to_flat();
    for (name, values) in [("tables.starts", starts), ("tables.sizes", sizes)] {
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        tensors.push((name.to_owned(), RawTensor { dtype: RawDtype::U16, shape: vec![values.len()], data }, Dtype::U16));
    }
    let views = tensors
        .iter()
        .map(|(name, raw, dtype)| Ok((name.as_str(), TensorView::new(*dtype, raw.shape.clone(), &raw.data)?)))
        .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|e| Error::ModelMismatch(e.to_string()))?;
    let mut metadata = HashMap::from([
        ("format".to_owned(), FORMAT.to_owned()),
        ("config".to_owned(), serde_json::to_string(config).map_err(|e| Error::ModelMismatch(e.to_string()))?),
    ]);
    metadata.extend(notes.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
    safetensors::serialize(views, Some(metadata)).map_err(|e| Error::ModelMismatch(e.to_string()))
}
