//! Motion in blocks as tensors: the codec's exact prediction with gradients to its reference.

use std::sync::Arc;

use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use super::ops::{Planes, warp};
use super::transfer::upload;
use crate::Result;
use crate::frame::Frame;
use crate::motion::overlap::{SQUARE, UNIT};
use crate::motion::{BlockField, Golden, MotionCoder, OverlapMap};

/// What the motion of an example's next frame builds on.
#[derive(Clone, Debug)]
pub struct BlockHistory {
    /// As it is after the last frame, whose field it holds.
    pub coder: MotionCoder,
    /// The golden frame, of coded size.
    pub golden: Arc<Frame>,
}

/// Motion and prediction of a batch of frames.
#[derive(Debug)]
pub struct BlockMotion {
    /// What the codec predicts from these very references, in 8 bits.
    pub exact: Planes,
    /// After these frames.
    pub history: Vec<BlockHistory>,
    /// Bits of trees and vectors, `[N]`.
    pub bits: Tensor,
}

/// What the squares of a batch's frames are mixed of.
struct Squares {
    /// Own, vertical and horizontal neighbour's (dx, dy) in luma pixels, `[N, 6, H/4, W/4]`.
    vectors: Tensor,
    /// Weights of the vertical neighbour in the rows of a square of 4x4 samples, of the horizontal one in its columns, 0..=1,
    /// `[N, 8, H/4, W/4]`.
    weights: Tensor,
    /// What the last frame counts for in each of the three predictions, 0, 1/2 or 1, `[N, 3, H/4, W/4]`; `None` where it counts whole.
    shares: Option<Tensor>,
}

impl BlockMotion {
    /// Of a batch of frames whose fields the coders hold, with the predictions that the codec made of them and its bits.
    pub fn new(history: Vec<BlockHistory>, exact: Planes, bits: &[f32], device: Device) -> Result<Self> {
        Ok(Self { exact, history, bits: upload(&Tensor::f_from_slice(bits)?, device)? })
    }

    fn fields(&self) -> impl Iterator<Item = &BlockField> {
        self.history.iter().map(|history| history.coder.previous().expect("a field was coded"))
    }

