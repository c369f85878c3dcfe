//! Padding to the coded size by edge replication.

use super::{Frame, FrameView, chroma_size};
use crate::{Error, Result};

/// Both sides of the coded size are multiples of this: hyper-latents live at 1/64.
pub const CODED_MULTIPLE: usize = 64;

/// Coded size of a display size: each side up to the next multiple of 64.
///
/// Sides beyond `usize::MAX - 63` overflow; [`crate::Limits`] keeps streams far below.
pub const fn coded_size(width: usize, height: usize) -> (usize, usize) {
    (width.next_multiple_of(CODED_MULTIPLE), height.next_multiple_of(CODED_MULTIPLE))
}

/// Copies `view` into a new frame of the coded size, repeating its last column and row.
///
/// # Errors
/// [`Error::InvalidConfig`] as [`FrameView::new`].
pub fn padded(view: &FrameView) -> Result<Frame> {
    view.check()?;
    let (width, height) = coded_size(view.width, view.height);
    let mut frame = Frame::new(width, height);
    pad_into(view, &mut frame)?;
    Ok(frame)
}

/// As [`padded`], into a frame of the coded size that is there already.
///
/// # Errors
/// [`Error::InvalidConfig`] as [`FrameView::new`], or if `frame` has not the coded size of `view`.
pub fn pad_into(view: &FrameView, frame: &mut Frame) -> Result<()> {
    view.check()?;
    let coded = coded_size(view.width, view.height);
    if (frame.width(), frame.height()) != coded {
        return Err(Error::InvalidConfig(format!(
            "padding {}x{}: the target is {}x{}, it must be {}x{}",
            view.width,
            view.height,
            frame.width(),
            frame.height(),
            coded.0,
            coded.1
        )));
    }
    for (plane, (source, w, h)) in frame.planes_mut().iter_mut().zip(view.planes()) {
        for row in 0..h {
            let line = plane.row_mut(row);
            source.copy_row(row, &mut line[..w]);
            let edge = line[w - 1];
            line[w..].fill(edge);
        }
        let (stride, last) = (plane.stride, (h - 1) * plane.stride);
        for row in h..plane.height {
            plane.data.copy_within(last..last + plane.width, row * stride);
        }
    }
    Ok(())
}

