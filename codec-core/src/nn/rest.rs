//! Areas of P-frames that rest, in floats: see [`RestMap`].

use tch::{Kind, Tensor};

use super::layers::{RESTS, repeated};
use crate::Result;
use crate::quality::{LEAST_WORTH, RestMap};

/// Latent cells along a side of an area.
const SIDE: i64 = RestMap::SIDE as i64;

/// Which areas of a latent do not rest.
pub struct Awake {
    /// 1 where they do not, 0 where they do, `[N, 1, ceil(h/4), ceil(w/4)]`.
    areas: Tensor,
    /// Rows and columns of the latent.
    size: (i64, i64),
}

impl Awake {
    /// By what coding each position is expected to save, `[N, 1, h, w]`, in squared quantiser steps.
    pub fn worth(worth: &Tensor) -> Result<Self> {
        let (_, _, h, w) = worth.size4()?;
        let sums = worth.f_avg_pool2d([SIDE, SIDE], [SIDE, SIDE], [0, 0], true, true, 1)?;
        Ok(Self { areas: sums.f_gt(f64::from(LEAST_WORTH))?.f_to_kind(worth.kind())?, size: (h, w) })
    }

    /// For the hyper-latent, `[N, 1, ceil(h/4), ceil(w/4)]`.
    pub fn areas(&self) -> &Tensor {
        &self.areas
    }

    /// For what is half the size of the latent, before its edges are cut off: `[N, 1, 2 ceil(h/4), 2 ceil(w/4)]`.
    pub fn halves(&self) -> Result<Tensor> {
        repeated(&self.areas, SIDE / 2, (2, 3))
    }

    /// For the latent, `[N, 1, h, w]`.
    pub fn cells(&self) -> Result<Tensor> {
        let (h, w) = self.size;
        Ok(repeated(&self.areas, SIDE, (2, 3))?.f_narrow(2, 0, h)?.f_narrow(3, 0, w)?)
    }

    /// Quality indices of cells, int64 `[N, h, w]`, from those of frames, `[N]`: [`RESTS`] where they rest.
    pub fn qualities(&self, q: &Tensor) -> Result<Tensor> {
        let awake = self.cells()?.f_squeeze_dim(1)?.f_to_kind(Kind::Int64)?;
        let resting = awake.f_neg()?.f_add_scalar(1)?.f_mul_scalar(RESTS)?;
        Ok(awake.f_mul(&q.f_view([-1, 1, 1])?)?.f_add(&resting)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_rests_unless_its_positions_are_worth_enough_together() {
        let worth = Tensor::zeros([1, 1, 5, 8], (Kind::Float, tch::Device::Cpu));
        // Two positions of the first area, one of the area below it, which has but one row; negative worth counts against it.
        for (row, col, value) in [(0, 0, 2.0), (3, 3, 1.5), (4, 1, 3.5), (1, 4, 4.0), (2, 5, -2.0)] {
            let _ = worth.narrow(2, row, 1).narrow(3, col, 1).fill_(value);
        }
        let awake = Awake::worth(&worth).unwrap();
        assert_eq!(Vec::<f32>::try_from(awake.areas().flatten(0, -1)).unwrap(), [1.0, 0.0, 1.0, 0.0]);
        assert_eq!(awake.halves().unwrap().size(), [1, 1, 4, 4]);
        let q = awake.qualities(&Tensor::from_slice(&[30i64])).unwrap();
        assert_eq!(q.size(), [1, 5, 8]);
        assert_eq!(Vec::<i64>::try_from(q.narrow(1, 4, 1).flatten(0, -1)).unwrap(), [30, 30, 30, 30, -1, -1, -1, -1]);
    }
}
