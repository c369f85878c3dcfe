//! Stored parameters of an entropy model: plain integers, as a model file holds them.

use super::config::EntropyConfig;
use super::tables::Tables;
use crate::{Error, Result};

/// Element type of a [`RawTensor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawDtype {
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 16 bits.
    I16,
    /// Unsigned, 16 bits.
    U16,
    /// Signed, 32 bits.
    I32,
    /// Unsigned, 32 bits.
    U32,
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
}

impl RawDtype {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 | Self::F16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
        }
    }
}

/// A tensor as bytes, little endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawTensor {
    /// Type of its elements.
    pub dtype: RawDtype,
    /// Sizes, the outermost first.
    pub shape: Vec<usize>,
    /// Elements in little-endian order.
    pub data: Vec<u8>,
}

/// Weights of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntLayer {
    /// `[outputs][inputs]`, or `[channels][3][3]` of a depthwise layer.
    pub weight: Vec<i8>,
    /// In units of 2^-(8 + shift).
    pub bias: Vec<i32>,
    /// Right shift of each output, 0..=14: a weight is `weight * 2^-shift`.
    pub shift: Vec<u8>,
}

/// All parameters of an entropy model.
#[derive(Clone, Debug, PartialEq)]
pub struct EntropyParams {
    /// In the order of [`EntropyConfig::layer_shapes`].
    pub layers: Vec<IntLayer>,
    /// Gain of the hyper features, `[64][width]`, 12 fractional bits.
    pub gain: Vec<u16>,
    /// Mean of z, `[64][hyper_channels]`, 8 fractional bits.
    pub z_mean: Vec<i32>,
    /// Scale index of z, `[64][hyper_channels]`.
    pub z_scale: Vec<u8>,
    /// Ascending bounds between the 64 scale indices on the network's output, 8 fractional bits.
    pub thresholds: Vec<i32>,
    /// Probabilities of symbols at each scale index.
    pub tables: Tables,
    /// Size of a quantiser step of luma's linear channels at each quality, in 1/16 of a sample, `[64]`. Only with intra prediction.
    pub steps: Option<Vec<u16>>,
}

