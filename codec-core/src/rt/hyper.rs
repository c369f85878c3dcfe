//! Hyper-analysis: what an encoder says of a latent first.

use super::layout::{gather, reorder_inputs};
use super::reader::Reader;
use crate::Result;
use crate::entropy::{ACTIVATION_FRACTION_BITS, EntropyConfig};
use crate::integer::{Activation, Area, Depthwise, Machine, Pointwise, resize};
use crate::kernels::simd::multiversion;

/// A latent at 1/16 to a hyper-latent at 1/64. Only encoders need it; it is exact so that they write the same stream everywhere.
#[derive(Clone, Debug)]
pub struct HyperAnalysis {
    width: usize,
    ha0: Pointwise,
    ha1: Pointwise,
    ha2: Depthwise,
    ha3: Pointwise,
    fraction: u8,
}

/// Memory of a hyper-analysis.
#[derive(Clone, Debug, Default)]
pub struct HyperScratch {
    a: Vec<i16>,
    b: Vec<i16>,
}

impl HyperAnalysis {
    pub(super) fn read(reader: &Reader, config: &EntropyConfig) -> Result<Self> {
        let (c, w, z) = (config.channels, config.width, config.hyper_channels);
        let name = |part: &str| reader.sub(part).name().to_owned();
        let unshuffled = |part: &str, outputs: usize, activation| -> Result<Pointwise> {
            let mut params = reader.layer(part, outputs, 4 * w)?;
            reorder_inputs(&mut params, w);
            Pointwise::new(&name(part), 4 * w, outputs, &params, activation)
        };
        Ok(Self {
            width: w,
            ha0: Pointwise::new(&name("ha0"), c, w, &reader.layer("ha0", w, c)?, Activation::Leaky)?,
            ha1: unshuffled("ha1", w, Activation::Leaky)?,
            ha2: Depthwise::new(&name("ha2"), w, &reader.layer("ha2", w, 9)?, Activation::None)?,
            ha3: unshuffled("ha3", z, Activation::None)?,
            fraction: reader.fractions("ha3")?[1],
        })
    }

    /// `y` `[rows][cols][channels]` in quantiser steps to `z` `[rows/4][cols/4][hyper_channels]`; sides are multiples of 4.
    pub fn run(&self, machine: Machine, y: &[f32], (rows, cols): (usize, usize), scratch: &mut HyperScratch, z: &mut Vec<f32>) {
        let HyperScratch { a, b } = scratch;
        resize(a, y.len());
        machine.for_positions(a, 1, |first, a| fix(&y[first..], a));
        machine.run(&self.ha0, a, b);
        gather(machine, b, (rows, cols), self.width, self.width, a);
        machine.run(&self.ha1, a, b);
        machine.run_depthwise(&self.ha2, b, &Area::whole(rows / 2, cols / 2), a);
        gather(machine, a, (rows / 2, cols / 2), self.width, self.width, b);
        machine.run(&self.ha3, b, a);
        let unit = (-f32::from(self.fraction)).exp2();
        z.clear();
        z.extend(a.iter().map(|&z| f32::from(z) * unit));
    }
}

multiversion! {
    /// To 8 fractional bits, saturating.
    fn fix(values: &[f32], out: &mut [i16]) = fix_all
}

#[inline(always)]
fn fix_all(values: &[f32], out: &mut [i16]) {
    const ONE: f32 = (1u32 << ACTIVATION_FRACTION_BITS) as f32;
    // Adding and taking away 3 * 2^22 rounds to whole numbers, ties to even, what is small enough; a cast would saturate, but slowly.
    const ROUND: f32 = (3 << 22) as f32;
    for (out, &value) in out.iter_mut().zip(values) {
        let fixed = (value * ONE).clamp(f32::from(i16::MIN), f32::from(i16::MAX));
        *out = ((fixed + ROUND).to_bits().wrapping_sub(ROUND.to_bits())) as i16;
    }
}
