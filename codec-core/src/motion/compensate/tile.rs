//! One root of one plane, or of both chroma planes interleaved: its own predictions, then what its neighbours blend in.
//!
//! `S` is the number of samples at a position, 1 for luma and 2 for chroma. Chroma has half the columns, so interleaved it has as
//! many lanes as luma has columns: a root is [`LANES`] lanes wide and `ROOT / S` rows high in both cases.

use super::filters::{OFFSET, Source};
use super::strips::{Cells, Pass, Strip, ramp};
use crate::kernels::simd::multiversion;
use crate::motion::{BlockField, CELL, Golden, Motion, MotionVector, PaddedPlane, ROOT};

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

/// The mean of two predictions.
const MEAN: [[i16; 2]; ROOT] = [[32; 2]; ROOT];

/// A plane of the last frame and of the golden one, if there is one.
#[derive(Clone, Copy)]
pub(super) struct Planes<'a> {
    pub last: &'a PaddedPlane,
    pub golden: Option<&'a PaddedPlane>,
}

/// Predicts the roots of a plane.
pub(super) struct Tile<K> {
    /// Predictions, 64 per grey level, less [`OFFSET`].
    values: [i16; STRIDE * ROOT],
    /// A mean that is to be blended in.
    mean: [i16; STRIDE * ROOT],
    kernels: K,
}

/// A block of a root: its first lane and row, and its size.
#[derive(Clone, Copy)]
struct Area {
    lane: usize,
    row: usize,
    lanes: usize,
    rows: usize,
}

impl<K: Kernels> Tile<K> {
    pub fn new(kernels: K) -> Self {
        Self { values: [0; STRIDE * ROOT], mean: [0; STRIDE * ROOT], kernels }
    }

    /// Predicts the root whose first cell is (`row`, `col`).
    pub fn predict<const S: usize>(&mut self, planes: Planes, field: &BlockField, row: usize, col: usize) {
        let place = Place::<S> { planes, x: col * CELL / S, y: row * CELL / S };
        let cells = Cells::new(field, planes.golden.is_some(), row, col);
        cells.rectangles(|[row, col, rows, cols], motion| {
            let area = Area { lane: col * CELL, row: row * CELL / S, lanes: cols * CELL, rows: rows * CELL / S };
            self.block::<S, OWN>(&place, area, motion, &[]);
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
        let area = Area { lane: strip.x, row: strip.y / S + skip, lanes: strip.width, rows };
        self.block::<S, BY_ROW>(place, area, strip.motion, &weights[skip..]);
    }

    /// Blends a strip of the second pass.
    fn columns<const S: usize>(&mut self, place: &Place<S>, strip: Strip) {
        let weights = ramp::<S>(strip.overlap / S, strip.far);
        let area = Area { lane: strip.x, row: strip.y / S, lanes: strip.width, rows: strip.height / S };
        self.block::<S, BY_LANE>(place, area, strip.motion, weights);
    }

    /// Predicts a block and writes it in the way that `MODE` says.
    fn block<const S: usize, const MODE: u8>(&mut self, place: &Place<S>, area: Area, motion: Motion, weights: &[[i16; 2]]) {
        let Area { lane, row, lanes, rows } = area;
        let out = &mut self.values[row * STRIDE + lane..];
        let last = || place.source(place.planes.last, area, motion.vector);
        let golden = |vector| place.source(place.planes.golden.unwrap_or(place.planes.last), area, vector);
        match motion.golden {
            Golden::Unused => self.kernels.block::<S, MODE>(&last(), lanes, rows, out, weights),
            Golden::Alone(vector) => self.kernels.block::<S, MODE>(&golden(vector), lanes, rows, out, weights),
            Golden::Mixed(vector) => {
                let mean = if MODE == OWN { &mut *out } else { &mut self.mean[..] };
                // In these modes, lanes come in eights.
                let whole = lanes.next_multiple_of(8);
                self.kernels.block::<S, OWN>(&last(), whole, rows, mean, &[]);
                self.kernels.block::<S, BY_ROW>(&golden(vector), whole, rows, mean, &MEAN);
                if MODE != OWN {
                    blend(&self.mean, out, [lanes, rows], weights, MODE == BY_ROW);
                }
            }
        }
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
    planes: Planes<'a>,
    x: usize,
    y: usize,
}

impl<'a, const S: usize> Place<'a, S> {
    fn source(&self, plane: &'a PaddedPlane, area: Area, vector: MotionVector) -> Source<'a> {
        Source::new::<S>(plane, self.x + area.lane / S, self.y + area.row, vector)
    }
}

multiversion! {
    /// Blends `lanes` x `rows` values into others, with the weights of [`BY_ROW`] or [`BY_LANE`].
    fn blend(from: &[i16], out: &mut [i16], size: [usize; 2], weights: &[[i16; 2]], by_row: bool) = blend_rows
}

#[inline(always)]
fn blend_rows(from: &[i16], out: &mut [i16], [lanes, rows]: [usize; 2], weights: &[[i16; 2]], by_row: bool) {
    let mix =
        |a: i16, b: i16, [old, new]: [i16; 2]| ((i32::from(a) * i32::from(old) + i32::from(b) * i32::from(new) + 32) >> 6) as i16;
    for (row, (from, out)) in from.chunks(STRIDE).zip(out.chunks_mut(STRIDE)).take(rows).enumerate() {
        let values = out[..lanes].iter_mut().zip(&from[..lanes]);
        if by_row {
            let weights = weights[row];
            values.for_each(|(out, &value)| *out = mix(*out, value, weights));
        } else {
            values.zip(weights).for_each(|((out, &value), &weights)| *out = mix(*out, value, weights));
        }
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
