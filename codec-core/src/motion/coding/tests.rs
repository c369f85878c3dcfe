use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// A random field: splits and vectors with a given chance of change.
fn random(rng: &mut StdRng, width: usize, height: usize, wildness: f64) -> BlockField {
    fn fill(rng: &mut StdRng, field: &mut BlockField, row: usize, col: usize, log2: u8, wildness: f64) {
        if log2 > MIN_LOG2 && rng.random_bool(wildness) {
            let half = 1 << (log2 - 1 - MIN_LOG2);
            for (down, right) in [(0, 0), (0, half), (half, 0), (half, half)] {
                fill(rng, field, row + down, col + right, log2 - 1, wildness);
            }
            return;
        }
        let vector = match rng.random_range(0..4) {
            0 => MotionVector { x: rng.random_range(-MAX_COMPONENT..=MAX_COMPONENT), y: rng.random_range(-3..4) },
            1 => MotionVector { x: rng.random_range(-40..40), y: MAX_COMPONENT },
            _ => field.vector(row.saturating_sub(1), col.saturating_sub(1)),
        };
        field.set(Leaf { row, col, log2, vector });
    }
    let mut field = BlockField::still(width, height);
    for row in (0..height / CELL).step_by(ROOT / CELL) {
        for col in (0..width / CELL).step_by(ROOT / CELL) {
            fill(rng, &mut field, row, col, MAX_LOG2, wildness);
        }
    }
    field
}

fn encoded(coder: &mut MotionCoder, field: &BlockField) -> Vec<u8> {
    let mut writer = SymbolWriter::new();
    coder.encode(field, &mut writer);
    writer.finish()
}

#[test]
fn fields_come_back_over_several_frames() {
    let mut rng = StdRng::seed_from_u64(1);
    let (mut encoder, mut decoder) = (MotionCoder::new(256, 192), MotionCoder::new(256, 192));
    for frame in 0..12 {
        let field = random(&mut rng, 256, 192, f64::from(frame) / 12.0);
        let payload = encoded(&mut encoder, &field);
        let mut reader = SymbolReader::new(&payload).unwrap();
        assert_eq!(decoder.decode(&mut reader).unwrap(), field);
        reader.finish().unwrap();
        assert_eq!(encoder.previous(), Some(&field));
    }
}

#[test]
fn costs_are_what_a_first_leaf_is_charged() {
    let mut rng = StdRng::seed_from_u64(2);
    let mut coder = MotionCoder::new(64, 64);
    for _ in 0..200 {
        encoded(&mut coder, &random(&mut rng, 64, 64, 0.7));
        let costs = coder.costs();
        for vector in [(0, 0), (1, 0), (0, -1), (3, 5), (-700, 4), (MAX_COMPONENT, -MAX_COMPONENT)] {
            let vector = MotionVector { x: vector.0, y: vector.1 };
            let mut field = BlockField::still(64, 64);
            field.set(Leaf { row: 0, col: 0, log2: MAX_LOG2, vector });
            let surroundings = Surroundings::new((64, 64), coder.previous());
            let candidates = surroundings.candidates(&field, 0, 0, MAX_LOG2);
            let expected = costs.split(MAX_LOG2, surroundings.split_context(&field, 0, 0, MAX_LOG2), false)
                + match candidates.merge().iter().position(|&v| v == vector) {
                    Some(index) => costs.merge(MAX_LOG2, &candidates, index),
                    None => costs.vector(MAX_LOG2, &candidates, vector),
                };
            let mut writer = SymbolWriter::new();
            coder.clone().encode(&field, &mut writer);
            assert!((writer.bits() - f64::from(expected)).abs() < 1e-3, "{vector:?}: {} {expected}", writer.bits());
        }
    }
}

#[test]
fn a_field_at_rest_costs_next_to_nothing() {
    let mut coder = MotionCoder::new(640, 384);
    let field = BlockField::still(640, 384);
    let mut bits = Vec::new();
    for _ in 0..10 {
        let mut writer = SymbolWriter::new();
        coder.encode(&field, &mut writer);
        bits.push(writer.bits());
    }
    assert!(bits[9] < 2.0, "{bits:?}");
}

proptest! {
    #[test]
    fn damage_is_reported(seed in any::<u64>(), at in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut rng = StdRng::seed_from_u64(seed);
        let field = random(&mut rng, 192, 128, 0.6);
        let mut payload = encoded(&mut MotionCoder::new(192, 128), &field);
        let at = at.index(payload.len());
        payload[at] ^= flip;
        let read = |payload: &[u8]| {
            let mut reader = SymbolReader::new(payload)?;
            let field = MotionCoder::new(192, 128).decode(&mut reader)?;
            reader.finish()?;
            Ok::<_, Error>(field)
        };
        prop_assert!(matches!(read(&payload), Err(Error::Corrupt(_))));
        payload[at] ^= flip;
        prop_assert!(matches!(read(&payload[..at]), Err(Error::Corrupt(_))));
        prop_assert_eq!(read(&payload).unwrap(), field);
    }
}
