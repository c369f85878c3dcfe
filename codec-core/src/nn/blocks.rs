//! Motion in blocks as tensors: the codec's exact prediction with gradients to its reference.

use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use super::ops::{Planes, warp};
use super::transfer::upload;
use crate::Result;
use crate::motion::overlap::{SQUARE, UNIT};
use crate::motion::{BlockField, OverlapMap};

/// Motion and prediction of a batch of frames.
#[derive(Debug)]
pub struct BlockMotion {
    /// What the codec predicts from these very references, in 8 bits.
    pub exact: Planes,
    fields: Vec<BlockField>,
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
}

impl BlockMotion {
    /// Of a batch of frames with these fields, with the predictions that the codec made of them and its bits.
    pub fn new(fields: Vec<BlockField>, exact: Planes, bits: &[f32], device: Device) -> Result<Self> {
        Ok(Self { exact, fields, bits: upload(&Tensor::f_from_slice(bits)?, device)? })
    }

    /// Made where it is needed: not for predictions that nothing learns from.
    fn squares(&self) -> Result<Squares> {
        const SIDE: i64 = SQUARE as i64;
        let (n, _, height, width) = self.exact.y.size4()?;
        let device = self.exact.y.device();
        let per_frame = (height / SIDE * (width / SIDE)) as usize;
        let mut vectors = vec![0i16; n as usize * per_frame * 6];
        let mut weights = vec![0u8; n as usize * per_frame * 2 * SQUARE];
        let fill = |((field, vectors), weights): ((&BlockField, &mut [i16]), &mut [u8])| {
            let squares = OverlapMap::of(field).squares(width as usize);
            for ((square, vectors), weights) in
                squares.iter().zip(vectors.chunks_exact_mut(6)).zip(weights.chunks_exact_mut(2 * SQUARE))
            {
                for (vector, out) in square.vectors.iter().zip(vectors.chunks_exact_mut(2)) {
                    out.copy_from_slice(&[vector.x, vector.y]);
                }
                weights[..SQUARE].copy_from_slice(&square.vertical);
                weights[SQUARE..].copy_from_slice(&square.horizontal);
            }
        };
        let (of_vectors, of_weights) = (per_frame * 6, per_frame * 2 * SQUARE);
        // A device waits for them; on the CPU every worker has one core.
        if device.is_cuda() {
            let frames = self.fields.par_iter().zip(vectors.par_chunks_exact_mut(of_vectors));
            frames.zip(weights.par_chunks_exact_mut(of_weights)).for_each(fill);
        } else {
            let frames = self.fields.iter().zip(vectors.chunks_exact_mut(of_vectors));
            frames.zip(weights.chunks_exact_mut(of_weights)).for_each(fill);
        }
        let planar = |tensor: Tensor, channels: i64, unit: f64| -> Result<Tensor> {
            let tensor = upload(&tensor, device)?.f_view([n, height / SIDE, width / SIDE, channels])?;
            Ok(tensor.f_permute([0, 3, 1, 2])?.f_to_kind(Kind::Float)?.f_contiguous()?.f_div_scalar(unit)?)
        };
        Ok(Squares {
            vectors: planar(Tensor::f_from_slice(&vectors)?, 6, 4.0)?,
            weights: planar(Tensor::f_from_slice(&weights)?, 2 * SIDE, f64::from(UNIT))?,
        })
    }

    /// The prediction from `reference`, which `exact` was made from: its values are exact; its gradients with respect to the
    /// reference are those of overlapped bicubic interpolation.
    pub fn predict(&self, reference: &Planes) -> Result<Planes> {
        if !(reference.y.requires_grad() || reference.uv.requires_grad()) {
            return Ok(self.exact.shallow_clone());
        }
        let soft = self.mixed(reference)?;
        let exactly = |soft: Tensor, exact: &Tensor| -> Result<Tensor> { Ok(soft.f_add(&tch::no_grad(|| exact.f_sub(&soft))?)?) };
        Ok(Planes { y: exactly(soft.y, &self.exact.y)?, uv: exactly(soft.uv, &self.exact.uv)? })
    }

    /// The same motion applied to another picture, in floats.
    pub fn mixed(&self, picture: &Planes) -> Result<Planes> {
        let squares = self.squares()?;
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
            let parts = warp(&plane.f_repeat([3, 1, 1, 1])?, flow)?.f_chunk(3, 0)?;
            let own = parts[0].f_add(&parts[1].f_sub(&parts[0])?.f_mul(vertical)?)?;
            Ok(own.f_add(&parts[2].f_sub(&own)?.f_mul(horizontal)?)?)
        };
        Ok(Planes {
            y: blend(&picture.y, &spread(&vectors, size)?, &vertical, &horizontal)?,
            uv: blend(&picture.uv, &spread(&vectors.f_mul_scalar(0.5)?, half)?, &halve(&vertical)?, &halve(&horizontal)?)?,
        })
    }
}
