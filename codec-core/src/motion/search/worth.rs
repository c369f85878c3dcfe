//! What bits are worth to a search.

/// A better prediction serves the frames after it, too, so a bit costs less than this frame alone would say.
const SHARE: f64 = 0.8;

/// Weight of the mean squared error on \[0, 1\] against bits per pixel, as [`crate::quality::lambda`] gives it.
#[derive(Clone, Copy, Debug)]
pub struct Lambda<'a> {
    /// Of the frame.
    pub frame: f64,
    /// How much more than that it is at each root of the field, in row order; empty if it is the same everywhere.
    pub factors: &'a [f64],
}

impl From<f64> for Lambda<'_> {
    fn from(frame: f64) -> Self {
        Self { frame, factors: &[] }
    }
}

impl Lambda<'_> {
    /// What a bit costs in squared grey levels.
    pub(super) fn price(&self) -> f64 {
        // A free bit would make trees as deep as they can be; a price beyond this allows none anyway.
        (SHARE * 255.0 * 255.0 / self.frame).clamp(1.0, 1e6)
    }

    /// As [`Self::price`], at a root by its number.
    pub(super) fn price_at(&self, root: usize) -> u64 {
        let factor = self.factors.get(root).copied().unwrap_or(1.0);
        (self.price() / factor).clamp(1.0, 1e6).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_costs_less_where_errors_weigh_more() {
        let everywhere = Lambda::from(100.0);
        assert_eq!((everywhere.price_at(0), everywhere.price_at(7)), (520, 520));
        let factors = [1.0, 4.0, 0.5];
        let lambda = Lambda { frame: 100.0, factors: &factors };
        assert_eq!([0, 1, 2, 3].map(|root| lambda.price_at(root)), [520, 130, 1040, 520]);
        assert_eq!(Lambda::from(1e9).price(), 1.0);
        assert_eq!(Lambda { frame: 1.0, factors: &[1e-6] }.price_at(0), 1_000_000);
    }
}
