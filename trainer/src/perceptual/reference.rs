//! Distances of fixed images with the published weights, against values of the metrics' PyTorch implementations.
//!
//! Runs where `NGC_WEIGHTS` names the folder of the weight files, which are no part of the repository.

use std::path::PathBuf;
use std::rc::Rc;

use tch::{Device, Tensor};

use super::{Dists, Lpips};

/// Noise of a linear congruential generator, smoothed: `[1, 3, 64, 64]`.
fn image(seed: u32) -> Tensor {
    let mut state = seed;
    let values: Vec<f32> = (0..3 * 64 * 64)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1u32 << 24) as f32
        })
        .collect();
    Tensor::from_slice(&values).view([1, 3, 64, 64]).avg_pool2d([3, 3], [1, 1], [1, 1], false, true, None)
}

#[test]
fn distances_are_those_of_the_reference() {
    let Some(folder) = std::env::var_os("NGC_WEIGHTS").map(PathBuf::from) else {
        return crate::testing::skipped("LPIPS and DISTS (NGC_WEIGHTS names no folder with their weights)");
    };
    let load = |name: &str| Rc::new(Lpips::load(&folder.join(name), Device::Cpu).unwrap());
    let (vgg, alex) = (load("lpips_vgg16_backbone_v0.1_fp16.safetensors"), load("lpips_alex_backbone_v0.1.safetensors"));
    let dists = Dists::load(&folder.join("dists_alpha_beta.safetensors"), &vgg, Device::Cpu).unwrap();
    let (a, b) = (image(1), image(2));
    let c = &a * 0.8 + 0.1;
    for (name, found, expected) in [
        ("VGG, other noise", vgg.distance(&a, &b).unwrap(), 0.395_359),
        ("VGG, less contrast", vgg.distance(&a, &c).unwrap(), 0.010_512),
        ("Alex, other noise", alex.distance(&a, &b).unwrap(), 0.114_134),
        ("Alex, less contrast", alex.distance(&a, &c).unwrap(), 0.010_364),
        ("DISTS, other noise", dists.distance(&a, &b).unwrap(), 0.213_963),
        ("DISTS, less contrast", dists.distance(&a, &c).unwrap(), 0.051_530),
    ] {
        let found = found.double_value(&[0]);
        assert!((found - expected).abs() < 1e-4, "{name}: {found}, expected {expected}");
    }
}
