//! From the networks' packed output to 8-bit frames.

use super::pack::{check_frame, check_shift};
use super::parallel::for_bands;
use super::simd::{multiversion, whole_to_u32};
use super::{PACKED_CHANNELS, Prediction, check_len};
use crate::Result;
use crate::frame::Frame;

/// Writes a frame from `packed`, NHWC `[H/8][W/8][96]` (layout: [`super::pack`]).
///
/// Undoes a circular shift (dy, dx) that packing applied, adds `prediction` if there is one, clamps to -0.5..=0.5 and
/// rounds to 8 bits, halves upwards. Values that are not numbers become 0. `frame` has the coded size.
///
/// # Errors
/// [`crate::Error::InvalidConfig`] if sizes or the shift do not fit.
pub fn unpack_frame(
    packed: &[f32],
    prediction: Option<&Prediction>,
    shift: (i32, i32),
    frame: &mut Frame,
    threads: usize,
) -> Result<()> {
    check_frame(frame)?;
    let (width, height) = (frame.width(), frame.height());
    check_len("packed frame", packed.len(), height / 8, width / 8, PACKED_CHANNELS)?;
    if let Some(prediction) = prediction {
        prediction.check(width, height)?;
    }
    let (dy, dx) = check_shift(shift, width, height)?;
    let source = Source { packed, prediction: prediction.map(Prediction::planes), width, height, shift: (dy, dx) };
    let strides = [0, 1, 2].map(|i| frame.plane(i).stride);
    let [y, u, v] = frame.planes_mut().each_mut().map(|plane| plane.data.as_mut_slice());
    let luma = y.chunks_mut(8 * strides[0]);
    let chroma = u.chunks_mut(4 * strides[1]).zip(v.chunks_mut(4 * strides[2]));
    let bands = luma.zip(chroma).enumerate().take(height / 8);
    for_bands(threads, bands, |(band, (y, (u, v)))| {
        let mut line = vec![0.0; width];
        for (plane, rows) in [y, u, v].into_iter().enumerate() {
            source.write_band(plane, band, rows, strides[plane], &mut line);
        }
    });
    Ok(())
}

struct Source<'a> {
    packed: &'a [f32],
    prediction: Option<[(&'a [f32], usize); 3]>,
    width: usize,
    height: usize,
    shift: (usize, usize),
}

impl Source<'_> {
    /// Writes 8 rows of luma or 4 of chroma, the `band`-th such.
    fn write_band(&self, plane: usize, band: usize, out: &mut [u8], stride: usize, line: &mut [f32]) {
        let side = if plane == 0 { 8 } else { 4 };
        let (width, height) = (self.width * side / 8, self.height * side / 8);
        let (dy, dx) = (self.shift.0 * side / 8, self.shift.1 * side / 8);
        let line = &mut line[..width];
        let cells_len = self.width / 8 * PACKED_CHANNELS;
        for i in 0..side {
            let row = band * side + i;
            let from = (row + dy) % height;
            let cells = &self.packed[from / side * cells_len..][..cells_len];
            if plane == 0 {
                gather_luma(cells, from % 8 * 8, line);
            } else {
                gather_chroma(cells, 48 + plane * 16 + from % 4 * 4, line);
            }
            let (wrapped, straight) = line.split_at(dx);
            let out = &mut out[i * stride..][..width];
            let (left, right) = out.split_at_mut(straight.len());
            if let Some(prediction) = self.prediction.map(|planes| &planes[plane].0[row * width..][..width]) {
                let (predicted_left, predicted_right) = prediction.split_at(straight.len());
                round_sums(straight, predicted_left, left);
                round_sums(wrapped, predicted_right, right);
            } else {
                round(straight, left);
                round(wrapped, right);
            }
        }
    }
}

multiversion! {
    fn gather_luma(cells: &[f32], channel: usize, line: &mut [f32]) = gather::<8>
}

multiversion! {
    fn gather_chroma(cells: &[f32], channel: usize, line: &mut [f32]) = gather::<4>
}

/// Collects a line from `SIDE` channels of each cell of a row.
#[inline(always)]
fn gather<const SIDE: usize>(cells: &[f32], channel: usize, line: &mut [f32]) {
    let pieces = line.as_chunks_mut::<SIDE>().0.iter_mut();
    for (piece, cell) in pieces.zip(cells.chunks_exact(PACKED_CHANNELS)) {
        piece.copy_from_slice(&cell[channel..][..SIDE]);
    }
}

multiversion! {
    fn round(values: &[f32], out: &mut [u8]) = round_all
}

