//! Prediction of a block without processor-specific instructions.

use super::filters::{OFFSET, Source, before, taps};
use super::tile::{BY_LANE, BY_ROW, Kernels, LANES, OWN, STRIDE};
use crate::motion::ROOT;

/// Runs everywhere.
#[derive(Clone)]
pub(super) struct Generic {
    /// Rows between the two filters, [`LANES`] apart.
    rows: [i16; (ROOT + taps::<1>() - 1) * LANES],
}

impl Default for Generic {
    fn default() -> Self {
        Self { rows: [0; _] }
    }
}

impl Kernels for Generic {
    fn block<const S: usize, const MODE: u8>(
        &mut self,
        source: &Source,
        lanes: usize,
        rows: usize,
        out: &mut [i16],
        weights: &[[i16; 2]],
    ) {
        let lanes = lanes.next_multiple_of(CHUNK);
        let (first, extra) = if source.y.is_some() { (0, taps::<S>() - 1) } else { (before::<S>(), 0) };
        for (row, line) in self.rows.chunks_exact_mut(LANES).take(rows + extra).enumerate() {
            let samples = &source.samples[(first + row) * source.stride..];
            for (i, values) in line[..lanes].as_chunks_mut().0.iter_mut().enumerate() {
                *values = along_row::<S>(&samples[i * CHUNK..], source.x);
            }
        }
        for (row, out) in out.chunks_mut(STRIDE).take(rows).enumerate() {
            for (i, out) in out[..lanes].as_chunks_mut::<CHUNK>().0.iter_mut().enumerate() {
                let values = down_columns::<S>(&self.rows[row * LANES + i * CHUNK..], source.y);
                match MODE {
                    OWN => *out = values,
                    BY_ROW => *out = mix(*out, values, &[weights[row]; CHUNK]),
                    BY_LANE => *out = mix(*out, values, weights[i * CHUNK..].first_chunk().expect("ramps are long enough")),
                    _ => unreachable!("there are three modes"),
                }
            }
        }
    }
}

/// Lanes that are worked on together.
const CHUNK: usize = 8;

/// p + ((weight (q - p) + 32) >> 6), where the factors are 64 - weight and weight.
#[inline(always)]
fn mix(p: [i16; CHUNK], q: [i16; CHUNK], factors: &[[i16; 2]; CHUNK]) -> [i16; CHUNK] {
    std::array::from_fn(|i| {
        let sum = i32::from(p[i]) * i32::from(factors[i][0]) + i32::from(q[i]) * i32::from(factors[i][1]);
        ((sum + 32) >> 6) as i16
    })
}

#[inline(always)]
fn along_row<const S: usize>(samples: &[u8], filter: Option<&[i8; 8]>) -> [i16; CHUNK] {
    let at = |tap: usize| samples[tap * S..].first_chunk::<CHUNK>().expect("the border holds all taps");
    let Some(filter) = filter else {
        return at(before::<S>()).map(|sample| 64 * i16::from(sample) - OFFSET);
    };
    let mut sums = [-OFFSET; CHUNK];
    for (tap, &factor) in filter[..taps::<S>()].iter().enumerate() {
        let samples = at(tap);
        for i in 0..CHUNK {
            sums[i] += i16::from(factor) * i16::from(samples[i]);
        }
    }
    sums
}

#[inline(always)]
fn down_columns<const S: usize>(lines: &[i16], filter: Option<&[i8; 8]>) -> [i16; CHUNK] {
    let at = |tap: usize| lines[tap * LANES..].first_chunk::<CHUNK>().expect("lines are whole chunks");
    let Some(filter) = filter else { return *at(0) };
    let mut sums = [32; CHUNK];
    for (tap, &factor) in filter[..taps::<S>()].iter().enumerate() {
        let values = at(tap);
        for i in 0..CHUNK {
            sums[i] += i32::from(i16::from(factor)) * i32::from(values[i]);
        }
    }
    sums.map(|sum| (sum >> 6) as i16)
}
