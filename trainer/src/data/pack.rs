//! Data folders that travel: the items of a data folder as JPEG pictures, in files of a given size.
//!
//! A folder of `00.pack`, `01.pack`, ... stands for a data folder wherever one is read; each file is complete in itself, so
//! that a part of them is a smaller data folder. All numbers are little-endian.
//!
//! | bytes | pack file |
//! | --- | --- |
//! | 8 | magic `NGCPACK1` |
//! | 4 | bytes of the index |
//! | 4 | CRC-32C of everything that follows |
//! | ... | index, JSON: an array of [`PackedItem`] |
//! | ... | pictures, back to back in the order of the index |
//!
//! A frame is three pictures, its planes Y, U and V, each a grey JPEG file of its own: 4:2:0 stays as it is, and no colour
//! conversion takes part.

use std::fs;
use std::path::{Path, PathBuf};

use image::codecs::jpeg::{JpegDecoder, JpegEncoder};
use image::{ExtendedColorType, ImageDecoder};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::i420::{Plane, Size};
use super::rng::name_hash;
use super::shard::{self, Entry, Kind, ShardSet, Split};

const MAGIC: &[u8; 8] = b"NGCPACK1";
const HEADER: usize = 16;
/// More than any frame's planes can take.
const MAX_PICTURE: usize = 64 << 20;
/// Of the packs' size, what photos may take where there are clips too.
const PHOTO_SHARE: f64 = 0.35;
/// The sampler's validation takes few and short items.
const VALIDATION_PHOTOS: usize = 16;
const VALIDATION_FRAMES: usize = 27;

/// One item of a pack's index.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PackedItem {
    name: String,
    kind: Kind,
    split: Split,
    width: usize,
    height: usize,
    #[serde(default = "shard::usual", skip_serializing_if = "shard::is_usual")]
    weight: f32,
    /// Bytes of each frame's three pictures.
    pictures: Vec<[u32; 3]>,
}

/// What [`pack`] is to do.
#[derive(Clone, Debug)]
pub struct PackOptions {
    pub data: PathBuf,
    pub out: PathBuf,
    /// Bytes of all packs, at most.
    pub max_size: u64,
    /// Bytes of one pack, at most.
    pub part_size: u64,
    /// JPEG quality, 1 to 100.
    pub quality: u8,
    /// Frames of a source clip, at most.
    pub max_frames: usize,
}

/// The pack files of a folder, by name. Empty where there are none.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let Ok(list) = fs::read_dir(dir) else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    for file in list {
        let path = file.map_err(DataError::io(dir))?.path();
        if path.extension().is_some_and(|e| e == "pack") {
            out.push(path);
        }
    }
    out.sort();
    Ok(out)
}

/// An item with its encoded frames, each three pictures.
struct Encoded {
    item: usize,
    frames: Vec<[Vec<u8>; 3]>,
}

impl Encoded {
    fn cost(frame: &[Vec<u8>; 3]) -> u64 {
        frame.iter().map(|p| p.len() as u64 + 12).sum()
    }

    fn total(&self) -> u64 {
        self.frames.iter().map(Self::cost).sum()
    }
}

/// Name of an item's source.
fn source(entry: &Entry) -> &str {
    let end = entry.name.rfind(if entry.kind == Kind::Photo { '@' } else { '#' });
    &entry.name[..end.unwrap_or(entry.name.len())]
}

