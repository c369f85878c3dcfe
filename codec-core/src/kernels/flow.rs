//! Flow in the layout of E_flow's input.

use super::{check_channels, check_len};
use crate::Result;
use crate::flow::FlowField;

/// Channels of a packed field.
pub const FLOW_CHANNELS: usize = 8;

/// E_flow sees flow in units of 8 pixels.
const FLOW_UNIT: f32 = 1.0 / 8.0;

/// Writes a field (at 1/4), unshuffled by 2 and divided by 8, to the channels 0..8 of `data`, NHWC
/// `[rows/2][cols/2][channels]` (at 1/8): channel c*4 + dy*2 + dx for component c.
///
/// # Errors
/// [`crate::Error::InvalidConfig`] if sizes do not fit.
pub fn pack_flow(field: &FlowField, data: &mut [f32], channels: usize) -> Result<()> {
    let (rows, cols) = (field.rows / 2, field.cols / 2);
    let scaled = |block: [f32; 4]| block.map(|v| v * FLOW_UNIT);
    check_len("flow field", field.data.len(), rows * 2, cols * 2, 2)?;
    check_channels("packed flow", 0, FLOW_CHANNELS, channels)?;
    check_len("packed flow", data.len(), rows, cols, channels)?;
    for row in 0..rows {
        let lines = &field.data[row * cols * 8..][..cols * 8];
        let (upper, lower) = lines.split_at(cols * 4);
        let cells = data[row * cols * channels..].chunks_exact_mut(channels);
        let pairs = upper.as_chunks::<4>().0.iter().zip(lower.as_chunks::<4>().0);
        for (cell, (up, low)) in cells.zip(pairs) {
            cell[..4].copy_from_slice(&scaled([up[0], up[2], low[0], low[2]]));
            cell[4..8].copy_from_slice(&scaled([up[1], up[3], low[1], low[3]]));
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
        assert!(pack_flow(&field(4, 4), &mut [0.0; 28], 7).is_err());
        let odd = FlowField { rows: 3, cols: 4, data: vec![0.0; 24] };
        assert!(pack_flow(&odd, &mut [0.0; 16], 8).is_err());
    }
}
