use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::predict::{MEAN, MODES, PLANAR, VERTICAL};
use super::syntax::likely;
use super::*;
use crate::entropy::{SymbolReader, SymbolWriter};
use crate::quality::{FrameQuality, QualityMap};

fn plane(rng: &mut StdRng, rows: usize, cols: usize) -> Plane {
    let mut plane = Plane::new(rows, cols);
    let row: Vec<i32> = (0..rows * cols).map(|_| rng.random_range(-2000..2000)).collect();
    for at in 0..rows * cols {
        plane.put_square((at / cols, at % cols), 1, &row[at..=at]);
    }
    plane
}

/// HEVC's prediction as its text has it (8.4.4.2.3 to 8.4.4.2.6, without filters at edges); p(x, y) has samples at -1.
fn from_the_text(p: &dyn Fn(i32, i32) -> i32, mode: i32, n: i32) -> Vec<i32> {
    const ANGLES: [i32; 33] = [
        32, 26, 21, 17, 13, 9, 5, 2, 0, -2, -5, -9, -13, -17, -21, -26, -32, -26, -21, -17, -13, -9, -5, -2, 0, 2, 5, 9, 13, 17,
        21, 26, 32,
    ];
    const INVERSES: [i32; 15] = [-4096, -1638, -910, -630, -482, -390, -315, -256, -315, -390, -482, -630, -910, -1638, -4096];
    let distance = (mode - 26).abs().min((mode - 10).abs());
    let filtered = mode != 1
        && match n {
            4 => false,
            8 => mode == 0 || distance > 7,
            _ => mode == 0 || distance > 1,
        };
    let q = |x: i32, y: i32| -> i32 {
        if !filtered || (x, y) == (-1, 2 * n - 1) || (x, y) == (2 * n - 1, -1) {
            p(x, y)
        } else if (x, y) == (-1, -1) {
            (p(-1, 0) + 2 * p(-1, -1) + p(0, -1) + 2) >> 2
        } else if x == -1 {
            (p(-1, y + 1) + 2 * p(-1, y) + p(-1, y - 1) + 2) >> 2
        } else {
            (p(x - 1, -1) + 2 * p(x, -1) + p(x + 1, -1) + 2) >> 2
        }
    };
    let log = n.ilog2();
    let mut out = Vec::new();
    for y in 0..n {
        for x in 0..n {
            out.push(match mode {
                0 => {
                    let sum = (n - 1 - x) * q(-1, y) + (x + 1) * q(n, -1) + (n - 1 - y) * q(x, -1) + (y + 1) * q(-1, n) + n;
                    sum >> (log + 1)
                }
                1 => ((0..n).map(|i| q(i, -1) + q(-1, i)).sum::<i32>() + n) >> (log + 1),
                _ => {
                    let angle = ANGLES[mode as usize - 2];
                    let vertical = mode >= 18;
                    let along = |i: i32| if vertical { q(i - 1, -1) } else { q(-1, i - 1) };
                    let across = |i: i32| if vertical { q(-1, i - 1) } else { q(i - 1, -1) };
                    let reference = |i: i32| {
                        if i >= 0 { along(i) } else { across((i * INVERSES[mode as usize - 11] + 128) >> 8) }
                    };
                    let (main, other) = if vertical { (x, y) } else { (y, x) };
                    let (whole, part) = (((other + 1) * angle) >> 5, ((other + 1) * angle) & 31);
                    match part {
                        0 => reference(main + whole + 1),
                        _ => {
                            let (a, b) = (reference(main + whole + 1), reference(main + whole + 2));
                            ((32 - part) * a + part * b + 16) >> 5
                        }
                    }
                }
            });
        }
    }
    out
}

#[test]
fn modes_predict_as_the_text_says() {
    let mut rng = StdRng::seed_from_u64(4);
    let plane = plane(&mut rng, 64, 64);
    for side in [4, 8, 16] {
        let (row, col) = (20, 24);
        let edges = Edges::new(&plane, (row, col), side, (2 * side, 2 * side));
        let p = |x: i32, y: i32| plane.at((row as i32 + y) as usize, (col as i32 + x) as usize);
        for mode in 0..MODES as u8 {
            let mut out = [0; AREA];
            edges.predict(mode, &mut out);
            assert_eq!(out[..side * side], from_the_text(&p, mode.into(), side as i32), "mode {mode} of {side}");
        }
    }
}

