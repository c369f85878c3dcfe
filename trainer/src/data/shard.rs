//! Storage of prepared items.
//!
//! A data folder holds `000.shard`, `001.shard`, ... and `index.json`. All numbers are little-endian.
//!
//! | bytes | shard file |
//! | --- | --- |
//! | 8 | magic `NGCSHRD1` |
//! | ... | items, back to back |
//!
//! | bytes | item |
//! | --- | --- |
//! | 4 | magic `NGIT` |
//! | 1 | kind: 0 photo, 1 clip |
//! | 1 | split: 0 train, 1 validation |
//! | 2 | bytes of the name |
//! | 4, 4, 4 | width, height (both even), frames |
//! | 4 | CRC-32C of the frames |
//! | name | UTF-8 |
//! | frames | width * height * 3/2 bytes each: Y, U, V; BT.601 limited range |
//!
//! A shard is closed when the next item would lift it above 256 MiB; a larger item has a shard of
//! its own. `index.json` lists every item with the offset of its frames.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::i420::Size;
use super::pack;

const SHARD_MAGIC: &[u8; 8] = b"NGCSHRD1";
const ITEM_MAGIC: &[u8; 4] = b"NGIT";
const HEADER: usize = 24;
const SHARD_LIMIT: u64 = 256 << 20;
const INDEX: &str = "index.json";
const VERSION: u32 = 1;
const MAX_SIDE: usize = 16384;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Photo,
    Clip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Train,
    Validation,
}

/// Weight of a usual item.
pub(super) fn usual() -> f32 {
    1.0
}

pub(super) fn is_usual(weight: &f32) -> bool {
    *weight == usual()
}

/// One item's line in the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Source file's stem, then what was taken of it.
    pub name: String,
    pub kind: Kind,
    pub split: Split,
    pub width: usize,
    pub height: usize,
    pub frames: usize,
    /// Number of the shard file.
    pub shard: usize,
    /// Where the first frame starts in the shard file, in bytes.
    pub offset: u64,
    /// CRC-32C of all frames.
    pub crc32c: u32,
    /// How likely it is drawn in comparison with others.
    #[serde(default = "usual", skip_serializing_if = "is_usual")]
    pub weight: f32,
}

#[derive(Serialize, Deserialize)]
struct Index {
    version: u32,
    /// Size of each shard file in bytes.
    shards: Vec<u64>,
    items: Vec<Entry>,
}

impl Entry {
    pub fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }

    /// Bytes of all frames, or `None` if they can't be addressed.
    pub(super) fn bytes(&self) -> Option<usize> {
        let sides = [self.width, self.height];
        let valid = sides.iter().all(|&s| s % 2 == 0 && (2..=MAX_SIDE).contains(&s));
        valid.then(|| self.size().bytes().checked_mul(self.frames)).flatten()
    }

    fn header(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.name.len());
        out.extend_from_slice(ITEM_MAGIC);
        out.push(u8::from(self.kind == Kind::Clip));
        out.push(u8::from(self.split == Split::Validation));
        out.extend_from_slice(&(self.name.len() as u16).to_le_bytes());
        for number in [self.width, self.height, self.frames] {
            out.extend_from_slice(&(number as u32).to_le_bytes());
        }
        out.extend_from_slice(&self.crc32c.to_le_bytes());
        out.extend_from_slice(self.name.as_bytes());
        out
    }
}

fn shard_path(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("{number:03}.shard"))
}

/// Writes a data folder. Nothing can be read until [`ShardWriter::finish`] has written the index.
pub struct ShardWriter {
    dir: PathBuf,
    file: Option<BufWriter<File>>,
    shards: Vec<u64>,
    items: Vec<Entry>,
    weight: f32,
}

