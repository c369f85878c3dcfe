//! Block prediction against a slow second implementation, and its properties.

mod slow;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::generic::Generic;
use super::tile::Kernels;
use super::{BlockCompensator, OverlapMap, PaddedFrame, References};
use crate::Error;
use crate::frame::{Frame, chroma_size};
use crate::motion::{BlockField, CELL, Golden, Leaf, Light, MAX_COMPONENT, MAX_LOG2, MIN_LOG2, MotionVector, ROOT};

/// A frame of noise with flat and extreme parts.
fn noise(rng: &mut SmallRng, width: usize, height: usize) -> Frame {
    let mut frame = Frame::new(width, height);
    for plane in frame.planes_mut() {
        for row in 0..plane.height {
            for (col, sample) in plane.row_mut(row).iter_mut().enumerate() {
                *sample = match (row / 16 + col / 16) % 3 {
                    0 => rng.random(),
                    1 => [0, 255][rng.random_range(0..2)],
                    _ => 40 * (col / 8 % 6) as u8,
                };
            }
        }
    }
    frame
}

/// Leaves of random sizes; `vector` chooses the vectors.
fn random_field(
    rng: &mut SmallRng,
    width: usize,
    height: usize,
    mut vector: impl FnMut(&mut SmallRng) -> MotionVector,
) -> BlockField {
    fn split(
        field: &mut BlockField,
        rng: &mut SmallRng,
        vector: &mut dyn FnMut(&mut SmallRng) -> MotionVector,
        row: usize,
        col: usize,
        log2: u8,
    ) {
        if log2 > MIN_LOG2 && rng.random_bool(0.6) {
            let half = 1 << (log2 - 1 - MIN_LOG2);
            for (r, c) in [(0, 0), (0, half), (half, 0), (half, half)] {
                split(field, rng, vector, row + r, col + c, log2 - 1);
            }
        } else {
            let vector = vector(rng);
            field.set(Leaf { row, col, log2, vector });
        }
    }
    let mut field = BlockField::still(width, height);
    for row in (0..field.rows()).step_by(ROOT / CELL) {
        for col in (0..field.cols()).step_by(ROOT / CELL) {
            split(&mut field, rng, &mut vector, row, col, MAX_LOG2);
        }
    }
    field
}

/// Mostly short vectors, some equal ones, some far beyond every frame.
fn any_vector(rng: &mut SmallRng) -> MotionVector {
    let component = |rng: &mut SmallRng| match rng.random_range(0..8) {
        0 => 0,
        1 => 4 * rng.random_range(-20..20),
        2 => rng.random_range(-MAX_COMPONENT..=MAX_COMPONENT),
        3 => rng.random_range(-400..400),
        _ => rng.random_range(-30..30),
    };
    match rng.random_range(0..6) {
        0 => MotionVector { x: 5, y: -6 },
        1 => MotionVector { x: -MAX_COMPONENT, y: MAX_COMPONENT },
        _ => MotionVector { x: component(rng), y: component(rng) },
    }
}

/// Has some of a field's leaves use the golden frame.
fn use_golden(rng: &mut SmallRng, field: &mut BlockField) {
    let leaves: Vec<Leaf> = field.leaves().collect();
    for leaf in leaves {
        let golden = match rng.random_range(0..5) {
            0 => Golden::Mixed(any_vector(rng)),
            1 => Golden::Alone(any_vector(rng)),
            2 => Golden::Mixed(leaf.vector),
            _ => Golden::Unused,
        };
        field.set_golden(&leaf, golden);
    }
}

fn predict_with(
    kernels: impl Kernels,
    references: References,
    display: (usize, usize),
    field: &BlockField,
    threads: usize,
) -> Frame {
    let mut out = Frame::new(references.last.width(), references.last.height());
    BlockCompensator::default().predict_with(kernels, references, display, field, threads, &mut out).unwrap();
    out
}

fn predict(reference: &Frame, display: (usize, usize), field: &BlockField) -> Frame {
    let mut out = Frame::new(reference.width(), reference.height());
    let references = References { last: reference, golden: None };
    BlockCompensator::default().predict(references, display, field, 1, &mut out).unwrap();
    out
}

