//! The integer networks: from z, prior and first half to mean and scale of every element.

use super::config::ParameterLayers;
use super::conv::Layer;
use super::grid::LatentGrid;
use super::model::EntropyModel;
use super::{ACTIVATION_FRACTION_BITS, GAIN_FRACTION_BITS};
use crate::integer::{Backend, Machine};
use crate::quality::QualityGrid;

/// Memory of the networks, kept between frames.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// Threads that the networks run on, at least 1.
    threads: usize,
    a: Vec<i16>,
    b: Vec<i16>,
    features: Vec<i16>,
    /// Means and scale outputs, `[position][2c]`: c means, then c scale outputs.
    pub(super) parameters: Vec<i16>,
    /// Of [`Correction`](super::scales::Correction).
    pub(super) known: Vec<u16>,
}

pub(super) fn saturate(value: i32) -> i16 {
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// Pixel shuffle by 2: channel 4c + 2dy + dx goes to row 2y + dy, column 2x + dx of channel c.
fn shuffle(input: &[i16], rows: usize, cols: usize, channels: usize, out: &mut Vec<i16>) {
    out.clear();
    out.resize(rows * cols * 4 * channels, 0);
    for row in 0..rows {
        for col in 0..cols {
            let source = &input[(row * cols + col) * channels * 4..][..channels * 4];
            for (quarter, (dy, dx)) in [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter().enumerate() {
                let target = &mut out[((2 * row + dy) * 2 * cols + 2 * col + dx) * channels..][..channels];
                for (value, group) in target.iter_mut().zip(source.chunks_exact(4)) {
                    *value = group[quarter];
                }
            }
        }
    }
}

/// Appends `extra(position, channel)` to each position's features.
fn concatenate(
    features: &[i16],
    width: usize,
    extra_width: usize,
    positions: usize,
    out: &mut Vec<i16>,
    extra: impl Fn(usize, &mut [i16]),
) {
    let total = width + extra_width;
    out.clear();
    out.resize(positions * total, 0);
    for (position, target) in out.chunks_exact_mut(total).enumerate() {
        target[..width].copy_from_slice(&features[position * width..][..width]);
        extra(position, &mut target[width..]);
    }
}

/// What is known before the first element of y.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// At a quarter of the rows and columns of y.
    pub z: &'a LatentGrid,
    /// The last frame's latent, if there is one.
    pub prior: Option<&'a LatentGrid>,
    /// The transform of each position; empty for a model without a choice.
    pub choices: &'a [u8],
}

impl Scratch {
    /// For networks on so many threads of the current rayon pool.
    pub fn with_threads(threads: usize) -> Self {
        Self { threads, ..Self::default() }
    }

    /// See [`Self::with_threads`].
    pub fn threads(&self) -> usize {
        self.threads
    }

    fn machine(&self, backend: Backend) -> Machine {
        Machine { backend, threads: self.threads.max(1) }
    }
}

impl EntropyModel {
    /// Parameters of all elements (or of the first half) from what is known before.
    pub(super) fn first_parameters(&self, known: Known, quality: QualityGrid, scratch: &mut Scratch) {
        let Known { z, prior, choices } = known;
        let (rows, cols) = (z.rows * 4, z.cols * 4);
        let hyper = quality.awake((rows, cols));
        let half = hyper.divided();
        let area = half.divided();
        let width = self.config.width;
        let machine = scratch.machine(self.backend);
        let Scratch { a, b, features, parameters, .. } = scratch;
        a.clear();
        a.extend(z.data.iter().map(|&v| saturate(v)));
        let [expand, smooth, expand_again] = &self.layers.hyper;
        expand.run(machine, a, &hyper, b);
        shuffle(b, z.rows, z.cols, width, a);
        smooth.run(machine, a, &half, b);
        expand_again.run(machine, b, &half, a);
        shuffle(a, rows / 2, cols / 2, width, b);
        for (cell, position) in b.chunks_exact_mut(width).enumerate() {
            let gain = &self.gain[usize::from(quality.at(cell)) * width..][..width];
            for (value, &g) in position.iter_mut().zip(gain) {
                // In 64 bits: an int16 times a uint16 does not fit 32 with its rounding term.
                let product = i64::from(*value) * i64::from(g) + (1 << (GAIN_FRACTION_BITS - 1));
                *value = (product >> GAIN_FRACTION_BITS).clamp(i16::MIN.into(), i16::MAX.into()) as i16;
            }
        }
        let past = if self.config.temporal { self.config.channels } else { 0 };
        if past + self.config.choices() > 0 {
            concatenate(b, width, past + self.config.choices(), rows * cols, a, |position, target| {
                let (target, chosen) = target.split_at_mut(past);
                if let Some(prior) = prior {
                    for (value, &v) in target.iter_mut().zip(&prior.data[position * past..]) {
                        *value = saturate(v);
                    }
                }
                // 1 in the channel of the transform that a block has, none for the first.
                if let Some(&choice) = choices.get(position).filter(|&&choice| choice > 0) {
                    chosen[usize::from(choice) - 1] = 1 << ACTIVATION_FRACTION_BITS;
                }
            });
        } else {
            std::mem::swap(a, b);
        }
        let ParameterLayers { features: [mix, look_around, mix_again], head } = &self.layers.first;
        mix.run(machine, a, &area, b);
        look_around.run(machine, b, &area, a);
        mix_again.run(machine, a, &area, features);
        head.run(machine, features, &area, parameters);
    }

    /// Parameters of the second half, by the layers for it, once the first half of `latent` is known.
    pub(super) fn second_parameters(
        &self,
        layers: &ParameterLayers<Layer>,
        latent: &LatentGrid,
        quality: QualityGrid,
        scratch: &mut Scratch,
    ) {
        let (rows, cols, channels) = (latent.rows, latent.cols, latent.channels);
        let area = quality.awake_cells((rows, cols));
        let machine = scratch.machine(self.backend);
        let Scratch { a, b, features, parameters, .. } = scratch;
        let width = 2 * self.config.width;
        // Elements of the second half are still zero, as the networks expect.
        concatenate(features, width, channels, rows * cols, a, |position, target| {
            for (value, &v) in target.iter_mut().zip(&latent.data[position * channels..]) {
                *value = saturate(v);
            }
        });
        let ParameterLayers { features: [mix, look_around, mix_again], head } = layers;
        mix.run(machine, a, &area, b);
        look_around.run(machine, b, &area, a);
        mix_again.run(machine, a, &area, b);
        head.run(machine, b, &area, parameters);
    }
}
