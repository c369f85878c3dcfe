//! Strengths of the postfilter over a picture.

use crate::quality::QualityMap;

/// Values to one unit of strength.
const UNIT: i32 = 4;

/// What the strength of the postfilter is multiplied by from place to place: a value v for each cell of 32 x 32 luma samples stands for
/// max(0, 1 + v / 4). Between the centres of cells it is interpolated. On the grid of a [`QualityMap`], and coded like one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetailMap(QualityMap);

impl DetailMap {
    /// The value that stands for no detail.
    pub const NONE: i8 = -UNIT as i8;

    /// Takes the values of a coded map.
    pub fn new(values: QualityMap) -> Self {
        Self(values)
    }

    /// The values as they are coded.
    pub fn values(&self) -> &QualityMap {
        &self.0
    }

    /// What a value stands for.
    pub fn factor(value: i8) -> f32 {
        factor(1024 * i32::from(value))
    }

    /// Factors at the centres of all cells of 8 x 8 luma samples, in row order.
    pub fn factors(&self) -> Vec<f32> {
        self.0.interpolated(8, (0, 0)).into_iter().map(factor).collect()
    }
}

/// `sum`: 1024 times a value.
fn factor(sum: i32) -> f32 {
    (1.0 + sum as f32 * (1.0 / (1024 * UNIT) as f32)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_run_linearly_between_the_centres_of_cells() {
        let map = DetailMap::new(QualityMap::new(64, 64, vec![-4, 4, -4, 4]).unwrap());
        let factors = map.factors();
        assert_eq!(factors.len(), 64);
        // Centres of cells at 16 and 48; the centres of small ones at 4, 12, 20 and so on.
        assert_eq!(factors[..8], [0.0, 0.0, 0.25, 0.75, 1.25, 1.75, 2.0, 2.0]);
        assert_eq!(factors[56..], factors[..8]);
    }

    #[test]
    fn no_factor_is_negative() {
        assert_eq!([-15, DetailMap::NONE, -2, 0, 6].map(DetailMap::factor), [0.0, 0.0, 0.5, 1.0, 2.5]);
    }
}
