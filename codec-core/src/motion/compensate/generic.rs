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
        let (first, extra) = if source.y.is_some() { (0, taps::<S>() - 1) } else { (before::<S>(), 0) };
        for (row, line) in self.rows.chunks_exact_mut(LANES).take(rows + extra).enumerate() {
            along_row::<S>(&source.samples[(first + row) * source.stride..], source.x, &mut line[..lanes]);
        }
        for (row, out) in out.chunks_mut(STRIDE).take(rows).enumerate() {
            let lines = &self.rows[row * LANES..];
            let mut filtered = [0; LANES];
            let line = match source.y {
                Some(filter) => {
                    down_columns::<S>(lines, filter, &mut filtered[..lanes]);
                    &filtered
                }
                None => &lines[..LANES],
            };
            let out = out[..lanes].iter_mut().zip(line);
            match MODE {
                OWN => out.for_each(|(p, &q)| *p = q),
                BY_ROW => out.for_each(|(p, &q)| *p = mix(*p, q, weights[row])),
                BY_LANE => out.zip(weights).for_each(|((p, &q), &weight)| *p = mix(*p, q, weight)),
                _ => unreachable!("there are three modes"),
            }
        }
    }
}

/// p + ((weight (q - p) + 32) >> 6), where the factors are 64 - weight and weight.
#[inline(always)]
fn mix(p: i16, q: i16, factors: [i16; 2]) -> i16 {
    let sum = i32::from(p) * i32::from(factors[0]) + i32::from(q) * i32::from(factors[1]);
    ((sum + 32) >> 6) as i16
}

#[inline(always)]
fn along_row<const S: usize>(samples: &[u8], filter: Option<&[i8; 8]>, out: &mut [i16]) {
    let Some(filter) = filter else {
        for (value, &sample) in out.iter_mut().zip(&samples[before::<S>() * S..]) {
            *value = 64 * i16::from(sample) - OFFSET;
        }
        return;
    };
    out.fill(-OFFSET);
    for (tap, &factor) in filter[..taps::<S>()].iter().enumerate() {
        for (value, &sample) in out.iter_mut().zip(&samples[tap * S..]) {
            *value += i16::from(factor) * i16::from(sample);
        }
    }
}

#[inline(always)]
fn down_columns<const S: usize>(lines: &[i16], filter: &[i8; 8], out: &mut [i16]) {
    let mut sums = [32; LANES];
    for (tap, &factor) in filter[..taps::<S>()].iter().enumerate() {
        for (sum, &value) in sums[..out.len()].iter_mut().zip(&lines[tap * LANES..]) {
            *sum += i32::from(factor) * i32::from(value);
        }
    }
    for (value, sum) in out.iter_mut().zip(sums) {
        *value = (sum >> 6) as i16;
    }
}