    /// Made where it is needed: not for predictions that nothing learns from. `golden`: whether there is a golden frame.
    fn squares(&self, golden: bool) -> Result<Squares> {
        const SIDE: i64 = SQUARE as i64;
        let (n, _, height, width) = self.exact.y.size4()?;
        let device = self.exact.y.device();
        let per_frame = (height / SIDE * (width / SIDE)) as usize;
        let mut vectors = vec![0i16; n as usize * per_frame * 6];
        let mut weights = vec![0u8; n as usize * per_frame * 2 * SQUARE];
        let mut shares = vec![2u8; n as usize * per_frame * 3];
        type Buffers<'a> = ((&'a mut [i16], &'a mut [u8]), &'a mut [u8]);
        let fill = |(field, ((vectors, weights), shares)): (&BlockField, Buffers)| {
            let squares = OverlapMap::of(field, golden).squares(width as usize);
            let vectors = vectors.chunks_exact_mut(6).zip(shares.chunks_exact_mut(3));
            for ((square, (vectors, shares)), weights) in squares.iter().zip(vectors).zip(weights.chunks_exact_mut(2 * SQUARE)) {
                for ((motion, out), share) in square.motion.iter().zip(vectors.chunks_exact_mut(2)).zip(shares) {
                    out.copy_from_slice(&[motion.vector.x, motion.vector.y]);
                    *share = match motion.golden {
                        Golden::Unused => 2,
                        Golden::Mixed(_) => 1,
                        Golden::Alone(_) => 0,
                    };
                }
                weights[..SQUARE].copy_from_slice(&square.vertical);
                weights[SQUARE..].copy_from_slice(&square.horizontal);
            }
        };
        let (of_vectors, of_weights) = (per_frame * 6, per_frame * 2 * SQUARE);
        let buffers = vectors.chunks_exact_mut(of_vectors).zip(weights.chunks_exact_mut(of_weights));
        let frames: Vec<_> = self.fields().zip(buffers.zip(shares.chunks_exact_mut(3 * per_frame))).collect();
        // A device waits for them; on the CPU every worker has one core.
        if device.is_cuda() {
            frames.into_par_iter().for_each(fill);
        } else {
            frames.into_iter().for_each(fill);
        }
        let uses_golden = golden && self.fields().any(BlockField::uses_golden);
        let planar = |tensor: Tensor, channels: i64, unit: f64| -> Result<Tensor> {
            let tensor = upload(&tensor, device)?.f_view([n, height / SIDE, width / SIDE, channels])?;
            Ok(tensor.f_permute([0, 3, 1, 2])?.f_to_kind(Kind::Float)?.f_contiguous()?.f_div_scalar(unit)?)
        };
        Ok(Squares {
            vectors: planar(Tensor::f_from_slice(&vectors)?, 6, 4.0)?,
            weights: planar(Tensor::f_from_slice(&weights)?, 2 * SIDE, f64::from(UNIT))?,
            shares: uses_golden.then(|| planar(Tensor::f_from_slice(&shares)?, 3, 2.0)).transpose()?,
        })
    }

    /// The prediction from `reference`, which `exact` was made from: its values are exact; its gradients with respect to the
    /// reference are those of overlapped bicubic interpolation, as far as the golden frame does not take its place.
    pub fn predict(&self, reference: &Planes) -> Result<Planes> {
        if !(reference.y.requires_grad() || reference.uv.requires_grad()) {
            return Ok(self.exact.shallow_clone());
        }
        let soft = self.moved_with(&self.squares(true)?, reference)?;
        let exactly = |soft: Tensor, exact: &Tensor| -> Result<Tensor> { Ok(soft.f_add(&tch::no_grad(|| exact.f_sub(&soft))?)?) };
        Ok(Planes { y: exactly(soft.y, &self.exact.y)?, uv: exactly(soft.uv, &self.exact.uv)? })
    }

    /// Another picture moved as the vectors to the last frame say, in floats.
    pub fn moved(&self, picture: &Planes) -> Result<Planes> {
        self.moved_with(&self.squares(false)?, picture)
    }

    fn moved_with(&self, squares: &Squares, picture: &Planes) -> Result<Planes> {
        let (n, _, height, width) = picture.y.size4()?;
        let size = [height, width];
        let half = [height / 2, width / 2];
        let vectors = Tensor::f_cat(&squares.vectors.f_chunk(3, 1)?, 0)?;
        let spread = |x: &Tensor, size: [i64; 2]| x.f_upsample_nearest2d(size, None, None);
        // Of all samples: [N, 4, H/4, W/4] with a channel for each row of a square, then for each column.
        let (rows, cols) = (height / SQUARE as i64, width / SQUARE as i64);
        let (of_rows, of_cols) =
            (squares.weights.f_narrow(1, 0, SQUARE as i64)?, squares.weights.f_narrow(1, SQUARE as i64, SQUARE as i64)?);
        let vertical = spread(&of_rows.f_permute([0, 2, 1, 3])?.f_reshape([n, 1, height, cols])?, size)?;
        let horizontal = spread(&of_cols.f_permute([0, 2, 3, 1])?.f_reshape([n, 1, rows, width])?, size)?;
        let halve = |x: &Tensor| x.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None);
        let blend = |plane: &Tensor, flow: &Tensor, vertical: &Tensor, horizontal: &Tensor| -> Result<Tensor> {
            let mut parts = warp(&plane.f_repeat([3, 1, 1, 1])?, flow)?;
            if let Some(shares) = &squares.shares {
                let shares = Tensor::f_cat(&shares.f_chunk(3, 1)?, 0)?;
                let (_, _, height, width) = parts.size4()?;
                parts = parts.f_mul(&shares.f_upsample_nearest2d([height, width], None, None)?)?;
            }
            let parts = parts.f_chunk(3, 0)?;
            let own = parts[0].f_add(&parts[1].f_sub(&parts[0])?.f_mul(vertical)?)?;
            Ok(own.f_add(&parts[2].f_sub(&own)?.f_mul(horizontal)?)?)
        };
        Ok(Planes {
            y: blend(&picture.y, &spread(&vectors, size)?, &vertical, &horizontal)?,
            uv: blend(&picture.uv, &spread(&vectors.f_mul_scalar(0.5)?, half)?, &halve(&vertical)?, &halve(&horizontal)?)?,
        })
    }
}
