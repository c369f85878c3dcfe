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
    /// Chroma: blue difference.
    pub u: PlaneViewMut<'a>,
    /// Chroma: red difference.
    pub v: PlaneViewMut<'a>,
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
        let layouts = [self.y, self.u, self.v].map(|p| (p.data.len(), p.stride, p.pixel_stride));
        check_frame(self.width, self.height, layouts)
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
    pub fn new(width: usize, height: usize, y: PlaneViewMut<'a>, u: PlaneViewMut<'a>, v: PlaneViewMut<'a>) -> Result<Self> {
        let view = Self { width, height, y, u, v };
        view.check()?;
        Ok(view)
    }

    /// The checks of [`FrameViewMut::new`], for a view whose fields were set one by one.
    ///
    /// # Errors
    /// As [`FrameView::new`].
    pub fn check(&self) -> Result<()> {
        let layouts = [&self.y, &self.u, &self.v].map(|p| (p.data.len(), p.stride, p.pixel_stride));
        check_frame(self.width, self.height, layouts)
    }
}

impl PlaneView<'_> {
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
    /// Checks that the plane holds `width` x `height` samples.
    pub(super) fn check(&self, name: &str, width: usize, height: usize) -> Result<()> {
        check_plane(name, (self.data.len(), self.stride, self.pixel_stride), (width, height))
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

/// Checks (length, stride, pixel stride) of the planes Y, U, V.
fn check_frame(width: usize, height: usize, layouts: [(usize, usize, usize); 3]) -> Result<()> {
    let chroma = chroma_size(width, height);
    let sizes = [(width, height), chroma, chroma];
    ["Y", "U", "V"].iter().zip(layouts).zip(sizes).try_for_each(|((name, layout), size)| check_plane(name, layout, size))
}

/// Checks (length, stride, pixel stride) of a plane of (width, height) samples.
fn check_plane(name: &str, (len, stride, step): (usize, usize, usize), (w, h): (usize, usize)) -> Result<()> {
    if w == 0 || h == 0 {
        return Err(Error::InvalidConfig(format!("frame of {w}x{h} samples: both sides must be at least 1")));
    }
    let row = (w - 1).checked_mul(step).and_then(|n| n.checked_add(1));
    let needed = row.and_then(|n| (h - 1).checked_mul(stride)?.checked_add(n));
    let separate = step >= 1 && row.is_some_and(|n| h == 1 || n <= stride);
    if !separate || needed.is_none_or(|n| n > len) {
        return Err(Error::InvalidConfig(format!(
            "plane {name} of {w}x{h} samples: {len} bytes with stride {stride} and pixel stride {step} \
             cannot hold it; give the whole plane and its true strides"
        )));
    }
    Ok(())
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
