//! Inverse search of all patches of a scale.

use super::patch::{Difference, SIDE, Template};
use super::pyramid::Level;
use super::{DenseField, DisConfig};
use crate::kernels::simd::multiversion;

/// Pixels between neighbouring patches.
const STRIDE: usize = 4;

/// The patches of a scale and their displacements (x, y) in its pixels.
#[derive(Debug, Default)]
pub(super) struct Grid {
    pub rows: usize,
    pub cols: usize,
    pub flow: Vec<(f32, f32)>,
    /// Displacements that the coarser scale proposed.
    proposed: Vec<(f32, f32)>,
}

impl Grid {
    /// Covers a level, the last row and column of patches ending where it ends; displacements come from `coarser`, the
    /// dense field of half the resolution, or are zero.
    pub fn start(&mut self, level: &Level, coarser: Option<&DenseField>) {
        self.cols = (level.width - SIDE).div_ceil(STRIDE) + 1;
        self.rows = (level.height - SIDE).div_ceil(STRIDE) + 1;
        self.proposed.clear();
        for row in 0..self.rows {
            for col in 0..self.cols {
                let start = position(col, row, level);
                self.proposed.push(coarser.map_or((0.0, 0.0), |field| twice_centre(field, start)));
            }
        }
        self.flow.clone_from(&self.proposed);
    }
}

/// Upper left corner (x, y) of a patch.
#[inline(always)]
pub(super) fn position(col: usize, row: usize, level: &Level) -> (usize, usize) {
    ((col * STRIDE).min(level.width - SIDE), (row * STRIDE).min(level.height - SIDE))
}

/// Displacement at the centre of a patch by the field of half the resolution, in pixels of the patch's scale.
fn twice_centre(field: &DenseField, (x, y): (usize, usize)) -> (f32, f32) {
    let centre = (y / 2 + SIDE / 4 - 1) * field.width + x / 2 + SIDE / 4 - 1;
    let mean2 = |v: &[f32]| (v[centre] + v[centre + 1] + v[centre + field.width] + v[centre + field.width + 1]) * 0.5;
    (mean2(&field.x), mean2(&field.y))
}

/// What a search compares, and how.
pub(super) struct Search<'a> {
    current: &'a Level,
    previous: &'a Level,
    config: &'a DisConfig,
    /// Squared differences that a step must save.
    least_gain: f32,
}

impl<'a> Search<'a> {
    pub fn new(current: &'a Level, previous: &'a Level, config: &'a DisConfig, least_gain: f32) -> Self {
        Self { current, previous, config, least_gain }
    }
}

multiversion! {
    /// Finds the displacement of every patch.
    pub(super) fn run_search(grid: &mut Grid, search: &Search) = search_all
}

#[inline(always)]
fn search_all(grid: &mut Grid, search: &Search) {
    if search.config.propagate {
        let iterations = search.config.iterations.div_ceil(2);
        for i in 0..grid.flow.len() {
            let (up, left) = (i >= grid.cols, i % grid.cols > 0);
            let neighbours = [left.then(|| i - 1), up.then(|| i - grid.cols)];
            search_patch(grid, search, i, neighbours, iterations);
        }
        for i in (0..grid.flow.len()).rev() {
            let (down, right) = (i + grid.cols < grid.flow.len(), (i + 1) % grid.cols > 0);
            let neighbours = [right.then_some(i + 1), down.then_some(i + grid.cols)];
            search_patch(grid, search, i, neighbours, iterations);
        }
    } else {
        for i in 0..grid.flow.len() {
            search_patch(grid, search, i, [None; 2], search.config.iterations);
        }
    }
}

/// Gradient descent from the best of a patch's own displacement and its `neighbours`'.
#[inline(always)]
fn search_patch(grid: &mut Grid, search: &Search, i: usize, neighbours: [Option<usize>; 2], iterations: usize) {
    /// Steps shorter than this many pixels end the descent.
    const SHORT: f32 = 0.01;
    let normalised = search.config.mean_normalised;
    let (x, y) = position(i % grid.cols, i / grid.cols, search.current);
    let template = Template::new(search.current, x, y, normalised);
    let compare =
        |(u, v): (f32, f32)| -> Difference { template.compare(search.previous, x as f32 + u, y as f32 + v, normalised) };
    let mut best = grid.flow[i];
    let mut difference = compare(best);
    for neighbour in neighbours.into_iter().flatten() {
        let candidate = grid.flow[neighbour];
        if candidate != best {
            let other = compare(candidate);
            if other.squares < difference.squares {
                (best, difference) = (candidate, other);
            }
        }
    }
    for _ in 0..iterations {
        let (du, dv) = template.step(&difference);
        let moved = (best.0 + du, best.1 + dv);
        let next = compare(moved);
        if next.squares >= difference.squares - search.least_gain {
            break;
        }
        (best, difference) = (moved, next);
        if du.abs().max(dv.abs()) < SHORT {
            break;
        }
    }
    // A descent that left the neighbourhood of every proposal has diverged (section 2.1).
    let proposed = grid.proposed[i];
    let far = (best.0 - proposed.0).abs().max((best.1 - proposed.1).abs()) > SIDE as f32;
    grid.flow[i] = if far { proposed } else { best };
}
