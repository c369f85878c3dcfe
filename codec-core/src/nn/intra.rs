//! Intra prediction as the trainer sees it: done by the codec's own search, without gradient.

use rayon::prelude::*;
use tch::Tensor;

use super::rotate::Choice;
use super::transfer::{download, remembered, upload};
use crate::Result;
use crate::architecture::linear::luma_places;
use crate::entropy::{BlockModes, Intra, LatentGrid};
use crate::quality::QualityGrid;

/// Sixteenths of a grey level in a value of 1 of a packed frame, which stands for 256 grey levels.
const SIXTEENTHS: f32 = 4096.0;

/// Sizes of steps in 1/16 of a sample, `[64]`, from the logarithms of the encoder's gains, `[64, C]`: all luma channels have the same.
pub fn steps(gains: &Tensor) -> Result<Vec<u16>> {
    let places = luma_places(gains.size2()?.1 as usize);
    let of_luma: Vec<f32> = download(&gains.f_select(1, places[0] as i64)?.f_to_kind(tch::Kind::Float)?)?;
    Ok(of_luma.iter().map(|log| (SIXTEENTHS * (-log).exp()).round().clamp(1.0, f32::from(u16::MAX)) as u16).collect())
}

/// A latent whose luma is predicted.
pub struct Predicted {
    /// In quantiser steps; luma's channels have the symbols of what the prediction misses.
    pub y: Tensor,
    /// The coefficients that these stand for in luma's channels, 0 elsewhere.
    pub restored: Tensor,
    /// Transforms of blocks.
    pub choice: Choice,
    /// Bits of modes and transforms, `[N]`.
    pub bits: Tensor,
}

/// 1 in the channels that are predicted, `[1, C, 1, 1]`.
pub fn luma_mask(y: &Tensor) -> Result<Tensor> {
    let channels = y.size()[1];
    remembered("luma mask", vec![channels, y.f_kind()? as i64], y.device(), || {
        let mut mask = vec![0f32; channels as usize];
        luma_places(channels as usize).into_iter().for_each(|place| mask[place] = 1.0);
        Ok(upload(&Tensor::f_from_slice(&mask)?.f_view([1, channels, 1, 1])?, y.device())?.f_to_kind(y.f_kind()?)?)
    })
}