impl ShardWriter {
    /// Starts a data folder; an older one at the same place is removed. Readers that still have it
    /// open keep their mapping.
    ///
    /// # Errors
    /// [`DataError::Io`].
    pub fn create(dir: &Path) -> Result<Self, DataError> {
        fs::create_dir_all(dir).map_err(DataError::io(dir))?;
        for file in fs::read_dir(dir).map_err(DataError::io(dir))? {
            let path = file.map_err(DataError::io(dir))?.path();
            let ours = path.extension().is_some_and(|e| e == "shard") || path.file_name().is_some_and(|n| n == INDEX);
            if ours {
                fs::remove_file(&path).map_err(DataError::io(&path))?;
            }
        }
        Ok(ShardWriter { dir: dir.to_owned(), file: None, shards: Vec::new(), items: Vec::new(), weight: usual() })
    }

    /// Weight of the items that are pushed from now on; 1 is usual.
    pub fn weigh(&mut self, weight: f32) {
        self.weight = weight;
    }

    /// Appends an item. Every frame has `size.bytes()` bytes.
    ///
    /// # Errors
    /// [`DataError::Io`].
    pub fn push<F: AsRef<[u8]>>(
        &mut self,
        name: &str,
        kind: Kind,
        split: Split,
        size: Size,
        frames: &[F],
    ) -> Result<(), DataError> {
        let crc32c = frames.iter().fold(0, |crc, frame| crc32c::crc32c_append(crc, frame.as_ref()));
        let mut entry = Entry {
            name: name.to_owned(),
            kind,
            split,
            width: size.width,
            height: size.height,
            frames: frames.len(),
            shard: 0,
            offset: 0,
            crc32c,
            weight: self.weight,
        };
        let header = entry.header();
        let bytes = (header.len() + size.bytes() * frames.len()) as u64;
        let full = self.shards.last().is_none_or(|&length| length > SHARD_MAGIC.len() as u64 && length + bytes > SHARD_LIMIT);
        if full {
            self.next_shard()?;
        }
        let number = self.shards.len() - 1;
        let path = shard_path(&self.dir, number);
        let Some(file) = self.file.as_mut() else {
            unreachable!("next_shard opened a file");
        };
        file.write_all(&header).map_err(DataError::io(&path))?;
        for frame in frames {
            file.write_all(frame.as_ref()).map_err(DataError::io(&path))?;
        }
        entry.shard = number;
        entry.offset = self.shards[number] + header.len() as u64;
        self.shards[number] += bytes;
        self.items.push(entry);
        Ok(())
    }

    fn next_shard(&mut self) -> Result<(), DataError> {
        self.close_shard()?;
        let path = shard_path(&self.dir, self.shards.len());
        let file = File::create_new(&path).map_err(DataError::io(&path))?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        file.write_all(SHARD_MAGIC).map_err(DataError::io(&path))?;
        self.file = Some(file);
        self.shards.push(SHARD_MAGIC.len() as u64);
        Ok(())
    }

    fn close_shard(&mut self) -> Result<(), DataError> {
        if let Some(mut file) = self.file.take() {
            let path = shard_path(&self.dir, self.shards.len() - 1);
            file.flush().map_err(DataError::io(&path))?;
        }
        Ok(())
    }

    /// Closes the last shard and writes the index. Returns the items and the bytes of all files.
    ///
    /// # Errors
    /// [`DataError::Io`].
    pub fn finish(mut self) -> Result<(Vec<Entry>, u64), DataError> {
        self.close_shard()?;
        let index = Index { version: VERSION, shards: self.shards, items: self.items };
        let path = self.dir.join(INDEX);
        let partial = self.dir.join("index.json.partial");
        let text = serde_json::to_vec_pretty(&index).map_err(|e| DataError::Io { path: path.clone(), source: e.into() })?;
        fs::write(&partial, &text).map_err(DataError::io(&partial))?;
        fs::rename(&partial, &path).map_err(DataError::io(&path))?;
        let bytes = index.shards.iter().sum::<u64>() + text.len() as u64;
        Ok((index.items, bytes))
    }
}

/// A data folder opened for reading; frames come straight from the mapped files, or from memory where the folder holds packs.
#[derive(Debug)]
pub struct ShardSet {
    dir: PathBuf,
    maps: Vec<Frames>,
    entries: Vec<Entry>,
}

