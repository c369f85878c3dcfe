use super::super::pack::tests::{noise, noise_frame};
use super::*;

/// A plane of the reference from the definition, warped and blurred without any shortcut.
struct Naive {
    width: usize,
    height: usize,
    samples: Vec<f32>,
    filter: Cubic,
}

fn clamp_index(position: i64, size: usize) -> usize {
    position.clamp(0, size as i64 - 1) as usize
}

impl Naive {
    fn at(&self, row: i64, col: i64) -> f32 {
        self.samples[clamp_index(row, self.height) * self.width + clamp_index(col, self.width)]
    }

    fn bicubic(&self, y: f32, x: f32) -> f32 {
        let kernel = |t: f64| {
            let (a, t) = (f64::from(self.filter.parameter()), t.abs());
            if t <= 1.0 {
                (a + 2.0) * t.powi(3) - (a + 3.0) * t * t + 1.0
            } else if t < 2.0 {
                a * t.powi(3) - 5.0 * a * t * t + 8.0 * a * t - 4.0 * a
            } else {
                0.0
            }
        };
        let (top, left) = (y.floor() as i64, x.floor() as i64);
        let mut sum = 0.0;
        for row in top - 1..=top + 2 {
            for col in left - 1..=left + 2 {
                let weight = kernel(f64::from(y) - row as f64) * kernel(f64::from(x) - col as f64);
                sum += weight * f64::from(self.at(row, col));
            }
        }
        sum as f32
    }

    fn blurred(&self, row: usize, col: usize) -> f32 {
        let taps = [1.0, 4.0, 6.0, 4.0, 1.0];
        let mut sum = 0.0;
        for (i, a) in taps.iter().enumerate() {
            for (j, b) in taps.iter().enumerate() {
                sum += a * b * self.at(row as i64 + i as i64 - 2, col as i64 + j as i64 - 2);
            }
        }
        sum / 256.0
    }
}

/// Bilinear upsampling of a component by 8, at luma pixel (row, col), pixel centres aligned.
fn upsampled(motion: &[f32], rows: usize, cols: usize, c: usize, row: usize, col: usize) -> f32 {
    let split = |position: usize, size: usize| {
        let at = ((position as f32 + 0.5) / 8.0 - 0.5).max(0.0);
        (at as usize, (at as usize + 1).min(size - 1), at.fract())
    };
    let ((y0, y1, fy), (x0, x1, fx)) = (split(row, rows), split(col, cols));
    let value = |y: usize, x: usize| motion[(y * cols + x) * 3 + c];
    let upper = value(y0, x0) * (1.0 - fx) + value(y0, x1) * fx;
    let lower = value(y1, x0) * (1.0 - fx) + value(y1, x1) * fx;
    upper * (1.0 - fy) + lower * fy
}

/// Plane `index` of the prediction from the definition.
fn naive(reference: &Frame, motion: &[f32], index: usize, filter: Cubic) -> Vec<f32> {
    let plane = reference.plane(index);
    let (w, h) = (plane.width, plane.height);
    let (rows, cols) = (reference.height() / 8, reference.width() / 8);
    let moved = |c: usize, row: usize, col: usize| {
        let luma = |row, col| upsampled(motion, rows, cols, c, row, col);
        if index == 0 {
            return luma(row, col);
        }
        let block = [(0, 0), (0, 1), (1, 0), (1, 1)];
        let mean = block.map(|(y, x)| luma(2 * row + y, 2 * col + x)).iter().sum::<f32>() / 4.0;
        if c == 2 { mean } else { mean * 0.5 }
    };
    let samples = plane.data.iter().map(|&v| f32::from(v) / 255.0 - 0.5).collect();
    let source = Naive { width: w, height: h, samples, filter };
    let places = || (0..h).flat_map(|row| (0..w).map(move |col| (row, col)));
    let warped = places().map(|(row, col)| {
        let (y, x) = (row as f32 + moved(1, row, col), col as f32 + moved(0, row, col));
        source.bicubic(y, x).clamp(-0.5, 0.5)
    });
    let warped = Naive { width: w, height: h, samples: warped.collect(), filter };
    let sigma: Vec<f32> = places().map(|(row, col)| moved(2, row, col)).collect();
    let blended = places().zip(&sigma).map(|((row, col), s)| {
        let sharp = warped.samples[row * w + col];
        sharp + s * (warped.blurred(row, col) - sharp)
    });
    blended.collect()
}

