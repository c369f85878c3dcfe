//! What the files of a data set are: said in a manifest, never by their names.
//!
//! In: a TOML file, or plain lists of files and folders. Out: [`Source`]s.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::DataError;
use super::shard::Kind;

/// One photo or clip, and what is to be done with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub path: PathBuf,
    pub kind: Kind,
    pub terms: Terms,
}

/// What a manifest says of files, and what goes for those of plain folders.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// Clean at its own size: a clip is not shrunk more than the short side asks for.
    pub native: bool,
    /// Short side below which clips are not halved, in pixels.
    pub floor: usize,
    /// Frames of a clip that are used: from the first of the two, up to the other.
    pub cut: Option<(usize, usize)>,
    /// Whether it is for validation alone; `None`: as chance has it.
    pub held_out: Option<bool>,
    /// How likely a clip is drawn in comparison with others of its length.
    pub weight: f32,
    pub licence: Option<String>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { native: false, floor: 240, cut: None, held_out: None, weight: 1.0, licence: None }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    source: Vec<Group>,
}

/// Files of which the same is said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Group {
    /// Files, folders, or patterns with `*` in the file's name, relative to the manifest.
    files: Vec<String>,
    kind: Kind,
    licence: String,
    /// Where it is from; for people.
    #[serde(rename = "origin")]
    _origin: Option<String>,
    scale: Option<Scale>,
    floor: Option<usize>,
    cut: Option<(usize, usize)>,
    held_out: Option<bool>,
    weight: Option<f32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scale {
    /// Shrunk by 2 at least, so that the artefacts of the source's compression do not become training material.
    Halve,
    /// At its own size where the short side allows it.
    Native,
}

impl Group {
    /// The terms, or what is wrong with them.
    fn terms(&self) -> Result<Terms, String> {
        if self.kind == Kind::Photo {
            let of_clips = [
                ("scale", self.scale.is_some()),
                ("floor", self.floor.is_some()),
                ("cut", self.cut.is_some()),
                ("weight", self.weight.is_some()),
            ];
            if let Some((key, _)) = of_clips.iter().find(|(_, given)| *given) {
                return Err(format!("{key} means nothing for photos, only for clips: leave it out"));
            }
        }
        if self.licence.trim().is_empty() {
            return Err("licence is empty: name the terms of the files, or say \"unknown\"".into());
        }
        if self.scale == Some(Scale::Native) && self.floor.is_some() {
            return Err("floor means nothing with scale = \"native\": leave it out".into());
        }
        if self.cut.is_some_and(|(from, to)| from >= to) {
            return Err("cut: the first frame and the one after the last are needed, such as [0, 240]".into());
        }
        if self.weight.is_some_and(|weight| !(weight > 0.0 && weight.is_finite())) {
            return Err("weight: a positive number is needed; 1 is usual".into());
        }
        let usual = Terms::default();
        Ok(Terms {
            native: self.scale == Some(Scale::Native),
            floor: self.floor.unwrap_or(usual.floor),
            cut: self.cut,
            held_out: self.held_out,
            weight: self.weight.unwrap_or(usual.weight),
            licence: Some(self.licence.clone()),
        })
    }
}

/// Reads a manifest, and finds the files that it names.
///
/// # Errors
/// [`DataError::Option`] naming the manifest and the cure: keys that are unknown or mean nothing, files that are absent or named
/// twice.
pub fn read_manifest(path: &Path) -> Result<Vec<Source>, DataError> {
    let wrong = |reason: String| DataError::Option { option: "manifest", reason: format!("{}: {reason}", path.display()) };
    let text = fs::read_to_string(path).map_err(DataError::io(path))?;
    let manifest: Manifest = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    for (number, group) in manifest.source.iter().enumerate() {
        let terms = group.terms().map_err(|reason| wrong(format!("source {}: {reason}", number + 1)))?;
        for files in &group.files {
            let found = find(&folder.join(files))?;
            if found.is_empty() {
                return Err(wrong(format!("source {}: there is no file {files}", number + 1)));
            }
            for path in found {
                if !seen.insert(path.clone()) {
                    return Err(wrong(format!("{} is in two sources: name it once", path.display())));
                }
                out.push(Source { path, kind: group.kind, terms: terms.clone() });
            }
        }
    }
    out.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(out)
}

/// Sources of which nothing is known but what they are. Files, or folders whose files are taken.
///
/// # Errors
/// [`DataError::Io`] naming what cannot be read.
pub fn plain(paths: &[PathBuf], kind: Kind) -> Result<Vec<Source>, DataError> {
    let mut files = Vec::new();
    for path in paths {
        files.extend(files_of(path)?);
    }
    files.sort();
    files.dedup();
    Ok(files.into_iter().map(|path| Source { path, kind, terms: Terms::default() }).collect())
}

