//! Entropy models with made-up weights, the same on every machine.
#![allow(dead_code, reason = "each test binary uses a part")]

use codec_core::training::entropy::{EntropyConfig, EntropyModel, EntropyParams, IntLayer, Tables};

/// A small generator that every machine agrees on.
pub struct Lcg(pub u64);

impl Lcg {
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    pub fn below(&mut self, bound: u32) -> i32 {
        (self.next() % bound) as i32
    }
}

pub fn config(channels: usize, hyper_channels: usize, width: usize, temporal: bool, checkerboard: bool) -> EntropyConfig {
    EntropyConfig {
        channels,
        hyper_channels,
        width,
        temporal,
        checkerboard,
        transforms: false,
        intra_prediction: false,
        adaptive_scales: false,
    }
}

/// A model with intra prediction and adaptive scales.
pub fn predicting() -> EntropyConfig {
    EntropyConfig { transforms: true, intra_prediction: true, adaptive_scales: true, ..config(384 + 8, 8, 16, false, true) }
}

/// Models of the `rt` profile, one with odd widths, two whose blocks choose their transforms, one of them with adaptive scales, and one
/// that predicts luma, too.
pub fn configs() -> [EntropyConfig; 7] {
    let choosing = EntropyConfig { transforms: true, ..config(384 + 8, 8, 16, true, true) };
    [
        config(64, 16, 64, false, true),
        config(16, 8, 32, true, true),
        config(64, 16, 64, true, true),
        config(7, 3, 5, true, false),
        choosing.clone(),
        EntropyConfig { adaptive_scales: true, ..choosing },
        predicting(),
    ]
}

pub fn params(config: &EntropyConfig, seed: u64) -> EntropyParams {
    let mut rng = Lcg(seed);
    let layers = config
        .layer_shapes()
        .iter()
        .map(|shape| IntLayer {
            weight: (0..shape.outputs * shape.weights_per_output()).map(|_| (rng.below(255) - 127) as i8).collect(),
            bias: (0..shape.outputs).map(|_| rng.below(40_000) - 20_000).collect(),
            shift: (0..shape.outputs).map(|_| 8 + rng.below(3) as u8).collect(),
        })
        .collect();
    let values = 64 * config.hyper_channels;
    let mut thresholds: Vec<i32> = (0..63).map(|i| -4000 + 130 * i).collect();
    thresholds[0] = -4500;
    EntropyParams {
        layers,
        gain: (0..64 * config.width).map(|_| (2000 + rng.below(6000)) as u16).collect(),
        z_mean: (0..values).map(|_| rng.below(512) - 256).collect(),
        z_scale: (0..values).map(|_| 10 + rng.below(30) as u8).collect(),
        thresholds,
        tables: Tables::gaussian(),
        steps: config.intra_prediction.then(|| (0..64).map(|q| 150 + 40 * q).collect()),
    }
}

pub fn model(config: &EntropyConfig) -> EntropyModel {
    EntropyModel::new(config.clone(), params(config, 7)).unwrap()
}
