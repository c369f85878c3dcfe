//! The entropy coder: exact on every path, close to the entropy, deaf to damage.

mod common;

use codec_core::Error;
use codec_core::training::entropy::{
    Backend, BlockModes, EntropyConfig, EntropyModel, EntropyParams, LatentContext, LatentGrid, LatentInput, RawTensor, Scratch,
    SymbolReader, SymbolWriter, Tables, frugal, quantise, sigma,
};
use codec_core::training::quality::{FrameQuality, QualityGrid, QualityMap, RestMap};
use common::{Lcg, config, configs, model, params, predicting};
use proptest::prelude::*;

fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = Lcg(seed);
    (0..count).map(|_| (rng.below(6000) - 3000) as f32 / 500.0).collect()
}

fn prior(config: &EntropyConfig, rows: usize, cols: usize) -> LatentGrid {
    let mut grid = LatentGrid::new(rows, cols, config.channels);
    let mut rng = Lcg(3);
    grid.data.iter_mut().for_each(|v| *v = rng.below(4000) - 2000);
    grid
}

struct Case {
    payload: Vec<u8>,
    latent: LatentGrid,
    bits: f64,
}

const ROWS: usize = 8;
const COLS: usize = 12;

fn context<'a>(model: &'a EntropyModel, prior: Option<&'a LatentGrid>) -> LatentContext<'a> {
    LatentContext { model, quality: QualityGrid::uniform(20), rows: ROWS, cols: COLS, prior }
}

fn encode(model: &EntropyModel, prior: Option<&LatentGrid>) -> Case {
    let config = model.config();
    let z = values(ROWS * COLS / 16 * config.hyper_channels, 1);
    let mut y = values(ROWS * COLS * config.channels, 2);
    y[5] = 900.0;
    y[6] = f32::NAN;
    y[7] = -1e30;
    let modes = context(model, prior).predict(&mut y, 1).unwrap();
    let input = LatentInput { z: &z, y: &y, prices: &[], modes: modes.as_ref() };
    let mut writer = SymbolWriter::new();
    let latent = context(model, prior).encode(&input, &mut writer, &mut Scratch::default()).unwrap();
    let bits = writer.bits();
    Case { payload: writer.finish(), latent, bits }
}

fn encode_values(model: &EntropyModel, z: &[f32], y: &[f32]) -> LatentGrid {
    let input = LatentInput { z, y, prices: &[], modes: None };
    context(model, None).encode(&input, &mut SymbolWriter::new(), &mut Scratch::default()).unwrap()
}

fn decode(model: &EntropyModel, payload: &[u8], prior: Option<&LatentGrid>) -> codec_core::Result<(LatentGrid, u32)> {
    let mut reader = SymbolReader::new(payload)?;
    let latent = context(model, prior).decode(&mut reader, &mut Scratch::default())?;
    Ok((latent, reader.finish()?))
}

#[test]
fn every_backend_reads_what_every_other_wrote() {
    let backends = Backend::ALL.into_iter().filter(|b| b.available());
    for config in configs() {
        let prior = prior(&config, ROWS, COLS);
        for prior in [None, Some(&prior)] {
            let reference = encode(&model(&config).with_backend(Backend::Scalar).unwrap(), prior);
            for backend in backends.clone() {
                let model = model(&config).with_backend(backend).unwrap();
                assert_eq!(encode(&model, prior).payload, reference.payload, "{config:?} {backend:?}");
                let (latent, _) = decode(&model, &reference.payload, prior).unwrap();
                assert!(latent == reference.latent, "{config:?} {backend:?}");
            }
        }
    }
}

#[test]
fn the_prior_counts_only_in_a_temporal_model() {
    for config in configs() {
        let prior = prior(&config, ROWS, COLS);
        let same = encode(&model(&config), None).payload == encode(&model(&config), Some(&prior)).payload;
        assert_eq!(same, !config.temporal, "{config:?}");
    }
}

#[test]
fn a_prior_of_another_size_is_refused() {
    let config = configs().into_iter().find(|config| config.temporal).expect("a temporal model");
    let (model, right) = (model(&config), prior(&config, ROWS, COLS));
    let payload = encode(&model, Some(&right)).payload;
    for other in [prior(&config, COLS, ROWS), prior(&config, ROWS, COLS - 4), LatentGrid::new(ROWS, COLS, config.channels - 1)] {
        let error = decode(&model, &payload, Some(&other)).unwrap_err();
        assert!(matches!(&error, codec_core::Error::InvalidConfig(m) if m.contains("prior")), "{error}");
    }
}

