//! The entropy model as the trainer sees it: differentiable, on fake-quantised weights.
//!
//! The codec runs the same networks on integers ([`crate::entropy`]). Here the weights are rounded to the integer grid in
//! the forward pass and passed straight through in the backward pass, so the rate that training sees is the rate of the
//! stream. Mean-scale hyperprior with a temporal prior and a two-step checkerboard; quantiser `round(y - mu) + mu`.

use tch::Tensor;

use super::activation::leaky;
use super::intra;
use super::layers::{Conv, ConvConfig, QualityKnots, within};
use super::params::Scope;
use super::rest::Awake;
use super::rotate;
use super::transfer::remembered;
use crate::Result;
use crate::entropy::{EntropyConfig, HYPER_PRICE, Layers, ParameterLayers, sigma};

/// Smallest scale that a Gaussian of the entropy model can have, in quantiser steps.
pub const MIN_SCALE: f64 = 0.11;
/// Largest magnitude of an activation: int16 with 8 fractional bits.
const ACTIVATION_LIMIT: f64 = 127.996;
/// Likelihood floor: no symbol costs more than 23 bits in the estimate.
const LIKELIHOOD_FLOOR: f64 = 1e-7;

/// Which arithmetic the networks simulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// The codec's: int8 weights, slope 1/8, z quantised around its mean.
    Integer,
    /// The prototype's floats: slope 0.1, z quantised around 0. Only for checking against its vectors.
    Prototype,
}

/// How latents become symbols.
pub enum Quantiser<'a> {
    /// Additive uniform noise in the rate, straight-through rounding in the synthesis. The function makes noise in
    /// -0.5..0.5 of the given shape.
    Noise(&'a mut dyn FnMut(&[i64]) -> Tensor),
    /// Rounding, as the codec does.
    Hard,
}

/// A coded latent.
pub struct Coded {
    /// Quantised latent in the quantiser's domain, `[N, C, h, w]`; gradients pass straight through.
    pub y_hat: Tensor,
    /// Estimated bits of y and z, and of how blocks are predicted, `[N]`; not of transforms without prediction.
    pub bits: Tensor,
}

/// Below this scale, the boundary of scale index 0, the codec writes nothing and takes the mean.
fn least_coded_scale() -> f64 {
    (sigma(0) * sigma(1)).sqrt()
}

/// Rounds in the forward pass, identity in the backward pass.
pub fn round_straight_through(x: &Tensor) -> Result<Tensor> {
    let step = tch::no_grad(|| x.f_round()?.f_sub(x))?;
    Ok(x.f_add(&step)?)
}

/// -log2 of the probability that N(0, sigma) puts on the unit interval around `v`.
pub fn gaussian_bits(v: &Tensor, sigma: &Tensor) -> Result<Tensor> {
    let v = v.f_abs()?;
    let k = sigma.f_reciprocal()?.f_mul_scalar(std::f64::consts::FRAC_1_SQRT_2)?;
    let upper = v.f_sub_scalar(0.5)?.f_mul(&k)?.f_erfc()?;
    let lower = v.f_add_scalar(0.5)?.f_mul(&k)?.f_erfc()?;
    Ok(upper.f_sub(&lower)?.f_mul_scalar(0.5)?.f_add_scalar(LIKELIHOOD_FLOOR)?.f_log2()?.f_neg()?)
}

/// The exponent e of the int8 grid of each output channel: weights are stored as round(w * 2^e), e in 0..=14.
pub fn weight_exponents(weight: &Tensor) -> Result<Tensor> {
    let largest = weight.f_abs()?.f_amax([1, 2, 3], true)?.f_clamp_min(1e-6)?;
    Ok(largest.f_reciprocal()?.f_mul_scalar(127.0)?.f_log2()?.f_floor()?.f_clamp(0.0, 14.0)?)
}

fn fake_quantised(weight: &Tensor) -> Result<Tensor> {
    let step = tch::no_grad(|| -> Result<Tensor> {
        let scale = weight_exponents(weight)?.f_exp2()?;
        let grid = weight.f_mul(&scale)?.f_round()?.f_clamp(-127.0, 127.0)?.f_div(&scale)?;
        Ok(grid.f_sub(weight)?)
    })?;
    Ok(weight.f_add(&step)?)
}

