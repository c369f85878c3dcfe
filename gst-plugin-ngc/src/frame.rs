//! GStreamer's video frames as the codec's.

use codec_core::frame::{ChromaViewMut, Frame, FrameView, FrameViewMut, PlaneView, PlaneViewMut};
use gst_video::prelude::*;
use gst_video::{VideoFormat, VideoFrameRef, VideoInfo};

/// Raw formats that the encoder takes as they are.
pub const INPUT_FORMATS: [VideoFormat; 4] = [VideoFormat::I420, VideoFormat::Yv12, VideoFormat::Nv12, VideoFormat::Gray8];
/// Raw formats that the decoder gives, the cheapest first.
pub const OUTPUT_FORMATS: [VideoFormat; 4] = INPUT_FORMATS;
/// Chroma without colour.
const NEUTRAL: u8 = 128;

/// One chroma plane without colour for frames that have none, empty for those that have.
pub fn neutral_chroma(info: &gst_video::VideoInfo) -> Vec<u8> {
    match info.format() {
        VideoFormat::Gray8 => vec![NEUTRAL; info.width().div_ceil(2) as usize * info.height().div_ceil(2) as usize],
        _ => Vec::new(),
    }
}

/// A readable frame without copying it; `neutral` is its [`neutral_chroma`].
///
/// # Errors
/// If the planes are shorter than the frame needs.
pub fn view<'a>(frame: &'a VideoFrameRef<&'a gst::BufferRef>, neutral: &'a [u8]) -> codec_core::Result<FrameView<'a>> {
    let failed = |_| codec_core::Error::InvalidConfig("a plane of the frame cannot be mapped".into());
    let plane = |component: u32| -> codec_core::Result<PlaneView<'a>> {
        let format = frame.format_info();
        let index = format.plane()[component as usize];
        let data = frame.plane_data(index).map_err(failed)?;
        let offset = format.poffset()[component as usize] as usize;
        Ok(PlaneView {
            data: data.get(offset..).unwrap_or_default(),
            stride: frame.plane_stride()[index as usize] as usize,
            pixel_stride: format.pixel_stride()[component as usize] as usize,
        })
    };
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    if frame.format() == VideoFormat::Gray8 {
        let chroma = PlaneView { data: neutral, stride: width.div_ceil(2), pixel_stride: 1 };
        return FrameView::new(width, height, plane(0)?, chroma, chroma);
    }
    FrameView::new(width, height, plane(0)?, plane(1)?, plane(2)?)
}

/// Zeroes all but the first `used` bytes of the first `rows` rows.
fn clear_padding(data: &mut [u8], stride: usize, used: usize, rows: usize) {
    if stride == 0 {
        return;
    }
    for (i, row) in data.chunks_mut(stride).enumerate() {
        let start = if i < rows { used.min(row.len()) } else { 0 };
        row[start..].fill(0);
    }
}

/// Zeroes what a buffer holds beside its picture, which would show what the memory held before: ends of rows, rows below, and what lies
/// between planes, as after luma of an odd height.
fn clear_around(buffer: &mut gst::BufferRef, info: &VideoInfo) -> Result<(), gst::glib::BoolError> {
    let (width, height) = (info.width() as usize, info.height() as usize);
    let (cw, ch) = (width.div_ceil(2), height.div_ceil(2));
    let planes: &[(usize, usize)] = match info.format() {
        VideoFormat::Gray8 => &[(width, height)],
        VideoFormat::Nv12 => &[(width, height), (2 * cw, ch)],
        _ => &[(width, height), (cw, ch), (cw, ch)],
    };
    if buffer.size() == planes.iter().map(|(used, rows)| used * rows).sum::<usize>() {
        return Ok(());
    }
    let (offsets, strides) = match buffer.meta::<gst_video::VideoMeta>() {
        Some(meta) => (meta.offset().to_vec(), meta.stride().to_vec()),
        None => (info.offset().to_vec(), info.stride().to_vec()),
    };
    let mut memory = buffer.map_writable()?;
    for (plane, &(used, rows)) in planes.iter().enumerate() {
        let start = offsets[plane];
        let end = offsets.iter().copied().filter(|&other| other > start).min().unwrap_or(memory.len());
        if let Some(data) = memory.get_mut(start..end) {
            clear_padding(data, strides[plane] as usize, used, rows);
        }
    }
    Ok(())
}

/// Copies a decoded frame into a buffer of one of [`OUTPUT_FORMATS`], whatever its strides.
///
/// # Errors
/// If the buffer cannot be mapped, or its planes are shorter than the frame.
pub fn copy_out(source: &Frame, buffer: &mut gst::BufferRef, info: &VideoInfo) -> codec_core::Result<()> {
    let unmapped = |_| codec_core::Error::InvalidConfig("the output buffer cannot be mapped".into());
    clear_around(buffer, info).map_err(unmapped)?;
    let mut target = VideoFrameRef::from_buffer_ref_writable(buffer, info).map_err(unmapped)?;
    let (width, height) = (target.width() as usize, target.height() as usize);
    let strides = [0, 1, 2].map(|i| target.plane_stride().get(i).map_or(0, |&s| s as usize));
    let format = target.format();
    let [first, second, third, _] = target.planes_data_mut();
    let planar = |data, stride| PlaneViewMut { data, stride, pixel_stride: 1 };
    let y = planar(first, strides[0]);
    let chroma = match format {
        VideoFormat::Gray8 => ChromaViewMut::None,
        VideoFormat::Nv12 => ChromaViewMut::Interleaved { data: second, stride: strides[1] },
        VideoFormat::Yv12 => ChromaViewMut::Planar { u: planar(third, strides[2]), v: planar(second, strides[1]) },
        _ => ChromaViewMut::Planar { u: planar(second, strides[1]), v: planar(third, strides[2]) },
    };
    source.copy_to(&mut FrameViewMut::new(width, height, y, chroma)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_shows_nothing() {
        let mut data = [7u8; 14];
        clear_padding(&mut data, 5, 3, 2);
        assert_eq!(data, [7, 7, 7, 0, 0, 7, 7, 7, 0, 0, 0, 0, 0, 0]);
        clear_padding(&mut data, 0, 3, 2);
        assert_eq!(data[..3], [7, 7, 7]);
    }

    #[test]
    fn old_memory_shows_nowhere() {
        gst::init().unwrap();
        let mut source = Frame::new(64, 64);
        source.planes_mut().iter_mut().for_each(|plane| plane.data.fill(100));
        for format in OUTPUT_FORMATS {
            for (width, height) in [(17, 33), (16, 32), (1, 1), (64, 7)] {
                let info = VideoInfo::builder(format, width, height).build().unwrap();
                let mut buffer = gst::Buffer::from_mut_slice(vec![7u8; info.size()]);
                copy_out(&source, buffer.get_mut().unwrap(), &info).unwrap();
                let memory = buffer.map_readable().unwrap();
                let chroma = if format == VideoFormat::Gray8 { 0 } else { 2 * width.div_ceil(2) * height.div_ceil(2) };
                let count = |value: u8| memory.iter().filter(|&&found| found == value).count();
                assert_eq!(count(100), (width * height + chroma) as usize, "{format:?} {width}x{height}");
                assert_eq!(count(0) + count(100), memory.len(), "{format:?} {width}x{height}");
            }
        }
    }
}
