//! Decoding of the residual latent of a 640x384 frame, by instruction set.

use codec_core::training::entropy::{
    Backend, EntropyConfig, EntropyModel, EntropyParams, IntLayer, LatentContext, LatentInput, Scratch, SymbolReader,
    SymbolWriter, Tables,
};
use codec_core::training::quality::QualityGrid;
use criterion::{Criterion, criterion_group, criterion_main};

const ROWS: usize = 24;
const COLS: usize = 40;

fn model() -> EntropyModel {
    let config = EntropyConfig {
        channels: 64,
        hyper_channels: 16,
        width: 64,
        temporal: true,
        checkerboard: true,
        transforms: false,
        intra_prediction: false,
        adaptive_scales: false,
    };
    let layers = config
        .layer_shapes()
        .iter()
        .map(|shape| IntLayer {
            weight: (0..shape.outputs * shape.weights_per_output()).map(|i| (i * 37 % 41) as i8 - 20).collect(),
            bias: vec![0; shape.outputs],
            shift: vec![9; shape.outputs],
        })
        .collect();
    let params = EntropyParams {
        layers,
        gain: vec![4096; 64 * 64],
        z_mean: vec![0; 64 * 16],
        z_scale: vec![20; 64 * 16],
        thresholds: (0..63).map(|i| i * 40).collect(),
        tables: Tables::gaussian(),
        steps: None,
    };
    EntropyModel::new(config, params).expect("valid parameters")
}

fn decoding(c: &mut Criterion) {
    let z = vec![0.5; ROWS * COLS];
    let y: Vec<f32> = (0..ROWS * COLS * 64).map(|i| (i % 7) as f32 - 3.0).collect();
    let input = LatentInput { z: &z, y: &y, prices: &[], modes: None };
    for backend in Backend::ALL.into_iter().filter(|b| b.available()) {
        let model = model().with_backend(backend).expect("available");
        let mut scratch = Scratch::default();
        let mut writer = SymbolWriter::new();
        let quality = QualityGrid::uniform(30);
        let context = LatentContext { model: &model, quality, rows: ROWS, cols: COLS, prior: None };
        context.encode(&input, &mut writer, &mut scratch).expect("sizes fit");
        let payload = writer.finish();
        c.bench_function(&format!("residual latent, 640x384, {backend:?}"), |b| {
            b.iter(|| {
                let mut reader = SymbolReader::new(&payload).expect("a whole payload");
                context.decode(&mut reader, &mut scratch).expect("a whole payload")
            });
        });
    }
}

criterion_group!(benches, decoding);
criterion_main!(benches);
