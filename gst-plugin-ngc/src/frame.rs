//! GStreamer's video frames as the codec's.

use codec_core::frame::{Frame, FrameView, FrameViewMut, PlaneView, PlaneViewMut};
use gst_video::prelude::*;
use gst_video::{VideoFormat, VideoFrameRef};

/// Raw formats that the encoder takes as they are.
pub const INPUT_FORMATS: [VideoFormat; 3] = [VideoFormat::I420, VideoFormat::Yv12, VideoFormat::Nv12];

/// A readable frame without copying it.
///
/// # Errors
/// If the planes are shorter than the frame needs.
pub fn view<'a>(frame: &'a VideoFrameRef<&'a gst::BufferRef>) -> codec_core::Result<FrameView<'a>> {
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
    FrameView::new(frame.width() as usize, frame.height() as usize, plane(0)?, plane(1)?, plane(2)?)
}

/// Copies a decoded frame into an I420 buffer, whatever its strides.
///
/// # Errors
/// If the buffer's planes are shorter than the frame.
pub fn copy_out(source: &Frame, target: &mut VideoFrameRef<&mut gst::BufferRef>) -> codec_core::Result<()> {
    let (width, height) = (target.width() as usize, target.height() as usize);
    let strides = [0, 1, 2].map(|i| target.plane_stride()[i] as usize);
    let [y, u, v, _] = target.planes_data_mut();
    let plane = |data, stride| PlaneViewMut { data, stride, pixel_stride: 1 };
    let mut view = FrameViewMut::new(width, height, plane(y, strides[0]), plane(u, strides[1]), plane(v, strides[2]))?;
    source.copy_to(&mut view)
}