#[test]
fn each_cell_has_the_gain_of_its_own_index() {
    let config = config(7, 3, 5, false, true);
    let model = model(&config);
    let z = values(ROWS * COLS / 16 * config.hyper_channels, 1);
    let y = values(ROWS * COLS * config.channels, 2);
    let latent = |map: [i8; 6]| {
        let values = (0..ROWS / 2).flat_map(|_| map).collect();
        let map = QualityMap::new(16 * COLS as u32, 16 * ROWS as u32, values).unwrap();
        let cells = FrameQuality { index: 20, map: Some(map), rest: None }.cells((0, 0));
        let context = LatentContext { quality: cells.grid(), ..context(&model, None) };
        let (mut writer, input) = (SymbolWriter::new(), LatentInput { z: &z, y: &y, prices: &[], modes: None });
        let written = context.encode(&input, &mut writer, &mut Scratch::default()).unwrap();
        let payload = writer.finish();
        let mut reader = SymbolReader::new(&payload).unwrap();
        assert!(context.decode(&mut reader, &mut Scratch::default()).unwrap() == written);
        reader.finish().unwrap();
        written
    };
    let [same, worse, both] = [[0; 6], [9; 6], [0, 0, 0, 9, 9, 9]].map(latent);
    assert!(same == encode_values(&model, &z, &y), "a map of zeros");
    // Layers reach two cells far, and a third has an index between both.
    let columns = |grid: &LatentGrid, range: std::ops::Range<usize>| -> Vec<i32> {
        let width = grid.channels;
        (0..ROWS)
            .flat_map(|row| grid.data[(row * COLS + range.start) * width..(row * COLS + range.end) * width].to_vec())
            .collect()
    };
    assert!(columns(&both, 0..3) == columns(&same, 0..3) && columns(&both, 9..COLS) == columns(&worse, 9..COLS));
    assert!(columns(&same, 0..3) != columns(&worse, 0..3) && columns(&same, 9..COLS) != columns(&worse, 9..COLS));
}

#[test]
fn areas_that_rest_take_no_symbols_and_count_for_nothing() {
    for config in configs().into_iter().filter(|config| !config.intra_prediction) {
        let (model, prior) = (model(&config), prior(&config, ROWS, COLS));
        let prior = config.temporal.then_some(&prior);
        let z = values(ROWS * COLS / 16 * config.hyper_channels, 1);
        let y = values(ROWS * COLS * config.channels, 2);
        let rest = RestMap::new((ROWS, COLS), |(row, col)| row == 0 && col != 1);
        let cells = FrameQuality { index: 20, map: None, rest: Some(rest.clone()) }.cells((0, 0));
        let coded = |y: &[f32], z: &[f32]| {
            let context = LatentContext { quality: cells.grid(), ..context(&model, prior) };
            let input = LatentInput { z, y, prices: &[], modes: None };
            let mut writer = SymbolWriter::new();
            let written = context.encode(&input, &mut writer, &mut Scratch::default()).unwrap();
            let payload = writer.finish();
            let mut reader = SymbolReader::new(&payload).unwrap();
            // What was in the memory does not matter.
            let mut scratch = Scratch::default();
            context.decode(&mut SymbolReader::new(&payload).unwrap(), &mut scratch).unwrap();
            assert!(context.decode(&mut reader, &mut scratch).unwrap() == written);
            reader.finish().unwrap();
            (written, payload)
        };
        let (written, payload) = coded(&y, &z);
        let (mut other, mut hyper) = (y.clone(), z.clone());
        for (cell, values) in other.chunks_exact_mut(config.channels).enumerate().filter(|&(cell, _)| rest.at_cell(cell)) {
            values.iter_mut().for_each(|value| *value += cell as f32);
            let at = cell / COLS / 4 * (COLS / 4) + cell % COLS / 4;
            hyper[at * config.hyper_channels..][..config.hyper_channels].fill(9.0);
        }
        assert!(coded(&other, &hyper) == (written.clone(), payload.clone()));
        for (cell, values) in written.data.chunks_exact(config.channels).enumerate() {
            assert_eq!(values.iter().all(|&value| value == 0), rest.at_cell(cell), "cell {cell}");
        }
        let context = LatentContext { quality: QualityGrid::uniform(20), ..context(&model, prior) };
        let mut writer = SymbolWriter::new();
        let input = LatentInput { z: &z, y: &y, prices: &[], modes: None };
        context.encode(&input, &mut writer, &mut Scratch::default()).unwrap();
        assert!(payload.len() < writer.finish().len());
    }
}

