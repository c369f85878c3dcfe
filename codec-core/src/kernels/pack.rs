//! Packing frames for the networks: pixel-unshuffle 8 of luma and 4 of chroma, NHWC.
//!
//! Cell (row, col) of `[H/8][W/8]` holds channel dy*8 + dx for luma, and 64 + c*16 + dy*4 + dx for chroma c (U, V). The
//! 96 channels may be a part of a wider tensor. Values are in half steps of the samples, so that 0 lies in the middle of their range.
//! All functions take a circular shift (dy, dx) of luma samples, both even, that is applied first: sample (r, c) goes to
//! (r + dy, c + dx), modulo the size; half of it for chroma.

use super::parallel::{for_bands, split_rows, take_front};
use super::simd::multiversion;
use super::{PACKED_CHANNELS, check_channels, check_len};
use crate::frame::Frame;
use crate::{Error, Result};

/// Where to write packed samples.
#[derive(Debug)]
pub struct PackTarget<'a> {
    /// NHWC `[H/8][W/8][channels]`; only the packed channels are written.
    pub data: &'a mut [i16],
    /// Channels of the tensor, for example 192.
    pub channels: usize,
    /// First channel to write.
    pub offset: usize,
}

/// Packs a frame whose sides are multiples of 8, each sample s as 2s - 255.
///
/// # Errors
/// [`Error::InvalidConfig`] if sizes, channels or the shift do not fit.
pub fn pack_frame(frame: &Frame, shift: (i32, i32), target: PackTarget, threads: usize) -> Result<()> {
    check_frame(frame)?;
    let fill = |plane: usize, row: usize, col: usize, out: &mut [i16]| {
        centre(&frame.plane(plane).row(row)[col..][..out.len()], out);
    };
    pack_rows((frame.width(), frame.height()), shift, target, threads, fill)
}

/// Packs the residual of a frame, twice the difference between each sample and its prediction.
///
/// # Errors
/// [`Error::InvalidConfig`] if sizes, channels or the shift do not fit.
pub fn pack_residual(frame: &Frame, prediction: &Frame, shift: (i32, i32), target: PackTarget, threads: usize) -> Result<()> {
    check_frame(frame)?;
    check_frame(prediction)?;
    let (size, predicted) = ((frame.width(), frame.height()), (prediction.width(), prediction.height()));
    if size != predicted {
        return Err(Error::InvalidConfig(format!("a frame of {size:?} samples and its prediction of {predicted:?}")));
    }
    let fill = |plane: usize, row: usize, col: usize, out: &mut [i16]| {
        let samples = &frame.plane(plane).row(row)[col..][..out.len()];
        difference(samples, &prediction.plane(plane).row(row)[col..][..out.len()], out);
    };
    pack_rows(size, shift, target, threads, fill)
}

/// Packs what `fill(plane, row, col, out)` writes: the samples of a plane's row from `col` on.
fn pack_rows(
    (width, height): (usize, usize),
    shift: (i32, i32),
    target: PackTarget,
    threads: usize,
    fill: impl Fn(usize, usize, usize, &mut [i16]) + Sync,
) -> Result<()> {
    let (rows, cols, channels) = (height / 8, width / 8, target.channels);
    check_channels("packed frame", target.offset, PACKED_CHANNELS, channels)?;
    check_len("packed frame", target.data.len(), rows, cols, channels)?;
    let (dy, dx) = check_shift(shift, width, height)?;
    let mut rest = target.data;
    let bands = split_rows(rows, 1, threads.max(1)).map(|band| {
        let cells = take_front(&mut rest, band.len() * cols * channels);
        (band, cells)
    });
    for_bands(threads, bands, |(band, cells)| {
        // The 8 luma rows of a row of cells, then 4 rows of U and 4 of V.
        let mut lines = vec![0; 12 * width];
        for (row, cells) in band.zip(cells.chunks_exact_mut(cols * channels)) {
            let (luma, chroma) = lines.split_at_mut(8 * width);
            for (i, line) in luma.chunks_exact_mut(width).enumerate() {
                let from = (row * 8 + i + height - dy) % height;
                fill_rotated(line, dx, |col, out| fill(0, from, col, out));
            }
            for (i, line) in chroma.chunks_exact_mut(width / 2).enumerate() {
                let from = (row * 4 + i % 4 + (height - dy) / 2) % (height / 2);
                fill_rotated(line, dx / 2, |col, out| fill(1 + i / 4, from, col, out));
            }
            scatter(&lines, cells, channels, target.offset);
        }
    });
    Ok(())
}

