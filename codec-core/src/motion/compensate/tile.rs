//! One root of one plane, or of both chroma planes interleaved: its own predictions, then what its neighbours blend in.
//!
//! `S` is the number of samples at a position, 1 for luma and 2 for chroma. Chroma has half the columns, so interleaved it has as
//! many lanes as luma has columns: a root is [`LANES`] lanes wide and `ROOT / S` rows high in both cases.

use super::filters::{OFFSET, Source};
use super::strips::{Cells, Pass, Strip, ramp};
use crate::kernels::simd::multiversion;
use crate::motion::{BlockField, CELL, MotionVector, PaddedPlane, ROOT};

/// Lanes of a root.
pub(super) const LANES: usize = ROOT;
/// Lanes from one row of a tile to the next: some more than a root has, since vectors are stored whole.
pub(super) const STRIDE: usize = LANES + 8;
/// What becomes of a block's prediction: it replaces what is there.
pub(super) const OWN: u8 = 0;
/// It is blended with one weight for each row.
pub(super) const BY_ROW: u8 = 1;
/// It is blended with one weight for each lane.
pub(super) const BY_LANE: u8 = 2;

/// The inner loops, for one instruction set, with the memory that they need.
pub(super) trait Kernels: Clone + Send + Sync {
    /// Predicts a block of `lanes` x `rows` and writes it to `out`, whose rows are [`STRIDE`] apart, in the way that `MODE` says.
    ///
    /// Lanes are a multiple of 8, at most [`LANES`], or 4 in mode [`BY_LANE`]; rows are even and at most [`ROOT`]. The weights are
    /// those of a [`Ramp`](super::strips::Ramp), from the first row or lane on.
    fn block<const S: usize, const MODE: u8>(
        &mut self,
        source: &Source,
        lanes: usize,
        rows: usize,
        out: &mut [i16],
        weights: &[[i16; 2]],
    );
}

/// Predicts the roots of a plane.
pub(super) struct Tile<K> {
    /// Predictions, 64 per grey level, less [`OFFSET`].
    values: [i16; STRIDE * ROOT],
    kernels: K,
}

impl<K: Kernels> Tile<K> {
    pub fn new(kernels: K) -> Self {
        Self { values: [0; STRIDE * ROOT], kernels }
    }

    /// Predicts the root whose first cell is (`row`, `col`).
    pub fn predict<const S: usize>(&mut self, plane: &PaddedPlane, field: &BlockField, row: usize, col: usize) {
        let place = Place::<S> { plane, x: col * CELL / S, y: row * CELL / S };
        let cells = Cells::new(field, row, col);
        cells.rectangles(|[row, col, rows, cols], vector| {
            let (lane, row) = (col * CELL, row * CELL / S);
            let source = place.source(lane, row, vector);
            self.kernels.block::<S, OWN>(&source, cols * CELL, rows * CELL / S, &mut self.values[row * STRIDE + lane..], &[]);
        });
        // A pass blends with what the one before made; its own strips are disjoint.
        cells.strips(Pass::Vertical, |strip| self.rows::<S>(&place, strip));
        cells.strips(Pass::Horizontal, |strip| self.columns::<S>(&place, strip));
    }

    /// Blends a strip of the first pass.
    fn rows<const S: usize>(&mut self, place: &Place<S>, strip: Strip) {
        let depth = strip.overlap / S;
        let weights = ramp::<1>(depth, strip.far);
        // In long ramps, the outermost eighth of the weights is 0.
        let idle = if depth < 16 { 0 } else { depth / 8 };
        let (skip, rows) = (if strip.far { idle } else { 0 }, depth - idle);
        let (lane, row) = (strip.x, strip.y / S + skip);
        let source = place.source(lane, row, strip.vector);
        let out = &mut self.values[row * STRIDE + lane..];
        self.kernels.block::<S, BY_ROW>(&source, strip.width, rows, out, &weights[skip..]);
    }

    /// Blends a strip of the second pass.
    fn columns<const S: usize>(&mut self, place: &Place<S>, strip: Strip) {
        let weights = ramp::<S>(strip.overlap / S, strip.far);
        let (lane, row) = (strip.x, strip.y / S);
        let source = place.source(lane, row, strip.vector);
        let out = &mut self.values[row * STRIDE + lane..];
        self.kernels.block::<S, BY_LANE>(&source, strip.width, strip.height / S, out, weights);
    }

    /// Rounds the root to 8 bits. `out` starts at its upper left sample.
    pub fn finish_luma(&self, out: &mut [u8], stride: usize) {
        round_luma(&self.values, out, stride);
    }

    /// As [`Self::finish_luma`], for U and V.
    pub fn finish_chroma(&self, out: [&mut [u8]; 2], stride: [usize; 2]) {
        round_chroma(&self.values, out, stride);
    }
}

/// A root in the reference, in the plane's own samples.
struct Place<'a, const S: usize> {
    plane: &'a PaddedPlane,
    x: usize,
    y: usize,
}

impl<'a, const S: usize> Place<'a, S> {
    fn source(&self, lane: usize, row: usize, vector: MotionVector) -> Source<'a> {
        Source::new::<S>(self.plane, self.x + lane / S, self.y + row, vector)
    }
}

multiversion! {
    fn round_luma(values: &[i16], out: &mut [u8], stride: usize) = luma_rows
}

multiversion! {
    fn round_chroma(values: &[i16], out: [&mut [u8]; 2], stride: [usize; 2]) = chroma_rows
}

/// (value + offset + 32) >> 6, clipped to 0..=255.
#[inline(always)]
fn round(value: i16) -> u8 {
    // Saturation changes nothing: such values are clipped anyway.
    (value.saturating_add(OFFSET + 32) >> 6).clamp(0, 255) as u8
}

#[inline(always)]
fn luma_rows(values: &[i16], out: &mut [u8], stride: usize) {
    for (line, out) in values.chunks_exact(STRIDE).zip(out.chunks_mut(stride)) {
        for (sample, &value) in out[..LANES].iter_mut().zip(line) {
            *sample = round(value);
        }
    }
}

#[inline(always)]
fn chroma_rows(values: &[i16], out: [&mut [u8]; 2], stride: [usize; 2]) {
    let [u, v] = out;
    let rows = u.chunks_mut(stride[0]).zip(v.chunks_mut(stride[1]));
    for (line, (u, v)) in values.chunks_exact(STRIDE).take(ROOT / 2).zip(rows) {
        let pairs = line.as_chunks::<2>().0.iter();
        for ((u, v), pair) in u[..LANES / 2].iter_mut().zip(&mut v[..LANES / 2]).zip(pairs) {
            (*u, *v) = (round(pair[0]), round(pair[1]));
        }
    }
}