/// Where the frames of a shard lie.
#[derive(Debug)]
enum Frames {
    Mapped(Mmap),
    /// Decoded from a pack: one item each.
    Decoded(Vec<u8>),
}

impl std::ops::Deref for Frames {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Decoded(bytes) => bytes,
        }
    }
}

/// Packed folders that are open, so that training and validation decode them once.
static DECODED: Mutex<Vec<(PathBuf, Weak<ShardSet>)>> = Mutex::new(Vec::new());

impl ShardSet {
    /// Maps the shards and checks every item's header against the index.
    ///
    /// # Errors
    /// [`DataError::Io`] if a file is missing, [`DataError::Damaged`] if a file is too short or does
    /// not fit the index.
    pub fn open(dir: &Path) -> Result<Arc<Self>, DataError> {
        let packs = pack::files(dir)?;
        if packs.is_empty() {
            return Self::open_shards(dir).map(Arc::new);
        }
        let mut open = DECODED.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, set)| set.strong_count() > 0);
        if let Some(set) = open.iter().find(|(known, _)| known == dir).and_then(|(_, set)| set.upgrade()) {
            return Ok(set);
        }
        let (entries, frames) = pack::decode(&packs)?;
        let maps = frames.into_iter().map(Frames::Decoded).collect();
        let set = Arc::new(ShardSet { dir: dir.to_owned(), maps, entries });
        open.push((dir.to_owned(), Arc::downgrade(&set)));
        Ok(set)
    }

    fn open_shards(dir: &Path) -> Result<Self, DataError> {
        let path = dir.join(INDEX);
        let text = fs::read(&path).map_err(DataError::io(&path))?;
        let index: Index = serde_json::from_slice(&text).map_err(|e| DataError::damaged(&path, format!("bad index: {e}")))?;
        if index.version != VERSION {
            let reason = format!("index version {}, expected {VERSION}", index.version);
            return Err(DataError::damaged(&path, reason));
        }
        let mut maps = Vec::with_capacity(index.shards.len());
        for (number, &length) in index.shards.iter().enumerate() {
            maps.push(Frames::Mapped(map_shard(&shard_path(dir, number), length)?));
        }
        for entry in &index.items {
            let map = maps.get(entry.shard).ok_or_else(|| {
                let reason = format!("item {:?} lies in an unknown shard", entry.name);
                DataError::damaged(&path, reason)
            })?;
            check_item(map, entry).map_err(|reason| DataError::damaged(&shard_path(dir, entry.shard), reason))?;
        }
        Ok(ShardSet { dir: dir.to_owned(), maps, entries: index.items })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Frame `t` of the item number `item`: `size().bytes()` bytes.
    pub fn frame(&self, item: usize, t: usize) -> &[u8] {
        let entry = &self.entries[item];
        let bytes = entry.size().bytes();
        let start = entry.offset as usize + t * bytes;
        &self.maps[entry.shard][start..start + bytes]
    }

    /// Reads everything and compares the checksums.
    ///
    /// # Errors
    /// [`DataError::Damaged`] naming the shard and the item.
    pub fn verify(&self) -> Result<(), DataError> {
        for (item, entry) in self.entries.iter().enumerate() {
            let crc = (0..entry.frames).fold(0, |crc, t| crc32c::crc32c_append(crc, self.frame(item, t)));
            if crc != entry.crc32c {
                let reason = format!("item {:?} has a wrong checksum", entry.name);
                return Err(DataError::damaged(&shard_path(&self.dir, entry.shard), reason));
            }
        }
        Ok(())
    }
}

fn map_shard(path: &Path, length: u64) -> Result<Mmap, DataError> {
    let file = File::open(path).map_err(DataError::io(path))?;
    // SAFETY: shards are never written in place: `ShardWriter` unlinks old files and creates new
    // ones, so the mapping stays valid while it is held.
    let map = unsafe { Mmap::map(&file) }.map_err(DataError::io(path))?;
    if map.len() as u64 != length {
        let reason = format!("truncated or changed: {} of {length} bytes", map.len());
        return Err(DataError::damaged(path, reason));
    }
    if !map.starts_with(SHARD_MAGIC) {
        return Err(DataError::damaged(path, "not a shard file"));
    }
    Ok(map)
}

