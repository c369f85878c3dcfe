//! Framing of units and reading of one whole unit.

use super::header::{FrameHeader, FrameType, SequenceHeader};
use super::reader::{Reader, VARINT_MAX_BYTES, Varint, varint};
use crate::{Error, Limits, Result};

/// First bytes of every stream: the marker of a keyframe unit.
pub const MAGIC: [u8; 4] = [b'N', b'G', b'C', TYPE_I];

/// Start of every marker; the unit type follows.
pub(super) const MARKER: [u8; 3] = *b"NGC";
pub(super) const TYPE_I: u8 = 0x81;
pub(super) const TYPE_P: u8 = 0x82;
pub(super) const CRC_BYTES: usize = 4;

/// Shortest possible unit: marker, length, header check and CRC around an empty body.
pub(super) const MIN_UNIT_BYTES: usize = MARKER.len() + 1 + 1 + 1 + CRC_BYTES;

/// One whole unit, checked; the payload is borrowed from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedUnit<'a> {
    pub header: FrameHeader,
    /// On every I unit and only there.
    pub sequence: Option<SequenceHeader>,
    /// Entropy-coded latents.
    pub payload: &'a [u8],
}

/// What the first bytes of a unit say about its extent.
pub(super) enum Framing {
    /// At least this many bytes are needed to tell.
    NeedMore(usize),
    Known {
        unit_type: u8,
        body: usize,
        total: usize,
    },
    /// No unit starts here.
    Invalid(Error),
}

/// Reads marker, type, length and header check at the front of `data`, which must begin with the part of [`MARKER`]
/// that it is long enough for.
pub(super) fn framing(data: &[u8], limits: &Limits) -> Framing {
    let type_at = MARKER.len();
    let Some(&unit_type) = data.get(type_at) else {
        return Framing::NeedMore(MIN_UNIT_BYTES);
    };
    if unit_type & 0xf0 != 0x80 {
        return Framing::Invalid(Error::Corrupt("no unit type follows the sync marker".into()));
    }
    let (body_bytes, length_bytes) = match varint(&data[type_at + 1..]) {
        Varint::Complete(value, bytes) => (value, bytes),
        Varint::Incomplete => return Framing::NeedMore(MIN_UNIT_BYTES.max(data.len() + 1)),
        Varint::Invalid => {
            return Framing::Invalid(Error::Corrupt("the unit's length is malformed".into()));
        }
    };
    let check_at = type_at + 1 + length_bytes;
    let Some(&check) = data.get(check_at) else {
        return Framing::NeedMore(MIN_UNIT_BYTES.max(check_at + 1));
    };
    if check != crc8(&data[type_at..check_at]) {
        return Framing::Invalid(Error::Corrupt("the check of the unit's type and length does not fit".into()));
    }
    let body = check_at + 1;
    let total = body as u64 + u64::from(body_bytes) + CRC_BYTES as u64;
    if let Err(error) = limits.check_unit_bytes(total) {
        return Framing::Invalid(error);
    }
    // The limit is a usize, so the total fits.
    Framing::Known { unit_type, body, total: total as usize }
}

/// CRC-8 with polynomial x^8 + x^2 + x + 1, starting at 0, not reflected. Finds any single burst of up to 8 bits.
pub(super) fn crc8(data: &[u8]) -> u8 {
    data.iter().fold(0, |crc, byte| (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 != 0 { (crc << 1) ^ 0x07 } else { crc << 1 }))
}

/// Whether the CRC at the end of a whole unit fits.
pub(super) fn crc_fits(unit: &[u8]) -> bool {
    unit.split_last_chunk().is_some_and(|(covered, crc)| u32::from_le_bytes(*crc) == crc32c::crc32c(covered))
}

/// Reads the body of a unit whose CRC fits.
pub(super) fn parse_body<'a>(unit_type: u8, body: &'a [u8], limits: &Limits) -> Result<ParsedUnit<'a>> {
    let frame_type = match unit_type {
        TYPE_I => FrameType::I,
        TYPE_P => FrameType::P,
        other => {
            return Err(Error::Unsupported(format!("unit type {other:#04x}: update this decoder")));
        }
    };
    let mut reader = Reader::new(body);
    let header = FrameHeader::read(&mut reader, frame_type)?;
    let sequence = match frame_type {
        FrameType::I => Some(SequenceHeader::read(&mut reader, limits)?),
        FrameType::P => None,
    };
    Ok(ParsedUnit { header, sequence, payload: reader.rest() })
}

/// Parses exactly one unit.
///
/// # Errors
/// [`Error::Corrupt`] if `data` is not one whole undamaged unit, [`Error::Unsupported`] if it is of a newer version,
/// [`Error::Limit`] if the unit or the video is larger than `limits` allow.
pub fn parse_unit<'a>(data: &'a [u8], limits: &Limits) -> Result<ParsedUnit<'a>> {
    limits.check_unit_bytes(data.len() as u64)?;
    if data.get(..MARKER.len()).is_some_and(|start| start != MARKER) {
        return Err(Error::Corrupt("no unit starts here: the sync marker is missing".into()));
    }
    let cut_off = |needed| Error::Corrupt(format!("the unit is cut off: {} of {needed} bytes are there", data.len()));
    let (unit_type, body, total) = match framing(data, limits) {
        Framing::NeedMore(bytes) => return Err(cut_off(bytes)),
        Framing::Invalid(error) => return Err(error),
        Framing::Known { unit_type, body, total } => (unit_type, body, total),
    };
    if data.len() < total {
        return Err(cut_off(total));
    }
    if data.len() > total {
        return Err(Error::Corrupt(format!("{} bytes follow the unit", data.len() - total)));
    }
    if !crc_fits(data) {
        return Err(Error::Corrupt("the unit's CRC-32C does not fit".into()));
    }
    parse_body(unit_type, &data[body..total - CRC_BYTES], limits)
}

/// Whether a unit, of which the first four bytes suffice, is a keyframe. Nothing is checked.
pub fn is_keyframe(unit: &[u8]) -> bool {
    unit.starts_with(&MAGIC)
}

/// Bytes that [`framing`] may need before it knows the extent of a unit.
pub(super) const FRAMING_MAX_BYTES: usize = MARKER.len() + 1 + VARINT_MAX_BYTES + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_vectors() {
        assert_eq!(crc8(b"123456789"), 0xf4);
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn framing_never_asks_for_what_it_has() {
        let start = [b'N', b'G', b'C', TYPE_P, 0xff, 0xff, 0xff, 0x07];
        for length in 0..=start.len() {
            match framing(&start[..length], &Limits::default()) {
                Framing::NeedMore(bytes) => {
                    assert!(bytes > length && bytes <= FRAMING_MAX_BYTES.max(MIN_UNIT_BYTES))
                }
                _ => panic!("{length} bytes cannot be enough"),
            }
        }
    }
}
