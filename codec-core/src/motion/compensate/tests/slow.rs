//! Block prediction sample by sample, straight from the specification.

use crate::frame::{Frame, chroma_size};
use crate::motion::{BlockField, CELL, Golden, Motion, MotionVector, overlap};

const QUARTERS: [&[i32]; 4] = [
    &[0, 0, 0, 64, 0, 0, 0, 0],
    &[-1, 4, -10, 58, 17, -5, 1, 0],
    &[-1, 4, -11, 40, 40, -11, 4, -1],
    &[0, 1, -5, 17, 58, -10, 4, -1],
];
const EIGHTHS: [&[i32]; 8] = [
    &[0, 64, 0, 0],
    &[-2, 58, 10, -2],
    &[-4, 54, 16, -2],
    &[-6, 46, 28, -4],
    &[-4, 36, 36, -4],
    &[-4, 28, 46, -6],
    &[-2, 16, 54, -4],
    &[-2, 10, 58, -2],
];

/// The visible part of a plane of the reference.
pub struct Plane<'a> {
    plane: &'a crate::frame::Plane,
    shown: (usize, usize),
    filters: &'static [&'static [i32]],
    /// Luma samples to one of this plane, along each side.
    scale: usize,
}

impl<'a> Plane<'a> {
    pub fn new(reference: &'a Frame, index: usize, display: (usize, usize)) -> Self {
        let plane = reference.plane(index);
        match index {
            0 => Self { plane, shown: display, filters: &QUARTERS, scale: 1 },
            _ => Self { plane, shown: chroma_size(display.0, display.1), filters: &EIGHTHS, scale: 2 },
        }
    }

    fn sample(&self, x: i32, y: i32) -> i32 {
        let at = |p: i32, side: usize| p.clamp(0, side as i32 - 1) as usize;
        i32::from(self.plane.row(at(y, self.shown.1))[at(x, self.shown.0)])
    }

    /// The prediction of sample (x, y) with a vector, 64 per grey level.
    pub fn at(&self, x: usize, y: usize, vector: MotionVector) -> i32 {
        let parts = self.filters.len() as i32;
        let (x, y) = (x as i32 * parts + i32::from(vector.x), y as i32 * parts + i32::from(vector.y));
        let (left, top) = (x.div_euclid(parts), y.div_euclid(parts));
        let (across, down) = (self.filters[x.rem_euclid(parts) as usize], self.filters[y.rem_euclid(parts) as usize]);
        let before = across.len() as i32 / 2 - 1;
        let mut sum = 0;
        for (j, factor) in down.iter().enumerate() {
            let row = top + j as i32 - before;
            sum += factor * across.iter().enumerate().map(|(i, f)| f * self.sample(left + i as i32 - before, row)).sum::<i32>();
        }
        (sum + 32) >> 6
    }

    /// The prediction of sample (x, y) with some motion, where `golden` is the golden frame's plane.
    pub fn with(&self, golden: Option<&Self>, x: usize, y: usize, motion: Motion) -> i32 {
        let last = self.at(x, y, motion.vector);
        match (golden, motion.golden) {
            (None, _) | (_, Golden::Unused) => last,
            (Some(golden), Golden::Alone(vector)) => golden.at(x, y, vector),
            (Some(golden), Golden::Mixed(vector)) => (last + golden.at(x, y, vector) + 1) >> 1,
        }
    }

    fn predict(&self, golden: Option<&Self>, field: &BlockField) -> Vec<u8> {
        let motion = |row, col| match golden {
            Some(_) => field.motion(row, col),
            None => Motion { vector: field.vector(row, col), golden: Golden::Unused },
        };
        let (width, height) = (self.plane.width, self.plane.height);
        let cell = CELL / self.scale;
        let mut values: Vec<i32> = (0..width * height)
            .map(|i| (i % width, i / width))
            .map(|(x, y)| self.with(golden, x, y, motion(y / cell, x / cell)))
            .collect();
        for vertical in [true, false] {
            let old = values.clone();
            for leaf in field.leaves() {
                let (row, col, n) = (leaf.row as i32, leaf.col as i32, leaf.cells() as i32);
                for (far, k) in [false, true].into_iter().flat_map(|far| (0..n).map(move |k| (far, k))) {
                    let beyond = if far { n } else { -1 };
                    let (other_row, other_col) = if vertical { (row + beyond, col + k) } else { (row + k, col + beyond) };
                    if !(0..field.rows() as i32).contains(&other_row) || !(0..field.cols() as i32).contains(&other_col) {
                        continue;
                    }
                    let (other_row, other_col) = (other_row as usize, other_col as usize);
                    let other = motion(other_row, other_col);
                    if other == motion(leaf.row, leaf.col) {
                        continue;
                    }
                    let overlap = (1usize << leaf.log2.min(field.log2(other_row, other_col))) / 2 / self.scale;
                    let side = leaf.cells() * cell;
                    for distance in 0..overlap {
                        let weight = i32::from(overlap::weights(overlap)[distance]);
                        for i in 0..cell {
                            let across = if far { side - 1 - distance } else { distance };
                            let along = k as usize * cell + i;
                            let (dx, dy) = if vertical { (along, across) } else { (across, along) };
                            let (x, y) = (leaf.col * cell + dx, leaf.row * cell + dy);
                            let p = old[y * width + x];
                            values[y * width + x] = p + ((weight * (self.with(golden, x, y, other) - p) + 32) >> 6);
                        }
                    }
                }
            }
        }
        values.into_iter().map(|p| ((p + 32) >> 6).clamp(0, 255) as u8).collect()
    }
}

pub fn predict(reference: &Frame, golden: Option<&Frame>, display: (usize, usize), field: &BlockField) -> Frame {
    let mut out = Frame::new(reference.width(), reference.height());
    for (index, plane) in out.planes_mut().iter_mut().enumerate() {
        let golden = golden.map(|golden| Plane::new(golden, index, display));
        plane.data = Plane::new(reference, index, display).predict(golden.as_ref(), field);
    }
    out
}
