//! Frames as PNG files, and contact sheets.

use std::path::{Path, PathBuf};

use gst::prelude::*;
use gst_video::{VideoFormat, VideoFrameExt};
use ngc_examples::reader::{Frame, Reader};
use ngc_examples::{Failure, Interrupt, Kind, make};

/// Widest frame in a contact sheet.
const THUMBNAIL: u32 = 320;

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Encode, error.to_string())
}

/// Writes each frame to a file of a folder; of several videos side by side.
pub fn frames(inputs: &[PathBuf], folder: &Path, interrupt: &Interrupt) -> Result<String, Failure> {
    std::fs::create_dir_all(folder).map_err(|e| failed(format!("{}: {e}", folder.display())))?;
    let readers: Vec<_> = inputs.iter().map(|input| Reader::new(input, true, None, interrupt)).collect::<Result<_, _>>()?;
    let mut count = 0u32;
    loop {
        let frames: Vec<_> = readers.iter().map(Reader::next_frame).collect::<Result<Option<Vec<_>>, _>>()?.unwrap_or_default();
        let Some(height) = frames.iter().map(|frame| frame.info.height()).min() else { break };
        let pictures = frames.iter().map(|frame| Picture::of(frame, height)).collect::<Result<Vec<_>, _>>()?;
        count += 1;
        Picture::rows(&[pictures]).write(&folder.join(format!("frame-{count:06}.png")))?;
    }
    Ok(format!("{count} frames in {}", folder.display()))
}

/// Writes a picture of frames from all over a video; of several videos beside each other.
pub fn contact_sheet(
    inputs: &[PathBuf],
    file: &Path,
    (columns, rows): (u32, u32),
    interrupt: &Interrupt,
) -> Result<String, Failure> {
    let wanted = u64::from(columns * rows);
    let mut sheets = Vec::new();
    let mut total = 0;
    for input in inputs {
        // How many there are is known after the first run through.
        let mut count = 0u64;
        let reader = Reader::new(input, true, None, interrupt)?;
        while reader.next_frame()?.is_some() {
            count += 1;
        }
        let reader = Reader::new(input, true, None, interrupt)?;
        let mut pictures: Vec<Vec<Picture>> = Vec::new();
        let (mut number, mut taken) = (0, 0u64);
        while let Some(frame) = reader.next_frame()? {
            if taken < wanted && number == taken * count / wanted {
                let width = frame.info.width().clamp(1, THUMBNAIL);
                let height = (frame.info.height() * width / frame.info.width().max(1)).max(1);
                if taken.is_multiple_of(u64::from(columns)) {
                    pictures.push(Vec::new());
                }
                if let Some(row) = pictures.last_mut() {
                    row.push(Picture::of(&frame, height)?);
                }
                taken += 1;
                // A video with fewer frames than there are places.
                while taken < wanted && taken * count / wanted == number {
                    taken += 1;
                }
            }
            number += 1;
        }
        total += number;
        sheets.push(Picture::rows(&pictures));
    }
    let sheet = Picture::rows(&[sheets]);
    sheet.write(file)?;
    Ok(format!("{total} frames, {}x{} pixels in {}", sheet.width, sheet.height, file.display()))
}

/// RGB.
struct Picture {
    width: u32,
    height: u32,
    data: Vec<u8>,
}

impl Picture {
    /// A frame at a height, its width in proportion.
    fn of(frame: &Frame, height: u32) -> Result<Self, Failure> {
        let width = (u64::from(frame.info.width()) * u64::from(height) / u64::from(frame.info.height().max(1))).max(1) as u32;
        let info =
            gst_video::VideoInfo::builder(VideoFormat::Rgb, width, height).fps(frame.info.fps()).build().map_err(failed)?;
        let converter = gst_video::VideoConverter::new(&frame.info, &info, None).map_err(failed)?;
        let from =
            gst_video::VideoFrame::from_buffer_readable(frame.buffer.clone(), &frame.info).map_err(|_| failed("unreadable"))?;
        let buffer = gst::Buffer::with_size(info.size()).map_err(failed)?;
        let mut to = gst_video::VideoFrame::from_buffer_writable(buffer, &info).map_err(|_| failed("unwritable"))?;
        converter.frame(&from, &mut to);
        let stride = to.plane_stride().first().copied().unwrap_or(0) as usize;
        let rows = to.plane_data(0).map_err(failed)?.chunks(stride).take(height as usize);
        let data = rows.flat_map(|row| row.get(..3 * width as usize).unwrap_or(row)).copied().collect();
        Ok(Self { width, height, data })
    }

    /// Pictures beside and below each other.
    fn rows(rows: &[Vec<Self>]) -> Self {
        let row_width = |row: &Vec<Self>| row.iter().map(|p| p.width).sum::<u32>();
        let row_height = |row: &Vec<Self>| row.iter().map(|p| p.height).max().unwrap_or(0);
        let width = rows.iter().map(row_width).max().unwrap_or(0);
        let height = rows.iter().map(row_height).sum();
        let mut data = vec![0; 3 * width as usize * height as usize];
        let mut top = 0usize;
        for row in rows {
            let mut left = 0usize;
            for picture in row {
                let line = 3 * picture.width as usize;
                for (y, source) in picture.data.chunks_exact(line.max(1)).enumerate() {
                    let at = 3 * ((top + y) * width as usize + left);
                    if let Some(target) = data.get_mut(at..at + line) {
                        target.copy_from_slice(source);
                    }
                }
                left += picture.width as usize;
            }
            top += row_height(row) as usize;
        }
        Self { width, height, data }
    }

    /// As PNG.
    fn write(&self, file: &Path) -> Result<(), Failure> {
        if self.data.is_empty() {
            return Err(Failure::new(Kind::Input, "there are no frames"));
        }
        let info = gst_video::VideoInfo::builder(VideoFormat::Rgb, self.width, self.height).fps(gst::Fraction::new(1, 1));
        let info = info.build().map_err(failed)?;
        let source = gst_app::AppSrc::builder().caps(&info.to_caps().map_err(failed)?).format(gst::Format::Time).build();
        let (encoder, sink) = (make("pngenc")?, make("filesink")?);
        encoder.set_property("snapshot", true);
        sink.set_property("location", file);
        let pipeline = gst::Pipeline::new();
        let elements = [source.upcast_ref(), &encoder, &sink];
        pipeline.add_many(elements).map_err(failed)?;
        gst::Element::link_many(elements).map_err(failed)?;
        let _ = pipeline.set_state(gst::State::Playing);
        let mut buffer = gst::Buffer::with_size(info.size()).map_err(failed)?;
        let stride = info.stride().first().copied().unwrap_or(0) as usize;
        if let Some(mut map) = buffer.get_mut().and_then(|b| b.map_writable().ok()) {
            for (target, row) in map.chunks_mut(stride.max(1)).zip(self.data.chunks_exact(3 * self.width as usize)) {
                target[..row.len()].copy_from_slice(row);
            }
        }
        if let Some(fields) = buffer.get_mut() {
            fields.set_pts(gst::ClockTime::ZERO);
        }
        let _ = source.push_buffer(buffer);
        let _ = source.end_of_stream();
        let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = pipeline.bus().and_then(|bus| bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &wanted));
        let _ = pipeline.set_state(gst::State::Null);
        match message.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Eos(_)) => Ok(()),
            Some(gst::MessageView::Error(error)) => Err(Failure::from_message(error, Kind::Encode)),
            _ => Err(failed(format!("{}: writing takes too long", file.display()))),
        }
    }
}
