//! Views of 4:2:0 frames in memory that someone else owns.

use super::chroma_size;
use crate::{Error, Result};

/// One plane of a frame: sample (row, col) is `data[row * stride + col * pixel_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct PlaneView<'a> {
    /// From the first sample of the plane on.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Bytes from one sample to the next: 1 for planar formats, 2 for the chroma of NV12.
    pub pixel_stride: usize,
}

/// As [`PlaneView`], to write.
#[derive(Debug)]
pub struct PlaneViewMut<'a> {
    /// From the first sample of the plane on.
    pub data: &'a mut [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Bytes from one sample to the next.
    pub pixel_stride: usize,
}

/// A 4:2:0 frame of `width` x `height` luma samples; chroma has half of each side, rounded up.
#[derive(Clone, Copy, Debug)]
pub struct FrameView<'a> {
    /// Luma samples of a row.
    pub width: usize,
    /// Rows of luma samples.
    pub height: usize,
    /// Luma.
    pub y: PlaneView<'a>,
    /// Chroma: blue difference.
    pub u: PlaneView<'a>,
    /// Chroma: red difference.
    pub v: PlaneView<'a>,
}

/// As [`FrameView`], to write.
#[derive(Debug)]
pub struct FrameViewMut<'a> {
    /// Luma samples of a row.
    pub width: usize,
    /// Rows of luma samples.
    pub height: usize,
    /// Luma.
    pub y: PlaneViewMut<'a>,
    /// Chroma, if any is wanted.
    pub chroma: ChromaViewMut<'a>,
}

/// Chroma of a frame, to write.
#[derive(Debug)]
pub enum ChromaViewMut<'a> {
    /// None is wanted: a grey picture.
    None,
    /// Two planes.
    Planar {
        /// Blue difference.
        u: PlaneViewMut<'a>,
        /// Red difference.
        v: PlaneViewMut<'a>,
    },
    /// Both by turns in one plane, as in NV12.
    Interleaved {
        /// From the first sample of the plane on.
        data: &'a mut [u8],
        /// Bytes from one row to the next.
        stride: usize,
    },
}

impl<'a> FrameView<'a> {
    /// A view whose planes hold every sample of the frame.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if a side is 0, or if a plane is too short or its strides let samples overlap.
    pub fn new(width: usize, height: usize, y: PlaneView<'a>, u: PlaneView<'a>, v: PlaneView<'a>) -> Result<Self> {
        let view = Self { width, height, y, u, v };
        view.check()?;
        Ok(view)
    }

    /// The checks of [`FrameView::new`], for a view whose fields were set one by one.
    ///
    /// # Errors
    /// As [`FrameView::new`].
    pub fn check(&self) -> Result<()> {
        let names = ["Y", "U", "V"].into_iter();
        names.zip(self.planes()).try_for_each(|(name, (plane, width, height))| plane.layout().check(name, width, height))
    }

    /// Planes in the order Y, U, V with their widths and heights.
    pub(super) fn planes(&self) -> [(PlaneView<'a>, usize, usize); 3] {
        let (cw, ch) = chroma_size(self.width, self.height);
        [(self.y, self.width, self.height), (self.u, cw, ch), (self.v, cw, ch)]
    }
}

impl<'a> FrameViewMut<'a> {
    /// A view whose planes hold every sample of the frame.
    ///
    /// # Errors
    /// As [`FrameView::new`].
    pub fn new(width: usize, height: usize, y: PlaneViewMut<'a>, chroma: ChromaViewMut<'a>) -> Result<Self> {
        let view = Self { width, height, y, chroma };
        view.check()?;
        Ok(view)
    }

    /// The checks of [`FrameViewMut::new`], for a view whose fields were set one by one.
    ///
    /// # Errors
    /// As [`FrameView::new`].
    pub fn check(&self) -> Result<()> {
        let (width, height) = chroma_size(self.width, self.height);
        self.y.layout().check("Y", self.width, self.height)?;
        match &self.chroma {
            ChromaViewMut::None => Ok(()),
            ChromaViewMut::Planar { u, v } => {
                u.layout().check("U", width, height)?;
                v.layout().check("V", width, height)
            }
            ChromaViewMut::Interleaved { data, stride } => {
                Layout { bytes: data.len(), stride: *stride, pixel_stride: 1 }.check("UV", width.saturating_mul(2), height)
            }
        }
    }
}

impl PlaneView<'_> {
    fn layout(&self) -> Layout {
        Layout { bytes: self.data.len(), stride: self.stride, pixel_stride: self.pixel_stride }
    }

