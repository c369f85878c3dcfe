use super::*;
use crate::entropy::SymbolWriter;
use crate::motion::coding::MotionCoder;
use crate::motion::{CELL, Golden, Leaf, MotionVector, ROOT};
use crate::quality::lambda;

fn find(effort: SearchEffort, current: &Plane, reference: &Plane, display: (usize, usize), quality: f64) -> Found {
    let coder = MotionCoder::new(current.width, current.height);
    BlockSearch::new(effort).search(current, reference, display, &coder, lambda(quality), 1)
}

/// 48 waves, between 8 and 60 samples long.
fn texture(x: f32, y: f32) -> f32 {
    let wave = |i: u32| {
        let angle = i as f32 * 2.399_963;
        let frequency = std::f32::consts::TAU / (8.0 + 52.0 * (i as f32 * 0.618_034).fract());
        (frequency * (angle.cos() * x + angle.sin() * y) + i as f32 * 1.7).sin()
    };
    128.0 + 11.0 * (0..48).map(wave).sum::<f32>()
}

fn plane((width, height): (usize, usize), sample: impl Fn(f32, f32) -> f32) -> Plane {
    let mut plane = Plane::new(width, height);
    for row in 0..height {
        for (col, out) in plane.row_mut(row).iter_mut().enumerate() {
            *out = sample(col as f32, row as f32).round().clamp(0.0, 255.0) as u8;
        }
    }
    plane
}

const ALL: [SearchEffort; 3] = [SearchEffort::Fast, SearchEffort::Medium, SearchEffort::Slow];

/// The texture moved by a vector in quarter samples: current(p) = reference(p + vector / 4).
fn translated(size: (usize, usize), (x, y): (i16, i16)) -> (Plane, Plane) {
    let (dx, dy) = (f32::from(x) / 4.0, f32::from(y) / 4.0);
    (plane(size, |x, y| texture(x + dx, y + dy)), plane(size, texture))
}

#[test]
fn a_translation_is_found_to_the_quarter_sample() {
    for (x, y) in [(12, -8), (5, 3), (-7, -2), (160, 12), (-231, 45)] {
        let (current, reference) = translated((320, 192), (x, y));
        for effort in ALL {
            let found = find(effort, &current, &reference, (320, 192), 20.0);
            let inside: Vec<_> = found.field.leaves().filter(|l| l.row == 8 && (8..32).contains(&l.col)).collect();
            // Away from the edges, where the content is there.
            for leaf in inside.iter().filter(|l| {
                let left = (l.col * CELL) as i32 + i32::from(x / 4);
                left >= 4 && left + (l.cells() * CELL) as i32 <= 316
            }) {
                assert_eq!(leaf.vector, MotionVector { x, y }, "{effort:?} {leaf:?}");
            }
            assert!(found.inter_cost < found.intra_cost / 2);
        }
    }
}

#[test]
fn a_still_picture_is_one_leaf_a_root() {
    let (current, _) = translated((192, 128), (0, 0));
    for effort in ALL {
        let found = find(effort, &current, &current, (180, 100), 32.0);
        assert_eq!(found.field, BlockField::still(192, 128), "{effort:?}");
        assert_eq!(found.inter_cost, 0);
    }
}

/// Whether all visible cells of a field have a vector.
fn all_have(field: &BlockField, display: (usize, usize), vector: MotionVector) -> bool {
    (0..display.1.div_ceil(CELL)).all(|row| (0..display.0.div_ceil(CELL)).all(|col| field.vector(row, col) == vector))
}

