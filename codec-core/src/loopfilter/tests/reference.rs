//! The filter as the specification has it, sample by sample.

use crate::frame::{Frame, Plane, chroma_size};
use crate::loopfilter::FilterParams;

/// The sample at a position, which is moved into the visible part first.
fn at(plane: &Plane, (width, height): (usize, usize), row: i32, col: i32) -> i32 {
    let (row, col) = (row.clamp(0, height as i32 - 1), col.clamp(0, width as i32 - 1));
    plane.row(row as usize)[col as usize].into()
}

pub fn class(luma: &Plane, size: (usize, usize), row: usize, col: usize) -> usize {
    let (top, left) = ((row / 4 * 4) as i32, (col / 4 * 4) as i32);
    let (mut h, mut v) = (0, 0);
    for y in top - 1..top + 5 {
        for x in left - 1..left + 5 {
            let s = |dy, dx| at(luma, size, y + dy, x + dx);
            h += (2 * s(0, 0) - s(0, -1) - s(0, 1)).abs();
            v += (2 * s(0, 0) - s(-1, 0) - s(1, 0)).abs();
        }
    }
    let level = [72, 252, 612].iter().filter(|&&threshold| h + v > threshold).count();
    3 * level + if h > 2 * v { 1 } else { 2 * usize::from(v > 2 * h) }
}

fn plane(source: &Plane, size: (usize, usize), reach: i32, set: impl Fn(usize, usize) -> Vec<i8>) -> Plane {
    let mut out = source.clone();
    for row in 0..size.1 {
        for col in 0..size.0 {
            let set = set(row, col);
            let s = |dy, dx| at(source, size, row as i32 + dy, col as i32 + dx);
            let (mut sum, mut next) = (0, 0);
            for dy in -reach..=0 {
                for dx in -(reach + dy)..=reach + dy {
                    if dy < 0 || dx < 0 {
                        sum += i32::from(set[next]) * (s(dy, dx) + s(-dy, -dx) - 2 * s(0, 0));
                        next += 1;
                    }
                }
            }
            assert_eq!(next, set.len());
            out.row_mut(row)[col] = (s(0, 0) + ((sum + 32) >> 6)).clamp(0, 255) as u8;
        }
    }
    out
}

pub fn apply(params: &FilterParams, display: (usize, usize), frame: &Frame) -> Frame {
    let mut out = frame.clone();
    if let Some(filter) = &params.luma {
        let source = frame.plane(0);
        *out.plane_mut(0) = plane(source, display, 3, |row, col| {
            let on = filter.areas[row / 64 * display.0.div_ceil(64) + col / 64];
            if on { filter.sets[class(source, display, row, col)].to_vec() } else { vec![0; 12] }
        });
    }
    let size = chroma_size(display.0, display.1);
    for (index, filter) in [1, 2].into_iter().zip(&params.chroma) {
        if let Some(filter) = filter {
            *out.plane_mut(index) = plane(frame.plane(index), size, 2, |row, col| {
                let on = filter.areas[row / 64 * size.0.div_ceil(64) + col / 64];
                if on { filter.sets[0].to_vec() } else { vec![0; 6] }
            });
        }
    }
    out
}
