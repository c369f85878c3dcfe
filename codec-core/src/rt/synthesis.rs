//! Synthesis transforms: G_I and G_res.

use super::gains::Gain;
use super::layout::{reorder_outputs, scatter};
use super::reader::Reader;
use crate::Result;
use crate::architecture::TransformConfig;
use crate::integer::{Activation, Block, Machine, Pointwise};
use crate::kernels::PACKED_CHANNELS;
use crate::quality::QualityGrid;

/// A latent at 1/16 to packed samples at 1/8.
#[derive(Clone, Debug)]
pub struct Synthesis {
    width: usize,
    input: Pointwise,
    deep: Vec<Block>,
    up: Pointwise,
    gain: Gain,
    context: Option<Pointwise>,
    blocks: Vec<Block>,
    output: Pointwise,
    linear: Option<Pointwise>,
}

/// A dequantised latent: what a synthesis starts from.
#[derive(Clone, Debug, Default)]
pub struct Dequantised {
    /// Rows and columns at 1/16.
    pub size: (usize, usize),
    /// `[rows][cols][channels + free]`: the free latent behind the coded one.
    pub full: Vec<i16>,
    /// `[rows][cols][linear]`.
    pub linear: Vec<i16>,
}

/// Memory of synthesis transforms.
#[derive(Clone, Debug, Default)]
pub struct SynthesisScratch {
    a: Vec<i16>,
    b: Vec<i16>,
    base: Vec<i16>,
}

impl Synthesis {
    /// Of a latent of `channels`, those of the free latent included.
    pub(super) fn read(reader: &Reader, channels: usize, context: bool, config: &TransformConfig) -> Result<Self> {
        let (c, d) = (config.width as usize, config.deep_width as usize);
        let layer = |part: &str, inputs, outputs| -> Result<Pointwise> {
            Pointwise::new(reader.sub(part).name(), inputs, outputs, &reader.layer(part, outputs, inputs)?, Activation::None)
        };
        let shuffled = |part: &str, inputs: usize, channels: usize| -> Result<Pointwise> {
            let mut params = reader.layer(part, 4 * channels, inputs)?;
            reorder_outputs(&mut params, channels);
            Pointwise::new(reader.sub(part).name(), inputs, 4 * channels, &params, Activation::None)
        };
        let linear = config.linear as usize;
        Ok(Self {
            width: c,
            input: layer("input", channels, d)?,
            deep: reader.blocks("deep", d, config.deep_blocks)?,
            up: shuffled("up", d, c)?,
            gain: Gain::read(reader, "gain", c)?,
            context: context.then(|| layer("context", PACKED_CHANNELS, c)).transpose()?,
            blocks: reader.blocks("blocks", c, config.synthesis_blocks)?,
            output: layer("output", c, PACKED_CHANNELS)?,
            linear: (linear > 0).then(|| shuffled("linear", linear, PACKED_CHANNELS)).transpose()?,
        })
    }

    /// A latent and, for a synthesis with a context, the packed prediction `[2 rows][2 cols][96]` to packed samples `[2 rows][2 cols][96]` with
    /// [`OUTPUT_FRACTION_BITS`](crate::kernels::unpack::OUTPUT_FRACTION_BITS) fractional bits.
    pub fn run(
        &self,
        machine: Machine,
        latent: &Dequantised,
        context: Option<&[i16]>,
        quality: QualityGrid,
        scratch: &mut SynthesisScratch,
        out: &mut Vec<i16>,
    ) {
        let SynthesisScratch { a, b, base } = scratch;
        let size = latent.size;
        let deep = quality.awake_cells(size);
        let area = deep.divided();
        machine.run_in(&self.input, &latent.full, &deep, a);
        machine.blocks(&self.deep, a, &deep, b);
        machine.run_in(&self.up, a, &deep, b);
        scatter(machine, b, size, self.width, a, |cell, from, to| self.gain.at(quality.at(cell)).apply(from, to));
        if let (Some(layer), Some(context)) = (&self.context, context) {
            machine.run_adding_in(layer, context, a, &area, b);
            std::mem::swap(a, b);
        }
        machine.blocks(&self.blocks, a, &area, b);
        match &self.linear {
            Some(layer) => {
                machine.run_in(layer, &latent.linear, &deep, b);
                scatter(machine, b, size, PACKED_CHANNELS, base, |_, from, to| to.copy_from_slice(from));
                machine.run_adding_in(&self.output, a, base, &area, out);
            }
            None => machine.run_in(&self.output, a, &area, out),
        }
        area.clear_outside(out, PACKED_CHANNELS);
    }
}
