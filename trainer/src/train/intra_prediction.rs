//! From a model whose I-frames code luma as it is to one that predicts it from decoded blocks.

use anyhow::{Result, ensure};
use codec_core::training::architecture::linear::{COMPLETE, LUMA_SIDE, frequencies, luma_places};
use codec_core::training::nn::{ModelConfig, Networks, ParamStore, Profile};
use tch::{Device, Kind, Tensor};

use super::checkpoint::Checkpoint;

/// Frequencies of luma, in half waves a block, whose gains say how large a quantiser step was.
const STEADY: std::ops::RangeInclusive<usize> = 1..=6;

/// How much smaller steps are than before: predictions spread what is lost, and clips as a whole gain by it.
const FINER: f64 = 0.83;

/// What the synthesis transform has to make of each function of luma at least, beside a DCT.
const LEAST_MADE: f64 = 0.05;

/// Linear channels of luma, those among them whose gains count, and the same in a latent.
struct Luma {
    linear: Vec<i64>,
    latent: Vec<i64>,
    steady: Vec<i64>,
    steady_linear: Vec<i64>,
}

impl Luma {
    fn new(channels: usize) -> Self {
        let places = luma_places(channels);
        let all = frequencies(COMPLETE);
        let mut out = Self { linear: vec![], latent: vec![], steady: vec![], steady_linear: vec![] };
        for (i, frequency) in all.into_iter().enumerate() {
            let Some(f) = frequency.filter(|f| f.plane == 0) else { continue };
            let latent = places[LUMA_SIDE * f.row + f.col] as i64;
            out.linear.push(i as i64);
            out.latent.push(latent);
            if STEADY.contains(&f.row) && STEADY.contains(&f.col) {
                out.steady.push(latent);
                out.steady_linear.push(i as i64);
            }
        }
        out
    }
}

/// Sums of products of the rows of two matrices.
fn products(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok(a.f_mul(b)?.f_sum_dim_intlist(&[1i64][..], false, Kind::Float)?)
}

