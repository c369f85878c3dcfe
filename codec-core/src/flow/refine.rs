//! Refinement of a motion field for the very warp that will use it.
//!
//! Patches that are averaged ([`super::dis`]) do not minimise the error of a field that is interpolated between nodes. Here
//! the nodes move by Gauss-Newton steps on what a P-frame pays for:
//!
//! `lambda * sum of squared prediction errors + BITS * sum over neighbours of sqrt(difference^2 + SOFTNESS)`
//!
//! The data term of each node is bounded from above by its own quadratic, since the weights of bilinear interpolation sum to
//! 1 (Jensen), the roots by theirs; so all nodes move at once.

mod sums;
#[cfg(test)]
mod tests;

use self::sums::{NodeSums, RowSums};
use super::FlowField;
use crate::frame::Plane;
use crate::kernels::warp::rows::{Component, Source, UpsampledRow, warp_row};
use crate::kernels::{Cubic, to_floats};

/// Pixels between nodes.
const PITCH: usize = 8;
/// What a pixel of difference between neighbouring vectors costs, per component: about a bit, and a little more for what the
/// smoother field saves later frames. Measured on three clips, as are the others.
const BITS: f32 = 1.4;
/// Rounds off the cost of differences below about half a pixel, in pixels squared.
const SOFTNESS: f32 = 0.3;
/// The quadratic bounds are cautious; steps may be so much longer.
const RELAXATION: f32 = 1.4;
/// Keeps a node where nothing is to be seen, in squared gradients of samples in 0..=1.
const DAMPING: f32 = 2e-3;
/// Longest step of a component in pixels: the linearisation holds no further.
const LONGEST: f32 = 1.0;

/// Refines motion fields; keeps its buffers from frame to frame.
#[derive(Debug)]
pub struct Refiner {
    steps: usize,
    filter: Cubic,
    reference: Source,
    /// The current frame in row order, value/255 - 0.5.
    current: Vec<f32>,
    nodes: [Component; 2],
    sums: Vec<NodeSums>,
}

impl Refiner {
    /// Takes so many steps, for a warp with this kernel.
    pub fn new(steps: usize, filter: Cubic) -> Self {
        Self { steps, filter, reference: Source::default(), current: Vec::new(), nodes: Default::default(), sums: Vec::new() }
    }

    /// Moves `field` (at a quarter of the planes' resolution, whose sides are multiples of 64) so that its 2x2 means, the
    /// nodes at 1/8 that the flow codec interpolates between, predict `current` from `previous` better for their price.
    /// The four vectors of a node move together. `lambda` as in [`super::FlowEstimator::estimate`].
    pub fn refine(&mut self, field: &mut FlowField, current: &Plane, previous: &Plane, lambda: f64) {
        if self.steps == 0 {
            return;
        }
        self.reference.load(previous);
        self.current.resize(current.width * current.height, 0.0);
        for (row, line) in self.current.chunks_exact_mut(current.width).enumerate() {
            to_floats(current.row(row), line);
        }
        let start = field.downsample2();
        for (part, nodes) in self.nodes.iter_mut().enumerate() {
            nodes.rows = start.rows;
            nodes.cols = start.cols;
            nodes.data.clear();
            nodes.data.extend(start.data.iter().skip(part).step_by(2));
        }
        self.sums.resize(start.rows * start.cols, NodeSums::default());
        let price = (f64::from(BITS) / (2.0 * lambda)) as f32;
        for _ in 0..self.steps {
            measure(self.filter, &self.reference, &self.current, &self.nodes, &mut self.sums);
            self.step(price);
        }
        for (row, line) in field.data.chunks_exact_mut(2 * field.cols).enumerate() {
            for (col, vector) in line.chunks_exact_mut(2).enumerate() {
                let node = row / 2 * start.cols + col / 2;
                for (part, value) in vector.iter_mut().enumerate() {
                    *value += self.nodes[part].data[node] - start.data[2 * node + part];
                }
            }
        }
    }

    /// Moves all nodes; `price` is that of a pixel of difference, in halves of squared errors.
    fn step(&mut self, price: f32) {
        let (rows, cols) = (self.nodes[0].rows, self.nodes[0].cols);
        let [dx, dy] = &mut self.nodes;
        let moves: Vec<[f32; 2]> = (0..rows * cols)
            .map(|node| {
                let (row, col) = (node / cols, node % cols);
                let neighbours = [
                    (row > 0).then(|| node - cols),
                    (row + 1 < rows).then(|| node + cols),
                    (col > 0).then(|| node - 1),
                    (col + 1 < cols).then(|| node + 1),
                ];
                let smoothness = |values: &[f32]| {
                    neighbours.iter().flatten().fold((0.0, 0.0), |(gradient, curvature), &other| {
                        let difference = values[node] - values[other];
                        let root = (difference * difference + SOFTNESS).sqrt();
                        (gradient + price * difference / root, curvature + 2.0 * price / root)
                    })
                };
                let ((gx, cx), (gy, cy)) = (smoothness(&dx.data), smoothness(&dy.data));
                let NodeSums([bx, by, xx, xy, yy]) = self.sums[node];
                let (gx, gy, xx, yy) = (bx + gx, by + gy, xx + cx + DAMPING, yy + cy + DAMPING);
                let scale = RELAXATION / (xx * yy - xy * xy);
                [yy * gx - xy * gy, xx * gy - xy * gx].map(|v| (v * scale).clamp(-LONGEST, LONGEST))
            })
            .collect();
        for ((x, y), by) in dx.data.iter_mut().zip(&mut dy.data).zip(&moves) {
            *x -= by[0];
            *y -= by[1];
        }
    }
}

/// Gradient and curvature of the squared error for each node.
fn measure(filter: Cubic, reference: &Source, current: &[f32], [dx, dy]: &[Component; 2], out: &mut [NodeSums]) {
    let (width, height, cols) = (reference.width, reference.height, dx.cols);
    let mut flow = [(); 2].map(|()| UpsampledRow::<PITCH>::new(width));
    // Warped rows by their number modulo 3, each with its first and last value repeated.
    let mut ring = [(); 3].map(|()| vec![0.0; width + 2]);
    let mut warp_into = |row: usize, line: &mut [f32]| {
        flow[0].sample(dx, row, 1.0);
        flow[1].sample(dy, row, 1.0);
        let inner = &mut line[1..=width];
        warp_row(reference, filter.parameter(), row, flow[0].values(), flow[1].values(), inner);
        (line[0], line[width + 1]) = (line[1], line[width]);
    };
    let mut next = 0;
    // Sums over columns of pixels for the node row above the present pixels, and for the one below.
    let mut columns = [(); 2].map(|()| RowSums::new(width));
    let mut upper = 0;
    for row in 0..height {
        while next < (row + 2).min(height) {
            warp_into(next, &mut ring[next % 3]);
            next += 1;
        }
        let position = ((row as f32 + 0.5) / PITCH as f32 - 0.5).max(0.0);
        if position as usize > upper {
            columns[0].reduce(&mut out[upper * cols..][..cols]);
            columns[0].clear();
            columns.swap(0, 1);
            upper = position as usize;
        }
        let below = if upper + 1 < dx.rows { position - upper as f32 } else { 0.0 };
        let (above_line, below_line) = (&ring[row.saturating_sub(1) % 3], &ring[(row + 1).min(height - 1) % 3]);
        let lines = [above_line, &ring[row % 3], below_line];
        let [a, b] = &mut columns;
        RowSums::add(lines, &current[row * width..][..width], [(a, 1.0 - below), (b, below)]);
    }
    columns[0].reduce(&mut out[upper * cols..][..cols]);
}
