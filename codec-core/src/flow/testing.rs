//! Images with known motion.

use super::FlowField;
use crate::frame::Plane;

/// Smooth texture of 48 waves, between 8 and 60 pixels long, about 128.
pub struct Texture {
    waves: Vec<[f32; 3]>,
}

impl Texture {
    pub fn new() -> Self {
        let wave = |i: u32| {
            let angle = i as f32 * 2.399_963;
            let frequency = std::f32::consts::TAU / (8.0 + 52.0 * (i as f32 * 0.618_034).fract());
            [frequency * angle.cos(), frequency * angle.sin(), i as f32 * 1.7]
        };
        Self { waves: (0..48).map(wave).collect() }
    }

    fn at(&self, x: f32, y: f32) -> f32 {
        let sum: f32 = self.waves.iter().map(|[a, b, phase]| (a * x + b * y + phase).sin()).sum();
        128.0 + 11.0 * sum
    }

    /// The texture where `place` says for each pixel.
    pub fn plane(&self, width: usize, height: usize, place: impl Fn(f32, f32) -> (f32, f32)) -> Plane {
        let mut plane = Plane::new(width, height);
        for row in 0..height {
            for col in 0..width {
                let (x, y) = place(col as f32, row as f32);
                plane.row_mut(row)[col] = self.at(x, y).round().clamp(0.0, 255.0) as u8;
            }
        }
        plane
    }
}

/// Mean distance between the estimated and the true flow over vectors at least `margin` pixels from every edge.
pub fn endpoint_error(field: &FlowField, margin: f32, truth: impl Fn(f32, f32) -> (f32, f32)) -> f32 {
    let (mut sum, mut count) = (0.0, 0);
    let (width, height) = (field.cols as f32 * 4.0, field.rows as f32 * 4.0);
    for (i, vector) in field.data.chunks_exact(2).enumerate() {
        let (x, y) = ((i % field.cols) as f32 * 4.0 + 1.5, (i / field.cols) as f32 * 4.0 + 1.5);
        let inside = x >= margin && y >= margin && x < width - margin && y < height - margin;
        if inside {
            let (u, v) = truth(x, y);
            sum += (vector[0] - u).hypot(vector[1] - v);
            count += 1;
        }
    }
    sum / count as f32
}
