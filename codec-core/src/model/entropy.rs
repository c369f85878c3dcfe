//! Conversion between the float entropy networks that are trained and the integer networks that are coded with.

use tch::{Kind, Tensor};

use crate::Result;
use crate::entropy::{ACTIVATION_FRACTION_BITS, EntropyConfig, EntropyParams, GAIN_FRACTION_BITS, IntLayer, Tables, sigma};
use crate::nn::ParamStore;
use crate::nn::entropy::{EntropyNet, LAYERS, MIN_SCALE, weight_exponents};
use crate::nn::transfer::download;

/// Whether `name` is a weight or bias that the integer networks replace in a model file.
pub fn is_integer_layer(name: &str) -> bool {
    let mut parts = name.rsplit('.');
    let (_, layer) = (parts.next(), parts.next());
    name.contains(".coder.entropy.") && layer.is_some_and(|l| LAYERS.contains(&l))
}

fn to_vec(tensor: &Tensor) -> Result<Vec<f32>> {
    download(&tensor.f_detach()?.f_to_kind(Kind::Float)?)
}

/// Quantises the trained networks to integers.
///
/// # Errors
/// [`Error::ModelMismatch`] if a value does not fit its integer range.
pub fn integer_params(net: &EntropyNet, steps: Option<&[u16]>) -> Result<EntropyParams> {
    let layers = net
        .layers
        .iter()
        .map(|layer| {
            let exponents = to_vec(&weight_exponents(&layer.conv.weight)?)?;
            let weight = to_vec(&layer.conv.weight)?;
            let bias = to_vec(&layer.conv.bias)?;
            let per_output = weight.len() / exponents.len();
            Ok(IntLayer {
                weight: weight
                    .iter()
                    .enumerate()
                    .map(|(i, w)| (w * exponents[i / per_output].exp2()).round().clamp(-127.0, 127.0) as i8)
                    .collect(),
                bias: bias
                    .iter()
                    .zip(&exponents)
                    .map(|(b, e)| (b * (e + ACTIVATION_FRACTION_BITS as f32).exp2()).round() as i32)
                    .collect(),
                shift: exponents.iter().map(|&e| e as u8).collect(),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let gain = to_vec(&net.hyper_gain.table()?)?;
    let one = f32::from(1u16 << GAIN_FRACTION_BITS);
    let gain = gain.iter().map(|g| (g.exp() * one).round().clamp(0.0, f32::from(u16::MAX)) as u16).collect();
    let activation_one = f64::from(1u32 << ACTIVATION_FRACTION_BITS);
    let z_mean = to_vec(&net.z_mean.table()?)?.iter().map(|m| (f64::from(*m) * activation_one).round() as i32).collect();
    let z_scale = to_vec(&net.z_scale.table()?)?.iter().map(|s| nearest_scale(f64::from(s.exp()))).collect();
    Ok(EntropyParams {
        layers,
        gain,
        z_mean,
        z_scale,
        thresholds: thresholds(),
        tables: Tables::gaussian(),
        steps: steps.map(<[u16]>::to_vec),
    })
}

/// Scale index whose sigma is nearest in the logarithm. Scale 0 codes nothing, so z never uses it.
fn nearest_scale(value: f64) -> u8 {
    let distance = |k: &u8| (sigma(usize::from(*k)) / value).ln().abs();
    (1..64u8).min_by(|a, b| distance(a).total_cmp(&distance(b))).expect("a non-empty range")
}

/// Thresholds on the network's scale output v, where sigma = 0.11 + softplus(v), halfway (in the logarithm) between
/// neighbouring scales.
fn thresholds() -> Vec<i32> {
    (0..63)
        .map(|k| {
            let boundary = (sigma(k) * sigma(k + 1)).sqrt() - MIN_SCALE;
            let v = boundary.exp_m1().ln();
            (v * f64::from(1u32 << ACTIVATION_FRACTION_BITS)).round() as i32
        })
        .collect()
}

/// Puts the integer layers into `params` as the floats they stand for.
pub fn insert_float_layers(
    prefix: &str,
    config: &EntropyConfig,
    parameters: &EntropyParams,
    params: &mut ParamStore,
) -> Result<()> {
    let shapes = config.layer_shapes();
    for (i, layer) in parameters.layers.iter().enumerate() {
        let shape = &shapes[i];
        let (cout, per_output) = (shape.outputs as i64, shape.weights_per_output() as i64);
        let weight: Vec<f32> = layer
            .weight
            .iter()
            .enumerate()
            .map(|(j, &w)| f32::from(w) * (-f32::from(layer.shift[j / per_output as usize])).exp2())
            .collect();
        let bias: Vec<f32> = layer
            .bias
            .iter()
            .zip(&layer.shift)
            .map(|(&b, &s)| (f64::from(b) * (-f64::from(s) - f64::from(ACTIVATION_FRACTION_BITS)).exp2()) as f32)
            .collect();
        let size: [i64; 4] = if shape.depthwise { [cout, 1, 3, 3] } else { [cout, per_output, 1, 1] };
        let name = shape.name;
        params.insert(format!("{prefix}.{name}.weight"), Tensor::f_from_slice(&weight)?.f_view(size)?);
        params.insert(format!("{prefix}.{name}.bias"), Tensor::f_from_slice(&bias)?);
    }
    Ok(())
}