/// A reference without jumps, so that rounding of the flow does not show: noise averaged over 3x3.
fn smooth_frame(width: usize, height: usize) -> Frame {
    let (noisy, mut frame) = (noise_frame(width, height, 8), Frame::new(width, height));
    for (to, from) in frame.planes_mut().iter_mut().zip([0, 1, 2].map(|i| noisy.plane(i))) {
        for row in 0..to.height {
            for col in 0..to.width {
                let near = |at: usize, size: usize| [at.saturating_sub(1), at, (at + 1).min(size - 1)];
                let rows = near(row, to.height).map(|r| near(col, from.width).map(|c| u32::from(from.row(r)[c])));
                to.row_mut(row)[col] = (rows.iter().flatten().sum::<u32>() / 9) as u8;
            }
        }
    }
    frame
}

fn motion_field(width: usize, height: usize, flow: f32, sigma: impl Fn(usize) -> f32) -> Vec<f32> {
    let mut motion = noise(width * height / 64 * 3, 21, 2.0 * flow);
    for (i, cell) in motion.chunks_exact_mut(3).enumerate() {
        cell[2] = sigma(i);
    }
    motion
}

fn predict(reference: &Frame, motion: &[f32], threads: usize) -> Prediction {
    let mut out = Prediction::default();
    MotionCompensator::default().predict(reference, motion, threads, &mut out).unwrap();
    out
}

fn assert_matches_definition(reference: &Frame, motion: &[f32], threads: usize, [luma, chroma]: [Cubic; 2]) {
    let mut prediction = Prediction::default();
    MotionCompensator::new(luma, chroma).predict(reference, motion, threads, &mut prediction).unwrap();
    for (index, (plane, width)) in prediction.planes().into_iter().enumerate() {
        let expected = naive(reference, motion, index, if index == 0 { luma } else { chroma });
        assert_eq!(plane.len(), expected.len());
        for (i, (got, expected)) in plane.iter().zip(&expected).enumerate() {
            let (row, col) = (i / width, i % width);
            assert!((got - expected).abs() < 1e-5, "plane {index} at {row}, {col}: {got}, not {expected}");
        }
    }
}

#[test]
fn matches_the_definition() {
    for (w, h) in [(64, 64), (128, 64), (64, 192)] {
        let reference = smooth_frame(w, h);
        for flow in [0.0, 1.5, 9.0, 100.0] {
            let sigmas: [&dyn Fn(usize) -> f32; 3] = [&|_| 0.0, &|_| 1.0, &|i| (i * 7 % 11) as f32 / 10.0];
            for (k, sigma) in sigmas.iter().enumerate() {
                let filters = [[Cubic::Sharp; 2], [Cubic::Sharp, Cubic::Stable], [Cubic::Stable, Cubic::Sharp]][k];
                assert_matches_definition(&reference, &motion_field(w, h, flow, sigma), 1 + k, filters);
            }
        }
    }
}

#[test]
fn sigma_of_zero_blurs_nothing() {
    let (w, h) = (128, 128);
    let reference = noise_frame(w, h, 5);
    // Sigma in the last rows of the field only: all rows further up must be exactly the sharp ones.
    let part = motion_field(w, h, 4.0, |i| if i >= 10 * 16 { 0.8 } else { 0.0 });
    let sharp = motion_field(w, h, 4.0, |_| 0.0);
    let (part, sharp) = (predict(&reference, &part, 1), predict(&reference, &sharp, 1));
    for (index, ((a, width), (b, _))) in part.planes().into_iter().zip(sharp.planes()).enumerate() {
        let unblurred = if index == 0 { 9 * 8 + 4 } else { 9 * 4 + 2 } * width;
        assert_eq!(a[..unblurred], b[..unblurred]);
        assert_ne!(a[unblurred..], b[unblurred..]);
    }
}

#[test]
fn no_motion_returns_the_reference() {
    let reference = noise_frame(64, 128, 6);
    let prediction = predict(&reference, &vec![0.0; 8 * 16 * 3], 2);
    for (index, (plane, _)) in prediction.planes().into_iter().enumerate() {
        for (got, sample) in plane.iter().zip(&reference.plane(index).data) {
            assert!((got - (f32::from(*sample) / 255.0 - 0.5)).abs() < 1e-6);
        }
    }
}

