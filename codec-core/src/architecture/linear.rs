//! The linear channels of a latent: which function of a block each of them starts as, and the transforms that a block can choose from.

/// Luma and chroma samples along a side of a block at 1/16.
pub const LUMA_SIDE: usize = 16;
/// See [`LUMA_SIDE`].
pub const CHROMA_SIDE: usize = 8;
/// Linear channels of a complete transform: as many as a block has samples.
pub const COMPLETE: usize = LUMA_SIDE * LUMA_SIDE + 2 * CHROMA_SIDE * CHROMA_SIDE;
/// Linear channels that come first, whatever their number. Three quarters of them are luma's.
const FIRST: usize = 128;
const LUMA_SHARE: (usize, usize) = (3, 4);

/// A function of a two-dimensional DCT of one plane of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frequency {
    /// 0: luma; 1, 2: chroma.
    pub plane: usize,
    /// Vertical and horizontal frequency in half waves a block.
    pub row: usize,
    /// See [`Self::row`].
    pub col: usize,
}

impl Frequency {
    /// Samples along a side of a block.
    pub fn side(self) -> usize {
        if self.plane == 0 { LUMA_SIDE } else { CHROMA_SIDE }
    }

    /// Square of the waves in as many samples as luma has. An integer, so that the order of channels is the same on all machines.
    fn square(self) -> usize {
        let scale = LUMA_SIDE / self.side();
        (self.row * self.row + self.col * self.col) * scale * scale
    }
}

/// The functions that `count` linear channels start as, those of the first half of the checkerboard before those of the second. In each
/// half the lowest frequencies come first; beyond the first 128 channels, the rest follows them in the same way. `None` where a block has
/// no more functions.
pub fn frequencies(count: usize) -> Vec<Option<Frequency>> {
    let first = lowest(count.min(FIRST));
    let rest: Vec<Frequency> = lowest(count).into_iter().filter(|f| count > FIRST && !first.contains(f)).collect();
    let half = |parity: usize| {
        let of = |all: &[Frequency]| all.iter().skip(parity).step_by(2).copied().map(Some).collect::<Vec<_>>();
        let mut out = of(&first);
        out.extend(of(&rest));
        out.resize(count / 2, None);
        out
    };
    [half(0), half(1)].concat()
}

/// At most `count` functions of the three planes, sorted by frequency.
fn lowest(count: usize) -> Vec<Frequency> {
    let luma = (count * LUMA_SHARE.0 / LUMA_SHARE.1).min(LUMA_SIDE * LUMA_SIDE);
    let u = (count - luma) / 2;
    let mut all: Vec<Frequency> =
        [luma, u, count - luma - u].into_iter().enumerate().flat_map(|(plane, n)| plane_lowest(plane, n)).collect();
    all.sort_by_key(|f| f.square());
    all
}

fn plane_lowest(plane: usize, count: usize) -> Vec<Frequency> {
    let side = Frequency { plane, row: 0, col: 0 }.side();
    let mut all: Vec<Frequency> = (0..side * side).map(|i| Frequency { plane, row: i / side, col: i % side }).collect();
    all.sort_by_key(|f| (f.row * f.row + f.col * f.col, f.row));
    all.truncate(count);
    all
}

/// Value of a function of an orthonormal DCT of `side` samples.
pub fn wave(side: usize, frequency: usize, at: usize) -> f64 {
    let scale = if frequency == 0 { (1.0 / side as f64).sqrt() } else { (2.0 / side as f64).sqrt() };
    scale * (std::f64::consts::PI * frequency as f64 * (at as f64 + 0.5) / side as f64).cos()
}

/// Transforms that luma of a block can choose from: one of 16x16 samples, four of 8x8, sixteen of 4x4.
pub const TRANSFORMS: usize = 3;

