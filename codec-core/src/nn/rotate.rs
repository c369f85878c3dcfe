//! The choice of a linear transform for luma of each block, in floats.

use tch::{Kind, Tensor};

use super::transfer::{remembered, upload};
use crate::Result;
use crate::architecture::linear::{LUMA_SIDE, TRANSFORMS, luma_places, rotation};
use crate::entropy::{CHOICE_BIAS, CHOICE_BIT, CHOICE_PRICE, CHOICE_ROUNDING};

/// Which transform each block has: `[N, 2, h, w]`, 1 in the plane of transform 1 or 2, none for transform 0.
pub struct Choice(pub Tensor);

/// What choosing and rotating need.
struct Rotations {
    /// Channels of a latent: luma's linear ones in the order of [`luma_places`], and all others.
    luma: Tensor,
    others: Tensor,
    /// From these two, one behind the other, back to the latent's order.
    back: Tensor,
    /// Of transforms 1 and 2, `[256, 256, 1, 1]`.
    forward: Vec<Tensor>,
}

impl Rotations {
    fn of(y: &Tensor) -> Result<Self> {
        let channels = y.size()[1];
        let (device, kind) = (y.device(), y.f_kind()?);
        let places = luma_places(channels as usize);
        let others: Vec<usize> = (0..channels as usize).filter(|c| !places.contains(c)).collect();
        let order: Vec<usize> = places.iter().chain(&others).copied().collect();
        let mut back = vec![0i64; order.len()];
        for (at, &channel) in order.iter().enumerate() {
            back[channel] = at as i64;
        }
        let indices =
            |name, values: Vec<i64>| remembered(name, vec![channels], device, || upload(&Tensor::f_from_slice(&values)?, device));
        let as_indices = |values: &[usize]| values.iter().map(|&v| v as i64).collect();
        let matrix = |name, choice| {
            remembered(name, vec![kind as i64], device, || {
                let r = rotation(choice);
                let n = LUMA_SIDE * LUMA_SIDE;
                let entry = |i: usize| {
                    let (out, from) = (i / n, i % n);
                    (r[out / LUMA_SIDE][from / LUMA_SIDE] * r[out % LUMA_SIDE][from % LUMA_SIDE]) as f32
                };
                let values: Vec<f32> = (0..n * n).map(entry).collect();
                Ok(upload(&Tensor::f_from_slice(&values)?.f_view([n as i64, n as i64, 1, 1])?, device)?.f_to_kind(kind)?)
            })
        };
        const NAMES: [&str; TRANSFORMS - 1] = ["transform 1", "transform 2"];
        Ok(Self {
            luma: indices("luma places", as_indices(&places))?,
            others: indices("other places", as_indices(&others))?,
            back: indices("places", back)?,
            forward: NAMES.iter().zip(1..).map(|(name, choice)| matrix(name, choice)).collect::<Result<_>>()?,
        })
    }

    /// A latent with luma's linear channels as they are, or rotated by each matrix, taken where a block has the transform.
    fn apply(&self, y: &Tensor, choice: &Choice, matrix: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let luma = y.f_index_select(1, &self.luma)?;
        let mut out = luma.shallow_clone();
        for (i, forward) in self.forward.iter().enumerate() {
            let mask = choice.0.f_narrow(1, i as i64, 1)?;
            let rotated = pointwise(&luma, &matrix(forward)?)?;
            out = out.f_add(&rotated.f_sub(&luma)?.f_mul(&mask)?)?;
        }
        Ok(Tensor::f_cat(&[out, y.f_index_select(1, &self.others)?], 1)?.f_index_select(1, &self.back)?)
    }
}

/// A convolution of 1x1 samples.
fn pointwise(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    Ok(x.f_conv2d(weight, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1)?)
}

/// What a rounded coefficient is expected to cost, error and bits, in squared quantiser steps: see
/// [`crate::entropy::expected_cost`].
fn expected_cost(y: &Tensor) -> Result<Tensor> {
    let size = y.f_abs()?;
    let symbol = size.f_add_scalar(CHOICE_ROUNDING)?.f_floor()?;
    let bits = symbol.f_clamp_min(1.0)?.f_log2()?.f_mul_scalar(2.0)?.f_add_scalar(CHOICE_BIT)?.f_mul_scalar(CHOICE_PRICE)?;
    let coded = size.f_sub(&symbol)?.f_square()?.f_add(&bits)?;
    let written = symbol.f_ge(1.0)?;
    Ok(coded.f_where_self(&written, &size.f_square()?)?)
}

/// The sum over channels, `[N, 1, h, w]`.
fn over_channels(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_sum_dim_intlist(&[1i64][..], true, Kind::Float)?)
}

/// What luma is expected to cost by each transform, `[N, TRANSFORMS, h, w]`.
fn costs(rotations: &Rotations, luma: &Tensor) -> Result<Tensor> {
    let mut costs = vec![over_channels(&expected_cost(luma)?)?];
    for forward in &rotations.forward {
        let cost = over_channels(&expected_cost(&pointwise(luma, forward)?)?)?;
        costs.push(cost.f_add_scalar(CHOICE_BIAS * CHOICE_PRICE)?);
    }
    Ok(Tensor::f_cat(&costs, 1)?)
}