/// Writes the items of a data folder as packs, fewer or shorter ones where not all fit: a photo's smaller versions come first,
/// and clips are cut to equally many frames. Gives back a line that says what was packed.
///
/// # Errors
/// [`DataError::Io`], [`DataError::Damaged`], and [`DataError::NothingFits`] if the sizes leave room for nothing.
pub fn pack(options: &PackOptions, progress: &mut dyn FnMut(&str)) -> Result<String, DataError> {
    let set = ShardSet::open(&options.data)?;
    let nothing = |reason: &str| DataError::NothingFits { path: options.out.clone(), reason: reason.into() };
    if options.max_size < options.part_size.min(1 << 16) {
        return Err(nothing("the packs are too small; allow more"));
    }
    fs::create_dir_all(&options.out).map_err(DataError::io(&options.out))?;
    for old in files(&options.out)? {
        fs::remove_file(&old).map_err(DataError::io(&old))?;
    }
    let entries = set.entries();
    let of = |kind: Kind| (0..entries.len()).filter(move |&i| entries[i].kind == kind);
    let have_clips = of(Kind::Clip).next().is_some();

    let photo_budget = if have_clips { (options.max_size as f64 * PHOTO_SHARE) as u64 } else { options.max_size };
    let photos = photos(&set, &ordered_photos(&set), photo_budget, options.quality)?;
    progress(&format!("{} photos, {} MiB", photos.len(), photos.iter().map(Encoded::total).sum::<u64>() >> 20));

    let left = options.max_size.saturating_sub(photos.iter().map(Encoded::total).sum::<u64>());
    let clips = clips(&set, &of(Kind::Clip).collect::<Vec<_>>(), left, options)?;
    let frames = clips.iter().map(|c| c.frames.len()).sum::<usize>();
    progress(&format!("{} clips with {frames} frames, {} MiB", clips.len(), clips.iter().map(Encoded::total).sum::<u64>() >> 20));

    let mut items: Vec<Encoded> = photos.into_iter().chain(clips).collect();
    if items.is_empty() {
        return Err(nothing("no item fits; allow more"));
    }
    // Each part is a fair sample of everything.
    items.sort_by_key(|e| name_hash(0, &entries[e.item].name));
    let count = items.len();
    let files = write(&set, &items, options)?;
    Ok(format!("{count} items with {frames} frames of clips in {files} files"))
}

/// Photos in the order in which they are to be taken: few for validation, then everything once, the smallest version first.
fn ordered_photos(set: &ShardSet) -> Vec<usize> {
    let entries = set.entries();
    let photos = || (0..entries.len()).filter(|&i| entries[i].kind == Kind::Photo);
    let mut held_out: Vec<usize> = photos().filter(|&i| entries[i].split == Split::Validation).collect();
    // The sampler takes the first version of each by name.
    held_out.dedup_by(|a, b| source(&entries[*a]) == source(&entries[*b]));
    held_out.truncate(VALIDATION_PHOTOS);
    let mut train: Vec<usize> = photos().filter(|&i| entries[i].split == Split::Train).collect();
    train.sort_by_key(|&i| (entries[i].size().short_side(), name_hash(1, &entries[i].name)));
    held_out.extend(train);
    held_out
}

fn photos(set: &ShardSet, order: &[usize], budget: u64, quality: u8) -> Result<Vec<Encoded>, DataError> {
    let mut out: Vec<Encoded> = Vec::new();
    let mut used = 0;
    for chunk in order.chunks(64) {
        let encoded = encode(set, chunk.iter().map(|&item| (item, 0..1)), quality)?;
        for photo in encoded {
            if used + photo.total() <= budget {
                used += photo.total();
                out.push(photo);
            }
        }
    }
    Ok(out)
}

