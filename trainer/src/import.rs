//! Starting point from the prototype's weights: its names and quality axis in ours.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use codec_core::kernels::Cubic;
use codec_core::nn::layers::KNOTS;
use codec_core::nn::{ModelConfig, ParamStore};
use codec_core::quality::quality_of_lambda;
use safetensors::{SafeTensors, tensor::Dtype};
use tch::{Kind, Tensor};

/// The prototype's lambda at quality 63; ours reaches lower rates, so its axis is a part of ours.
const PROTOTYPE_LAMBDA_WORST: f64 = 40.0;

/// The prototype's networks.
pub fn prototype_config() -> ModelConfig {
    ModelConfig { chroma_filter: Cubic::Sharp, ..ModelConfig::rt_with(0) }
}
/// A logistic of scale 1 has the standard deviation pi/sqrt(3): the prototype's z prior is logistic, ours Gaussian.
const LOGISTIC_DEVIATION: f64 = 1.813_799_364;

/// All tensors of a safetensors file, as floats.
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let file = SafeTensors::deserialize(&bytes).with_context(|| format!("{}: not a safetensors file", path.display()))?;
    file.tensors()
        .into_iter()
        .map(|(name, view)| {
            if view.dtype() != Dtype::F32 {
                bail!("{}: tensor {name} is {:?}, the prototype's are F32", path.display(), view.dtype());
            }
            let shape: Vec<i64> = view.shape().iter().map(|&s| s as i64).collect();
            Ok((name, Tensor::f_from_data_size(view.data(), &shape, Kind::Float)?))
        })
        .collect()
}

/// Our name of a prototype tensor, or `None` for one that we do not use.
fn translate(name: &str) -> Option<String> {
    let (module, rest) = name.split_once('.')?;
    let branch = match module.chars().last()? {
        'i' => "intra",
        'f' => "flow",
        'r' => "residual",
        _ => return None,
    };
    let rest = match module.chars().next()? {
        'e' => format!("analysis.{}", translate_transform(rest, "down")?),
        'g' => format!("synthesis.{}", translate_transform(rest, "up")?),
        'c' => format!("coder.{}", translate_coder(rest)?),
        _ => return None,
    };
    Some(format!("{branch}.{rest}"))
}

fn translate_transform(rest: &str, resample: &str) -> Option<String> {
    if rest == "q.k" {
        return Some("gain.knots".into());
    }
    let parts: Vec<&str> = rest.split('.').collect();
    match parts[..] {
        ["i", leaf] => Some(format!("input.{leaf}")),
        ["d", leaf] => Some(format!("{resample}.{leaf}")),
        ["o", leaf] => Some(format!("output.{leaf}")),
        [stack @ ("b" | "b2"), index, layer, leaf] => {
            let stack = if stack == "b" { "blocks" } else { "deep" };
            let layer = match layer {
                "a" => "mix_in",
                "d" => "depthwise",
                "b" => "mix_out",
                "u" => "expand",
                "v" => "project",
                _ => return None,
            };
            Some(format!("{stack}.{index}.{layer}.{leaf}"))
        }
        _ => None,
    }
}

fn translate_coder(rest: &str) -> Option<String> {
    const LAYERS: [(&str, &str); 15] = [
        ("em.ha.0", "ha0"),
        ("em.ha.3", "ha1"),
        ("em.ha.5", "ha2"),
        ("em.ha.7", "ha3"),
        ("em.hs.0", "hs0"),
        ("em.hs.2", "hs1"),
        ("em.hs.4", "hs2"),
        ("em.p1.0", "p1a"),
        ("em.p1.2", "p1b"),
        ("em.p1.3", "p1c"),
        ("em.h1", "h1"),
        ("em.p2.0", "p2a"),
        ("em.p2.2", "p2b"),
        ("em.p2.3", "p2c"),
        ("em.h2", "h2"),
    ];
    Some(match rest {
        "ge.k" => "encoder_gain.knots".into(),
        "gd.k" => "decoder_gain.knots".into(),
        "em.qg.k" => "entropy.hyper_gain.knots".into(),
        "em.fz.m" => "entropy.z_mean.knots".into(),
        "em.fz.s.k" => "entropy.z_scale.knots".into(),
        _ => {
            let (layer, leaf) = rest.rsplit_once('.')?;
            let name = LAYERS.iter().find(|(theirs, _)| *theirs == layer)?.1;
            format!("entropy.{name}.{leaf}")
        }
    })
}

