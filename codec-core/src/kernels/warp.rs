//! Motion compensation: the decoupled scale-space warp of the `rt` profile, fused.
//!
//! Full-resolution flow and sigma never exist in memory: a row of them is interpolated, its samples are fetched from the
//! reference, clamped, and the row is blurred two rows later, while its neighbours are still in the cache.

mod bicubic;
mod blur;
mod cubic;
mod field;
mod source;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::bicubic::warp_row;
use self::blur::blur_row;
use self::field::{MotionField, UpsampledRow};
use self::source::Source;
use super::parallel::{for_bands, split_rows, take_front};
use super::{Prediction, check_len};
use crate::frame::Frame;
use crate::frame::pad::CODED_MULTIPLE;
use crate::{Error, Result};

pub use self::cubic::Cubic;

/// Rows of flow and of warped samples, for motion search and sharpening.
pub(crate) mod rows {
    pub(crate) use super::bicubic::warp_row;
    pub(crate) use super::field::{Component, UpsampledRow};
    pub(crate) use super::source::Source;
}

/// Rows of a 5-tap blur.
const TAPS: usize = 5;

/// Makes predictions; keeps its buffers from frame to frame.
#[derive(Debug, Default)]
pub struct MotionCompensator {
    luma: Cubic,
    chroma: Cubic,
    sources: [Source; 3],
    field: MotionField,
}

impl MotionCompensator {
    /// Interpolates luma and chroma with the given kernels.
    pub fn new(luma: Cubic, chroma: Cubic) -> Self {
        Self { luma, chroma, ..Self::default() }
    }

    /// Predicts a frame from `reference`, which has the coded size, and resizes `out` to it.
    ///
    /// `motion` is NHWC `[H/8][W/8][3]`: dx, dy in pixels of the full resolution and sigma in 0..=1, upsampled
    /// bilinearly (pixel centres aligned). prediction(p) is the reference at p + flow(p), interpolated with cubic
    /// convolution (samples beyond the edge repeat it) and clamped to -0.5..=0.5, plus sigma times its change
    /// by a 5x5 binomial blur; where sigma is 0 nothing is blurred. Chroma moves by half of the mean flow of its four
    /// luma samples and takes their mean sigma. Components that are no numbers count as 0, others are clamped (flow to
    /// 65536 pixels).
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if the sides of `reference` are no positive multiples of 64 or `motion` has another size.
    pub fn predict(&mut self, reference: &Frame, motion: &[f32], threads: usize, out: &mut Prediction) -> Result<()> {
        let (width, height) = (reference.width(), reference.height());
        reference.view().check()?;
        if width % CODED_MULTIPLE != 0 || height % CODED_MULTIPLE != 0 {
            return Err(Error::InvalidConfig(format!(
                "reference frame of {width}x{height}: pad both sides to multiples of {CODED_MULTIPLE}"
            )));
        }
        check_len("motion field", motion.len(), height / 8, width / 8, 3)?;
        self.field.load(motion, height / 8, width / 8);
        for_bands(threads, self.sources.iter_mut().enumerate(), |(i, source)| {
            source.load(reference.plane(i));
        });

        out.resize(width, height);
        let [luma, u, v] = self.sources.each_ref();
        let (mut rest_y, mut rest_u, mut rest_v) = (&mut out.y[..], &mut out.u[..], &mut out.v[..]);
        let parts = threads.max(1);
        let luma_bands = split_rows(height, 1, parts).map(|rows| {
            let out = take_front(&mut rest_y, rows.len() * width);
            Band::Luma { rows, out }
        });
        let chroma_bands = split_rows(height / 2, 1, parts).map(|rows| {
            let len = rows.len() * width / 2;
            let out = [take_front(&mut rest_u, len), take_front(&mut rest_v, len)];
            Band::Chroma { rows, out }
        });
        let field = &self.field;
        let (luma_a, chroma_a) = (self.luma.parameter(), self.chroma.parameter());
        for_bands(threads, luma_bands.chain(chroma_bands), |band| match band {
            Band::Luma { rows, out } => predict_band::<8, 1>(field, [luma], luma_a, rows, [out]),
            Band::Chroma { rows, out } => predict_band::<4, 2>(field, [u, v], chroma_a, rows, out),
        });
        Ok(())
    }
}

enum Band<'a> {
    Luma { rows: Range<usize>, out: &'a mut [f32] },
    Chroma { rows: Range<usize>, out: [&'a mut [f32]; 2] },
}

/// Predicts some rows of `PLANES` planes that move together and have `FACTOR` times the resolution of the field.
fn predict_band<const FACTOR: usize, const PLANES: usize>(
    field: &MotionField,
    sources: [&Source; PLANES],
    a: f32,
    rows: Range<usize>,
    mut out: [&mut [f32]; PLANES],
) {
    let (width, height) = (sources[0].width, sources[0].height);
    // Flow is in luma pixels, of which one is FACTOR / 8 of these planes'.
    let unit = FACTOR as f32 / 8.0;
    let [mut dx, mut dy, mut sigma] = [(); 3].map(|()| UpsampledRow::<FACTOR>::new(width));
    // The last five warped rows of each plane, row r at r modulo 5.
    let mut rings = [(); PLANES].map(|()| vec![0.0; TAPS * width]);
    let mut column_sums = vec![0.0; width + TAPS - 1];
    let mut next = rows.start.saturating_sub(TAPS / 2);
    for (i, row) in rows.enumerate() {
        let end = (row + TAPS / 2 + 1).min(height);
        for warped in next..end {
            dx.sample(&field.dx, warped, unit);
            dy.sample(&field.dy, warped, unit);
            for (source, ring) in sources.iter().zip(&mut rings) {
                let line = &mut ring[warped % TAPS * width..][..width];
                warp_row(source, a, warped, dx.values(), dy.values(), line);
            }
        }
        next = end;
        sigma.sample(&field.sigma, row, 1.0);
        let blurred = sigma.values().iter().any(|&s| s > 0.0);
        for (ring, out) in rings.iter().zip(&mut out) {
            let out = &mut out[i * width..][..width];
            let line = |offset: usize| {
                let row = (row + offset).saturating_sub(TAPS / 2).min(height - 1);
                &ring[row % TAPS * width..][..width]
            };
            if blurred {
                blur_row([0, 1, 2, 3, 4].map(line), sigma.values(), &mut column_sums, out);
            } else {
                out.copy_from_slice(line(TAPS / 2));
            }
        }
    }
}
