//! Where the frames of a raw file lie in it and in time.
//!
//! A raw stream carries no times: frames follow each other at the frame rate. A frame's number, and so its time, is a function
//! of its place in the file alone, however it was reached: by playing, by a seek, or backwards.

use std::collections::BTreeMap;

use codec_core::Limits;
use codec_core::bitstream::{Scan, is_keyframe, scan};
use gst::prelude::*;

/// Reads so many bytes from an offset, fewer at the end of the file; `None` if that fails.
pub type Read<'a> = dyn FnMut(u64, u32) -> Option<Vec<u8>> + 'a;

/// So much is read at once to walk from unit to unit: the head of a large one, or many small ones.
const WINDOW: u32 = 4096;
/// With so many bytes of a unit its length is known.
const HEAD: usize = 16;

/// Frame rate that applies from a frame on.
#[derive(Clone, Copy)]
struct Pace {
    frame: u64,
    time: gst::ClockTime,
    rate: (u32, u32),
}

impl Pace {
    fn time_of(&self, frame: u64) -> gst::ClockTime {
        let (numerator, denominator) = self.rate;
        let second = gst::ClockTime::SECOND.nseconds();
        let passed = (frame - self.frame).mul_div_round(second * u64::from(denominator), numerator.into());
        self.time.saturating_add(gst::ClockTime::from_nseconds(passed.unwrap_or(u64::MAX / 4)))
    }
}

/// A keyframe of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub offset: u64,
    pub time: gst::ClockTime,
}

/// What lies at an offset.
enum Step {
    Unit { size: u64, keyframe: bool },
    Skip(u64),
    End,
}

/// Keyframes found so far, and how far the file has been looked through.
#[derive(Default)]
pub struct Index {
    /// Numbers of keyframes by their offsets.
    keys: BTreeMap<u64, u64>,
    paces: Vec<Pace>,
    /// All keyframes before this offset are known; the frame that follows has this number.
    frontier: (u64, u64),
    /// Where the unit after the one that was placed last lies, and its number.
    next: Option<(u64, u64)>,
    window: (u64, Vec<u8>),
}

impl Index {
    /// All keyframes known, in order.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.keys.iter().map(|(&offset, &frame)| Key { offset, time: self.time_of(frame) })
    }

    /// Time of a frame.
    pub fn time_of(&self, frame: u64) -> gst::ClockTime {
        let pace = self.paces.iter().rev().find(|pace| pace.frame <= frame);
        pace.map_or(gst::ClockTime::ZERO, |pace| pace.time_of(frame))
    }

    /// Number of the frame whose unit of `size` bytes lies at `offset`. With a keyframe comes its frame rate. `None` where it
    /// cannot be found out: after a jump in a source that cannot be read here and there.
    pub fn place(&mut self, offset: u64, size: u64, key: Option<(u32, u32)>, read: &mut Read) -> Option<u64> {
        let frame = match self.next {
            _ if self.keys.is_empty() => {
                self.frontier = (offset, 0);
                0
            }
            Some((next, frame)) if next == offset => frame,
            _ => self.walk_to(offset, read)?,
        };
        Some(self.put(offset, size, frame, key))
    }

    /// Takes down that frame `frame` lies at `offset`, and gives back its number.
    pub fn put(&mut self, offset: u64, size: u64, frame: u64, key: Option<(u32, u32)>) -> u64 {
        self.next = Some((offset + size, frame + 1));
        if offset == self.frontier.0 {
            self.frontier = (offset + size, frame + 1);
        }
        if let Some(rate) = key {
            self.keys.insert(offset, frame);
            self.set_rate(frame, rate);
        }
        frame
    }

    /// The frame rate from a frame on.
    fn set_rate(&mut self, frame: u64, rate: (u32, u32)) {
        let known = self.paces.iter().rev().find(|pace| pace.frame <= frame);
        if known.is_none_or(|pace| pace.rate != rate) {
            let time = self.time_of(frame);
            // What comes later was reckoned with another rate, and is met again.
            self.paces.retain(|pace| pace.frame < frame);
            self.paces.push(Pace { frame, time, rate });
        }
    }

    /// Looks through the file as far as `time`, to its end if there is none.
    pub fn extend_to(&mut self, time: Option<gst::ClockTime>, read: &mut Read) {
        while time.is_none_or(|time| self.time_of(self.frontier.1) <= time) && self.advance(read) {}
    }

    /// Looks at the next unit of the file that has not been seen. False at its end.
    fn advance(&mut self, read: &mut Read) -> bool {
        let (offset, frame) = self.frontier;
        self.frontier = match self.step(offset, read) {
            Step::Unit { size, keyframe } => {
                if keyframe {
                    self.keys.insert(offset, frame);
                }
                (offset + size, frame + 1)
            }
            Step::Skip(bytes) => (offset + bytes, frame),
            Step::End => return false,
        };
        true
    }

    /// Number of the frame at an offset, counted from the keyframe before it.
    fn walk_to(&mut self, offset: u64, read: &mut Read) -> Option<u64> {
        while self.frontier.0 < offset && self.advance(read) {}
        let (mut at, mut frame) = self.keys.range(..=offset).next_back().map(|(&offset, &frame)| (offset, frame))?;
        while at < offset {
            match self.step(at, read) {
                Step::Unit { size, .. } => (at, frame) = (at + size, frame + 1),
                Step::Skip(bytes) => at += bytes,
                Step::End => return None,
            }
        }
        Some(frame)
    }

    fn step(&mut self, offset: u64, read: &mut Read) -> Step {
        let held = offset.checked_sub(self.window.0).and_then(|skip| self.window.1.get(usize::try_from(skip).ok()?..));
        if let Some(data) = held.filter(|data| data.len() >= HEAD) {
            return look(data);
        }
        match read(offset, WINDOW) {
            Some(data) if !data.is_empty() => {
                let step = look(&data);
                self.window = (offset, data);
                step
            }
            _ => Step::End,
        }
    }
}

