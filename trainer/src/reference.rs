//! Checks the networks against the prototype: its weights, its inputs, its outputs.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use codec_core::Networks;
use codec_core::nn::codec::quality_tensor;
use codec_core::nn::entropy::{Arithmetic, Quantiser};
use codec_core::nn::ops::Planes;
use tch::{Device, Tensor};

use crate::import::{prototype_params, read_tensors};

/// Largest difference that counts as the same, on the scale where white minus black is 1.
const TOLERANCE: f64 = 1e-4;

/// Codes the vectors' I- and P-frame with the prototype's weights and compares prediction and reconstructions.
///
/// Bits are not compared: the prototype's prior of z is logistic, ours Gaussian.
///
/// # Errors
/// Naming the tensor that differs and by how much.
pub fn check(weights: &Path, vectors: &Path) -> Result<()> {
    let mut params = prototype_params(weights)?;
    let networks = Networks::load(&mut params, &crate::import::prototype_config(), Device::Cpu)?;
    let vectors = read_tensors(vectors)?;
    let found = tch::no_grad(|| run(&networks, &vectors))?;
    let mut worst = Vec::new();
    for (name, tensor) in found {
        let wanted = get(&vectors, name)?;
        let difference = tensor.f_sub(wanted)?.f_abs()?.f_max()?.f_double_value(&[])?;
        println!("{name}: largest difference {difference:.2e}");
        if difference.is_nan() || difference > TOLERANCE {
            worst.push(format!("{name} by {difference:.2e}"));
        }
    }
    if !worst.is_empty() {
        bail!("the networks differ from the prototype: {}", worst.join(", "));
    }
    Ok(())
}

fn get<'a>(vectors: &'a BTreeMap<String, Tensor>, name: &str) -> Result<&'a Tensor> {
    vectors.get(name).with_context(|| format!("the vectors lack {name}"))
}

fn run(networks: &Networks, vectors: &BTreeMap<String, Tensor>) -> Result<Vec<(&'static str, Tensor)>> {
    let planes = |y: &str, uv: &str| -> Result<Planes> {
        Ok(Planes { y: get(vectors, y)?.shallow_clone(), uv: get(vectors, uv)?.shallow_clone() })
    };
    let q = quality_tensor(&[get(vectors, "qp")?.f_double_value(&[0])? as u8], Device::Cpu)?;
    let prepared = networks.prepare(Arithmetic::Prototype)?;
    let intra = networks.intra_frame(&prepared, &planes("i_y", "i_uv")?, &q, &mut Quantiser::Hard)?;
    // The prototype's estimator gave flow at full resolution; ours gives it at 1/4.
    let flow = get(vectors, "p_flow")?.f_avg_pool2d([4, 4], [4, 4], [0, 0], false, true, None)?;
    let reference = planes("p_ref_y", "p_ref_uv")?;
    let coded =
        networks.inter_frame(&prepared, &planes("p_y", "p_uv")?, &reference, &flow, &q, None, (0, 0), &mut Quantiser::Hard)?;
    let prediction = coded.inter.context("a P-frame has an inter state")?.prediction;
    Ok(vec![
        ("i_rec_y", intra.frame.y),
        ("i_rec_uv", intra.frame.uv),
        ("p_warp_y", prediction.frame.y),
        ("p_warp_uv", prediction.frame.uv),
        ("p_flow_hat", prediction.flow),
        ("p_rec_y", coded.frame.y),
        ("p_rec_uv", coded.frame.uv),
    ])
}
