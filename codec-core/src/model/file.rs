//! Reading model files.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sha2::{Digest, Sha256};

use super::container::{check_finite, metadata_of, named, parse, raw_tensor, read};
use crate::Result;
use crate::architecture::{ModelConfig, Profile};
use crate::entropy::{EntropyModel, EntropyParams, RawTensor};
use crate::rt;

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
    /// [`Error::ModelMissing`](crate::Error::ModelMissing) naming the path, [`Error::ModelMismatch`](crate::Error::ModelMismatch) naming the tensor that does not fit.
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
                let model = Self::from_bytes(source_bytes(source)?);
                Ok(Arc::new(model.map_err(|error| named(path, error))?))
            }
        }
    }

    /// Reads a model from a file's content.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`](crate::Error::ModelMismatch) naming the tensor that does not fit.
    pub(crate) fn from_bytes(bytes: Cow<'static, [u8]>) -> Result<Self> {
        let (config, tensors) = parse::<ModelConfig>(&bytes)?;
        check_finite(&tensors)?;
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

    /// The entropy model of P-frames' residuals.
    #[cfg(feature = "training")]
    pub fn residual_entropy(&self) -> &EntropyModel {
        &self.residual_entropy
    }

    /// What it is made of.
    #[cfg(feature = "training")]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// All tensors of the file, by their names.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`](crate::Error::ModelMismatch) if the file is damaged.
    #[cfg(any(test, feature = "training"))]
    pub fn tensors(&self) -> Result<BTreeMap<String, RawTensor>> {
        let (_, tensors) = parse::<ModelConfig>(&self.bytes)?;
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
        ModelSource::File(path) => Ok(Cow::Owned(read::<ModelConfig>(path)?)),
    }
}

/// What a model file says of itself beside its configuration, such as `training_hours`.
pub fn read_metadata(source: &ModelSource) -> Result<HashMap<String, String>> {
    metadata_of::<ModelConfig>(&source_bytes(source)?)
}