/// What `data` starts with: at least [`HEAD`] bytes, or all that is left of the file.
fn look(data: &[u8]) -> Step {
    match scan(data, &Limits::default()) {
        Scan::Unit { len, .. } => Step::Unit { size: len as u64, keyframe: is_keyframe(data) },
        Scan::NeedMore(bytes) if data.len() >= HEAD => Step::Unit { size: bytes as u64, keyframe: is_keyframe(data) },
        Scan::NeedMore(_) => Step::End,
        Scan::Skip { bytes, .. } => Step::Skip(bytes.max(1) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec_core::bitstream::{FrameHeader, FrameType, Profile, SequenceHeader, VideoInfo, write_unit};

    const RATE: (u32, u32) = (25, 1);

    /// A file of 60 frames with a keyframe every 20, units from 10 bytes to more than a window, and where they lie.
    fn file() -> (Vec<u8>, Vec<u64>) {
        let video = VideoInfo { width: 64, height: 64, ..VideoInfo::default() };
        let sequence = SequenceHeader { model_id: [0; 16], profile: Profile::Rt, random_shift: None, detail: 0, video };
        let (mut data, mut offsets) = (Vec::new(), Vec::new());
        for number in 0..60 {
            let (kind, size) = if number % 20 == 0 { (FrameType::I, 9000) } else { (FrameType::P, number as usize * 7) };
            let header = FrameHeader::new(kind, 9, number);
            offsets.push(data.len() as u64);
            data.extend(write_unit(&header, (kind == FrameType::I).then_some(&sequence), &vec![7; size]).unwrap());
        }
        (data, offsets)
    }

    fn reader(data: &[u8]) -> impl FnMut(u64, u32) -> Option<Vec<u8>> + '_ {
        |offset, size| {
            let rest = data.get(offset as usize..)?;
            Some(rest[..rest.len().min(size as usize)].to_vec())
        }
    }

    fn frame_time(frame: u64) -> gst::ClockTime {
        gst::ClockTime::from_mseconds(40 * frame)
    }

    #[test]
    fn a_file_is_looked_through_as_far_as_needed() {
        let (data, offsets) = file();
        let mut index = Index::default();
        assert_eq!(index.place(0, offsets[1], Some(RATE), &mut reader(&data)), Some(0));
        index.extend_to(Some(frame_time(25)), &mut reader(&data));
        let found: Vec<_> = index.keys().collect();
        let key = |frame: usize| Key { offset: offsets[frame], time: frame_time(frame as u64) };
        assert_eq!(found, [key(0), key(20)]);
        index.extend_to(None, &mut reader(&data));
        assert_eq!(index.keys().collect::<Vec<_>>(), [key(0), key(20), key(40)]);
    }

    #[test]
    fn every_frame_is_placed_however_it_is_reached() {
        let (data, offsets) = file();
        let mut index = Index::default();
        index.place(0, offsets[1], Some(RATE), &mut reader(&data));
        for frame in [59usize, 3, 40, 41, 20, 1, 0, 58] {
            let key = frame.is_multiple_of(20).then_some(RATE);
            assert_eq!(index.place(offsets[frame], 10, key, &mut reader(&data)), Some(frame as u64));
        }
        assert_eq!(index.time_of(59), frame_time(59));
    }

    #[test]
    fn bytes_between_units_count_for_nothing() {
        let (mut data, offsets) = file();
        data.splice(offsets[30] as usize..offsets[30] as usize, [0u8; 5000]);
        let mut index = Index::default();
        index.place(0, offsets[1], Some(RATE), &mut reader(&data));
        assert_eq!(index.place(offsets[50] + 5000, 10, None, &mut reader(&data)), Some(50));
    }

    #[test]
    fn without_reading_only_what_follows_is_placed() {
        let mut index = Index::default();
        assert_eq!(index.place(10, 100, Some(RATE), &mut |_, _| None), Some(0));
        assert_eq!(index.place(110, 20, None, &mut |_, _| None), Some(1));
        assert_eq!(index.place(5000, 20, Some(RATE), &mut |_, _| None), None);
        // What has been there before is found again.
        assert_eq!(index.place(10, 100, Some(RATE), &mut |_, _| None), Some(0));
    }

    #[test]
    fn a_new_frame_rate_counts_from_its_keyframe_on() {
        let mut index = Index::default();
        index.place(0, 100, Some((25, 1)), &mut |_, _| None);
        index.place(100, 100, None, &mut |_, _| None);
        index.place(200, 100, Some((50, 1)), &mut |_, _| None);
        assert_eq!(index.time_of(3).mseconds(), 100);
        assert_eq!(index.time_of(1).mseconds(), 40);
    }
}
