//! Framing of units and reading of one whole unit.

use super::header::{FrameHeader, FrameType, SequenceHeader};
use super::reader::Reader;
use super::varint::{VARINT_MAX_BYTES, Varint, varint};
use crate::{Error, Limits, Result};

/// First bytes of every stream: the marker of a keyframe unit.
pub const MAGIC: [u8; 4] = [b'N', b'G', b'C', TYPE_I];

pub(super) const TYPE_I: u8 = 0x81;
pub(super) const TYPE_P: u8 = 0x82;
pub(super) const TYPE_PAIR: u8 = 0x83;
pub(super) const TYPE_SHOW: u8 = 0x84;

/// The frame around a body. All but I units are many and small, so theirs is short.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    /// What the unit starts with; the unit type follows.
    pub marker: &'static [u8],
    /// Bytes of the check at the end: the first of the little-endian CRC-32C.
    pub crc_bytes: usize,
}

pub(super) const LONG: Envelope = Envelope { marker: b"NGC", crc_bytes: 4 };
pub(super) const SHORT: Envelope = Envelope { marker: b"N", crc_bytes: 2 };

impl Envelope {
    /// That of the unit that starts with these bytes, `None` if they are too few to tell.
    fn at(data: &[u8]) -> Option<&'static Self> {
        data.get(SHORT.marker.len()).map(|&next| if is_type(next) { &SHORT } else { &LONG })
    }

    /// The check of the bytes that it covers.
    pub(super) fn check(&self, covered: &[u8]) -> impl Iterator<Item = u8> + use<> {
        crc32c::crc32c(covered).to_le_bytes().into_iter().take(self.crc_bytes)
    }
}

/// Whether a byte is a unit type, reserved ones included.
fn is_type(byte: u8) -> bool {
    byte & 0xf0 == 0x80
}

/// Whether a unit may start at the front of `data`: a whole marker (of short units with the type), or all that there is
/// of one.
pub(super) fn may_start(data: &[u8]) -> bool {
    match data {
        [first, second, ..] if is_type(*second) => [*first] == SHORT.marker,
        _ => LONG.marker.starts_with(&data[..data.len().min(LONG.marker.len())]),
    }
}

/// Shortest possible unit: marker, type, length, header check and CRC around an empty body.
pub(super) const MIN_UNIT_BYTES: usize = SHORT.marker.len() + 1 + 1 + 1 + SHORT.crc_bytes;

/// One whole unit, checked; the payload is borrowed from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedUnit<'a> {
    /// On every unit.
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
    Known(Extent),
    /// No unit starts here.
    Invalid(Error),
}

/// Kind and extent of a unit.
pub(super) struct Extent {
    envelope: &'static Envelope,
    unit_type: u8,
    /// Where the body starts.
    body: usize,
    /// Bytes of the whole unit.
    pub total: usize,
}

impl Extent {
    /// Whether the check at the end of the whole unit fits.
    pub fn check_fits(&self, unit: &[u8]) -> bool {
        let (covered, check) = unit.split_at(self.total - self.envelope.crc_bytes);
        self.envelope.check(covered).eq(check.iter().copied())
    }

    /// Reads the body of the whole unit, whose check fits.
    pub fn parse_body<'a>(&self, unit: &'a [u8], limits: &Limits) -> Result<ParsedUnit<'a>> {
        let frame_type = match (self.envelope, self.unit_type) {
            (&LONG, TYPE_I) => FrameType::I,
            (&SHORT, TYPE_P) => FrameType::P,
            (&SHORT, TYPE_PAIR) => FrameType::Pair,
            (&SHORT, TYPE_SHOW) => FrameType::Show,
            (_, other) => {
                return Err(Error::Unsupported(format!("unit type {other:#04x}: update this decoder")));
            }
        };
        let mut reader = Reader::new(&unit[self.body..self.total - self.envelope.crc_bytes]);
        let header = FrameHeader::read(&mut reader, frame_type)?;
        let sequence = match frame_type {
            FrameType::I => Some(SequenceHeader::read(&mut reader, limits)?),
            _ => None,
        };
        Ok(ParsedUnit { header, sequence, payload: reader.rest() })
    }
}

