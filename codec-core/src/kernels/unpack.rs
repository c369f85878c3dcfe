//! From the networks' packed output to 8-bit frames.

use super::pack::{check_frame, check_shift};
use super::parallel::for_bands;
use super::simd::multiversion;
use super::{PACKED_CHANNELS, check_len};
use crate::frame::Frame;
use crate::{Error, Result};

/// Fractional bits of the packed output, in steps of the samples.
pub const OUTPUT_FRACTION_BITS: u32 = 6;
/// One step of the samples.
const STEP: i32 = 1 << OUTPUT_FRACTION_BITS;
/// The middle of the samples' range, 127.5: where I-frames have their zero.
const MIDDLE: i32 = 255 * STEP / 2;

/// Writes a frame from `packed`, NHWC `[H/8][W/8][96]` (layout: [`super::pack`]), in steps of the samples with
/// [`OUTPUT_FRACTION_BITS`] fractional bits.
///
/// Undoes a circular shift (dy, dx) that packing applied, adds `prediction` or, if there is none, 127.5, rounds to whole steps,
/// halves upwards, and clips to 0..=255. `frame` has the coded size.
///
/// # Errors
/// [`Error::InvalidConfig`] if sizes or the shift do not fit.
pub fn unpack_frame(
    packed: &[i16],
    prediction: Option<&Frame>,
    shift: (i32, i32),
    frame: &mut Frame,
    threads: usize,
) -> Result<()> {
    check_frame(frame)?;
    let (width, height) = (frame.width(), frame.height());
    check_len("packed frame", packed.len(), height / 8, width / 8, PACKED_CHANNELS)?;
    if let Some(prediction) = prediction {
        check_frame(prediction)?;
        if (prediction.width(), prediction.height()) != (width, height) {
            return Err(Error::InvalidConfig(format!(
                "a frame of {width}x{height} and its prediction of {}x{}",
                prediction.width(),
                prediction.height()
            )));
        }
    }
    let (dy, dx) = check_shift(shift, width, height)?;
    let source = Source { packed, prediction, width, height, shift: (dy, dx) };
    let strides = [0, 1, 2].map(|i| frame.plane(i).stride);
    let [y, u, v] = frame.planes_mut().each_mut().map(|plane| plane.data.as_mut_slice());
    let luma = y.chunks_mut(8 * strides[0]);
    let chroma = u.chunks_mut(4 * strides[1]).zip(v.chunks_mut(4 * strides[2]));
    let bands = luma.zip(chroma).enumerate().take(height / 8);
    for_bands(threads, bands, |(band, (y, (u, v)))| {
        let mut line = vec![0; width];
        for (plane, rows) in [y, u, v].into_iter().enumerate() {
            source.write_band(plane, band, rows, strides[plane], &mut line);
        }
    });
    Ok(())
}

struct Source<'a> {
    packed: &'a [i16],
    prediction: Option<&'a Frame>,
    width: usize,
    height: usize,
    shift: (usize, usize),
}