/// Copies what lies beyond `width` x `height` luma samples, and the chroma beyond theirs, from one frame to another of the same size.
///
/// # Panics
/// If the frames differ in size, or the size lies beyond them.
pub fn copy_padding(from: &Frame, (width, height): (usize, usize), to: &mut Frame) {
    let (cw, ch) = chroma_size(width, height);
    for (i, (w, h)) in [(width, height), (cw, ch), (cw, ch)].into_iter().enumerate() {
        let source = from.plane(i);
        let target = to.plane_mut(i);
        for row in 0..target.height {
            let start = if row < h { w } else { 0 };
            target.row_mut(row)[start..].copy_from_slice(&source.row(row)[start..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ChromaViewMut, FrameViewMut, PlaneView, PlaneViewMut};
    use super::*;

    /// A frame whose samples all differ from their neighbours.
    fn sample_frame(width: usize, height: usize) -> Frame {
        let mut frame = Frame::new(width, height);
        for (i, plane) in frame.planes_mut().iter_mut().enumerate() {
            for (j, value) in plane.data.iter_mut().enumerate() {
                *value = (j * 37 + i * 101 + j / 5) as u8;
            }
        }
        frame
    }

    fn plane_mut(data: &mut [u8], stride: usize, pixel_stride: usize) -> PlaneViewMut<'_> {
        PlaneViewMut { data, stride, pixel_stride }
    }

    const SIZES: [(usize, usize); 9] = [(1, 1), (2, 1), (1, 3), (63, 65), (64, 64), (65, 63), (127, 2), (640, 360), (129, 77)];

    #[test]
    fn pads_by_repeating_the_edge_and_crops_back() {
        for (w, h) in SIZES {
            let frame = sample_frame(w, h);
            let coded = padded(&frame.view()).unwrap();
            assert_eq!((coded.width(), coded.height()), coded_size(w, h));
            for i in 0..3 {
                let (small, large) = (frame.plane(i), coded.plane(i));
                for row in 0..large.height {
                    for col in 0..large.width {
                        let expected = small.row(row.min(small.height - 1))[col.min(small.width - 1)];
                        assert_eq!(large.row(row)[col], expected, "{w}x{h} plane {i} at {row}, {col}");
                    }
                }
            }
            assert_eq!(coded.crop_copy(w, h).unwrap(), frame);
        }
    }

    #[test]
    fn padding_alone_is_copied() {
        let (from, mut to) = (sample_frame(128, 128), Frame::new(128, 128));
        copy_padding(&from, (70, 65), &mut to);
        for (i, (w, h)) in [(70, 65), (35, 33), (35, 33)].into_iter().enumerate() {
            for row in 0..to.plane(i).height {
                for col in 0..to.plane(i).width {
                    let expected = if row < h && col < w { 0 } else { from.plane(i).row(row)[col] };
                    assert_eq!(to.plane(i).row(row)[col], expected, "plane {i} at {row}, {col}");
                }
            }
        }
    }

    #[test]
    fn coded_sizes() {
        assert_eq!(coded_size(1, 64), (64, 64));
        assert_eq!(coded_size(65, 360), (128, 384));
    }

    #[test]
    fn semiplanar_input_and_gaps_between_rows() {
        let (w, h) = (5, 3);
        let frame = sample_frame(w, h);
        let (mut luma, mut chroma) = (vec![0; 8 * h], vec![0; 10 * 2]);
        for row in 0..h {
            luma[row * 8..][..w].copy_from_slice(frame.plane(0).row(row));
        }
        for row in 0..2 {
            for col in 0..3 {
                chroma[row * 10 + 2 * col] = frame.plane(1).row(row)[col];
                chroma[row * 10 + 2 * col + 1] = frame.plane(2).row(row)[col];
            }
        }
        let plane = |data, stride, pixel_stride| PlaneView { data, stride, pixel_stride };
        let y = plane(&luma[..], 8, 1);
        let view = FrameView::new(w, h, y, plane(&chroma[..], 10, 2), plane(&chroma[1..], 10, 2)).unwrap();
        assert_eq!(padded(&view).unwrap(), padded(&frame.view()).unwrap());
    }

    #[test]
    fn copies_into_foreign_memory() {
        let frame = sample_frame(64, 64);
        let (w, h) = (5, 3);
        let (mut y, mut u, mut v) = (vec![0; 8 * 3], vec![0; 12], vec![0; 6]);
        let (py, pu, pv) = (plane_mut(&mut y[..], 8, 1), plane_mut(&mut u[..], 6, 2), plane_mut(&mut v[..], 3, 1));
        let mut target = FrameViewMut::new(w, h, py, ChromaViewMut::Planar { u: pu, v: pv }).unwrap();
        frame.copy_to(&mut target).unwrap();
        for row in 0..h {
            assert_eq!(y[row * 8..][..w], frame.plane(0).row(row)[..w]);
            assert_eq!(y[row * 8 + w..][..3], [0; 3]);
        }
        for row in 0..2 {
            let taken: Vec<u8> = u[row * 6..][..6].iter().step_by(2).copied().collect();
            assert_eq!(taken, frame.plane(1).row(row)[..3]);
            assert_eq!(v[row * 3..][..3], frame.plane(2).row(row)[..3]);
        }
        let (py, pu, pv) = (plane_mut(&mut y[..], 8, 1), plane_mut(&mut u[..], 6, 2), plane_mut(&mut v[..], 3, 1));
        let mut target = FrameViewMut::new(w, h, py, ChromaViewMut::Planar { u: pu, v: pv }).unwrap();
        assert!(matches!(Frame::new(4, 4).copy_to(&mut target), Err(Error::InvalidConfig(_))));
    }

    #[test]
    fn chroma_goes_by_turns_into_one_plane_or_nowhere() {
        let frame = sample_frame(64, 64);
        let (w, h) = (5, 3);
        let (mut y, mut uv) = (vec![0; 8 * 3], vec![7; 8 + 6]);
        let chroma = ChromaViewMut::Interleaved { data: &mut uv, stride: 8 };
        frame.copy_to(&mut FrameViewMut::new(w, h, plane_mut(&mut y, 8, 1), chroma).unwrap()).unwrap();
        for row in 0..2 {
            let pairs: Vec<u8> = (0..3).flat_map(|col| [1, 2].map(|plane| frame.plane(plane).row(row)[col])).collect();
            assert_eq!(uv[row * 8..][..6], pairs);
        }
        assert_eq!(uv[6..8], [7, 7]);
        let mut grey = vec![0; 8 * 3];
        frame.copy_to(&mut FrameViewMut::new(w, h, plane_mut(&mut grey, 8, 1), ChromaViewMut::None).unwrap()).unwrap();
        assert_eq!(grey, y);
        let short = ChromaViewMut::Interleaved { data: &mut uv[..13], stride: 8 };
        let error = FrameViewMut::new(w, h, plane_mut(&mut y, 8, 1), short).unwrap_err().to_string();
        assert!(error.contains("plane UV of 6x2"), "{error}");
    }

    #[test]
    fn targets_of_another_size_are_refused() {
        let frame = sample_frame(65, 10);
        let refused = pad_into(&frame.view(), &mut Frame::new(64, 64));
        assert!(matches!(refused, Err(Error::InvalidConfig(_))));
        assert!(matches!(frame.crop_copy(66, 10), Err(Error::InvalidConfig(_))));
        let mut view = frame.view();
        view.height = 11;
        assert!(matches!(padded(&view), Err(Error::InvalidConfig(_))));
    }
}
