//! Takes out of a file what muxers put in by chance or by the clock, so that the same input gives the same bytes.
//!
//! Matroska (RFC 9559): the unique numbers of tracks, editions and chapters become small numbers in the order in which they come,
//! everywhere they are named; the segment's number and the date of muxing, which nothing needs, are voided. MP4 (ISO/IEC 14496-12): times of creation and modification
//! become 0, which means that they are not known. No size changes, and no frame is touched.
//!
//! A muxer writes a number in as few bytes as it takes, so that one unique number of 256 makes a file a byte shorter. [`seed`] keeps such
//! numbers away.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Result, Seek, SeekFrom, Write};
use std::path::Path;

/// Deepest nesting of what is looked into.
const DEPTH: u32 = 8;
/// Most elements of a file that are looked at; a Matroska file has one cluster a second or so.
const ELEMENTS: u64 = 1 << 24;

/// Makes a file the same on every run. Files of other kinds, and damaged ones, stay as far as they are not understood.
///
/// # Errors
/// Of reading and writing.
pub fn make(path: &Path) -> Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let end = file.metadata()?.len();
    let mut start = [0; 8];
    if end < 8 {
        return Ok(());
    }
    file.read_exact(&mut start)?;
    let mut walk = Walk { file, left: ELEMENTS, numbers: HashMap::new() };
    match (&start[..4], &start[4..]) {
        ([0x1a, 0x45, 0xdf, 0xa3], _) => walk.matroska(0, end, DEPTH),
        (_, b"ftyp") => walk.mp4(0, end, DEPTH),
        _ => Ok(()),
    }
}

/// The first 1,024 numbers that GLib draws after this seed take four bytes each.
const SEED: u32 = 128;

/// Lets GLib, which muxers take their unique numbers from, draw the same numbers on every run. Call it before a pipeline is made.
///
/// Threads may share them out differently, which does not matter: all of them have the same length.
pub fn seed() {
    gst::glib::random_set_seed(SEED);
}

struct Walk {
    file: File,
    left: u64,
    /// Unique numbers of the file, and what stands for them.
    numbers: HashMap<Vec<u8>, u64>,
}