impl Checkpoint {
    /// Lets I-frames predict luma. Its linear channels become an exact DCT in steps of one size for all frequencies, which learns no
    /// more; the entropy model has to learn what is left of them.
    ///
    /// # Errors
    /// If blocks of I-frames cannot choose their transforms, or if the synthesis transform has given up some of luma's frequencies.
    #[expect(clippy::disallowed_methods, reason = "checkpoints lie on the CPU")]
    pub fn predict_intra(&mut self) -> Result<()> {
        let old = self.progress.model.clone();
        if old.intra_entropy.intra_prediction {
            return Ok(());
        }
        ensure!(
            old.profile == Profile::Rt && old.intra_entropy.transforms,
            "start.intra-prediction: the initial model has not all linear channels; use start.complete-linear, too"
        );
        let mut new: ModelConfig = old.clone();
        new.intra_entropy.intra_prediction = true;
        let mut params = self.averaged_params();
        let mut fresh = ParamStore::new();
        Networks::init(&mut fresh, &new, Device::Cpu)?;
        let matrix = |store: &ParamStore, name: &str| -> Result<Tensor> {
            let tensor = store.get(name).ok_or_else(|| anyhow::anyhow!("{name} is missing"))?;
            Ok(tensor.f_detach()?.f_reshape([tensor.size()[0], -1])?.f_to_kind(Kind::Float)?)
        };
        let luma = Luma::new(new.intra.latent as usize);
        let index = |values: &[i64]| Tensor::from_slice(values);
        tch::no_grad(|| -> Result<()> {
            let (analysis, dct) =
                (matrix(&params, "intra.analysis.linear.weight")?, matrix(&fresh, "intra.analysis.linear.weight")?);
            let synthesis = matrix(&params, "intra.synthesis.linear.weight")?.f_transpose(0, 1)?;
            let waves = matrix(&fresh, "intra.synthesis.linear.weight")?.f_transpose(0, 1)?;
            let encoder = matrix(&params, "intra.coder.encoder_gain.knots")?;
            let decoder = matrix(&params, "intra.coder.decoder_gain.knots")?;
            // What a sample's DCT was multiplied by before rounding.
            let scale = products(&analysis, &dct)?.f_index_select(0, &index(&luma.steady_linear))?.f_log()?;
            let steady = encoder.f_index_select(1, &index(&luma.steady))?.f_add(&scale)?;
            let gain = steady.f_mean_dim(&[1i64][..], true, Kind::Float)?.f_sub_scalar(FINER.ln())?;
            // And its inverse, which the synthesis transform completes.
            let made = products(&synthesis, &waves)?.f_index_select(0, &index(&luma.linear))?;
            ensure!(
                made.f_min()?.f_double_value(&[])? > LEAST_MADE,
                "start.intra-prediction: the synthesis transform hardly makes some of luma's frequencies any more; start from a model that does"
            );
            let made = made.f_log()?;
            let back = gain.f_add(&made.f_unsqueeze(0)?)?.f_neg()?;
            let wide = gain.f_expand([gain.size()[0], luma.latent.len() as i64], false)?;
            let encoder = encoder.f_index_copy(1, &index(&luma.latent), &wide.f_contiguous()?)?;
            let decoder = decoder.f_index_copy(1, &index(&luma.latent), &back)?;
            let rows = dct.f_index_select(0, &index(&luma.linear))?;
            let analysis = analysis.f_index_copy(0, &index(&luma.linear), &rows)?;
            let bias = params.get("intra.analysis.linear.bias").ok_or_else(|| anyhow::anyhow!("a bias is missing"))?;
            let bias = bias.f_detach()?.f_index_fill(0, &index(&luma.linear), 0.0)?;
            for (name, value) in [
                ("intra.analysis.linear.weight", analysis),
                ("intra.analysis.linear.bias", bias),
                ("intra.coder.encoder_gain.knots", encoder),
                ("intra.coder.decoder_gain.knots", decoder),
            ] {
                let shape = params.get(name).map(Tensor::size).expect("taken above");
                params.insert(name, value.f_view(&shape[..])?);
            }
            Ok(())
        })?;
        let values = params.iter().map(|(name, value)| (name.to_owned(), value.detach())).collect();
        self.become_model(new, values);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use codec_core::training::nn::codec::quality_tensor;

    use super::*;
    use crate::train::starting_point;

    #[test]
    fn steps_become_even_and_the_synthesis_fits_them() {
        let _generator = crate::testing::seeded(9);
        let mut params = ParamStore::new();
        let old = ModelConfig::rt_with(8, COMPLETE as i64);
        Networks::init(&mut params, &old, Device::Cpu).unwrap();
        // What has been learned: other scales, other steps, a bias.
        let learned = |name: &str| params.get(name).unwrap().detach();
        let _ = learned("intra.analysis.linear.weight").f_mul_scalar_(1.2).unwrap();
        let _ = learned("intra.synthesis.linear.weight").f_mul_scalar_(0.7).unwrap();
        let _ = learned("intra.analysis.linear.bias").f_fill_(0.3).unwrap();
        let knots = learned("intra.coder.encoder_gain.knots");
        let _ = knots.shallow_clone().f_add_(&Tensor::rand(knots.size(), (Kind::Float, Device::Cpu))).unwrap();
        let mut before = starting_point(old.clone(), &params);
        let mut checkpoint = starting_point(old.clone(), &params);
        checkpoint.predict_intra().unwrap();
        let error = before.average_with(&checkpoint).unwrap_err().to_string();
        assert!(error.contains("intra prediction"), "{error}");
        let new = checkpoint.progress.model.clone();
        assert!(new.intra_entropy.intra_prediction && !new.residual_entropy.intra_prediction);
        let mut converted = checkpoint.raw_params();
        let networks = Networks::load(&mut converted, &new, Device::Cpu).unwrap();

        let luma = Luma::new(new.intra.latent as usize);
        let index = Tensor::from_slice(&luma.latent);
        let coder = &networks.intra.coder;
        let q = quality_tensor(&[17], Device::Cpu).unwrap();
        let gain = coder.encoder_gain.gain(&q).unwrap().index_select(1, &index);
        assert!((gain.max() - gain.min()).double_value(&[]) < 1e-5, "one step for all frequencies");
        let steps = coder.steps().unwrap().unwrap();
        let wanted = 4096.0 / gain.max().double_value(&[]);
        assert!((f64::from(steps[17]) - wanted).abs() <= 0.5 + 1e-3 * wanted, "{} is not {wanted}", steps[17]);
        assert!(steps.windows(2).all(|pair| pair[0] <= pair[1]));

        // Luma goes through analysis, gains and linear synthesis unchanged.
        let packed = (Tensor::rand([1, 96, 4, 4], (Kind::Float, Device::Cpu)) - 0.5)
            * Tensor::cat(&[Tensor::ones([64], (Kind::Float, Device::Cpu)), Tensor::zeros([32], (Kind::Float, Device::Cpu))], 0)
                .view([1, 96, 1, 1]);
        let y = networks.intra.analysis.forward(&packed, &q).unwrap();
        let steps = coder.quantiser_domain(&y, &q).unwrap();
        let back = coder.dequantise(&steps, &q).unwrap().index_select(1, &index);
        let weight = converted.get("intra.synthesis.linear.weight").unwrap().index_select(1, &Tensor::from_slice(&luma.linear));
        let found = back.conv2d(&weight, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1).pixel_shuffle(2);
        let error = (found.narrow(1, 0, 64) - packed.narrow(1, 0, 64)).abs().max().double_value(&[]);
        assert!(error < 1e-4, "{error}");

        let same = checkpoint.progress.model.clone();
        checkpoint.predict_intra().unwrap();
        assert_eq!(checkpoint.progress.model, same);
        // What ran beside it can take the branch over.
        before.take_intra(&checkpoint).unwrap();
        assert_eq!(before.progress.model, same);
    }

    #[test]
    fn a_synthesis_that_has_given_up_frequencies_is_refused() {
        let _generator = crate::testing::seeded(11);
        let mut params = ParamStore::new();
        let old = ModelConfig::rt_with(8, COMPLETE as i64);
        Networks::init(&mut params, &old, Device::Cpu).unwrap();
        let _ = params.get("intra.synthesis.linear.weight").unwrap().detach().f_mul_scalar_(0.01).unwrap();
        let error = starting_point(old, &params).predict_intra().unwrap_err().to_string();
        assert!(error.contains("hardly makes"), "{error}");
    }

    #[test]
    fn models_with_some_linear_channels_are_refused() {
        let _generator = crate::testing::seeded(10);
        let mut params = ParamStore::new();
        let old = ModelConfig::rt_with(8, 128);
        Networks::init(&mut params, &old, Device::Cpu).unwrap();
        let error = starting_point(old, &params).predict_intra().unwrap_err().to_string();
        assert!(error.contains("start.complete-linear"), "{error}");
    }
}