#[test]
fn all_paths_equal_the_specification() {
    let mut rng = SmallRng::seed_from_u64(1);
    let sizes = [(64, 64, 64, 64), (192, 128, 177, 101), (128, 192, 1, 1), (128, 64, 66, 63), (256, 128, 256, 120)];
    for (round, (width, height, shown_width, shown_height)) in sizes.into_iter().cycle().take(15).enumerate() {
        let reference = noise(&mut rng, width, height);
        let mut field = random_field(&mut rng, width, height, any_vector);
        let display = (shown_width, shown_height);
        let frame = noise(&mut rng, width, height);
        use_golden(&mut rng, &mut field);
        let mut golden = PaddedFrame::default();
        golden.load(&frame, display, 1);
        let references = References { last: &reference, golden: Some(&golden) };
        let wanted = slow::predict(&reference, Some(&frame), display, &field);
        for threads in [0, 1, 2, 3, 8] {
            assert!(
                predict_with(Generic::default(), references, display, &field, threads) == wanted,
                "generic, {threads} threads, {round}"
            );
            #[cfg(target_arch = "x86_64")]
            if let Some(avx2) = super::avx2::Avx2::detect() {
                let found = predict_with(avx2, references, display, &field, threads);
                assert!(found == wanted, "AVX2, {threads} threads, {round}");
            }
        }
        // Without a golden frame, all leaves move as their vectors to the last frame say.
        assert!(predict(&reference, display, &field) == slow::predict(&reference, None, display, &field));
    }
}

#[test]
fn a_golden_frame_that_is_the_last_one_predicts_as_that() {
    let mut rng = SmallRng::seed_from_u64(8);
    let reference = noise(&mut rng, 192, 128);
    let display = (177, 101);
    let mut field = random_field(&mut rng, 192, 128, any_vector);
    let wanted = predict(&reference, display, &field);
    let mut golden = PaddedFrame::default();
    golden.load(&reference, display, 1);
    let references = References { last: &reference, golden: Some(&golden) };
    for golden in [Golden::Mixed, Golden::Alone] {
        for leaf in field.leaves().collect::<Vec<_>>() {
            field.set_golden(&leaf, golden(leaf.vector));
        }
        assert!(predict_with(Generic::default(), references, display, &field, 1) == wanted);
    }
}

#[test]
fn each_fraction_and_leaf_size_equals_the_specification() {
    let mut rng = SmallRng::seed_from_u64(2);
    let reference = noise(&mut rng, 64, 64);
    for x in 0..8 {
        for y in 0..8 {
            for log2 in MIN_LOG2..=MAX_LOG2 {
                let mut field = BlockField::still(64, 64);
                let n = 1 << (log2 - MIN_LOG2);
                for (i, j) in (0..8 / n).flat_map(|i| (0..8 / n).map(move |j| (i, j))) {
                    // Neighbours along rows differ in y, those along columns in x.
                    let vector = MotionVector { x: x - 16 * (i % 2) as i16, y: y + 24 * (j % 2) as i16 };
                    field.set(Leaf { row: i * n, col: j * n, log2, vector });
                }
                assert!(
                    predict(&reference, (64, 64), &field) == slow::predict(&reference, None, (64, 64), &field),
                    "{x} {y} {log2}"
                );
            }
        }
    }
}