#[test]
fn a_map_of_rest_of_another_size_is_refused() {
    let model = model(&config(7, 3, 5, false, true));
    for size in [(ROWS, COLS - 4), (ROWS + 4, COLS), (COLS, ROWS)] {
        let cells = FrameQuality { index: 20, map: None, rest: Some(RestMap::new(size, |_| true)) }.cells((0, 0));
        let context = LatentContext { quality: cells.grid(), ..context(&model, None) };
        let error = context.encode_silence(&mut SymbolWriter::new(), &mut Scratch::default()).unwrap_err();
        assert!(matches!(&error, Error::InvalidConfig(message) if message.contains("rests")), "{error}");
    }
}

#[test]
fn a_map_of_another_size_is_refused() {
    let model = model(&config(7, 3, 5, false, true));
    for (width, height) in [(16 * COLS as u32, 64), (64, 16 * ROWS as u32), (16 * ROWS as u32, 16 * COLS as u32)] {
        let cells = FrameQuality { index: 20, map: Some(QualityMap::zero(width, height)), rest: None }.cells((0, 0));
        let context = LatentContext { quality: cells.grid(), ..context(&model, None) };
        let error = context.encode_silence(&mut SymbolWriter::new(), &mut Scratch::default()).unwrap_err();
        assert!(matches!(&error, Error::InvalidConfig(message) if message.contains("quality map")), "{error}");
    }
}

#[test]
fn a_price_takes_symbols_one_nearer_to_zero_where_that_is_cheaper() {
    let tables = Tables::gaussian();
    let mut rng = Lcg(5);
    let mut taken = 0;
    for _ in 0..20_000 {
        let (k, mean) = (1 + rng.below(60) as usize, rng.below(2000) - 1000);
        let value = mean as f32 / 256.0 + (rng.below(6000) - 3000) as f32 / 1000.0;
        let symbol = quantise(value, mean);
        assert_eq!(frugal(&tables, k, value, mean, symbol, 0.0), symbol);
        let found = frugal(&tables, k, value, mean, symbol, 0.1);
        let cost = |s: i32| (value - mean as f32 / 256.0 - s as f32).powi(2) + 0.1 * tables.bits(k, s);
        let best = [symbol, symbol - symbol.signum()].into_iter().map(cost).fold(f32::INFINITY, f32::min);
        assert_eq!(cost(found), best);
        taken += usize::from(found != symbol);
    }
    assert!((500..10_000).contains(&taken), "{taken}");
    assert_eq!(frugal(&tables, 9, f32::NAN, 0, quantise(f32::NAN, 0), 0.1), 0);
}

#[test]
fn golden_payload() {
    let case = encode(&model(&config(7, 3, 5, true, false)), None);
    let (_, checksum) = decode(&model(&config(7, 3, 5, true, false)), &case.payload, None).unwrap();
    assert_eq!((case.payload.len(), crc32c::crc32c(&case.payload), checksum), GOLDEN);
}

/// Length and CRC-32C of the payload, and the checksum of its symbols.
const GOLDEN: (usize, u32, u32) = (372, 3_988_540_761, 3_347_734_804);

#[test]
fn size_is_that_of_the_estimate_and_of_constriction() {
    use constriction::stream::{Encode, model::DefaultLeakyQuantizer, stack::DefaultAnsCoder};
    let tables = Tables::gaussian();
    let mut rng = Lcg(11);
    let mut writer = SymbolWriter::new();
    let mut coder = DefaultAnsCoder::new();
    let quantizer = DefaultLeakyQuantizer::new(-4000..=4000);
    for _ in 0..40_000 {
        let k = 5 + rng.below(50) as usize;
        // A sum of uniforms is near enough to a Gaussian of the table's scale.
        let unit = (0..12).map(|_| f64::from(rng.below(1 << 20)) / f64::from(1 << 20)).sum::<f64>() - 6.0;
        let symbol = (unit * sigma(k)).round() as i32;
        writer.put(&tables, k, symbol);
        let gaussian = probability::distribution::Gaussian::new(0.0, sigma(k));
        coder.encode_symbol(symbol, quantizer.quantize(gaussian)).unwrap();
    }
    let estimate = writer.bits() / 8.0;
    let bytes = writer.finish().len() as f64;
    assert!((bytes - estimate - 13.0).abs() < 0.003 * bytes, "{bytes} bytes, {estimate} estimated");
    let oracle = coder.num_valid_bits() as f64 / 8.0;
    assert!(bytes < oracle * 1.005 + 24.0, "{bytes} bytes, constriction has {oracle}");
}

#[test]
fn parameters_survive_their_tensors() {
    for (config, last) in [(config(16, 8, 32, true, true), "p1b.bias"), (predicting(), "steps")] {
        let params = params(&config, 5);
        let tensors = params.to_tensors("flow.integer", &config);
        let lookup = |name: &str| tensors.iter().find(|(n, _)| n == name).map(|(_, t)| t.clone());
        assert_eq!(EntropyParams::from_tensors("flow.integer", &config, &lookup).unwrap(), params);
        let without = |name: &str| -> Option<RawTensor> { if name.ends_with(last) { None } else { lookup(name) } };
        let error = EntropyParams::from_tensors("flow.integer", &config, &without).unwrap_err().to_string();
        assert!(error.contains(&format!("flow.integer.{last}")), "{error}");
    }
}

