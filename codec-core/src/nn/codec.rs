//! The networks of a model, joined as the article joins them: I-branch, motion, residual codec with free latent.

use tch::{Device, Kind, Tensor};

use super::blocks::BlockMotion;
use super::entropy::{Arithmetic, Coded, EntropyNet, Prepared, Quantiser};
use super::layers::QualityKnots;
use super::ops::{Planes, Prediction, pack, predict_full, unpack};
use super::paper::{PaperAnalysis, PaperFlowAnalysis, PaperFlowSynthesis, PaperSynthesis};
use super::params::{Builder, ParamStore, Precision, Scope};
use super::postfilter::Postfilter;
use super::transform::{Analysis, RtAnalysis, RtSynthesis, Synthesis};
use crate::Result;
use crate::entropy::EntropyConfig;
use crate::model::config::{ModelConfig, PACKED_CHANNELS, Profile, TransformConfig};
use crate::model::prices::{BitPrices, NO_BIT_PRICES, RESIDUAL_BIT_PRICES};

/// Input channels of E_flow: flow at 1/4 unshuffled, current frame, reference.
pub const FLOW_INPUT: i64 = 8 + 2 * PACKED_CHANNELS;

/// Learned per-channel quantiser steps and the entropy model of one latent.
#[derive(Debug)]
pub struct LatentCoder {
    /// Logarithm of the gain before rounding.
    pub encoder_gain: QualityKnots,
    /// Logarithm of the gain after rounding.
    pub decoder_gain: QualityKnots,
    pub entropy: EntropyNet,
    /// What a bit is worth in squared quantiser steps, `[1, C, 1, 1]`; `None` where bits have no price.
    prices: Option<Tensor>,
    /// The same for the codec; empty for `None`.
    bit_prices: Vec<f32>,
}

