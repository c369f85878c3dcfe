//! Frame header and sequence header.

use serde::{Deserialize, Serialize};

use super::codes::Code;
use super::reader::Reader;
use super::varint::put_varint;
use super::video_info::{ColorInfo, ContentLight, MasteringDisplay, VideoInfo};
use crate::{Error, Limits, Result};

/// Version of syntax and decoding process that this build writes and reads.
pub const BITSTREAM_VERSION: u8 = 6;
/// Bytes of the model file's SHA-256 that a stream carries.
pub const MODEL_ID_BYTES: usize = 16;
/// Worst quality index; 0 is the best.
pub const QUALITY_MAX: u8 = 63;

/// In the quality byte of a P-frame: the residual's quality index follows the frame number.
const RESIDUAL_QUALITY_FLAG: u8 = 0x40;
/// In the quality byte of any frame: its field flags follow, last in the header.
const FIELDS_FLAG: u8 = 0x80;
const SHIFT_FLAG: u8 = 0x10;
const PROFILE_MASK: u8 = 0x0f;

const TLV_MASTERING_DISPLAY: u8 = 1;
const TLV_CONTENT_LIGHT: u8 = 2;
const TLV_DETAIL: u8 = TLV_MUST_UNDERSTAND | 1;
/// Types with this bit set change how frames decode, so a decoder that does not know them must refuse.
const TLV_MUST_UNDERSTAND: u8 = 0x80;

/// How a frame is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameType {
    /// By itself, with a sequence header: decoding can start here.
    I,
    /// From the frame before.
    P,
    /// Two frames: a P-frame that is not shown yet, and the B-frame before it in display order, predicted from it and from the frame
    /// before.
    Pair,
    /// Shows the P-frame that came with the pair before; it has no payload.
    Show,
}

impl FrameType {
    /// Whether a residual is coded, which may have a quality of its own.
    fn has_residual(self) -> bool {
        matches!(self, Self::P | Self::Pair)
    }
}

/// How a frame is made of fields, for video whose interlacing differs from frame to frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldFlags {
    /// Its lines are of two fields.
    pub interlaced: bool,
    /// The top field is shown first; of one field: it is the top one.
    pub top_first: bool,
    /// The first field is shown once more.
    pub repeat_first: bool,
    /// The frame holds one field only.
    pub one_field: bool,
}

impl FieldFlags {
    /// As the bits 0 to 3 of a byte.
    fn bits(self) -> u8 {
        let flags = [self.interlaced, self.top_first, self.repeat_first, self.one_field];
        flags.into_iter().enumerate().fold(0, |bits, (i, flag)| bits | u8::from(flag) << i)
    }

    /// `None` if a bit is set that has no meaning.
    fn from_bits(bits: u8) -> Option<Self> {
        let flag = |i: u8| bits >> i & 1 == 1;
        let flags = Self { interlaced: flag(0), top_first: flag(1), repeat_first: flag(2), one_field: flag(3) };
        (bits < 16).then_some(flags)
    }
}

/// Header of every frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// How the frame is coded.
    pub frame_type: FrameType,
    /// Quality index `0..=63`, lower is better.
    pub quality: u8,
    /// Quality index of a P-frame's residual latent; the same as `quality` where rate control did not have to quantise it
    /// again. Always the same in I-frames and where a frame is only shown.
    pub residual_quality: u8,
    /// Quality index of a pair's B-frame; the other two are its P-frame's. 0 in all other frames.
    pub b_quality: u8,
    /// Position in display order; of a pair, that of its B-frame. I units carry all 32 bits, all others the low 16: a parsed header of
    /// those holds no more, see [`Self::number_after`].
    pub frame_number: u32,
    /// Describe the picture; decoding does not use them.
    pub fields: FieldFlags,
}

impl FrameHeader {
    /// A frame with one quality index.
    pub fn new(frame_type: FrameType, quality: u8, frame_number: u32) -> Self {
        Self { frame_type, quality, residual_quality: quality, b_quality: 0, frame_number, fields: FieldFlags::default() }
    }

    /// Whether decoding can start here.
    pub fn is_keyframe(&self) -> bool {
        self.frame_type == FrameType::I
    }

