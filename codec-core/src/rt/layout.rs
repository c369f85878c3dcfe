//! Moving cells between 1/8 and 1/16.
//!
//! A model file has the channels of an unshuffled tensor in the order of pixel-unshuffle, channel 4c + 2dy + dx. The engine keeps the
//! four cells one after the other, (2dy + dx) C + c, so that cells move as a whole; layers are reordered when they are read.

use crate::integer::{LayerParams, Machine, resize};

/// Four cells of `channels`: where channel i of the file's order lies in the engine's.
fn place(i: usize, channels: usize) -> usize {
    i % 4 * channels + i / 4
}

/// Reorders the inputs of a 1x1 layer that reads four cells of `channels`.
pub(super) fn reorder_inputs(params: &mut LayerParams, channels: usize) {
    for weights in params.weight.chunks_exact_mut(4 * channels) {
        let old = weights.to_vec();
        old.iter().enumerate().for_each(|(i, &w)| weights[place(i, channels)] = w);
    }
}

/// Reorders the outputs of a 1x1 layer that writes four cells of `channels`.
pub(super) fn reorder_outputs(params: &mut LayerParams, channels: usize) {
    let old = params.clone();
    let inputs = old.weight.len() / (4 * channels);
    for i in 0..4 * channels {
        let to = place(i, channels);
        params.weight[to * inputs..][..inputs].copy_from_slice(&old.weight[i * inputs..][..inputs]);
        (params.bias[to], params.shift[to]) = (old.bias[i], old.shift[i]);
    }
}

/// Collects the first `channels` of `stride` of each 2x2 cells: `[rows][cols][stride]` to `[rows/2][cols/2][4 * channels]`.
pub(super) fn gather(
    machine: Machine,
    x: &[i16],
    (rows, cols): (usize, usize),
    stride: usize,
    channels: usize,
    out: &mut Vec<i16>,
) {
    resize(out, rows * cols * channels);
    let line = 2 * cols * channels;
    machine.for_positions(out, line, |first, out| {
        for (i, out) in out.chunks_exact_mut(line).enumerate() {
            let (upper, lower) = x[(first + i) * 2 * cols * stride..][..2 * cols * stride].split_at(cols * stride);
            for (i, out) in out.chunks_exact_mut(4 * channels).enumerate() {
                let (left, right) = (2 * i * stride, (2 * i + 1) * stride);
                let sources = [&upper[left..], &upper[right..], &lower[left..], &lower[right..]];
                for (out, source) in out.chunks_exact_mut(channels).zip(sources) {
                    out.copy_from_slice(&source[..channels]);
                }
            }
        }
    });
}

/// Spreads cells: `[rows][cols][4 * channels]` to `[2 rows][2 cols][channels]`, each as `write(cell, from, to)` copies it; `cell` is the
/// number of the cell that holds it.
pub(super) fn scatter(
    machine: Machine,
    x: &[i16],
    (rows, cols): (usize, usize),
    channels: usize,
    out: &mut Vec<i16>,
    write: impl Fn(usize, &[i16], &mut [i16]) + Sync,
) {
    resize(out, rows * cols * 4 * channels);
    let line = cols * 4 * channels;
    machine.for_positions(out, line, |first, out| {
        for (row, (x, out)) in x[first * line..].chunks_exact(line).zip(out.chunks_exact_mut(line)).enumerate() {
            let (upper, lower) = out.split_at_mut(2 * cols * channels);
            for (i, cells) in x.chunks_exact(4 * channels).enumerate() {
                let cell = (first + row) * cols + i;
                let (above, below) = cells.split_at(2 * channels);
                let at = 2 * i * channels;
                for (from, to) in [(above, &mut upper[at..]), (below, &mut lower[at..])] {
                    write(cell, &from[..channels], &mut to[..channels]);
                    write(cell, &from[channels..], &mut to[channels..2 * channels]);
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_go_to_a_sixteenth_and_back() {
        let (rows, cols, stride) = (4, 6, 5);
        let x: Vec<i16> = (0..rows * cols * stride).map(|i| i as i16).collect();
        let mut cells = Vec::new();
        let machine = Machine::new(2);
        gather(machine, &x, (rows, cols), stride, 3, &mut cells);
        // Row 1, column 2 at 1/16: its last cell is row 3, column 5 at 1/8.
        assert_eq!(cells[(3 + 2) * 12 + 9..][..3], x[(3 * cols + 5) * stride..][..3]);
        let mut back = Vec::new();
        scatter(machine, &cells, (2, 3), 3, &mut back, |cell, from, to| {
            assert!(cells[cell * 12..][..12].chunks_exact(3).any(|part| part == from), "cell {cell}");
            to.copy_from_slice(from);
        });
        let wanted: Vec<i16> = x.chunks_exact(stride).flat_map(|cell| cell[..3].to_vec()).collect();
        assert_eq!(back, wanted);
    }

    #[test]
    fn layers_follow_the_order_of_cells() {
        let params = LayerParams { weight: (0..8).collect(), bias: (0..8).collect(), shift: (0..8).collect() };
        let mut inputs = params.clone();
        reorder_inputs(&mut inputs, 2);
        assert_eq!(inputs.weight, [0, 4, 1, 5, 2, 6, 3, 7]);
        let mut outputs = params;
        reorder_outputs(&mut outputs, 2);
        assert_eq!(outputs.weight, [0, 4, 1, 5, 2, 6, 3, 7]);
        assert_eq!((outputs.bias[1], outputs.shift[3]), (4, 5));
    }
}
