//! Block prediction: interpolation along each leaf's vector, and overlapped blending of neighbours' vectors.
//!
//! In: the last frame, the golden frame and a field. Out: the prediction. Integers throughout, defined by `docs/bitstream.md`,
//! "Block prediction". Roots are independent of each other: one is predicted
//! in a small buffer, blended and rounded before the next one.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod filters;
mod generic;
mod overlap_map;
mod strips;
#[cfg(test)]
mod tests;
mod tile;

pub use overlap_map::OverlapMap;

use self::generic::Generic;
use self::strips::CELLS;
use self::tile::{Kernels, Planes, Tile};
use super::{BlockField, CELL, PaddedPlane, ROOT};
use crate::frame::{Frame, chroma_size};
use crate::kernels::parallel::for_bands;
use crate::{Error, Result};

/// Predicts frames from block motion, and keeps its buffers.
#[derive(Debug, Default)]
pub struct BlockCompensator {
    last: PaddedFrame,
}

/// A frame of coded size whose visible part's edges are repeated, at any distance.
#[derive(Clone, Debug, Default)]
pub struct PaddedFrame {
    luma: PaddedPlane,
    /// U and V, interleaved.
    chroma: PaddedPlane,
}

impl PaddedFrame {
    /// Takes the upper left `display` part (width, height, at least 1) of a frame, keeping the memory where it can.
    ///
    /// # Panics
    /// If that part is empty or larger than the frame.
    pub fn load(&mut self, frame: &Frame, display: (usize, usize), threads: usize) {
        let visible_chroma = chroma_size(display.0, display.1);
        for_bands(threads, [(&mut self.luma, false), (&mut self.chroma, true)], |(padded, chroma)| {
            if chroma {
                padded.load_pair([frame.plane(1), frame.plane(2)], visible_chroma.0, visible_chroma.1);
            } else {
                padded.load(frame.plane(0), display.0, display.1);
            }
        });
    }
}

/// What a frame is predicted from.
#[derive(Clone, Copy, Debug)]
pub struct References<'a> {
    /// The last frame, of coded size.
    pub last: &'a Frame,
    /// The golden frame. Where it is missing, leaves that use it move as their vectors to the last frame say.
    pub golden: Option<&'a PaddedFrame>,
}

/// A row of roots, with its rows of the output from the first sample on.
enum Band<'a> {
    Luma { row: usize, out: &'a mut [u8] },
    Chroma { row: usize, out: [&'a mut [u8]; 2] },
}

impl BlockCompensator {
    /// Predicts a frame of the references' coded size.
    ///
    /// `display` is the visible luma size (width, height). Samples of the references beyond it (chroma: beyond half of it, rounded
    /// up) are not used: the visible edge is repeated instead, at any distance. Up to `threads` threads of the current rayon pool
    /// work; the result does not depend on it.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if the sides of the last frame are no positive multiples of [`ROOT`], if `field` or `out` has another
    /// size, or if `display` is empty, larger, or not the golden frame's.
    pub fn predict(
        &mut self,
        references: References,
        display: (usize, usize),
        field: &BlockField,
        threads: usize,
        out: &mut Frame,
    ) -> Result<()> {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = avx2::Avx2::detect() {
            return self.predict_with(avx2, references, display, field, threads, out);
        }
        self.predict_with(Generic::default(), references, display, field, threads, out)
    }

    fn predict_with(
        &mut self,
        kernels: impl Kernels,
        references: References,
        display: (usize, usize),
        field: &BlockField,
        threads: usize,
        out: &mut Frame,
    ) -> Result<()> {
        let golden = references.golden;
        check(references.last, display, field, out)?;
        if golden.is_some_and(|golden| golden.luma.size() != display) {
            return Err(Error::InvalidConfig(format!("the golden frame does not show {}x{} samples", display.0, display.1)));
        }
        self.last.load(references.last, display, threads);
        if let Some(light) = field.light {
            self.last.luma.map(&light.luma());
            self.last.chroma.map(&light.chroma());
        }

        let strides = out.planes_mut().each_ref().map(|plane| plane.stride);
        let [y, u, v] = out.planes_mut();
        let rows = (0..field.rows()).step_by(CELLS);
        let luma_bands = rows.clone().zip(y.data.chunks_mut(ROOT * strides[0])).map(|(row, out)| Band::Luma { row, out });
        let chroma_rows = u.data.chunks_mut(ROOT / 2 * strides[1]).zip(v.data.chunks_mut(ROOT / 2 * strides[2]));
        let chroma_bands = rows.zip(chroma_rows).map(|(row, (u, v))| Band::Chroma { row, out: [u, v] });
        let luma = Planes { last: &self.last.luma, golden: golden.map(|frame| &frame.luma) };
        let chroma = Planes { last: &self.last.chroma, golden: golden.map(|frame| &frame.chroma) };
        for_bands(threads, luma_bands.chain(chroma_bands), |band| {
            let mut tile = Tile::new(kernels.clone());
            let cols = (0..field.cols()).step_by(CELLS);
            match band {
                Band::Luma { row, out } => cols.for_each(|col| {
                    tile.predict::<1>(luma, field, row, col);
                    tile.finish_luma(&mut out[col * CELL..], strides[0]);
                }),
                Band::Chroma { row, out: [u, v] } => cols.for_each(|col| {
                    tile.predict::<2>(chroma, field, row, col);
                    let first = col * CELL / 2;
                    tile.finish_chroma([&mut u[first..], &mut v[first..]], [strides[1], strides[2]]);
                }),
            }
        });
        Ok(())
    }
}

fn check(reference: &Frame, display: (usize, usize), field: &BlockField, out: &Frame) -> Result<()> {
    reference.view().check()?;
    out.view().check()?;
    let (width, height) = (reference.width(), reference.height());
    let fail = |what: String| Err(Error::InvalidConfig(format!("reference frame of {width}x{height}: {what}")));
    if width == 0 || height == 0 || width % ROOT != 0 || height % ROOT != 0 {
        return fail(format!("pad both sides to multiples of {ROOT}"));
    }
    let moved = (field.cols() * CELL, field.rows() * CELL);
    if moved != (width, height) {
        return fail(format!("the block field is made for {}x{}", moved.0, moved.1));
    }
    if (out.width(), out.height()) != (width, height) {
        return fail(format!("the output has {}x{}; give both the same size", out.width(), out.height()));
    }
    if display.0 == 0 || display.1 == 0 || display.0 > width || display.1 > height {
        return fail(format!("{}x{} samples of it cannot be shown", display.0, display.1));
    }
    Ok(())
}