impl Walk {
    fn read<const N: usize>(&mut self, at: u64) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.seek(SeekFrom::Start(at))?;
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(bytes)
    }

    fn spent(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left == 0
    }

    fn matroska(&mut self, mut at: u64, end: u64, depth: u32) -> Result<()> {
        // The shortest element has an id and a size of a byte each.
        while at + 2 <= end && depth > 0 && !self.spent() {
            let Some((id, id_length)) = self.variable(at, end, false)? else { return Ok(()) };
            let Some((size, size_length)) = self.variable(at + id_length, end, true)? else { return Ok(()) };
            let content = at + id_length + size_length;
            let unknown = size == (1 << (7 * size_length)) - 1;
            let next = if unknown { end } else { content.saturating_add(size).min(end) };
            match id {
                // Segment, Info, Tracks, TrackEntry, Tags, Tag, Targets, Chapters, EditionEntry, ChapterAtom.
                0x1853_8067 | 0x1549_a966 | 0x1654_ae6b | 0xae | 0x1254_c367 | 0x7373 | 0x63c0 | 0x1043_a770 | 0x45b9 | 0xb6 => {
                    self.matroska(content, next, depth - 1)?;
                }
                // TrackUID, TagTrackUID, EditionUID, ChapterUID, TagEditionUID, TagChapterUID. 0 in a tag means all.
                0x73c5 | 0x63c5 | 0x45bc | 0x73c4 | 0x63c9 | 0x63c4 if (1..=16).contains(&(next - content)) => {
                    let mut value = vec![0; (next - content) as usize];
                    self.file.seek(SeekFrom::Start(content))?;
                    self.file.read_exact(&mut value)?;
                    if value.iter().any(|&byte| byte != 0) {
                        let fresh = self.numbers.len() as u64 + 1;
                        let number = (*self.numbers.entry(value.clone()).or_insert(fresh)).to_be_bytes();
                        let length = value.len();
                        value.fill(0);
                        value[length.saturating_sub(8)..].copy_from_slice(&number[8usize.saturating_sub(length)..]);
                        self.write(content, &value)?;
                    }
                }
                // SegmentUID and DateUTC become Void (0xec) over the same bytes.
                0x73a4 | 0x4461 if (2..=100).contains(&(next - at)) => {
                    let mut void = vec![0; (next - at) as usize];
                    void[0] = 0xec;
                    void[1] = 0x80 | (void.len() - 2) as u8;
                    self.write(at, &void)?;
                }
                _ => {}
            }
            at = next;
        }
        Ok(())
    }

    /// A number of EBML's variable length, with its marker unless `strip`, and its length in bytes.
    fn variable(&mut self, at: u64, end: u64, strip: bool) -> Result<Option<(u64, u64)>> {
        if at >= end {
            return Ok(None);
        }
        let [first] = self.read::<1>(at)?;
        let length = u64::from(first.leading_zeros()) + 1;
        if length > 8 || at + length > end {
            return Ok(None);
        }
        let mut value = if strip { u64::from(first) & ((1 << (8 - length)) - 1) } else { first.into() };
        for offset in 1..length {
            let [byte] = self.read::<1>(at + offset)?;
            value = value << 8 | u64::from(byte);
        }
        Ok(Some((value, length)))
    }

    fn mp4(&mut self, mut at: u64, end: u64, depth: u32) -> Result<()> {
        while at + 8 <= end && depth > 0 && !self.spent() {
            let header = self.read::<8>(at)?;
            let (mut size, mut content) = (u64::from(u32::from_be_bytes([header[0], header[1], header[2], header[3]])), at + 8);
            if size == 1 && at + 16 <= end {
                size = u64::from_be_bytes(self.read(content)?);
                content += 8;
            } else if size == 0 {
                size = end - at;
            }
            let next = at.saturating_add(size);
            if next < content || next > end {
                return Ok(());
            }
            match &header[4..] {
                b"moov" | b"trak" | b"mdia" => self.mp4(content, next, depth - 1)?,
                b"mvhd" | b"tkhd" | b"mdhd" if content + 20 <= next => {
                    let [version] = self.read::<1>(content)?;
                    let zeros = [0; 16];
                    self.write(content + 4, if version == 0 { &zeros[..8] } else { &zeros })?;
                }
                _ => {}
            }
            at = next;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(bytes: &[u8]) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        make(file.path()).unwrap();
        std::fs::read(file.path()).unwrap()
    }

    #[test]
    fn no_number_is_short() {
        seed();
        assert!((0..1024).all(|_| gst::glib::random_int() >= 1 << 24));
    }

    #[test]
    fn matroska_loses_date_and_chance() {
        // Info with a SegmentUID and a date; one track of a number, and a tag for it.
        let body = |uid: [u8; 2], date: [u8; 2]| {
            let info = [&[0x15, 0x49, 0xa9, 0x66, 0x8a, 0x73, 0xa4, 0x82][..], &uid, &[0x44, 0x61, 0x82], &date].concat();
            let tracks = [&[0x16, 0x54, 0xae, 0x6b, 0x87, 0xae, 0x85, 0x73, 0xc5, 0x82][..], &[uid[1], 7]].concat();
            let tags = [&[0x12, 0x54, 0xc3, 0x67, 0x8b, 0x73, 0x73, 0x88, 0x63, 0xc0, 0x85][..], &[0x63, 0xc5, 0x82, uid[1], 7]];
            // A Segment of unknown size behind an empty EBML header, and a block that only looks like a number.
            let block = [0xa3, 0x85, 0x73, 0xc5, 0x82, 1, 2];
            [&[0x1a, 0x45, 0xdf, 0xa3, 0x80, 0x18, 0x53, 0x80, 0x67, 0xff][..], &info, &tracks, &tags.concat(), &block].concat()
        };
        let (a, b) = (made(&body([1, 2], [3, 4])), made(&body([5, 6], [7, 8])));
        assert_eq!(a, b);
        assert_eq!(a.len(), body([0, 0], [0, 0]).len());
        // The track is number 1, and its tag says so.
        let uid = |id: [u8; 2]| {
            let at = a.windows(2).position(|w| w == id).unwrap();
            [a[at + 3], a[at + 4]]
        };
        assert_eq!((uid([0x73, 0xc5]), uid([0x63, 0xc5])), ([0, 1], [0, 1]));
        assert_eq!(a[a.len() - 2..], [1, 2]);
    }

    #[test]
    fn mp4_loses_its_times() {
        let body = |time: u8| {
            let mvhd = [&[0, 0, 0, 28][..], b"mvhd", &[0; 4], &[time; 8], &[9; 8]].concat();
            [&[0, 0, 0, 8][..], b"ftyp", &[0, 0, 0, 36], b"moov", &mvhd].concat()
        };
        assert_eq!(made(&body(5)), body(0));
    }

    #[test]
    fn what_is_cut_off_stays() {
        for bytes in [
            &b""[..],
            &[0x1a, 0x45, 0xdf, 0xa3, 0xff, 0, 0, 0],
            &[0, 0, 0, 8, b'f', b't', b'y', b'p', 0, 0, 0, 1, b'm', b'o', b'o', b'v'],
        ] {
            assert_eq!(made(bytes), bytes);
        }
    }
}
