use super::*;
use crate::flow::testing::{Texture, endpoint_error};

/// A field of one vector, at 1/4 of `width` x `height`.
fn uniform(width: usize, height: usize, vector: [f32; 2]) -> FlowField {
    FlowField { rows: height / 4, cols: width / 4, data: vector.repeat(width * height / 16) }
}

type Truth = fn(f32, f32) -> (f32, f32);

/// Frames of a texture under a zoom, and the true flow.
fn zoom() -> (Plane, Plane, Truth) {
    fn truth(x: f32, y: f32) -> (f32, f32) {
        (0.02 * (x - 96.0) + 1.3, 0.02 * (y - 64.0) - 0.6)
    }
    let texture = Texture::new();
    let previous = texture.plane(192, 128, |x, y| (x, y));
    let current = texture.plane(192, 128, |x, y| (x + truth(x, y).0, y + truth(x, y).1));
    (current, previous, truth)
}

#[test]
fn steps_approach_the_true_motion() {
    let (current, previous, truth) = zoom();
    let mut errors = Vec::new();
    for steps in [0, 1, 3, 10] {
        let mut field = uniform(192, 128, [1.3, -0.6]);
        Refiner::new(steps, Cubic::Sharp).refine(&mut field, &current, &previous, 2000.0);
        errors.push(endpoint_error(&field, 24.0, truth));
    }
    assert!(errors.windows(2).all(|pair| pair[1] < 0.8 * pair[0]), "{errors:?}");
    assert!(errors[3] < 0.1, "{errors:?}");
}

#[test]
fn what_lies_within_a_node_stays() {
    let (current, previous, _) = zoom();
    let start = uniform(192, 128, [1.3, -0.6]);
    let mut field = start.clone();
    for (i, value) in field.data.iter_mut().enumerate() {
        *value += ((i * 7919) % 13) as f32 * 0.01;
    }
    let rough = field.clone();
    Refiner::new(2, Cubic::Sharp).refine(&mut field, &current, &previous, 300.0);
    for row in (0..field.rows).step_by(2) {
        for col in (0..field.cols).step_by(2) {
            let of = |field: &FlowField, dy, dx| field.data[((row + dy) * field.cols + col + dx) * 2];
            let (moved, before) = (of(&field, 1, 1) - of(&field, 0, 0), of(&rough, 1, 1) - of(&rough, 0, 0));
            assert!((moved - before).abs() < 1e-4);
        }
    }
    assert_ne!(field.downsample2(), rough.downsample2());
}

#[test]
fn a_low_lambda_pays_for_no_rough_field() {
    let (mut current, mut previous, _) = zoom();
    let noise = |i: usize| ((i.wrapping_mul(2_654_435_761) >> 16) % 25) as i32 - 12;
    for (i, (a, b)) in previous.data.iter_mut().zip(&mut current.data).enumerate() {
        *a = (i32::from(*a) + noise(i)).clamp(0, 255) as u8;
        *b = (i32::from(*b) + noise(i + 7919)).clamp(0, 255) as u8;
    }
    let roughness = |lambda| {
        let mut field = uniform(192, 128, [1.3, -0.6]);
        Refiner::new(8, Cubic::Sharp).refine(&mut field, &current, &previous, lambda);
        let nodes = field.downsample2();
        nodes.data.chunks_exact(2 * nodes.cols).flat_map(|row| row.windows(3)).map(|v| (v[2] - v[0]).abs()).sum::<f32>()
    };
    let (frugal, photometric) = (roughness(10.0), roughness(f64::INFINITY));
    assert!(frugal < 0.6 * photometric, "{frugal} {photometric}");
}

#[test]
fn nothing_to_see_moves_nothing() {
    let flat = Plane::from_vec(vec![90; 64 * 64], 64, 64).unwrap();
    for lambda in [12.0, f64::INFINITY] {
        let mut field = uniform(64, 64, [2.0, 1.0]);
        Refiner::new(3, Cubic::Sharp).refine(&mut field, &flat, &flat, lambda);
        assert_eq!(field, uniform(64, 64, [2.0, 1.0]));
    }
}

/// Sums by their definition: the weight of each pixel in the interpolation is what it is when one node alone is 1.
#[test]
fn sums_equal_their_definition() {
    let (current, previous, _) = zoom();
    let (width, height) = (current.width, current.height);
    let mut refiner = Refiner::new(1, Cubic::Sharp);
    refiner.refine(&mut uniform(width, height, [0.0, 0.0]), &current, &previous, f64::INFINITY);
    let sample = |plane: &Plane, x: isize, y: isize| {
        let (x, y) = (x.clamp(0, width as isize - 1) as usize, y.clamp(0, height as isize - 1) as usize);
        f64::from(plane.row(y)[x]) / 255.0
    };
    let weight = |pixel: usize, node: usize, nodes: usize| {
        let position = ((pixel as f64 + 0.5) / PITCH as f64 - 0.5).clamp(0.0, nodes as f64 - 1.0);
        (1.0 - (position - node as f64).abs()).max(0.0)
    };
    let (rows, cols) = (height / PITCH, width / PITCH);
    for (row, col) in [(0, 0), (3, 5), (rows - 1, cols - 1), (rows - 1, 4)] {
        let mut wanted = [0f64; 5];
        for y in 0..height {
            for x in 0..width {
                let weight = weight(y, row, rows) * weight(x, col, cols);
                let at = |dx, dy| sample(&previous, x as isize + dx, y as isize + dy);
                let (gx, gy) = ((at(1, 0) - at(-1, 0)) / 2.0, (at(0, 1) - at(0, -1)) / 2.0);
                let error = at(0, 0) - sample(&current, x as isize, y as isize);
                for (sum, term) in wanted.iter_mut().zip([gx * error, gy * error, gx * gx, gx * gy, gy * gy]) {
                    *sum += weight * term;
                }
            }
        }
        let NodeSums(found) = refiner.sums[row * cols + col];
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((f64::from(*found) - wanted).abs() < 1e-4 * wanted.abs().max(0.01), "node {row} {col}: {found} {wanted}");
        }
    }
}
