//! Two blocks of 8-bit samples, and sums over their differences in plain Rust: in lanes side by side, which compilers vectorise.

use crate::motion::CELL;

/// Two blocks of the same size to compare: each slice starts with the block's first sample, and its rows are a stride apart.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    pub a: &'a [u8],
    pub a_stride: usize,
    pub b: &'a [u8],
    pub b_stride: usize,
    pub width: usize,
    pub height: usize,
}

impl Pair<'_> {
    /// Whether both slices hold all rows.
    pub fn is_complete(&self) -> bool {
        let holds = |len: usize, stride: usize| self.height == 0 || len >= (self.height - 1) * stride + self.width;
        holds(self.a.len(), self.a_stride) && holds(self.b.len(), self.b_stride)
    }

    /// The same pair of blocks without its first columns.
    #[cfg(target_arch = "x86_64")]
    pub fn after_column(&self, column: usize) -> Self {
        Self { a: &self.a[column..], b: &self.b[column..], width: self.width - column, ..*self }
    }

    #[inline(always)]
    pub fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        (0..self.height).map(|y| (&self.a[y * self.a_stride..][..self.width], &self.b[y * self.b_stride..][..self.width]))
    }
}

#[inline(always)]
pub(super) fn square(a: u8, b: u8) -> u32 {
    u32::from(u16::from(a.abs_diff(b)).pow(2))
}

#[cfg_attr(all(target_arch = "aarch64", not(test)), expect(dead_code, reason = "NEON does it"))]
pub(super) fn squares_any(pair: &Pair) -> u32 {
    let (mut lanes, mut rest) = ([0; CELL], 0);
    for (a, b) in pair.rows() {
        let ((a, last_a), (b, last_b)) = (a.as_chunks::<CELL>(), b.as_chunks::<CELL>());
        for (a, b) in a.iter().zip(b) {
            for (i, lane) in lanes.iter_mut().enumerate() {
                *lane += square(a[i], b[i]);
            }
        }
        rest += last_a.iter().zip(last_b).map(|(&a, &b)| square(a, b)).sum::<u32>();
    }
    lanes.iter().sum::<u32>() + rest
}

#[cfg_attr(all(target_arch = "aarch64", not(test)), expect(dead_code, reason = "NEON does it"))]
pub(super) fn cells_any(pair: &Pair, sums: &mut [u32; 64]) {
    for (row, sums) in sums.as_chunks_mut::<CELL>().0.iter_mut().enumerate() {
        let mut lanes = [[0; CELL]; CELL];
        for (a, b) in pair.rows().skip(row * CELL).take(CELL) {
            let cells = a.as_chunks::<CELL>().0.iter().zip(b.as_chunks::<CELL>().0);
            for (lanes, (a, b)) in lanes.iter_mut().zip(cells) {
                for (i, lane) in lanes.iter_mut().enumerate() {
                    *lane += square(a[i], b[i]);
                }
            }
        }
        *sums = lanes.map(|lanes| lanes.iter().sum());
    }
}