/// Parameters of the prototype under our names, values unchanged.
///
/// # Errors
/// If the file holds a tensor that has no place here: it is not the prototype of the `rt` profile.
pub fn prototype_params(path: &Path) -> Result<ParamStore> {
    let mut params = ParamStore::new();
    for (name, tensor) in read_tensors(path)? {
        let Some(ours) = translate(&name) else {
            bail!("{}: tensor {name} is not one of the rt prototype", path.display());
        };
        params.insert(ours, tensor);
    }
    Ok(params)
}

/// Reads the prototype as a starting point: the same lambda gets the same gains, the rest of the axis is extrapolated, the
/// logistic z prior becomes the nearest Gaussian.
pub fn import_prototype(path: &Path) -> Result<(ModelConfig, ParamStore)> {
    let source = prototype_params(path)?;
    let mut params = ParamStore::new();
    let span = quality_of_lambda(PROTOTYPE_LAMBDA_WORST) / 63.0;
    for (name, tensor) in source.iter() {
        let mut value = if name.ends_with("knots") { resample_knots(tensor, span)? } else { tensor.shallow_clone() };
        if name.ends_with("z_scale.knots") {
            value = value.f_add_scalar(LOGISTIC_DEVIATION.ln())?;
        }
        params.insert(name, value.detach().set_requires_grad(true));
    }
    Ok((prototype_config(), params))
}

/// Moves knots `[8, C]` to an axis on which the old one is the first `span` (0..1) of the new one.
fn resample_knots(knots: &Tensor, span: f64) -> Result<Tensor> {
    let last = (KNOTS - 1) as f64;
    let rows = (0..KNOTS)
        .map(|k| {
            let position = k as f64 / span;
            // Beyond the old end the last segment goes on at half its slope.
            let position = if position > last { last + (position - last) * 0.5 } else { position };
            let left = (position.floor() as i64).min(KNOTS as i64 - 2);
            let fraction = position - left as f64;
            let (a, b) = (knots.f_get(left)?, knots.f_get(left + 1)?);
            Ok(a.f_mul_scalar(1.0 - fraction)?.f_add(&b.f_mul_scalar(fraction)?)?)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Tensor::f_stack(&rows, 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_translated() {
        for (theirs, ours) in [
            ("e_i.i.weight", "intra.analysis.input.weight"),
            ("g_r.b.5.u.bias", "residual.synthesis.blocks.5.expand.bias"),
            ("g_f.d.weight", "flow.synthesis.up.weight"),
            ("e_f.d.weight", "flow.analysis.down.weight"),
            ("c_f.em.p2.3.weight", "flow.coder.entropy.p2c.weight"),
            ("c_i.em.fz.s.k", "intra.coder.entropy.z_scale.knots"),
            ("e_r.q.k", "residual.analysis.gain.knots"),
        ] {
            assert_eq!(translate(theirs).as_deref(), Some(ours));
        }
        assert_eq!(translate("skip.weight"), None);
    }

    #[test]
    fn knots_keep_their_value_at_the_same_lambda() {
        let knots = Tensor::arange(8, (Kind::Float, tch::Device::Cpu)).view([8, 1]);
        let moved = Vec::<f32>::try_from(resample_knots(&knots, 0.5).unwrap().view([-1])).unwrap();
        assert_eq!(moved[..4], [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(moved[7], 10.5, "7 + half of the 7 knots beyond the end");
    }
}