/// The worst pattern for the range of 16 bits: every tap of both filters meets black or white, by its sign.
#[test]
fn extreme_samples_do_not_overflow() {
    let signs = [1, 0, 1, 0, 0, 1, 0, 1];
    const EXTREMES: [(i32, i32); 2] = [(-16_830, 33_150); 2];
    for inverted in [0, 1] {
        let mut reference = Frame::new(64, 64);
        for plane in reference.planes_mut() {
            for row in 0..plane.height {
                for (col, sample) in plane.row_mut(row).iter_mut().enumerate() {
                    *sample = 255 * ((signs[row % 8] ^ signs[col % 8] ^ inverted as i32) as u8);
                }
            }
        }
        let mut field = BlockField::still(64, 64);
        for (row, col) in (0..8).flat_map(|row| (0..8).map(move |col| (row, col))) {
            let vector = MotionVector { x: 4 * col as i16 + 2, y: 4 * row as i16 + 2 };
            field.set(Leaf { row, col, log2: MIN_LOG2, vector });
        }
        let plane = slow::Plane::new(&reference, 0, (64, 64));
        let values = (0..64 * 64).map(|i| plane.at(i % 64, i / 64, field.vector(i / 64 / CELL, i % 64 / CELL)));
        let (low, high) = values.fold((0, 0), |(low, high): (i32, i32), v| (low.min(v), high.max(v)));
        assert_eq!((low, high), EXTREMES[inverted]);
        let wanted = slow::predict(&reference, None, (64, 64), &field);
        let references = References { last: &reference, golden: None };
        assert!(predict_with(Generic::default(), references, (64, 64), &field, 1) == wanted);
        assert!(predict(&reference, (64, 64), &field) == wanted);
    }
}

#[test]
fn constant_frames_stay_constant() {
    let mut rng = SmallRng::seed_from_u64(3);
    for grey in [0, 1, 100, 254, 255] {
        let mut reference = Frame::new(128, 128);
        for (plane, grey) in reference.planes_mut().iter_mut().zip([grey, 255 - grey, grey / 2]) {
            plane.data.fill(grey);
        }
        let field = random_field(&mut rng, 128, 128, any_vector);
        assert!(predict(&reference, (99, 128), &field) == reference);
    }
}

#[test]
fn whole_vectors_shift() {
    let mut rng = SmallRng::seed_from_u64(4);
    let reference = noise(&mut rng, 128, 64);
    let display = (101, 61);
    for (x, y) in [(0, 0), (2, -4), (-30, 8), (64, 0), (0, -200), (2000, 2000)] {
        let mut field = BlockField::still(128, 64);
        for col in [0, 8] {
            field.set(Leaf { row: 0, col, log2: MAX_LOG2, vector: MotionVector { x: 4 * x, y: 4 * y } });
        }
        let found = predict(&reference, display, &field);
        for i in 0..3 {
            let (scale, (w, h)) = if i == 0 { (1, display) } else { (2, chroma_size(display.0, display.1)) };
            let (plane, found) = (reference.plane(i), found.plane(i));
            for (row, col) in (0..plane.height).flat_map(|row| (0..plane.width).map(move |col| (row, col))) {
                let at = |p: usize, v: i16, side: usize| (p as i32 + i32::from(v / scale)).clamp(0, side as i32 - 1) as usize;
                assert_eq!(found.row(row)[col], plane.row(at(row, y, h))[at(col, x, w)], "{x} {y}, plane {i}, {row} {col}");
            }
        }
    }
}

#[test]
fn wider_rows_and_used_buffers_make_no_difference() {
    let mut rng = SmallRng::seed_from_u64(5);
    let mut compensator = BlockCompensator::default();
    for (width, height) in [(128, 64), (192, 128), (64, 64)] {
        let reference = noise(&mut rng, width, height);
        let field = random_field(&mut rng, width, height, any_vector);
        let mut out = Frame::new(width, height);
        for plane in out.planes_mut() {
            plane.stride += 7;
            plane.data = vec![9; plane.stride * plane.height];
        }
        let references = References { last: &reference, golden: None };
        compensator.predict(references, (width, height), &field, 2, &mut out).unwrap();
        assert!(out.crop_copy(width, height).unwrap() == predict(&reference, (width, height), &field));
    }
}