/// What becomes of a latent around its mean.
struct Symbols {
    /// The latent after what [`saved`] takes from it, before rounding: what noise is added to.
    centred: Tensor,
    /// Rounded; gradients pass straight through.
    values: Tensor,
    /// 1 where the codec writes them.
    written: Tensor,
}

/// `prices`: what a bit is worth in squared quantiser steps, `[1, C, 1, 1]`, as [`crate::entropy::frugal`] weighs it.
fn symbols(prepared: &Prepared, centred: &Tensor, scale: &Tensor, prices: Option<&Tensor>) -> Result<Symbols> {
    if prepared.arithmetic == Arithmetic::Prototype {
        let values = round_straight_through(centred)?;
        return Ok(Symbols { centred: centred.shallow_clone(), values, written: scale.f_ones_like()? });
    }
    let centred = match prices {
        Some(prices) => centred.f_sub(&saved(centred, scale, prices)?)?,
        None => centred.shallow_clone(),
    };
    let values = round_straight_through(&centred)?;
    let written = scale.f_detach()?.f_ge(least_coded_scale())?.f_to_kind(scale.kind())?;
    let missing = tch::no_grad(|| values.f_mul(&written.f_neg()?.f_add_scalar(1.0)?))?;
    Ok(Symbols { centred, values: values.f_sub(&missing)?, written })
}

/// 1 (with the symbol's sign) where the next symbol towards zero costs less, 0 elsewhere; without gradient.
fn saved(centred: &Tensor, scale: &Tensor, prices: &Tensor) -> Result<Tensor> {
    tch::no_grad(|| {
        let cost = |symbols: &Tensor| -> Result<Tensor> {
            Ok(centred.f_sub(symbols)?.f_square()?.f_add(&gaussian_bits(symbols, scale)?.f_mul(prices)?)?)
        };
        let symbols = centred.f_round()?;
        let sign = symbols.f_sign()?;
        let cheaper = cost(&symbols.f_sub(&sign)?)?.f_lt_tensor(&cost(&symbols)?)?;
        Ok(sign.f_mul(&cheaper.f_to_kind(scale.kind())?)?)
    })
}

/// One layer of the integer networks.
#[derive(Debug)]
pub struct QuantisedLayer {
    /// The layer in floats.
    pub conv: Conv,
    /// A LeakyReLU follows.
    pub leaky: bool,
}

impl QuantisedLayer {
    /// Applies the layer with the given weights in place of its own.
    fn run(&self, weight: &Tensor, arithmetic: Arithmetic, x: &Tensor) -> Result<Tensor> {
        let y = self.conv.forward_with(x, weight, &self.conv.bias)?;
        match (arithmetic, self.leaky) {
            (Arithmetic::Integer, true) => Ok(leaky(&y, 0.125)?.f_clamp_max(ACTIVATION_LIMIT)?),
            (Arithmetic::Prototype, true) => leaky(&y, 0.1),
            (_, false) => Ok(y),
        }
    }
}

/// What a parameter network makes of `x`: its features. `awake`: see [`within`].
fn features(
    layers: &ParameterLayers<QuantisedLayer>,
    weights: &ParameterLayers<Tensor>,
    arithmetic: Arithmetic,
    x: &Tensor,
    awake: Option<&Tensor>,
) -> Result<Tensor> {
    let run = |i: usize, x: &Tensor| layers.features[i].run(&weights.features[i], arithmetic, x);
    run(2, &run(1, &within(run(0, x)?, awake)?)?)
}

/// Fake-quantised weights of all layers, made once per training step.
pub struct Prepared {
    weights: Layers<Tensor>,
    arithmetic: Arithmetic,
}

/// Float hyper-analysis (encoder only) and the networks that the codec runs on integers.
#[derive(Debug)]
pub struct EntropyNet {
    config: EntropyConfig,
    hyper_analysis: [Conv; 4],
    /// What the codec runs on integers.
    pub layers: Layers<QuantisedLayer>,
    /// Gain of the hyper features.
    pub hyper_gain: QualityKnots,
    /// Mean of z.
    pub z_mean: QualityKnots,
    /// Logarithm of the scale of z.
    pub z_scale: QualityKnots,
}

