//! Moving pictures from photos: camera motion and its blur, a second layer in front, fades, blur and noise.

use super::i420::{Plane, Size};
use super::resample::{Affine, Border, warp};
use super::rng::Rng;

/// Camera speeds in pixels a frame; one is drawn and scaled by a normal deviate in x and y.
const SPEEDS: [f32; 4] = [0.0, 0.7, 2.5, 6.0];
/// Cameras on a tripod: a codec must learn to code nothing where nothing moves.
const STILL_CHANCE: f32 = 0.3;
/// Standard deviation of the relative zoom and of the rotation (radians) a frame.
const ZOOM_RATE: f32 = 0.006;
const TURN_RATE: f32 = 0.006;
/// Change of the speed a frame, as part of the speed.
const ACCELERATION: f32 = 0.05;
const SHAKE_CHANCE: f32 = 0.2;
const SHAKE: f32 = 0.5;
/// Chance that the shutter is open for a part of the frame's time, so that what moves is blurred.
const SHUTTER_CHANCE: f32 = 0.5;
/// Most moments that such a frame is the mean of.
const MOMENTS: usize = 12;
const LAYER_CHANCE: f32 = 0.3;
const FADE_CHANCE: f32 = 0.15;
/// A fade changes the brightness by at most this part over the whole clip.
const FADE: f32 = 0.35;
const BLUR_CHANCE: f32 = 0.2;
/// Largest standard deviation of the blur in luma pixels.
const BLUR: f32 = 1.2;
const NOISE_CHANCE: f32 = 0.2;
/// Range of the standard deviation of luma noise in grey levels.
const NOISE: (f32, f32) = (0.4, 1.6);

/// One picture as I420.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    pub size: Size,
    pub frame: &'a [u8],
}

/// The path of a camera over a picture; t counts frames.
#[derive(Clone, Debug)]
pub struct Camera {
    /// Position of the view's centre at t = 0, in luma pixels of the picture.
    pub centre: [f32; 2],
    /// Pixels a frame, and its change a frame.
    pub velocity: [f32; 2],
    pub acceleration: [f32; 2],
    /// Logarithm of the picture pixels per view pixel, a frame.
    pub zoom_rate: f32,
    /// Radians a frame.
    pub turn_rate: f32,
    /// Displacement in each frame.
    pub shake: Vec<[f32; 2]>,
    /// Part of a frame's time for which the shutter is open, 0..=1.
    pub shutter: f32,
}

impl Camera {
    /// A random path whose middle lies where a view of `crop` pixels fits into the picture.
    fn random(size: Size, frames: usize, crop: usize, rng: &mut Rng) -> Self {
        let moving = if rng.chance(STILL_CHANCE) { 0.0 } else { 1.0 };
        let speed = rng.choose(&SPEEDS) * moving;
        let velocity = [speed * rng.normal(), speed * rng.normal()];
        let change = speed * ACCELERATION;
        let acceleration = [change * rng.normal(), change * rng.normal()];
        let shake = if rng.chance(SHAKE_CHANCE) { SHAKE * moving } else { 0.0 };
        let middle = (frames - 1) as f32 / 2.0;
        let start = |length: usize, axis: usize, rng: &mut Rng| {
            let half = crop as f32 / 2.0;
            let at = rng.range(half, length as f32 - half);
            at - velocity[axis] * middle - acceleration[axis] * middle * middle / 2.0
        };
        Camera {
            centre: [start(size.width, 0, rng), start(size.height, 1, rng)],
            velocity,
            acceleration,
            zoom_rate: ZOOM_RATE * rng.normal() * moving,
            turn_rate: TURN_RATE * rng.normal() * moving,
            shake: (0..frames).map(|_| [shake * rng.normal(), shake * rng.normal()]).collect(),
            shutter: if rng.chance(SHUTTER_CHANCE) { rng.range(0.2, 1.0) } else { 0.0 },
        }
    }

