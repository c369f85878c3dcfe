//! Detail files: a postfilter by itself, larger than a model file should hold, for all models of a profile.

use std::path::Path;
use std::sync::Arc;

use super::container::{check_finite, named, parse, raw_tensor, read};
use crate::Result;
use crate::architecture::{DetailConfig, Profile};
use crate::rt;

/// The filter of a detail file. Any number of decoders on any threads share it.
pub struct DetailFile {
    pub(crate) config: DetailConfig,
    /// The filter in integers (`rt` profile).
    pub(crate) rt: Option<rt::Postfilter>,
    /// The whole file, from which libtorch's filter is made.
    #[cfg(feature = "torch")]
    bytes: Vec<u8>,
}

impl DetailFile {
    /// Loads a detail file made by `ngc-trainer export --postfilter-alone`.
    ///
    /// # Errors
    /// [`Error::ModelMissing`](crate::Error::ModelMissing) naming the path, [`Error::ModelMismatch`](crate::Error::ModelMismatch) naming
    /// the path and what does not fit, [`Error::Unsupported`](crate::Error::Unsupported) for a file of another version.
    pub fn load(path: &Path) -> Result<Arc<Self>> {
        let file = Self::from_bytes(read::<DetailConfig>(path)?);
        Ok(Arc::new(file.map_err(|error| named(path, error))?))
    }

    /// Reads a file's content.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`](crate::Error::ModelMismatch) naming the tensor that does not fit.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        let (config, tensors) = parse::<DetailConfig>(&bytes)?;
        check_finite(&tensors)?;
        let lookup = |name: &str| raw_tensor(&tensors, name);
        let rt = match config.profile {
            Profile::Rt => Some(rt::Postfilter::read(&rt::Reader::new(&lookup).sub("postfilter"), &config.postfilter)?),
            Profile::Paper => None,
        };
        Ok(Self {
            config,
            rt,
            #[cfg(feature = "torch")]
            bytes,
        })
    }

    /// The file that it was read from.
    #[cfg(feature = "torch")]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