/// Fills a line so that what `fill` gives for column 0 lies at `shift`.
fn fill_rotated(line: &mut [i16], shift: usize, fill: impl Fn(usize, &mut [i16])) {
    let (wrapped, straight) = line.split_at_mut(shift);
    fill(0, straight);
    fill(straight.len(), wrapped);
}

multiversion! {
    /// Distributes 8 luma and twice 4 chroma lines over a row of cells.
    fn scatter(lines: &[i16], cells: &mut [i16], channels: usize, offset: usize) = scatter_lines
}

#[inline(always)]
fn scatter_lines(lines: &[i16], cells: &mut [i16], channels: usize, offset: usize) {
    let width = lines.len() / 12;
    let (luma, chroma) = lines.split_at(8 * width);
    for (col, cell) in cells.chunks_exact_mut(channels).enumerate() {
        let packed: &mut [i16; PACKED_CHANNELS] = cell[offset..].first_chunk_mut().expect("channels were checked");
        for i in 0..8 {
            packed[i * 8..][..8].copy_from_slice(&luma[i * width + col * 8..][..8]);
        }
        for i in 0..8 {
            packed[64 + i * 4..][..4].copy_from_slice(&chroma[i * (width / 2) + col * 4..][..4]);
        }
    }
}

multiversion! {
    /// Samples around the middle of their range.
    fn centre(bytes: &[u8], out: &mut [i16]) = centre_all
}

multiversion! {
    /// Samples minus their predictions.
    fn difference(samples: &[u8], predictions: &[u8], out: &mut [i16]) = convert_difference
}

#[inline(always)]
fn centre_all(bytes: &[u8], out: &mut [i16]) {
    for (value, &byte) in out.iter_mut().zip(bytes) {
        *value = 2 * i16::from(byte) - 255;
    }
}

#[inline(always)]
fn convert_difference(samples: &[u8], predictions: &[u8], out: &mut [i16]) {
    for (value, (&byte, &prediction)) in out.iter_mut().zip(samples.iter().zip(predictions)) {
        *value = 2 * (i16::from(byte) - i16::from(prediction));
    }
}

/// Checks that sides are positive multiples of 8.
pub(super) fn check_size(width: usize, height: usize) -> Result<()> {
    if width == 0 || height == 0 || !width.is_multiple_of(8) || !height.is_multiple_of(8) {
        return Err(Error::InvalidConfig(format!("frame of {width}x{height}: pad both sides to the coded size first")));
    }
    Ok(())
}

/// As [`check_size`], and the planes must be those of a 4:2:0 frame.
pub(super) fn check_frame(frame: &Frame) -> Result<()> {
    check_size(frame.width(), frame.height())?;
    frame.view().check()
}

