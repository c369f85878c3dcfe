//! Median filter of a flow field: single vectors that follow noise cost bits and predict nothing.

use crate::flow::FlowField;
use crate::kernels::simd::multiversion;

/// Values from one vector to the next.
const STEP: usize = 2;

/// Replaces dx and dy of each vector by their medians over 3x3 vectors, `passes` times; edges are replicated.
pub(super) fn smooth(field: &mut FlowField, passes: usize) {
    let mut source = Vec::new();
    for _ in 0..passes {
        pad(field, &mut source);
        filter(&mut field.data, &source, field.cols * STEP);
    }
}

/// Copies a field with one more vector on every side.
fn pad(field: &FlowField, out: &mut Vec<f32>) {
    out.clear();
    let width = field.cols * STEP;
    for row in 0..field.rows + 2 {
        let line = &field.data[row.saturating_sub(1).min(field.rows - 1) * width..][..width];
        out.extend_from_slice(&line[..STEP]);
        out.extend_from_slice(line);
        out.extend_from_slice(&line[width - STEP..]);
    }
}

multiversion! {
    /// `out` in rows of `width` values, `source` with [`STEP`] more at both ends of a row and a row more above and below.
    fn filter(out: &mut [f32], source: &[f32], width: usize) = filter_rows
}

#[inline(always)]
fn filter_rows(out: &mut [f32], source: &[f32], width: usize) {
    let padded = width + 2 * STEP;
    for (row, line) in out.chunks_exact_mut(width).enumerate() {
        let rows = [0, 1, 2].map(|i| &source[(row + i) * padded..][..padded]);
        for (i, value) in line.iter_mut().enumerate() {
            let column = |offset: usize| sorted3(rows[0][i + offset], rows[1][i + offset], rows[2][i + offset]);
            *value = median_of_columns(column(0), column(STEP), column(2 * STEP));
        }
    }
}

#[inline(always)]
fn least(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

#[inline(always)]
fn most(a: f32, b: f32) -> f32 {
    if a < b { b } else { a }
}

#[inline(always)]
fn sorted3(a: f32, b: f32, c: f32) -> [f32; 3] {
    let (low, high) = (least(a, b), most(a, b));
    [least(low, c), most(low, least(high, c)), most(high, c)]
}

/// The median of nine values in sorted columns: that of the largest least, the middle middle and the least largest.
#[inline(always)]
fn median_of_columns(a: [f32; 3], b: [f32; 3], c: [f32; 3]) -> f32 {
    let low = most(most(a[0], b[0]), c[0]);
    let middle = sorted3(a[1], b[1], c[1])[1];
    let high = least(least(a[2], b[2]), c[2]);
    sorted3(low, middle, high)[1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_those_of_sorting() {
        let (rows, cols) = (5, 21);
        let data: Vec<f32> = (0..rows * cols * 2).map(|i| ((i * 7919) % 257) as f32 - 100.0).collect();
        let mut field = FlowField { rows, cols, data: data.clone() };
        smooth(&mut field, 1);
        for row in 0..rows as isize {
            for col in 0..cols as isize {
                for part in 0..2 {
                    let mut values: Vec<f32> = (-1..=1)
                        .flat_map(|dy| (-1..=1).map(move |dx| (row + dy, col + dx)))
                        .map(|(r, c)| (r.clamp(0, rows as isize - 1) as usize, c.clamp(0, cols as isize - 1) as usize))
                        .map(|(r, c)| data[(r * cols + c) * 2 + part])
                        .collect();
                    values.sort_by(f32::total_cmp);
                    assert_eq!(field.data[(row as usize * cols + col as usize) * 2 + part], values[4], "{row} {col}");
                }
            }
        }
    }

    #[test]
    fn a_lone_vector_vanishes_and_an_edge_stays() {
        let (rows, cols) = (6, 6);
        let mut field = FlowField { rows, cols, data: vec![0.0; rows * cols * 2] };
        for vector in field.data.chunks_exact_mut(2).skip(3 * cols) {
            vector.copy_from_slice(&[4.0, -2.0]);
        }
        let edge = field.clone();
        field.data[(cols + 2) * 2] = 9.0;
        smooth(&mut field, 2);
        assert_eq!(field, edge);
    }
}
