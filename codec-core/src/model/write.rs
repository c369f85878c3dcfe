//! Writing model files and detail files.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, TensorView};

#[cfg(feature = "training")]
use super::container::metadata_of;
use super::container::{CHECKSUM, Contents, data_of, digest};
use super::detail::DetailFile;
#[cfg(feature = "training")]
use super::file::Model;
use crate::architecture::DetailConfig;
#[cfg(feature = "training")]
use crate::architecture::ModelConfig;
#[cfg(feature = "training")]
use crate::entropy::Tables;
use crate::entropy::{RawDtype, RawTensor};
use crate::{Error, Result};

/// A safetensors file of `tensors` with their checksum.
pub(super) fn serialise(tensors: &[(String, RawTensor)], mut metadata: HashMap<String, String>) -> Result<Vec<u8>> {
    let failed = |e: safetensors::SafeTensorError| Error::ModelMismatch(e.to_string());
    let views = tensors
        .iter()
        .map(|(name, raw)| Ok((name.as_str(), TensorView::new(file_type(raw.dtype), raw.shape.clone(), &raw.data)?)))
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(failed)?;
    metadata.remove(CHECKSUM);
    // Where the data lie does not depend on the metadata, which say what they must be.
    let unsigned = safetensors::serialize(views.clone(), Some(metadata.clone())).map_err(failed)?;
    metadata.insert(CHECKSUM.to_owned(), digest(data_of(&unsigned).unwrap_or_default()));
    safetensors::serialize(views, Some(metadata)).map_err(failed)
}

/// A file of tensors. `notes` are further metadata.
pub(super) fn file_of<C: Contents>(config: &C, tensors: &[(String, RawTensor)], notes: &[(&str, String)]) -> Result<Vec<u8>> {
    let config = serde_json::to_string(config).map_err(|e| Error::ModelMismatch(e.to_string()))?;
    let mut metadata = HashMap::from([("format".to_owned(), C::FORMAT.to_owned()), ("config".to_owned(), config)]);
    metadata.extend(notes.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
    serialise(tensors, metadata)
}

/// A detail file of a filter's tensors. `notes` are further metadata.
///
/// # Errors
/// [`Error::ModelMismatch`] naming the tensor that does not fit.
pub fn detail_file(config: &DetailConfig, tensors: &[(String, RawTensor)], notes: &[(&str, String)]) -> Result<Vec<u8>> {
    let bytes = file_of(config, tensors, notes)?;
    // What is written can be read.
    DetailFile::from_bytes(bytes.clone())?;
    Ok(bytes)
}

/// The file of `model` with other probabilities of symbols: `tables` names entropy models, such as `intra`, and has their tables.
///
/// # Errors
/// [`Error::ModelMismatch`] if the model has no entropy model of a name.
#[cfg(feature = "training")]
pub fn with_tables(model: &Model, tables: &[(&str, Tables)]) -> Result<Vec<u8>> {
    let mut tensors = model.tensors()?;
    for (name, tables) in tables {
        for (part, values) in tables.to_tensors() {
            let name = format!("{name}.integer.{part}");
            let place = tensors.get_mut(&name).ok_or_else(|| Error::ModelMismatch(format!("tensor {name} is missing")))?;
            *place = values;
        }
    }
    serialise(&tensors.into_iter().collect::<Vec<_>>(), metadata_of::<ModelConfig>(model.bytes())?)
}

/// The file of `model` with the postfilter of another: what is coded with it stays the same, to the last bit. `notes` are further metadata.
///
/// # Errors
/// [`Error::ModelMismatch`] if the filter does not fit the model.
#[cfg(feature = "training")]
pub fn with_postfilter(model: &Model, from: &Model, notes: &[(&str, String)]) -> Result<Vec<u8>> {
    let of_filter = |name: &str| name.starts_with("postfilter.");
    let mut tensors = model.tensors()?;
    tensors.retain(|name, _| !of_filter(name));
    tensors.extend(from.tensors()?.into_iter().filter(|(name, _)| of_filter(name)));
    let (config, other) = (model.config().clone(), from.config());
    let config = ModelConfig { postfilter: other.postfilter.clone(), default_detail: other.default_detail, ..config };
    let bytes = file_of(&config, &tensors.into_iter().collect::<Vec<_>>(), notes)?;
    // What is written can be read.
    Model::from_bytes(bytes.clone().into())?;
    Ok(bytes)
}

fn file_type(dtype: RawDtype) -> Dtype {
    match dtype {
        RawDtype::I8 => Dtype::I8,
        RawDtype::U8 => Dtype::U8,
        RawDtype::I16 => Dtype::I16,
        RawDtype::U16 => Dtype::U16,
        RawDtype::I32 => Dtype::I32,
        RawDtype::U32 => Dtype::U32,
        RawDtype::F16 => Dtype::F16,
        RawDtype::F32 => Dtype::F32,
    }
}
