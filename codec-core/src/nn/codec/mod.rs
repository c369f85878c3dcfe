//! The networks of a model, joined as the article joins them: I-branch, motion, residual codec with free latent.
//!
//! In: frames as planes, their motion, quality indices. Out: what a decoder would show, and the bits that it takes.

mod branch;
mod inter;

use tch::{Device, Kind, Tensor};

use super::entropy::{Arithmetic, Prepared, Quantiser};
use super::ops::{Planes, Prediction, pack, predict_full, unpack};
use super::params::{Builder, ParamStore, Precision};
use super::postfilter::Postfilter;
use super::role::{Form, Network, Part};
use crate::Result;
use crate::architecture::{ModelConfig, NO_BIT_PRICES, Profile, RESIDUAL_BIT_PRICES, TransformConfig};
use crate::entropy::EntropyConfig;
use branch::Content;

pub use branch::{Branch, FLOW_INPUT, LatentCoder};
pub use inter::{FlowState, InterInput, InterState, Motion, MotionState};

/// Fake-quantised entropy weights of the three branches, made once per training step.
pub struct PreparedModel {
    intra: Prepared,
    flow: Option<Prepared>,
    residual: Prepared,
}

/// What a coded frame leaves for the next one and for the losses.
pub struct CodedFrame {
    /// What a decoder would show, neither clamped nor rounded.
    pub frame: Planes,
    /// Bits of the whole frame, `[N]`.
    pub bits: Tensor,
    /// Dequantised latent of the I- or residual branch: what discriminators are conditioned on.
    pub latent: Tensor,
    /// Of P-frames.
    pub inter: Option<InterState>,
}

/// All networks of a model. Tensors are channels-last `[N, C, H, W]`; quality indices `q` are int64 `[N]`. Transforms and quantisers of `rt`
/// also take those of latent cells, `[N, H/16, W/16]`; the entropy models here do not.
#[derive(Debug)]
pub struct Networks {
    /// What they were built by.
    pub config: ModelConfig,
    /// Of I-frames.
    pub intra: Branch,
    /// The `paper` profile's flow codec.
    pub flow: Option<Branch>,
    /// Of P-frames' residuals.
    pub residual: Branch,
    /// For the screen, if the model has one.
    pub postfilter: Option<Postfilter>,
}

impl Networks {
    fn new(mut builder: Builder, config: &ModelConfig) -> Result<Self> {
        config.validate()?;
        if builder.precision().is_fixed() && config.profile == Profile::Rt && !builder.is_calibrated() {
            return Err(crate::Error::ModelMismatch(
                "the model has not been calibrated for integers: export it first, and start from the exported model".into(),
            ));
        }
        let c = config;
        let free = if c.free_latent { c.intra.nonlinear() } else { 0 };
        let of_residual = (&c.residual, &c.residual_entropy);
        let scope = builder.network(Network::Residual);
        let mut residual = Branch::new(scope, Content::Residual { free }, c.profile, of_residual, RESIDUAL_BIT_PRICES)?;
        if c.context {
            let mut scope = builder.network(Network::Residual);
            residual.synthesis.add_context(scope.sub("synthesis").part(Part::Synthesis), c.residual.width)?;
        }
        let mut other = |network: Network, content: Content, transform: &TransformConfig, entropy: &EntropyConfig| {
            Branch::new(builder.network(network), content, c.profile, (transform, entropy), NO_BIT_PRICES)
        };
        Ok(Self {
            intra: other(Network::Intra, Content::Intra, &c.intra, &c.intra_entropy)?,
            flow: c.flow.as_ref().map(|flow| other(Network::Flow, Content::Flow, &flow.transform, &flow.entropy)).transpose()?,
            residual,
            postfilter: config
                .postfilter
                .as_ref()
                .map(|c| Postfilter::new(builder.network(Network::Postfilter), c))
                .transpose()?,
            config: config.clone(),
        })
    }

    /// Networks on the parameters of `store`, which must hold them all.
    ///
    /// # Errors
    /// [`ModelMismatch`](crate::Error::ModelMismatch) naming the tensor that is missing or has another shape.
    pub fn load(store: &mut ParamStore, config: &ModelConfig, device: Device) -> Result<Self> {
        Self::new(Builder::load(store, device), config)
    }

    /// As [`Self::load`], for training at another precision than the codec's.
    pub fn load_for_training(store: &mut ParamStore, config: &ModelConfig, device: Device, precision: Precision) -> Result<Self> {
        Self::new(Builder::load(store, device).with_precision(precision), config)
    }

    /// As [`Self::load`], creating the parameters that `store` lacks.
    pub fn init(store: &mut ParamStore, config: &ModelConfig, device: Device) -> Result<Self> {
        Self::new(Builder::init(store, device), config)
    }

    /// Rounds the entropy models' weights for all frames of a step.
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
        let coded = self.intra.coder.code(&prepared.intra, &y, q, (None, None), quantiser)?;
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
            (Some(shown), Some(MotionState::Blocks(blocks))) if looks_back => Ok(Some(blocks.moved(shown)?)),
            _ => Ok(None),
        }
    }

    /// The free latent of the packed prediction, in models that have one: what G_res sees beside its own.
    pub fn free_latent(&self, packed_prediction: &Tensor, q: &Tensor) -> Result<Option<Tensor>> {
        let free = self.config.free_latent;
        free.then(|| self.intra.analysis.nonlinear(packed_prediction, q)).transpose()
    }

    /// Packed residual that G_res makes of the dequantised latent, of the packed prediction (context), and of its free latent.
    pub fn residual_synthesis(
        &self,
        latent: &Tensor,
        packed_prediction: &Tensor,
        free: Option<&Tensor>,
        q: &Tensor,
    ) -> Result<Tensor> {
        let synthesis = &self.residual.synthesis;
        match free {
            Some(free) => synthesis.forward_in(&Tensor::f_cat(&[latent, free], 1)?, Some(packed_prediction), q),
            None => synthesis.forward_in(latent, Some(packed_prediction), q),
        }
    }

    /// Starts the residual branch as the I-branch acting on the residual (the article initialises E_res and G_res so). Networks must
    /// have taken the parameters of `store`.
    pub fn init_residual_from_intra(store: &mut ParamStore) -> Result<()> {
        let (from, to) = (Network::Intra.path(), Network::Residual.path());
        tch::no_grad(|| {
            for (name, value, role) in store.taken().filter(|(_, _, role)| role.network == Network::Intra) {
                let Some(target) = store.get(&name.replacen(from, to, 1)) else { continue };
                let mut target = target.shallow_clone();
                if target.size() == value.size() {
                    target.f_copy_(value)?;
                } else if role.part.is_transform() && matches!(role.form, Form::Matrix | Form::Kernel) {
                    // The inputs that the I-branch does not have start without effect.
                    let shared = value.size()[1];
                    let _ = target.f_zero_()?;
                    target.f_narrow(1, 0, shared)?.f_copy_(value)?;
                }
            }
            Ok(())
        })
    }
}

/// Quality indices as the networks take them: int64 `[N]`.
pub fn quality_tensor(q: &[u8], device: Device) -> Result<Tensor> {
    let q: Vec<i64> = q.iter().map(|&q| i64::from(q)).collect();
    super::transfer::upload(&Tensor::f_from_slice(&q)?.f_to_kind(Kind::Int64)?, device)
}