#[test]
fn a_motion_edge_splits_leaves_where_it_lies() {
    // The left part stands, the right one moves; the edge lies on a boundary of 8, 16 and 32 samples.
    let size = (256, 128);
    let (left, right) = (MotionVector { x: 0, y: 0 }, MotionVector { x: -24, y: 8 });
    let reference = plane(size, texture);
    for (effort, edge) in ALL.into_iter().flat_map(|effort| [96, 112, 120].map(|edge| (effort, edge))) {
        let current = plane(size, |x, y| if (x as usize) < edge { texture(x, y) } else { texture(x - 6.0, y + 2.0) });
        let found = find(effort, &current, &reference, size, 20.0);
        let inner = |row: usize| (2..14).contains(&row);
        for (row, col) in (0..16).flat_map(|row| (0..30).map(move |col| (row, col))).filter(|&(row, _)| inner(row)) {
            let wanted = if CELL * col < edge { left } else { right };
            let found = found.field.vector(row, col);
            // The neighbours' vectors blend in next to the edge; small deviations make up for that.
            let tolerance = match (CELL * col + CELL / 2).abs_diff(edge) {
                ..16 => continue,
                16..40 => 2,
                _ => 0,
            };
            let difference = found.x.abs_diff(wanted.x).max(found.y.abs_diff(wanted.y));
            assert!(difference <= tolerance, "{effort:?} {edge}: {found:?} at {row} {col}");
        }
        let sizes: Vec<u8> = (2..14).map(|row| found.field.log2(row, edge / CELL - 1)).collect();
        assert!(sizes.iter().all(|&log2| edge.is_multiple_of(1 << log2)), "{effort:?} {edge}: {sizes:?}");
    }
}

#[test]
fn what_comes_in_from_beyond_the_edge_is_the_edge_repeated() {
    // Everything moves by 24 samples; the picture goes on as its repeated edge does.
    let size = (192, 128);
    let reference = plane(size, texture);
    let current = plane(size, |x, y| texture((x - 24.0).max(0.0), y));
    for effort in ALL {
        let found = find(effort, &current, &reference, size, 20.0);
        assert!(all_have(&found.field, size, MotionVector { x: -96, y: 0 }), "{effort:?}");
    }
}

#[test]
fn fast_pans_are_found() {
    let size = (448, 256);
    for (x, y) in [(160, 0), (-160, 24), (300, -80)] {
        let (current, reference) = translated(size, (x, y));
        for effort in ALL {
            let found = find(effort, &current, &reference, size, 32.0);
            // A root whose content was there before.
            assert_eq!(found.field.vector(12, 24), MotionVector { x, y }, "{effort:?}");
            assert_eq!(found.field.log2(12, 24), 6, "{effort:?}");
            assert!(found.inter_cost < found.intra_cost / 2);
        }
    }
}

#[test]
fn tiny_and_odd_sizes_work() {
    for display in [(1usize, 1usize), (1, 64), (64, 1), (64, 64), (65, 70), (127, 3), (8, 128)] {
        let size = (display.0.next_multiple_of(ROOT), display.1.next_multiple_of(ROOT));
        let (current, reference) = translated(size, (4, -4));
        for effort in ALL {
            let found = find(effort, &current, &reference, display, 20.0);
            assert_eq!((found.field.cols() * CELL, found.field.rows() * CELL), size);
            if display == (65, 70) {
                assert_eq!(found.field.vector(4, 4), MotionVector { x: 4, y: -4 }, "{effort:?}");
            }
        }
    }
}

#[test]
fn invisible_samples_do_not_count() {
    let (size, display) = ((192, 128), (150, 101));
    let (mut current, mut reference) = translated(size, (5, -3));
    let before = find(SearchEffort::Medium, &current, &reference, display, 32.0);
    for plane in [&mut current, &mut reference] {
        for row in 0..size.1 {
            let from = if row < display.1 { display.0 } else { 0 };
            plane.row_mut(row)[from..].iter_mut().enumerate().for_each(|(i, v)| *v = (i * 71 + row * 13) as u8);
        }
    }
    assert_eq!(find(SearchEffort::Medium, &current, &reference, display, 32.0), before);
}

#[test]
fn a_high_price_gives_few_leaves() {
    // Waves that move by different distances from place to place.
    let size = (256, 192);
    let reference = plane(size, texture);
    let current = plane(size, |x, y| texture(x + 3.0 * (y * 0.05).sin(), y + 3.0 * (x * 0.07).cos()));
    for effort in ALL {
        let leaves = |quality| find(effort, &current, &reference, size, quality).field.leaves().count();
        let counts = [8.0, 32.0, 63.0].map(leaves);
        assert!(counts[0] > counts[1] && counts[1] > 2 * counts[2], "{effort:?}: {counts:?}");
        // At the price of everything, one leaf a root remains.
        let coder = MotionCoder::new(size.0, size.1);
        let found = BlockSearch::new(effort).search(&current, &reference, size, &coder, 1e-3, 1);
        assert_eq!(found.field, BlockField::still(size.0, size.1), "{effort:?}");
    }
}

