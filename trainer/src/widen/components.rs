//! Principal components of what a branch's transforms leave out.

use anyhow::Result;
use codec_core::nn::Networks;
use codec_core::nn::codec::{Branch, quality_tensor};
use codec_core::nn::entropy::{Arithmetic, Quantiser};
use codec_core::nn::ops::pack;
use codec_core::nn::transform::BLOCK_CHANNELS;
use tch::{Device, Kind, Tensor};

use crate::train::{Clip, Motion};

/// Samples of a 16x16 block: 256 of luma, then 128 of chroma.
const BLOCK: i64 = BLOCK_CHANNELS;
const LUMA: i64 = 256;
/// Keeps the guess from inputs apart from the noise of directions that hardly occur, relative to the mean variance.
const RIDGE: f64 = 1e-5;

/// Weight of each sample's error `[BLOCK]`, as square root: the distortion is a mean over 256 samples of luma plus one over 128
/// of chroma.
fn sample_weights() -> Tensor {
    let options = (Kind::Float, Device::Cpu);
    Tensor::cat(&[Tensor::ones([LUMA], options), Tensor::full([BLOCK - LUMA], std::f64::consts::SQRT_2, options)], 0)
}

/// A packed frame `[N, 96, h, w]` as weighted blocks `[n, BLOCK]`.
fn blocks(packed: &Tensor) -> Result<Tensor> {
    let rows = packed.f_pixel_unshuffle(2)?.f_permute([0, 2, 3, 1])?.f_reshape([-1, BLOCK])?;
    Ok(rows.f_mul(&sample_weights())?)
}

/// Second moments of blocks and of what is left of them.
pub struct Moments {
    input: Tensor,
    rest: Tensor,
    /// Of the rest with the input.
    cross: Tensor,
    count: i64,
}

impl Default for Moments {
    fn default() -> Self {
        let zeros = || Tensor::zeros([BLOCK, BLOCK], (Kind::Double, Device::Cpu));
        Self { input: zeros(), rest: zeros(), cross: zeros(), count: 0 }
    }
}

impl Moments {
    /// Adds all blocks of a branch's packed input `[N, 96, h, w]`, and of its packed output.
    pub fn add(&mut self, input: &Tensor, output: &Tensor) -> Result<()> {
        let (x, rest) = (blocks(input)?, blocks(&input.f_sub(output)?)?);
        self.count += x.size()[0];
        for (sum, a, b) in [(&mut self.input, &x, &x), (&mut self.rest, &rest, &rest), (&mut self.cross, &rest, &x)] {
            let _ = sum.f_add_(&a.f_tr()?.f_matmul(b)?.f_to_kind(Kind::Double)?)?;
        }
        Ok(())
    }

    /// The strongest `count` components of the rest. Analysis `[count, BLOCK, 1, 1]`: the best linear guess at them from the input,
    /// since nothing else is known before the networks' latent is coded. Synthesis `[BLOCK, count, 1, 1]`: from them to samples.
    /// Strong and weak ones fall evenly on both halves of the channels.
    pub fn components(&self, count: i64) -> Result<(Tensor, Tensor)> {
        let (_, vectors) = self.rest.f_div_scalar(self.count.max(1))?.f_linalg_eigh("L")?;
        let strongest = vectors.f_flip([1])?.f_narrow(1, 0, count)?;
        let basis = strongest.f_reshape([BLOCK, count / 2, 2])?.f_permute([0, 2, 1])?.f_reshape([BLOCK, count])?;
        let scale = self.input.f_trace()?.f_double_value(&[])? / BLOCK as f64;
        let ridge = Tensor::f_eye(BLOCK, (Kind::Double, Device::Cpu))?.f_mul_scalar(RIDGE * scale)?;
        let guess = Tensor::f_linalg_solve(&self.input.f_add(&ridge)?, &self.cross.f_tr()?, true)?.f_tr()?;
        let weights = sample_weights();
        let analysis = basis.f_tr()?.f_matmul(&guess)?.f_to_kind(Kind::Float)?.f_mul(&weights)?;
        let synthesis = basis.f_to_kind(Kind::Float)?.f_div(&weights.f_unsqueeze(1)?)?;
        Ok((analysis.f_contiguous()?.f_view([count, BLOCK, 1, 1])?, synthesis.f_contiguous()?.f_view([BLOCK, count, 1, 1])?))
    }
}

/// The latent of `input` without rounding.
fn unrounded(branch: &Branch, input: &Tensor, q: &Tensor) -> Result<Tensor> {
    let y = branch.coder.quantiser_domain(&branch.analysis.forward(input, q)?, q)?;
    Ok(branch.coder.dequantise(&y, q)?)
}

/// Adds what the I-branch leaves out of a clip's first frame to `intra`, and what the residual branch leaves out of the others to
/// `residual`; each clip at its own quality. Only the transforms' own errors count, not those of rounding.
pub fn measure(
    networks: &Networks,
    motion: &Motion,
    clip: &Clip,
    qualities: &[u8],
    intra: &mut Moments,
    residual: &mut Moments,
) -> Result<()> {
    let q = quality_tensor(qualities, Device::Cpu)?;
    let prepared = networks.prepare(Arithmetic::Integer)?;
    let first = &clip.frames[0];
    let packed = pack(first)?;
    let output = networks.intra.synthesis.forward(&unrounded(&networks.intra, &packed, &q)?, &q)?;
    intra.add(&packed, &output)?;
    let mut reference = networks.intra_frame(&prepared, first, &q, &mut Quantiser::Hard)?.frame.rounded()?;
    let mut state = None;
    for frame in &clip.frames[1..] {
        let flow = motion.estimate(frame, &reference, qualities)?;
        let coded =
            networks.inter_frame(&prepared, frame, &reference, &flow, &q, state.as_ref(), (0, 0), &mut Quantiser::Hard)?;
        let prediction = &coded.inter.as_ref().expect("a P-frame has an inter state").prediction.frame;
        let (packed, target) = (pack(prediction)?, pack(&frame.sub(prediction)?)?);
        let input = Tensor::f_cat(&[target.shallow_clone(), packed.shallow_clone()], 1)?;
        let output = networks.residual_synthesis(&unrounded(&networks.residual, &input, &q)?, &packed, &q)?;
        residual.add(&target, &output)?;
        reference = coded.frame.rounded()?;
        state = coded.inter;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_make_good_what_an_output_lacks() {
        let _generator = crate::testing::seeded(17);
        let options = (Kind::Float, Device::Cpu);
        let directions = Tensor::randn([6, BLOCK], options);
        let frame = |n: i64| {
            let rows = Tensor::randn([n * 4, 6], options).matmul(&directions);
            rows.view([n, 2, 2, BLOCK]).permute([0, 3, 1, 2]).pixel_shuffle(2)
        };
        // An output that has a part of everything.
        let output = |x: &Tensor| x * 0.7;
        let mut moments = Moments::default();
        let seen = frame(30);
        moments.add(&seen, &output(&seen)).unwrap();
        let (analysis, synthesis) = moments.components(6).unwrap();
        let other = frame(3);
        let conv = |x: &Tensor, w: &Tensor| x.conv2d(w, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1);
        let back = conv(&conv(&other.pixel_unshuffle(2), &analysis), &synthesis).pixel_shuffle(2) + output(&other);
        let error = (&back - &other).abs().max().double_value(&[]);
        assert!(error < 1e-3 * other.abs().max().double_value(&[]), "{error}");
    }
}
