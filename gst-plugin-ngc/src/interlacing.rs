//! Which fields a frame is made of: the flags of buffers, and those of units.

use codec_core::bitstream::{FieldFlags, parse_unit, write_unit};
use codec_core::{Limits, Result};
use gst_video::VideoBufferFlags;
use gst_video::prelude::*;

/// What the flags of a raw buffer say.
pub fn of(buffer: &gst::BufferRef) -> FieldFlags {
    let flags = buffer.video_flags();
    FieldFlags {
        interlaced: flags.contains(VideoBufferFlags::INTERLACED),
        top_first: flags.contains(VideoBufferFlags::TFF),
        repeat_first: flags.contains(VideoBufferFlags::RFF),
        one_field: flags.contains(VideoBufferFlags::ONEFIELD),
    }
}

/// Sets the flags of a raw buffer.
pub fn put(fields: FieldFlags, buffer: &mut gst::BufferRef) {
    let pairs = [
        (fields.interlaced, VideoBufferFlags::INTERLACED),
        (fields.top_first, VideoBufferFlags::TFF),
        (fields.repeat_first, VideoBufferFlags::RFF),
        (fields.one_field, VideoBufferFlags::ONEFIELD),
    ];
    let flags = pairs.into_iter().filter(|(set, _)| *set).fold(VideoBufferFlags::empty(), |all, (_, flag)| all | flag);
    buffer.set_video_flags(flags);
}

/// The same unit with field flags.
///
/// # Errors
/// If it is no whole unit.
pub fn add(unit: &[u8], fields: FieldFlags) -> Result<Vec<u8>> {
    let mut parsed = parse_unit(unit, &Limits::default())?;
    parsed.header.fields = fields;
    write_unit(&parsed.header, parsed.sequence.as_ref(), parsed.payload)
}

/// Field flags of a unit that has been decoded.
pub fn in_unit(unit: &[u8]) -> FieldFlags {
    parse_unit(unit, &Limits::default()).map(|parsed| parsed.header.fields).unwrap_or_default()
}
