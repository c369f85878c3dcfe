//! Finding units in a stream that may be damaged.

use super::header::{FrameHeader, SequenceHeader};
use super::unit::{CRC_MISMATCH, Framing, framing, may_start};
use crate::{Error, Limits};

/// Headers of a unit that [`scan`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitSummary {
    /// On every unit.
    pub header: FrameHeader,
    /// On every I unit and only there.
    pub sequence: Option<SequenceHeader>,
}

/// What lies at the front of a buffer.
#[derive(Debug)]
pub enum Scan {
    /// The buffer must hold at least this many bytes, counted from its front: more than it holds now,
    /// and at most [`Limits::max_unit_bytes`] or some ten bytes. At the end of the stream the unit is
    /// cut off, or its length is wrong: drop a byte and scan on, until the buffer is empty.
    NeedMore(usize),
    /// Drop this many bytes, at least one, and scan again.
    Skip {
        /// To be dropped.
        bytes: usize,
        /// `None`: no unit begins in these bytes. Otherwise why the unit at the front is unusable: `Corrupt` (damaged),
        /// `Unsupported` (of a newer version) or `Limit`.
        reason: Option<Error>,
    },
    /// A whole unit with a fitting CRC lies in the first `len` bytes.
    Unit {
        /// Bytes of the unit.
        len: usize,
        /// Its headers.
        summary: UnitSummary,
    },
}

/// Looks for the next unit at the front of `buffer`, a piece of a stream.
///
/// Call it again on what follows the bytes that a result consumed. Allocates nothing that grows with the data.
pub fn scan(buffer: &[u8], limits: &Limits) -> Scan {
    let garbage = next_marker(buffer, 0);
    if garbage > 0 {
        return Scan::Skip { bytes: garbage, reason: None };
    }
    // A damaged unit may have a damaged length: the next unit can start anywhere after its first byte.
    let resync = |reason| Scan::Skip { bytes: next_marker(buffer, 1), reason: Some(reason) };
    let extent = match framing(buffer, limits) {
        Framing::NeedMore(bytes) => return Scan::NeedMore(bytes),
        Framing::Invalid(error) => return resync(error),
        Framing::Known(extent) => extent,
    };
    let Some(unit) = buffer.get(..extent.total) else {
        return Scan::NeedMore(extent.total);
    };
    if !extent.check_fits(unit) {
        return resync(Error::Corrupt(CRC_MISMATCH.into()));
    }
    match extent.parse_body(unit, limits) {
        Ok(parsed) => Scan::Unit { len: extent.total, summary: UnitSummary { header: parsed.header, sequence: parsed.sequence } },
        Err(error) => Scan::Skip { bytes: extent.total, reason: Some(error) },
    }
}

/// Position, from `start` on, of the next marker or of a part of one that the end of `buffer` cuts off; else its end.
fn next_marker(buffer: &[u8], start: usize) -> usize {
    (start..buffer.len()).find(|&i| may_start(&buffer[i..])).unwrap_or(buffer.len())
}