#[test]
fn threads_do_not_change_the_result() {
    let reference = noise_frame(64, 128, 7);
    let motion = motion_field(64, 128, 20.0, |i| (i % 3) as f32 / 2.0);
    let one = predict(&reference, &motion, 1);
    for threads in [2, 3, 200] {
        assert_eq!(predict(&reference, &motion, threads), one);
    }
}

#[test]
fn wild_motion_is_safe() {
    let (w, h) = (64, 64);
    let reference = noise_frame(w, h, 9);
    let wild = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, f32::MIN_POSITIVE, -65.5, 64.0];
    let motion: Vec<f32> = (0..w * h / 64 * 3).map(|i| wild[i * 5 % 8]).collect();
    let prediction = predict(&reference, &motion, 1);
    for (plane, _) in prediction.planes() {
        assert!(plane.iter().all(|v| (-0.5..=0.5).contains(v)));
    }
    // What is no number counts as no motion.
    let still = predict(&reference, &vec![0.0; motion.len()], 1);
    assert_eq!(predict(&reference, &vec![f32::NAN; motion.len()], 1), still);
    // Far beyond the right edge lies that edge.
    let right: Vec<f32> = [f32::INFINITY, 0.0, 0.0].repeat(w * h / 64);
    let prediction = predict(&reference, &right, 1);
    for (row, line) in prediction.y.chunks_exact(w).enumerate() {
        let edge = f32::from(reference.plane(0).row(row)[w - 1]) / 255.0 - 0.5;
        assert!(line.iter().all(|v| (v - edge).abs() < 1e-6));
    }
}

#[test]
fn buffers_follow_the_size() {
    let mut compensator = MotionCompensator::default();
    let mut out = Prediction::default();
    for (w, h) in [(128, 128), (64, 64), (192, 64)] {
        let (reference, motion) = (noise_frame(w, h, 2), motion_field(w, h, 3.0, |_| 0.5));
        compensator.predict(&reference, &motion, 1, &mut out).unwrap();
        assert_eq!(out, predict(&reference, &motion, 1));
    }
}

#[test]
fn misfits_are_refused() {
    let mut out = Prediction::default();
    let mut predict = |w, h, len| MotionCompensator::default().predict(&Frame::new(w, h), &vec![0.0; len], 1, &mut out);
    for (w, h, len) in [(64, 64, 191), (64, 64, 193), (72, 64, 216), (0, 0, 0)] {
        assert!(matches!(predict(w, h, len), Err(Error::InvalidConfig(_))), "{w}x{h}, {len}");
    }
}

/// What a row of waves becomes after many frames that move by half a sample.
fn energy_after(filter: Cubic, frames: usize) -> f64 {
    let (w, h) = (128, 64);
    let wave = |x: f64| 24.0 * (x * std::f64::consts::TAU / 6.0).sin();
    let mut reference = Frame::new(w, h);
    for row in 0..h {
        for (x, sample) in reference.planes_mut()[0].row_mut(row).iter_mut().enumerate() {
            *sample = (128.0 + wave(x as f64)).round() as u8;
        }
    }
    let motion = [0.5f32, 0.0, 0.0].repeat(w * h / 64);
    let mut compensator = MotionCompensator::new(filter, filter);
    let mut out = Prediction::default();
    for _ in 0..frames {
        compensator.predict(&reference, &motion, 1, &mut out).unwrap();
        for (row, line) in out.y.chunks_exact(w).enumerate() {
            for (sample, value) in reference.planes_mut()[0].row_mut(row).iter_mut().zip(line) {
                *sample = ((value + 0.5) * 255.0).round() as u8;
            }
        }
    }
    // Away from the edges, which move in.
    let line = &reference.plane(0).row(0)[8..w - 8 - frames / 2];
    line.iter().map(|&v| (f64::from(v) - 128.0).powi(2)).sum::<f64>() / line.len() as f64
}

#[test]
fn the_stable_filter_never_amplifies_and_the_sharp_one_does() {
    let start = energy_after(Cubic::Stable, 0);
    assert!(energy_after(Cubic::Stable, 20) < start, "{} from {start}", energy_after(Cubic::Stable, 20));
    // 2.8 % a frame at waves of six samples.
    let grown = energy_after(Cubic::Sharp, 20) / start;
    assert!((2.4..3.6).contains(&grown), "{grown}");
}
