//! Named parameters of the networks, and the builder through which networks take theirs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::fixed::{Fractions, Samples, Site};
use super::role::{Form, Network, Part, Role};
use super::transfer::place;
use crate::{Error, Result};

/// Named tensors of a model. Names are dotted paths such as `intra.analysis.blocks.0.depthwise.weight`.
#[derive(Debug, Default)]
pub struct ParamStore {
    tensors: BTreeMap<String, Tensor>,
    /// Of those that a network has taken.
    roles: BTreeMap<String, Role>,
    /// Fractional bits of the integer engine's layers, where they have been calibrated.
    pub fractions: Fractions,
    /// Gains of all quality indices as a model file holds them, `[64, C]`, 64-bit floats: what [exact](Precision::is_exact) networks take
    /// in place of knots.
    pub tables: BTreeMap<String, Tensor>,
}

impl ParamStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the parameter `name` is for; `None` if no network has taken it from here.
    pub fn role(&self, name: &str) -> Option<Role> {
        self.roles.get(name).copied()
    }

    /// Parameters that networks have taken, with what they are for, in the order of their names.
    pub fn taken(&self) -> impl Iterator<Item = (&str, &Tensor, Role)> {
        self.iter().filter_map(|(name, tensor)| Some((name, tensor, self.role(name)?)))
    }

    /// Takes a tensor, in place of one of the same name, whose role it plays.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) {
        self.tensors.insert(name.into(), tensor);
    }

    /// The tensor of a name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Gives a tensor away.
    pub fn remove(&mut self, name: &str) -> Option<Tensor> {
        self.roles.remove(name);
        self.tensors.remove(name)
    }

    /// All parameters in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Tensors in the store.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// A second view of the same storage whose gradients are its own: what a data-parallel replica works on.
    pub fn replica(&self) -> Self {
        let tensors =
            self.tensors.iter().map(|(name, t)| (name.clone(), t.detach().set_requires_grad(t.requires_grad()))).collect();
        Self { tensors, roles: self.roles.clone(), fractions: self.fractions.clone(), tables: BTreeMap::new() }
    }

    /// What a network has taken from here, with its layers' fractional bits, on the same storage.
    pub fn part(&self, network: Network) -> Self {
        let prefix = format!("{}.", network.path());
        let own = self.taken().filter(|(_, _, role)| role.network == network);
        let (tensors, roles) = own.map(|(name, t, role)| ((name.to_owned(), t.shallow_clone()), (name.to_owned(), role))).unzip();
        let fractions = self.fractions.iter().filter(|(name, _)| name.starts_with(&prefix));
        Self { tensors, roles, fractions: fractions.map(|(name, bits)| (name.clone(), *bits)).collect(), tables: BTreeMap::new() }
    }

    /// A copy with storage of its own and no gradients.
    pub fn deep_copy(&self) -> Self {
        let tensors = tch::no_grad(|| self.tensors.iter().map(|(name, t)| (name.clone(), t.detach().copy())).collect());
        Self { tensors, roles: self.roles.clone(), fractions: self.fractions.clone(), tables: BTreeMap::new() }
    }
}

/// How a fresh parameter starts.
#[derive(Clone, Copy, Debug)]
pub enum Init {
    /// The same value everywhere.
    Const(f64),
    /// Uniform in +-1/sqrt(fan_in), PyTorch's default of convolutions, times `gain`.
    Uniform {
        /// Inputs of an output.
        fan_in: i64,
        /// Scale.
        gain: f64,
    },
}

/// What networks compute in while they learn. Parameters, gradients and optimiser state are 32-bit floats in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats throughout, as the codec does.
    #[default]
    Full,
    /// Convolutions inside the transforms in bfloat16, see [`ConvConfig::inner`](super::layers::ConvConfig::inner).
    Mixed,
    /// 32-bit floats that are rounded as the integer engine rounds, see [`fixed`](super::fixed).
    Simulated,
    /// The same in 64 bits: the integer engine's very results.
    Exact,
    /// The same results of 32-bit floats, a byte at a time: for devices that are slow at 64 bits.
    ExactBytes,
}

impl Precision {
    /// Whether the integer engine's rounding is simulated.
    pub fn is_fixed(self) -> bool {
        self == Self::Simulated || self.is_exact()
    }

    /// Whether results are the integer engine's, of networks that do not learn.
    pub fn is_exact(self) -> bool {
        matches!(self, Self::Exact | Self::ExactBytes)
    }

    /// What frames are in.
    pub fn kind(self) -> Kind {
        if self == Self::Exact { Kind::Double } else { Kind::Float }
    }
}

/// Hands out parameters by name: from a store that must hold them, or freshly initialised into one.
pub struct Builder<'a> {
    store: &'a mut ParamStore,
    create: bool,
    device: Device,
    precision: Precision,
}

