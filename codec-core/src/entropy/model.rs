//! An entropy model ready to run.

use super::config::{EntropyConfig, Layers};
use super::conv::Layer;
use super::intra::Intra;
use super::params::EntropyParams;
use super::scales::Scales;
use super::tables::Tables;
use super::transforms::Transforms;
use super::{QUALITIES, SCALES};
use crate::integer::Backend;
use crate::{Error, Result};

/// Integer hyper-decoder and parameter networks of one latent, and the probabilities of its symbols.
#[derive(Clone, Debug)]
pub struct EntropyModel {
    pub(super) config: EntropyConfig,
    pub(super) layers: Layers<Layer>,
    pub(super) gain: Vec<u16>,
    pub(super) z_mean: Vec<i32>,
    pub(super) z_scale: Vec<u8>,
    /// Scale index of every output of the networks, which is i16, by its bits.
    scale_indices: Vec<u8>,
    pub(super) tables: Tables,
    /// If blocks choose.
    pub(super) transforms: Option<Transforms>,
    /// If luma is predicted.
    pub(super) intra: Option<Intra>,
    /// If scales are corrected.
    pub(super) scales: Option<Scales>,
    pub(super) backend: Backend,
}

impl EntropyModel {
    /// Checks the parameters and lays them out for the kernels.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] naming the part that has a wrong size or range.
    pub fn new(config: EntropyConfig, params: EntropyParams) -> Result<Self> {
        config.validate()?;
        let shapes = config.layer_shapes();
        let sizes = [
            ("layers", params.layers.len(), shapes.len()),
            ("gain", params.gain.len(), QUALITIES * config.width),
            ("z_mean", params.z_mean.len(), QUALITIES * config.hyper_channels),
            ("z_scale", params.z_scale.len(), QUALITIES * config.hyper_channels),
            ("thresholds", params.thresholds.len(), SCALES - 1),
        ];
        for (name, found, wanted) in sizes {
            if found != wanted {
                return Err(Error::ModelMismatch(format!("entropy model: {name} has {found} values, {wanted} are needed")));
            }
        }
        if params.z_scale.iter().any(|&k| usize::from(k) >= SCALES) {
            return Err(Error::ModelMismatch(format!("entropy model: a z_scale is not below {SCALES}")));
        }
        if params.z_mean.iter().any(|m| m.unsigned_abs() > 1 << 28) {
            return Err(Error::ModelMismatch("entropy model: a z_mean is beyond +-2^28".into()));
        }
        if params.thresholds.windows(2).any(|w| w[0] > w[1]) {
            return Err(Error::ModelMismatch("entropy model: thresholds do not ascend".into()));
        }
        let layers =
            shapes.iter().zip(&params.layers).map(|(shape, layer)| Layer::new(shape, layer)).collect::<Result<Vec<_>>>()?;
        let layers = Layers::from_list(layers).expect("as many as there are shapes");
        let index = |v: u16| params.thresholds.partition_point(|&t| t <= i32::from(v as i16)) as u8;
        let scale_indices = (0..=u16::MAX).map(index).collect();
        let intra = match (config.intra_prediction, params.steps) {
            (false, _) => None,
            (true, Some(steps)) if steps.len() == QUALITIES && steps.iter().all(|&step| step > 0) => {
                Some(Intra::new(config.channels, steps))
            }
            _ => return Err(Error::ModelMismatch(format!("entropy model: steps has to have {QUALITIES} values above 0"))),
        };
        Ok(Self {
            intra,
            scales: config.adaptive_scales.then(|| Scales::new(config.channels, &params.tables)),
            transforms: config.transforms.then(|| Transforms::new(config.channels)),
            config,
            layers,
            gain: params.gain,
            z_mean: params.z_mean,
            z_scale: params.z_scale,
            scale_indices,
            tables: params.tables,
            backend: Backend::detect(),
        })
    }

    /// How much less it is expected to cost to code the linear channels of a position of y, in quantiser steps, than to leave them out, in
    /// squared steps; 0 if nothing would be coded, and for a model without a choice of transforms.
    pub fn worth(&self, position: &[f32]) -> f32 {
        self.transforms.as_ref().map_or(0.0, |transforms| transforms.worth(position))
    }

    /// Probabilities of symbols.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// What the model is made of.
    pub fn config(&self) -> &EntropyConfig {
        &self.config
    }

    /// The same model on other instructions; the results are equal.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if this machine lacks them.
    pub fn with_backend(mut self, backend: Backend) -> Result<Self> {
        if !backend.available() {
            return Err(Error::Unsupported(format!("this machine has no {backend:?}")));
        }
        self.backend = backend;
        Ok(self)
    }

    /// Scale index of a network's output.
    pub(super) fn scale_index(&self, v: i16) -> usize {
        self.scale_indices[usize::from(v as u16)].into()
    }
}
