//! Measurement of models on clips: real bitstreams, decoded, against the originals and against classical encoders.

#[cfg(feature = "gstreamer")]
mod anchors;
#[cfg(feature = "gstreamer")]
mod bd;
mod codec;
#[cfg(feature = "gstreamer")]
mod command;
#[cfg(feature = "gstreamer")]
mod comparison;
mod fidelity;
mod held_out;
mod msssim;
#[cfg(feature = "gstreamer")]
mod plot;
#[cfg(feature = "gstreamer")]
mod report;
mod score;
mod tensors;

use codec_core::frame::Frame;

#[cfg(feature = "gstreamer")]
pub use command::{EvalArgs, run};
pub use held_out::{ScoreArgs, run as score_held_out};
use score::Measurement;

/// A clip that counts as the original.
pub struct Clip {
    pub name: String,
    pub width: usize,
    pub height: usize,
    pub frames: Vec<Frame>,
}

/// What a codec made of a clip.
pub struct Coded {
    pub bytes: u64,
    pub frames: Vec<Frame>,
    /// Frames per second, where they were measured.
    pub encode_fps: Option<f64>,
    pub decode_fps: Option<f64>,
}

/// A codec at one setting.
pub struct Run {
    /// `ngc`, a model's name, or an encoder's name.
    pub codec: String,
    /// Quality index or quantiser.
    pub setting: u32,
    /// Whether classical encoders are compared against, or compared.
    pub anchor: bool,
}

/// A frame of I420 without gaps; both sides are even.
fn planar(data: &[u8], width: usize, height: usize) -> Frame {
    let mut frame = Frame::new(width, height);
    let mut rest = data;
    for plane in frame.planes_mut() {
        for row in 0..plane.height {
            let (line, after) = rest.split_at(plane.width);
            plane.row_mut(row).copy_from_slice(line);
            rest = after;
        }
    }
    frame
}

impl Measurement {
    /// Bits per luma sample.
    pub fn bpp(coded: &Coded, clip: &Clip) -> f64 {
        8.0 * coded.bytes as f64 / (clip.width * clip.height * clip.frames.len()) as f64
    }
}
