use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const DISPLAY: (usize, usize) = (640, 360);

fn map(value: impl Fn(usize, usize) -> i8) -> QualityMap {
    let (rows, cols) = QualityMap::grid(640, 360);
    let values = (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col))).map(|(row, col)| value(row, col)).collect();
    QualityMap::new(640, 360, values).unwrap()
}

/// A square of four cells a side.
fn square(row: usize, col: usize) -> QualityMap {
    map(|r, c| if (row..row + 4).contains(&r) && (col..col + 4).contains(&c) { -4 } else { 0 })
}

/// A rough surface with values from -15 to 15.
fn noise(seed: u64) -> QualityMap {
    let mut rng = StdRng::seed_from_u64(seed);
    let values: Vec<i8> = (0..12 * 20).map(|_| rng.random_range(-15..=15)).collect();
    map(|row, col| values[row * 20 + col])
}

fn bits(coder: &mut MapCoder, map: &QualityMap) -> f64 {
    let mut writer = SymbolWriter::new();
    coder.encode(Some(map), &mut writer);
    writer.bits()
}

/// A second reading of the specification, with a state that is laid out in another way.
struct Plain {
    last: Vec<Vec<i32>>,
    keyframe: bool,
    changes: [AdaptiveBit; 2],
    differs: [AdaptiveBit; 6],
    predicted: [AdaptiveBit; 3],
    negative: [AdaptiveBit; 3],
    longer: [AdaptiveBit; 6],
}

impl Plain {
    fn new() -> Self {
        let p = |percent: u32| AdaptiveBit::new((65_536 * percent / 100) as u16);
        Self {
            last: vec![vec![0; 20]; 12],
            keyframe: true,
            changes: [p(5), p(5)],
            differs: [50, 5, 60, 20, 80, 50].map(p),
            predicted: [30, 60, 80].map(p),
            negative: [50, 50, 50].map(p),
            longer: [40; 6].map(p),
        }
    }

    fn read(&mut self, payload: &[u8]) -> Vec<Vec<i32>> {
        let mut reader = SymbolReader::new(payload).unwrap();
        let changes = reader.get_bit(&mut self.changes[usize::from(self.keyframe)]);
        self.keyframe = false;
        if changes {
            let mut values = vec![vec![0; 20]; 12];
            for r in 0..12 {
                for c in 0..20 {
                    let last = self.last[r][c];
                    let (mut changing, mut neighbours) = (0, Vec::new());
                    for (up, left) in [(0, 1), (1, 0)] {
                        if r >= up && c >= left {
                            neighbours.push(values[r - up][c - left]);
                            changing += usize::from(values[r - up][c - left] != self.last[r - up][c - left]);
                        }
                    }
                    let predicted = match neighbours[..] {
                        [a, b] => {
                            let mut three = [a, b, a + b - values[r - 1][c - 1]];
                            three.sort_unstable();
                            three[1]
                        }
                        [a] => a,
                        _ => last,
                    };
                    let context = 2 * changing + usize::from(predicted == last);
                    values[r][c] = if !reader.get_bit(&mut self.differs[context]) {
                        last
                    } else if predicted != last && reader.get_bit(&mut self.predicted[changing]) {
                        predicted
                    } else {
                        let sign = usize::from(predicted >= 0) + usize::from(predicted > 0);
                        let negative = reader.get_bit(&mut self.negative[sign]);
                        let mut m = 1;
                        while m < 30 && reader.get_bit(&mut self.longer[(m as usize).min(6) - 1]) {
                            m += 1;
                        }
                        predicted + if negative { -m } else { m }
                    };
                    reader.check_symbol(values[r][c]);
                }
            }
            self.last = values;
        }
        reader.finish().unwrap();
        self.last.clone()
    }
}