#[test]
fn what_a_configuration_needs_is_named() {
    let config = predicting();
    let refused = |config: &EntropyConfig, params: EntropyParams, word: &str| {
        let error = EntropyModel::new(config.clone(), params).unwrap_err();
        assert!(matches!(&error, Error::ModelMismatch(message) if message.contains(word)), "{error}");
    };
    let whole = params(&config, 5);
    let with_steps = |steps: Option<Vec<u16>>| EntropyParams { steps, ..whole.clone() };
    for steps in [None, Some(vec![9; 63]), Some([vec![9; 63], vec![0]].concat())] {
        refused(&config, with_steps(steps), "steps");
    }
    for wrong in [EntropyConfig { transforms: false, ..config.clone() }, EntropyConfig { temporal: true, ..config.clone() }] {
        refused(&wrong, whole.clone(), "intra_prediction");
    }
    let wrong = EntropyConfig { transforms: false, intra_prediction: false, ..config };
    refused(&wrong, EntropyParams { steps: None, ..whole }, "adaptive_scales needs transforms");
}

#[test]
fn modes_belong_to_models_with_intra_prediction() {
    for (config, given) in [(predicting(), false), (config(7, 3, 5, false, true), true)] {
        let model = model(&config);
        let (z, y) = (values(ROWS * COLS / 16 * config.hyper_channels, 1), values(ROWS * COLS * config.channels, 2));
        let modes = given.then(BlockModes::default);
        let input = LatentInput { z: &z, y: &y, prices: &[], modes: modes.as_ref() };
        let error = context(&model, None).encode(&input, &mut SymbolWriter::new(), &mut Scratch::default()).unwrap_err();
        assert!(matches!(&error, Error::InvalidConfig(message) if message.contains("modes")), "{error}");
        if config.intra_prediction {
            let whole = BlockModes { transforms: vec![0; ROWS * COLS], modes: vec![[1; 4]; ROWS * COLS] };
            let mut wrong = [BlockModes::default(), whole.clone(), whole];
            (wrong[1].transforms[3], wrong[2].modes[3][2]) = (3, 35);
            for modes in &wrong {
                let input = LatentInput { z: &z, y: &y, prices: &[], modes: Some(modes) };
                let error = context(&model, None).encode(&input, &mut SymbolWriter::new(), &mut Scratch::default()).unwrap_err();
                assert!(matches!(&error, Error::InvalidConfig(message) if message.contains("modes of")), "{error}");
            }
        }
        let mut short = y[..y.len() - 1].to_vec();
        assert!(matches!(context(&model, None).predict(&mut short, 1), Err(Error::InvalidConfig(_))));
    }
}

#[test]
fn the_cheapest_predicted_latent_is_grey() {
    let model = model(&predicting());
    let mut writer = SymbolWriter::new();
    let written = context(&model, None).encode_silence(&mut writer, &mut Scratch::default()).unwrap();
    let payload = writer.finish();
    assert!(decode(&model, &payload, None).unwrap().0 == written);
}

#[test]
fn a_model_that_could_overflow_is_refused() {
    let config = config(64, 16, 64, false, true);
    let mut params = params(&config, 5);
    params.layers[6].bias[3] = i32::MAX - 1000;
    let error = EntropyModel::new(config, params).unwrap_err();
    assert!(matches!(&error, Error::ModelMismatch(m) if m.contains("h1") && m.contains("output 3")), "{error}");
}

#[test]
fn every_truncation_is_an_error() {
    for (config, step) in [(config(16, 8, 32, true, true), 1), (predicting(), 97)] {
        let model = model(&config);
        let case = encode(&model, None);
        assert!(case.bits > 0.0);
        for length in (0..case.payload.len()).step_by(step) {
            assert!(matches!(decode(&model, &case.payload[..length], None), Err(Error::Corrupt(_))), "{length} bytes");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damage_never_passes_and_never_panics(bit in 0usize..10_000, noise in prop::collection::vec(any::<u8>(), 0..300)) {
        for (config, bit) in [(config(7, 3, 5, true, false), bit), (predicting(), bit * 31)] {
            let model = model(&config);
            let mut payload = encode(&model, None).payload;
            let at = bit % (payload.len() * 8);
            payload[at / 8] ^= 1 << (at % 8);
            prop_assert!(decode(&model, &payload, None).is_err());
            let _ = decode(&model, &noise, None);
        }
    }
}
