//! NGC: a GAN-trained neural video codec.
//!
//! An [`Encoder`] turns each frame into a [`Packet`] at once, a [`Decoder`] each packet's unit into a [`Picture`]. A [`Lookahead`] in front
//! of the encoder holds frames back, for fewer bits at equal quality. The [`bitstream`] module finds and describes units without decoding
//! them. A model is built in, and all arithmetic is on integers: a stream decodes to the same
//! pictures on every machine.
//!
//! # Encode a y4m file
//!
//! ```
//! use codec_core::bitstream::VideoInfo;
//! use codec_core::frame::{FrameView, PlaneView};
//! use codec_core::{Encoder, EncoderConfig, FrameOptions};
//!
//! /// Encodes 4:2:0 video of 8 bits. Keyframes carry all that a decoder needs, so packets one after the other are the stream.
//! fn encode(y4m: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
//!     let end = y4m.iter().position(|&byte| byte == b'\n').ok_or("no header")?;
//!     let (header, mut rest) = (std::str::from_utf8(&y4m[..end])?, &y4m[end..]);
//!     let field = |name| header.split(' ').find_map(|field| field.strip_prefix(name)).ok_or("a field is missing");
//!     let (width, height): (usize, usize) = (field('W')?.parse()?, field('H')?.parse()?);
//!     let (chroma_width, chroma_height) = codec_core::frame::chroma_size(width, height);
//!
//!     let video = VideoInfo { width: width as u32, height: height as u32, ..VideoInfo::default() };
//!     let mut encoder = Encoder::new(EncoderConfig { quality: 38, ..EncoderConfig::new(video) })?;
//!     let mut stream = Vec::new();
//!     while let Some(mut samples) = rest.strip_prefix(b"\nFRAME\n").or(rest.strip_prefix(b"FRAME\n")) {
//!         let mut plane = |stride, rows| {
//!             let (data, rest) = samples.split_at_checked(stride * rows).ok_or("the file is cut off")?;
//!             samples = rest;
//!             Ok::<_, &str>(PlaneView { data, stride, pixel_stride: 1 })
//!         };
//!         let luma = plane(width, height)?;
//!         let (u, v) = (plane(chroma_width, chroma_height)?, plane(chroma_width, chroma_height)?);
//!         let packet = encoder.encode(&FrameView::new(width, height, luma, u, v)?, FrameOptions::default())?;
//!         stream.extend(packet.data);
//!         rest = samples;
//!     }
//!     Ok(stream)
//! }
//!
//! let mut y4m = b"YUV4MPEG2 W64 H48 F25:1 C420jpeg\n".to_vec();
//! for grey in [90, 110] {
//!     y4m.extend(b"FRAME\n");
//!     y4m.extend([grey; 64 * 48 + 2 * 32 * 24]);
//! }
//! assert!(encode(&y4m)?.len() < 250);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Decode and inspect a stream
//!
//! ```
//! use codec_core::bitstream::{Scan, scan};
//! use codec_core::{Concealment, Decoder, DecoderConfig, Error, Limits};
//! # use codec_core::bitstream::VideoInfo;
//! # use codec_core::{Encoder, EncoderConfig, FrameOptions, frame::Frame};
//! # let video = VideoInfo { width: 64, height: 48, ..VideoInfo::default() };
//! # let mut encoder = Encoder::new(EncoderConfig::new(video))?;
//! # let mut stream = Vec::new();
//! # for _ in 0..3 {
//! #     stream.extend(encoder.encode(&Frame::new(64, 48).view(), FrameOptions::default())?.data);
//! # }
//!
//! let mut decoder = Decoder::new(DecoderConfig::default())?;
//! let limits = Limits::default();
//! let (mut rest, mut shown) = (stream.as_slice(), 0);
//! while !rest.is_empty() {
//!     match scan(rest, &limits) {
//!         Scan::Unit { len, summary } => {
//!             println!("frame {}, quality {}, {len} bytes", summary.header.frame_number, summary.header.quality);
//!             let picture = match decoder.decode(&rest[..len]) {
//!                 Ok(picture) => Some(picture),
//!                 // Something stands in until the next keyframe.
//!                 Err(error) if error.is_damage() => decoder.conceal(Concealment::Freeze)?,
//!                 Err(error) => return Err(error.into()),
//!             };
//!             if let Some(picture) = picture {
//!                 assert_eq!(picture.to_frame().width(), 64);
//!                 shown += 1;
//!             }
//!             rest = &rest[len..];
//!         }
//!         Scan::Skip { bytes, reason } => {
//!             eprintln!("{bytes} bytes skipped: {}", reason.map_or("no unit".into(), |error: Error| error.to_string()));
//!             rest = &rest[bytes..];
//!         }
//!         // The stream ends within a unit.
//!         Scan::NeedMore(_) => rest = &rest[1..],
//!     }
//! }
//! assert_eq!(shown, 3);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! - `torch`: models of the `paper` profile and GPUs, on libtorch.
//! - `training`: the module `training`, through which the trainer, benchmarks and tests reach networks and kernels. It has no stable
//!   interface.
//!
//! # Inside
//!
//! Data flows one way: a frame goes through the networks (`rt`) to integers, which `entropy` codes exactly, into the units of the
//! [`bitstream`]; decoding goes back the same way. `pipeline` holds all of it together.

#![deny(missing_docs)]
// What only the module `training` hands on is checked for use where that is built.
#![cfg_attr(not(feature = "training"), allow(dead_code, unused_imports))]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read what they look at"))]

mod architecture;
pub mod bitstream;
mod detail;
mod device;
mod entropy;
mod error;
mod flow;
pub mod frame;
mod integer;
mod kernels;
mod limits;
mod lookahead;
mod loopfilter;
mod model;
mod motion;
#[cfg(feature = "torch")]
mod nn;
mod pipeline;
mod quality;
mod rate;
mod rt;
mod scene;
mod threads;
#[cfg(feature = "training")]
pub mod training;

pub use device::DeviceSpec;
pub use error::{Error, Result};
pub use limits::Limits;
pub use lookahead::{Foresight, Lookahead, Ready};
pub use model::{Model, ModelId, ModelSource};
pub use pipeline::{
    Concealment, Decoder, DecoderConfig, DetailModel, Encoder, EncoderConfig, FrameOptions, Packet, Picture, Speed,
    estimated_decoding_memory, estimated_memory,
};
pub use quality::{QualityMap, QualityRegion};
pub use rate::RateMode;
pub use threads::{MAX_THREADS, ThreadShortage};
