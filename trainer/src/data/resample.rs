//! Affine resampling of planes with cubic convolution.

use std::sync::LazyLock;

use super::i420::Plane;

const PHASES: usize = 256;
/// Weights sum to `1 << WEIGHT_BITS`.
const WEIGHT_BITS: u32 = 11;

/// Catmull-Rom weights (Keys, "Cubic convolution interpolation", 1981, a = -1/2) of the pixels at
/// -1, 0, 1, 2 for positions `phase / 256`.
static WEIGHTS: LazyLock<[[i32; 4]; PHASES]> = LazyLock::new(|| {
    std::array::from_fn(|phase| {
        let t = phase as f64 / PHASES as f64;
        let one = f64::from(1 << WEIGHT_BITS);
        let w = [
            ((-0.5 * t + 1.0) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1.0,
            ((-1.5 * t + 2.0) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        ];
        let mut out = w.map(|w| (w * one).round() as i32);
        out[usize::from(t >= 0.5) + 1] += (1 << WEIGHT_BITS) - out.iter().sum::<i32>();
        out
    })
});

/// Where a resampled pixel comes from: source = matrix * destination + offset, in pixels, with
/// pixel centres at integers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Rows (x, y) of the matrix.
    pub matrix: [[f32; 2]; 2],
    pub offset: [f32; 2],
}

/// What lies outside of a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// The picture mirrored at its edge pixels.
    Reflect,
    Constant(u8),
}

impl Affine {
    pub fn source(&self, x: f32, y: f32) -> [f32; 2] {
        [0, 1].map(|i| self.matrix[i][0] * x + self.matrix[i][1] * y + self.offset[i])
    }

    /// The same motion for 4:2:0 chroma planes whose samples lie in the middle of 2x2 luma pixels.
    pub fn chroma(&self) -> Affine {
        let centre = self.source(0.5, 0.5);
        Affine { matrix: self.matrix, offset: centre.map(|c| (c - 0.5) / 2.0) }
    }

    /// The map for a destination with twice the resolution, whose 2x2 means are the pixels of this
    /// one.
    fn doubled(&self) -> Affine {
        Affine { matrix: self.matrix.map(|row| row.map(|m| m / 2.0)), offset: self.source(-0.25, -0.25) }
    }
}

/// Fills `out` (`width` x n pixels) from `source`.
pub fn warp(source: Plane<'_>, map: &Affine, border: Border, out: &mut [u8], width: usize) {
    let weights = &*WEIGHTS;
    for (y, row) in out.chunks_exact_mut(width).enumerate() {
        let ends = [0, width - 1].map(|x| map.source(x as f32, y as f32).map(fixed));
        let inside = ends.iter().all(|&[x, y]| {
            let (x, y) = (x >> 8, y >> 8);
            // One pixel more than the taps need, for rounding between the ends.
            x >= 2 && y >= 2 && x + 3 < source.width as i32 && y + 3 < source.height as i32
        });
        for (x, pixel) in row.iter_mut().enumerate() {
            let [sx, sy] = map.source(x as f32, y as f32).map(fixed);
            let (wx, wy) = (&weights[(sx & 255) as usize], &weights[(sy & 255) as usize]);
            let (x0, y0) = ((sx >> 8) - 1, (sy >> 8) - 1);
            let sum = if inside {
                filter_inside(source, x0 as usize, y0 as usize, wx, wy)
            } else {
                filter_border(source, x0, y0, wx, wy, border)
            };
            let rounded = (sum + (1 << (2 * WEIGHT_BITS - 1))) >> (2 * WEIGHT_BITS);
            *pixel = rounded.clamp(0, 255) as u8;
        }
    }
}

/// As [`warp`] with mirrored borders for maps that shrink by up to 2: takes 2x2 positions a pixel
/// against aliasing.
pub fn shrink(source: Plane<'_>, map: &Affine, out: &mut [u8], width: usize) {
    let mut fine = vec![0; out.len() * 4];
    warp(source, &map.doubled(), Border::Reflect, &mut fine, width * 2);
    let pairs = fine.chunks_exact(width * 4).zip(out.chunks_exact_mut(width));
    for (two_rows, row) in pairs {
        let (upper, lower) = two_rows.split_at(width * 2);
        let quads = upper.chunks_exact(2).zip(lower.chunks_exact(2));
        for ((a, b), pixel) in quads.zip(row) {
            let sum = a.iter().chain(b).map(|&p| u16::from(p)).sum::<u16>();
            *pixel = ((sum + 2) / 4) as u8;
        }
    }
}

/// Position in 1/256 pixels.
fn fixed(position: f32) -> i32 {
    (position * PHASES as f32).round() as i32
}