multiversion! {
    fn round_sums(values: &[f32], predictions: &[f32], out: &mut [u8]) = round_all_sums
}

/// To 8 bits.
#[inline(always)]
#[expect(clippy::manual_clamp, reason = "max takes what is no number for its bound, clamp keeps it")]
pub(super) fn to_byte(value: f32) -> u8 {
    let unit = value.max(-0.5).min(0.5) + 0.5;
    whole_to_u32((unit * 255.0 + 0.5).floor()) as u8
}

#[inline(always)]
fn round_all(values: &[f32], out: &mut [u8]) {
    for (byte, &value) in out.iter_mut().zip(values) {
        *byte = to_byte(value);
    }
}

#[inline(always)]
fn round_all_sums(values: &[f32], predictions: &[f32], out: &mut [u8]) {
    for (byte, (value, prediction)) in out.iter_mut().zip(values.iter().zip(predictions)) {
        *byte = to_byte(value + prediction);
    }
}

#[cfg(test)]
mod tests {
    use super::super::pack::tests::{SHIFTS, noise, noise_frame, noise_prediction};
    use super::super::pack::{PackTarget, pack_frame, pack_prediction};
    use super::*;

    fn packed(frame: &Frame, shift: (i32, i32)) -> Vec<f32> {
        let mut data = vec![0.0; frame.width() * frame.height() / 64 * PACKED_CHANNELS];
        let target = PackTarget { data: &mut data, channels: PACKED_CHANNELS, offset: 0 };
        pack_frame(frame, shift, target, 1).unwrap();
        data
    }

    #[test]
    fn undoes_packing() {
        for (w, h) in [(64, 128), (8, 8), (72, 24)] {
            let frame = noise_frame(w, h, 3);
            for shift in SHIFTS {
                for threads in [1, 3] {
                    let mut out = Frame::new(w, h);
                    unpack_frame(&packed(&frame, shift), None, shift, &mut out, threads).unwrap();
                    assert_eq!(out, frame, "{w}x{h} {shift:?}");
                }
            }
        }
    }

    #[test]
    fn adds_the_prediction_and_rounds() {
        let (w, h) = (64, 64);
        for shift in SHIFTS {
            let (residual, prediction) = (noise_prediction(w, h, 5, 1.2), noise_prediction(w, h, 6, 1.0));
            let mut data = vec![0.0; w * h / 64 * PACKED_CHANNELS];
            let target = PackTarget { data: &mut data, channels: PACKED_CHANNELS, offset: 0 };
            pack_prediction(&residual, shift, target, 1).unwrap();
            let mut out = Frame::new(w, h);
            unpack_frame(&data, Some(&prediction), shift, &mut out, 2).unwrap();
            for (i, ((a, _), (b, _))) in residual.planes().iter().zip(prediction.planes()).enumerate() {
                let sums = a.iter().zip(b).map(|(a, b)| a + b);
                let expected: Vec<u8> = sums.map(|v| (((v.clamp(-0.5, 0.5) + 0.5) * 255.0) + 0.5).floor() as u8).collect();
                assert_eq!(out.plane(i).data, expected);
            }
        }
    }

    #[test]
    fn rounding_is_exact() {
        let mut data = vec![0.0; PACKED_CHANNELS];
        let values = [-0.5, 0.5, -7.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0, 1.0 / 255.0, 0.6 / 255.0 - 0.5];
        data[..9].copy_from_slice(&values);
        // 127.5 at mid-gray goes up.
        let expected = [0, 255, 0, 255, 0, 0, 128, 129, 1];
        let mut out = Frame::new(8, 8);
        unpack_frame(&data, None, (0, 0), &mut out, 1).unwrap();
        assert_eq!(out.plane(0).data[..9], expected);
        for sample in 0..=255u8 {
            assert_eq!(to_byte(super::super::pack::to_float(sample)), sample);
        }
    }

    #[test]
    fn misfits_are_refused() {
        let data = noise(96, 1, 1.0);
        let mut frame = Frame::new(8, 8);
        assert!(unpack_frame(&data[..95], None, (0, 0), &mut frame, 1).is_err());
        assert!(unpack_frame(&data, None, (1, 0), &mut frame, 1).is_err());
        assert!(unpack_frame(&data, Some(&Prediction::new(16, 8)), (0, 0), &mut frame, 1).is_err());
        assert!(unpack_frame(&data, None, (0, 0), &mut Frame::new(8, 9), 1).is_err());
        frame.plane_mut(1).data.pop();
        assert!(unpack_frame(&data, None, (0, 0), &mut frame, 1).is_err());
    }
}
