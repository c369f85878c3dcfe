//! What a layer holds, and what becomes of its sums.

use crate::{Error, Result};

/// Largest right shift of a sum.
pub const MAX_SHIFT: u8 = 24;

/// What becomes of a layer's sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// y = sat16((sum + 2^(shift-1)) >> shift); with a shift of 0 nothing is added.
    None,
    /// LeakyReLU with a slope of 13/128 on what [`Self::None`] gives: max(y, (13 y + 64) >> 7).
    Leaky,
    /// LeakyReLU with a slope of 1/8 on the sum: max(sum, sum >> 3), then as [`Self::None`].
    LeakySum,
}

/// Weights of a layer as a model file holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerParams {
    /// `[outputs][inputs]`, or `[channels][3][3]` of a depthwise layer.
    pub weight: Vec<i16>,
    /// In units of the sum, one for each output.
    pub bias: Vec<i32>,
    /// Right shift of each output's sum, 0..=[`MAX_SHIFT`].
    pub shift: Vec<u8>,
}

impl LayerParams {
    /// Checks numbers and that no sum can leave 32 bits: |bias| + 2^(shift-1) + 32768 sum |weight| < 2^31.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] naming the layer and the output.
    pub fn check(&self, name: &str, outputs: usize, per_output: usize) -> Result<()> {
        let bad = |what: String| Error::ModelMismatch(format!("layer {name}: {what}"));
        if outputs == 0 || per_output == 0 {
            return Err(bad("it has no weights".into()));
        }
        if Some(self.weight.len()) != outputs.checked_mul(per_output) || self.bias.len() != outputs || self.shift.len() != outputs
        {
            return Err(bad(format!("{outputs} outputs of {per_output} weights are needed")));
        }
        for (output, (&bias, &shift)) in self.bias.iter().zip(&self.shift).enumerate() {
            if shift > MAX_SHIFT {
                return Err(bad(format!("shift {shift} of output {output} is above {MAX_SHIFT}")));
            }
            let weights = &self.weight[output * per_output..][..per_output];
            let magnitude: i64 = weights.iter().map(|&w| i64::from(w).abs()).sum();
            if 32_768 * magnitude + i64::from(bias).abs() + (1 << shift >> 1) > i64::from(i32::MAX) {
                return Err(bad(format!("the sum of output {output} could overflow 32 bits")));
            }
        }
        Ok(())
    }
}
