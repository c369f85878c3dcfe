//! Classical encoders through GStreamer, as their users run them: preset medium, one keyframe, no B-frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, anyhow, bail, ensure};
use codec_core::frame::Frame;
use gst::prelude::*;
use gst_video::VideoFrameExt;

use super::{Clip, Coded};

const PAYLOAD_USER_DATA: u8 = 5;

/// A classical encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Anchor {
    X264,
    X265,
}

impl std::fmt::Display for Anchor {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Self::X264 => "x264",
            Self::X265 => "x265",
        })
    }
}

impl Anchor {
    /// Elements that it needs.
    pub fn elements(self) -> [&'static str; 3] {
        match self {
            Self::X264 => ["x264enc", "h264parse", "avdec_h264"],
            Self::X265 => ["x265enc", "h265parse", "avdec_h265"],
        }
    }

    fn pipeline(self, quantiser: u32) -> String {
        let [encoder, parser, decoder] = self.elements();
        let (settings, caps) = match self {
            Self::X264 => (
                format!(
                    "pass=qual quantizer={quantiser} speed-preset=medium bframes=0 key-int-max=9999 option-string=scenecut=0"
                ),
                "video/x-h264",
            ),
            Self::X265 => (
                format!("speed-preset=medium key-int-max=9999 option-string=crf={quantiser}:bframes=0:scenecut=0:open-gop=0"),
                "video/x-h265",
            ),
        };
        format!(
            "appsrc name=in format=time ! {encoder} {settings} ! {caps},stream-format=byte-stream ! identity name=coded \
             ! {parser} ! {decoder} ! videoconvert ! video/x-raw,format=I420 ! appsink name=out sync=false"
        )
    }
}

/// Bytes of a byte-stream access unit without user data (the encoder's banner, which short clips should not pay for).
fn counted(data: &[u8], anchor: Anchor) -> u64 {
    let starts: Vec<usize> = data.windows(3).enumerate().filter(|(_, w)| *w == [0, 0, 1]).map(|(i, _)| i + 3).collect();
    let mut bytes = data.len();
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).map_or(data.len(), |next| next - 3);
        let nal = &data[start..end];
        let payload = match anchor {
            Anchor::X264 => nal.first().filter(|&&b| b & 0x1f == 6).and_then(|_| nal.get(1)),
            Anchor::X265 => nal.first().filter(|&&b| b >> 1 & 0x3f == 39).and_then(|_| nal.get(2)),
        };
        if payload == Some(&PAYLOAD_USER_DATA) {
            bytes -= nal.len() + 3;
        }
    }
    bytes as u64
}

/// Encodes at a quantiser (CRF) and decodes.
pub fn code(clip: &Clip, anchor: Anchor, quantiser: u32) -> Result<Coded> {
    let pipeline =
        gst::parse::launch(&anchor.pipeline(quantiser))?.downcast::<gst::Pipeline>().map_err(|_| anyhow!("not a pipeline"))?;
    let result = run(&pipeline, clip, anchor);
    // A pipeline that is dropped while playing leaks its threads.
    let _ = pipeline.set_state(gst::State::Null);
    result
}

fn run(pipeline: &gst::Pipeline, clip: &Clip, anchor: Anchor) -> Result<Coded> {
    let named = |name: &str| pipeline.by_name(name).with_context(|| format!("no element {name}"));
    let source = named("in")?.downcast::<gst_app::AppSrc>().map_err(|_| anyhow!("not an appsrc"))?;
    let sink = named("out")?.downcast::<gst_app::AppSink>().map_err(|_| anyhow!("not an appsink"))?;
    let bytes = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&bytes);
    let pad = named("coded")?.static_pad("sink").context("identity has a sink pad")?;
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(map) = info.buffer().and_then(|b| b.map_readable().ok()) {
            counter.fetch_add(counted(&map, anchor), Ordering::Relaxed);
        }
        gst::PadProbeReturn::Ok
    });
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, clip.width as u32, clip.height as u32)
        .fps(gst::Fraction::new(25, 1))
        .build()?;
    source.set_caps(Some(&info.to_caps()?));
    source.set_max_bytes(0);
    pipeline.set_state(gst::State::Playing)?;
    for (i, frame) in clip.frames.iter().enumerate() {
        source.push_buffer(buffer(frame, &info, i as u64)?)?;
    }
    source.end_of_stream()?;
    let mut frames = Vec::with_capacity(clip.frames.len());
    while let Ok(sample) = sink.pull_sample() {
        let info = gst_video::VideoInfo::from_caps(sample.caps().context("a frame without caps")?)?;
        let buffer = sample.buffer().context("a sample without buffer")?;
        frames.push(read(&gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info)?)?);
    }
    if let Some(message) = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]))
        && let gst::MessageView::Error(error) = message.view()
    {
        bail!("{}", error.error());
    }
    ensure!(frames.len() == clip.frames.len(), "{} of {} frames came back", frames.len(), clip.frames.len());
    Ok(Coded { bytes: bytes.load(Ordering::Relaxed), frames, encode_fps: None, decode_fps: None })
}

fn buffer(frame: &Frame, info: &gst_video::VideoInfo, number: u64) -> Result<gst::Buffer> {
    let mut buffer = gst::Buffer::with_size(info.size())?;
    let target = buffer.get_mut().context("a new buffer")?;
    target.set_pts(gst::ClockTime::from_mseconds(40 * number));
    target.set_duration(gst::ClockTime::from_mseconds(40));
    let mut mapped = gst_video::VideoFrameRef::from_buffer_ref_writable(target, info)?;
    for i in 0..3 {
        let (plane, stride) = (frame.plane(i), mapped.plane_stride()[i] as usize);
        let data = mapped.plane_data_mut(i as u32)?;
        for row in 0..plane.height {
            data[row * stride..][..plane.width].copy_from_slice(plane.row(row));
        }
    }
    drop(mapped);
    Ok(buffer)
}

fn read(mapped: &gst_video::VideoFrameRef<&gst::BufferRef>) -> Result<Frame> {
    let mut frame = Frame::new(mapped.width() as usize, mapped.height() as usize);
    for i in 0..3 {
        let stride = mapped.plane_stride()[i] as usize;
        let data = mapped.plane_data(i as u32)?;
        let plane = frame.plane_mut(i);
        let width = plane.width;
        for row in 0..plane.height {
            plane.row_mut(row).copy_from_slice(&data[row * stride..][..width]);
        }
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banners_are_not_counted() {
        let unit = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 6, 5, 9, 9, 9, 9, 0, 0, 1, 0x65, 7];
        assert_eq!(counted(&unit, Anchor::X264), unit.len() as u64 - 9);
        let unit = [0, 0, 1, 39 << 1, 1, 5, 8, 8, 0, 0, 1, 38, 1, 7];
        assert_eq!(counted(&unit, Anchor::X265), 6);
        assert_eq!(counted(&[0, 0, 1, 6, 1, 3], Anchor::X264), 6);
    }
}
