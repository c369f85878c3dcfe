//! Pictures shrunk to 8x8 means, and changes that stand out of the changes around them: cuts.

/// A cut changes the 8x8 means by this many grey levels at least.
const CUT_FLOOR: f32 = 10.0;
/// ... and by this multiple of the usual change around it, so that fast motion is no cut.
const CUT_RATIO: f32 = 3.0;
/// Changes on each side of a possible cut that are taken for usual.
pub const CUT_WINDOW: usize = 8;

/// 8x8 means of a luma plane.
#[derive(Clone, Debug, PartialEq)]
pub struct Thumbnail {
    means: Vec<f32>,
    /// Standard deviation of the means, in grey levels.
    pub contrast: f32,
}

impl Thumbnail {
    /// Of `width` x `height` samples whose rows are `stride` apart. Sides that are no multiple of 8 lose their rest.
    ///
    /// # Panics
    /// If `luma` is shorter than its rows.
    pub fn new(luma: &[u8], width: usize, height: usize, stride: usize) -> Self {
        let (cols, rows) = ((width / 8).max(1), (height / 8).max(1));
        let mut means = vec![0.0; cols * rows];
        for y in 0..(rows * 8).min(height) {
            let line = &luma[y * stride..][..width];
            for (mean, block) in means[y / 8 * cols..][..cols].iter_mut().zip(line.chunks(8)) {
                *mean += block.iter().map(|&p| u32::from(p)).sum::<u32>() as f32 / 64.0;
            }
        }
        let n = means.len() as f32;
        let mean = means.iter().sum::<f32>() / n;
        let variance = means.iter().map(|m| (m - mean).powi(2)).sum::<f32>() / n;
        Self { means, contrast: variance.sqrt() }
    }

    /// Mean absolute difference in grey levels; both pictures have the same size.
    pub fn difference(&self, other: &Self) -> f32 {
        let pairs = self.means.iter().zip(&other.means);
        pairs.map(|(a, b)| (a - b).abs()).sum::<f32>() / self.means.len() as f32
    }
}

/// Whether a change stands out of the changes around it.
pub fn is_cut(change: f32, around: impl Iterator<Item = f32>) -> bool {
    let mut around: Vec<f32> = around.collect();
    around.sort_by(f32::total_cmp);
    let usual = around.get(around.len() / 2).copied().unwrap_or(0.0);
    change > CUT_FLOOR && change > CUT_RATIO * usual + 4.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiny_pictures_and_strides() {
        assert_eq!(Thumbnail::new(&[64], 1, 1, 1).means, [1.0]);
        let padded: Vec<u8> = (0..8).flat_map(|_| [[10; 8], [99; 8]].concat()).collect();
        assert_eq!(Thumbnail::new(&padded, 8, 8, 16).means, [10.0]);
    }
}
