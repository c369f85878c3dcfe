//! Prediction of a square of luma from the samples to its left and above: planar, mean, and 33 directions, as in HEVC (ITU-T H.265,
//! 8.4.4.2) but for its filters at edges.

use super::plane::Plane;

/// Planar, mean, then directions from the lower left to the upper right.
pub const MODES: usize = 35;
/// The mode that continues both edges.
pub const PLANAR: u8 = 0;
/// The mean of both edges.
pub const MEAN: u8 = 1;
/// First direction that leans on the samples above; those before lean on the left ones.
const FIRST_VERTICAL: u8 = 18;
/// Straight from the left, and straight from above.
const HORIZONTAL: u8 = 10;
/// See [`HORIZONTAL`].
pub const VERTICAL: u8 = 26;
/// How far each direction moves from one row (column) to the next, in 32nds of a sample.
const SLOPES: [i32; MODES - 2] = [
    32, 26, 21, 17, 13, 9, 5, 2, 0, -2, -5, -9, -13, -17, -21, -26, -32, -26, -21, -17, -13, -9, -5, -2, 0, 2, 5, 9, 13, 17, 21,
    26, 32,
];
/// Longest side of a square.
const SIDE: usize = 16;
const EDGE: usize = 2 * SIDE + 1;

/// What a square is predicted from: on each side the corner and twice as many samples as the square has.
#[derive(Clone, Debug)]
pub struct Edges {
    side: usize,
    left: [i32; EDGE],
    above: [i32; EDGE],
    /// The same smoothed.
    soft_left: [i32; EDGE],
    soft_above: [i32; EDGE],
}

impl Edges {
    /// Of the square of `side` samples at (`row`, `col`). `known` says how many samples are known below the corner of the left edge and to the
    /// right of that of the upper one, in this order, at least the square's own side each, or 0. What is unknown continues what is known.
    #[inline(always)]
    pub fn new(plane: &Plane, (row, col): (usize, usize), side: usize, known: (usize, usize)) -> Self {
        let mut left = [0; EDGE];
        let mut above = [0; EDGE];
        let (down, right) = known;
        (0..down).for_each(|i| left[1 + i] = plane.at(row + i, col - 1));
        if right > 0 {
            above[1..=right].copy_from_slice(&plane.row(row - 1)[col..][..right]);
        }
        let corner = match (down > 0, right > 0) {
            (true, true) => plane.at(row - 1, col - 1),
            (true, false) => left[1],
            (false, true) => above[1],
            (false, false) => 0,
        };
        (left[0], above[0]) = (corner, corner);
        let last = left[down];
        left[down + 1..=2 * side].fill(last);
        let last = above[right];
        above[right + 1..=2 * side].fill(last);
        let soft = |edge: &[i32; EDGE], other: &[i32; EDGE]| {
            let mut out = *edge;
            out[0] = (other[1] + 2 * edge[0] + edge[1] + 2) >> 2;
            for (out, near) in out[1..].iter_mut().zip(edge[..=2 * side].windows(3)) {
                *out = (near[0] + 2 * near[1] + near[2] + 2) >> 2;
            }
            out
        };
        let (soft_left, soft_above) = if side > 4 { (soft(&left, &above), soft(&above, &left)) } else { (left, above) };
        Self { side, left, above, soft_left, soft_above }
    }

    /// The prediction in `out`, row by row.
    #[inline(always)]
    pub fn predict(&self, mode: u8, out: &mut [i32]) {
        let side = self.side;
        let soft = side > 4 && is_soft(mode, side);
        let (left, above) = if soft { (&self.soft_left, &self.soft_above) } else { (&self.left, &self.above) };
        match mode {
            PLANAR => planar(left, above, side, out),
            MEAN => {
                let sum: i32 = left[1..=side].iter().chain(&above[1..=side]).sum();
                out[..side * side].fill((sum + side as i32) >> (side.ilog2() + 1));
            }
            _ if mode < FIRST_VERTICAL => {
                let mut turned = [0; SIDE * SIDE];
                directed(mode, left, above, side, &mut turned);
                for (row, out) in out.chunks_exact_mut(side).take(side).enumerate() {
                    out.iter_mut().enumerate().for_each(|(col, out)| *out = turned[col * side + row]);
                }
            }
            _ => directed(mode, above, left, side, out),
        }
    }
}

/// Whether a mode takes smoothed edges.
#[inline(always)]
fn is_soft(mode: u8, side: usize) -> bool {
    let oblique = mode.abs_diff(VERTICAL).min(mode.abs_diff(HORIZONTAL));
    match mode {
        PLANAR => true,
        MEAN => false,
        _ => oblique > if side == 8 { 7 } else { 1 },
    }
}

#[inline(always)]
fn planar(left: &[i32; EDGE], above: &[i32; EDGE], side: usize, out: &mut [i32]) {
    let (n, below, right) = (side as i32, left[side + 1], above[side + 1]);
    for (row, out) in (0..).zip(out.chunks_exact_mut(side).take(side)) {
        let start = left[1 + row as usize];
        for ((col, out), &top) in (0..).zip(out).zip(&above[1..]) {
            let across = (n - 1 - col) * start + (col + 1) * right;
            let down = (n - 1 - row) * top + (row + 1) * below;
            *out = (across + down + n) >> (side.ilog2() + 1);
        }
    }
}

/// A direction that leans on `main`.
#[inline(always)]
fn directed(mode: u8, main: &[i32; EDGE], other: &[i32; EDGE], side: usize, out: &mut [i32]) {
    let slope = SLOPES[usize::from(mode) - 2];
    // `line[SIDE + i]` is main[i]; what lies before the corner is projected from the other edge.
    let mut line = [0; SIDE + EDGE + 1];
    line[SIDE..SIDE + 2 * side + 1].copy_from_slice(&main[..=2 * side]);
    if slope < 0 {
        for back in 1..=((side as i32 * -slope) >> 5) as usize {
            let at = (back * 512 / slope.unsigned_abs() as usize + 8) >> 4;
            line[SIDE - back] = other[at.min(2 * side)];
        }
    }
    for (row, out) in (1..).zip(out.chunks_exact_mut(side).take(side)) {
        let moved = row * slope;
        let (whole, part) = (moved >> 5, moved & 31);
        let from = &line[(SIDE as i32 + whole + 1) as usize..][..side + 1];
        for (out, pair) in out.iter_mut().zip(from.windows(2)) {
            *out = ((32 - part) * pair[0] + part * pair[1] + 16) >> 5;
        }
    }
}