fn clips(set: &ShardSet, clips: &[usize], budget: u64, options: &PackOptions) -> Result<Vec<Encoded>, DataError> {
    let entries = set.entries();
    // The middle of each scene, so many frames of each source at most.
    let mut left: std::collections::HashMap<&str, usize> = Default::default();
    let ranges: Vec<(usize, std::ops::Range<usize>)> = clips
        .iter()
        .filter_map(|&item| {
            let entry = &entries[item];
            let most = if entry.split == Split::Validation { VALIDATION_FRAMES } else { options.max_frames };
            let left = left.entry(source(entry)).or_insert(most);
            let count = entry.frames.min(*left);
            *left -= count;
            let first = (entry.frames - count) / 2;
            (count > 0).then_some((item, first..first + count))
        })
        .collect();
    let mut all = encode(set, ranges.into_iter(), options.quality)?;
    // The largest number of frames a source with which all fit.
    let cut = |all: &[Encoded], most: usize| -> Vec<usize> {
        let mut left: std::collections::HashMap<&str, usize> = Default::default();
        all.iter()
            .map(|clip| {
                let left = left.entry(source(&entries[clip.item])).or_insert(most);
                let count = clip.frames.len().min(*left);
                *left -= count;
                count
            })
            .collect()
    };
    let size = |counts: &[usize]| -> u64 {
        all.iter().zip(counts).map(|(clip, &n)| clip.frames[..n].iter().map(Encoded::cost).sum::<u64>()).sum()
    };
    let (mut fits, mut too_many) = (0, options.max_frames.max(VALIDATION_FRAMES) + 1);
    while fits + 1 < too_many {
        let middle = (fits + too_many) / 2;
        if size(&cut(&all, middle)) <= budget { fits = middle } else { too_many = middle }
    }
    let counts = cut(&all, fits);
    for (clip, count) in all.iter_mut().zip(counts) {
        clip.frames.truncate(count);
    }
    all.retain(|clip| !clip.frames.is_empty());
    Ok(all)
}

/// Encodes frames of items, on all cores.
fn encode(
    set: &ShardSet,
    items: impl Iterator<Item = (usize, std::ops::Range<usize>)>,
    quality: u8,
) -> Result<Vec<Encoded>, DataError> {
    let items: Vec<_> = items.collect();
    let of_frame = |item: usize, t: usize| -> Result<[Vec<u8>; 3], DataError> {
        let entry = &set.entries()[item];
        let [y, u, v] = entry.size().planes(set.frame(item, t));
        let encode =
            |plane| encode_plane(plane, quality).map_err(|e| DataError::decode(set.dir(), format!("{}: {e}", entry.name)));
        Ok([encode(y)?, encode(u)?, encode(v)?])
    };
    items
        .into_par_iter()
        .map(|(item, range)| Ok(Encoded { item, frames: range.map(|t| of_frame(item, t)).collect::<Result<_, _>>()? }))
        .collect()
}

fn encode_plane(plane: Plane<'_>, quality: u8) -> image::ImageResult<Vec<u8>> {
    let mut out = Vec::new();
    let (width, height) = (plane.width as u32, plane.height as u32);
    JpegEncoder::new_with_quality(&mut out, quality).encode(plane.data, width, height, ExtendedColorType::L8)?;
    Ok(out)
}

fn write(set: &ShardSet, items: &[Encoded], options: &PackOptions) -> Result<usize, DataError> {
    let mut files = 0;
    let mut rest = items;
    while !rest.is_empty() {
        let mut index: Vec<PackedItem> = Vec::new();
        let mut bytes = HEADER as u64;
        for encoded in rest {
            let entry = &set.entries()[encoded.item];
            // The index takes up to 40 bytes a frame.
            let more = encoded.total() + 40 * encoded.frames.len() as u64 + entry.name.len() as u64 + 128;
            if !index.is_empty() && bytes + more > options.part_size {
                break;
            }
            bytes += more;
            index.push(PackedItem {
                name: entry.name.clone(),
                kind: entry.kind,
                split: entry.split,
                width: entry.width,
                height: entry.height,
                weight: entry.weight,
                pictures: encoded.frames.iter().map(|f| [0, 1, 2].map(|i| f[i].len() as u32)).collect(),
            });
        }
        let (here, after) = rest.split_at(index.len());
        rest = after;
        let path = options.out.join(format!("{files:02}.pack"));
        let text = serde_json::to_vec(&index).map_err(|e| DataError::Io { path: path.clone(), source: e.into() })?;
        let mut body = text.clone();
        for picture in here.iter().flat_map(|e| &e.frames).flatten() {
            body.extend_from_slice(picture);
        }
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&(text.len() as u32).to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        out.extend_from_slice(&body);
        fs::write(&path, out).map_err(DataError::io(&path))?;
        files += 1;
    }
    Ok(files)
}

