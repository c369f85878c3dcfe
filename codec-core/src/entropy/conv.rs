//! Layers of the integer networks, on the kernels of [`crate::integer`].

use super::MAX_SHIFT;
use super::config::LayerShape;
use super::params::IntLayer;
use crate::integer::{Activation, Area, Depthwise, LayerParams, Machine, Pointwise};
use crate::{Error, Result};

/// A layer ready to run.
#[derive(Clone, Debug)]
pub(super) enum Layer {
    Pointwise(Pointwise),
    Depthwise(Depthwise),
}

impl Layer {
    /// # Errors
    /// [`Error::ModelMismatch`] naming the layer if sizes do not fit, a shift is above 14, or a sum could overflow.
    pub(super) fn new(shape: &LayerShape, layer: &IntLayer) -> Result<Self> {
        let name = format!("{} of an entropy model", shape.name);
        let bad = |what: String| Error::ModelMismatch(format!("layer {name}: {what}"));
        let params = LayerParams {
            weight: layer.weight.iter().map(|&w| w.into()).collect(),
            bias: layer.bias.clone(),
            shift: layer.shift.clone(),
        };
        let per_output = shape.weights_per_output();
        params.check(&name, shape.outputs, per_output)?;
        for (output, weights) in params.weight.chunks_exact(per_output).enumerate() {
            let shift = params.shift[output];
            if shift > MAX_SHIFT {
                return Err(bad(format!("shift {shift} of output {output} is above {MAX_SHIFT}")));
            }
            let magnitude: i64 = weights.iter().map(|&w| i64::from(w).abs()).sum();
            // The specification leaves room for more than the rounding term.
            if 32_768 * magnitude + i64::from(params.bias[output]).abs() + (1 << MAX_SHIFT) > i64::from(i32::MAX) {
                return Err(bad(format!("the sum of output {output} could overflow 32 bits")));
            }
        }
        let activation = if shape.leaky { Activation::LeakySum } else { Activation::None };
        Ok(if shape.depthwise {
            Self::Depthwise(Depthwise::new(&name, shape.outputs, &params, activation)?)
        } else {
            Self::Pointwise(Pointwise::new(&name, shape.inputs, shape.outputs, &params, activation)?)
        })
    }

    /// Applies the layer to the cells of `area` in `input`, `[rows][cols][inputs]`. What lies elsewhere neither counts nor is kept.
    pub(super) fn run(&self, machine: Machine, input: &mut [i16], area: &Area, output: &mut Vec<i16>) {
        match self {
            Self::Pointwise(layer) => machine.run_in(layer, input, area, output),
            Self::Depthwise(layer) => machine.run_depthwise(layer, input, area, output),
        }
    }
}
