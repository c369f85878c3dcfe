//! Where a detail file is looked for.

use std::path::PathBuf;

use gst::glib;

/// Names a detail file where the property does not.
const VARIABLE: &str = "NGC_DETAIL_FILE";
/// Where one is installed, below a folder of shared data.
const INSTALLED: &str = "ngc/models/rich.safetensors";

/// The detail file that `property` names, else the environment, else an installed one.
pub fn find(property: Option<&str>) -> Option<PathBuf> {
    let folders = std::iter::once(glib::user_data_dir()).chain(glib::system_data_dirs());
    choose(property, std::env::var_os(VARIABLE).map(PathBuf::from), folders)
}

/// A file that is named is taken, whether it exists or not: what is wrong with it is said where it is needed.
fn choose(property: Option<&str>, variable: Option<PathBuf>, mut folders: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    let named = property.map(PathBuf::from).into_iter().chain(variable).find(|path| !path.as_os_str().is_empty());
    named.or_else(|| folders.find_map(|folder| Some(folder.join(INSTALLED)).filter(|path| path.is_file())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_property_goes_before_the_environment_and_that_before_what_is_installed() {
        let data = std::env::temp_dir().join(format!("ngc-detail-file-{}", std::process::id()));
        let installed = data.join(INSTALLED);
        std::fs::create_dir_all(installed.parent().unwrap()).unwrap();
        std::fs::write(&installed, b"").unwrap();
        let folders = || [PathBuf::from("/nowhere"), data.clone()].into_iter();
        let variable = Some(PathBuf::from("/b"));
        assert_eq!(choose(Some("/a"), variable.clone(), folders()), Some("/a".into()));
        assert_eq!(choose(None, variable.clone(), folders()), Some("/b".into()));
        assert_eq!(choose(Some(""), Some("".into()), folders()), Some(installed.clone()));
        std::fs::remove_dir_all(&data).unwrap();
        assert_eq!(choose(None, None, folders()), None);
    }
}
