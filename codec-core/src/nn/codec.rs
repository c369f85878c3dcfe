//! The networks of a model, joined as the article joins them: I-branch, flow codec, residual codec with free latent.

use tch::{Device, Kind, Tensor};

use super::config::{ModelConfig, PACKED_CHANNELS, Profile, TransformConfig};
use super::entropy::{Arithmetic, Coded, EntropyNet, Prepared, Quantiser};
use super::layers::QualityKnots;
use super::ops::{Planes, Prediction, haar, pack, predict, predict_full, unpack};
use super::paper::{PaperAnalysis, PaperFlowAnalysis, PaperFlowSynthesis, PaperSynthesis};
use super::params::{Builder, ParamStore, Precision, Scope};
use super::postfilter::Postfilter;
use super::prices::{BitPrices, NO_BIT_PRICES, RESIDUAL_BIT_PRICES};
use super::transform::{Analysis, RtAnalysis, RtSynthesis, Synthesis};
use crate::Result;
use crate::entropy::EntropyConfig;

/// Channels of the estimator's flow that pass straight through the flow codec (a 2x2 Haar split of dx and dy).
pub const FLOW_BANDS: i64 = 8;
/// Input channels of E_flow: flow at 1/4 unshuffled, current frame, reference.
pub const FLOW_INPUT: i64 = FLOW_BANDS + 2 * PACKED_CHANNELS;

/// Learned per-channel quantiser steps and the entropy model of one latent.
#[derive(Debug)]
pub struct LatentCoder {
    /// Logarithm of the gain before rounding.
    pub encoder_gain: QualityKnots,
    /// Logarithm of the gain after rounding.
    pub decoder_gain: QualityKnots,
    pub entropy: EntropyNet,
    /// What a bit is worth in squared quantiser steps, `[1, C, 1, 1]`; `None` where bits have no price.
    price_tensor: Option<Tensor>,
    /// The same for the codec; empty for `None`.
    bit_prices: Vec<f32>,
}

impl LatentCoder {
    fn new(mut p: Scope, config: &EntropyConfig, prices: Option<Tensor>, (start, slope): (f64, f64)) -> Result<Self> {
        let c = config.channels as i64;
        let values = |prices: &Tensor| -> Result<Vec<f32>> { Ok(Vec::try_from(prices.f_to_device(Device::Cpu)?.f_view([-1])?)?) };
        Ok(Self {
            bit_prices: prices.as_ref().map(values).transpose()?.unwrap_or_default(),
            price_tensor: prices,
            encoder_gain: QualityKnots::new(p.sub("encoder_gain"), "knots", c, start, slope)?,
            decoder_gain: QualityKnots::new(p.sub("decoder_gain"), "knots", c, -start, -slope)?,
            entropy: EntropyNet::new(p.sub("entropy"), config)?,
        })
    }

    /// Codes `y` (transform domain); the result is in the quantiser's domain, see [`Self::dequantise`].
    fn code(
        &self,
        prepared: &Prepared,
        y: &Tensor,
        q: &Tensor,
        prior: Option<&Tensor>,
        quantiser: &mut Quantiser,
    ) -> Result<Coded> {
        self.entropy.code(prepared, &self.quantiser_domain(y, q)?, q, prior, self.price_tensor.as_ref(), quantiser)
    }

    /// What a bit is worth in squared quantiser steps, for each channel; empty where bits have no price.
    pub fn bit_prices(&self) -> &[f32] {
        &self.bit_prices
    }

    /// Scales a latent to quantiser steps.
    pub fn quantiser_domain(&self, y: &Tensor, q: &Tensor) -> Result<Tensor> {
        Ok(y.f_mul(&self.encoder_gain.gain(q)?)?)
    }

    /// Scales a quantised latent back to the transform's domain.
    pub fn dequantise(&self, y_hat: &Tensor, q: &Tensor) -> Result<Tensor> {
        Ok(y_hat.f_mul(&self.decoder_gain.gain(q)?)?)
    }
}

/// Analysis, synthesis and coder of one branch.
#[derive(Debug)]
pub struct Branch {
    pub analysis: Analysis,
    pub synthesis: Synthesis,
    pub coder: LatentCoder,
}

/// Fake-quantised entropy weights of the three branches, made once per training step.
pub struct PreparedModel {
    intra: Prepared,
    flow: Prepared,
    residual: Prepared,
}

/// What a coded frame leaves for the next one and for the losses.
pub struct CodedFrame {
    pub frame: Planes,
    /// Bits of the whole frame, `[N]`.
    pub bits: Tensor,
    /// Dequantised latent of the I- or residual branch: what discriminators are conditioned on.
    pub latent: Tensor,
    pub inter: Option<InterState>,
}

