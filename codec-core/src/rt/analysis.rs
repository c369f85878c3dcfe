//! Analysis transforms: E_I and E_res.

use super::gains::Gain;
use super::layout::{gather, reorder_inputs};
use super::reader::Reader;
use crate::Result;
use crate::architecture::TransformConfig;
use crate::integer::Machine;
use crate::integer::{Activation, Block, Pointwise};
use crate::kernels::PACKED_CHANNELS;
use crate::quality::QualityGrid;

/// Packed samples at 1/8 to a latent at 1/16.
#[derive(Clone, Debug)]
pub struct Analysis {
    channels: usize,
    width: usize,
    input: Pointwise,
    gain: Gain,
    blocks: Vec<Block>,
    down: Pointwise,
    deep: Vec<Block>,
    output: Pointwise,
    linear: Option<Pointwise>,
    fraction: u8,
}

/// Memory of analysis transforms and what they made.
#[derive(Clone, Debug, Default)]
pub struct AnalysisScratch {
    a: Vec<i16>,
    b: Vec<i16>,
    cells: Vec<i16>,
    /// `[rows/2][cols/2][nonlinear]`.
    pub nonlinear: Vec<i16>,
    /// `[rows/2][cols/2][linear]`.
    pub linear: Vec<i16>,
}

impl Analysis {
    /// Of `channels` packed channels.
    pub(super) fn read(reader: &Reader, channels: usize, config: &TransformConfig) -> Result<Self> {
        let (c, d) = (config.width as usize, config.deep_width as usize);
        let layer = |part: &str, inputs, outputs| -> Result<Pointwise> {
            let name = reader.sub(part);
            Pointwise::new(name.name(), inputs, outputs, &reader.layer(part, outputs, inputs)?, Activation::None)
        };
        let unshuffled = |part: &str, channels: usize, outputs: usize| -> Result<Pointwise> {
            let mut params = reader.layer(part, outputs, 4 * channels)?;
            reorder_inputs(&mut params, channels);
            Pointwise::new(reader.sub(part).name(), 4 * channels, outputs, &params, Activation::None)
        };
        let linear = config.linear as usize;
        Ok(Self {
            channels,
            width: c,
            input: layer("input", channels, c)?,
            gain: Gain::read(reader, "gain", c)?,
            blocks: reader.blocks("blocks", c, config.analysis_blocks)?,
            down: unshuffled("down", c, d)?,
            deep: reader.blocks("deep", d, config.deep_blocks)?,
            output: layer("output", d, config.nonlinear() as usize)?,
            linear: (linear > 0).then(|| unshuffled("linear", PACKED_CHANNELS, linear)).transpose()?,
            fraction: reader.fractions("output")?[1],
        })
    }

    /// Fractional bits of what it makes.
    pub fn fraction(&self) -> u8 {
        self.fraction
    }

    /// `x` `[rows][cols][channels]` to the latent of the networks' channels, in `scratch`.
    pub fn run_nonlinear(
        &self,
        machine: Machine,
        x: &[i16],
        size: (usize, usize),
        quality: QualityGrid,
        scratch: &mut AnalysisScratch,
    ) {
        let AnalysisScratch { a, b, cells, nonlinear, .. } = scratch;
        machine.run(&self.input, x, a);
        self.gain.apply(machine, a, quality);
        machine.blocks(&self.blocks, a, size, b);
        gather(machine, a, size, self.width, self.width, cells);
        machine.run(&self.down, cells, a);
        machine.blocks(&self.deep, a, (size.0 / 2, size.1 / 2), b);
        machine.run(&self.output, a, nonlinear);
    }

    /// As [`Self::run_nonlinear`], and the linear channels, of the first packed channels alone.
    pub fn run(&self, machine: Machine, x: &[i16], size: (usize, usize), quality: QualityGrid, scratch: &mut AnalysisScratch) {
        self.run_nonlinear(machine, x, size, quality, scratch);
        if let Some(linear) = &self.linear {
            gather(machine, x, size, self.channels, PACKED_CHANNELS, &mut scratch.cells);
            machine.run(linear, &scratch.cells, &mut scratch.linear);
        }
    }
}
