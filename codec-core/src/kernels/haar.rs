//! Flow in the layouts of the flow codec: its fixed Haar split and E_flow's input.
//!
//! The 2x2 Haar split takes (a, b; c, d) of each component to its mean and its horizontal, vertical and diagonal details,
//! all divided by 4, so that the mean is a mean. Channel order: 4 bands of dx, 4 bands of dy.

use super::{check_channels, check_len};
use crate::Result;
use crate::flow::FlowField;

/// Channels of a split field.
pub const FLOW_BANDS: usize = 8;

/// E_flow sees flow in units of 8 pixels.
const FLOW_UNIT: f32 = 1.0 / 8.0;

/// Sums and differences of a 2x2 block.
fn butterfly([a, b, c, d]: [f32; 4]) -> [f32; 4] {
    let (ab, cd, a_b, c_d) = (a + b, c + d, a - b, c - d);
    [ab + cd, a_b + c_d, ab - cd, a_b - c_d]
}

/// Splits a field (at 1/8) into `bands`, NHWC `[rows/2][cols/2][8]` (at 1/16).
///
/// # Errors
/// [`crate::Error::InvalidConfig`] if sizes do not fit.
pub fn split(field: &FlowField, bands: &mut [f32]) -> Result<()> {
    blocks(field, bands, FLOW_BANDS, |block| butterfly(block).map(|v| v * 0.25))
}

/// Writes a field (at 1/4), unshuffled by 2 and divided by 8, to the channels 0..8 of `data`, NHWC
/// `[rows/2][cols/2][channels]` (at 1/8): channel c*4 + dy*2 + dx for component c.
///
/// # Errors
/// [`crate::Error::InvalidConfig`] if sizes do not fit.
pub fn pack_flow(field: &FlowField, data: &mut [f32], channels: usize) -> Result<()> {
    blocks(field, data, channels, |block| block.map(|v| v * FLOW_UNIT))
}

fn blocks(field: &FlowField, out: &mut [f32], channels: usize, transform: impl Fn([f32; 4]) -> [f32; 4]) -> Result<()> {
    let (rows, cols) = (field.rows / 2, field.cols / 2);
    check_len("flow field", field.data.len(), rows * 2, cols * 2, 2)?;
    check_channels("packed flow", 0, FLOW_BANDS, channels)?;
    check_len("packed flow", out.len(), rows, cols, channels)?;
    for row in 0..rows {
        let lines = &field.data[row * cols * 8..][..cols * 8];
        let (upper, lower) = lines.split_at(cols * 4);
        let cells = out[row * cols * channels..].chunks_exact_mut(channels);
        let pairs = upper.as_chunks::<4>().0.iter().zip(lower.as_chunks::<4>().0);
        for (cell, (up, low)) in cells.zip(pairs) {
            cell[..4].copy_from_slice(&transform([up[0], up[2], low[0], low[2]]));
            cell[4..8].copy_from_slice(&transform([up[1], up[3], low[1], low[3]]));
        }
    }
    Ok(())
}

