//! A patch of the current image and its comparison with a displaced patch of the previous one.

use super::pyramid::Level;

/// Side of a patch.
pub(super) const SIDE: usize = 8;
const AREA: f32 = (SIDE * SIDE) as f32;

type Square = [[f32; SIDE]; SIDE];

/// Patch with what inverse search needs of it once: its gradients and their second moments (the Hessian of the
/// linearised error, Kroeger et al., equation 2).
pub(super) struct Template {
    values: Square,
    dx: Square,
    dy: Square,
    sum_dx: f32,
    sum_dy: f32,
    inverse: [f32; 3],
}

/// How a displaced patch differs: sum of squares, and the gradient of half of it.
#[derive(Clone, Copy)]
pub(super) struct Difference {
    pub squares: f32,
    gradient: (f32, f32),
}

impl Template {
    #[inline(always)]
    pub fn new(level: &Level, col: usize, row: usize, mean_normalised: bool) -> Self {
        let (mut values, mut dx, mut dy) = (Square::default(), Square::default(), Square::default());
        let [mut xx, mut xy, mut yy, mut sx, mut sy] = [[0f32; SIDE]; 5];
        for i in 0..SIDE {
            let row = row as isize + i as isize;
            let left = row_of(level, col as isize - 1, row);
            let middle = row_of(level, col as isize, row);
            let right = row_of(level, col as isize + 1, row);
            let upper = row_of(level, col as isize, row - 1);
            let lower = row_of(level, col as isize, row + 1);
            values[i] = *middle;
            for j in 0..SIDE {
                let (gx, gy) = ((right[j] - left[j]) * 0.5, (lower[j] - upper[j]) * 0.5);
                (dx[i][j], dy[i][j]) = (gx, gy);
                xx[j] += gx * gx;
                xy[j] += gx * gy;
                yy[j] += gy * gy;
                sx[j] += gx;
                sy[j] += gy;
            }
        }
        let [mut xx, mut xy, mut yy, mut sum_dx, mut sum_dy] = [sum(xx), sum(xy), sum(yy), sum(sx), sum(sy)];
        if mean_normalised {
            xx -= sum_dx * sum_dx / AREA;
            xy -= sum_dx * sum_dy / AREA;
            yy -= sum_dy * sum_dy / AREA;
        } else {
            (sum_dx, sum_dy) = (0.0, 0.0);
        }
        // Keeps a flat patch, or one along an edge, near where it was proposed: costs no prediction quality (unlike more
        // of it) and makes the field smoother, cheaper to code. A sum of squared gray levels per pixel.
        const DAMPING: f32 = 200.0;
        let (xx, yy) = (xx.max(0.0) + DAMPING, yy.max(0.0) + DAMPING);
        let scale = 1.0 / (xx * yy - xy * xy).max(DAMPING * DAMPING);
        Self { values, dx, dy, sum_dx, sum_dy, inverse: [yy * scale, -xy * scale, xx * scale] }
    }

    /// Compares with the patch of `level` whose upper left corner is at (x, y), interpolated bilinearly. Positions that
    /// lie wholly outside are moved to where nothing but the repeated edge is read.
    #[inline(always)]
    pub fn compare(&self, level: &Level, x: f32, y: f32, mean_normalised: bool) -> Difference {
        let sample = Sampler::new(level, x, y);
        let [mut total, mut squares, mut gx, mut gy] = [[0f32; SIDE]; 4];
        let mut upper = sample.row(0);
        for i in 0..SIDE {
            let lower = sample.row(i + 1);
            for j in 0..SIDE {
                let difference = upper[j] + sample.fy * (lower[j] - upper[j]) - self.values[i][j];
                total[j] += difference;
                squares[j] += difference * difference;
                gx[j] += difference * self.dx[i][j];
                gy[j] += difference * self.dy[i][j];
            }
            upper = lower;
        }
        let (mut squares, mut gx, mut gy) = (sum(squares), sum(gx), sum(gy));
        if mean_normalised {
            let mean = sum(total) / AREA;
            squares -= mean * mean * AREA;
            gx -= mean * self.sum_dx;
            gy -= mean * self.sum_dy;
        }
        Difference { squares, gradient: (gx, gy) }
    }

    /// Change of displacement that minimises the linearised error (equation 2).
    #[inline(always)]
    pub fn step(&self, difference: &Difference) -> (f32, f32) {
        let (gx, gy) = difference.gradient;
        let [xx, xy, yy] = self.inverse;
        (-(xx * gx + xy * gy), -(xy * gx + yy * gy))
    }
}

/// Rows of a patch at a fractional position, interpolated horizontally.
pub(super) struct Sampler<'a> {
    data: &'a [f32],
    stride: usize,
    fx: f32,
    pub fy: f32,
}

impl<'a> Sampler<'a> {
    #[inline(always)]
    pub fn new(level: &'a Level, x: f32, y: f32) -> Self {
        let outside = -(SIDE as f32) - 1.0;
        let (x, y) = (x.clamp(outside, level.width as f32), y.clamp(outside, level.height as f32));
        let (left, top) = (x.floor(), y.floor());
        Self { data: level.from(left as isize, top as isize), stride: level.stride, fx: x - left, fy: y - top }
    }

    #[inline(always)]
    pub fn row(&self, i: usize) -> [f32; SIDE] {
        let line: &[f32; SIDE + 1] = self.data[i * self.stride..].first_chunk().expect("rows end in a border");
        let mut out = [0.0; SIDE];
        for (j, value) in out.iter_mut().enumerate() {
            *value = line[j] + self.fx * (line[j + 1] - line[j]);
        }
        out
    }
}

#[inline(always)]
pub(super) fn row_of(level: &Level, col: isize, row: isize) -> &[f32; SIDE] {
    level.from(col, row).first_chunk().expect("rows end in a border")
}

#[inline(always)]
fn sum(v: [f32; SIDE]) -> f32 {
    let [a, b, c, d] = [v[0] + v[4], v[1] + v[5], v[2] + v[6], v[3] + v[7]];
    (a + c) + (b + d)
}