#[test]
fn unknown_samples_continue_known_ones() {
    let mut rng = StdRng::seed_from_u64(5);
    let plane = plane(&mut rng, 32, 32);
    let predict = |at, known, mode| {
        let mut out = [0; AREA];
        Edges::new(&plane, at, 4, known).predict(mode, &mut out);
        out[..16].to_vec()
    };
    // Nothing is known: the middle of the range.
    assert!((0..MODES as u8).all(|mode| predict((0, 0), (0, 0), mode) == [0; 16]));
    // From the left alone: the upper edge repeats the first sample.
    let mean = (4..8).map(|row| plane.at(row, 7)).sum::<i32>() + 4 * plane.at(4, 7) + 4;
    assert_eq!(predict((4, 8), (8, 0), MEAN), [mean >> 3; 16]);
    // From above alone, down to the right: what lies before the corner is its first sample, too.
    let first = plane.at(7, 0);
    let down: Vec<i32> = (0..4)
        .flat_map(|y: usize| (0..4).map(move |x| (x, y)))
        .map(|(x, y)| if x > y { plane.at(7, x - y - 1) } else { first })
        .collect();
    assert_eq!(predict((8, 0), (0, 8), 18), down);
    // Beyond four samples on the right, the last one goes on.
    let right: Vec<i32> = (0..16).map(|i| plane.at(7, 8 + (i % 4 + i / 4 + 1).min(3))).collect();
    assert_eq!(predict((8, 8), (4, 4), 34), right);
}

#[test]
fn what_is_known_was_coded_before() {
    let (rows, cols) = (3, 4);
    for transform in 0..3 {
        // When each sample is coded.
        let mut turns = vec![usize::MAX; rows * cols * AREA];
        let mut order = Vec::new();
        for block in 0..rows * cols {
            let at = (block / cols * LUMA_SIDE, block % cols * LUMA_SIDE);
            match transform {
                0 => order.push((at, Square::WHOLE)),
                _ => order.extend((0..QUARTERS).flat_map(|quarter| squares(transform, quarter)).map(|square| (at, square))),
            }
        }
        let width = cols * LUMA_SIDE;
        for (turn, (at, square)) in order.iter().enumerate() {
            let (row, col) = square.at(*at);
            for i in 0..square.side * square.side {
                let place = &mut turns[(row + i / square.side) * width + col + i % square.side];
                assert_eq!(std::mem::replace(place, turn), usize::MAX, "coded twice");
            }
        }
        assert!(turns.iter().all(|&turn| turn != usize::MAX));
        for (turn, (at, square)) in order.iter().enumerate() {
            let (row, col) = square.at(*at);
            let coded = |row: usize, col: usize| row < rows * LUMA_SIDE && col < width && turns[row * width + col] < turn;
            let down = if col == 0 { 0 } else { (0..2 * square.side).take_while(|i| coded(row + i, col - 1)).count() };
            let right = if row == 0 { 0 } else { (0..2 * square.side).take_while(|i| coded(row - 1, col + i)).count() };
            assert_eq!(
                square.known(Around::new(at.0 / LUMA_SIDE * cols + at.1 / LUMA_SIDE, cols)),
                (down, right),
                "transform {transform}, square {turn}"
            );
        }
    }
}