    /// Views of frame `t` while the shutter is open: one for each pixel that the picture moves by meanwhile.
    fn views(&self, t: usize, crop: usize) -> impl ExactSizeIterator<Item = Affine> {
        let [first, last] = [0.0, self.shutter].map(|after| self.view(t, after, crop));
        let corners = [[0.0, 0.0], [0.0, crop as f32], [crop as f32, 0.0], [crop as f32, crop as f32]];
        let travelled = corners.into_iter().map(|[x, y]| {
            let [from, to] = [first, last].map(|view| view.source(x, y));
            (to[0] - from[0]).hypot(to[1] - from[1])
        });
        let moments = (travelled.fold(0.0, f32::max).ceil() as usize).clamp(1, MOMENTS);
        (0..moments).map(move |i| self.view(t, self.shutter * i as f32 / moments as f32, crop))
    }

    /// As [`Self::views`], for plane 0 (luma), 1 or 2 of the picture.
    fn maps(&self, t: usize, crop: usize, plane: usize) -> impl ExactSizeIterator<Item = Affine> {
        self.views(t, crop).map(move |view| if plane == 0 { view } else { view.chroma() })
    }

    /// Where luma pixels of a view of `crop` x `crop` pixels come from `after` frame `t`, in parts of a frame's time.
    fn view(&self, t: usize, after: f32, crop: usize) -> Affine {
        let time = t as f32 + after;
        let (sin, cos) = (self.turn_rate * time).sin_cos();
        let zoom = (self.zoom_rate * time).exp();
        let matrix = [[cos * zoom, -sin * zoom], [sin * zoom, cos * zoom]];
        let middle = (crop - 1) as f32 / 2.0;
        let offset = [0, 1].map(|i| {
            let travelled = self.velocity[i] * time + self.acceleration[i] * time * time / 2.0;
            let shake = self.shake.get(t).map_or(0.0, |s| s[i]);
            // Pixel centres are integers, picture coordinates start at the edge of pixel 0.
            let centre = self.centre[i] - 0.5 + travelled + shake;
            centre - (matrix[i][0] + matrix[i][1]) * middle
        });
        Affine { matrix, offset }
    }
}

/// Y as `[T][S][S]` and UV as `[T][2][S/2][S/2]`, T frames of S x S pixels.
pub struct Canvas<'a> {
    pub frames: usize,
    pub crop: usize,
    pub y: &'a mut [u8],
    pub uv: &'a mut [u8],
}

impl Canvas<'_> {
    /// Y, U and V of each frame, with their widths.
    fn planes(&mut self) -> impl Iterator<Item = [(&mut [u8], usize); 3]> {
        let (s, c) = (self.crop, self.crop / 2);
        let luma = self.y.chunks_exact_mut(s * s);
        let chroma = self.uv.chunks_exact_mut(2 * c * c);
        luma.zip(chroma).map(move |(y, uv)| {
            let (u, v) = uv.split_at_mut(c * c);
            [(y, s), (u, c), (v, c)]
        })
    }
}

/// Renders a random moving view of `back`, now and then with a piece of `front` before it.
pub fn render(back: Picture<'_>, front: Picture<'_>, canvas: &mut Canvas<'_>, rng: &mut Rng) {
    let camera = Camera::random(back.size, canvas.frames, canvas.crop, rng);
    film(back, &camera, canvas);
    if rng.chance(LAYER_CHANCE) {
        let camera = Camera::random(front.size, canvas.frames, canvas.crop, rng);
        overlay(front, &camera, canvas, rng);
    }
    if rng.chance(BLUR_CHANCE) {
        let from = rng.range(0.0, BLUR);
        let to = if rng.chance(0.5) { from } else { rng.range(0.0, BLUR) };
        blur(canvas, from, to);
    }
    if rng.chance(FADE_CHANCE) {
        let to = 1.0 + rng.range(-FADE, FADE);
        fade(canvas, to);
    }
    if rng.chance(NOISE_CHANCE) {
        let sigma = rng.range(NOISE.0, NOISE.1);
        noise(canvas, sigma, rng);
    }
}

