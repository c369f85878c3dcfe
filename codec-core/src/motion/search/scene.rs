//! Whether a picture is worth predicting: what prediction leaves, against what the picture holds.

use std::ops::Range;

use super::hierarchy::Hierarchy;
use crate::kernels::parallel::{for_bands, split_rows};
use crate::kernels::simd::multiversion;
use crate::motion::{BlockField, CELL};

/// Side of the blocks that are compared, at half the size.
const SIDE: usize = 8;

/// (inter, intra): sums over the visible part.
pub(super) fn costs(hierarchy: &Hierarchy, field: &BlockField, previous: Option<&BlockField>, threads: usize) -> (u64, u64) {
    let (current, _) = hierarchy.halves();
    let mut sums: Vec<_> = split_rows(current.height, SIDE, threads).map(|rows| (rows, 0, 0)).collect();
    for_bands(threads, &mut sums, |(rows, inter, intra)| {
        (*inter, *intra) = costs_of_rows(hierarchy, field, previous, rows.clone());
    });
    sums.iter().fold((0, 0), |sum, (_, inter, intra)| (sum.0 + inter, sum.1 + intra))
}

fn costs_of_rows(hierarchy: &Hierarchy, field: &BlockField, previous: Option<&BlockField>, rows: Range<usize>) -> (u64, u64) {
    let (current, reference) = hierarchy.halves();
    let (mut inter, mut intra) = (0, 0);
    for (x, y) in rows.step_by(SIDE).flat_map(|y| (0..current.width as i32).step_by(SIDE).map(move |x| (x, y as i32))) {
        let block = (current.block(x, y), current.stride);
        // One vector for 16x16 luma samples; in whole samples of the half size.
        let (row, col) = (2 * y as usize / CELL, 2 * x as usize / CELL);
        let half = |v: i16| i32::from((v + 4) >> 3);
        let at = |field: &BlockField| (half(field.vector(row, col).x), half(field.vector(row, col).y));
        let ways = [at(field), previous.map_or((0, 0), at), (0, 0)];
        let mut least = u64::MAX;
        for (i, &(dx, dy)) in ways.iter().enumerate() {
            if !ways[..i].contains(&(dx, dy)) {
                let mut sum = 0;
                satd(block, (reference.block(x + dx, y + dy), reference.stride), &mut sum);
                least = least.min(sum);
            }
        }
        inter += least;
        satd(block, (&[0; SIDE], 0), &mut intra);
    }
    (inter, intra)
}

multiversion! {
    /// Adds the sum of the absolute values of the Hadamard transform of the difference of two blocks of 8x8 samples, without the
    /// first. A block is its samples and the distance of its rows.
    fn satd(a: (&[u8], usize), b: (&[u8], usize), sum: &mut u64) = satd_any
}

#[inline(always)]
fn satd_any(a: (&[u8], usize), b: (&[u8], usize), sum: &mut u64) {
    let mut v = [[0i16; SIDE]; SIDE];
    for (y, line) in v.iter_mut().enumerate() {
        let (a, b) = (&a.0[y * a.1..][..SIDE], &b.0[y * b.1..][..SIDE]);
        for x in 0..SIDE {
            line[x] = i16::from(a[x]) - i16::from(b[x]);
        }
    }
    // Along columns, turned, along columns again: the sum does not mind that the result is turned.
    for _ in 0..2 {
        for half in [1, 2, 4] {
            for row in 0..SIDE {
                if row & half == 0 {
                    let (a, b) = (v[row], v[row + half]);
                    v[row] = std::array::from_fn(|x| a[x] + b[x]);
                    v[row + half] = std::array::from_fn(|x| a[x] - b[x]);
                }
            }
        }
        let mut turned = [[0; SIDE]; SIDE];
        for row in 0..SIDE {
            for x in 0..SIDE {
                turned[x][row] = v[row][x];
            }
        }
        v = turned;
    }
    let first = u32::from(v[0][0].unsigned_abs());
    // At most 64 * 64 * 255 in all.
    *sum += u64::from(v.as_flattened().iter().map(|v| u32::from(v.unsigned_abs())).sum::<u32>() - first);
}
