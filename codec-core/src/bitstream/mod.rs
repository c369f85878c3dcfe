//! Syntax of the stream: units, headers and the synchronised parameters of the decoder.
//!
//! In: bytes of a stream. Out: headers, and payloads that `entropy` reads; and the way back. `docs/bitstream.md` is the specification; this
//! module is its only reader and writer of headers.

mod codes;
mod header;
mod reader;
mod shift;
mod sync;
mod unit;
mod varint;
mod video_info;
mod writer;

pub use codes::{ChromaSite, ColorRange, Interlacing};
pub use header::{BITSTREAM_VERSION, FieldFlags, FrameHeader, FrameType, MODEL_ID_BYTES, Profile, QUALITY_MAX, SequenceHeader};
pub(crate) use shift::prior_cells;
pub use shift::shift;
pub use sync::{Scan, UnitSummary, scan};
pub use unit::{MAGIC, ParsedUnit, is_keyframe, parse_unit};
pub use video_info::{ColorInfo, ContentLight, MasteringDisplay, VideoInfo};
pub use writer::write_unit;
