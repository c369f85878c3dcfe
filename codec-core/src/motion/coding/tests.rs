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
        let leaf = Leaf { row, col, log2, vector };
        field.set(leaf);
        if rng.random_bool(wildness / 2.0) {
            let vector = MotionVector { x: rng.random_range(-90..90), y: vector.y };
            field.set_golden(&leaf, if rng.random() { Golden::Mixed(vector) } else { Golden::Alone(vector) });
        }
    }
    let mut field = BlockField::still(width, height);
    for row in (0..height / CELL).step_by(ROOT / CELL) {
        for col in (0..width / CELL).step_by(ROOT / CELL) {
            fill(rng, &mut field, row, col, MAX_LOG2, wildness);
        }
    }
    field.renews_golden = rng.random_bool(0.2);
    field.light = rng.random_bool(0.3).then(|| Light::new(rng.random_range(0..512), rng.random()));
    field
}

/// Whether a decoder's field is what was to be coded: outside the picture nothing uses the golden frame, and vectors that are not
/// coded may differ.
fn is_coded(found: &BlockField, wanted: &BlockField, (width, height): (usize, usize)) -> bool {
    (found.renews_golden, found.light) == (wanted.renews_golden, wanted.light)
        && found.leaves().count() == wanted.leaves().count()
        && wanted.leaves().all(|leaf| {
            let Leaf { row, col, log2, vector } = leaf;
            let golden = if row * CELL < height && col * CELL < width { wanted.golden(row, col) } else { Golden::Unused };
            let same = matches!(golden, Golden::Alone(_)) || found.vector(row, col) == vector;
            same && found.log2(row, col) == log2 && found.golden(row, col) == golden
        })
}

fn encoded(coder: &mut MotionCoder, field: &BlockField) -> Vec<u8> {
    let mut writer = SymbolWriter::new();
    coder.encode(field, &mut writer);
    writer.finish()
}

#[test]
fn fields_come_back_over_several_frames() {
    // The second size leaves roots and leaves outside the picture.
    for (width, height) in [(256, 192), (200, 138)] {
        let mut rng = StdRng::seed_from_u64(1);
        let (mut encoder, mut decoder) = (MotionCoder::new(width, height), MotionCoder::new(width, height));
        for frame in 0..12 {
            let field = random(&mut rng, 256, 192, f64::from(frame) / 12.0);
            let payload = encoded(&mut encoder, &field);
            let mut reader = SymbolReader::new(&payload).unwrap();
            let found = decoder.decode(&mut reader).unwrap();
            reader.finish().unwrap();
            assert!(is_coded(&found, &field, (width, height)));
            assert_eq!(encoder.previous(), Some(&found));
            assert_eq!(decoder.previous(), Some(&found));
        }
    }
}

#[test]
fn a_rewound_writer_forgets_a_field() {
    let mut rng = StdRng::seed_from_u64(4);
    let [first, second, third] = [0.5, 0.9, 0.3].map(|wildness| random(&mut rng, 128, 128, wildness));
    let mut coder = MotionCoder::new(128, 128);
    encoded(&mut coder, &first);
    let before = coder.clone();
    let mut writer = SymbolWriter::new();
    writer.check_symbol(77);
    let mark = writer.mark();
    coder.encode(&second, &mut writer);
    writer.rewind(mark);
    coder = before.clone();
    coder.encode(&third, &mut writer);
    let mut straight = SymbolWriter::new();
    straight.check_symbol(77);
    before.clone().encode(&third, &mut straight);
    assert_eq!(writer.bits(), straight.bits());
    assert_eq!(writer.finish(), straight.finish());
}