    /// The complete number of this frame if it may be decoded from frame `previous`, which is the one decoded last.
    ///
    /// `None` means that frames between the two are lost, so that the reference of this frame is not there.
    pub fn number_after(&self, previous: u32) -> Option<u32> {
        match self.frame_type {
            FrameType::I => Some(self.frame_number),
            FrameType::P | FrameType::Pair | FrameType::Show => {
                let next = previous.wrapping_add(1);
                ((next ^ self.frame_number) & 0xffff == 0).then_some(next)
            }
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<()> {
        for quality in [self.quality, self.residual_quality, self.b_quality] {
            if quality > QUALITY_MAX {
                return Err(Error::InvalidConfig(format!("the quality index is {quality}, it must be in 0..={QUALITY_MAX}")));
            }
        }
        let apart = self.residual_quality != self.quality;
        if apart && !self.frame_type.has_residual() {
            return Err(Error::InvalidConfig("a frame without residual has no residual quality of its own".into()));
        }
        if self.b_quality != 0 && self.frame_type != FrameType::Pair {
            return Err(Error::InvalidConfig("only a pair has a B-frame, which has a quality".into()));
        }
        let fields = self.fields.bits();
        let flags = if apart { RESIDUAL_QUALITY_FLAG } else { 0 } | if fields != 0 { FIELDS_FLAG } else { 0 };
        out.push(self.quality | flags);
        match self.frame_type {
            FrameType::I => out.extend(self.frame_number.to_le_bytes()),
            _ => out.extend((self.frame_number as u16).to_le_bytes()),
        }
        if apart {
            out.push(self.residual_quality);
        }
        if self.frame_type == FrameType::Pair {
            out.push(self.b_quality);
        }
        if fields != 0 {
            out.push(fields);
        }
        Ok(())
    }

    pub(super) fn read(reader: &mut Reader, frame_type: FrameType) -> Result<Self> {
        let flags = reader.u8("the quality index")?;
        let known = QUALITY_MAX | FIELDS_FLAG | if frame_type.has_residual() { RESIDUAL_QUALITY_FLAG } else { 0 };
        let newer =
            |bits: u8| Error::Unsupported(format!("frame flags {bits:#04x}: made by a newer encoder, update this decoder"));
        if flags & !known != 0 {
            return Err(newer(flags & !known));
        }
        let quality = flags & QUALITY_MAX;
        let frame_number = match frame_type {
            FrameType::I => reader.u32("the frame number")?,
            _ => reader.u16("the frame number")?.into(),
        };
        let mut another = |what: &str| match reader.u8(what)? {
            index if index > QUALITY_MAX => Err(newer(index & !QUALITY_MAX)),
            index => Ok(index),
        };
        let residual_quality =
            if flags & RESIDUAL_QUALITY_FLAG == 0 { quality } else { another("the residual's quality index")? };
        let b_quality = if frame_type == FrameType::Pair { another("the B-frame's quality index")? } else { 0 };
        let fields = match flags & FIELDS_FLAG {
            0 => FieldFlags::default(),
            _ => {
                let bits = reader.u8("the field flags")?;
                FieldFlags::from_bits(bits).ok_or_else(|| newer(bits))?
            }
        };
        Ok(Self { frame_type, quality, residual_quality, b_quality, frame_number, fields })
    }
}

/// Network family of a model. The discriminant is the code in the sequence header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Strided convolutions at full width, as in the article.
    Paper = 0,
    /// Depthwise-separable blocks on space-to-depth frames: real time on a CPU.
    Rt = 1,
}

/// What a decoder must know to start at a keyframe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceHeader {
    /// First bytes of the SHA-256 of the model file. A decoder with another model must refuse.
    pub model_id: [u8; MODEL_ID_BYTES],
    /// Which networks the model is made of.
    pub profile: Profile,
    /// Seed of the circular shifts of P-frames, `None` if P-frames are not shifted.
    pub random_shift: Option<u32>,
    /// Where the synthesis transforms lie between the faithful (0) and the detailed (255) ones of the model.
    pub detail: u8,
    /// Size, timing and colour of the video.
    pub video: VideoInfo,
}