#[test]
fn places_of_squares_are_those_of_the_rotations() {
    use crate::architecture::linear::{rotation, wave};
    // A function of one square is one coefficient of the rotated block.
    for (transform, quarter, index, row, col) in [(1, 2, 0, 3, 1), (2, 1, 2, 1, 2), (2, 3, 3, 0, 3)] {
        let square = squares(transform, quarter).nth(index).unwrap();
        let n = square.side;
        let sample = |y: usize, x: usize| match (y.checked_sub(square.row), x.checked_sub(square.col)) {
            (Some(y), Some(x)) if y < n && x < n => wave(n, row, y) * wave(n, col, x),
            _ => 0.0,
        };
        let dct: Vec<Vec<f64>> = (0..LUMA_SIDE)
            .map(|r| {
                let of_column = |c: usize| -> f64 {
                    (0..AREA)
                        .map(|i| {
                            wave(LUMA_SIDE, r, i / LUMA_SIDE)
                                * wave(LUMA_SIDE, c, i % LUMA_SIDE)
                                * sample(i / LUMA_SIDE, i % LUMA_SIDE)
                        })
                        .sum()
                };
                (0..LUMA_SIDE).map(of_column).collect()
            })
            .collect();
        let turn = rotation(usize::from(transform));
        let rotated = |i: usize, j: usize| -> f64 {
            (0..AREA).map(|k| turn[i][k / LUMA_SIDE] * turn[j][k % LUMA_SIDE] * dct[k / LUMA_SIDE][k % LUMA_SIDE]).sum()
        };
        for i in 0..AREA {
            let wanted = if i == square.place(row, col) { 1.0 } else { 0.0 };
            assert!((rotated(i / LUMA_SIDE, i % LUMA_SIDE) - wanted).abs() < 1e-9, "{transform} {quarter} {index}: {i}");
        }
    }
}

#[test]
fn transforms_are_dcts_and_turn_back() {
    use crate::architecture::linear::wave;
    let mut rng = StdRng::seed_from_u64(7);
    for side in [4, 8, 16] {
        let samples: Vec<i32> = (0..side * side).map(|_| rng.random_range(-4080..=4080)).collect();
        let mut block = [0; AREA];
        block[..side * side].copy_from_slice(&samples);
        transform::forward(&mut block, side);
        for (i, &found) in block[..side * side].iter().enumerate() {
            let value = |(at, &sample): (usize, &i32)| {
                wave(side, i / side, at / side) * wave(side, i % side, at % side) * f64::from(sample)
            };
            let exact: f64 = samples.iter().enumerate().map(value).sum();
            assert!((f64::from(found) - exact).abs() < 8.0, "{side}, {i}: {found}, not {exact}");
        }
        transform::back(&mut block, side);
        for (found, sample) in block.iter().zip(&samples) {
            assert!((found - sample).abs() <= 8, "{side}: {found}, not {sample}");
        }
    }
}

const CHANNELS: usize = 384 + 8;

fn intra() -> Intra {
    Intra::new(CHANNELS, (0..64).map(|q| 150 + 40 * q).collect())
}

/// A latent of soft shapes and noise.
fn latent(seed: u64, cells: usize) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut y = vec![0.0; cells * CHANNELS];
    for values in y.chunks_exact_mut(CHANNELS) {
        let strength = [0.0, 0.5, 2.0][rng.random_range(0..3)];
        for (i, &place) in intra().places.iter().enumerate() {
            let fall = 1.0 + (i / LUMA_SIDE + i % LUMA_SIDE) as f32;
            values[place] = strength * rng.random_range(-4.0..4.0) / fall;
        }
    }
    y
}

/// Symbols as a decoder has them.
fn grid(y: &[f32], (rows, cols): (usize, usize)) -> LatentGrid {
    LatentGrid { rows, cols, channels: CHANNELS, data: y.iter().map(|&v| (v as i32) << ACTIVATION_FRACTION_BITS).collect() }
}

fn is_near(original: &[f32], found: &LatentGrid) {
    let intra = intra();
    for (cell, (was, is)) in original.chunks_exact(CHANNELS).zip(found.data.chunks_exact(CHANNELS)).enumerate() {
        let error: f32 = intra.places.iter().map(|&place| (was[place] - is[place] as f32 / 256.0).powi(2)).sum();
        // A coefficient that is left out is below 0.6 of a step, and few are as large.
        assert!(error < 0.12 * AREA as f32, "block {cell}: {error}");
    }
}