/// Decodes pack files into memory, on all cores: their items, and the frames of each as if they lay in a shard of its own.
pub(super) fn decode(paths: &[PathBuf]) -> Result<(Vec<Entry>, Vec<Vec<u8>>), DataError> {
    let contents: Vec<Vec<u8>> =
        paths.par_iter().map(|path| fs::read(path).map_err(DataError::io(path))).collect::<Result<_, _>>()?;
    let mut work: Vec<(&Path, PackedItem, &[u8])> = Vec::new();
    for (path, content) in paths.iter().zip(&contents) {
        let damaged = |reason: &str| DataError::damaged(path, reason.to_owned());
        let (index, mut pictures) = open(content).map_err(damaged)?;
        for item in index {
            let bytes: usize = item.pictures.iter().flatten().map(|&n| n as usize).sum();
            let (own, after) = pictures.split_at_checked(bytes).ok_or_else(|| damaged("its pictures are cut off"))?;
            pictures = after;
            work.push((path, item, own));
        }
    }
    // Items of equal names in two packs would be drawn twice.
    work.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    work.dedup_by(|a, b| a.1.name == b.1.name);
    let decoded: Vec<(Entry, Vec<u8>)> = work
        .into_par_iter()
        .enumerate()
        .map(|(number, (path, item, bytes))| {
            decode_item(number, &item, bytes).map_err(|e| DataError::damaged(path, format!("item {:?}: {e}", item.name)))
        })
        .collect::<Result<_, _>>()?;
    Ok(decoded.into_iter().unzip())
}

/// Index and pictures of a pack.
fn open(content: &[u8]) -> Result<(Vec<PackedItem>, &[u8]), &'static str> {
    let (header, body) = content.split_at_checked(HEADER).ok_or("too short for a pack")?;
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if &header[..8] != MAGIC {
        return Err("not a pack file");
    }
    if crc32c::crc32c(body) != number(12) {
        return Err("a wrong checksum: the file is damaged or cut off");
    }
    let (index, pictures) = body.split_at_checked(number(8) as usize).ok_or("the index is cut off")?;
    Ok((serde_json::from_slice(index).map_err(|_| "a bad index")?, pictures))
}

