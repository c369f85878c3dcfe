//! Description of the video that a stream carries.

use super::codes::{ChromaSite, ColorRange, Interlacing};
use crate::frame::pad::CODED_MULTIPLE;
use crate::{Error, Result};

/// Size, timing and colour of a video. All of it is carried in-band by every keyframe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoInfo {
    /// Display width in luma samples, at least 1.
    pub width: u32,
    /// Display height in luma samples, at least 1.
    pub height: u32,
    /// Frames per second as a fraction, 0/1 if unknown or variable.
    pub framerate: (u32, u32),
    /// Width of a sample over its height.
    pub par: (u32, u32),
    /// What the samples mean.
    pub color: ColorInfo,
    /// Where chroma samples lie.
    pub chroma_site: ChromaSite,
    /// How frames are made of fields.
    pub interlacing: Interlacing,
    /// HDR: the display that the video was made on.
    pub mastering_display: Option<MasteringDisplay>,
    /// HDR: how bright the video is.
    pub content_light: Option<ContentLight>,
}

impl Default for VideoInfo {
    /// Square samples and nothing else known. Width and height are 0 and must be set.
    fn default() -> Self {
        Self {
            width: 0,
            height: 0,
            framerate: (0, 1),
            par: (1, 1),
            color: ColorInfo::default(),
            chroma_site: ChromaSite::default(),
            interlacing: Interlacing::default(),
            mastering_display: None,
            content_light: None,
        }
    }
}

/// Largest term of a fraction: what signed 32-bit fractions of media frameworks hold.
const FRACTION_MAX: u32 = i32::MAX as u32;

impl VideoInfo {
    /// Visible luma size, (width, height).
    pub fn display_size(&self) -> (usize, usize) {
        (self.width as usize, self.height as usize)
    }

    /// Both sides padded up to a multiple of 64: the size that the networks see, (width, height).
    pub fn coded_size(&self) -> (u64, u64) {
        let pad = |side: u32| u64::from(side).next_multiple_of(CODED_MULTIPLE as u64);
        (pad(self.width), pad(self.height))
    }

    /// Checks what the syntax demands of the values.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] naming the field, its value and its range.
    pub fn validate(&self) -> Result<()> {
        self.check().map_err(Error::InvalidConfig)
    }

    /// As [`Self::validate`], the error being its message.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        let invalid = |field: &str, value: String, range: &str| Err(format!("{field} is {value}, it must be {range}"));
        if self.width == 0 || self.height == 0 {
            let value = format!("{}x{}", self.width, self.height);
            return invalid("the video size", value, "at least 1x1");
        }
        let (n, d) = self.framerate;
        if n > FRACTION_MAX || !(1..=FRACTION_MAX).contains(&d) {
            let range = "0/1 or a fraction of numbers below 2^31";
            return invalid("the frame rate", format!("{n}/{d}"), range);
        }
        let (n, d) = self.par;
        if !(1..=FRACTION_MAX).contains(&n) || !(1..=FRACTION_MAX).contains(&d) {
            let range = "a fraction of numbers from 1 to 2^31 - 1";
            return invalid("the pixel aspect ratio", format!("{n}/{d}"), range);
        }
        Ok(())
    }
}

/// Colorimetry in the codes of ISO/IEC 23091-2 (ITU-T H.273); 2 means unspecified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColorInfo {
    /// Which values stand for black and white.
    pub range: ColorRange,
    /// MatrixCoefficients.
    pub matrix: u8,
    /// TransferCharacteristics.
    pub transfer: u8,
    /// ColourPrimaries.
    pub primaries: u8,
}

impl Default for ColorInfo {
    fn default() -> Self {
        Self { range: ColorRange::default(), matrix: 2, transfer: 2, primaries: 2 }
    }
}

/// Mastering display colour volume (SMPTE ST 2086).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasteringDisplay {
    /// CIE 1931 (x, y) of red, green and blue in units of 0.00002.
    pub primaries: [(u16, u16); 3],
    /// CIE 1931 (x, y) of white in units of 0.00002.
    pub white_point: (u16, u16),
    /// Largest luminance in units of 0.0001 cd/m2.
    pub max_luminance: u32,
    /// Smallest luminance in units of 0.0001 cd/m2.
    pub min_luminance: u32,
}

/// Content light level (CTA-861.3), cd/m2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentLight {
    /// Largest luminance of any sample.
    pub max_content: u16,
    /// Largest frame-average luminance.
    pub max_frame_average: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(change: fn(&mut VideoInfo)) -> String {
        let mut video = VideoInfo { width: 640, height: 360, ..VideoInfo::default() };
        video.validate().unwrap();
        change(&mut video);
        match video.validate() {
            Err(Error::InvalidConfig(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn messages_name_the_field_and_its_value() {
        assert!(problem(|v| v.width = 0).contains("size is 0x360"));
        assert!(problem(|v| v.height = 0).contains("size is 640x0"));
        assert!(problem(|v| v.framerate = (30, 0)).contains("frame rate is 30/0"));
        assert!(problem(|v| v.framerate = (1 << 31, 1)).contains("frame rate is 2147483648/1"));
        assert!(problem(|v| v.par = (0, 1)).contains("aspect ratio is 0/1"));
        assert!(problem(|v| v.par = (1, 0)).contains("aspect ratio is 1/0"));
    }

    #[test]
    fn coded_size_is_a_multiple_of_64() {
        let size = |width, height| VideoInfo { width, height, ..VideoInfo::default() }.coded_size();
        assert_eq!(size(640, 360), (640, 384));
        assert_eq!(size(1, 65), (64, 128));
        assert_eq!(size(u32::MAX, 1920), (1 << 32, 1920));
    }
}
