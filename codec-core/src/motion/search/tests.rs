use super::*;
use crate::motion::MotionVector;
use crate::motion::coding::MotionCoder;
use crate::quality::lambda;

fn find(effort: SearchEffort, current: &Plane, reference: &Plane, display: (usize, usize), quality: f64) -> Found {
    let costs = MotionCoder::new(current.width, current.height).costs();
    BlockSearch::new(effort).search(current, reference, display, None, &costs, lambda(quality), 1)
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
    for effort in ALL {
        for (x, y) in [(12, -8), (5, 3), (-7, -2), (160, 12), (-231, 45)] {
            let (current, reference) = translated((320, 192), (x, y));
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