/// Adds the field that [`split`] took to `bands` to channels 0 and 1 of `motion`.
///
/// `bands` are the channels 0..8 of NHWC `[rows][cols][band_channels]` (at 1/16); `motion` is NHWC
/// `[2*rows][2*cols][motion_channels]` (at 1/8), on entry for example what the networks correct.
///
/// # Errors
/// [`crate::Error::InvalidConfig`] if sizes do not fit.
pub fn merge_into(
    bands: &[f32],
    band_channels: usize,
    (rows, cols): (usize, usize),
    motion: &mut [f32],
    motion_channels: usize,
) -> Result<()> {
    check_channels("flow bands", 0, FLOW_BANDS, band_channels)?;
    check_len("flow bands", bands.len(), rows, cols, band_channels)?;
    check_channels("motion field", 0, 2, motion_channels)?;
    check_len("motion field", motion.len(), rows * 2, cols * 2, motion_channels)?;
    for row in 0..rows {
        let line = 2 * cols * motion_channels;
        let (upper, lower) = motion[row * 2 * line..][..2 * line].split_at_mut(line);
        let pairs = upper.chunks_exact_mut(2 * motion_channels).zip(lower.chunks_exact_mut(2 * motion_channels));
        let cells = bands[row * cols * band_channels..].chunks_exact(band_channels);
        for (cell, (up, low)) in cells.zip(pairs) {
            for c in 0..2 {
                let block = butterfly([cell[4 * c], cell[4 * c + 1], cell[4 * c + 2], cell[4 * c + 3]]);
                up[c] += block[0];
                up[motion_channels + c] += block[1];
                low[c] += block[2];
                low[motion_channels + c] += block[3];
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::pack::tests::noise;
    use super::*;

    fn field(rows: usize, cols: usize) -> FlowField {
        FlowField { rows, cols, data: noise(rows * cols * 2, 11, 40.0) }
    }

    fn at(field: &FlowField, row: usize, col: usize, c: usize) -> f32 {
        field.data[(row * field.cols + col) * 2 + c]
    }

    #[test]
    fn splits_as_defined() {
        let field = field(6, 4);
        let mut bands = vec![0.0; 3 * 2 * 8];
        split(&field, &mut bands).unwrap();
        let signs = [[1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0], [1.0, -1.0, -1.0, 1.0]];
        for (i, &got) in bands.iter().enumerate() {
            let (row, col, c, band) = (i / 16, i / 8 % 2, i / 4 % 2, i % 4);
            let terms = (0..4).map(|k| signs[band][k] * at(&field, 2 * row + k / 2, 2 * col + k % 2, c));
            let expected = terms.sum::<f32>() / 4.0;
            assert!((got - expected).abs() < 1e-5, "{i}: {got}, not {expected}");
        }
    }

    #[test]
    fn merging_undoes_splitting_and_adds() {
        let field = field(6, 4);
        let mut bands = vec![0.0; 3 * 2 * 8];
        split(&field, &mut bands).unwrap();
        let mut latent = vec![7.0; 3 * 2 * 16];
        for (cell, band) in latent.chunks_exact_mut(16).zip(bands.chunks_exact(8)) {
            cell[..8].copy_from_slice(band);
        }
        let correction = noise(6 * 4 * 3, 4, 1.0);
        let mut motion = correction.clone();
        merge_into(&latent, 16, (3, 2), &mut motion, 3).unwrap();
        for (i, (got, before)) in motion.iter().zip(&correction).enumerate() {
            let (row, col, c) = (i / 12, i / 3 % 4, i % 3);
            let expected = if c < 2 { before + at(&field, row, col, c) } else { *before };
            assert!((got - expected).abs() < 1e-5, "{i}: {got}, not {expected}");
        }
    }

    #[test]
    fn packs_flow_by_unshuffling() {
        let field = field(4, 6);
        let mut data = vec![5.0; 2 * 3 * 200];
        pack_flow(&field, &mut data, 200).unwrap();
        for (i, &got) in data.iter().enumerate() {
            let (row, col, channel) = (i / 600, i / 200 % 3, i % 200);
            let (c, dy, dx) = (channel / 4, channel / 2 % 2, channel % 2);
            let expected = if channel < 8 { at(&field, 2 * row + dy, 2 * col + dx, c) / 8.0 } else { 5.0 };
            assert_eq!(got, expected, "{i}");
        }
    }

    #[test]
    fn misfits_are_refused() {
        let field = field(4, 4);
        assert!(split(&field, &mut [0.0; 31]).is_err());
        assert!(pack_flow(&field, &mut [0.0; 28], 7).is_err());
        let odd = FlowField { rows: 3, cols: 4, data: vec![0.0; 24] };
        assert!(split(&odd, &mut [0.0; 16]).is_err());
        assert!(merge_into(&[0.0; 32], 8, (2, 2), &mut [0.0; 47], 3).is_err());
        assert!(merge_into(&[0.0; 31], 8, (2, 2), &mut [0.0; 48], 3).is_err());
        assert!(merge_into(&[0.0; 28], 7, (2, 2), &mut [0.0; 48], 3).is_err());
    }
}