/// Predicts luma of the latents `y`, `[N, C, h, w]` in quantiser steps, at the quality indices `q`, `[N]` or `[1]`.
pub fn predict(y: &Tensor, q: &Tensor, steps: &[u16]) -> Result<Predicted> {
    let (n, channels, rows, cols) = y.size4()?;
    let (device, kind) = (y.device(), y.f_kind()?);
    let intra = Intra::new(channels as usize, steps.to_vec());
    let flat = y.detach().f_to_kind(tch::Kind::Float)?.f_permute([0, 2, 3, 1])?.f_contiguous()?;
    let (mut values, mut qualities): (Vec<f32>, Vec<i64>) = (download(&flat)?, download(q)?);
    let (rows, cols, channels) = (rows as usize, cols as usize, channels as usize);
    if qualities.len() == 1 {
        qualities.resize(n as usize, qualities[0]);
    }
    let one = |(values, &q): (&mut [f32], &i64)| {
        let quality = QualityGrid::uniform(q as u8);
        let modes = intra.search(values, (rows, cols), quality, 1);
        let mut latent = LatentGrid::new(rows, cols, channels);
        latent.data.iter_mut().zip(values.iter()).for_each(|(out, &value)| *out = (value as i32) << 8);
        intra.restore(&mut latent, &modes, quality);
        let bits = modes.bits(cols) as f32;
        (modes, latent, bits)
    };
    let frames = values.par_chunks_exact_mut(rows * cols * channels).zip(&qualities);
    let found: Vec<(BlockModes, LatentGrid, f32)> = frames.map(one).collect();
    let restored: Vec<f32> = found.iter().flat_map(|(_, latent, _)| latent.data.iter().map(|&v| v as f32 / 256.0)).collect();
    let chosen = |transform: u8| {
        found.iter().flat_map(move |(modes, ..)| modes.transforms.iter().map(move |&t| f32::from(t == transform)))
    };
    let planes: Vec<f32> = chosen(1).chain(chosen(2)).collect();
    let there = |values: &[f32], shape: &[i64]| -> Result<Tensor> {
        Ok(upload(&Tensor::f_from_slice(values)?.f_view(shape)?, device)?.f_to_kind(kind)?)
    };
    let (rows, cols, channels) = (rows as i64, cols as i64, channels as i64);
    let latent = |values: &[f32]| Ok::<_, crate::Error>(there(values, &[n, rows, cols, channels])?.f_permute([0, 3, 1, 2])?);
    let mask = luma_mask(y)?;
    let (symbols, restored) = (latent(&values)?.f_mul(&mask)?, latent(&restored)?.f_mul(&mask)?);
    let rest = y.f_mul(&mask.f_neg()?.f_add_scalar(1.0)?)?;
    let choice = Choice(there(&planes, &[2, n, rows, cols])?.f_permute([1, 0, 2, 3])?);
    let bits: Vec<f32> = found.iter().map(|&(.., bits)| bits).collect();
    let bits = upload(&Tensor::f_from_slice(&bits)?, device)?;
    Ok(Predicted { y: rest.f_add(&symbols)?, restored, choice, bits })
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::architecture::linear::COMPLETE;
    use crate::entropy::{EntropyModel, LatentContext, LatentInput, Scratch, SymbolWriter};
    use crate::model::entropy::integer_params;
    use crate::nn::codec::quality_tensor;
    use crate::nn::entropy::{Arithmetic, Quantiser};
    use crate::nn::{ModelConfig, Networks, ParamStore};

    #[test]
    fn training_codes_what_the_codec_codes() {
        tch::manual_seed(3);
        let mut config = ModelConfig::rt_with(8, COMPLETE as i64);
        config.intra_entropy.intra_prediction = true;
        let networks = Networks::init(&mut ParamStore::new(), &config, Device::Cpu).unwrap();
        let coder = &networks.intra.coder;
        let (rows, cols, quality) = (8, 4, 0u8);
        let channels = config.intra_entropy.channels;
        // Soft pictures within the range of samples.
        let y = Tensor::randn([2, channels as i64, rows as i64, cols as i64], (Kind::Float, Device::Cpu));
        let strength = Tensor::from_slice(&(0..channels).map(|c| 2.0 / (1.0 + 0.05 * (c % 224) as f32)).collect::<Vec<_>>());
        let y = y * strength.view([1, -1, 1, 1]);
        let q = quality_tensor(&[quality, quality], Device::Cpu).unwrap();
        let prepared = coder.entropy.prepare(Arithmetic::Integer).unwrap();
        let steps = coder.steps().unwrap();
        let coded = coder.entropy.code(&prepared, &y, &q, (None, None), (None, steps), &mut Quantiser::Hard).unwrap();

        let model = EntropyModel::new(config.intra_entropy.clone(), integer_params(&coder.entropy, steps).unwrap()).unwrap();
        let flat = |x: &Tensor| -> Vec<f32> { Vec::try_from(x.permute([0, 2, 3, 1]).contiguous().view([-1])).unwrap() };
        let size = rows * cols * channels;
        for (frame, values) in flat(&y).chunks_exact_mut(size).enumerate() {
            let context = LatentContext { model: &model, quality: QualityGrid::uniform(quality), rows, cols, prior: None };
            let modes = context.predict(values, 1).unwrap();
            let latent = Tensor::from_slice(values).view([1, rows as i64, cols as i64, -1]).permute([0, 3, 1, 2]);
            let z = flat(&coder.entropy.hyper_analysis(&latent).unwrap());
            let input = LatentInput { z: &z, y: values, prices: &[], modes: modes.as_ref() };
            let mut writer = SymbolWriter::new();
            let latent = context.encode(&input, &mut writer, &mut Scratch::default()).unwrap();
            let modes = modes.expect("the model predicts");
            assert!(modes.transforms.iter().any(|&t| t > 0));
            let found = &flat(&coded.y_hat)[frame * size..][..size];
            for place in luma_places(channels) {
                for cell in 0..rows * cols {
                    let at = cell * channels + place;
                    assert_eq!(found[at], latent.data[at] as f32 / 256.0, "frame {frame}, cell {cell}, channel {place}");
                }
            }
            let (estimate, real) = (coded.bits.double_value(&[frame as i64]), writer.bits());
            assert!((real / estimate - 1.0).abs() < 0.02, "{real} bits, {estimate} estimated");
        }
    }
}