#[test]
fn the_checksum_covers_sizes_and_vectors() {
    let mut rng = StdRng::seed_from_u64(5);
    let field = random(&mut rng, 128, 64, 0.6);
    let mut writer = SymbolWriter::new();
    let mut coder = MotionCoder::new(128, 64);
    coder.encode(&field, &mut writer);
    let field = coder.previous().unwrap();
    let integers = |leaf: Leaf| {
        let mut integers = vec![i32::from(leaf.log2), leaf.vector.x.into(), leaf.vector.y.into()];
        let golden = field.golden(leaf.row, leaf.col);
        if let Some(vector) = golden.vector() {
            integers.extend([i32::from(matches!(golden, Golden::Mixed(_))), vector.x.into(), vector.y.into()]);
        }
        integers
    };
    let light = field.light.map(Light::raw);
    let flags = i32::from(field.uses_golden()) + 2 * i32::from(field.renews_golden) + 4 * i32::from(light.is_some());
    let of_frame = std::iter::once(flags).chain(light.into_iter().flat_map(|(gain, offset)| [gain as i32, offset as i32]));
    let bytes: Vec<u8> = of_frame.chain(field.leaves().flat_map(integers)).flat_map(i32::to_le_bytes).collect();
    assert_eq!(writer.checksum(), crc32c::crc32c(&bytes));
}

/// Two frames with splits, candidates and differences of all kinds; 72 rows leave the lower squares of the second row of roots
/// outside the picture. `docs/bitstream.md` describes this syntax: whoever changes it changes that, too.
#[test]
fn golden_bytes() {
    let mut field = BlockField::still(128, 128);
    let mut set = |row, col, log2, x, y| field.set(Leaf { row, col, log2, vector: MotionVector { x, y } });
    set(0, 0, 5, 3, -2);
    set(0, 4, 5, 3, -2);
    set(4, 0, 5, 0, 0);
    set(4, 4, 4, -700, 31);
    set(4, 6, 4, -701, 31);
    set(6, 4, 4, MAX_COMPONENT, -MAX_COMPONENT);
    set(6, 6, 3, 5, 5);
    set(6, 7, 3, 5, 9);
    set(7, 6, 3, 4, 5);
    set(7, 7, 3, 20, -40);
    set(0, 8, 6, 3, -2);
    set(8, 0, 6, 1, 0);
    let mut moved = field.clone();
    moved.set(Leaf { row: 4, col: 4, log2: 5, vector: MotionVector { x: -690, y: 35 } });
    moved.set(Leaf { row: 0, col: 8, log2: 6, vector: MotionVector { x: 5, y: -2 } });
    let square = |row, col, log2| Leaf { row, col, log2, vector: MotionVector::default() };
    moved.set_golden(&square(0, 8, 6), Golden::Mixed(MotionVector { x: 9, y: -4 }));
    moved.set_golden(&square(0, 0, 5), Golden::Alone(MotionVector { x: 300, y: 0 }));
    moved.renews_golden = true;
    moved.light = Some(Light::new(240, -3));
    let mut coder = MotionCoder::new(128, 72);
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(encoded(&mut coder, &field)), "2d74dd1ddb83c13ddfd0d6886d6d683809a565c8eafc7e42521cb56f7f0c2ac54ce9f1d5ccf4");
    assert_eq!(hex(encoded(&mut coder, &moved)), "39fb39072e788da815eaf501e89982d5073134c7bc53");
}

#[test]
fn what_comes_later_is_no_candidate() {
    let mut rng = StdRng::seed_from_u64(6);
    let previous = random(&mut rng, 192, 128, 0.6);
    let field = random(&mut rng, 192, 128, 0.7);
    let surroundings = Surroundings::new((180, 120), Some(&previous));
    let mut partial = random(&mut rng, 192, 128, 0.9);
    for leaf in field.leaves() {
        let Leaf { row, col, log2, .. } = leaf;
        let context = |field: &BlockField| surroundings.split_context(field, row, col, log2);
        assert_eq!(surroundings.candidates(&partial, row, col, log2), surroundings.candidates(&field, row, col, log2));
        assert_eq!(context(&partial), context(&field));
        partial.set(leaf);
    }
}