#[test]
fn the_overlap_map_makes_the_same_mixture() {
    let mut rng = SmallRng::seed_from_u64(6);
    for (width, height) in [(128, 64), (192, 192)] {
        let display = (width - 5, height);
        let (reference, frame) = (noise(&mut rng, width, height), noise(&mut rng, width, height));
        let mut field = random_field(&mut rng, width, height, any_vector);
        use_golden(&mut rng, &mut field);
        let mut golden = PaddedFrame::default();
        golden.load(&frame, display, 1);
        let references = References { last: &reference, golden: Some(&golden) };
        let found = predict_with(Generic::default(), references, display, &field, 1);
        let maps = [OverlapMap::of(&field, true), OverlapMap::of_chroma(&field, true)];
        for (i, map) in [(0, &maps[0]), (1, &maps[1]), (2, &maps[1])] {
            let [plane, golden] = [&reference, &frame].map(|frame| slow::Plane::new(frame, i, display));
            for (at, &sample) in found.plane(i).data.iter().enumerate() {
                let stride = found.plane(i).stride;
                let value = |k: usize| f64::from(plane.with(Some(&golden), at % stride, at / stride, map.motion[k][at])) / 64.0;
                let (v, h) = (f64::from(map.vertical[at]), f64::from(map.horizontal[at]));
                let mixture = ((64.0 - h) * ((64.0 - v) * value(0) + v * value(1)) + 64.0 * h * value(2)) / 4096.0;
                assert!((mixture.clamp(0.0, 255.0) - f64::from(sample)).abs() < 0.54, "{i} {at}: {mixture}, {sample}");
            }
            assert!(map.vertical.iter().chain(&map.horizontal).all(|&weight| weight < 32));
        }
    }
}

#[test]
fn wrong_sizes_are_refused() {
    let (frame, field) = (Frame::new(128, 64), BlockField::still(128, 64));
    let refused = |reference: &Frame, display, field: &BlockField, out: &Frame| {
        let references = References { last: reference, golden: None };
        let found = BlockCompensator::default().predict(references, display, field, 1, &mut out.clone());
        assert!(matches!(found, Err(Error::InvalidConfig(_))));
    };
    refused(&Frame::new(128, 72), (128, 64), &field, &Frame::new(128, 72));
    refused(&Frame::new(0, 0), (0, 0), &BlockField::still(0, 0), &Frame::new(0, 0));
    refused(&frame, (128, 64), &BlockField::still(64, 128), &frame);
    refused(&frame, (128, 64), &field, &Frame::new(64, 64));
    refused(&frame, (129, 64), &field, &frame);
    refused(&frame, (128, 0), &field, &frame);
    let mut short = frame.clone();
    short.plane_mut(1).data.pop();
    refused(&short, (128, 64), &field, &frame);
    refused(&frame, (128, 64), &field, &short);
    let mut golden = PaddedFrame::default();
    golden.load(&frame, (127, 64), 1);
    let references = References { last: &frame, golden: Some(&golden) };
    let found = BlockCompensator::default().predict(references, (128, 64), &field, 1, &mut frame.clone());
    assert!(matches!(found, Err(Error::InvalidConfig(message)) if message.contains("golden")));
}

#[test]
fn a_change_of_light_is_one_of_the_last_frame_alone() {
    let mut rng = SmallRng::seed_from_u64(12);
    let (width, height, display) = (128, 64, (120, 50));
    let (last, other) = (noise(&mut rng, width, height), noise(&mut rng, width, height));
    let mut golden = PaddedFrame::default();
    golden.load(&other, display, 1);
    let mut field = random_field(&mut rng, width, height, any_vector);
    let leaves: Vec<Leaf> = field.leaves().collect();
    for leaf in leaves.iter().step_by(3) {
        field.set_golden(leaf, if rng.random() { Golden::Mixed(leaf.vector) } else { Golden::Alone(leaf.vector) });
    }
    let light = Light::new(200, 9);
    let mut changed = last.clone();
    for (plane, table) in changed.planes_mut().iter_mut().zip([light.luma(), light.chroma(), light.chroma()]) {
        plane.map(&table);
    }
    let predicted = |last: &Frame, field: &BlockField| {
        let mut out = Frame::new(width, height);
        let references = References { last, golden: Some(&golden) };
        BlockCompensator::default().predict(references, display, field, 1, &mut out).unwrap();
        out
    };
    let wanted = predicted(&changed, &field);
    field.light = Some(light);
    assert_eq!(predicted(&last, &field), wanted);
}