/// The parts of a P-frame that losses and the next frame need.
pub struct InterState {
    pub prediction: Prediction,
    /// Motion and blur, as [`Networks::motion`] gives them.
    pub motion: Tensor,
    pub sigma: Tensor,
    pub flow_bits: Tensor,
    /// Quantised latents without gradient: the temporal priors of the next frame.
    pub flow_latent: Tensor,
    pub residual_latent: Tensor,
    pub shift: (i64, i64),
}

/// All networks of a model. Tensors are channels-last `[N, C, H, W]`; quality indices `q` are int64 `[N]`.
#[derive(Debug)]
pub struct Networks {
    pub config: ModelConfig,
    pub intra: Branch,
    pub flow: Branch,
    pub residual: Branch,
    pub postfilter: Option<Postfilter>,
}

impl Networks {
    fn new(mut p: Scope, config: &ModelConfig) -> Result<Self> {
        config.validate()?;
        let c = config;
        let branch = |mut p: Scope,
                      cin,
                      ysyn,
                      cout,
                      width,
                      (t, e): (&TransformConfig, _),
                      prices: BitPrices,
                      gain: (f64, f64, f64)|
         -> Result<Branch> {
            let bit_prices = prices.of_channels(t, p.device())?;
            Ok(Branch {
                analysis: analysis(p.sub("analysis"), c.profile, cin, t, gain.2)?,
                synthesis: synthesis(p.sub("synthesis"), c.profile, ysyn, cout, width, t, gain.2)?,
                coder: LatentCoder::new(p.sub("coder"), e, bit_prices, (gain.0, gain.1))?,
            })
        };
        let free = if config.free_latent { config.intra.nonlinear() } else { 0 };
        let mut residual = branch(
            p.sub("residual"),
            2 * PACKED_CHANNELS,
            c.residual.latent + free,
            PACKED_CHANNELS,
            c.residual.width,
            (&c.residual, &c.residual_entropy),
            RESIDUAL_BIT_PRICES,
            (1.6, -2.07, 1.0),
        )?;
        if config.context {
            residual.synthesis.add_context(p.sub("residual").sub("synthesis"), c.residual.width)?;
        }
        Ok(Self {
            intra: branch(
                p.sub("intra"),
                PACKED_CHANNELS,
                c.intra.latent,
                PACKED_CHANNELS,
                c.intra.width,
                (&c.intra, &c.intra_entropy),
                NO_BIT_PRICES,
                (1.6, -2.07, 1.0),
            )?,
            // The estimator's flow passes through, so the networks start as small corrections.
            flow: branch(
                p.sub("flow"),
                FLOW_INPUT,
                c.flow.latent,
                3,
                c.flow_synthesis_width,
                (&c.flow, &c.flow_entropy),
                NO_BIT_PRICES,
                (0.9, -1.2, 0.05),
            )?,
            residual,
            postfilter: config.postfilter.as_ref().map(|c| Postfilter::new(p.sub("postfilter"), c)).transpose()?,
            config: config.clone(),
        })
    }

    /// Networks on the parameters of `store`, which must hold them all.
    ///
    /// # Errors
    /// [`ModelMismatch`](crate::Error::ModelMismatch) naming the tensor that is missing or has another shape.
    pub fn load(store: &mut ParamStore, config: &ModelConfig, device: Device) -> Result<Self> {
        Self::new(Builder::load(store, device).root(), config)
    }

    /// As [`Self::load`], for training at another precision than the codec's.
    pub fn load_for_training(store: &mut ParamStore, config: &ModelConfig, device: Device, precision: Precision) -> Result<Self> {
        Self::new(Builder::load(store, device).with_precision(precision).root(), config)
    }

    /// As [`Self::load`], creating the parameters that `store` lacks.
    pub fn init(store: &mut ParamStore, config: &ModelConfig, device: Device) -> Result<Self> {
        Self::new(Builder::init(store, device).root(), config)
    }

    pub fn prepare(&self, arithmetic: Arithmetic) -> Result<PreparedModel> {
        Ok(PreparedModel {
            intra: self.intra.coder.entropy.prepare(arithmetic)?,
            flow: self.flow.coder.entropy.prepare(arithmetic)?,
            residual: self.residual.coder.entropy.prepare(arithmetic)?,
        })
    }

    /// Codes a frame by itself. The result is neither clamped nor rounded.
    pub fn intra_frame(
        &self,
        prepared: &PreparedModel,
        frame: &Planes,
        q: &Tensor,
        quantiser: &mut Quantiser,
    ) -> Result<CodedFrame> {
        let y = self.intra.analysis.forward(&pack(frame)?, q)?;
        let coded = self.intra.coder.code(&prepared.intra, &y, q, None, quantiser)?;
        let latent = self.intra.coder.dequantise(&coded.y_hat, q)?;
        let frame = unpack(&self.intra.synthesis.forward(&latent, q)?)?;
        Ok(CodedFrame { frame, bits: coded.bits, latent, inter: None })
    }