/// The picture as the camera sees it.
fn film(picture: Picture<'_>, camera: &Camera, canvas: &mut Canvas<'_>) {
    let crop = canvas.crop;
    let sources = picture.size.planes(picture.frame);
    for (t, planes) in canvas.planes().enumerate() {
        for (plane, ((out, width), source)) in planes.into_iter().zip(sources).enumerate() {
            expose(source, camera.maps(t, crop, plane), Border::Reflect, out, width);
        }
    }
}

/// The mean of what a plane looks like through several maps.
fn expose(source: Plane<'_>, maps: impl ExactSizeIterator<Item = Affine>, border: Border, out: &mut [u8], width: usize) {
    let moments = maps.len() as u16;
    let mut sums = vec![moments / 2; out.len()];
    for map in maps {
        warp(source, &map, border, out, width);
        sums.iter_mut().zip(&*out).for_each(|(sum, &pixel)| *sum += u16::from(pixel));
    }
    out.iter_mut().zip(sums).for_each(|(pixel, sum)| *pixel = (sum / moments) as u8);
}

/// Lays a soft-edged piece of `picture` over the canvas. The piece is cut around the camera's
/// starting point, so it moves across the view as the camera moves.
fn overlay(picture: Picture<'_>, camera: &Camera, canvas: &mut Canvas<'_>, rng: &mut Rng) {
    let crop = canvas.crop;
    let mask = blob(crop, rng);
    let mask_plane = Plane { data: &mask, width: crop, height: crop };
    let start = camera.view(0, 0.0, crop).offset;
    // The mask is fixed to the picture: view -> picture -> mask.
    let to_mask = |view: Affine| Affine { matrix: view.matrix, offset: [0, 1].map(|i| view.offset[i] - start[i]) };
    let sources = picture.size.planes(picture.frame);
    let mut piece = vec![0; crop * crop];
    let mut alpha = vec![0; crop * crop];
    for (t, planes) in canvas.planes().enumerate() {
        expose(mask_plane, camera.views(t, crop).map(to_mask), Border::Constant(0), &mut alpha, crop);
        let small = halve(&alpha, crop);
        let alphas = [&alpha, &small, &small];
        for (plane, (((out, width), source), alpha)) in planes.into_iter().zip(sources).zip(alphas).enumerate() {
            let piece = &mut piece[..out.len()];
            expose(source, camera.maps(t, crop, plane), Border::Reflect, piece, width);
            for ((o, &p), &a) in out.iter_mut().zip(&*piece).zip(alpha) {
                let mixed = u32::from(*o) * (255 - u32::from(a)) + u32::from(p) * u32::from(a);
                *o = ((mixed + 127) / 255) as u8;
            }
        }
    }
}

/// A random smooth shape, 255 inside, with an edge of about two pixels.
fn blob(crop: usize, rng: &mut Rng) -> Vec<u8> {
    let side = crop as f32;
    let centre = [rng.range(0.2, 0.8) * side, rng.range(0.2, 0.8) * side];
    let radius = rng.range(0.12, 0.4) * side;
    let squeeze = rng.range(0.6, 1.6);
    let waves: [(f32, f32, f32); 3] = std::array::from_fn(|k| {
        let order = (k + 2) as f32;
        (order, rng.normal() * 0.25 / order, rng.range(0.0, std::f32::consts::TAU))
    });
    let softness = rng.range(0.7, 2.0);
    (0..crop * crop)
        .map(|i| {
            let x = (i % crop) as f32 - centre[0];
            let y = ((i / crop) as f32 - centre[1]) * squeeze;
            let angle = y.atan2(x);
            let wobble: f32 = waves.iter().map(|(order, size, phase)| size * (order * angle + phase).sin()).sum();
            let depth = radius * (1.0 + wobble) - x.hypot(y);
            (255.0 * (0.5 + depth / (2.0 * softness)).clamp(0.0, 1.0)) as u8
        })
        .collect()
}