impl SequenceHeader {
    /// Shift (dy, dx) of P-frame `frame_number` in luma samples.
    pub fn shift_of(&self, frame_number: u32) -> (i32, i32) {
        self.random_shift.map_or((0, 0), |seed| super::shift(seed, frame_number))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<()> {
        self.video.validate()?;
        let mut fields = vec![BITSTREAM_VERSION];
        fields.extend(self.model_id);
        fields.push(self.profile as u8 | if self.random_shift.is_some() { SHIFT_FLAG } else { 0 });
        if let Some(seed) = self.random_shift {
            fields.extend(seed.to_le_bytes());
        }
        let v = &self.video;
        for value in [v.width, v.height, v.framerate.0, v.framerate.1, v.par.0, v.par.1] {
            put_varint(&mut fields, value);
        }
        let c = &v.color;
        fields.extend([c.range as u8, c.primaries, c.transfer, c.matrix, v.chroma_site as u8, v.interlacing as u8]);
        if let Some(display) = &v.mastering_display {
            put_tlv(&mut fields, TLV_MASTERING_DISPLAY, &mastering_display_bytes(display));
        }
        if let Some(light) = &v.content_light {
            let [a, b] = light.max_content.to_le_bytes();
            let [c, d] = light.max_frame_average.to_le_bytes();
            put_tlv(&mut fields, TLV_CONTENT_LIGHT, &[a, b, c, d]);
        }
        if self.detail != 0 {
            put_tlv(&mut fields, TLV_DETAIL, &[self.detail]);
        }
        put_varint(out, fields.len() as u32);
        out.extend(fields);
        Ok(())
    }

    /// Reads the header with its length from the front of `unit`.
    pub(super) fn read(unit: &mut Reader, limits: &Limits) -> Result<Self> {
        let length = unit.varint("the length of the sequence header")?;
        let mut r = Reader::new(unit.bytes(length as usize, "the sequence header")?);
        let version = r.u8("the version")?;
        if version != BITSTREAM_VERSION {
            let cure = if version > BITSTREAM_VERSION { "update this decoder" } else { "take the release that wrote it" };
            return Err(Error::Unsupported(format!(
                "bitstream version {version}, this build reads version {BITSTREAM_VERSION}: {cure}"
            )));
        }
        let model_id = r.array("the model id")?;
        let flags = r.u8("the profile")?;
        let profile = match flags & PROFILE_MASK {
            0 => Profile::Paper,
            1 => Profile::Rt,
            other => {
                return Err(Error::Unsupported(format!("profile {other}: update this decoder")));
            }
        };
        if flags & !(PROFILE_MASK | SHIFT_FLAG) != 0 {
            return Err(Error::Unsupported(format!("sequence flags {flags:#04x}: update this decoder")));
        }
        let random_shift = if flags & SHIFT_FLAG != 0 { Some(r.u32("the shift seed")?) } else { None };
        let mut video = VideoInfo {
            width: r.varint("the width")?,
            height: r.varint("the height")?,
            framerate: (r.varint("the frame rate")?, r.varint("the frame rate")?),
            par: (r.varint("the pixel aspect ratio")?, r.varint("the pixel aspect ratio")?),
            ..VideoInfo::default()
        };
        limits.check_size(video.width, video.height)?;
        let [range, primaries, transfer, matrix] = r.array("the colorimetry")?;
        video.color = ColorInfo { range: decoded(range)?, matrix, transfer, primaries };
        video.chroma_site = decoded(r.u8("the chroma site")?)?;
        video.interlacing = decoded(r.u8("the interlace mode")?)?;
        // The CRC fits, so this is no damage.
        video.check().map_err(|e| Error::Unsupported(format!("sequence header: {e}")))?;
        let detail = read_tlvs(&mut r, &mut video)?;
        Ok(Self { model_id, profile, random_shift, detail, video })
    }
}

/// What a code stands for.
///
/// # Errors
/// [`Error::Unsupported`] for one that has no meaning: the CRC fits, so it is no damage.
fn decoded<T: Code>(code: u8) -> Result<T> {
    let unknown = || format!("sequence header: {} is {code}, it must be in 0..={}", T::NAME, T::ALL.len() - 1);
    T::from_code(code).ok_or_else(|| Error::Unsupported(unknown()))
}

fn put_tlv(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    out.push(kind);
    put_varint(out, value.len() as u32);
    out.extend(value);
}

fn mastering_display_bytes(display: &MasteringDisplay) -> Vec<u8> {
    let [red, green, blue] = display.primaries;
    let mut out = Vec::with_capacity(24);
    for (x, y) in [red, green, blue, display.white_point] {
        out.extend(x.to_le_bytes());
        out.extend(y.to_le_bytes());
    }
    out.extend(display.max_luminance.to_le_bytes());
    out.extend(display.min_luminance.to_le_bytes());
    out
}

/// Reads the extensions: those of the video into `video`, and the detail, 0 if there is none.
fn read_tlvs(r: &mut Reader, video: &mut VideoInfo) -> Result<u8> {
    let mut detail = None;
    while !r.is_empty() {
        let kind = r.u8("an extension")?;
        let length = r.varint("the length of an extension")?;
        let mut value = Reader::new(r.bytes(length as usize, "an extension")?);
        let repeated = match kind {
            TLV_MASTERING_DISPLAY => video.mastering_display.replace(read_mastering_display(&mut value)?).is_some(),
            TLV_CONTENT_LIGHT => {
                let light = ContentLight {
                    max_content: value.u16("the content light level")?,
                    max_frame_average: value.u16("the content light level")?,
                };
                video.content_light.replace(light).is_some()
            }
            TLV_DETAIL => detail.replace(value.u8("the detail")?).is_some(),
            _ if kind & TLV_MUST_UNDERSTAND != 0 => {
                return Err(Error::Unsupported(format!("extension {kind}: update this decoder")));
            }
            _ => continue,
        };
        if repeated {
            return Err(Error::Corrupt(format!("extension {kind} occurs twice")));
        }
        if !value.is_empty() {
            return Err(Error::Corrupt(format!("extension {kind} is too long")));
        }
    }
    Ok(detail.unwrap_or(0))
}

fn read_mastering_display(value: &mut Reader) -> Result<MasteringDisplay> {
    const FIELD: &str = "the mastering display";
    let mut point = || -> Result<(u16, u16)> { Ok((value.u16(FIELD)?, value.u16(FIELD)?)) };
    Ok(MasteringDisplay {
        primaries: [point()?, point()?, point()?],
        white_point: point()?,
        max_luminance: value.u32(FIELD)?,
        min_luminance: value.u32(FIELD)?,
    })
}
