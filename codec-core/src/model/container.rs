//! What model files and detail files have in common: safetensors, with a configuration and a checksum in the metadata.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::architecture::{DetailConfig, ModelConfig};
use crate::entropy::{RawDtype, RawTensor};
use crate::{Error, Result};

/// Metadata key of the SHA-256 of the tensors' data.
pub(super) const CHECKSUM: &str = "sha256";
/// A file is a few MB; a larger one than this is not one of ours.
const MAX_FILE_BYTES: u64 = 2 << 30;

/// Kinds of files: how their formats begin, what they are called, and the property that takes them.
const KINDS: [(&str, &str, &str); 2] =
    [("ngc-model-", "a model file", "model-file"), ("ngc-detail-", "a detail file", "detail-file")];

/// The configuration in a kind of file.
pub(super) trait Contents: Serialize + DeserializeOwned {
    /// Value of the metadata key `format`.
    const FORMAT: &'static str;
    /// How such a file is made.
    const MADE_BY: &'static str;

    fn check(&self) -> Result<()>;
}

impl Contents for ModelConfig {
    const FORMAT: &'static str = "ngc-model-3";
    const MADE_BY: &'static str = "ngc-trainer export";

    fn check(&self) -> Result<()> {
        self.validate()
    }
}

impl Contents for DetailConfig {
    const FORMAT: &'static str = "ngc-detail-1";
    const MADE_BY: &'static str = "ngc-trainer export --postfilter-alone";

    fn check(&self) -> Result<()> {
        self.postfilter.validate(self.profile)
    }
}

/// Name and property of the kind of file that a format is of.
fn kind(format: &str) -> Option<(&'static str, &'static str)> {
    KINDS.iter().find(|(prefix, ..)| format.starts_with(prefix)).map(|&(_, name, property)| (name, property))
}

fn name<C: Contents>() -> &'static str {
    kind(C::FORMAT).map_or("a file", |(name, _)| name)
}

/// The bytes of a file.
///
/// # Errors
/// [`Error::ModelMissing`] and [`Error::Limit`] naming the path.
pub(super) fn read<C: Contents>(path: &Path) -> Result<Vec<u8>> {
    let missing = |e: std::io::Error| {
        Error::ModelMissing(format!("{}: {e}; give the path of {} made by `{}`", path.display(), name::<C>(), C::MADE_BY))
    };
    let length = std::fs::metadata(path).map_err(missing)?.len();
    if length > MAX_FILE_BYTES {
        return Err(Error::Limit(format!("{}: {length} bytes, {} has at most {MAX_FILE_BYTES}", path.display(), name::<C>())));
    }
    std::fs::read(path).map_err(missing)
}

/// The error, with the name of the file that it is about.
pub(super) fn named(path: &Path, error: Error) -> Error {
    match error {
        Error::ModelMismatch(what) => Error::ModelMismatch(format!("{}: {what}", path.display())),
        Error::Unsupported(what) => Error::Unsupported(format!("{}: {what}", path.display())),
        error => error,
    }
}

/// Configuration and tensors of a file.
///
/// # Errors
/// [`Error::ModelMismatch`] for a file that is damaged or of another kind, [`Error::Unsupported`] for one of another version.
pub(super) fn parse<C: Contents>(bytes: &[u8]) -> Result<(C, SafeTensors<'_>)> {
    let bad = |what: String| Error::ModelMismatch(format!("{what}; export it again with `{}`", C::MADE_BY));
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| bad(format!("not a safetensors file: {e}")))?;
    let empty = HashMap::new();
    let metadata = header.metadata().as_ref().unwrap_or(&empty);
    let format = metadata.get("format").map(String::as_str);
    let format = format.ok_or_else(|| bad(format!("the metadata lacks the key \"format\": not {} of NGC", name::<C>())))?;
    if let Some((other, property)) = kind(format).filter(|(other, _)| *other != name::<C>()) {
        return Err(Error::ModelMismatch(format!(
            "this is {other}, but {} is needed; pass it as the property {property}",
            name::<C>()
        )));
    }
    if format != C::FORMAT {
        return Err(Error::Unsupported(format!("format {format}, this build reads {}", C::FORMAT)));
    }
    let config = metadata.get("config").ok_or_else(|| bad("the metadata lacks the key \"config\"".into()))?;
    let config: C = serde_json::from_str(config).map_err(|e| bad(format!("metadata key \"config\": {e}")))?;
    config.check()?;
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

/// Refuses floats that are not numbers: their exponents are all ones.
///
/// # Errors
/// [`Error::ModelMismatch`] naming the tensor.
pub(super) fn check_finite(tensors: &SafeTensors) -> Result<()> {
    for (name, view) in tensors.iter() {
        let data = view.data();
        let finite = match view.dtype() {
            Dtype::F32 => data.as_chunks::<4>().0.iter().all(|&bytes| f32::from_le_bytes(bytes).is_finite()),
            Dtype::F16 => data.as_chunks::<2>().0.iter().all(|&bytes| u16::from_le_bytes(bytes) & 0x7c00 != 0x7c00),
            _ => true,
        };
        if !finite {
            return Err(Error::ModelMismatch(format!("tensor {name} holds values that are not finite")));
        }
    }
    Ok(())
}

/// All metadata of a file.
///
/// # Errors
/// As [`parse`].
pub(super) fn metadata_of<C: Contents>(bytes: &[u8]) -> Result<HashMap<String, String>> {
    parse::<C>(bytes)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| Error::ModelMismatch(e.to_string()))?;
    Ok(header.metadata().clone().unwrap_or_default())
}

/// A tensor of a file; `None` if it is not there or has a type that models do not use.
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
