//! Where a filter's taps lie: a diamond around the sample, point symmetric, so that one coefficient serves two opposite taps.
//!
//! (VVC, ISO/IEC 23090-3, 8.8.5.) A diamond that reaches r samples far has r * (r + 1) pairs.

/// Pairs of the 7x7 diamond of luma.
pub(super) const LUMA_PAIRS: usize = 12;
/// Pairs of the 5x5 diamond of chroma.
pub(super) const CHROMA_PAIRS: usize = 6;
/// Samples that the larger diamond reaches beyond its centre.
pub(super) const REACH: usize = reach(LUMA_PAIRS);

/// How far a diamond of so many pairs reaches.
pub(super) const fn reach(pairs: usize) -> usize {
    let mut reach = 0;
    while reach * (reach + 1) < pairs {
        reach += 1;
    }
    reach
}

/// The upper tap of each pair, (rows, columns) from the centre, in coding order: row by row, left to right. The other one lies
/// opposite.
pub(super) const fn taps<const K: usize>() -> [(isize, isize); K] {
    let reach = reach(K) as isize;
    let mut taps = [(0, 0); K];
    let (mut k, mut row) = (0, -reach);
    while k < K {
        let half = reach + row;
        let mut col = -half;
        while col <= half && k < K {
            taps[k] = (row, col);
            k += 1;
            col += 1;
        }
        row += 1;
    }
    taps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_fill_the_diamonds() {
        assert_eq!(taps::<CHROMA_PAIRS>(), [(-2, 0), (-1, -1), (-1, 0), (-1, 1), (0, -2), (0, -1)]);
        let luma = taps::<LUMA_PAIRS>();
        assert_eq!((luma[0], luma[4], luma[9], luma[11]), ((-3, 0), (-1, -2), (0, -3), (0, -1)));
        let mut all: Vec<_> = luma.iter().flat_map(|&(y, x)| [(y, x), (-y, -x)]).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 24);
        assert!(all.iter().all(|&(y, x)| y.abs() + x.abs() <= 3 && (y, x) != (0, 0)));
    }
}