#[test]
fn threads_and_earlier_searches_change_nothing() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(8).build().unwrap();
    let size = (448, 384);
    let reference = plane(size, texture);
    let current = plane(size, |x, y| texture(x + 3.0 * (y * 0.05).sin(), y + 3.0 * (x * 0.07).cos()));
    let golden = plane(size, |x, y| texture(x + 1.0 + 3.0 * (y * 0.05).sin(), y + 3.0 * (x * 0.07).cos()));
    for effort in ALL {
        // Two frames on, where the golden frame is another one than the reference.
        let mut coder = MotionCoder::new(size.0, size.1);
        let mut search = BlockSearch::new(effort);
        let first = search.search(&current, &reference, size, &coder, 100.0, 1);
        coder.encode(&first.field, &mut SymbolWriter::new());
        search.set_golden(&golden, size, 1);
        let second = search.search(&current, &reference, size, &coder, 100.0, 1);
        assert!(second.field.uses_golden(), "{effort:?}");
        search.search(&reference, &current, (65, 70), &coder, 30.0, 2);
        for threads in [1, 2, 3, 8] {
            let found = pool.install(|| search.search(&current, &reference, size, &coder, 100.0, threads));
            assert_eq!(found, second, "{effort:?} {threads}");
        }
    }
}

#[test]
fn what_only_the_golden_frame_shows_comes_from_there() {
    // Something hides a part of the last frame; the golden frame shows it, elsewhere by (8, -4) samples.
    let size = (256, 192);
    let current = plane(size, texture);
    let golden = plane(size, |x, y| texture(x - 8.0, y + 4.0));
    let hidden = |x: f32, y: f32| (64.0..192.0).contains(&x) && (64.0..128.0).contains(&y);
    let reference = plane(size, |x, y| if hidden(x, y) { 30.0 } else { texture(x, y) });
    for effort in ALL {
        let mut coder = MotionCoder::new(size.0, size.1);
        let mut moved = BlockField::still(size.0, size.1);
        for leaf in moved.clone().leaves() {
            moved.set(Leaf { vector: MotionVector { x: 32, y: -16 }, ..leaf });
        }
        coder.encode(&moved, &mut SymbolWriter::new());
        let mut search = BlockSearch::new(effort);
        search.set_golden(&golden, size, 1);
        let found = search.search(&current, &reference, size, &coder, lambda(30.0), 1).field;
        let near = |vector: MotionVector| vector.x.abs_diff(32).max(vector.y.abs_diff(-16)) <= 2;
        let cells = (10..14).flat_map(|row| (10..20).map(move |col| (row, col)));
        let right = cells.filter(|&(row, col)| matches!(found.golden(row, col), Golden::Alone(vector) if near(vector))).count();
        assert!(right >= 36, "{effort:?}: {right} of 40");
        assert_eq!(found.golden(3, 3), Golden::Unused, "{effort:?}");
    }
}

#[test]
fn costs_tell_new_scenes_from_motion_flashes_and_fades() {
    let size = (256, 192);
    let reference = plane(size, texture);
    let other = plane(size, |x, y| texture(1.3 * y + 5000.0, 0.9 * x - 3000.0));
    let flash = plane(size, |x, y| texture(x, y) + 60.0);
    let fade = plane(size, |x, y| 0.7 * texture(x, y));
    for effort in ALL {
        let ratio = |current: &Plane| {
            let found = find(effort, current, &reference, size, 32.0);
            found.inter_cost as f64 / found.intra_cost as f64
        };
        let moved = plane(size, |x, y| texture(x + 8.0, y - 4.0));
        let [moved, other, flash, fade] = [&moved, &other, &flash, &fade].map(ratio);
        let ratios = format!("{effort:?}: {moved:.2} {other:.2} {flash:.2} {fade:.2}");
        assert!(moved < 0.2 && other > 0.8 && flash < 0.5 && fade < 0.5, "{ratios}");
    }
}

