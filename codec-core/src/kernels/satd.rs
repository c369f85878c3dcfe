//! Sums of absolute values of Hadamard transforms: about what samples cost to code.

use super::simd::multiversion;
use crate::frame::Plane;

/// Side of a block.
pub const SIDE: usize = 8;

/// What a picture holds, for each luma sample of the `display` part (width, height) of `luma`: the sum over all whole blocks, shared out.
/// Pictures smaller than a block hold nothing.
pub fn texture(luma: &Plane, display: (usize, usize)) -> f64 {
    let (cols, rows) = (display.0 / SIDE, display.1 / SIDE);
    let mut sum = 0;
    for (row, col) in (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col))) {
        satd((&luma.data[row * SIDE * luma.stride + col * SIDE..], luma.stride), (&[0; SIDE], 0), &mut sum);
    }
    sum as f64 / (cols * rows * SIDE * SIDE).max(1) as f64
}

multiversion! {
    /// Adds the sum of the absolute values of the Hadamard transform of the difference of two blocks of 8x8 samples, without the
    /// first. A block is its samples and the distance of its rows.
    pub fn satd(a: (&[u8], usize), b: (&[u8], usize), sum: &mut u64) = satd_any
}

#[inline(always)]
fn satd_any(a: (&[u8], usize), b: (&[u8], usize), sum: &mut u64) {
    let mut v = [[0i16; SIDE]; SIDE];
    for (y, line) in v.iter_mut().enumerate() {
        let (a, b) = (&a.0[y * a.1..][..SIDE], &b.0[y * b.1..][..SIDE]);
        for x in 0..SIDE {
            line[x] = i16::from(a[x]) - i16::from(b[x]);
        }
    }
    // Along columns, turned, along columns again: the sum does not mind that the result is turned.
    for _ in 0..2 {
        for half in [1, 2, 4] {
            for row in 0..SIDE {
                if row & half == 0 {
                    let (a, b) = (v[row], v[row + half]);
                    v[row] = std::array::from_fn(|x| a[x] + b[x]);
                    v[row + half] = std::array::from_fn(|x| a[x] - b[x]);
                }
            }
        }
        let mut turned = [[0; SIDE]; SIDE];
        for row in 0..SIDE {
            for x in 0..SIDE {
                turned[x][row] = v[row][x];
            }
        }
        v = turned;
    }
    let first = u32::from(v[0][0].unsigned_abs());
    // At most 64 * 64 * 255 in all.
    *sum += u64::from(v.as_flattened().iter().map(|v| u32::from(v.unsigned_abs())).sum::<u32>() - first);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_picture_holds_nothing_and_stripes_hold_what_they_swing() {
        let mut luma = Plane::new(32, 16);
        luma.data.fill(90);
        assert_eq!(texture(&luma, (32, 16)), 0.0);
        // The mean of a block does not count: one coefficient of 64 times the swing is left.
        luma.data.iter_mut().enumerate().for_each(|(i, sample)| *sample = 90 + 20 * (i % 2) as u8);
        assert_eq!(texture(&luma, (32, 16)), 10.0);
        // What is not seen does not count.
        luma.data.chunks_mut(32).for_each(|row| row[16..].fill(0));
        assert_eq!(texture(&luma, (16, 16)), 10.0);
        assert_eq!(texture(&luma, (7, 5)), 0.0);
    }

    #[test]
    fn a_block_differs_from_itself_by_nothing() {
        let block: [u8; 64] = std::array::from_fn(|i| (i * i % 251) as u8);
        let mut sum = 0;
        satd((&block, 8), (&block, 8), &mut sum);
        assert_eq!(sum, 0);
        // Turned by 90 degrees, it holds as much.
        let turned: [u8; 64] = std::array::from_fn(|i| block[i % 8 * 8 + i / 8]);
        let sums = [block, turned].map(|block| {
            let mut sum = 0;
            satd((&block, 8), (&[0; 8], 0), &mut sum);
            sum
        });
        assert_eq!(sums[0], sums[1]);
    }
}
