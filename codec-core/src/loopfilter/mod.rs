//! A Wiener filter in the loop, as VVC's adaptive loop filter (Tsai et al., "Adaptive loop filtering for video coding", 2013):
//! symmetric diamonds whose coefficients the encoder fits to each frame, by classes of blocks, switched on and off by areas.
//!
//! In: a reconstruction and, in the encoder, its original. Out: filter parameters as symbols, and the filtered reconstruction.
//! Everything that a decoder does is integer arithmetic on the 8-bit reconstruction; its output is the reference of the next frame.

mod classes;
mod coding;
mod diamond;
mod estimate;
mod kernel;
mod moments;
mod params;
mod samples;
mod solve;
#[cfg(test)]
mod tests;

pub use coding::FilterCoder;
pub use params::FilterParams;

use classes::{BLOCK, ClassMap, Sums, blocks};
use estimate::Choice;
use kernel::Filter;
use moments::Gatherer;
use params::{AREA, PlaneFilter};
use samples::{STRIP, Samples};

use crate::entropy::SymbolWriter;
use crate::frame::{Frame, Plane, chroma_size};
use crate::kernels::parallel::{for_bands, split_rows, take_front};
use crate::kernels::simd::multiversion;

/// Estimates filters and applies them; keeps its buffers from frame to frame.
#[derive(Clone, Debug, Default)]
pub struct LoopFilter {
    /// The unfiltered planes.
    samples: [Samples; 3],
    /// Of luma.
    classes: ClassMap,
    /// Of chroma: all alike.
    flat: ClassMap,
    gatherer: Gatherer,
}

impl LoopFilter {
    /// Finds the filter that brings `decoded` nearer to `original` (both of coded size; only the part of `display` luma samples
    /// counts): the one with the least J = squared error in grey levels + 65025 / `lambda` * bits, with `lambda` as
    /// [`crate::quality::lambda`] gives it. None if no filter is better than none.
    ///
    /// `coder` is the stream's state before this frame, for real costs and the last frame's coefficients. Up to `threads` threads of the
    /// current rayon pool work, the caller included; the result does not depend on it.
    ///
    /// # Panics
    /// If a side of `display` is 0 or larger than the frames', or `coder` was made for another display size.
    pub fn estimate(
        &mut self,
        original: &Frame,
        decoded: &Frame,
        display: (usize, usize),
        coder: &FilterCoder,
        lambda: f64,
        threads: usize,
    ) -> Option<FilterParams> {
        let price = 65025.0 / lambda;
        for plane in 0..3 {
            self.load(plane, decoded.plane(plane), display, threads);
        }
        self.classify(threads);
        let luma = Choice {
            samples: &self.samples[0],
            original: original.plane(0),
            classes: &self.classes,
            block: BLOCK,
            state: &coder.luma,
            price,
            threads,
        };
        let luma = luma.make(&mut self.gatherer);
        let chroma = [0, 1].map(|i| {
            let samples = &self.samples[1 + i];
            self.flat.clear(samples);
            let original = original.plane(1 + i);
            let (classes, state) = (&self.flat, &coder.chroma[i]);
            let choice = Choice { samples, original, classes, block: STRIP, state, price, threads };
            choice.make(&mut self.gatherer)
        });
        let change = luma.iter().map(|found| found.change).chain(chroma.iter().flatten().map(|found| found.change)).sum::<i64>();
        let params = FilterParams::some(luma.map(|found| found.filter), chroma.map(|found| found.map(|found| found.filter)))?;
        // Each plane by itself is worth its bits; all together must be worth telling that there is a filter.
        let bits = |params: Option<&FilterParams>| {
            let mut writer = SymbolWriter::new();
            coder.clone().encode(params, &mut writer);
            writer.bits()
        };
        let gains = change as f64 + price * (bits(Some(&params)) - bits(None)) < 0.0;
        gains.then_some(params)
    }

    /// Filters a reconstruction of coded size in place. Samples outside the part of `display` luma samples stay as they are, and what
    /// taps read there is the visible edge, repeated.
    ///
    /// `threads`: how many threads of the current rayon pool may work, the caller included.
    ///
    /// # Panics
    /// If a side of `display` is 0 or larger than the frame's.
    pub fn apply(&mut self, params: &FilterParams, display: (usize, usize), frame: &mut Frame, threads: usize) {
        if let Some(luma) = &params.luma {
            self.load(0, frame.plane(0), display, threads);
            self.classify(threads);
            run(luma, &self.samples[0], (&self.classes, BLOCK), frame.plane_mut(0), threads);
        }
        for (plane, filter) in [1, 2].into_iter().zip(&params.chroma) {
            if let Some(filter) = filter {
                self.load(plane, frame.plane(plane), display, threads);
                self.flat.clear(&self.samples[plane]);
                run(filter, &self.samples[plane], (&self.flat, STRIP), frame.plane_mut(plane), threads);
            }
        }
    }

    fn load(&mut self, index: usize, plane: &Plane, (width, height): (usize, usize), threads: usize) {
        let size = if index == 0 { (width, height) } else { chroma_size(width, height) };
        self.samples[index].load(plane, size, threads);
    }

    /// Finds the classes of luma's blocks.
    fn classify(&mut self, threads: usize) {
        let samples = &self.samples[0];
        let (cols, rows) = (blocks(samples.width()), blocks(samples.height()));
        self.classes.cols = cols;
        self.classes.classes.resize(cols * rows, 0);
        let rows_a_band = rows.div_ceil(threads.max(1));
        let bands = self.classes.classes.chunks_mut(cols * rows_a_band).enumerate();
        for_bands(threads, bands, |(band, classes)| classify_rows(samples, band * rows_a_band, classes));
    }
}

impl ClassMap {
    /// One class for all of a plane, in blocks as wide as a strip.
    fn clear(&mut self, samples: &Samples) {
        self.cols = samples.width().div_ceil(STRIP);
        self.classes.clear();
        self.classes.resize(self.cols * samples.height().div_ceil(STRIP), 0);
    }
}

/// Filters a plane in bands of whole areas. `classes`: the map and the side of its blocks.
fn run<const K: usize, const C: usize>(
    filter: &PlaneFilter<K, C>,
    samples: &Samples,
    (classes, block): (&ClassMap, usize),
    plane: &mut Plane,
    threads: usize,
) {
    let stride = plane.stride;
    let mut rest = &mut plane.data[..];
    let bands: Vec<_> = split_rows(samples.height(), AREA, threads.max(1))
        .map(|rows| {
            let len = (rows.len() * stride).min(rest.len());
            (rows, take_front(&mut rest, len))
        })
        .collect();
    let filter = Filter::new(samples, &filter.sets, (classes, block), &filter.areas);
    for_bands(threads, bands, |(rows, out)| filter.write_rows(rows, out, stride));
}

#[inline(always)]
fn classify_band(samples: &Samples, first: usize, classes: &mut [u8]) {
    let mut sums = Sums::default();
    for (row, classes) in classes.chunks_mut(blocks(samples.width())).enumerate() {
        classes::classify(samples, first + row, &mut sums, classes);
    }
}

multiversion! {
    /// Classes of whole rows of blocks, from row of blocks `first` on.
    fn classify_rows(samples: &Samples, first: usize, classes: &mut [u8]) = classify_band
}
