//! Reading model files.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use safetensors::tensor::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use crate::architecture::{ModelConfig, Profile};
use crate::entropy::{EntropyModel, EntropyParams, RawDtype, RawTensor};
use crate::rt;
use crate::{Error, Result};

/// Value of the metadata key `format`.
pub(super) const FORMAT: &str = "ngc-model-3";
/// Metadata key of the SHA-256 of the tensors' data.
pub(super) const CHECKSUM: &str = "sha256";
/// A model file is a few MB; a larger one than this is not one of ours.
const MAX_FILE_BYTES: u64 = 2 << 30;

static EMBEDDED: &[u8] = ngc_models::RT;

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
pub struct ModelId(pub(crate) [u8; 32]);

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

/// A loaded model: exact integer networks that any number of encoders and decoders on any threads share. The float networks of the
/// `paper` profile are made from it for each of them.
pub struct Model {
    pub(crate) id: ModelId,
    pub(crate) config: ModelConfig,
    pub(crate) intra_entropy: EntropyModel,
    /// Of the flow codec, if the model has one.
    pub(crate) flow_entropy: Option<EntropyModel>,
    pub(crate) residual_entropy: EntropyModel,
    /// The transforms of the `rt` profile.
    pub(crate) rt: Option<rt::Networks>,
    /// The whole file.
    bytes: Cow<'static, [u8]>,
}

/// The built-in model, while someone uses it.
static BUILT_IN: Mutex<Weak<Model>> = Mutex::new(Weak::new());

impl Model {
    /// Loads a model. The built-in one is loaded once for all who use it at the same time.
    ///
    /// # Errors
    /// [`Error::ModelMissing`] naming the path, [`Error::ModelMismatch`] naming the tensor that does not fit.
    pub fn load(source: &ModelSource) -> Result<Arc<Self>> {
        match source {
            ModelSource::Embedded => {
                let mut built_in = BUILT_IN.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(model) = built_in.upgrade() {
                    return Ok(model);
                }
                let model = Arc::new(Self::from_bytes(Cow::Borrowed(EMBEDDED))?);
                *built_in = Arc::downgrade(&model);
                Ok(model)
            }
            ModelSource::File(path) => {
                let named = |e| match e {
                    Error::ModelMismatch(m) => Error::ModelMismatch(format!("{}: {m}", path.display())),
                    e => e,
                };
                Ok(Arc::new(Self::from_bytes(source_bytes(source)?).map_err(named)?))
            }
        }
    }

    /// Reads a model from a file's content.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] naming the tensor that does not fit.
    pub(crate) fn from_bytes(bytes: Cow<'static, [u8]>) -> Result<Self> {
        let (config, tensors) = parse(&bytes)?;
        for (name, view) in tensors.iter() {
            if !is_finite(view.dtype(), view.data()) {
                return Err(Error::ModelMismatch(format!("tensor {name} holds values that are not finite")));
            }
        }
        let lookup = |name: &str| raw_tensor(&tensors, name);
        let entropy = |name: &str, entropy_config: &crate::entropy::EntropyConfig| -> Result<EntropyModel> {
            let parameters = EntropyParams::from_tensors(&format!("{name}.integer"), entropy_config, &lookup)?;
            EntropyModel::new(entropy_config.clone(), parameters)
        };
        let intra_entropy = entropy("intra", &config.intra_entropy)?;
        let flow_entropy = config.flow.as_ref().map(|flow| entropy("flow", &flow.entropy)).transpose()?;
        let residual_entropy = entropy("residual", &config.residual_entropy)?;
        let rt = match config.profile {
            Profile::Rt => Some(rt::Networks::read(&rt::Reader::new(&lookup), &config)?),
            Profile::Paper => None,
        };
        let id = ModelId(Sha256::digest(&bytes).into());
        Ok(Self { id, config, intra_entropy, flow_entropy, residual_entropy, rt, bytes })
    }

    /// What streams name it by.
    pub fn id(&self) -> ModelId {
        self.id
    }

    /// Which networks it is made of.
    pub fn profile(&self) -> Profile {
        self.config.profile
    }

    /// What it is made of.
    #[cfg(feature = "training")]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// All tensors of the file, by their names.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] if the file is damaged.
    #[cfg(any(test, feature = "training"))]
    pub fn tensors(&self) -> Result<BTreeMap<String, RawTensor>> {
        let (_, tensors) = parse(&self.bytes)?;
        let named = |name: &str| Some((name.to_owned(), raw_tensor(&tensors, name)?));
        Ok(tensors.names().into_iter().filter_map(named).collect())
    }

    /// The file that it was read from.
    #[cfg(any(feature = "torch", feature = "training"))]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

pub(super) fn source_bytes(source: &ModelSource) -> Result<Cow<'static, [u8]>> {
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
pub(super) fn parse(bytes: &[u8]) -> Result<(ModelConfig, SafeTensors<'_>)> {
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
    // A flipped bit in a weight would show nowhere else.
    if metadata.get(CHECKSUM) != data_of(bytes).map(digest).as_ref() {
        return Err(Error::ModelMismatch("the file is damaged: its tensors do not match the checksum; copy it again".into()));
    }
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| bad(format!("not a safetensors file: {e}")))?;
    Ok((config, tensors))
}

/// Where the tensors' data start in a safetensors file: behind the header's length and the header.
pub(super) fn data_of(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    rest.get(usize::try_from(u64::from_le_bytes(*length)).ok()?..)
}

/// A checksum as metadata hold it.
pub(super) fn digest(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether floats, if these are such, are numbers: their exponents are not all ones.
fn is_finite(dtype: Dtype, data: &[u8]) -> bool {
    match dtype {
        Dtype::F32 => data.as_chunks::<4>().0.iter().all(|&bytes| f32::from_le_bytes(bytes).is_finite()),
        Dtype::F16 => data.as_chunks::<2>().0.iter().all(|&bytes| u16::from_le_bytes(bytes) & 0x7c00 != 0x7c00),
        _ => true,
    }
}

/// What a model file says of itself beside its configuration, such as `training_hours`.
pub fn read_metadata(source: &ModelSource) -> Result<HashMap<String, String>> {
    read_bytes_metadata(&source_bytes(source)?)
}

pub(super) fn read_bytes_metadata(bytes: &[u8]) -> Result<HashMap<String, String>> {
    parse(bytes)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| Error::ModelMismatch(e.to_string()))?;
    Ok(header.metadata().clone().unwrap_or_default())
}

/// A tensor of a model file; `None` if it is not there or has a type that models do not use.
pub(super) fn raw_tensor(tensors: &SafeTensors, name: &str) -> Option<RawTensor> {
    let view = tensors.tensor(name).ok()?;
    let dtype = match view.dtype() {
        Dtype::I8 => RawDtype::I8,
        Dtype::U8 => RawDtype::U8,
        Dtype::I16 => RawDtype::I16,
        Dtype::U16 => RawDtype::U16,
        Dtype::I32 => RawDtype::I32,
        Dtype::U32 => RawDtype::U32,
        Dtype::F16 => RawDtype::F16,
        Dtype::F32 => RawDtype::F32,
        _ => return None,
    };
    Some(RawTensor { dtype, shape: view.shape().to_vec(), data: view.data().to_vec() })
}
