//! Analysis transforms: E_I and E_res.

use super::gains::Gain;
use super::layout::{gather, reorder_inputs};
use super::reader::Reader;
use crate::Result;
use crate::architecture::TransformConfig;
use crate::integer::{Activation, Area, Block, Machine, Pointwise};
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

    /// `x` `[rows][cols][channels]` to the latent of the networks' channels, in `scratch`; zeros where cells rest.
    pub fn run_nonlinear(
        &self,
        machine: Machine,
        x: &[i16],
        size: (usize, usize),
        quality: QualityGrid,
        scratch: &mut AnalysisScratch,
    ) {
        let AnalysisScratch { a, b, cells, nonlinear, .. } = scratch;
        let deep = quality.awake_cells((size.0 / 2, size.1 / 2));
        let area = deep.divided();
        machine.run_in(&self.input, x, &area, a);
        self.gain.apply(machine, a, &area, quality);
        machine.blocks(&self.blocks, a, &area, b);
        gather(machine, a, size, self.width, self.width, cells);
        machine.run_in(&self.down, cells, &deep, a);
        machine.blocks(&self.deep, a, &deep, b);
        machine.run_in(&self.output, a, &deep, nonlinear);
        deep.clear_outside(nonlinear, self.output.outputs());
    }

    /// As [`Self::run_nonlinear`], and the linear channels, of the first packed channels alone.
    pub fn run(&self, machine: Machine, x: &[i16], size: (usize, usize), quality: QualityGrid, scratch: &mut AnalysisScratch) {
        self.run_nonlinear(machine, x, size, quality, scratch);
        let area = quality.awake_cells((size.0 / 2, size.1 / 2));
        self.run_linear(machine, x, self.channels, &area, scratch);
    }

    /// The linear channels of packed samples, `[rows][cols][96]`; all others are zero.
    pub fn run_linear_alone(&self, machine: Machine, x: &[i16], (rows, cols): (usize, usize), scratch: &mut AnalysisScratch) {
        scratch.nonlinear.clear();
        scratch.nonlinear.resize(rows * cols / 4 * self.output.outputs(), 0);
        self.run_linear(machine, x, PACKED_CHANNELS, &Area::whole(rows / 2, cols / 2), scratch);
    }

    /// The linear channels of the first packed ones of `stride`, at the cells of `area` at 1/16, and zeros elsewhere.
    fn run_linear(&self, machine: Machine, x: &[i16], stride: usize, area: &Area, scratch: &mut AnalysisScratch) {
        if let Some(linear) = &self.linear {
            let (rows, cols) = area.size();
            gather(machine, x, (2 * rows, 2 * cols), stride, PACKED_CHANNELS, &mut scratch.cells);
            machine.run_in(linear, &scratch.cells, area, &mut scratch.linear);
            area.clear_outside(&mut scratch.linear, linear.outputs());
        }
    }
}
