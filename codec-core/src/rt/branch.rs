//! Analysis, synthesis and coder of one latent.

use super::analysis::{Analysis, AnalysisScratch};
use super::gains::LATENT_GAIN_BITS;
use super::hyper::HyperAnalysis;
use super::reader::Reader;
use super::synthesis::{Dequantised, Synthesis};
use crate::Result;
use crate::architecture::{BitPrices, TransformConfig};
use crate::entropy::{ACTIVATION_FRACTION_BITS, EntropyConfig, LatentGrid, QUALITIES, RawDtype};
use crate::integer::{Machine, resize};
use crate::quality::QualityGrid;

/// The I-branch or the residual branch.
#[derive(Clone, Debug)]
pub struct Branch {
    /// From the packed frame to the latent.
    pub analysis: Analysis,
    /// From the latent to the hyper-latent.
    pub hyper: HyperAnalysis,
    /// Between the latent and its quantiser steps.
    pub gains: LatentGains,
    /// From the latent to the packed frame.
    pub synthesis: Synthesis,
    /// What a bit is worth in squared quantiser steps, for each channel; empty where bits have no price.
    pub bit_prices: Vec<f32>,
}

impl Branch {
    /// `channels`: packed channels of the analysis. `free`: channels of the free latent. `context`: whether the synthesis sees the
    /// packed prediction.
    pub(super) fn read(
        reader: &Reader,
        channels: usize,
        free: usize,
        context: bool,
        (config, entropy): (&TransformConfig, &EntropyConfig),
        prices: BitPrices,
    ) -> Result<Self> {
        let analysis = Analysis::read(&reader.sub("analysis"), channels, config)?;
        Ok(Self {
            hyper: HyperAnalysis::read(&reader.sub("coder.entropy"), entropy)?,
            gains: LatentGains::read(&reader.sub("coder"), config, analysis.fraction())?,
            synthesis: Synthesis::read(&reader.sub("synthesis"), config.latent as usize + free, context, config)?,
            bit_prices: prices.of_channels(config),
            analysis,
        })
    }
}

/// Gains before and after the quantiser.
#[derive(Clone, Debug)]
pub struct LatentGains {
    /// `[64][channels]`, [`LATENT_GAIN_BITS`] fractional bits.
    encoder: Vec<u32>,
    decoder: Vec<u32>,
    channels: usize,
    linear: usize,
    /// Fractional bits of what the analysis makes, and of what the synthesis takes.
    fractions: (u8, u8),
}

impl LatentGains {
    fn read(reader: &Reader, config: &TransformConfig, analysis_fraction: u8) -> Result<Self> {
        let channels = config.latent as usize;
        let table = |part: &str| reader.values(part, RawDtype::U32, QUALITIES * channels, u32::from_le_bytes);
        let fractions = (analysis_fraction, reader.fractions("decoder_gain")?[1]);
        Ok(Self {
            encoder: table("encoder_gain.table")?,
            decoder: table("decoder_gain.table")?,
            channels,
            linear: config.linear as usize,
            fractions,
        })
    }

    /// The latent that an analysis made, in quantiser steps, NHWC.
    pub fn quantiser_domain(&self, machine: Machine, made: &AnalysisScratch, quality: QualityGrid, out: &mut Vec<f32>) {
        let unit = (-f32::from(self.fractions.0) - LATENT_GAIN_BITS as f32).exp2();
        // Of one index, or of all of them.
        let (first_index, table) = match quality.cells() {
            Some(_) => (0, &self.encoder[..]),
            None => (quality.frame(), &self.encoder[usize::from(quality.frame()) * self.channels..][..self.channels]),
        };
        let gains: Vec<f32> = table.iter().map(|&gain| gain as f32 * unit).collect();
        let (n, m) = (self.channels - self.linear, self.linear);
        out.resize(made.nonlinear.len() / n * self.channels, 0.0);
        machine.for_positions(out, self.channels, |first, out| {
            for (i, out) in out.chunks_exact_mut(self.channels).enumerate() {
                let networks = &made.nonlinear[(first + i) * n..][..n];
                let linear = if m > 0 { &made.linear[(first + i) * m..][..m] } else { &[] };
                let (lower, upper) = (networks.split_at(n / 2), linear.split_at(m / 2));
                let index = usize::from(quality.at(first + i) - first_index);
                let mut rest = (out, &gains[index * self.channels..][..self.channels]);
                for part in [lower.0, upper.0, lower.1, upper.1] {
                    let (values, after) = std::mem::take(&mut rest.0).split_at_mut(part.len());
                    let (gains, others) = rest.1.split_at(part.len());
                    values.iter_mut().zip(part).zip(gains).for_each(|((value, &y), gain)| *value = f32::from(y) * gain);
                    rest = (after, others);
                }
            }
        });
    }

    /// Scales a decoded latent: sat16((y gain + 2^(shift-1)) >> shift). `free`, `[rows][cols][free]`, goes behind it.
    pub fn dequantise(&self, machine: Machine, latent: &LatentGrid, free: &[i16], quality: QualityGrid, out: &mut Dequantised) {
        let shift = ACTIVATION_FRACTION_BITS + LATENT_GAIN_BITS - u32::from(self.fractions.1);
        let positions = latent.rows * latent.cols;
        out.size = (latent.rows, latent.cols);
        let free_channels = free.len() / positions;
        let total = self.channels + free_channels;
        resize(&mut out.full, positions * total);
        resize(&mut out.linear, positions * self.linear);
        machine.for_positions(&mut out.full, total, |first, full| {
            for (i, full) in full.chunks_exact_mut(total).enumerate().filter(|&(i, _)| !quality.rests(first + i)) {
                let gains = &self.decoder[usize::from(quality.at(first + i)) * self.channels..][..self.channels];
                let (coded, behind) = full.split_at_mut(self.channels);
                behind.copy_from_slice(&free[(first + i) * free_channels..][..free_channels]);
                for ((out, &y), &gain) in coded.iter_mut().zip(&latent.data[(first + i) * self.channels..]).zip(gains) {
                    let product = i64::from(y) * i64::from(gain) + (1 << (shift - 1));
                    *out = (product >> shift).clamp(i16::MIN.into(), i16::MAX.into()) as i16;
                }
            }
        });
        if self.linear > 0 {
            let nonlinear = self.channels - self.linear;
            let places = [nonlinear / 2, nonlinear + self.linear / 2];
            for (full, linear) in out.full.chunks_exact(total).zip(out.linear.chunks_exact_mut(self.linear)) {
                for (from, to) in places.into_iter().zip(linear.chunks_exact_mut(self.linear / 2)) {
                    to.copy_from_slice(&full[from..][..self.linear / 2]);
                }
            }
        }
    }
}
