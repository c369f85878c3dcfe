//! From source files to a data folder.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::compact::Budget;
use super::decode::{ScalePolicy, decode_clip};
use super::error::DataError;
use super::i420::{self, Size};
use super::manifest::{Source, Terms, licences};
use super::photo::load_photo;
use super::rng::{Rng, name_hash};
use super::scenes::{find_scenes, picture_area};
use super::shard::{Entry, Kind, ShardWriter, Split};

/// Shorter scenes are not stored.
const MIN_SCENE: usize = 4;
/// Smaller pictures cannot hold a crop.
const MIN_SIDE: usize = 128;
/// Part of the clips and of the photos held out for validation, where none is marked.
const VALIDATION_SHARE: f64 = 0.05;
/// File of the data folder that lists the licences of the sources.
const LICENCES: &str = "licences.txt";

#[derive(Clone, Debug)]
pub struct PrepareOptions {
    pub sources: Vec<Source>,
    /// Data folder to write; an older one in the same place is replaced.
    pub out: PathBuf,
    /// Clips are shrunk to this short side, in pixels.
    pub short_side: usize,
    pub max_frames_per_clip: usize,
    /// Upper bound for the data folder in bytes: sources are cut to windows and short runs.
    pub max_size: Option<u64>,
    /// Chooses the held-out clips and the windows.
    pub seed: u64,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        PrepareOptions {
            sources: Vec::new(),
            out: PathBuf::from("data"),
            short_side: 360,
            max_frames_per_clip: 240,
            max_size: None,
            seed: 0,
        }
    }
}

/// Counts of one split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub photos: usize,
    pub scenes: usize,
    /// Frames of all scenes.
    pub frames: usize,
}

/// What [`prepare`] has stored.
#[derive(Debug)]
pub struct Summary {
    pub train: Counts,
    pub validation: Counts,
    /// Bytes of all files of the data folder.
    pub bytes: u64,
    /// Sources that were left out because they could not be decoded.
    pub failed: Vec<DataError>,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        for (name, counts) in [("train", &self.train), ("validation", &self.validation)] {
            writeln!(f, "{name}: {} photos, {} scenes with {} frames", counts.photos, counts.scenes, counts.frames)?;
        }
        write!(f, "{} MiB, {} sources left out", self.bytes >> 20, self.failed.len())
    }
}

/// Decodes photos and clips into a data folder (format: module `shard`). `progress` receives one
/// line per source. A source that cannot be decoded is reported and left out.
///
/// Clips: shrunk to `short_side` (web video by 2 at least), letterbox bars cropped, split at cuts,
/// without duplicates and fades. Photos: see [`load_photo`].
///
/// # Errors
/// [`DataError::Io`] if a folder cannot be read or the output not written, [`DataError::Option`],
/// [`DataError::GStreamer`], and [`DataError::NothingFits`] if nothing could be stored.
pub fn prepare(options: &PrepareOptions, progress: &mut dyn FnMut(&str)) -> Result<Summary, DataError> {
    if options.short_side < MIN_SIDE {
        return Err(DataError::Option {
            option: "short-side",
            reason: format!("{} is too small for training crops; use {MIN_SIDE} or more", options.short_side),
        });
    }
    let (clips, photos): (Vec<&Source>, Vec<&Source>) = options.sources.iter().partition(|source| source.kind == Kind::Clip);
    let budgets = options.max_size.map(|max| Budget::split(max, clips.len(), photos.len()));
    let (clip_budget, photo_budget) = budgets.unzip();
    let mut job = Job { writer: ShardWriter::create(&options.out)?, failed: Vec::new(), options, progress };
    job.clips(clips, clip_budget)?;
    job.photos(photos, photo_budget)?;
    let Job { writer, failed, .. } = job;
    let (items, bytes) = writer.finish()?;
    if items.is_empty() {
        return Err(DataError::NothingFits {
            path: options.out.clone(),
            reason: "no source could be stored; check the given folders and the size limit".into(),
        });
    }
    write_licences(options)?;
    Ok(Summary { train: count(&items, Split::Train), validation: count(&items, Split::Validation), bytes, failed })
}

struct Job<'a> {
    writer: ShardWriter,
    failed: Vec<DataError>,
    options: &'a PrepareOptions,
    progress: &'a mut dyn FnMut(&str),
}