/// 2x2 means of a square plane.
fn halve(plane: &[u8], side: usize) -> Vec<u8> {
    let pairs = plane.chunks_exact(2 * side);
    pairs
        .flat_map(|rows| {
            let (a, b) = rows.split_at(side);
            a.chunks_exact(2).zip(b.chunks_exact(2)).map(|(a, b)| {
                let sum: u16 = a.iter().chain(b).map(|&p| u16::from(p)).sum();
                ((sum + 2) / 4) as u8
            })
        })
        .collect()
}

/// Multiplies the brightness by a factor that runs from 1 to `to`.
fn fade(canvas: &mut Canvas<'_>, to: f32) {
    let last = (canvas.frames - 1).max(1) as f32;
    for (t, planes) in canvas.planes().enumerate() {
        let gain = 1.0 + (to - 1.0) * t as f32 / last;
        for (k, (plane, _)) in planes.into_iter().enumerate() {
            let (zero, low, high) = if k == 0 { (16.0, 16.0, 235.0) } else { (128.0, 16.0, 240.0) };
            let table: [u8; 256] = std::array::from_fn(|v| {
                let faded = zero + (v as f32 - zero) * gain;
                (faded.clamp(low, high) + 0.5) as u8
            });
            plane.iter_mut().for_each(|p| *p = table[usize::from(*p)]);
        }
    }
}

/// Gaussian blur whose deviation runs from `from` to `to` luma pixels.
fn blur(canvas: &mut Canvas<'_>, from: f32, to: f32) {
    let last = (canvas.frames - 1).max(1) as f32;
    let mut line = Vec::new();
    for (t, planes) in canvas.planes().enumerate() {
        let sigma = from + (to - from) * t as f32 / last;
        for (k, (plane, width)) in planes.into_iter().enumerate() {
            let sigma = if k == 0 { sigma } else { sigma / 2.0 };
            if sigma < 0.25 {
                continue;
            }
            let taps = gaussian(sigma);
            let height = plane.len() / width;
            for y in 0..height {
                blur_line(plane, y * width, 1, width, &taps, &mut line);
            }
            for x in 0..width {
                blur_line(plane, x, width, height, &taps, &mut line);
            }
        }
    }
}

/// Centre and three one-sided taps, together (both sides) 256.
fn gaussian(sigma: f32) -> [u32; 4] {
    let w = [0.0_f32, 1.0, 2.0, 3.0].map(|d| (-d * d / (2.0 * sigma * sigma)).exp());
    let sum = w[0] + 2.0 * (w[1] + w[2] + w[3]);
    let mut taps = w.map(|w| (256.0 * w / sum).round() as u32);
    taps[0] = 256 - 2 * (taps[1] + taps[2] + taps[3]);
    taps
}

/// Filters `count` pixels from `start`, `step` apart; edges are replicated.
fn blur_line(plane: &mut [u8], start: usize, step: usize, count: usize, taps: &[u32; 4], line: &mut Vec<u32>) {
    line.clear();
    let padded = (0..count + 6).map(|i| i.saturating_sub(3).min(count - 1));
    line.extend(padded.map(|i| u32::from(plane[start + i * step])));
    for (i, n) in line.windows(7).enumerate() {
        let sum = taps[0] * n[3] + taps[1] * (n[2] + n[4]) + taps[2] * (n[1] + n[5]) + taps[3] * (n[0] + n[6]);
        plane[start + i * step] = ((sum + 128) >> 8) as u8;
    }
}

/// Adds white noise of deviation `sigma` to luma, independent from frame to frame.
fn noise(canvas: &mut Canvas<'_>, sigma: f32, rng: &mut Rng) {
    let crop = canvas.crop;
    let table: Vec<f32> = (0..4096).map(|_| sigma * rng.normal()).collect();
    for row in canvas.y.chunks_exact_mut(crop) {
        let at = rng.below(table.len());
        for (pixel, n) in row.iter_mut().zip(table.iter().cycle().skip(at)) {
            *pixel = (f32::from(*pixel) + n).round().clamp(0.0, 255.0) as u8;
        }
    }
}

#[cfg(test)]
mod tests;