impl Source<'_> {
    /// Writes 8 rows of luma or 4 of chroma, the `band`-th such.
    fn write_band(&self, plane: usize, band: usize, out: &mut [u8], stride: usize, line: &mut [i16]) {
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
            if let Some(prediction) = self.prediction {
                let (predicted_left, predicted_right) = prediction.plane(plane).row(row).split_at(straight.len());
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
    fn gather_luma(cells: &[i16], channel: usize, line: &mut [i16]) = gather::<8>
}

multiversion! {
    fn gather_chroma(cells: &[i16], channel: usize, line: &mut [i16]) = gather::<4>
}

/// Collects a line from `SIDE` channels of each cell of a row.
#[inline(always)]
fn gather<const SIDE: usize>(cells: &[i16], channel: usize, line: &mut [i16]) {
    let pieces = line.as_chunks_mut::<SIDE>().0.iter_mut();
    for (piece, cell) in pieces.zip(cells.chunks_exact(PACKED_CHANNELS)) {
        piece.copy_from_slice(&cell[channel..][..SIDE]);
    }
}

multiversion! {
    fn round(values: &[i16], out: &mut [u8]) = round_all
}

multiversion! {
    fn round_sums(values: &[i16], predictions: &[u8], out: &mut [u8]) = round_all_sums
}

/// To 8 bits.
#[inline(always)]
fn to_byte(value: i32) -> u8 {
    ((value + STEP / 2) >> OUTPUT_FRACTION_BITS).clamp(0, 255) as u8
}

#[inline(always)]
fn round_all(values: &[i16], out: &mut [u8]) {
    for (byte, &value) in out.iter_mut().zip(values) {
        *byte = to_byte(i32::from(value) + MIDDLE);
    }
}

#[inline(always)]
fn round_all_sums(values: &[i16], predictions: &[u8], out: &mut [u8]) {
    for (byte, (&value, &prediction)) in out.iter_mut().zip(values.iter().zip(predictions)) {
        *byte = to_byte(i32::from(value) + (i32::from(prediction) << OUTPUT_FRACTION_BITS));
    }
}

#[cfg(test)]
mod tests {
    use super::super::pack::tests::{SHIFTS, noise_frame};
    use super::super::pack::{PackTarget, pack_frame, pack_residual};
    use super::*;

    fn buffer(frame: &Frame) -> Vec<i16> {
        vec![0; frame.width() * frame.height() / 64 * PACKED_CHANNELS]
    }

    /// Packed values in the scale of the networks' output: half steps to 1/64.
    fn packed(frame: &Frame, prediction: Option<&Frame>, shift: (i32, i32)) -> Vec<i16> {
        let mut data = buffer(frame);
        let target = PackTarget { data: &mut data, channels: PACKED_CHANNELS, offset: 0 };
        match prediction {
            Some(prediction) => pack_residual(frame, prediction, shift, target, 1).unwrap(),
            None => pack_frame(frame, shift, target, 1).unwrap(),
        }
        data.iter().map(|v| v * (STEP / 2) as i16).collect()
    }

    #[test]
    fn undoes_packing() {
        for (w, h) in [(64, 128), (8, 8), (72, 24)] {
            let (frame, prediction) = (noise_frame(w, h, 3), noise_frame(w, h, 7));
            for shift in SHIFTS {
                for threads in [1, 3] {
                    let mut out = Frame::new(w, h);
                    unpack_frame(&packed(&frame, None, shift), None, shift, &mut out, threads).unwrap();
                    assert_eq!(out, frame, "{w}x{h} {shift:?}");
                    let residual = packed(&frame, Some(&prediction), shift);
                    let mut out = Frame::new(w, h);
                    unpack_frame(&residual, Some(&prediction), shift, &mut out, threads).unwrap();
                    assert_eq!(out, frame, "{w}x{h} {shift:?} with a prediction");
                }
            }
        }
    }

    #[test]
    fn rounding_is_exact() {
        let mut data = vec![0; PACKED_CHANNELS];
        data[..8].copy_from_slice(&[-8160, 8160, i16::MIN, i16::MAX, 0, -1, 31 - 8160, 32 - 8160]);
        let mut out = Frame::new(8, 8);
        unpack_frame(&data, None, (0, 0), &mut out, 1).unwrap();
        // 127.5 goes up.
        assert_eq!(out.plane(0).data[..8], [0, 255, 0, 255, 128, 127, 0, 1]);
        let mut prediction = Frame::new(8, 8);
        prediction.plane_mut(0).data[..8].fill(100);
        data[..8].copy_from_slice(&[0, 31, 32, -32, -33, i16::MIN, i16::MAX, 64 * 155]);
        unpack_frame(&data, Some(&prediction), (0, 0), &mut out, 1).unwrap();
        assert_eq!(out.plane(0).data[..8], [100, 100, 101, 100, 99, 0, 255, 255]);
    }

    #[test]
    fn misfits_are_refused() {
        let data = [1; 96];
        let mut frame = Frame::new(8, 8);
        assert!(unpack_frame(&data[..95], None, (0, 0), &mut frame, 1).is_err());
        assert!(unpack_frame(&data, None, (1, 0), &mut frame, 1).is_err());
        assert!(unpack_frame(&data, Some(&Frame::new(16, 8)), (0, 0), &mut frame, 1).is_err());
        assert!(unpack_frame(&data, None, (0, 0), &mut Frame::new(8, 9), 1).is_err());
        frame.plane_mut(1).data.pop();
        assert!(unpack_frame(&data, None, (0, 0), &mut frame, 1).is_err());
    }
}
