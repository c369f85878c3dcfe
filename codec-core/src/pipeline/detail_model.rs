//! Which filter adds detail before a frame is shown: the model's own, or that of a detail file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::architecture::Profile;
use crate::model::DetailFile;
use crate::{Error, Result};

/// Which postfilter decoded frames go through before they are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DetailModel {
    /// The rich one where there is a detail file and the networks run on a GPU, else the fast one.
    #[default]
    Auto,
    /// That of the model.
    Fast,
    /// That of a detail file: many times the work, and more like the original.
    Rich,
    /// None: frames are shown as later ones are predicted from them, sooner and nearer to the original by PSNR.
    Off,
}

/// A decoder's detail file: read when it is first needed, and kept.
pub(super) struct DetailSource {
    path: Option<PathBuf>,
    file: Option<Arc<DetailFile>>,
}

impl DetailSource {
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { path, file: None }
    }

    /// The filter that `which` puts in place of that of a model of `profile`; `None`: none.
    ///
    /// # Errors
    /// As [`Decoder::set_detail_model`](super::Decoder::set_detail_model).
    pub fn choose(&mut self, which: DetailModel, profile: Profile, is_gpu: bool) -> Result<Option<Arc<DetailFile>>> {
        match which {
            DetailModel::Rich => {
                let Some((path, file)) = self.read()? else {
                    return Err(Error::InvalidConfig(
                        "the detail model rich needs a detail file, and none was given or found: name one (property detail-file, or the \
                         environment variable NGC_DETAIL_FILE), or use detail-model=fast"
                            .into(),
                    ));
                };
                if file.config.profile != profile {
                    let name = |profile: Profile| format!("{profile:?}").to_lowercase();
                    return Err(Error::ModelMismatch(format!(
                        "{}: this filter is for models of profile {}, but the model is of profile {}: give the file of another filter, or use \
                         detail-model=fast",
                        path.display(),
                        name(file.config.profile),
                        name(profile)
                    )));
                }
                Ok(Some(file))
            }
            // A file that cannot be used is no reason to show nothing; asked for by name, it says what is wrong.
            DetailModel::Auto if is_gpu => {
                Ok(self.read().ok().flatten().map(|(_, file)| file).filter(|file| file.config.profile == profile))
            }
            DetailModel::Auto | DetailModel::Fast | DetailModel::Off => Ok(None),
        }
    }

    /// The file and where it is; `None` if none was given.
    fn read(&mut self) -> Result<Option<(&Path, Arc<DetailFile>)>> {
        let Some(path) = &self.path else { return Ok(None) };
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(DetailFile::load(path)?),
        };
        Ok(Some((path, Arc::clone(file))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{DetailConfig, PostfilterConfig};
    use crate::model::detail_file;

    #[test]
    fn a_gpu_takes_the_file_that_there_is_and_fits() {
        let postfilter = PostfilterConfig { width: 8, blocks: 1, recurrent: false };
        let config = DetailConfig { profile: Profile::Paper, postfilter };
        let path = std::env::temp_dir().join(format!("ngc-detail-model-{}", std::process::id()));
        std::fs::write(&path, detail_file(&config, &[], &[]).unwrap()).unwrap();
        let mut source = DetailSource::new(Some(path.clone()));
        let mut takes = |which, profile, is_gpu| source.choose(which, profile, is_gpu).map(|file| file.is_some());
        assert!(!takes(DetailModel::Auto, Profile::Paper, false).unwrap());
        assert!(takes(DetailModel::Auto, Profile::Paper, true).unwrap());
        std::fs::remove_file(&path).unwrap();
        // It was kept.
        assert!(takes(DetailModel::Rich, Profile::Paper, false).unwrap());
        assert!(!takes(DetailModel::Fast, Profile::Paper, true).unwrap());
        assert!(!takes(DetailModel::Off, Profile::Paper, true).unwrap());
        assert!(!takes(DetailModel::Auto, Profile::Rt, true).unwrap());
        let unfit = takes(DetailModel::Rich, Profile::Rt, true).unwrap_err().to_string();
        assert!(unfit.contains("ngc-detail-model") && unfit.contains("paper") && unfit.contains("profile rt"), "{unfit}");

        std::fs::write(&path, b"damaged").unwrap();
        let mut damaged = DetailSource::new(Some(path.clone()));
        assert!(damaged.choose(DetailModel::Auto, Profile::Rt, true).unwrap().is_none());
        assert!(matches!(damaged.choose(DetailModel::Rich, Profile::Rt, true), Err(Error::ModelMismatch(_))));
        std::fs::remove_file(&path).unwrap();

        let mut gone = DetailSource::new(Some(path));
        assert!(gone.choose(DetailModel::Auto, Profile::Rt, true).unwrap().is_none());
        assert!(matches!(gone.choose(DetailModel::Rich, Profile::Rt, true), Err(Error::ModelMissing(_))));
        let mut none = DetailSource::new(None);
        assert!(none.choose(DetailModel::Auto, Profile::Rt, true).unwrap().is_none());
        assert!(matches!(none.choose(DetailModel::Rich, Profile::Rt, true), Err(Error::InvalidConfig(_))));
    }
}