/// Names of the integer layers: hyper-decoder, parameters of the first and of the second step.
pub const LAYERS: [&str; 11] = ["hs0", "hs1", "hs2", "p1a", "p1b", "p1c", "h1", "p2a", "p2b", "p2c", "h2"];
impl EntropyNet {
    /// Takes the parameters below `p`.
    pub fn new(mut p: Scope, config: &EntropyConfig) -> Result<Self> {
        let (c, cz, w) = (config.channels as i64, config.hyper_channels as i64, config.width as i64);
        let hyper_analysis = [
            Conv::pointwise(p.sub("ha0"), c, w)?,
            Conv::pointwise(p.sub("ha1"), 4 * w, w)?,
            Conv::depthwise(p.sub("ha2"), w)?,
            Conv::pointwise(p.sub("ha3"), 4 * w, cz)?,
        ];
        let layers = config
            .layer_shapes()
            .iter()
            .map(|shape| {
                let (cin, cout) = (shape.inputs as i64, shape.outputs as i64);
                let layout = if shape.depthwise {
                    ConvConfig { kernel: 3, groups: cin, ..Default::default() }
                } else {
                    ConvConfig::default()
                };
                Ok(QuantisedLayer { conv: Conv::new(p.sub(shape.name), cin, cout, layout)?, leaky: shape.leaky })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            hyper_analysis,
            layers: Layers::from_list(layers).expect("as many as there are shapes"),
            hyper_gain: QualityKnots::new(p.sub("hyper_gain"), "knots", w, 0.0, 0.0)?,
            z_mean: QualityKnots::new(p.sub("z_mean"), "knots", cz, 0.0, 0.0)?,
            z_scale: QualityKnots::new(p.sub("z_scale"), "knots", cz, 0.6, 0.0)?,
            config: config.clone(),
        })
    }

    /// What it was built by.
    pub fn config(&self) -> &EntropyConfig {
        &self.config
    }

    /// Rounds the weights to the integer grid, once for all frames of a step.
    pub fn prepare(&self, arithmetic: Arithmetic) -> Result<Prepared> {
        let weight = |layer: &QuantisedLayer| match arithmetic {
            Arithmetic::Integer => fake_quantised(&layer.conv.weight),
            Arithmetic::Prototype => Ok(layer.conv.weight.shallow_clone()),
        };
        let weights = self.layers.iter().map(weight).collect::<Result<Vec<_>>>()?;
        Ok(Prepared { weights: Layers::from_list(weights).expect("one for each layer"), arithmetic })
    }

    /// Hyper-analysis: latent `[N, C, h, w]` in quantiser steps to unrounded z `[N, cz, ceil(h/4), ceil(w/4)]`.
    pub fn hyper_analysis(&self, y: &Tensor) -> Result<Tensor> {
        let (_, _, h, w) = y.size4()?;
        let (ph, pw) = ((4 - h % 4) % 4, (4 - w % 4) % 4);
        let padded = if ph + pw > 0 { y.f_replication_pad2d([0, pw, 0, ph])? } else { y.shallow_clone() };
        let [a, b, c, d] = &self.hyper_analysis;
        let x = a.activated(&padded)?.f_pixel_unshuffle(2)?;
        d.forward(&c.forward(&b.activated(&x)?)?.f_pixel_unshuffle(2)?)
    }

    /// Mean and scale of each latent element from the last layer's output.
    fn mean_scale(features: &Tensor) -> Result<(Tensor, Tensor)> {
        let mut halves = features.f_chunk(2, 1)?;
        let scale = halves.pop().expect("two halves").f_softplus()?.f_add_scalar(MIN_SCALE)?;
        Ok((halves.pop().expect("two halves"), scale))
    }