#[test]
fn maps_come_back_over_several_frames() {
    let zero = map(|_, _| 0);
    let slope = map(|row, col| (row as i8 - 6) * 2 + col as i8 % 3);
    let frames = [&zero, &square(2, 3), &square(2, 3), &square(3, 3), &noise(1), &slope, &noise(2), &noise(2), &zero, &zero];
    let (mut encoder, mut decoder, mut plain) = (MapCoder::new(DISPLAY), MapCoder::new(DISPLAY), Plain::new());
    for (t, wanted) in frames.into_iter().enumerate() {
        let mut writer = SymbolWriter::new();
        encoder.encode((!wanted.is_zero()).then_some(wanted), &mut writer);
        let payload = writer.finish();
        let mut reader = SymbolReader::new(&payload).unwrap();
        decoder.decode(&mut reader).unwrap();
        reader.finish().unwrap();
        for coder in [&encoder, &decoder] {
            assert_eq!(coder.map(), (!wanted.is_zero()).then_some(wanted), "frame {t}");
        }
        let found = plain.read(&payload);
        assert!(found.iter().flatten().eq(wanted.values().iter().map(|&v| i32::from(v)).collect::<Vec<_>>().iter()), "frame {t}");
    }
}

#[test]
fn a_map_that_stays_costs_next_to_nothing() {
    for still in [map(|_, _| 0), noise(3)] {
        let mut coder = MapCoder::new(DISPLAY);
        bits(&mut coder, &still);
        let costs: Vec<f64> = (0..250).map(|_| bits(&mut coder, &still)).collect();
        assert!(costs[0] < 0.1 && costs.iter().sum::<f64>() < 2.0, "{costs:?}");
    }
}

#[test]
fn regions_cost_bits_at_their_edges_alone() {
    let mut coder = MapCoder::new(DISPLAY);
    let appears = bits(&mut coder, &square(2, 3));
    let moves: Vec<f64> = (4..12).map(|col| bits(&mut coder, &square(2, col))).collect();
    let moving = moves.iter().sum::<f64>() / 8.0;
    // Eight of 240 cells change with each move.
    assert!(appears < 90.0 && moving < 50.0, "{appears}, {moves:?}");
}

#[test]
fn values_beyond_the_limit_are_refused() {
    // 15, and from there 1 more: what no encoder writes.
    for (first, more) in [(15, 1), (-15, -1), (0, 30)] {
        let mut coder = MapCoder::new((64, 64));
        let mut writer = SymbolWriter::new();
        let symbols = &mut Encoding(&mut writer);
        assert!(symbols.bit(&mut coder.models.changes[1], true));
        let around = Surroundings { predicted: 0, changing: 0 };
        if first != 0 {
            assert_eq!(coder.models.value(symbols, &around, 0, first), first);
            coder.models.value(symbols, &Surroundings { predicted: first, changing: 1 }, 0, first + more);
        } else {
            assert_eq!(coder.models.value(symbols, &around, 0, more), more);
        }
        // The rest is read from what is left; the error comes first.
        let payload = writer.finish();
        let found = MapCoder::new((64, 64)).decode(&mut SymbolReader::new(&payload).unwrap());
        assert!(matches!(&found, Err(Error::Corrupt(message)) if message.contains("limit")), "{found:?}");
    }
}

proptest! {
    #[test]
    fn damage_is_reported(seed in any::<u64>(), at in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut coder = MapCoder::new(DISPLAY);
        let mut writer = SymbolWriter::new();
        coder.encode(Some(&noise(seed)), &mut writer);
        let mut payload = writer.finish();
        let read = |payload: &[u8]| -> Result<MapCoder> {
            let (mut coder, mut reader) = (MapCoder::new(DISPLAY), SymbolReader::new(payload)?);
            coder.decode(&mut reader)?;
            reader.finish()?;
            Ok(coder)
        };
        let at = at.index(payload.len());
        payload[at] ^= flip;
        prop_assert!(matches!(read(&payload), Err(Error::Corrupt(_))));
        payload[at] ^= flip;
        prop_assert!(matches!(read(&payload[..at]), Err(Error::Corrupt(_))));
        let whole = read(&payload).unwrap();
        prop_assert_eq!(whole.map(), Some(&noise(seed)));
    }

    #[test]
    fn random_bytes_give_maps_within_the_limits_or_errors(payload in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut coder = MapCoder::new((1920, 1080));
        if let Ok(mut reader) = SymbolReader::new(&payload) {
            for _ in 0..3 {
                if coder.decode(&mut reader).is_err() {
                    break;
                }
                let limit = QualityMap::LIMIT;
                prop_assert!(coder.map().is_none_or(|map| map.values().iter().all(|value| (-limit..=limit).contains(value))));
            }
            prop_assert!(reader.finish().is_err());
        }
    }
}