    /// Latent of E_flow in the transform's domain.
    ///
    /// `input` `[N, 200, H/8, W/8]`: flow at 1/4 unshuffled by 2 and divided by 8, packed current frame, packed reference.
    /// `bands` `[N, 8, H/16, W/16]`: Haar split of the flow at 1/8.
    pub fn flow_transform(&self, input: &Tensor, bands: &Tensor, q: &Tensor) -> Result<Tensor> {
        let mut y = self.flow.analysis.forward(input, q)?;
        if self.config.profile == Profile::Rt {
            let pad = [0, 0, 0, 0, 0, self.config.flow.latent - FLOW_BANDS];
            y = y.f_add(&bands.f_constant_pad_nd(pad)?)?;
        }
        Ok(y)
    }

    /// Decoded motion (2 channels, full-resolution pixels) and blur (1 channel) of a dequantised flow latent: at 1/8 with
    /// blur in 0..=1 in the `rt` profile, at full resolution with blur as a Gaussian's sigma in the `paper` profile.
    pub fn motion(&self, latent: &Tensor, q: &Tensor) -> Result<(Tensor, Tensor)> {
        let correction = self.flow.synthesis.forward(latent, q)?;
        if self.config.profile == Profile::Paper {
            return Ok((correction.f_narrow(1, 0, 2)?.f_mul_scalar(8.0)?, correction.f_narrow(1, 2, 1)?.f_relu()?));
        }
        let bands = haar(&latent.f_narrow(1, 0, FLOW_BANDS)?)?.f_mul_scalar(4.0)?;
        let motion = bands.f_pixel_shuffle(2)?.f_add(&correction.f_narrow(1, 0, 2)?)?;
        Ok((motion, correction.f_narrow(1, 2, 1)?.f_clamp(0.0, 1.0)?))
    }

    /// Motion-compensated prediction from what [`Self::motion`] gave.
    pub fn predict(&self, reference: &Planes, motion: &Tensor, sigma: &Tensor) -> Result<Prediction> {
        let filters = [self.config.luma_filter, self.config.chroma_filter];
        match self.config.profile {
            Profile::Rt => predict(reference, motion, sigma, filters),
            Profile::Paper => predict_full(reference, motion, sigma, filters),
        }
    }

    /// The frame shown before a P-frame, moved on as its reference was: what [`Postfilter::forward`] takes as the past. `None` if
    /// there is none, or if the filter does not look back.
    pub fn carried(&self, shown: Option<&Planes>, inter: Option<&InterState>) -> Result<Option<Planes>> {
        let looks_back = self.postfilter.as_ref().is_some_and(Postfilter::looks_back);
        let (Some(shown), Some(inter), true) = (shown, inter, looks_back) else { return Ok(None) };
        Ok(Some(self.predict(shown, &inter.motion, &inter.sigma)?.frame))
    }

    /// Packed residual that G_res makes of the dequantised latent and of the packed prediction (free latent, context).
    pub fn residual_synthesis(&self, latent: &Tensor, packed_prediction: &Tensor, q: &Tensor) -> Result<Tensor> {
        let synthesis = &self.residual.synthesis;
        if !self.config.free_latent {
            return synthesis.forward_in(latent, Some(packed_prediction), q);
        }
        let free = self.intra.analysis.nonlinear(packed_prediction, q)?;
        synthesis.forward_in(&Tensor::f_cat(&[latent.shallow_clone(), free], 1)?, Some(packed_prediction), q)
    }

