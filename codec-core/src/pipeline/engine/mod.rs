//! What runs the networks of a stream: integers on the processor or, where a build has it, libtorch.
//!
//! In: frames, and latents as integers. Out: latents in quantiser steps, and pictures. Which engine runs is decided here alone.

mod integer;
#[cfg(feature = "torch")]
mod torch;

#[cfg(test)]
pub use integer::IntegerEngine;

use std::sync::Arc;

use crate::bitstream::Profile;
use crate::detail::DetailMap;
use crate::device::DeviceSpec;
use crate::entropy::LatentGrid;
use crate::flow::FlowField;
use crate::frame::Frame;
use crate::integer::Area;
use crate::model::{DetailFile, Model};
use crate::quality::QualityGrid;
use crate::{Error, Result};

/// Which latent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Intra,
    /// Of the flow codec (`paper` profile).
    Flow,
    Residual,
}

/// A latent in quantiser steps and its hyper-latent, as the entropy coder takes them.
#[derive(Clone, Debug, Default)]
pub struct Scaled {
    /// NHWC `[H/16][W/16][channels]`.
    pub y: Vec<f32>,
    /// NHWC `[H/64][W/64][hyper_channels]`.
    pub z: Vec<f32>,
}

/// What replaces parts of a latent, NHWC in quantiser steps, by what predictions of them miss.
pub type Predict<'a> = &'a mut dyn FnMut(&mut [f32]) -> Result<()>;

/// The networks. All frames have the coded size. `quality` are indices 0..=63, on the grid of the latent: a shifted one in P-frames.
pub trait Engine: Send {
    /// E_I. What it makes is kept for [`Self::scale`].
    fn analyse_intra(&mut self, frame: &Frame, quality: QualityGrid) -> Result<()>;

    /// E_res, on circularly shifted frames. As [`Self::analyse_intra`].
    fn analyse_residual(&mut self, frame: &Frame, prediction: &Frame, shift: (i32, i32), quality: QualityGrid) -> Result<()>;

    /// E_flow (`paper` profile). As [`Self::analyse_intra`].
    fn analyse_flow(&mut self, flow: &FlowField, frame: &Frame, reference: &Frame, quality: u8) -> Result<()>;

    /// The latent analysed last, in quantiser steps of a quality that may be another than the analysis had, and its hyper-latent.
    /// `predict`, if there is one, changes the latent before the hyper-latent is made.
    fn scale(&mut self, part: Part, quality: QualityGrid, predict: Option<Predict>, out: &mut Scaled) -> Result<()>;

    /// What a bit is worth in squared quantiser steps, for each channel; empty where bits have no price.
    fn bit_prices(&self, part: Part) -> &[f32];

    /// G_I.
    fn synthesise_intra(&mut self, latent: &LatentGrid, quality: QualityGrid, out: &mut Frame) -> Result<()>;

    /// What [`Self::synthesise_residual`] can do before the latent is known, for the prediction that it will have next.
    fn prepare_residual(&mut self, _prediction: &Frame, _shift: (i32, i32), _quality: QualityGrid) -> Result<()> {
        Ok(())
    }

    /// G_res, added to the prediction.
    fn synthesise_residual(
        &mut self,
        latent: &LatentGrid,
        prediction: &Frame,
        shift: (i32, i32),
        quality: QualityGrid,
        out: &mut Frame,
    ) -> Result<()>;

    /// G_flow and the prediction that it makes of a reference (`paper` profile).
    fn predict_flow(&mut self, latent: &LatentGrid, quality: u8, reference: &Frame, out: &mut Frame) -> Result<()>;

    /// Whether the networks run on a GPU.
    fn is_gpu(&self) -> bool {
        false
    }

    /// Filters frames with the filter of a detail file for models of this profile; `None`: with the model's own.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] naming a tensor that does not fit, [`Error::OutOfMemory`] and [`Error::Device`].
    fn set_rich(&mut self, rich: Option<&Arc<DetailFile>>) -> Result<()>;

    /// Whether there is a postfilter.
    fn has_postfilter(&self) -> bool;

    /// Sets the strength of the postfilter, 0 (none) to 255.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] if there is no postfilter and `detail` is not 0.
    fn set_detail(&mut self, detail: u8) -> Result<()>;

    /// Whether a filter between decoded frames and the screen is at work, and whether it looks back.
    fn postfilter(&self) -> Option<LooksBack>;

    /// The map that [`sharpen`](crate::kernels::sharpen::sharpen) takes, at the cells of the area; elsewhere `map` stays as it is, unless it
    /// is of another size.
    fn postfilter_map(&mut self, filtered: Filtered, map: &mut Vec<f32>) -> Result<()>;
}

/// What a postfilter works on.
#[derive(Clone, Copy)]
pub struct Filtered<'a> {
    pub decoded: &'a Frame,
    /// What was shown before, moved on.
    pub past: Option<&'a Frame>,
    /// Not shifted.
    pub quality: QualityGrid<'a>,
    /// What the strength is multiplied by from place to place.
    pub detail: Option<&'a DetailMap>,
    /// The cells at 1/8 at which it works.
    pub area: &'a Area,
}

/// Whether a postfilter sees the frame shown before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LooksBack(pub bool);

/// The engine for a model on a device.
///
/// # Errors
/// [`Error::Device`] naming the device and the cure, [`Error::Unsupported`] where the build lacks libtorch and the model needs it.
pub fn open(model: &Arc<Model>, device: &DeviceSpec, threads: usize) -> Result<Box<dyn Engine>> {
    match (model.config.profile, device) {
        (Profile::Rt, DeviceSpec::Auto | DeviceSpec::Cpu) => Ok(Box::new(integer::IntegerEngine::new(model, threads)?)),
        #[cfg(feature = "torch")]
        _ => Ok(Box::new(torch::TorchEngine::new(model, device, threads)?)),
        #[cfg(not(feature = "torch"))]
        (_, DeviceSpec::Cuda(_) | DeviceSpec::CpuTorch) => Err(Error::Device(format!(
            "{device}: this build supports the CPU only; use device=cpu, or build the plugin with the cargo feature \"torch\" (NGC_CUDA=1 \
             examples/quickstart.sh does so)"
        ))),
        #[cfg(not(feature = "torch"))]
        (Profile::Paper, _) => Err(Error::Unsupported(
            "models of the paper profile need libtorch, which this build lacks: build with the cargo feature \"torch\"".into(),
        )),
    }
}

/// Refuses detail that there is no filter for.
fn check_detail(engine: &impl Engine, model: &Model, detail: u8) -> Result<()> {
    if detail != 0 && !engine.has_postfilter() {
        return Err(Error::ModelMismatch(format!(
            "model {} has no postfilter: use detail 0 or a model trained with the stage \"postfilter\"",
            model.id
        )));
    }
    Ok(())
}
