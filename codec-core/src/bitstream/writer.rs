//! Writing of units.

use super::header::{FrameHeader, FrameType, SequenceHeader};
use super::unit::{FRAMING_MAX_BYTES, LONG, SHORT, TYPE_I, TYPE_P, TYPE_PAIR, TYPE_SHOW, crc8};
use super::varint::put_varint;
use crate::{Error, Result};

/// Writes one unit. I-frames need a sequence header, all others must not have one.
///
/// # Errors
/// [`Error::InvalidConfig`] naming the value that the syntax cannot carry.
pub fn write_unit(header: &FrameHeader, sequence: Option<&SequenceHeader>, payload: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::with_capacity(128);
    header.write(&mut body)?;
    let (envelope, unit_type) = match (header.frame_type, sequence) {
        (FrameType::I, Some(sequence)) => {
            sequence.write(&mut body)?;
            (&LONG, TYPE_I)
        }
        (FrameType::P, None) => (&SHORT, TYPE_P),
        (FrameType::Pair, None) => (&SHORT, TYPE_PAIR),
        (FrameType::Show, None) => (&SHORT, TYPE_SHOW),
        (FrameType::I, None) => {
            return Err(Error::InvalidConfig("an I unit needs a sequence header".into()));
        }
        (_, Some(_)) => {
            return Err(Error::InvalidConfig("only I units have a sequence header".into()));
        }
    };
    let length = u32::try_from(body.len() + payload.len())
        .map_err(|_| Error::InvalidConfig(format!("a payload of {} bytes, a unit has below 2^32", payload.len())))?;

    let mut unit = Vec::with_capacity(FRAMING_MAX_BYTES + length as usize + envelope.crc_bytes);
    unit.extend(envelope.marker);
    unit.push(unit_type);
    put_varint(&mut unit, length);
    unit.push(crc8(&unit[envelope.marker.len()..]));
    unit.extend(body);
    unit.extend(payload);
    unit.extend(envelope.check(&unit));
    Ok(unit)
}