impl Job<'_> {
    fn clips(&mut self, sources: Vec<&Source>, mut budget: Option<Budget>) -> Result<(), DataError> {
        let held_out = held_out(&sources, self.options.seed);
        for Source { path, terms, .. } in sources {
            let name = stem(path);
            let policy = ScalePolicy { short_side: self.options.short_side, halve: !terms.native, floor: terms.floor };
            let (first, last) = frames_of(terms, self.options.max_frames_per_clip);
            self.writer.weigh(terms.weight);
            let mut clip = match decode_clip(path, policy, last) {
                Ok(clip) => clip,
                Err(error) => {
                    self.skip(error)?;
                    continue;
                }
            };
            clip.frames.drain(..first.min(clip.frames.len()));
            let area = picture_area(clip.size, &clip.frames).shrink_to_multiple(16, 8);
            if area.size.short_side() < MIN_SIDE {
                (self.progress)(&format!("{name}: picture too small, left out"));
                continue;
            }
            let frames: Vec<Vec<u8>> = clip.frames.iter().map(|frame| i420::crop(frame, clip.size, area)).collect();
            let scenes = find_scenes(area.size, &frames, MIN_SCENE);
            let split = if held_out.contains(&name) { Split::Validation } else { Split::Train };
            let kept: usize = scenes.iter().map(Vec::len).sum();
            (self.progress)(&format!(
                "{name}: {}x{}, {} scene(s), {kept} of {} frames{}",
                area.size.width,
                area.size.height,
                scenes.len(),
                frames.len(),
                if split == Split::Validation { ", validation" } else { "" }
            ));
            let clip = PreparedClip { name, split, size: area.size, frames, scenes };
            match &mut budget {
                None => self.store_scenes(&clip)?,
                Some(budget) => self.store_excerpts(&clip, budget)?,
            }
        }
        Ok(())
    }

    fn store_scenes(&mut self, clip: &PreparedClip) -> Result<(), DataError> {
        for (number, scene) in clip.scenes.iter().enumerate() {
            let list: Vec<&[u8]> = scene.iter().map(|&i| &clip.frames[i][..]).collect();
            let name = format!("{}#{number}", clip.name);
            self.writer.push(&name, Kind::Clip, clip.split, clip.size, &list)?;
        }
        Ok(())
    }

    fn store_excerpts(&mut self, clip: &PreparedClip, budget: &mut Budget) -> Result<(), DataError> {
        let PreparedClip { name, split, size, frames, scenes } = clip;
        let lengths: Vec<usize> = scenes.iter().map(Vec::len).collect();
        let mut rng = Rng::new(&[name_hash(self.options.seed, name)]);
        for e in budget.clip(*size, &lengths, &mut rng) {
            let list: Vec<Vec<u8>> =
                scenes[e.scene][e.first..e.first + e.frames].iter().map(|&i| i420::crop(&frames[i], *size, e.window)).collect();
            let name = format!("{name}#{}+{}@{},{}", e.scene, e.first, e.window.x, e.window.y);
            self.writer.push(&name, Kind::Clip, *split, e.window.size, &list)?;
        }
        Ok(())
    }

    fn photos(&mut self, sources: Vec<&Source>, mut budget: Option<Budget>) -> Result<(), DataError> {
        let held_out = held_out(&sources, self.options.seed);
        let total = sources.len();
        for (done, Source { path, terms, .. }) in sources.into_iter().enumerate() {
            let name = stem(path);
            self.writer.weigh(terms.weight);
            let versions = match load_photo(path) {
                Ok(versions) => versions,
                Err(error) => {
                    self.skip(error)?;
                    continue;
                }
            };
            let split = if held_out.contains(&name) { Split::Validation } else { Split::Train };
            let mut rng = Rng::new(&[name_hash(self.options.seed, &name)]);
            // A budget has room for one version only: the smaller, which shows more of the scene.
            let versions = &versions[..if budget.is_some() { versions.len().min(1) } else { versions.len() }];
            for photo in versions {
                let windows = match &mut budget {
                    None => vec![photo.size.rect()],
                    Some(budget) => budget.photo(photo.size, &mut rng),
                };
                for window in windows {
                    let frame = i420::crop(&photo.frame, photo.size, window);
                    let side = photo.size.short_side();
                    let name = format!("{name}@{side}+{},{}", window.x, window.y);
                    self.writer.push(&name, Kind::Photo, split, window.size, &[frame])?;
                }
            }
            if (done + 1) % 50 == 0 || done + 1 == total {
                (self.progress)(&format!("photos: {} of {total}", done + 1));
            }
        }
        Ok(())
    }

    /// Notes a source that cannot be decoded; passes on everything else.
    fn skip(&mut self, error: DataError) -> Result<(), DataError> {
        if !matches!(error, DataError::Decode { .. } | DataError::Io { .. }) {
            return Err(error);
        }
        (self.progress)(&format!("left out: {error}"));
        self.failed.push(error);
        Ok(())
    }
}