#[test]
fn candidates_come_from_where_the_specification_says() {
    let vector = |x| MotionVector { x, y: 2 * x };
    let (mut previous, mut field) = (BlockField::still(64, 64), BlockField::still(64, 64));
    // Every cell its own vector: row * 10 + column, and 1000 more in the last frame.
    for (row, col) in (0..8).flat_map(|row| (0..8).map(move |col| (row, col))) {
        let number = (row * 10 + col) as i16;
        field.set(Leaf { row, col, log2: 3, vector: vector(number) });
        previous.set(Leaf { row, col, log2: 3, vector: vector(1000 + number) });
    }
    let list = |row, col, log2, previous| {
        let found = Surroundings::new((64, 64), previous).candidates(&field, row, col, log2);
        (found.merge().iter().map(|v| v.x).collect::<Vec<_>>(), found.predictor().x)
    };
    // Left, upper, upper right, lower left, corner, zero.
    assert_eq!(list(4, 4, 4, None), (vec![53, 35, 36, 63, 33, 0], 36));
    // Above on the right is a later quarter, below on the left an earlier one.
    assert_eq!(list(2, 4, 4, None), (vec![33, 15, 16, 13, 0], 16));
    assert_eq!(list(3, 3, 3, None), (vec![32, 23, 22, 0], 23));
    assert_eq!(list(4, 2, 3, None), (vec![41, 32, 33, 51, 31, 0], 33));
    assert_eq!(list(0, 0, 6, None), (vec![0], 0));
    // Left alone predicts by itself.
    assert_eq!(list(0, 4, 5, None), (vec![33, 0], 33));
    // The last frame's vector, changed as the left neighbour's has: 1055 + 53 - 1053.
    assert_eq!(list(4, 4, 4, Some(&previous)), (vec![53, 35, 1055, 55, 36, 63], 36));
    // Where little is known, cells to the right and below of the last frame come in.
    assert_eq!(list(0, 0, 4, Some(&previous)), (vec![1011, 1012, 1021, 0], 0));
}

