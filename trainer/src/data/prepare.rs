//! From source files to a data folder.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::compact::Budget;
use super::decode::{ScalePolicy, decode_clip};
use super::error::DataError;
use super::i420::{self, Size};
use super::photo::load_photo;
use super::rng::{Rng, name_hash};
use super::scenes::{find_scenes, picture_area};
use super::shard::{Entry, Kind, ShardWriter, Split};

/// Shorter scenes are not stored.
const MIN_SCENE: usize = 4;
/// Smaller pictures cannot hold a crop.
const MIN_SIDE: usize = 128;
/// Part of the clips (and of the photos, where none is marked) held out for validation.
const VALIDATION_SHARE: f64 = 0.05;
/// Photos of this prefix are held out.
const VALIDATION_PHOTOS: &str = "cid22val_";
/// Clips of this prefix are clean at their own size; all others are web video.
const CLEAN_CLIPS: &str = "davis_";

#[derive(Clone, Debug)]
pub struct PrepareOptions {
    /// Files, or folders whose files are taken.
    pub photos: Vec<PathBuf>,
    pub clips: Vec<PathBuf>,
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
            photos: Vec::new(),
            clips: Vec::new(),
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
    let clips = list_files(&options.clips)?;
    let photos = list_files(&options.photos)?;
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
    Ok(Summary { train: count(&items, Split::Train), validation: count(&items, Split::Validation), bytes, failed })
}

struct Job<'a> {
    writer: ShardWriter,
    failed: Vec<DataError>,
    options: &'a PrepareOptions,
    progress: &'a mut dyn FnMut(&str),
}

impl Job<'_> {
    fn clips(&mut self, paths: Vec<PathBuf>, mut budget: Option<Budget>) -> Result<(), DataError> {
        let held_out = held_out_clips(&paths, self.options.seed);
        for path in paths {
            let name = stem(&path);
            let policy = scale_policy(&name, self.options.short_side);
            let clip = match decode_clip(&path, policy, self.options.max_frames_per_clip) {
                Ok(clip) => clip,
                Err(error) => {
                    self.skip(error)?;
                    continue;
                }
            };
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
            match &mut budget {
                None => self.store_scenes(&name, split, area.size, &frames, &scenes)?,
                Some(budget) => {
                    self.store_excerpts(&name, split, area.size, &frames, &scenes, budget)?;
                }
            }
        }
        Ok(())
    }

    fn store_scenes(
        &mut self,
        name: &str,
        split: Split,
        size: Size,
        frames: &[Vec<u8>],
        scenes: &[Vec<usize>],
    ) -> Result<(), DataError> {
        for (number, scene) in scenes.iter().enumerate() {
            let list: Vec<&[u8]> = scene.iter().map(|&i| &frames[i][..]).collect();
            let name = format!("{name}#{number}");
            self.writer.push(&name, Kind::Clip, split, size, &list)?;
        }
        Ok(())
    }

    fn store_excerpts(
        &mut self,
        name: &str,
        split: Split,
        size: Size,
        frames: &[Vec<u8>],
        scenes: &[Vec<usize>],
        budget: &mut Budget,
    ) -> Result<(), DataError> {
        let lengths: Vec<usize> = scenes.iter().map(Vec::len).collect();
        let mut rng = Rng::new(&[name_hash(self.options.seed, name)]);
        for e in budget.clip(size, &lengths, &mut rng) {
            let list: Vec<Vec<u8>> =
                scenes[e.scene][e.first..e.first + e.frames].iter().map(|&i| i420::crop(&frames[i], size, e.window)).collect();
            let name = format!("{name}#{}+{}@{},{}", e.scene, e.first, e.window.x, e.window.y);
            self.writer.push(&name, Kind::Clip, split, e.window.size, &list)?;
        }
        Ok(())
    }

    fn photos(&mut self, paths: Vec<PathBuf>, mut budget: Option<Budget>) -> Result<(), DataError> {
        let held_out = held_out_photos(&paths, self.options.seed);
        let total = paths.len();
        for (done, path) in paths.into_iter().enumerate() {
            let name = stem(&path);
            let versions = match load_photo(&path) {
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

fn scale_policy(name: &str, short_side: usize) -> ScalePolicy {
    ScalePolicy {
        short_side,
        halve: !name.starts_with(CLEAN_CLIPS),
        // Small talking-head clips are halved almost fully: at their own size they show MPEG-1 blocks.
        floor: if name.starts_with("grid_") { 160 } else { 240 },
    }
}

/// All files named or contained (not recursively), hidden ones excepted, sorted by name.
fn list_files(sources: &[PathBuf]) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    for source in sources {
        if !source.is_dir() {
            fs::metadata(source).map_err(DataError::io(source))?;
            files.push(source.clone());
            continue;
        }
        for file in fs::read_dir(source).map_err(DataError::io(source))? {
            let path = file.map_err(DataError::io(source))?.path();
            let hidden = path.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
            if path.is_file() && !hidden {
                files.push(path);
            }
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Held-out clips: the lowest ranks by name hash among those that the sampler does not weigh down.
fn held_out_clips(paths: &[PathBuf], seed: u64) -> HashSet<String> {
    let mut names: Vec<String> = paths.iter().map(|p| stem(p)).collect();
    let count = validation_count(names.len());
    let varied = |n: &String| !super::sampler::is_uniform_family(n);
    if names.iter().filter(|n| varied(n)).count() > count {
        names.retain(varied);
    }
    lowest_ranks(names, count, seed)
}

fn held_out_photos(paths: &[PathBuf], seed: u64) -> HashSet<String> {
    let names: Vec<String> = paths.iter().map(|p| stem(p)).collect();
    if names.iter().any(|n| n.starts_with(VALIDATION_PHOTOS)) {
        let marked = names.into_iter().filter(|n| n.starts_with(VALIDATION_PHOTOS));
        return marked.collect();
    }
    let count = validation_count(names.len());
    lowest_ranks(names, count, seed)
}

/// 5 %, rounded up, but nothing of fewer than four.
fn validation_count(sources: usize) -> usize {
    if sources < 4 {
        return 0;
    }
    (sources as f64 * VALIDATION_SHARE).ceil() as usize
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
