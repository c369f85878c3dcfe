//! Compares an NGC stream with the video it was made from: size, quality, speed. Used by `quickstart.sh`.

use std::time::Instant;

use gst::prelude::*;
use gst_video::{VideoFrameExt, VideoFrameRef, VideoInfo};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Runs a pipeline that ends in `appsink name=out` and hands over each sample. Returns frames per second from the first
/// sample to the last, so that loading the model does not count.
fn for_each_sample(description: &str, mut handle: impl FnMut(&gst::Sample) -> Result<()>) -> Result<f64> {
    let pipeline = gst::parse::launch(&format!("{description} ! appsink name=out sync=false max-buffers=2"))?
        .downcast::<gst::Pipeline>()
        .map_err(|_| "not a pipeline")?;
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().ok_or("no appsink")?;
    pipeline.set_state(gst::State::Playing)?;
    let (mut first, mut count, mut busy) = (None, 0u32, std::time::Duration::ZERO);
    let result = loop {
        let Ok(sample) = sink.pull_sample() else { break Ok(()) };
        let start = Instant::now();
        first.get_or_insert(start);
        count += 1;
        if let Err(error) = handle(&sample) {
            break Err(error);
        }
        busy += start.elapsed();
    };
    let elapsed = first.map_or(0.0, |first| (first.elapsed() - busy.min(first.elapsed())).as_secs_f64());
    let bus = pipeline.bus().ok_or("no bus")?;
    let error = bus.pop_filtered(&[gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null)?;
    result?;
    if let Some(gst::MessageView::Error(error)) = error.as_ref().map(|m| m.view()) {
        return Err(error.error().to_string().into());
    }
    if count == 0 {
        return Err("no frames came out".into());
    }
    Ok(f64::from(count.max(2) - 1) / elapsed.max(1e-9))
}

/// The luma samples of an I420 sample without padding, and its size.
fn luma(sample: &gst::Sample) -> Result<(Vec<u8>, u32, u32)> {
    let info = VideoInfo::from_caps(sample.caps().ok_or("a sample without caps")?)?;
    let buffer = sample.buffer().ok_or("a sample without buffer")?;
    let frame = VideoFrameRef::from_buffer_ref_readable(buffer, &info).map_err(|_| "a frame cannot be mapped")?;
    let (width, height, stride) = (info.width() as usize, info.height() as usize, frame.plane_stride()[0] as usize);
    let data = frame.plane_data(0)?;
    let rows = (0..height).flat_map(|row| &data[row * stride..][..width]).copied().collect();
    Ok((rows, info.width(), info.height()))
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, original, stream, quality] = &args[..] else {
        return Err("usage: measure ORIGINAL STREAM.ngc QUALITY".into());
    };
    gst::init()?;
    let raw = format!("filesrc location=\"{original}\" ! decodebin ! videoconvert ! video/x-raw,format=I420");
    let mut frames = Vec::new();
    let (mut width, mut height) = (0, 0);
    for_each_sample(&raw, |sample| {
        let (data, w, h) = luma(sample)?;
        (width, height) = (w, h);
        frames.push(data);
        Ok(())
    })?;
    let mut errors = Vec::new();
    let fps_dec = for_each_sample(&format!("filesrc location=\"{stream}\" ! ngcparse ! ngcdec"), |sample| {
        let (data, w, h) = luma(sample)?;
        let reference = frames.get(errors.len()).ok_or("more frames came back than went in")?;
        if (w, h) != (width, height) {
            return Err(format!("{w}x{h} came back, {width}x{height} went in").into());
        }
        let sum: u64 = reference.iter().zip(&data).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum();
        errors.push(sum as f64 / data.len() as f64);
        Ok(())
    })?;
    if errors.len() != frames.len() {
        return Err(format!("{} frames came back, {} went in", errors.len(), frames.len()).into());
    }
    let fps_enc = for_each_sample(&format!("{raw} ! ngcenc quality={quality}"), |_| Ok(()))?;
    let psnr = errors.iter().map(|e| 10.0 * (255.0f64.powi(2) / e.max(1e-3)).log10()).sum::<f64>() / errors.len() as f64;
    let bits = std::fs::metadata(stream)?.len() as f64 * 8.0;
    let bpp = bits / (frames.len() as f64 * f64::from(width) * f64::from(height));
    println!(
        "quickstart: ok frames={} size={width}x{height} bpp={bpp:.4} psnr_y={psnr:.2} fps_enc={fps_enc:.1} fps_dec={fps_dec:.1}",
        frames.len()
    );
    Ok(())
}