    /// 1 where the element belongs to the first step of the checkerboard, and 1 where it belongs to the second; `[1, C, h, w]`.
    fn step_masks(&self, y: &Tensor) -> Result<[Tensor; 2]> {
        let (_, c, h, w) = y.size4()?;
        let kind = y.f_kind()?;
        let mask = |name: &'static str, swap: bool| {
            remembered(name, vec![c, h, w, kind as i64], y.device(), || {
                let options = (tch::Kind::Int64, y.device());
                let odd = Tensor::f_arange(h, options)?
                    .f_unsqueeze(1)?
                    .f_add(&Tensor::f_arange(w, options)?)?
                    .f_remainder(2)?
                    .f_to_kind(kind)?;
                let odd = odd.f_view([1, 1, h, w])?;
                let even = odd.f_neg()?.f_add_scalar(1.0)?;
                let (upper, lower) = if swap { (even, odd) } else { (odd, even) };
                let halves = [upper.f_expand([1, c / 2, h, w], false)?, lower.f_expand([1, c - c / 2, h, w], false)?];
                Ok(Tensor::f_cat(&halves, 1)?)
            })
        };
        Ok([mask("first step", false)?, mask("second step", true)?])
    }

    /// Quantises the latent `y` (`[N, C, h, w]`, quantiser steps) and estimates its bits.
    ///
    /// `q`: quality indices `[N]`; `prior`: the previous frame's `y_hat`, zeros where absent; `prices`: what a bit is worth in
    /// squared quantiser steps, `[1, C, 1, 1]` (a bit of z is worth [`HYPER_PRICE`] then); `steps`: see [`intra::steps`], for a model
    /// with intra prediction; `awake`: the areas that do not rest, `None` for all. Elsewhere `y` is 0, as `y_hat` will be.
    pub fn code(
        &self,
        prepared: &Prepared,
        y: &Tensor,
        q: &Tensor,
        (prior, awake): (Option<&Tensor>, Option<&Awake>),
        (prices, steps): (Option<&Tensor>, Option<&[u16]>),
        quantiser: &mut Quantiser,
    ) -> Result<Coded> {
        let (_, _, h, w) = y.size4()?;
        let cells = awake.map(Awake::cells).transpose()?;
        let predicted = steps.map(|steps| intra::predict(y, q, steps)).transpose()?;
        let y = predicted.as_ref().map_or(y, |predicted| &predicted.y);
        let z = self.hyper_analysis(y)?;
        let z_mean = self.z_mean.at(q)?;
        let z_scale = self.z_scale.gain(q)?.f_clamp_min(MIN_SCALE)?;
        let z_centred = z.f_sub(&z_mean)?;
        let z_centred = match prices {
            Some(_) => z_centred.f_sub(&saved(&z_centred, &z_scale, &Tensor::from(HYPER_PRICE))?)?,
            None => z_centred,
        };
        let z_hat = match prepared.arithmetic {
            Arithmetic::Integer => round_straight_through(&z_centred)?.f_add(&z_mean)?,
            Arithmetic::Prototype => round_straight_through(&z)?,
        };
        let z_symbol = match quantiser {
            Quantiser::Noise(noise) => z_centred.f_add(&noise(&z.size()))?,
            Quantiser::Hard => z_hat.f_sub(&z_mean)?,
        };
        let z_bits = within(gaussian_bits(&z_symbol, &z_scale)?, awake.map(Awake::areas))?;

        let (layers, weights, arithmetic) = (&self.layers, &prepared.weights, prepared.arithmetic);
        let hyper = |i: usize, x: &Tensor| layers.hyper[i].run(&weights.hyper[i], arithmetic, x);
        let x = hyper(0, &z_hat)?.f_pixel_shuffle(2)?;
        let x = within(x, awake.map(Awake::halves).transpose()?.as_ref())?;
        let x = hyper(2, &hyper(1, &x)?)?.f_pixel_shuffle(2)?;
        let x = x.f_narrow(2, 0, h)?.f_narrow(3, 0, w)?.f_mul(&self.hyper_gain.gain(q)?)?;
        let mut inputs = vec![x];
        if self.config.temporal {
            inputs.push(prior.map_or_else(|| y.f_zeros_like(), |p| Ok(p.shallow_clone()))?);
        }
        let choice = if self.config.transforms && predicted.is_none() { Some(rotate::choose(y)?) } else { None };
        let rotated = choice.as_ref().map_or_else(|| Ok(y.shallow_clone()), |choice| rotate::rotate(y, choice))?;
        if let Some(choice) = choice.as_ref().or(predicted.as_ref().map(|predicted| &predicted.choice)) {
            inputs.push(choice.0.shallow_clone());
        }
        let y = &rotated;
        let x = Tensor::f_cat(&inputs, 1)?;
        let shared = features(&layers.first, &weights.first, arithmetic, &x, cells.as_ref())?;
        let mean_scale = |features: &Tensor| -> Result<(Tensor, Tensor)> {
            let (mean, scale) = Self::mean_scale(features)?;
            if predicted.is_none() {
                return Ok((mean, scale));
            }
            // What a prediction misses has no mean, and is always written.
            let luma = intra::luma_mask(y)?;
            let others = luma.f_neg()?.f_add_scalar(1.0)?;
            Ok((mean.f_mul(&others)?, scale.f_maximum(&luma.f_mul_scalar(sigma(1))?)?))
        };
        let (mut mean, mut scale) = mean_scale(&layers.first.head.run(&weights.first.head, arithmetic, &shared)?)?;
        if let (Some(layers), Some(weights)) = (&layers.second, &weights.second) {
            let [first, second] = self.step_masks(y)?;
            let known = symbols(prepared, &y.f_sub(&mean)?, &scale, prices)?.values.f_add(&mean)?.f_mul(&first)?;
            let x = features(layers, weights, arithmetic, &Tensor::f_cat(&[shared, known], 1)?, cells.as_ref())?;
            let (mean2, scale2) = mean_scale(&layers.head.run(&weights.head, arithmetic, &x)?)?;
            mean = mean.f_mul(&first)?.f_add(&mean2.f_mul(&second)?)?;
            scale = scale.f_mul(&first)?.f_add(&scale2.f_mul(&second)?)?;
        }
        let Symbols { centred, values, written } = symbols(prepared, &y.f_sub(&mean)?, &scale, prices)?;
        let y_hat = within(values.f_add(&mean)?, cells.as_ref())?;
        let y_bits = match quantiser {
            Quantiser::Noise(noise) => {
                let noise = noise(&y.size());
                // Symbols that the search chose are what they are.
                let noise = match &predicted {
                    Some(_) => noise.f_mul(&intra::luma_mask(y)?.f_neg()?.f_add_scalar(1.0)?)?,
                    None => noise,
                };
                gaussian_bits(&centred.f_add(&noise)?, &scale)?
            }
            Quantiser::Hard => gaussian_bits(&values, &scale)?.f_mul(&written)?,
        };
        let y_bits = within(y_bits, cells.as_ref())?;
        let dims: &[i64] = &[1, 2, 3];
        let bits = y_bits.f_sum_dim_intlist(dims, false, None)?.f_add(&z_bits.f_sum_dim_intlist(dims, false, None)?)?;
        let y_hat = match (&choice, &predicted) {
            (Some(choice), _) => rotate::undo(&y_hat, choice)?,
            (_, Some(predicted)) => y_hat.f_mul(&intra::luma_mask(y)?.f_neg()?.f_add_scalar(1.0)?)?.f_add(&predicted.restored)?,
            _ => y_hat,
        };
        let bits = match predicted {
            Some(predicted) => bits.f_add(&predicted.bits)?,
            None => bits,
        };
        Ok(Coded { y_hat, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Tables, frugal, quantise};

    #[test]
    fn the_trainer_saves_where_the_codec_saves() {
        let tables = Tables::gaussian();
        let values: Vec<f32> = (-400..400).map(|i| i as f32 * 0.0101).collect();
        let centred = Tensor::from_slice(&values);
        // Beyond these bits tables end and the trainer's likelihood has a floor.
        const RARE: f32 = 12.0;
        let (mut different, mut saved_in_all) = (0, 0);
        for k in 1..60 {
            let symbols = centred.round();
            let scale = centred.full_like(sigma(k));
            let found =
                Vec::<f32>::try_from(symbols.f_sub(&saved(&centred, &scale, &Tensor::from(0.1f32)).unwrap()).unwrap()).unwrap();
            for (&value, found) in values.iter().zip(found) {
                let symbol = quantise(value, 0);
                if tables.bits(k, symbol) > RARE {
                    continue;
                }
                let wanted = frugal(&tables, k, value, 0, symbol, 0.1);
                different += usize::from(wanted != found as i32);
                saved_in_all += usize::from(wanted != symbol);
            }
        }
        // Tables have 16 bits; what lies on the edge may fall either way.
        assert!(saved_in_all > 500 && different * 200 < saved_in_all, "{different} of {saved_in_all}");
    }
}
