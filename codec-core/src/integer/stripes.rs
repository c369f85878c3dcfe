//! Stripes of rows on a few threads, each with memory of its own.

use std::cell::RefCell;

use crate::kernels::parallel::{for_bands, split_rows, take_front};

/// Values of a cache line.
const CACHE_LINE: usize = 32;

/// Memory for some rows. Every thread keeps its own between frames, for all layers.
#[derive(Default)]
pub(super) struct Scratch {
    values: Vec<i16>,
    zeros: Vec<i16>,
}

impl Scratch {
    /// `line` zeros, and pieces of memory of `lengths` values that hold anything.
    pub(super) fn rows<const N: usize>(&mut self, line: usize, lengths: [usize; N]) -> (&[i16], [&mut [i16]; N]) {
        // Loads that cross cache lines are slow, so pieces begin on whole ones.
        let lengths = lengths.map(|length| (length, length.next_multiple_of(CACHE_LINE)));
        let needed = lengths.iter().map(|(_, padded)| padded).sum::<usize>() + CACHE_LINE;
        if self.values.len() < needed {
            self.values.resize(needed, 0);
        }
        if self.zeros.len() < line {
            self.zeros.resize(line, 0);
        }
        let first = self.values.as_ptr().align_offset(2 * CACHE_LINE).min(CACHE_LINE);
        let mut rest = &mut self.values[first..];
        (&self.zeros[..line], lengths.map(|(length, padded)| &mut take_front(&mut rest, padded)[..length]))
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Calls `work(first row, rows of `out`, scratch)` for up to `threads` stripes of `out`, whose rows have `line` values.
///
/// Stripes run on the current rayon pool and the calling thread; with 1 (or 0) all stays on the calling thread. `work` starts
/// no other stripes.
pub(super) fn for_stripes(threads: usize, line: usize, out: &mut [i16], work: impl Fn(usize, &mut [i16], &mut Scratch) + Sync) {
    let rows = out.len() / line;
    let mut rest = out;
    let stripes = split_rows(rows, 1, threads).map(|range| (range.start, take_front(&mut rest, range.len() * line)));
    for_bands(threads, stripes, |(from, out)| SCRATCH.with_borrow_mut(|scratch| work(from, out, scratch)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_on_cache_lines_and_is_kept() {
        let mut scratch = Scratch::default();
        let (zeros, [a, b, c]) = scratch.rows(40, [33, 5, 0]);
        assert_eq!((zeros, a.len(), b.len(), c.len()), (&[0; 40][..], 33, 5, 0));
        assert_eq!((a.as_ptr().align_offset(64), b.as_ptr().align_offset(64)), (0, 0));
        a.fill(9);
        let at = scratch.values.as_ptr();
        let (zeros, [a]) = scratch.rows(7, [60]);
        assert_eq!((zeros, a.len()), (&[0; 7][..], 60));
        assert_eq!(scratch.values.as_ptr(), at);
    }

    #[test]
    fn stripes_cover_all_rows() {
        for threads in [0, 1, 2, 3, 8] {
            let mut out = vec![0; 5 * 4];
            for_stripes(threads, 4, &mut out, |from, out, _| {
                for (r, row) in (from..).zip(out.chunks_exact_mut(4)) {
                    row.iter_mut().for_each(|v| *v += r as i16 + 1);
                }
            });
            let wanted: Vec<i16> = (0..20).map(|i| i / 4 + 1).collect();
            assert_eq!(out, wanted, "{threads}");
        }
    }
}