fn check_item(map: &[u8], entry: &Entry) -> Result<(), String> {
    let header = entry.header();
    let start = usize::try_from(entry.offset).ok();
    let end = start.and_then(|start| start.checked_add(entry.bytes()?));
    let (Some(start), Some(end)) = (start, end) else {
        return Err(format!("item {:?} has an impossible size", entry.name));
    };
    if end > map.len() || start < header.len() {
        return Err(format!("item {:?} lies outside of the file", entry.name));
    }
    if map[start - header.len()..start] != header[..] {
        return Err(format!("the header of {:?} differs from the index", entry.name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(count: usize, size: Size, seed: u8) -> Vec<Vec<u8>> {
        (0..count).map(|t| (0..size.bytes()).map(|i| (i * 7 + t * 31) as u8 ^ seed).collect()).collect()
    }

    fn write(dir: &Path) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let photo = frames(1, Size::new(32, 16), 1);
        let clip = frames(5, Size::new(16, 24), 9);
        let mut writer = ShardWriter::create(dir).unwrap();
        let (train, held_out) = (Split::Train, Split::Validation);
        writer.push("a@432", Kind::Photo, held_out, Size::new(32, 16), &photo).unwrap();
        writer.push("b#0", Kind::Clip, train, Size::new(16, 24), &clip).unwrap();
        let (items, bytes) = writer.finish().unwrap();
        assert_eq!(items.len(), 2);
        let on_disk: u64 = fs::read_dir(dir).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
        assert_eq!(bytes, on_disk);
        (photo, clip)
    }

    #[test]
    fn round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let (photo, clip) = write(dir.path());
        let set = ShardSet::open(dir.path()).unwrap();
        set.verify().unwrap();
        let [a, b] = set.entries() else {
            panic!("two items expected");
        };
        assert_eq!((a.kind, a.split, a.frames), (Kind::Photo, Split::Validation, 1));
        assert_eq!((b.kind, b.split, b.size()), (Kind::Clip, Split::Train, Size::new(16, 24)));
        assert_eq!(set.frame(0, 0), photo[0]);
        for (t, frame) in clip.iter().enumerate() {
            assert_eq!(set.frame(1, t), frame);
        }
    }

    #[test]
    fn truncated_shard_is_named() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path());
        let path = dir.path().join("000.shard");
        let length = fs::metadata(&path).unwrap().len();
        File::options().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
        let error = ShardSet::open(dir.path()).unwrap_err();
        assert!(matches!(error, DataError::Damaged { .. }));
        let text = error.to_string();
        assert!(text.contains("000.shard") && text.contains("truncated"), "{text}");
    }

    #[test]
    fn flipped_bit_fails_the_checksum() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path());
        let path = dir.path().join("000.shard");
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 4;
        fs::write(&path, bytes).unwrap();
        let error = ShardSet::open(dir.path()).unwrap().verify().unwrap_err();
        assert!(error.to_string().contains("b#0"), "{error}");
    }

    #[test]
    fn index_that_points_outside_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path());
        let path = dir.path().join(INDEX);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"frames\": 5", "\"frames\": 500000")).unwrap();
        let error = ShardSet::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains("outside"), "{error}");
    }

    #[test]
    fn missing_folder_is_named() {
        let error = ShardSet::open(Path::new("/nonexistent/data")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/data/index.json"), "{error}");
    }

    #[test]
    fn a_new_set_replaces_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path());
        let old = ShardSet::open(dir.path()).unwrap();
        ShardWriter::create(dir.path()).unwrap().finish().unwrap();
        assert!(ShardSet::open(dir.path()).unwrap().entries().is_empty());
        old.verify().unwrap();
    }
}