#[test]
fn a_survey_finds_motion_and_says_where_there_is_something_new() {
    let display = (310, 180);
    let (mut current, reference) = translated((320, 192), (12, -7));
    // Noise at blocks 10..12 of rows 4..6.
    for y in 64..96 {
        for x in 160..192 {
            current.row_mut(y)[x] = ((x * 7919 + y * 104_729) % 251) as u8;
        }
    }
    let survey = BlockSearch::new(SearchEffort::Medium).survey(&current, &reference, display, lambda(38.0), 1);
    assert_eq!((survey.cols, survey.rows()), (20, 12));
    for (i, block) in survey.blocks.iter().enumerate() {
        let (row, col) = (i / 20, i % 20);
        match ((4..6).contains(&row), (10..12).contains(&col)) {
            (true, true) => assert!(block.error > 16 * 1000, "{row} {col}: {block:?}"),
            // Away from the edges, where the content is there.
            _ if (1..11).contains(&row) && (1..18).contains(&col) => {
                let (x, y) = (block.vector.x, block.vector.y);
                assert!((11..=13).contains(&x) && (-8..=-6).contains(&y) && block.error < 16 * 5, "{row} {col}: {block:?}");
            }
            _ => {}
        }
    }
    let field = BlockSearch::new(SearchEffort::Medium).even_field(&current, &reference, display, lambda(38.0), 2);
    for (i, block) in survey.blocks.iter().enumerate() {
        let (row, col) = (2 * (i / survey.cols), 2 * (i % survey.cols));
        assert_eq!((field.vector(row + 1, col + 1), field.log2(row, col)), (block.vector, 4), "block {i}");
    }
    let still = BlockSearch::new(SearchEffort::Medium).survey(&reference, &reference, display, lambda(38.0), 2);
    assert!(still.blocks.iter().all(|block| *block == SurveyedBlock::default()));
}

/// The motion of a B-frame, no frame having been coded before the one after it.
fn between(effort: SearchEffort, current: &Plane, planes: [&Plane; 2], display: (usize, usize), threads: usize) -> BlockField {
    let mut coder = MotionCoder::new(current.width, current.height);
    coder.encode(&BlockField::still(current.width, current.height), &mut SymbolWriter::new());
    BlockSearch::new(effort).search_between(current, planes, display, &coder.between(), lambda(30.0), threads)
}

#[test]
fn a_b_frame_comes_from_both_sides_or_from_the_one_that_shows_it() {
    let size = (320, 192);
    let moved = |x: f32, y: f32| plane(size, |col, row| texture(col + x, row + y));
    // Each frame is two samples further to the left.
    let (before, current, after) = (moved(-2.0, 0.0), moved(0.0, 0.0), moved(2.0, 0.0));
    // A square of the frame before shows something else, and another one of the frame after.
    let spoilt = |plane: &Plane, row: usize, col: usize| {
        let mut plane = plane.clone();
        (row..row + 64).for_each(|row| plane.row_mut(row)[col..col + 64].fill(40));
        plane
    };
    let (spoilt_before, spoilt_after) = (spoilt(&before, 64, 64), spoilt(&after, 64, 192));
    for effort in ALL {
        let field = between(effort, &current, [&before, &after], size, 1);
        for leaf in field.leaves().filter(|leaf| leaf.row == 8 && (8..32).contains(&leaf.col)) {
            let motion = field.motion(leaf.row, leaf.col);
            let (back, on) = (MotionVector { x: 8, y: 0 }, MotionVector { x: -8, y: 0 });
            let even = [Golden::Unused, Golden::Mixed(on), Golden::Alone(on)];
            assert!(motion.vector == back && even.contains(&motion.golden), "{effort:?} {motion:?}");
        }
        let field = between(effort, &current, [&spoilt_before, &spoilt_after], size, 1);
        assert!(matches!(field.golden(11, 11), Golden::Alone(_)), "{effort:?} {:?}", field.motion(11, 11));
        assert_eq!(field.golden(11, 27), Golden::Unused, "{effort:?}");
    }
}

#[test]
fn b_frames_do_not_depend_on_threads_and_stay_within_the_limits() {
    let size = (256, 192);
    let noise = |seed: usize| {
        plane(size, |x, y| {
            ((x as usize * 7919 + y as usize * 104_729 + seed * 15_485_863).wrapping_mul(2_654_435_761) >> 13 & 255) as f32
        })
    };
    let [before, current, after] = [noise(1), noise(2), noise(3)];
    for effort in ALL {
        let wanted = between(effort, &current, [&before, &after], (250, 161), 1);
        assert_eq!(between(effort, &current, [&before, &after], (250, 161), 3), wanted, "{effort:?}");
    }
    let still = between(SearchEffort::Medium, &before, [&before, &before], (250, 161), 1);
    assert!(still.leaves().all(|leaf| leaf.vector == MotionVector::default() && leaf.log2 == 6));
}