/// The first frame of a clip that is used, and the one after the last, of `most` at most.
fn frames_of(terms: &Terms, most: usize) -> (usize, usize) {
    let (first, end) = terms.cut.unwrap_or((0, usize::MAX));
    (first, end.min(first.saturating_add(most)))
}

/// Lists the licences of the sources beside the data, so that they stay with what is made of them.
fn write_licences(options: &PrepareOptions) -> Result<(), DataError> {
    let path = options.out.join(LICENCES);
    let lines: String = licences(&options.sources).into_iter().map(|(licence, files)| format!("{licence}: {files}\n")).collect();
    if lines.is_empty() {
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(DataError::io(&path)(error)),
            _ => Ok(()),
        };
    }
    fs::write(&path, lines).map_err(DataError::io(&path))
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Names of the held-out sources of one kind: those that are marked, or else the lowest ranks by name hash, among those that are
/// drawn as often as others where there are enough.
fn held_out(sources: &[&Source], seed: u64) -> HashSet<String> {
    let marked = |wanted: bool| sources.iter().filter(move |s| s.terms.held_out == Some(wanted));
    if marked(true).next().is_some() {
        return marked(true).map(|s| stem(&s.path)).collect();
    }
    let count = validation_count(sources.len());
    let free = || sources.iter().filter(|s| s.terms.held_out.is_none());
    let varied: Vec<String> = free().filter(|s| s.terms.weight >= 1.0).map(|s| stem(&s.path)).collect();
    let names = if varied.len() > count { varied } else { free().map(|s| stem(&s.path)).collect() };
    lowest_ranks(names, count, seed)
}

/// 5 %, rounded up, but nothing of fewer than four.
fn validation_count(sources: usize) -> usize {
    if sources < 4 {
        return 0;
    }
    (sources as f64 * VALIDATION_SHARE).ceil() as usize
}

/// A clip whose scenes are known.
struct PreparedClip {
    name: String,
    split: Split,
    size: Size,
    frames: Vec<Vec<u8>>,
    /// Numbers of each scene's frames.
    scenes: Vec<Vec<usize>>,
}

fn lowest_ranks(mut names: Vec<String>, count: usize, seed: u64) -> HashSet<String> {
    names.sort_by_key(|n| name_hash(seed, n));
    names.truncate(count);
    names.into_iter().collect()
}

fn count(items: &[Entry], split: Split) -> Counts {
    let mut counts = Counts::default();
    for item in items.iter().filter(|item| item.split == split) {
        match item.kind {
            Kind::Photo => counts.photos += 1,
            Kind::Clip => {
                counts.scenes += 1;
                counts.frames += item.frames;
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, terms: Terms) -> Source {
        Source { path: name.into(), kind: Kind::Clip, terms }
    }

    fn names(sources: &[Source]) -> HashSet<String> {
        held_out(&sources.iter().collect::<Vec<_>>(), 1)
    }

    #[test]
    fn what_is_held_out_follows_from_what_is_said() {
        let plain = |terms: &Terms| (0..40).map(|i| source(&format!("{i}.mp4"), terms.clone())).collect::<Vec<_>>();
        let usual = Terms::default();
        assert_eq!(names(&plain(&usual)).len(), 2);
        assert_eq!(names(&plain(&usual)[..3]).len(), 0);
        assert_eq!(names(&plain(&Terms { held_out: Some(false), ..usual.clone() })).len(), 0);

        let mut marked = plain(&usual);
        marked[7].terms.held_out = Some(true);
        assert_eq!(names(&marked), HashSet::from(["7".to_owned()]));

        let mut alike = plain(&Terms { weight: 0.1, ..usual.clone() });
        [3, 4, 5].into_iter().for_each(|i: usize| alike[i].terms.weight = 1.0);
        assert!(names(&alike).iter().all(|name| ["3", "4", "5"].contains(&name.as_str())));
        assert_eq!(names(&alike).len(), 2);

        let mut not = plain(&usual);
        let chosen = names(&not);
        not.iter_mut().filter(|s| chosen.contains(&stem(&s.path))).for_each(|s| s.terms.held_out = Some(false));
        assert!(names(&not).len() == 2 && names(&not).is_disjoint(&chosen));
    }

    #[test]
    fn a_cut_limits_what_is_decoded() {
        let cut = |cut| frames_of(&Terms { cut, ..Terms::default() }, 100);
        assert_eq!([cut(None), cut(Some((10, 50))), cut(Some((10, 500)))], [(0, 100), (10, 50), (10, 110)]);
    }
}