fn filter_inside(source: Plane<'_>, x: usize, y: usize, wx: &[i32; 4], wy: &[i32; 4]) -> i32 {
    let start = y * source.width + x;
    let mut sum = 0;
    for (k, w) in wy.iter().enumerate() {
        let at = start + k * source.width;
        let p = &source.data[at..at + 4];
        let line = i32::from(p[0]) * wx[0] + i32::from(p[1]) * wx[1] + i32::from(p[2]) * wx[2] + i32::from(p[3]) * wx[3];
        sum += line * w;
    }
    sum
}

fn filter_border(source: Plane<'_>, x: i32, y: i32, wx: &[i32; 4], wy: &[i32; 4], border: Border) -> i32 {
    let (w, h) = (source.width as i32, source.height as i32);
    let pixel = |x: i32, y: i32| match border {
        Border::Constant(value) if x < 0 || y < 0 || x >= w || y >= h => value,
        _ => source.data[(mirror(y, h) * w + mirror(x, w)) as usize],
    };
    let mut sum = 0;
    for (k, w) in (0..).zip(wy) {
        let line: i32 = (0..).zip(wx).map(|(j, w)| i32::from(pixel(x + j, y + k)) * w).sum();
        sum += line * w;
    }
    sum
}

/// Mirrors at the first and last pixel: -1 is 1, `length` is `length - 2`.
fn mirror(i: i32, length: i32) -> i32 {
    if length == 1 {
        return 0;
    }
    let period = 2 * (length - 1);
    let i = i.rem_euclid(period);
    if i < length { i } else { period - i }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: [[f32; 2]; 2] = [[1.0, 0.0], [0.0, 1.0]];

    fn texture(w: usize, h: usize) -> Vec<u8> {
        (0..w * h)
            .map(|i| {
                let (x, y) = ((i % w) as f32, (i / w) as f32);
                (128.0 + 60.0 * (x * 0.21).sin() + 50.0 * (y * 0.17 + x * 0.05).cos()) as u8
            })
            .collect()
    }

    fn plane(data: &[u8], width: usize) -> Plane<'_> {
        Plane { data, width, height: data.len() / width }
    }

    #[test]
    fn whole_pixel_shift_copies() {
        let data = texture(40, 30);
        let map = Affine { matrix: IDENTITY, offset: [5.0, 7.0] };
        let mut out = vec![0; 16 * 12];
        warp(plane(&data, 40), &map, Border::Reflect, &mut out, 16);
        for y in 0..12 {
            let at = (y + 7) * 40 + 5;
            assert_eq!(out[y * 16..][..16], data[at..at + 16]);
        }
    }

    #[test]
    fn border_agrees_with_the_inside() {
        // The same pixels, once from a plane that contains the mirrored surroundings.
        let data = texture(24, 20);
        let wide: Vec<u8> = (-12..32)
            .flat_map(|y| (-12..36).map(move |x| (mirror(y, 20) * 24 + mirror(x, 24)) as usize))
            .map(|i| data[i])
            .collect();
        let turn = |offset| Affine { matrix: [[0.98, -0.1], [0.1, 0.98]], offset };
        let (mut a, mut b) = (vec![0; 24 * 20], vec![0; 24 * 20]);
        warp(plane(&data, 24), &turn([-1.5, -2.25]), Border::Reflect, &mut a, 24);
        warp(plane(&wide, 48), &turn([10.5, 9.75]), Border::Reflect, &mut b, 24);
        assert_eq!(a, b);
    }

    #[test]
    fn half_pixel_interpolates_and_constants_stay() {
        let ramp: Vec<u8> = (0..64 * 8).map(|i| (i % 64) as u8 * 2).collect();
        let map = Affine { matrix: IDENTITY, offset: [20.5, 2.0] };
        let mut out = vec![0; 8];
        warp(plane(&ramp, 64), &map, Border::Reflect, &mut out, 8);
        assert_eq!(out, [41, 43, 45, 47, 49, 51, 53, 55]);
        let mut out = vec![0; 8];
        let outside = Affine { matrix: IDENTITY, offset: [-50.0, -50.0] };
        warp(plane(&ramp, 64), &outside, Border::Constant(9), &mut out, 8);
        assert_eq!(out, [9; 8]);
    }

    #[test]
    fn shrinking_averages() {
        let checks: Vec<u8> = (0..32 * 32).map(|i| if (i % 32 + i / 32) % 2 == 0 { 200 } else { 100 }).collect();
        let map = Affine { matrix: [[2.0, 0.0], [0.0, 2.0]], offset: [8.5, 8.5] };
        let mut out = vec![0; 64];
        shrink(plane(&checks, 32), &map, &mut out, 8);
        assert_eq!(out, [150; 64]);
    }

    #[test]
    fn chroma_follows_luma() {
        let map = Affine { matrix: IDENTITY, offset: [6.0, -3.0] };
        assert_eq!(map.chroma().offset, [3.0, -1.5]);
    }
}