impl Tables {
    /// The tensors that [`EntropyParams::from_tensors`] reads them from, without prefix.
    pub fn to_tensors(&self) -> [(&'static str, RawTensor); 2] {
        let (starts, sizes) = self.to_flat();
        let tensor = |values: &[u16]| raw(RawDtype::U16, vec![values.len()], values, u16::to_le_bytes);
        [("tables.starts", tensor(&starts)), ("tables.sizes", tensor(&sizes))]
    }
}

/// Finds a tensor by its name.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<RawTensor>;

/// The bytes of a tensor of `len` elements.
///
/// # Errors
/// [`Error::ModelMismatch`] naming it if it is missing or has another type or size.
pub fn find(lookup: Lookup, name: &str, dtype: RawDtype, len: usize) -> Result<Vec<u8>> {
    let tensor = lookup(name).ok_or_else(|| Error::ModelMismatch(format!("tensor {name} is missing")))?;
    if tensor.dtype != dtype || tensor.data.len() != len * dtype.bytes() {
        return Err(Error::ModelMismatch(format!(
            "tensor {name} is {:?} {:?}, {len} values of {dtype:?} are needed",
            tensor.dtype, tensor.shape
        )));
    }
    Ok(tensor.data)
}

fn to_i8(data: Vec<u8>) -> Vec<i8> {
    data.into_iter().map(|b| b as i8).collect()
}

fn to_i32(data: &[u8]) -> Vec<i32> {
    data.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// The values of a u16 tensor of any length.
fn find_u16(lookup: Lookup, name: &str) -> Result<Vec<u16>> {
    let tensor = lookup(name).filter(|t| t.dtype == RawDtype::U16);
    let tensor = tensor.ok_or_else(|| Error::ModelMismatch(format!("tensor {name} (u16) is missing")))?;
    Ok(to_u16(&tensor.data))
}

fn to_u16(data: &[u8]) -> Vec<u16> {
    data.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect()
}

/// Values as a tensor.
pub fn raw<T: Copy, const N: usize>(dtype: RawDtype, shape: Vec<usize>, values: &[T], bytes: impl Fn(T) -> [u8; N]) -> RawTensor {
    RawTensor { dtype, shape, data: values.iter().flat_map(|&v| bytes(v)).collect() }
}

impl EntropyParams {
    /// Reads the tensors `<prefix>.hs0.weight`, `.bias`, `.shift` and so on.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] naming the tensor that is missing or has another type or size.
    pub fn from_tensors(prefix: &str, config: &EntropyConfig, lookup: Lookup) -> Result<Self> {
        config.validate()?;
        let layers = config
            .layer_shapes()
            .iter()
            .map(|shape| {
                let name = |part: &str| format!("{prefix}.{}.{part}", shape.name);
                Ok(IntLayer {
                    weight: to_i8(find(lookup, &name("weight"), RawDtype::I8, shape.outputs * shape.weights_per_output())?),
                    bias: to_i32(&find(lookup, &name("bias"), RawDtype::I32, shape.outputs)?),
                    shift: find(lookup, &name("shift"), RawDtype::U8, shape.outputs)?,
                })
            })
            .collect::<Result<_>>()?;
        let name = |part: &str| format!("{prefix}.{part}");
        let tables = Tables::from_flat(&find_u16(lookup, &name("tables.starts"))?, &find_u16(lookup, &name("tables.sizes"))?);
        let gain = find(lookup, &name("gain"), RawDtype::U16, super::QUALITIES * config.width)?;
        Ok(Self {
            layers,
            gain: to_u16(&gain),
            z_mean: to_i32(&find(lookup, &name("z_mean"), RawDtype::I32, super::QUALITIES * config.hyper_channels)?),
            z_scale: find(lookup, &name("z_scale"), RawDtype::U8, super::QUALITIES * config.hyper_channels)?,
            thresholds: to_i32(&find(lookup, &name("thresholds"), RawDtype::I32, super::SCALES - 1)?),
            tables: tables.map_err(|e| match e {
                Error::ModelMismatch(what) => Error::ModelMismatch(format!("tensor {prefix}.{what}")),
                e => e,
            })?,
            steps: config
                .intra_prediction
                .then(|| find(lookup, &name("steps"), RawDtype::U16, super::QUALITIES).map(|data| to_u16(&data)))
                .transpose()?,
        })
    }

    /// The tensors that [`Self::from_tensors`] reads.
    pub fn to_tensors(&self, prefix: &str, config: &EntropyConfig) -> Vec<(String, RawTensor)> {
        let mut out = Vec::new();
        for (shape, layer) in config.layer_shapes().iter().zip(&self.layers) {
            let mut push = |part: &str, tensor| out.push((format!("{prefix}.{}.{part}", shape.name), tensor));
            let size = if shape.depthwise { vec![shape.outputs, 3, 3] } else { vec![shape.outputs, shape.inputs] };
            push("weight", raw(RawDtype::I8, size, &layer.weight, i8::to_le_bytes));
            push("bias", raw(RawDtype::I32, vec![shape.outputs], &layer.bias, i32::to_le_bytes));
            push("shift", raw(RawDtype::U8, vec![shape.outputs], &layer.shift, u8::to_le_bytes));
        }
        let mut push = |part: &str, tensor| out.push((format!("{prefix}.{part}"), tensor));
        let table = |len: usize| vec![super::QUALITIES, len / super::QUALITIES];
        push("gain", raw(RawDtype::U16, table(self.gain.len()), &self.gain, u16::to_le_bytes));
        push("z_mean", raw(RawDtype::I32, table(self.z_mean.len()), &self.z_mean, i32::to_le_bytes));
        push("z_scale", raw(RawDtype::U8, table(self.z_scale.len()), &self.z_scale, u8::to_le_bytes));
        push("thresholds", raw(RawDtype::I32, vec![self.thresholds.len()], &self.thresholds, i32::to_le_bytes));
        if let Some(steps) = &self.steps {
            push("steps", raw(RawDtype::U16, vec![steps.len()], steps, u16::to_le_bytes));
        }
        self.tables.to_tensors().into_iter().for_each(|(part, tensor)| push(part, tensor));
        out
    }
}