#[test]
fn what_is_restored_is_what_was_coded() {
    let (rows, cols) = (4, 8);
    let y = latent(1, rows * cols);
    let map = QualityMap::new(128, 64, (0..8).map(|i| (i % 4) as i8 * 4).collect()).unwrap();
    for map in [None, Some(map)] {
        let cells = FrameQuality { index: 12, map, rest: None }.cells((0, 0));
        let mut symbols = y.clone();
        let modes = intra().search(&mut symbols, (rows, cols), cells.grid(), 1);
        let mut parallel = y.clone();
        assert_eq!(intra().search(&mut parallel, (rows, cols), cells.grid(), 2), modes);
        assert_eq!(parallel, symbols);
        let mut found = grid(&symbols, (rows, cols));
        intra().restore(&mut found, &modes, cells.grid());
        is_near(&y, &found);
        assert!(modes.transforms.contains(&0) && modes.transforms.iter().any(|&t| t > 0));
        assert!(modes.transforms.iter().zip(&modes.modes).all(|(&t, m)| t > 0 || m.iter().all(|&mode| mode == m[0])));
    }
}

#[test]
fn a_gradient_is_predicted_and_costs_nothing() {
    let (rows, cols) = (4, 4);
    let intra = intra();
    let quality = QualityGrid::uniform(20);
    // One grey in all blocks.
    let mut y = vec![0.0; rows * cols * CHANNELS];
    y.chunks_exact_mut(CHANNELS).for_each(|values| values[intra.places[0]] = 12.0);
    intra.search(&mut y, (rows, cols), quality, 1);
    let coded = y.chunks_exact(CHANNELS).filter(|values| values.iter().any(|&v| v != 0.0)).count();
    assert_eq!(coded, 1, "the first block alone says how bright it is");
}

#[test]
fn absurd_latents_and_symbols_do_no_harm() {
    let (rows, cols) = (4, 4);
    let mut y = latent(3, rows * cols);
    for (i, value) in [f32::NAN, f32::INFINITY, -f32::INFINITY, 1e30, -1e30].into_iter().enumerate() {
        y[i * CHANNELS + intra().places[i]] = value;
    }
    let quality = QualityGrid::uniform(0);
    let modes = intra().search(&mut y, (rows, cols), quality, 1);
    assert!(y.iter().all(|v| v.is_finite()));
    let mut found = grid(&y, (rows, cols));
    found.data.iter_mut().step_by(7).for_each(|v| *v = i32::MIN);
    found.data.iter_mut().step_by(11).for_each(|v| *v = i32::MAX);
    intra().restore(&mut found, &modes, quality);
}

#[test]
fn likely_modes_differ() {
    for (left, above) in (0..MODES as u8).flat_map(|left| (0..MODES as u8).map(move |above| (left, above))) {
        let mut found = likely(left, above);
        assert!(found.contains(&left) && found.contains(&above) || left == above && left < 2);
        found.sort_unstable();
        assert!(found.windows(2).all(|pair| pair[0] < pair[1]) && usize::from(found[2]) < MODES, "{left}, {above}: {found:?}");
    }
    assert_eq!(likely(PLANAR, VERTICAL), [PLANAR, VERTICAL, MEAN]);
    assert_eq!(likely(2, 2), [2, 33, 3]);
    assert_eq!(likely(34, 34), [34, 33, 3]);
}

proptest! {
    #[test]
    fn modes_are_read_as_they_were_written(seed in any::<u64>()) {
        let mut rng = StdRng::seed_from_u64(seed);
        let transforms: Vec<u8> = (0..24).map(|_| rng.random_range(0..3)).collect();
        let modes: Vec<[u8; QUARTERS]> = transforms
            .iter()
            .map(|&transform| match transform == 0 || rng.random_bool(0.3) {
                true => [rng.random_range(0..MODES as u8); QUARTERS],
                false => std::array::from_fn(|_| rng.random_range(0..MODES as u8)),
            })
            .collect();
        let mut writer = SymbolWriter::new();
        ModeModels::new().code(&mut crate::entropy::Encoding(&mut writer), &transforms, &mut modes.clone(), 6);
        let payload = writer.finish();
        let mut reader = SymbolReader::new(&payload).unwrap();
        let mut found = vec![[0; QUARTERS]; 24];
        ModeModels::new().code(&mut crate::entropy::Decoding(&mut reader), &transforms, &mut found, 6);
        reader.finish().unwrap();
        prop_assert_eq!(found, modes);
    }
}
