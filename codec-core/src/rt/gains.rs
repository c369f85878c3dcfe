//! Gains of a quality index.

use super::reader::Reader;
use crate::entropy::{QUALITIES, RawDtype};
use crate::integer::{Area, Machine};
use crate::kernels::simd::multiversion;
use crate::quality::QualityGrid;
use crate::{Error, Result};

/// Fractional bits of the gains of features.
pub const GAIN_BITS: u32 = 12;
/// Fractional bits of the gains of latents.
pub const LATENT_GAIN_BITS: u32 = 16;

/// Largest right shift of a product with a gain: with its rounding term it fits 32 bits.
const MAX_SHIFT: i32 = 15;

/// Gains of features between layers, a channel and a quality index each.
#[derive(Clone, Debug)]
pub struct Gain {
    /// `[64][channels]`.
    table: Vec<u16>,
    channels: usize,
    shift: u8,
}

impl Gain {
    /// Reads `<part>.table` (u16, [`GAIN_BITS`] fractional bits) and `<part>.fractions`.
    pub(super) fn read(reader: &Reader, part: &str, channels: usize) -> Result<Self> {
        let gain = reader.sub(part);
        let table = gain.values("table", RawDtype::U16, QUALITIES * channels, u16::from_le_bytes)?;
        let [from, to] = reader.fractions(part)?;
        let shift = GAIN_BITS as i32 + i32::from(from) - i32::from(to);
        if !(1..=MAX_SHIFT).contains(&shift) {
            return Err(Error::ModelMismatch(format!("{}: from {from} to {to} fractional bits is too far", gain.name())));
        }
        let shift = shift as u8;
        Ok(Self { table, channels, shift })
    }

    /// Gains at a quality index.
    pub(super) fn at(&self, quality: u8) -> Scaling<'_> {
        let gains = &self.table[usize::from(quality) * self.channels..][..self.channels];
        Scaling { gains, shift: self.shift }
    }

    /// Gains at the cells of an area of `x` at 1/8, in place.
    pub(super) fn apply(&self, machine: Machine, x: &mut [i16], area: &Area, quality: QualityGrid) {
        machine.for_spans(x, self.channels, area, |first, x| {
            let mut line = vec![0; self.channels];
            for (i, position) in x.chunks_exact_mut(self.channels).enumerate() {
                line.copy_from_slice(position);
                self.at(quality.at_eighth(first + i)).apply(&line, position);
            }
        });
    }
}

/// Gains at one quality index.
#[derive(Clone, Copy)]
pub(super) struct Scaling<'a> {
    gains: &'a [u16],
    shift: u8,
}

impl Scaling<'_> {
    /// sat16((x gain + 2^(shift-1)) >> shift) for each channel of one position.
    pub fn apply(self, from: &[i16], to: &mut [i16]) {
        scale(from, self.gains, self.shift, to);
    }
}

multiversion! {
    fn scale(from: &[i16], gains: &[u16], shift: u8, to: &mut [i16]) = scale_all
}

#[inline(always)]
fn scale_all(from: &[i16], gains: &[u16], shift: u8, to: &mut [i16]) {
    let rounding = 1 << (shift - 1);
    for ((to, &x), &gain) in to.iter_mut().zip(from).zip(gains) {
        // Fits: at most 32768 * 65535 + 2^14.
        let product = i32::from(x) * i32::from(gain) + rounding;
        *to = (product >> shift).clamp(i16::MIN.into(), i16::MAX.into()) as i16;
    }
}