#[test]
fn a_vector_beyond_the_limit_is_corrupt() {
    for (x, y) in [(MAX_COMPONENT + 1, 0), (0, -MAX_COMPONENT - 1), (MAX_COMPONENT, 16000)] {
        let mut field = BlockField::still(64, 64);
        field.set(Leaf { row: 0, col: 0, log2: MAX_LOG2, vector: MotionVector { x, y } });
        let mut writer = SymbolWriter::new();
        MotionCoder::new(64, 64).code(&mut Writing { writer: &mut writer, field: &field }).unwrap_err();
        let payload = writer.finish();
        let found = MotionCoder::new(64, 64).decode(&mut SymbolReader::new(&payload).unwrap());
        assert!(matches!(&found, Err(Error::Corrupt(message)) if message.contains("limit")), "{found:?}");
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
            let expected = costs.frame(false, false)
                + costs.split(MAX_LOG2, surroundings.split_context(&field, 0, 0, MAX_LOG2), false)
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

/// Two frames, as a decoder reads them.
fn read(first: &[u8], second: &[u8]) -> Result<BlockField> {
    let mut coder = MotionCoder::new(180, 120);
    let mut reader = SymbolReader::new(first)?;
    coder.decode(&mut reader)?;
    reader.finish()?;
    let mut reader = SymbolReader::new(second)?;
    let field = coder.decode(&mut reader)?;
    reader.finish()?;
    Ok(field)
}

proptest! {
    #[test]
    fn damage_is_reported(seed in any::<u64>(), at in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut rng = StdRng::seed_from_u64(seed);
        let fields = [0.6, 0.7].map(|wildness| random(&mut rng, 192, 128, wildness));
        let mut coder = MotionCoder::new(180, 120);
        let [first, mut second] = fields.each_ref().map(|field| encoded(&mut coder, field));
        let at = at.index(second.len());
        second[at] ^= flip;
        prop_assert!(matches!(read(&first, &second), Err(Error::Corrupt(_))));
        second[at] ^= flip;
        prop_assert!(matches!(read(&first, &second[..at]), Err(Error::Corrupt(_))));
        prop_assert!(is_coded(&read(&first, &second).unwrap(), &fields[1], (180, 120)));
        // Another state reads something else, and the checksum tells.
        if fields[0] != fields[1] {
            prop_assert!(matches!(read(&second, &first), Err(Error::Corrupt(_))));
        }
    }

    #[test]
    fn noise_is_no_motion(payload in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(mut reader) = SymbolReader::new(&payload) {
            let field = MotionCoder::new(640, 360).decode(&mut reader);
            prop_assert!(field.is_err() || reader.finish().is_err());
        }
    }
}

#[test]
fn the_track_follows_vectors_and_golden_ones() {
    let vector = |x, y| MotionVector { x, y };
    let (whole, cell) =
        (Leaf { row: 0, col: 0, log2: 6, vector: vector(0, 0) }, |row, col| Leaf { row, col, log2: 3, vector: vector(0, 0) });
    let mut track = GoldenTrack::still(64, 64);
    assert!(!track.is_apart());
    assert_eq!(track.predict(&whole, vector(5, -3)), vector(5, -3));
    let mut field = BlockField::still(64, 64);
    field.set(Leaf { vector: vector(8, 0), ..whole });
    track.follow(&field);
    assert!(track.is_apart());
    field.set(Leaf { vector: vector(-4, 2), ..whole });
    let quarter = Leaf { row: 4, col: 4, log2: 5, vector: vector(1, 1) };
    for leaf in
        [Leaf { row: 0, col: 0, ..quarter }, Leaf { row: 0, col: 4, ..quarter }, Leaf { row: 4, col: 0, ..quarter }, quarter]
    {
        field.set(leaf);
    }
    field.set_golden(&quarter, Golden::Mixed(vector(100, 50)));
    track.follow(&field);
    // One vector after the other, or the one that was coded.
    assert_eq!(track.predict(&cell(0, 0), vector(0, 0)), vector(9, 1));
    assert_eq!(track.predict(&cell(7, 7), vector(0, 0)), vector(100, 50));
    // The centre decides: 4 samples right of column 3's, and the frame's last cell beyond the edge.
    assert_eq!(track.predict(&cell(5, 3), vector(15, 0)), vector(24, 1));
    assert_eq!(track.predict(&cell(5, 3), vector(16, 0)), vector(116, 50));
    assert_eq!(track.predict(&cell(0, 0), vector(400, 400)), vector(500, 450));
    // And back: what the golden vector is more than that of the same place before.
    assert_eq!(track.motion(&cell(0, 0), vector(12, -2)), vector(3, -3));
    assert_eq!(track.motion(&whole, vector(MAX_COMPONENT, -MAX_COMPONENT)), vector(MAX_COMPONENT - 100, -MAX_COMPONENT));
    assert_eq!(track.predict(&whole, vector(MAX_COMPONENT, -MAX_COMPONENT)), vector(MAX_COMPONENT, 1 - MAX_COMPONENT));
}

#[test]
fn what_the_golden_frame_gives_costs_what_it_takes() {
    let mut rng = StdRng::seed_from_u64(9);
    let mut coder = MotionCoder::new(64, 64);
    let leaf = Leaf { row: 0, col: 0, log2: MAX_LOG2, vector: MotionVector { x: 3, y: -1 } };
    for round in 0..200 {
        encoded(&mut coder, &random(&mut rng, 64, 64, 0.7));
        let vector = MotionVector { x: rng.random_range(-60..60), y: rng.random_range(-60..60) };
        let golden = [Golden::Unused, Golden::Mixed(vector), Golden::Alone(vector)][round % 3];
        let mut field = BlockField::still(64, 64);
        field.set(leaf);
        field.set_golden(&leaf, golden);
        let costs = coder.costs();
        let surroundings = Surroundings::new((64, 64), coder.previous());
        let candidates = surroundings.candidates(&field, 0, 0, MAX_LOG2);
        let context = surroundings.golden_context(&field, 0, 0, MAX_LOG2).unwrap();
        let own = match candidates.merge().iter().position(|&v| v == leaf.vector) {
            Some(index) => costs.merge(MAX_LOG2, &candidates, index),
            None => costs.vector(MAX_LOG2, &candidates, leaf.vector),
        };
        let (own, last) = match golden {
            Golden::Alone(_) => (0.0, candidates.merge()[0]),
            _ => (own, leaf.vector),
        };
        let uses = golden != Golden::Unused;
        let golden = if uses { costs.golden(context, golden, coder.track().predict(&leaf, last)) } else { 0.0 };
        let split = surroundings.split_context(&field, 0, 0, MAX_LOG2);
        let expected = costs.frame(uses, false) + costs.split(MAX_LOG2, split, false) + own + golden;
        let mut writer = SymbolWriter::new();
        coder.clone().encode(&field, &mut writer);
        assert!((writer.bits() - f64::from(expected)).abs() < 1e-3, "{round}: {} {expected}", writer.bits());
    }
}

#[test]
fn fields_of_b_frames_come_back() {
    let mut rng = StdRng::seed_from_u64(12);
    let display = (180, 100);
    let (mut writing, mut reading) = (MotionCoder::new(display.0, display.1), MotionCoder::new(display.0, display.1));
    for round in 0..30 {
        // After a P-frame, in the middle between that and the one before.
        let payload = encoded(&mut writing, &random(&mut rng, 192, 128, 0.4));
        reading.decode(&mut SymbolReader::new(&payload).unwrap()).unwrap();
        let later = writing.previous().unwrap().clone();
        let mut field = random(&mut rng, 192, 128, 0.4);
        (field.renews_golden, field.light) = (false, None);
        let mut coder = writing.between();
        let payload = encoded(&mut coder, &field);
        let mut reader = SymbolReader::new(&payload).unwrap();
        let found = reading.between().decode(&mut reader).unwrap();
        reader.finish().unwrap();
        assert!(is_coded(&found, &field, display), "round {round}");
        assert_eq!(&found, coder.previous().unwrap());
        // The next P-frame does not notice it.
        assert_eq!(writing.previous(), Some(&later));
    }
}

#[test]
fn even_motion_of_a_b_frame_is_known_from_the_frame_after_it() {
    let vector = |x, y| MotionVector { x, y };
    assert_eq!((vector(7, -7).halved(), vector(7, -7).turned()), (vector(3, -3), vector(-7, 7)));
    let whole = Leaf { row: 0, col: 0, log2: MAX_LOG2, vector: vector(7, -5) };
    let mut coder = MotionCoder::new(64, 64);
    let mut field = BlockField::still(64, 64);
    field.set(whole);
    encoded(&mut coder, &field);
    let between = coder.between();
    assert_eq!(between.previous().unwrap().vector(0, 0), vector(3, -2));
    assert_eq!(between.track().predict(&whole, vector(9, -4)), vector(-9, 4));
    assert_eq!(between.track().motion(&whole, vector(9, -4)), vector(-9, 4));
    // The half of it, and the same way on, costs less than any other motion.
    let bits = |vector, golden| {
        let mut field = BlockField::still(64, 64);
        let leaf = Leaf { vector, ..whole };
        field.set(leaf);
        field.set_golden(&leaf, Golden::Mixed(golden));
        let mut writer = SymbolWriter::new();
        coder.between().encode(&field, &mut writer);
        writer.bits()
    };
    let even = bits(vector(3, -2), vector(-3, 2));
    assert!(
        even < 4.0 && bits(vector(3, -2), vector(-3, 3)) > even + 3.0 && bits(vector(5, -2), vector(-5, 2)) > even + 6.0,
        "{even}"
    );
}