/// The transform of each block by which a latent in quantiser steps is expected to cost least.
pub fn choose(y: &Tensor) -> Result<Choice> {
    tch::no_grad(|| {
        let rotations = Rotations::of(y)?;
        let best = costs(&rotations, &y.f_index_select(1, &rotations.luma)?)?.f_argmin(1, true)?;
        let planes = [best.f_eq(1)?, best.f_eq(2)?];
        Ok(Choice(Tensor::f_cat(&planes, 1)?.f_to_kind(y.f_kind()?)?))
    })
}

/// What coding each position of a latent of linear channels is expected to save, `[N, 1, h, w]`, in squared quantiser steps: see
/// [`EntropyModel::worth`](crate::entropy::EntropyModel::worth). Other channels are 0.
pub fn worth(y: &Tensor) -> Result<Tensor> {
    tch::no_grad(|| {
        let rotations = Rotations::of(y)?;
        let [luma, others] = [&rotations.luma, &rotations.others].map(|channels| y.f_index_select(1, channels));
        let (luma, others) = (luma?, others?);
        let of_others = over_channels(&others.f_square()?.f_sub(&expected_cost(&others)?)?)?;
        let of_luma = over_channels(&luma.f_square()?)?.f_sub(&costs(&rotations, &luma)?.f_amin([1i64], true)?)?;
        Ok(of_others.f_add(&of_luma)?)
    })
}

/// A latent in the transforms that its blocks have chosen.
pub fn rotate(y: &Tensor, choice: &Choice) -> Result<Tensor> {
    Rotations::of(y)?.apply(y, choice, |forward| Ok(forward.shallow_clone()))
}

/// The way back.
pub fn undo(y: &Tensor, choice: &Choice) -> Result<Tensor> {
    Rotations::of(y)?.apply(y, choice, |forward| Ok(forward.f_transpose(0, 1)?.f_contiguous()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::linear::COMPLETE;
    use crate::model::{Model, ModelSource};
    use crate::nn::transform::interleave;

    #[test]
    fn rotating_there_and_back_changes_nothing() {
        let y = Tensor::randn([2, COMPLETE as i64 + 8, 3, 4], (Kind::Float, tch::Device::Cpu)) * 4.0;
        let choice = choose(&y).unwrap();
        let rotated = rotate(&y, &choice).unwrap();
        assert!((undo(&rotated, &choice).unwrap() - &y).abs().max().double_value(&[]) < 1e-4);
        // Channels of the networks and of chroma stay.
        assert_eq!(rotated.narrow(1, 0, 4), y.narrow(1, 0, 4));
    }

    #[test]
    fn what_is_worth_coding_is_what_the_codec_thinks() {
        let model = &Model::load(&ModelSource::Embedded).unwrap().residual_entropy;
        let networks = (model.config().channels - COMPLETE) as i64;
        let coefficients = Tensor::randn([1, COMPLETE as i64, 2, 3], (Kind::Float, tch::Device::Cpu));
        // From nothing to much.
        let coefficients = coefficients * Tensor::from_slice(&[0.01f32, 0.2, 0.4, 0.6, 1.0, 4.0]).view([1, 1, 2, 3]);
        let y = interleave(&coefficients.narrow(1, 0, networks).zeros_like(), &coefficients).unwrap();
        let found = Vec::<f32>::try_from(worth(&y).unwrap().flatten(0, -1)).unwrap();
        for (position, found) in found.iter().enumerate() {
            let (row, col) = (position as i64 / 3, position as i64 % 3);
            let channels = Vec::<f32>::try_from(y.narrow(2, row, 1).narrow(3, col, 1).flatten(0, -1)).unwrap();
            let wanted = model.worth(&channels);
            assert!((found - wanted).abs() < 1e-3 * wanted.abs().max(1.0), "{position}: {found}, {wanted}");
        }
        assert!(found[0].abs() < 1e-4 && found[5] > 100.0);
    }

    #[test]
    fn a_coefficient_of_a_part_is_found() {
        let y = Tensor::zeros([1, COMPLETE as i64, 1, 3], (Kind::Float, tch::Device::Cpu));
        let places = luma_places(COMPLETE);
        // The first block has one coefficient of the whole block, the others one of an 8x8 and of a 4x4 part.
        let mut planes = Tensor::zeros([1, 2, 1, 3], (Kind::Float, tch::Device::Cpu));
        for (block, place) in [(0, 35), (1, 35), (2, 70)] {
            let _ = y.narrow(1, places[place] as i64, 1).narrow(3, block, 1).fill_(5.0);
        }
        let _ = planes.narrow(1, 0, 1).narrow(3, 1, 1).fill_(1.0);
        let _ = planes.narrow(1, 1, 1).narrow(3, 2, 1).fill_(1.0);
        let samples = undo(&y, &Choice(planes.shallow_clone())).unwrap();
        let found = choose(&samples).unwrap();
        assert_eq!(found.0, planes);
        planes = rotate(&samples, &found).unwrap();
        assert!((planes - y).abs().max().double_value(&[]) < 1e-4);
    }
}
