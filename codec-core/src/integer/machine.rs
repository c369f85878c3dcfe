//! Layers on all threads of a stream.

use super::{Area, Backend, Block, Depthwise, Pointwise};
use crate::kernels::parallel::{for_bands, split_rows, take_front};

/// Positions that a thread takes at a time; a multiple of what the kernels take.
const POSITIONS: usize = 48;

/// Instructions and threads. Results depend on neither.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Kernels that the layers run with.
    pub backend: Backend,
    /// Threads of the current rayon pool, the caller included.
    pub threads: usize,
}

impl Machine {
    /// The fastest instructions of this machine.
    pub fn new(threads: usize) -> Self {
        Self { backend: Backend::detect(), threads: threads.max(1) }
    }

    /// Calls `work(first, values)` for bands of positions of `channels` values each, `first` being the number of a band's first position.
    pub fn for_positions<T: Send>(self, values: &mut [T], channels: usize, work: impl Fn(usize, &mut [T]) + Sync) {
        let positions = values.len().checked_div(channels).unwrap_or(0);
        let mut rest = values;
        let bands = split_rows(positions, 1, self.threads).map(|band| {
            let values = take_front(&mut rest, band.len() * channels);
            (band.start, values)
        });
        for_bands(self.threads, bands, |(first, values)| work(first, values));
    }

    /// Calls `work(first, values)` for the spans of an area of `values`, `[rows][cols][channels]`, or for bands of them; `first` is the number
    /// of the first cell.
    pub fn for_spans<T: Send>(self, values: &mut [T], channels: usize, area: &Area, work: impl Fn(usize, &mut [T]) + Sync) {
        if area.is_whole() {
            return self.for_positions(values, channels, work);
        }
        let cols = area.size().1;
        self.for_positions(values, cols * channels, |first, values| {
            for (row, values) in (first..).zip(values.chunks_exact_mut(cols * channels)) {
                for span in area.row(row) {
                    work(row * cols + span.start, &mut values[span.start * channels..span.end * channels]);
                }
            }
        });
    }

    /// A layer at all positions of `x`.
    pub fn run(self, layer: &Pointwise, x: &[i16], out: &mut Vec<i16>) {
        self.bands(layer, x, None, out);
    }

    /// A layer at all positions of `x`, with `skip` added.
    pub fn run_adding(self, layer: &Pointwise, x: &[i16], skip: &[i16], out: &mut Vec<i16>) {
        self.bands(layer, x, Some(skip), out);
    }

    /// A layer at the cells of `area`, of `[rows][cols][inputs]`. What `out` holds elsewhere is of no importance.
    pub fn run_in(self, layer: &Pointwise, x: &[i16], area: &Area, out: &mut Vec<i16>) {
        self.spans(layer, x, None, area, out);
    }

    /// As [`Self::run_in`], with `skip` added.
    pub fn run_adding_in(self, layer: &Pointwise, x: &[i16], skip: &[i16], area: &Area, out: &mut Vec<i16>) {
        self.spans(layer, x, Some(skip), area, out);
    }

    fn spans(self, layer: &Pointwise, x: &[i16], skip: Option<&[i16]>, area: &Area, out: &mut Vec<i16>) {
        if area.is_whole() {
            return self.bands(layer, x, skip, out);
        }
        let ((rows, cols), inputs, outputs) = (area.size(), layer.inputs(), layer.outputs());
        resize(out, rows * cols * outputs);
        self.for_spans(out, outputs, area, |first, out| {
            let x = &x[first * inputs..][..out.len() / outputs * inputs];
            match skip {
                Some(skip) => layer.run_adding(self.backend, x, &skip[first * outputs..][..out.len()], out),
                None => layer.run(self.backend, x, out),
            }
        });
    }

    fn bands(self, layer: &Pointwise, x: &[i16], skip: Option<&[i16]>, out: &mut Vec<i16>) {
        let positions = x.len() / layer.inputs();
        resize(out, positions * layer.outputs());
        let mut rest = out.as_mut_slice();
        let bands = split_rows(positions, POSITIONS, self.threads).map(|band| {
            let out = take_front(&mut rest, band.len() * layer.outputs());
            (band, out)
        });
        for_bands(self.threads, bands, |(band, out)| {
            let x = &x[band.start * layer.inputs()..band.end * layer.inputs()];
            match skip {
                Some(skip) => {
                    let skip = &skip[band.start * layer.outputs()..band.end * layer.outputs()];
                    layer.run_adding(self.backend, x, skip, out);
                }
                None => layer.run(self.backend, x, out),
            }
        });
    }

    /// A depthwise layer at the cells of `area`, of `[rows][cols][channels]`. What `out` holds elsewhere is of no importance, and what `x`
    /// holds there becomes zero.
    pub fn run_depthwise(self, layer: &Depthwise, x: &mut [i16], area: &Area, out: &mut Vec<i16>) {
        area.clear_outside(x, layer.channels());
        resize(out, x.len());
        layer.run(self.backend, self.threads, x, area, out);
    }

    /// Blocks one after the other at the cells of `area`. `x` is `[rows][cols][channels]` before and after; `spare` is memory.
    pub fn blocks(self, blocks: &[Block], x: &mut Vec<i16>, area: &Area, spare: &mut Vec<i16>) {
        for block in blocks {
            resize(spare, x.len());
            block.run(self.backend, self.threads, x, area, spare);
            std::mem::swap(x, spare);
        }
    }
}

/// Gives a buffer a length; what it holds then is of no importance.
pub(crate) fn resize(buffer: &mut Vec<i16>, len: usize) {
    // Without clearing first: all of it is written anyway.
    buffer.resize(len, 0);
}