/// Reads type, length and header check at the front of `data`, where a unit [may start](may_start).
pub(super) fn framing(data: &[u8], limits: &Limits) -> Framing {
    let Some(envelope) = Envelope::at(data) else {
        return Framing::NeedMore(MIN_UNIT_BYTES);
    };
    let type_at = envelope.marker.len();
    let Some(&unit_type) = data.get(type_at) else {
        return Framing::NeedMore(MIN_UNIT_BYTES);
    };
    if !is_type(unit_type) {
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
        return Framing::Invalid(Error::Corrupt("the check of the unit's type and length does not match".into()));
    }
    let body = check_at + 1;
    let total = body as u64 + u64::from(body_bytes) + envelope.crc_bytes as u64;
    if let Err(error) = limits.check_unit_bytes(total) {
        return Framing::Invalid(error);
    }
    // The limit is a usize, so the total fits.
    Framing::Known(Extent { envelope, unit_type, body, total: total as usize })
}

/// CRC-8 with polynomial x^8 + x^2 + x + 1, starting at 0, not reflected. Finds any single burst of up to 8 bits.
pub(super) fn crc8(data: &[u8]) -> u8 {
    data.iter().fold(0, |crc, byte| (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 != 0 { (crc << 1) ^ 0x07 } else { crc << 1 }))
}

/// Parses exactly one unit.
///
/// # Errors
/// [`Error::Corrupt`] if `data` is not one whole undamaged unit, [`Error::Unsupported`] if it is of a newer version,
/// [`Error::Limit`] if the unit or the video is larger than `limits` allow.
pub fn parse_unit<'a>(data: &'a [u8], limits: &Limits) -> Result<ParsedUnit<'a>> {
    limits.check_unit_bytes(data.len() as u64)?;
    if !may_start(data) {
        return Err(Error::Corrupt("no unit starts here: the sync marker is missing".into()));
    }
    let cut_off = |needed| Error::Corrupt(format!("the unit is cut off: {} of {needed} bytes are there", data.len()));
    let extent = match framing(data, limits) {
        Framing::NeedMore(bytes) => return Err(cut_off(bytes)),
        Framing::Invalid(error) => return Err(error),
        Framing::Known(extent) => extent,
    };
    if data.len() < extent.total {
        return Err(cut_off(extent.total));
    }
    if data.len() > extent.total {
        return Err(Error::Corrupt(format!("{} bytes follow the unit", data.len() - extent.total)));
    }
    if !extent.check_fits(data) {
        return Err(Error::Corrupt(CRC_MISMATCH.into()));
    }
    extent.parse_body(data, limits)
}

/// Whether a unit, of which the first four bytes suffice, is a keyframe. Nothing is checked.
pub fn is_keyframe(unit: &[u8]) -> bool {
    unit.starts_with(&MAGIC)
}

/// Bytes that [`framing`] may need before it knows the extent of a unit.
pub(super) const FRAMING_MAX_BYTES: usize = LONG.marker.len() + 1 + VARINT_MAX_BYTES + 1;

pub(super) const CRC_MISMATCH: &str = "the unit's CRC-32C does not match";

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
        for start in [&[b'N', b'G', b'C', TYPE_I, 0xff, 0xff, 0xff, 0x07][..], &[b'N', TYPE_P, 0xff, 0xff, 0xff, 0x07]] {
            for length in 0..=start.len() {
                assert!(may_start(&start[..length]));
                match framing(&start[..length], &Limits::default()) {
                    Framing::NeedMore(bytes) => {
                        assert!(bytes > length && bytes <= FRAMING_MAX_BYTES.max(MIN_UNIT_BYTES))
                    }
                    _ => panic!("{length} bytes cannot be enough"),
                }
            }
        }
    }

    #[test]
    fn only_markers_and_their_beginnings_may_start_a_unit() {
        for data in [&b""[..], b"N", b"NG", b"NGC", b"NGC\x81", b"NGCx", b"N\x82", b"N\x8f\x00"] {
            assert!(may_start(data), "{data:02x?}");
        }
        for data in [&b"G"[..], b"Nx", b"N\x92", b"NGx", b"NG\x81", b"x\x82", b"\x82"] {
            assert!(!may_start(data), "{data:02x?}");
        }
    }
}
