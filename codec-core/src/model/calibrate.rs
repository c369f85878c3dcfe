//! How many bits before the binary point the layers of a model need.

use tch::{Device, Kind, Tensor};

use super::quantise;
use crate::Result;
use crate::architecture::ModelConfig;
use crate::nn::codec::quality_tensor;
use crate::nn::entropy::{Arithmetic, Quantiser};
use crate::nn::fixed::{Fractions, peaks};
use crate::nn::ops::{Planes, pack};
use crate::nn::{Networks, ParamStore, whole};

/// Qualities that the networks are run at: gains differ from one to the next.
const QUALITIES: [u8; 5] = [0, 16, 32, 48, 63];

/// Runs the networks on pairs of frames, the second of each predicted from the first as it is, and chooses the fractional bits of all
/// layers. Sides of frames are multiples of 64.
///
/// # Errors
/// [`Error::ModelMismatch`](crate::Error::ModelMismatch) naming a layer whose values are too large for 16 bits.
pub fn calibrate(params: &ParamStore, config: &ModelConfig, pairs: &[[Planes; 2]], device: Device) -> Result<Fractions> {
    let mut params = params.deep_copy();
    params.fractions.clear();
    let networks = Networks::load(&mut params, config, device)?;
    let found = peaks(|| tch::no_grad(|| pairs.iter().try_for_each(|pair| run(&networks, pair, device))))?;
    quantise::fractions(config, &found)
}

fn run(networks: &Networks, [first, second]: &[Planes; 2], device: Device) -> Result<()> {
    let prepared = [&networks.intra, &networks.residual].map(|branch| branch.coder.entropy.prepare(Arithmetic::Integer));
    let [intra, residual] = prepared;
    let (intra, residual) = (intra?, residual?);
    for quality in QUALITIES {
        let q = quality_tensor(&[quality], device)?;
        let packed = [pack(first)?, pack(second)?];
        let branch = &networks.intra;
        for packed in &packed {
            let y = branch.analysis.forward(packed, &q)?;
            let latent = branch.coder.code_hard(&intra, &y, &q)?;
            let _ = branch.synthesis.forward(&latent, &q)?;
        }
        let branch = &networks.residual;
        let news = pack(&second.sub(first)?)?;
        let y = branch.analysis.forward(&Tensor::f_cat(&[&news, &packed[0]], 1)?, &q)?;
        let latent = branch.coder.code_hard(&residual, &y, &q)?;
        let free = networks.free_latent(&packed[0], &q)?;
        let _ = networks.residual_synthesis(&latent, &packed[0], free.as_ref(), &q)?;
        if let Some(postfilter) = &networks.postfilter {
            let _ = postfilter.map(&packed[1], (Some(&news), None), &q, &whole())?;
        }
    }
    Ok(())
}

/// Frames to calibrate with where there are no real ones: gradients, edges and noise.
///
/// # Errors
/// Those of libtorch.
pub fn synthetic(device: Device) -> Result<Vec<[Planes; 2]>> {
    let options = (Kind::Float, device);
    let plane = |channels: i64, side: i64, phase: f64| -> Result<Tensor> {
        let ramp = Tensor::f_arange(side, options)?.f_mul_scalar(1.0 / side as f64)?;
        let (x, y) = (ramp.f_view([1, 1, 1, side])?, ramp.f_view([1, 1, side, 1])?);
        let waves = x.f_mul_scalar(37.0)?.f_add(&y.f_mul_scalar(23.0 + phase)?)?.f_sin()?;
        let edges = x.f_mul_scalar(5.0 + phase)?.f_frac()?.f_round()?.f_sub_scalar(0.5)?;
        let noise = Tensor::f_arange(side * side, options)?.f_mul_scalar(12.9898 + phase)?.f_sin()?.f_mul_scalar(43_758.547)?;
        let noise = noise.f_frac()?.f_view([1, 1, side, side])?;
        let mixed = waves.f_mul_scalar(0.25)?.f_add(&edges.f_mul_scalar(0.4)?)?.f_add(&noise.f_mul_scalar(0.2)?)?.f_add(&y)?;
        Ok(mixed.f_sub_scalar(0.5)?.f_clamp(-0.5, 0.5)?.f_expand([1, channels, side, side], false)?.f_contiguous()?)
    };
    let frame = |phase: f64| -> Result<Planes> { Ok(Planes { y: plane(1, 128, phase)?, uv: plane(2, 64, phase * 2.0)? }) };
    Ok(vec![[frame(0.0)?, frame(0.3)?]])
}

impl crate::nn::codec::LatentCoder {
    /// The dequantised latent as the codec would decode it.
    fn code_hard(&self, prepared: &crate::nn::entropy::Prepared, y: &Tensor, q: &Tensor) -> Result<Tensor> {
        let y = self.quantiser_domain(y, q)?;
        let coded = self.entropy.code(prepared, &y, q, (None, None), (None, self.steps()?), &mut Quantiser::Hard)?;
        self.dequantise(&coded.y_hat, q)
    }
}