impl<'a> Builder<'a> {
    /// Takes parameters from `store` and fails where one is missing or has another shape.
    pub fn load(store: &'a mut ParamStore, device: Device) -> Self {
        Self { store, create: false, device, precision: Precision::Full }
    }

    /// Takes parameters from `store` and creates the missing ones.
    pub fn init(store: &'a mut ParamStore, device: Device) -> Self {
        Self { store, create: true, device, precision: Precision::Full }
    }

    /// What the networks that are built next compute in.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Where the parameters of a network lie.
    pub fn network(&mut self, network: Network) -> Scope<'_, 'a> {
        Scope { builder: self, prefix: network.path().to_owned(), network, part: Part::Whole }
    }

    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    /// Whether any layer has been calibrated for the integer engine.
    pub(super) fn is_calibrated(&self) -> bool {
        !self.store.fractions.is_empty()
    }
}

/// A builder at a dotted path. It knows what network, and what part of it, it makes parameters for.
pub struct Scope<'b, 'a> {
    builder: &'b mut Builder<'a>,
    prefix: String,
    network: Network,
    part: Part,
}

impl<'a> Scope<'_, 'a> {
    /// The path one level down.
    pub fn sub(&mut self, name: impl std::fmt::Display) -> Scope<'_, 'a> {
        let prefix = format!("{}.{name}", self.prefix);
        Scope { builder: self.builder, prefix, network: self.network, part: self.part }
    }

    /// The same path, whose parameters belong to `part`.
    #[must_use]
    pub fn part(self, part: Part) -> Self {
        Self { part, ..self }
    }

    /// Where the parameters lie.
    pub fn device(&self) -> Device {
        self.builder.device
    }

    pub(super) fn precision(&self) -> Precision {
        self.builder.precision
    }

    /// The place of this path's layer in the integer engine, if it has one.
    pub(super) fn site(&self, samples: Samples) -> Site {
        let fractions = self.builder.store.fractions.get(&self.prefix).copied();
        Site::new(self.prefix.clone(), fractions.filter(|_| self.precision().is_fixed()), samples)
    }

    /// This path's gains as the model file holds them, where they are to be used.
    pub(super) fn table(&self) -> Result<Option<Tensor>> {
        let table = self.builder.store.tables.get(&self.prefix).filter(|_| self.precision().is_exact());
        table.map(|table| place(table, self.device())).transpose()
    }

    /// The parameter `name` of this path, with the given shape. `form`: what it does in its layer.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] if the store lacks the tensor (and must not create it) or holds one of another shape.
    pub fn param(&mut self, name: &str, form: Form, shape: &[i64], init: Init) -> Result<Tensor> {
        let full = format!("{}.{name}", self.prefix);
        let device = self.builder.device;
        if let Some(tensor) = self.builder.store.get(&full) {
            if tensor.size() != shape {
                return Err(Error::ModelMismatch(format!(
                    "tensor {full} has shape {:?}, the configuration needs {shape:?}",
                    tensor.size()
                )));
            }
            if tensor.device() != device || tensor.kind() != Kind::Float {
                // A leaf again: a tensor with a history could not be told to learn or not.
                let moved = place(&tensor.f_detach()?, device)?.f_to_kind(Kind::Float)?;
                self.builder.store.insert(&full, moved.set_requires_grad(tensor.requires_grad()));
            }
        } else if self.builder.create {
            let fresh = match init {
                Init::Const(value) => Tensor::f_full(shape, value, (Kind::Float, device))?,
                Init::Uniform { fan_in, gain } => {
                    let bound = gain / (fan_in as f64).sqrt();
                    Tensor::f_zeros(shape, (Kind::Float, device))?.f_uniform_(-bound, bound)?
                }
            };
            self.builder.store.insert(&full, fresh.set_requires_grad(true));
        } else {
            return Err(Error::ModelMismatch(format!(
                "tensor {full} of shape {shape:?} is missing: the model file does not fit its configuration"
            )));
        }
        let role = Role { network: self.network, part: self.part, form };
        let tensor = self.builder.store.get(&full).expect("inserted above").shallow_clone();
        self.builder.store.roles.insert(full, role);
        Ok(tensor)
    }

    /// As [`Self::param`], with a value computed by the caller when the parameter is fresh.
    pub fn param_with(&mut self, name: &str, form: Form, shape: &[i64], value: impl FnOnce() -> Tensor) -> Result<Tensor> {
        let full = format!("{}.{name}", self.prefix);
        if self.builder.create && self.builder.store.get(&full).is_none() {
            let tensor = place(&value(), self.builder.device)?.f_to_kind(Kind::Float)?;
            self.builder.store.insert(&full, tensor.set_requires_grad(true));
        }
        self.param(name, form, shape, Init::Const(0.0))
    }
}