impl LatentCoder {
    fn new(mut p: Scope, config: &EntropyConfig, prices: &[f32], (start, slope): (f64, f64)) -> Result<Self> {
        let c = config.channels as i64;
        let of_channels = |prices: &[f32]| -> Result<Tensor> {
            Ok(Tensor::f_from_slice(prices)?.f_view([1, c, 1, 1])?.f_to_device(p.device())?)
        };
        Ok(Self {
            prices: if prices.is_empty() { None } else { Some(of_channels(prices)?) },
            bit_prices: prices.to_vec(),
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
        self.entropy.code(prepared, &self.quantiser_domain(y, q)?, q, prior, self.prices.as_ref(), quantiser)
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
        self.decoder_gain.dequantise(y_hat, q)
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
    flow: Option<Prepared>,
    residual: Prepared,
}

/// What moves a frame's reference to where it is predicted from.
pub enum Motion {
    /// Vectors of blocks (`rt` profile).
    Blocks(BlockMotion),
    /// The estimator's backward flow in full-resolution pixels, `[N, 2, H/4, W/4]`, which the flow codec codes (`paper` profile).
    Flow(Tensor),
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
    pub prediction: Planes,
    pub motion: MotionState,
    pub motion_bits: Tensor,
    /// Quantised latent without gradient: the temporal prior of the next frame.
    pub residual_latent: Tensor,
    pub shift: (i64, i64),
}

/// The motion of a coded frame.
pub enum MotionState {
    Blocks(BlockMotion),
    Flow(FlowState),
}

/// A flow and what is decoded of it.
pub struct FlowState {
    /// The estimator's, `[N, 2, H/4, W/4]`.
    pub estimated: Tensor,
    /// Motion in pixels `[N, 2, H, W]` and blur `[N, 1, H, W]`, as [`Networks::flow_field`] gives them.
    pub motion: Tensor,
    pub sigma: Tensor,
    /// Quantised latent without gradient: the temporal prior of the next frame.
    pub latent: Tensor,
}

/// All networks of a model. Tensors are channels-last `[N, C, H, W]`; quality indices `q` are int64 `[N]`.
#[derive(Debug)]
pub struct Networks {
    pub config: ModelConfig,
    pub intra: Branch,
    /// The `paper` profile's flow codec.
    pub flow: Option<Branch>,
    pub residual: Branch,
    pub postfilter: Option<Postfilter>,
}

impl Networks {
    fn new(mut p: Scope, config: &ModelConfig) -> Result<Self> {
        config.validate()?;
        if p.precision().is_fixed() && config.profile == Profile::Rt && !p.is_calibrated() {
            return Err(crate::Error::ModelMismatch(
                "the model has not been calibrated for integers: export it first, and start from the exported model".into(),
            ));
        }
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
            let bit_prices = prices.of_channels(t);
            Ok(Branch {
                analysis: analysis(p.sub("analysis"), c.profile, cin, t, gain.2)?,
                synthesis: synthesis(p.sub("synthesis"), c.profile, ysyn, cout, width, t, gain.2)?,
                coder: LatentCoder::new(p.sub("coder"), e, &bit_prices, (gain.0, gain.1))?,
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
            flow: match &c.flow {
                Some(flow) => Some(branch(
                    p.sub("flow"),
                    FLOW_INPUT,
                    flow.transform.latent,
                    3,
                    flow.transform.width,
                    (&flow.transform, &flow.entropy),
                    NO_BIT_PRICES,
                    (0.9, -1.2, 0.05),
                )?),
                None => None,
            },
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
            flow: self.flow.as_ref().map(|flow| flow.coder.entropy.prepare(arithmetic)).transpose()?,
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

    /// The flow codec.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`](crate::Error::ModelMismatch) if the model has none.
    pub fn flow_codec(&self) -> Result<&Branch> {
        let missing = || crate::Error::ModelMismatch("the model has no flow codec: its motion is in blocks".into());
        self.flow.as_ref().ok_or_else(missing)
    }

    /// Decoded motion (2 channels, full-resolution pixels) and blur (1 channel, a Gaussian's sigma in pixels) of a dequantised flow
    /// latent, at full resolution.
    pub fn flow_field(&self, latent: &Tensor, q: &Tensor) -> Result<(Tensor, Tensor)> {
        let decoded = self.flow_codec()?.synthesis.forward(latent, q)?;
        Ok((decoded.f_narrow(1, 0, 2)?.f_mul_scalar(8.0)?, decoded.f_narrow(1, 2, 1)?.f_relu()?))
    }

    /// Prediction from what [`Self::flow_field`] gave.
    pub fn warped(&self, reference: &Planes, motion: &Tensor, sigma: &Tensor) -> Result<Prediction> {
        predict_full(reference, motion, sigma)
    }

    /// The frame shown before a P-frame, moved on as its reference was: what [`Postfilter::forward`] takes as the past. `None` if
    /// there is none, or if the filter does not look back.
    pub fn carried(&self, shown: Option<&Planes>, inter: Option<&InterState>) -> Result<Option<Planes>> {
        let looks_back = self.postfilter.as_ref().is_some_and(Postfilter::looks_back);
        match (shown, inter.map(|inter| &inter.motion)) {
            (Some(shown), Some(MotionState::Blocks(blocks))) if looks_back => Ok(Some(blocks.mixed(shown)?)),
            _ => Ok(None),
        }
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
    /// `shift`: the circular shift of the residual branch. `previous`: state of the frame before, `None` after an I-frame.
    #[expect(clippy::too_many_arguments, reason = "one frame's inputs; a struct would only rename them")]
    pub fn inter_frame(
        &self,
        prepared: &PreparedModel,
        frame: &Planes,
        reference: &Planes,
        motion: Motion,
        q: &Tensor,
        previous: Option<&InterState>,
        shift: (i64, i64),
        quantiser: &mut Quantiser,
    ) -> Result<CodedFrame> {
        let (prediction, motion, motion_bits) = match motion {
            Motion::Blocks(blocks) => {
                let (prediction, bits) = (blocks.predict(reference)?, blocks.bits.shallow_clone());
                (prediction, MotionState::Blocks(blocks), bits)
            }
            Motion::Flow(flow) => self.coded_flow(prepared, [frame, reference], flow, q, previous, quantiser)?,
        };

        let (dy, dx) = shift;
        let shifted = if shift == (0, 0) { prediction.shallow_clone() } else { prediction.rolled(dy, dx)? };
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
            frame: prediction.add(&residual)?,
            bits: motion_bits.f_add(&coded.bits)?,
            latent,
            inter: Some(InterState { prediction, motion, motion_bits, residual_latent: coded.y_hat.detach(), shift }),
        })
    }

    /// Codes the estimator's flow from `frames` (current, reference) and predicts with what is decoded: the prediction, its flow,
    /// and its bits `[N]`.
    fn coded_flow(
        &self,
        prepared: &PreparedModel,
        [frame, reference]: [&Planes; 2],
        flow: Tensor,
        q: &Tensor,
        previous: Option<&InterState>,
        quantiser: &mut Quantiser,
    ) -> Result<(Planes, MotionState, Tensor)> {
        let codec = self.flow_codec()?;
        let prepared = prepared.flow.as_ref().expect("made with the flow codec");
        let flow4 = flow.f_pixel_unshuffle(2)?.f_div_scalar(8.0)?;
        let input = Tensor::f_cat(&[flow4, pack(frame)?, pack(reference)?], 1)?;
        let y = codec.analysis.forward(&super::ops::channels_last(&input)?, q)?;
        let prior = match previous.map(|p| &p.motion) {
            Some(MotionState::Flow(last)) => Some(&last.latent),
            _ => None,
        };
        let coded = codec.coder.code(prepared, &y, q, prior, quantiser)?;
        let (motion, sigma) = self.flow_field(&codec.coder.dequantise(&coded.y_hat, q)?, q)?;
        let prediction = self.warped(reference, &motion, &sigma)?;
        let state = FlowState { estimated: flow, motion, sigma, latent: coded.y_hat.detach() };
        Ok((prediction.frame, MotionState::Flow(state), coded.bits))
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
        Profile::Rt => Analysis::Rt(Box::new(RtAnalysis::new(p, cin, config, gain)?)),
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
        Profile::Rt => Synthesis::Rt(Box::new(RtSynthesis::new(p, cin, cout, width, config, gain)?)),
        Profile::Paper if cout == 3 => Synthesis::PaperFlow(PaperFlowSynthesis::new(p, config)?),
        Profile::Paper => Synthesis::Paper(Box::new(PaperSynthesis::new(p, cin, config)?)),
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
