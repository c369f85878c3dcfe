//! Reading layers from a model file.

use super::weights;
use crate::entropy::{Lookup, RawDtype, find};
use crate::integer::{Block, BlockParams, LayerParams};
use crate::{Error, Result};

/// Most fractional bits that an int16 can have.
const MAX_FRACTION: u8 = 15;

/// Tensors below a prefix.
#[derive(Clone)]
pub struct Reader<'a> {
    lookup: Lookup<'a>,
    prefix: String,
}

impl<'a> Reader<'a> {
    /// All tensors that `lookup` finds.
    pub fn new(lookup: Lookup<'a>) -> Self {
        Self { lookup, prefix: String::new() }
    }

    /// Tensors named `part.*` below this prefix.
    pub fn sub(&self, part: impl std::fmt::Display) -> Self {
        let prefix = if self.prefix.is_empty() { part.to_string() } else { format!("{}.{part}", self.prefix) };
        Self { lookup: self.lookup, prefix }
    }

    /// The prefix, to name a layer in errors.
    pub fn name(&self) -> &str {
        &self.prefix
    }

    /// The values of a tensor of `len` elements, little endian.
    pub fn values<const N: usize, T>(
        &self,
        part: &str,
        dtype: RawDtype,
        len: usize,
        from_bytes: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>> {
        let data = find(self.lookup, &format!("{}.{part}", self.prefix), dtype, len)?;
        Ok(data.as_chunks::<N>().0.iter().map(|&bytes| from_bytes(bytes)).collect())
    }

    /// A layer of so many outputs: `<part>.weight`, `.bias`, `.shift`.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`](crate::Error::ModelMismatch) naming the tensor that is missing or has another type or size.
    pub fn layer(&self, part: &str, outputs: usize, per_output: usize) -> Result<LayerParams> {
        let layer = self.sub(part);
        Ok(LayerParams {
            weight: weights::unpack(
                &layer.values("weight", RawDtype::U8, outputs * weights::packed_len(per_output), |[byte]: [u8; 1]| byte)?,
                per_output,
            ),
            bias: layer.values("bias", RawDtype::I32, outputs, i32::from_le_bytes)?,
            shift: layer.values("shift", RawDtype::U8, outputs, |[shift]: [u8; 1]| shift)?,
        })
    }

    /// `count` blocks of `channels`: `<part>.0`, `<part>.1`, ...
    pub(super) fn blocks(&self, part: &str, channels: usize, count: usize) -> Result<Vec<Block>> {
        let c = channels;
        let block = |i: usize| -> Result<Block> {
            let block = self.sub(part).sub(i);
            let params = BlockParams {
                mix_in: block.layer("mix_in", c, c)?,
                depthwise: block.layer("depthwise", c, 9)?,
                mix_out: block.layer("mix_out", c, c)?,
                expand: block.layer("expand", 2 * c, c)?,
                project: block.layer("project", c, 2 * c)?,
            };
            Block::new(block.name(), c, &params)
        };
        (0..count).map(block).collect()
    }

    /// Fractional bits of what `<part>` reads and of what it writes.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] if they are missing or above 15.
    pub(super) fn fractions(&self, part: &str) -> Result<[u8; 2]> {
        let part = self.sub(part);
        let bits = part.values("fractions", RawDtype::U8, 2, |[bits]: [u8; 1]| bits)?;
        match bits[..] {
            [from, to] if from.max(to) <= MAX_FRACTION => Ok([from, to]),
            _ => Err(Error::ModelMismatch(format!("{}: {bits:?} fractional bits, {MAX_FRACTION} are the most", part.name()))),
        }
    }
}