/// One dimension of the way from the DCT of 16 samples to transform `choice` (1: two DCTs of 8 samples, 2: four of 4), orthonormal,
/// `[16][16]`. Row i has the function of part i modulo 2 (4) with the frequency i / 2 (4): channels keep their frequencies, nearly.
pub fn rotation(choice: usize) -> [[f64; LUMA_SIDE]; LUMA_SIDE] {
    let parts = 1 << choice;
    let side = LUMA_SIDE / parts;
    std::array::from_fn(|i| {
        std::array::from_fn(|j| {
            let (part, frequency) = (i % parts, i / parts);
            (0..side).map(|x| wave(side, frequency, x) * wave(LUMA_SIDE, j, part * side + x)).sum()
        })
    })
}

/// The places of luma's linear channels in a latent of so many `channels` whose linear ones are [`COMPLETE`]: that of row r and column c
/// at 16 r + c.
pub fn luma_places(channels: usize) -> Vec<usize> {
    let mut places = vec![0; LUMA_SIDE * LUMA_SIDE];
    for (channel, Frequency { plane, row, col }) in linear_channels(channels) {
        if plane == 0 {
            places[LUMA_SIDE * row + col] = channel;
        }
    }
    places
}

/// The linear channels of a latent of so many `channels` whose linear ones are [`COMPLETE`], and their functions.
pub fn linear_channels(channels: usize) -> Vec<(usize, Frequency)> {
    let nonlinear = (channels - COMPLETE) / 2;
    let before = |i: usize| if i < COMPLETE / 2 { nonlinear } else { 2 * nonlinear };
    let channel = |(i, frequency): (usize, Option<Frequency>)| Some((before(i) + i, frequency?));
    frequencies(COMPLETE).into_iter().enumerate().filter_map(channel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_transform_has_each_function_once_and_the_first_ones_stay() {
        let all = frequencies(COMPLETE);
        let mut seen = std::collections::HashSet::new();
        assert!(all.iter().all(|f| f.is_some_and(|f| seen.insert((f.plane, f.row, f.col)))));
        let first = frequencies(FIRST);
        assert_eq!((&all[..64], &all[192..256]), (&first[..64], &first[64..]));
        assert_eq!(frequencies(500).iter().filter(|f| f.is_none()).count(), 500 - COMPLETE);
        let means: Vec<usize> = (0..128).filter(|&i| first[i].is_some_and(|f| (f.row, f.col) == (0, 0))).collect();
        assert_eq!(means, [0, 1, 64]);
    }

    #[test]
    fn rotations_are_orthonormal_and_make_the_parts_of_a_block() {
        for choice in 1..TRANSFORMS {
            let r = rotation(choice);
            for i in 0..LUMA_SIDE {
                for j in 0..LUMA_SIDE {
                    let product: f64 = (0..LUMA_SIDE).map(|k| r[i][k] * r[j][k]).sum();
                    assert!((product - f64::from(u8::from(i == j))).abs() < 1e-12);
                }
            }
            // A step in the first part of a signal is seen by the first part's functions alone.
            let parts = 1 << choice;
            let signal: Vec<f64> = (0..LUMA_SIDE).map(|x| f64::from(u8::from(x < LUMA_SIDE / parts))).collect();
            let dct: Vec<f64> = (0..LUMA_SIDE).map(|u| (0..LUMA_SIDE).map(|x| wave(LUMA_SIDE, u, x) * signal[x]).sum()).collect();
            for (i, row) in r.iter().enumerate() {
                let value: f64 = row.iter().zip(&dct).map(|(a, b)| a * b).sum();
                let wanted = if i == 0 { (LUMA_SIDE as f64 / parts as f64).sqrt() } else { 0.0 };
                assert!((value - wanted).abs() < 1e-12, "{choice}, {i}: {value}");
            }
        }
    }

    #[test]
    fn places_are_those_of_the_halves() {
        let places = luma_places(COMPLETE + 64);
        let distinct: std::collections::HashSet<_> = places.iter().collect();
        assert_eq!(distinct.len(), 256);
        // Luma's mean is the very first linear channel.
        assert_eq!(places[0], 32);
        assert!(places.iter().all(|&p| (32..224).contains(&p) || (256..448).contains(&p)));
    }
}