    /// Copies the first `out.len()` samples of a row.
    pub(super) fn copy_row(&self, row: usize, out: &mut [u8]) {
        let line = &self.data[row * self.stride..];
        if self.pixel_stride == 1 {
            out.copy_from_slice(&line[..out.len()]);
        } else {
            for (to, from) in out.iter_mut().zip(line.iter().step_by(self.pixel_stride)) {
                *to = *from;
            }
        }
    }
}

impl PlaneViewMut<'_> {
    fn layout(&self) -> Layout {
        Layout { bytes: self.data.len(), stride: self.stride, pixel_stride: self.pixel_stride }
    }

    /// Overwrites the first `samples.len()` samples of a row.
    pub(super) fn write_row(&mut self, row: usize, samples: &[u8]) {
        let line = &mut self.data[row * self.stride..];
        if self.pixel_stride == 1 {
            line[..samples.len()].copy_from_slice(samples);
        } else {
            for (to, from) in line.iter_mut().step_by(self.pixel_stride).zip(samples) {
                *to = *from;
            }
        }
    }
}

/// Where the samples of a plane lie.
struct Layout {
    bytes: usize,
    stride: usize,
    pixel_stride: usize,
}

impl Layout {
    /// Checks that a plane of `width` x `height` samples fits in, each sample at a place of its own.
    fn check(&self, name: &str, width: usize, height: usize) -> Result<()> {
        let Self { bytes, stride, pixel_stride } = *self;
        if width == 0 || height == 0 {
            return Err(Error::InvalidConfig(format!("frame of {width}x{height} samples: both sides must be at least 1")));
        }
        let row = (width - 1).checked_mul(pixel_stride).and_then(|n| n.checked_add(1));
        let needed = row.and_then(|n| (height - 1).checked_mul(stride)?.checked_add(n));
        let separate = pixel_stride >= 1 && row.is_some_and(|n| height == 1 || n <= stride);
        if !separate || needed.is_none_or(|n| n > bytes) {
            return Err(Error::InvalidConfig(format!(
                "plane {name} of {width}x{height} samples: {bytes} bytes with stride {stride} and pixel stride {pixel_stride} \
                 cannot hold it; give the whole plane and its true strides"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(data: &[u8], stride: usize, pixel_stride: usize) -> PlaneView<'_> {
        PlaneView { data, stride, pixel_stride }
    }

    #[test]
    fn shortest_planes_are_accepted() {
        let data = [0; 64];
        let chroma = |len: usize| plane(&data[..len], 4, 2);
        // 3x3: luma rows at 0, 5, 10; chroma is 2x2 with samples 2 bytes apart, rows 4 apart.
        let view = |y: usize, u: usize, v: usize| FrameView::new(3, 3, plane(&data[..y], 5, 1), chroma(u), chroma(v));
        assert!(view(13, 7, 7).is_ok());
        for (y, u, v, name) in [(12, 7, 7, "plane Y"), (13, 6, 7, "plane U"), (13, 7, 6, "plane V")] {
            match view(y, u, v) {
                Err(Error::InvalidConfig(message)) => assert!(message.contains(name), "{message}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn impossible_layouts_are_refused() {
        let data = [0; 64];
        let good = plane(&data, 8, 1);
        let view = |w, h, y| FrameView::new(w, h, y, good, good);
        assert!(view(1, 1, good).is_ok());
        assert!(view(8, 8, good).is_ok());
        assert!(view(0, 8, good).is_err());
        assert!(view(8, 0, good).is_err());
        assert!(view(8, 8, plane(&data, 7, 1)).is_err());
        assert!(view(8, 8, plane(&data, 8, 0)).is_err());
        assert!(view(usize::MAX, usize::MAX, good).is_err());
        assert!(view(8, 8, plane(&data, usize::MAX, 1)).is_err());
        assert!(view(8, 8, plane(&data, 8, usize::MAX)).is_err());
    }
}