    /// Codes a frame from a reference. The result is neither clamped nor rounded.
    ///
    /// `flow` `[N, 2, H/4, W/4]`: the estimator's backward flow in full-resolution pixels. `shift`: the circular shift of
    /// the residual branch. `previous`: state of the frame before, `None` after an I-frame.
    #[expect(clippy::too_many_arguments, reason = "one frame's inputs; a struct would only rename them")]
    pub fn inter_frame(
        &self,
        prepared: &PreparedModel,
        frame: &Planes,
        reference: &Planes,
        flow: &Tensor,
        q: &Tensor,
        previous: Option<&InterState>,
        shift: (i64, i64),
        quantiser: &mut Quantiser,
    ) -> Result<CodedFrame> {
        let flow4 = flow.f_pixel_unshuffle(2)?.f_div_scalar(8.0)?;
        let input = Tensor::f_cat(&[flow4, pack(frame)?, pack(reference)?], 1)?;
        let flow8 = flow.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?;
        let y = self.flow_transform(&super::ops::channels_last(&input)?, &haar(&flow8.f_pixel_unshuffle(2)?)?, q)?;
        let coded_flow = self.flow.coder.code(&prepared.flow, &y, q, previous.map(|p| &p.flow_latent), quantiser)?;
        let (motion, sigma) = self.motion(&self.flow.coder.dequantise(&coded_flow.y_hat, q)?, q)?;
        let prediction = self.predict(reference, &motion, &sigma)?;

        let (dy, dx) = shift;
        let shifted = if shift == (0, 0) { prediction.frame.shallow_clone() } else { prediction.frame.rolled(dy, dx)? };
        let target = if shift == (0, 0) { frame.shallow_clone() } else { frame.rolled(dy, dx)? };
        let packed = pack(&shifted)?;
        let input = Tensor::f_cat(&[pack(&target.sub(&shifted)?)?, packed.shallow_clone()], 1)?;
        let y = self.residual.analysis.forward(&input, q)?;
        let prior = previous.map(|p| -> Result<Tensor> {
            let (my, mx) = crate::bitstream::prior_cells(as_i32(p.shift), as_i32(shift));
            Ok(if (my, mx) == (0, 0) {
                p.residual_latent.shallow_clone()
            } else {
                p.residual_latent.f_roll([my as i64, mx as i64], [2, 3])?
            })
        });
        let coded = self.residual.coder.code(&prepared.residual, &y, q, prior.transpose()?.as_ref(), quantiser)?;
        let latent = self.residual.coder.dequantise(&coded.y_hat, q)?;
        let residual = unpack(&self.residual_synthesis(&latent, &packed, q)?)?;
        let residual = if shift == (0, 0) { residual } else { residual.rolled(-dy, -dx)? };
        Ok(CodedFrame {
            frame: prediction.frame.add(&residual)?,
            bits: coded_flow.bits.f_add(&coded.bits)?,
            latent,
            inter: Some(InterState {
                prediction,
                motion,
                sigma,
                flow_bits: coded_flow.bits,
                flow_latent: coded_flow.y_hat.detach(),
                residual_latent: coded.y_hat.detach(),
                shift,
            }),
        })
    }

    /// Starts the residual branch as the I-branch acting on the residual (the article initialises E_res and G_res so).
    pub fn init_residual_from_intra(store: &mut ParamStore) -> Result<()> {
        let source: Vec<(String, Tensor)> = store
            .iter()
            .filter_map(|(name, t)| name.strip_prefix("intra.").map(|rest| (format!("residual.{rest}"), t.shallow_clone())))
            .collect();
        tch::no_grad(|| {
            for (name, value) in source {
                let Some(target) = store.get(&name) else { continue };
                let mut target = target.shallow_clone();
                if target.size() == value.size() {
                    target.f_copy_(&value)?;
                } else if name.ends_with("input.weight") {
                    // The inputs that the I-branch does not have start without effect.
                    let shared = value.size()[1];
                    let _ = target.f_zero_()?;
                    target.f_narrow(1, 0, shared)?.f_copy_(&value)?;
                }
            }
            Ok(())
        })
    }
}

/// Analysis transform for `cin` packed channels; [`FLOW_INPUT`] of them make it E_flow.
fn analysis(p: Scope, profile: Profile, cin: i64, config: &TransformConfig, gain: f64) -> Result<Analysis> {
    Ok(match profile {
        Profile::Rt => Analysis::Rt(RtAnalysis::new(p, cin, config, gain)?),
        Profile::Paper if cin == FLOW_INPUT => Analysis::PaperFlow(PaperFlowAnalysis::new(p, config)?),
        Profile::Paper => Analysis::Paper(PaperAnalysis::new(p, cin / PACKED_CHANNELS, config)?),
    })
}

/// Synthesis transform to `cout` channels; 3 of them (motion and blur) make it G_flow.
fn synthesis(
    p: Scope,
    profile: Profile,
    cin: i64,
    cout: i64,
    width: i64,
    config: &TransformConfig,
    gain: f64,
) -> Result<Synthesis> {
    Ok(match profile {
        Profile::Rt => Synthesis::Rt(RtSynthesis::new(p, cin, cout, width, config, gain)?),
        Profile::Paper if cout == 3 => Synthesis::PaperFlow(PaperFlowSynthesis::new(p, config)?),
        Profile::Paper => Synthesis::Paper(PaperSynthesis::new(p, cin, config)?),
    })
}

fn as_i32(shift: (i64, i64)) -> (i32, i32) {
    (shift.0 as i32, shift.1 as i32)
}

/// Quality indices as the networks take them: int64 `[N]`.
pub fn quality_tensor(q: &[u8], device: Device) -> Result<Tensor> {
    let q: Vec<i64> = q.iter().map(|&q| i64::from(q)).collect();
    super::transfer::upload(&Tensor::f_from_slice(&q)?.f_to_kind(Kind::Int64)?, device)
}