fn decode_item(number: usize, item: &PackedItem, mut bytes: &[u8]) -> Result<(Entry, Vec<u8>), String> {
    let mut entry = Entry {
        name: item.name.clone(),
        kind: item.kind,
        split: item.split,
        width: item.width,
        height: item.height,
        frames: item.pictures.len(),
        shard: number,
        offset: 0,
        crc32c: 0,
        weight: item.weight,
    };
    let total = entry.bytes().ok_or("an impossible size")?;
    let size = Size::new(item.width, item.height);
    if size.bytes() > MAX_PICTURE {
        return Err("an impossible size".into());
    }
    let mut frames = vec![0; total];
    for (frame, lengths) in frames.chunks_exact_mut(size.bytes()).zip(&item.pictures) {
        let (y, uv) = frame.split_at_mut(item.width * item.height);
        let (u, v) = uv.split_at_mut(uv.len() / 2);
        let chroma = (item.width / 2, item.height / 2);
        for ((plane, (width, height)), &length) in
            [(y, (item.width, item.height)), (u, chroma), (v, chroma)].into_iter().zip(lengths)
        {
            let (own, after) = bytes.split_at_checked(length as usize).ok_or("a picture is cut off")?;
            bytes = after;
            let decoder = JpegDecoder::new(std::io::Cursor::new(own)).map_err(|e| e.to_string())?;
            if decoder.dimensions() != (width as u32, height as u32) || decoder.total_bytes() != plane.len() as u64 {
                return Err("a picture has another size than its item".into());
            }
            decoder.read_image(plane).map_err(|e| e.to_string())?;
        }
    }
    entry.crc32c = crc32c::crc32c(&frames);
    Ok((entry, frames))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::moving_clips;
    use crate::data::{Sampler, SamplerOptions};

    fn prepared(dir: &Path) {
        moving_clips(dir, 6, 12);
    }

    fn options(data: &Path, out: &Path, max_size: u64, part_size: u64) -> PackOptions {
        PackOptions { data: data.to_owned(), out: out.to_owned(), max_size, part_size, quality: 92, max_frames: 12 }
    }

    #[test]
    fn packs_hold_nearly_the_same_pictures_and_the_sampler_reads_them() {
        let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        prepared(data.path());
        pack(&options(data.path(), out.path(), 1 << 30, 100 << 10), &mut |_| {}).unwrap();
        let sizes: Vec<u64> = files(out.path()).unwrap().iter().map(|p| p.metadata().unwrap().len()).collect();
        assert!(sizes.len() > 1 && sizes.iter().all(|&s| s <= 100 << 10), "{sizes:?}");
        let (shards, packs) = (ShardSet::open(data.path()).unwrap(), ShardSet::open(out.path()).unwrap());
        assert_eq!(packs.entries().len(), shards.entries().len());
        packs.verify().unwrap();
        for (item, entry) in packs.entries().iter().enumerate() {
            let other = shards.entries().iter().position(|e| e.name == entry.name).unwrap();
            let known = &shards.entries()[other];
            assert_eq!(
                (entry.kind, entry.split, entry.size(), entry.frames),
                (known.kind, known.split, known.size(), known.frames)
            );
            for t in 0..entry.frames {
                let error: f64 = packs
                    .frame(item, t)
                    .iter()
                    .zip(shards.frame(other, t))
                    .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
                    .sum();
                let mse = error / known.size().bytes() as f64;
                assert!(mse < 2.0, "{}: {mse}", entry.name);
            }
        }
        // Both stay open: the second one is the first.
        assert!(std::sync::Arc::ptr_eq(&packs, &ShardSet::open(out.path()).unwrap()));
        let sampler =
            Sampler::open(out.path(), SamplerOptions { photo_share: 0.3, graphics_share: 0.0, seed: 1, split: Split::Train })
                .unwrap();
        assert_eq!(sampler.sample((0, 0), 2, 3, 64).unwrap().y.len(), 2 * 3 * 64 * 64);
    }

    #[test]
    fn packs_stay_within_their_size_and_keep_every_clip() {
        let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        prepared(data.path());
        let max = 120 << 10;
        pack(&options(data.path(), out.path(), max, 1 << 20), &mut |_| {}).unwrap();
        let total: u64 = files(out.path()).unwrap().iter().map(|p| p.metadata().unwrap().len()).sum();
        assert!(total <= max + (8 << 10) && total > max / 2, "{total}");
        let set = ShardSet::open(out.path()).unwrap();
        let clips: Vec<usize> = set.entries().iter().filter(|e| e.kind == Kind::Clip).map(|e| e.frames).collect();
        assert!(clips.len() == 6 && clips.iter().all(|&n| n == clips[0] && n < 12 && n > 1), "{clips:?}");
    }

    #[test]
    fn damage_is_named() {
        let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        prepared(data.path());
        pack(&options(data.path(), out.path(), 1 << 30, 1 << 30), &mut |_| {}).unwrap();
        let path = out.path().join("00.pack");
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[5000] ^= 1;
        for (content, wanted) in [(&whole[..whole.len() - 1], "checksum"), (&flipped, "checksum"), (&b"NGC"[..], "too short")] {
            fs::write(&path, content).unwrap();
            let text = ShardSet::open(out.path()).unwrap_err().to_string();
            assert!(text.contains("00.pack") && text.contains(wanted), "{text}");
        }
    }
}
