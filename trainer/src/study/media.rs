//! Clips as browsers play them: VP8 at its finest quantisers in WebM, inlined.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use gst::prelude::*;

use crate::data::{ScalePolicy, decode_clip};

/// At most so fine a quantiser is used (0 of 63 to this): differences between methods must survive, not the file's size.
const WORST_QUANTISER: i32 = 4;

/// The first `frames` frames of a clip as a `data:` URI.
///
/// # Errors
/// Naming the file, or the element that GStreamer lacks.
pub fn data_uri(path: &Path, frames: usize, fps: f64) -> Result<String> {
    let policy = ScalePolicy { short_side: usize::MAX, halve: false, floor: 2 };
    let clip = decode_clip(path, policy, frames)?;
    let bytes = webm(&clip.frames, clip.size.width, clip.size.height, fps).with_context(|| path.display().to_string())?;
    Ok(format!("data:video/webm;base64,{}", base64::engine::general_purpose::STANDARD.encode(bytes)))
}

fn webm(frames: &[Vec<u8>], width: usize, height: usize, fps: f64) -> Result<Vec<u8>> {
    let pipeline = gst::parse::launch(&format!(
        "appsrc name=in format=time ! videoconvert ! vp8enc deadline=0 cpu-used=4 end-usage=vbr target-bitrate=60000000 \
         min-quantizer=0 max-quantizer={WORST_QUANTISER} keyframe-max-dist=9999 ! webmmux ! appsink name=out sync=false"
    ))?
    .downcast::<gst::Pipeline>()
    .map_err(|_| anyhow!("not a pipeline"))?;
    let result = run(&pipeline, frames, (width, height), fps);
    let _ = pipeline.set_state(gst::State::Null);
    result
}

fn run(pipeline: &gst::Pipeline, frames: &[Vec<u8>], (width, height): (usize, usize), fps: f64) -> Result<Vec<u8>> {
    let named = |name: &str| pipeline.by_name(name).with_context(|| format!("no element {name}"));
    let source = named("in")?.downcast::<gst_app::AppSrc>().map_err(|_| anyhow!("not an appsrc"))?;
    let sink = named("out")?.downcast::<gst_app::AppSink>().map_err(|_| anyhow!("not an appsink"))?;
    let rate = gst::Fraction::approximate_f64(fps).context("the frame rate")?;
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, width as u32, height as u32).fps(rate).build()?;
    source.set_caps(Some(&info.to_caps()?));
    source.set_max_bytes(0);
    pipeline.set_state(gst::State::Playing)?;
    for (i, frame) in frames.iter().enumerate() {
        let mut buffer = gst::Buffer::from_mut_slice(padded(frame, width, height, &info));
        let target = buffer.get_mut().context("a new buffer")?;
        let time = |i: usize| gst::ClockTime::from_nseconds((i as f64 * 1e9 / fps).round() as u64);
        target.set_pts(time(i));
        target.set_duration(time(i + 1) - time(i));
        source.push_buffer(buffer)?;
    }
    source.end_of_stream()?;
    let mut bytes = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let buffer = sample.buffer().context("a sample without buffer")?;
        // The muxer goes back to fill in the duration at the end.
        let at = usize::try_from(buffer.offset()).unwrap_or(bytes.len());
        let at = if buffer.offset() == u64::MAX { bytes.len() } else { at };
        let data = buffer.map_readable()?;
        if at > bytes.len() {
            bail!("the muxer left a gap");
        }
        let overwritten = data.len().min(bytes.len() - at);
        bytes[at..at + overwritten].copy_from_slice(&data[..overwritten]);
        bytes.extend_from_slice(&data[overwritten..]);
    }
    if let Some(message) = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]))
        && let gst::MessageView::Error(error) = message.view()
    {
        bail!("{}", error.error());
    }
    Ok(bytes)
}

/// I420 with GStreamer's strides from I420 without gaps.
fn padded(frame: &[u8], width: usize, height: usize, info: &gst_video::VideoInfo) -> Vec<u8> {
    let mut out = vec![0; info.size()];
    let mut rest = frame;
    for (plane, (w, h)) in [(width, height), (width / 2, height / 2), (width / 2, height / 2)].into_iter().enumerate() {
        for row in 0..h {
            let (line, after) = rest.split_at(w);
            out[info.offset()[plane] + row * info.stride()[plane] as usize..][..w].copy_from_slice(line);
            rest = after;
        }
    }
    out
}
