//! Prediction of a block without processor-specific instructions.

use super::filters::{OFFSET, Source, before, taps};
use super::tile::{BY_LANE, BY_ROW, LANES, OWN, STRIDE, Scratch};
use crate::motion::overlap::UNIT;

/// As [`Kernels::block`](super::tile::Kernels::block).
pub(super) fn block<const S: usize, const MODE: u8>(
    source: &Source,
    lanes: usize,
    rows: usize,
    scratch: &mut Scratch,
    out: &mut [i16],
    weights: &[i16],
) {
    let (first, extra) = if source.y.is_some() { (0, taps::<S>() - 1) } else { (before::<S>(), 0) };
    for (row, line) in scratch.chunks_exact_mut(LANES).take(rows + extra).enumerate() {
        along_row::<S>(&source.samples[(first + row) * source.stride..], source.x, &mut line[..lanes]);
    }
    for (row, out) in out.chunks_mut(STRIDE).take(rows).enumerate() {
        let mut line = [0; LANES];
        match source.y {
            Some(filter) => down_columns::<S>(&scratch[row * LANES..], filter, &mut line[..lanes]),
            None => line[..lanes].copy_from_slice(&scratch[row * LANES..][..lanes]),
        }
        let out = out[..lanes].iter_mut().zip(&line);
        match MODE {
            OWN => out.for_each(|(p, &q)| *p = q),
            BY_ROW => out.for_each(|(p, &q)| *p = mix(*p, q, weights[row])),
            BY_LANE => out.zip(weights).for_each(|((p, &q), &weight)| *p = mix(*p, q, weight)),
            _ => unreachable!("there are three modes"),
        }
    }
}

/// p + ((weight (q - p) + 32) >> 6)
#[inline(always)]
fn mix(p: i16, q: i16, weight: i16) -> i16 {
    let (p, q) = (i32::from(p), i32::from(q));
    (p + ((i32::from(weight) * (q - p) + UNIT / 2) >> UNIT.ilog2())) as i16
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
