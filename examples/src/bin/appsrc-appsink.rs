//! Frames from application memory to NGC and back to application memory, without a copy on the way in or out.
//!
//! The application draws into memory of its own. `Buffer::from_slice` lends that memory to GStreamer, and takes it back (here: into a
//! pool) when the last element has let go of it. What comes out is looked at in place.

use std::sync::mpsc::{Receiver, Sender, channel};

use gst::prelude::*;
use gst_video::{VideoFrameExt, VideoFrameRef, VideoInfo};
use ngc_examples::{Failure, Kind, make};

const WIDTH: usize = 320;
const HEIGHT: usize = 180;
const FRAMES: u64 = 50;
const RATE: i32 = 25;

/// A frame of the application's. When GStreamer is done with it, its memory goes back to where it came from.
struct Lent {
    memory: Option<Vec<u8>>,
    back: Sender<Vec<u8>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.memory.as_deref().unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            let _ = self.back.send(memory);
        }
    }
}

/// I420 of the size above: a bright square on a gradient, where `number` puts it.
fn draw(frame: &mut [u8], number: u64) {
    let (luma, chroma) = frame.split_at_mut(WIDTH * HEIGHT);
    let left = 2 * number as usize;
    for (y, row) in luma.chunks_exact_mut(WIDTH).enumerate() {
        for (x, sample) in row.iter_mut().enumerate() {
            let inside = (left..left + 40).contains(&x) && (60..100).contains(&y);
            *sample = if inside { 220 } else { 40 + (x / 4) as u8 };
        }
    }
    chroma.fill(128);
}

/// The column in which the square begins.
fn find(row: &[u8]) -> Option<usize> {
    row.iter().position(|&sample| sample > 170)
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Encode, error.to_string())
}

fn main() -> Result<(), Failure> {
    ngc_examples::init()?;
    let info = VideoInfo::builder(gst_video::VideoFormat::I420, WIDTH as u32, HEIGHT as u32).fps(gst::Fraction::new(RATE, 1));
    let info = info.build().map_err(failed)?;
    let source = gst_app::AppSrc::builder()
        .caps(&info.to_caps().map_err(failed)?)
        .format(gst::Format::Time)
        .max_buffers(4)
        .block(true)
        .build();
    let sink = gst_app::AppSink::builder().sync(false).max_buffers(4).build();
    let (encoder, parser, decoder) = (make("ngcenc")?, make("ngcparse")?, make("ngcdec")?);
    // Frames that wait in a lookahead would keep the application's memory meanwhile.
    encoder.set_property("lookahead", 0i32);
    let pipeline = gst::Pipeline::new();
    let elements = [source.upcast_ref(), &encoder, &parser, &decoder, sink.upcast_ref()];
    pipeline.add_many(elements).map_err(failed)?;
    gst::Element::link_many(elements).map_err(failed)?;
    pipeline.set_state(gst::State::Playing).map_err(failed)?;

    let (back, returned) = channel();
    let feeder = std::thread::spawn(move || feed(&source, &back, &returned, &info));
    let shown = look(&sink)?;
    if let Some(message) = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]))
        && let gst::MessageView::Error(error) = message.view()
    {
        return Err(Failure::from_message(error, Kind::Encode));
    }
    let _ = pipeline.set_state(gst::State::Null);
    let allocated = feeder.join().map_err(|_| failed("the feeding thread failed"))??;
    println!(
        "appsrc-appsink: {FRAMES} frames in, {} out, {} at the right place; {allocated} frames of memory were enough",
        shown.0, shown.1
    );
    if shown == (FRAMES, FRAMES) { Ok(()) } else { Err(failed("frames are missing or wrong")) }
}

/// Draws frames and hands them over; gives how many pieces of memory that took.
fn feed(
    source: &gst_app::AppSrc,
    back: &Sender<Vec<u8>>,
    returned: &Receiver<Vec<u8>>,
    info: &VideoInfo,
) -> Result<u64, Failure> {
    let mut allocated = 0;
    for number in 0..FRAMES {
        let mut memory = returned.try_recv().unwrap_or_else(|_| {
            allocated += 1;
            vec![0; info.size()]
        });
        draw(&mut memory, number);
        let before = memory.as_ptr();
        let mut buffer = gst::Buffer::from_slice(Lent { memory: Some(memory), back: back.clone() });
        // It is the application's memory that GStreamer reads.
        let same = buffer.map_readable().is_ok_and(|map| map.as_ptr() == before);
        if !same {
            return Err(failed("the frame was copied"));
        }
        let duration = gst::ClockTime::SECOND / RATE as u64;
        if let Some(fields) = buffer.get_mut() {
            fields.set_pts(duration * number);
            fields.set_duration(duration);
        }
        source.push_buffer(buffer).map_err(failed)?;
    }
    source.end_of_stream().map_err(failed)?;
    Ok(allocated)
}

/// Looks at decoded frames where they lie; gives how many there are, and how many show the square where it belongs.
fn look(sink: &gst_app::AppSink) -> Result<(u64, u64), Failure> {
    let (mut frames, mut right) = (0u64, 0);
    while let Ok(sample) = sink.pull_sample() {
        let info = VideoInfo::from_caps(sample.caps().ok_or_else(|| failed("no caps"))?).map_err(failed)?;
        let buffer = sample.buffer().ok_or_else(|| failed("no buffer"))?;
        let frame = VideoFrameRef::from_buffer_ref_readable(buffer, &info).map_err(failed)?;
        let stride = frame.plane_stride().first().copied().unwrap_or(0) as usize;
        let row = frame.plane_data(0).map_err(failed)?.get(80 * stride..).unwrap_or_default();
        let wanted = 2 * frames as usize;
        right += u64::from(find(row.get(..WIDTH).unwrap_or(row)).is_some_and(|column| column.abs_diff(wanted) <= 1));
        frames += 1;
    }
    Ok((frames, right))
}
