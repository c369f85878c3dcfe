//! Owned frames.

use super::{ChromaViewMut, FrameView, FrameViewMut, Plane, PlaneView, PlaneViewMut, chroma_size};
use crate::{Error, Result};

/// An owned planar 4:2:0 frame of 8 bits.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    planes: [Plane; 3],
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        Self { planes: self.planes.clone() }
    }

    /// As [`Plane::clone_from`].
    fn clone_from(&mut self, source: &Self) {
        self.planes.clone_from(&source.planes);
    }
}

impl Frame {
    /// A frame of zeros with `width` x `height` luma samples and chroma of half of each side, rounded up.
    pub fn new(width: usize, height: usize) -> Self {
        let (cw, ch) = chroma_size(width, height);
        Self { planes: [Plane::new(width, height), Plane::new(cw, ch), Plane::new(cw, ch)] }
    }

    /// Luma width.
    pub fn width(&self) -> usize {
        self.planes[0].width
    }

    /// Luma height.
    pub fn height(&self) -> usize {
        self.planes[0].height
    }

    /// Plane 0 (Y), 1 (U) or 2 (V).
    pub fn plane(&self, index: usize) -> &Plane {
        &self.planes[index]
    }

    /// As [`Frame::plane`], to write.
    pub fn plane_mut(&mut self, index: usize) -> &mut Plane {
        &mut self.planes[index]
    }

    /// All planes, to write: Y, U, V.
    pub fn planes_mut(&mut self) -> &mut [Plane; 3] {
        &mut self.planes
    }

    /// A view of the whole frame.
    pub fn view(&self) -> FrameView<'_> {
        let [y, u, v] =
            self.planes.each_ref().map(|plane| PlaneView { data: &plane.data, stride: plane.stride, pixel_stride: 1 });
        FrameView { width: self.width(), height: self.height(), y, u, v }
    }

    /// The upper left `width` x `height` luma samples and their chroma: undoes the padding to the coded size.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if the frame is smaller than that.
    pub fn crop_copy(&self, width: usize, height: usize) -> Result<Self> {
        self.check_holds(width, height)?;
        let mut cropped = Self::new(width, height);
        for (to, from) in cropped.planes.iter_mut().zip(&self.planes) {
            for row in 0..to.height {
                let w = to.width;
                to.row_mut(row).copy_from_slice(&from.row(row)[..w]);
            }
        }
        Ok(cropped)
    }

    /// Copies the upper left part of the frame that `target` has room for.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if the frame is smaller than `target`, or if a plane of `target` is too short.
    pub fn copy_to(&self, target: &mut FrameViewMut) -> Result<()> {
        target.check()?;
        self.check_holds(target.width, target.height)?;
        let [luma, blue, red] = &self.planes;
        let (width, height) = chroma_size(target.width, target.height);
        copy_plane(luma, &mut target.y, target.width, target.height);
        match &mut target.chroma {
            ChromaViewMut::None => {}
            ChromaViewMut::Planar { u, v } => {
                copy_plane(blue, u, width, height);
                copy_plane(red, v, width, height);
            }
            ChromaViewMut::Interleaved { data, stride } => {
                for row in 0..height {
                    let line = data[row * *stride..][..2 * width].chunks_exact_mut(2);
                    for ((pair, u), v) in line.zip(blue.row(row)).zip(red.row(row)) {
                        pair.copy_from_slice(&[*u, *v]);
                    }
                }
            }
        }
        Ok(())
    }

    fn check_holds(&self, width: usize, height: usize) -> Result<()> {
        if width > self.width() || height > self.height() {
            return Err(Error::InvalidConfig(format!(
                "{width}x{height} samples asked of a frame of {}x{}; ask for at most its size",
                self.width(),
                self.height()
            )));
        }
        Ok(())
    }
}

fn copy_plane(from: &Plane, to: &mut PlaneViewMut, width: usize, height: usize) {
    for row in 0..height {
        to.write_row(row, &from.row(row)[..width]);
    }
}
