//! Whether a picture is worth predicting: what prediction leaves, against what the picture holds.

use std::ops::Range;

use super::hierarchy::Hierarchy;
use crate::kernels::parallel::{for_bands, split_rows};
use crate::kernels::satd::{SIDE, satd};
use crate::motion::{BlockField, CELL};

/// (inter, intra): sums over the visible part, of blocks at half the size.
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
