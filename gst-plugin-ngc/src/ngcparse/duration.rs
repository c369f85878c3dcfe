//! How many frames a raw file holds, from its end: every unit carries its number.

use codec_core::Limits;
use codec_core::bitstream::{Scan, scan};

/// So much of a file's end is looked at.
pub const TAIL_BYTES: u64 = 1 << 20;

/// Number of frames of a file of `size` bytes that starts with frame `first` and ends with the bytes `tail`. `None` if the
/// end holds no whole unit, or one that does not belong to the start.
pub fn frames(first: u32, size: u64, tail: &[u8]) -> Option<u64> {
    let (mut rest, mut bytes, mut units) = (tail, 0u64, 0u64);
    let mut last: Option<Number> = None;
    while !rest.is_empty() {
        match scan(rest, &Limits::default()) {
            Scan::Unit { len, summary } => {
                let header = &summary.header;
                last = Some(match last {
                    _ if header.is_keyframe() => Number::Whole(header.frame_number),
                    Some(Number::Whole(before)) => match header.number_after(before) {
                        Some(number) => Number::Whole(number),
                        None => Number::Low(header.frame_number as u16),
                    },
                    _ => Number::Low(header.frame_number as u16),
                });
                (bytes, units) = (bytes + len as u64, units + 1);
                rest = &rest[len..];
            }
            Scan::Skip { bytes, .. } => rest = &rest[bytes.max(1)..],
            Scan::NeedMore(_) => break,
        }
    }
    let span = match last? {
        Number::Whole(number) => u64::from(number.checked_sub(first)?),
        Number::Low(low) => {
            // P units carry 16 bits; the mean size tells which of the numbers that end so it is.
            let estimate = size / (bytes / units.max(1)).max(1);
            let low = u64::from(low.wrapping_sub(first as u16));
            low + (((estimate.saturating_sub(low) + (1 << 15)) >> 16) << 16)
        }
    };
    Some(span + 1)
}

/// A frame number as far as it is known.
enum Number {
    Whole(u32),
    Low(u16),
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec_core::bitstream::{FrameHeader, FrameType, Profile, SequenceHeader, VideoInfo, write_unit};

    fn unit(kind: FrameType, number: u32) -> Vec<u8> {
        let video = VideoInfo { width: 64, height: 64, ..VideoInfo::default() };
        let sequence = SequenceHeader { model_id: [0; 16], profile: Profile::Rt, random_shift: None, detail: 0, video };
        let header = FrameHeader::new(kind, 9, number);
        write_unit(&header, (kind == FrameType::I).then_some(&sequence), &[7; 40]).unwrap()
    }

    #[test]
    fn the_last_unit_tells() {
        let tail =
            [&[1, 2, 3][..], &unit(FrameType::P, 99_998), &unit(FrameType::I, 99_999), &unit(FrameType::P, 100_000)].concat();
        assert_eq!(frames(0, 1 << 30, &tail), Some(100_001));
        assert_eq!(frames(99_000, 1 << 30, &tail), Some(1001));
        assert_eq!(frames(100_001, 1 << 30, &tail), None);
        // A unit that is cut off does not count.
        assert_eq!(frames(0, 1 << 30, &tail[..tail.len() - 3]), Some(100_000));
        assert_eq!(frames(0, 100, b"nothing here"), None);
    }

    #[test]
    fn sixteen_bits_and_the_size_tell() {
        let tail = [unit(FrameType::P, 199_999), unit(FrameType::P, 200_000)].concat();
        let size = 200_001 * (tail.len() as u64 / 2);
        assert_eq!(frames(0, size, &tail), Some(200_001));
        // The size may be a few per cent off.
        assert_eq!(frames(0, size * 105 / 100, &tail), Some(200_001));
        assert_eq!(frames(0, 3 * tail.len() as u64 / 2, &[unit(FrameType::P, 1), unit(FrameType::P, 2)].concat()), Some(3));
    }
}