/// The shift reduced to 0..height and 0..width.
pub(super) fn check_shift((dy, dx): (i32, i32), width: usize, height: usize) -> Result<(usize, usize)> {
    if dy % 2 != 0 || dx % 2 != 0 {
        return Err(Error::InvalidConfig(format!(
            "circular shift ({dy}, {dx}): both components must be even, chroma has half of the resolution"
        )));
    }
    let modulo = |shift: i32, size: usize| (i64::from(shift)).rem_euclid(size as i64) as usize;
    Ok((modulo(dy, height), modulo(dx, width)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub const SHIFTS: [(i32, i32); 5] = [(0, 0), (2, 14), (14, 2), (-6, 8), (10, -130)];

    /// Numbers in -amplitude/2..amplitude/2.
    pub fn noise(len: usize, seed: u32, amplitude: f32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b1) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..len).map(|_| next() * amplitude).collect()
    }

    pub fn noise_frame(width: usize, height: usize, seed: u32) -> Frame {
        let mut frame = Frame::new(width, height);
        for (i, plane) in frame.planes_mut().iter_mut().enumerate() {
            let values = noise(plane.data.len(), seed + i as u32, 1.0);
            for (byte, value) in plane.data.iter_mut().zip(values) {
                *byte = ((value + 0.5) * 256.0) as u8;
            }
        }
        frame
    }

    /// Checks all channels against `value(plane, row, col)`, and that nothing else was written.
    fn check_packed(
        (width, height): (usize, usize),
        (dy, dx): (i32, i32),
        pack: impl Fn(PackTarget, usize),
        value: impl Fn(usize, usize, usize) -> i16,
    ) {
        for (channels, offset, threads) in [(96, 0, 1), (192, 96, 3), (200, 8, 2)] {
            let (rows, cols) = (height / 8, width / 8);
            let mut data = vec![9; rows * cols * channels];
            let target = PackTarget { data: &mut data, channels, offset };
            pack(target, threads);
            for (i, &got) in data.iter().enumerate() {
                let (row, col) = (i / channels / cols, i / channels % cols);
                let channel = (i % channels).wrapping_sub(offset);
                let sample = |plane: usize, side: usize, k: usize| {
                    let scale = (8 / side) as i32;
                    let (h, w) = ((rows * side) as i32, (cols * side) as i32);
                    let r = ((row * side + k / side) as i32 - dy / scale).rem_euclid(h);
                    let c = ((col * side + k % side) as i32 - dx / scale).rem_euclid(w);
                    value(plane, r as usize, c as usize)
                };
                let expected = match channel {
                    0..64 => sample(0, 8, channel),
                    64..80 => sample(1, 4, channel - 64),
                    80..96 => sample(2, 4, channel - 80),
                    _ => 9,
                };
                assert_eq!(got, expected, "{channel} at {row}, {col}");
            }
        }
    }

    #[test]
    fn packs_like_unshuffling_a_rolled_frame() {
        for (w, h) in [(64, 128), (8, 8), (72, 24)] {
            let (frame, prediction) = (noise_frame(w, h, 1), noise_frame(w, h, 9));
            let sample = |frame: &Frame, p: usize, r: usize, c: usize| i16::from(frame.plane(p).row(r)[c]);
            for shift in SHIFTS {
                let centred = |p, r, c| 2 * sample(&frame, p, r, c) - 255;
                check_packed((w, h), shift, |t, n| pack_frame(&frame, shift, t, n).unwrap(), centred);
                let residual = |t: PackTarget, n: usize| pack_residual(&frame, &prediction, shift, t, n).unwrap();
                let twice = |p, r, c| 2 * (sample(&frame, p, r, c) - sample(&prediction, p, r, c));
                check_packed((w, h), shift, residual, twice);
            }
        }
    }

    #[test]
    fn misfits_are_refused() {
        let pack = |frame: &Frame, shift, len, channels, offset| {
            let mut data = vec![0; len];
            let target = PackTarget { data: &mut data, channels, offset };
            pack_frame(frame, shift, target, 1)
        };
        let frame = noise_frame(16, 8, 1);
        assert!(pack(&frame, (0, 0), 2 * 200, 200, 104).is_ok());
        for (shift, len, channels, offset) in [
            ((0, 0), 2 * 200 - 1, 200, 104),
            ((0, 0), 2 * 200, 200, 105),
            ((0, 0), 2 * 200, 200, usize::MAX),
            ((0, 0), 0, 0, 0),
            ((0, 3), 2 * 200, 200, 0),
        ] {
            assert!(matches!(pack(&frame, shift, len, channels, offset), Err(Error::InvalidConfig(_))));
        }
        assert!(pack(&noise_frame(12, 8, 1), (0, 0), 96, 96, 0).is_err());
        let mut short = noise_frame(16, 8, 1);
        short.plane_mut(2).data.clear();
        assert!(pack(&short, (0, 0), 2 * 96, 96, 0).is_err());
        let target = PackTarget { data: &mut [0; 2 * 96], channels: 96, offset: 0 };
        assert!(pack_residual(&frame, &noise_frame(8, 8, 1), (0, 0), target, 1).is_err());
    }
}