/// How many files there are of each licence.
pub fn licences(sources: &[Source]) -> BTreeMap<&str, usize> {
    let mut out = BTreeMap::new();
    for licence in sources.iter().filter_map(|source| source.terms.licence.as_deref()) {
        *out.entry(licence).or_default() += 1;
    }
    out
}

/// A file itself, or the files of a folder, not recursively, hidden ones excepted.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    if !path.is_dir() {
        fs::metadata(path).map_err(DataError::io(path))?;
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for file in fs::read_dir(path).map_err(DataError::io(path))? {
        let file = file.map_err(DataError::io(path))?.path();
        let hidden = file.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
        if file.is_file() && !hidden {
            files.push(file);
        }
    }
    Ok(files)
}

/// As [`files_of`], with `*` in the last part of the path for any characters.
fn find(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let pattern = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !pattern.contains('*') {
        return files_of(path);
    }
    let mut files = files_of(path.parent().unwrap_or(Path::new(".")))?;
    files.retain(|file| file.file_name().is_some_and(|name| matches(&pattern, &name.to_string_lossy())));
    Ok(files)
}

/// Whether `name` is like `pattern`, in which `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, files: &[&str]) -> Result<Vec<Source>, DataError> {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            fs::create_dir_all(dir.path().join(file).parent().unwrap()).unwrap();
            fs::write(dir.path().join(file), "").unwrap();
        }
        let path = dir.path().join("manifest.toml");
        fs::write(&path, text).unwrap();
        let mut sources = read_manifest(&path)?;
        for source in &mut sources {
            source.path = source.path.strip_prefix(dir.path()).unwrap().to_owned();
        }
        Ok(sources)
    }

    #[test]
    fn groups_say_what_files_are() {
        let text = r#"
            [[source]]
            files = ["clips"]
            kind = "clip"
            licence = "CC BY 4.0"
            [[source]]
            files = ["more/a*.mp4"]
            kind = "clip"
            licence = "CC0"
            scale = "native"
            cut = [10, 50]
            weight = 0.5
            [[source]]
            files = ["photo.jpg"]
            kind = "photo"
            licence = "CC0"
            held-out = true
        "#;
        let files = ["clips/y.mkv", "clips/.hidden", "more/ab.mp4", "more/b.mp4", "photo.jpg"];
        let found = read(text, &files).unwrap();
        assert_eq!(
            found.iter().map(|s| s.path.to_str().unwrap()).collect::<Vec<_>>(),
            ["clips/y.mkv", "more/ab.mp4", "photo.jpg"]
        );
        let licence = |name: &str| Some(name.to_owned());
        assert_eq!(found[0].terms, Terms { licence: licence("CC BY 4.0"), ..Terms::default() });
        let native = Terms { native: true, cut: Some((10, 50)), weight: 0.5, licence: licence("CC0"), ..Terms::default() };
        assert_eq!(found[1].terms, native);
        assert_eq!((found[2].kind, found[2].terms.held_out), (Kind::Photo, Some(true)));
        assert_eq!(licences(&found), BTreeMap::from([("CC BY 4.0", 1), ("CC0", 2)]));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_cure() {
        let group = |more: &str| format!("[[source]]\nfiles = [\"a\"]\n{more}\n");
        for (text, cure) in [
            (group("kind = \"clip\""), "licence"),
            (group("kind = \"clip\"\nlicence = \" \""), "unknown"),
            (group("kind = \"clip\"\nlicence = \"x\"\nnative = true"), "`native`"),
            (group("kind = \"photo\"\nlicence = \"x\"\nscale = \"native\""), "scale means nothing for photos"),
            (group("kind = \"clip\"\nlicence = \"x\"\nscale = \"native\"\nfloor = 160"), "floor means nothing"),
            (group("kind = \"clip\"\nlicence = \"x\"\ncut = [5, 5]"), "cut"),
            (group("kind = \"clip\"\nlicence = \"x\"\nweight = 0"), "weight"),
            (group("kind = \"clip\"\nlicence = \"x\"").repeat(2), "two sources"),
            ("[[source]]\nfiles = [\"b*\"]\nkind = \"clip\"\nlicence = \"x\"".into(), "no file b*"),
        ] {
            let error = read(&text, &["a"]).unwrap_err().to_string();
            assert!(error.contains(cure) && error.contains("manifest.toml"), "{error}");
        }
    }

    #[test]
    fn the_manifests_of_the_repository_are_valid() {
        for text in [include_str!("../../manifest.toml"), include_str!("../../built-in-data.toml")] {
            let manifest: Manifest = toml::from_str(text).unwrap();
            assert!(manifest.source.len() >= 3);
            manifest.source.iter().for_each(|group| drop(group.terms().unwrap()));
        }
    }

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, name, fits) in [
            ("a*", "a", true),
            ("a*", "bc", false),
            ("*.mp4", "x.mp4", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxc", false),
            ("ab*b", "ab", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
