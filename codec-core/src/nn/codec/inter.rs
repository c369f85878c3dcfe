//! P-frames: motion, prediction and coded residual.

use tch::Tensor;

use super::{CodedFrame, Networks, PreparedModel};
use crate::Result;
use crate::nn::blocks::BlockMotion;
use crate::nn::entropy::Quantiser;
use crate::nn::ops::{Planes, channels_last, pack, unpack};

/// What moves a frame's reference to where it is predicted from.
pub enum Motion {
    /// Vectors of blocks (`rt` profile).
    Blocks(BlockMotion),
    /// The estimator's backward flow in full-resolution pixels, `[N, 2, H/4, W/4]`, which the flow codec codes (`paper` profile).
    Flow(Tensor),
}

/// A P-frame and what it is coded from.
pub struct InterInput<'a> {
    /// The frame itself.
    pub frame: &'a Planes,
    /// What it is predicted from: the frame before, as decoded.
    pub reference: &'a Planes,
    /// From the reference to the frame.
    pub motion: Motion,
    /// State of the frame before; `None` after an I-frame.
    pub previous: Option<&'a InterState>,
    /// Circular shift (rows, columns) of the residual branch, in luma samples.
    pub shift: (i64, i64),
}

/// A flow to code, and what the flow codec sees beside it.
struct FlowInput<'a> {
    frame: &'a Planes,
    reference: &'a Planes,
    /// The estimator's flow.
    estimated: Tensor,
    /// Latent of the flow before.
    prior: Option<&'a Tensor>,
}

/// The parts of a P-frame that losses and the next frame need.
pub struct InterState {
    /// What the motion makes of the reference.
    pub prediction: Planes,
    /// The motion itself.
    pub motion: MotionState,
    /// Bits of the motion, `[N]`.
    pub motion_bits: Tensor,
    /// Quantised latent without gradient: the temporal prior of the next frame.
    pub residual_latent: Tensor,
    /// Circular shift (rows, columns) of the residual branch, in luma samples.
    pub shift: (i64, i64),
}

/// The motion of a coded frame.
pub enum MotionState {
    /// Vectors of blocks.
    Blocks(BlockMotion),
    /// A dense flow.
    Flow(FlowState),
}

/// A flow and what is decoded of it.
pub struct FlowState {
    /// The estimator's, `[N, 2, H/4, W/4]`.
    pub estimated: Tensor,
    /// Motion in pixels `[N, 2, H, W]` and blur `[N, 1, H, W]`, as [`Networks::flow_field`] gives them.
    pub motion: Tensor,
    /// See [`Self::motion`].
    pub sigma: Tensor,
    /// Quantised latent without gradient: the temporal prior of the next frame.
    pub latent: Tensor,
}

impl Networks {
    /// Codes a frame from a reference. The result is neither clamped nor rounded.
    pub fn inter_frame(
        &self,
        prepared: &PreparedModel,
        input: InterInput,
        q: &Tensor,
        quantiser: &mut Quantiser,
    ) -> Result<CodedFrame> {
        let InterInput { frame, reference, motion, previous, shift } = input;
        let (prediction, motion, motion_bits) = match motion {
            Motion::Blocks(blocks) => {
                let (prediction, bits) = (blocks.predict(reference)?, blocks.bits.shallow_clone());
                (prediction, MotionState::Blocks(blocks), bits)
            }
            Motion::Flow(estimated) => {
                let prior = match previous.map(|p| &p.motion) {
                    Some(MotionState::Flow(last)) => Some(&last.latent),
                    _ => None,
                };
                self.coded_flow(prepared, FlowInput { frame, reference, estimated, prior }, q, quantiser)?
            }
        };

        let (dy, dx) = shift;
        let shifted = if shift == (0, 0) { prediction.shallow_clone() } else { prediction.rolled(dy, dx)? };
        let target = if shift == (0, 0) { frame.shallow_clone() } else { frame.rolled(dy, dx)? };
        let packed = pack(&shifted)?;
        let input = Tensor::f_cat(&[pack(&target.sub(&shifted)?)?, packed.shallow_clone()], 1)?;
        let awake = self.residual.awake(&input, q)?;
        // Transforms take the indices of cells, which say where they rest; the entropy model those of frames.
        let cells = awake.as_ref().map(|awake| awake.qualities(q)).transpose()?;
        let cells = cells.as_ref().unwrap_or(q);
        let y = self.residual.analysis.forward(&input, cells)?;
        let prior = previous.map(|p| -> Result<Tensor> {
            let (my, mx) = crate::bitstream::prior_cells(as_i32(p.shift), as_i32(shift));
            Ok(if (my, mx) == (0, 0) {
                p.residual_latent.shallow_clone()
            } else {
                p.residual_latent.f_roll([my as i64, mx as i64], [2, 3])?
            })
        });
        let prior = prior.transpose()?;
        let coded = self.residual.coder.code(&prepared.residual, &y, q, (prior.as_ref(), awake.as_ref()), quantiser)?;
        let latent = self.residual.coder.dequantise(&coded.y_hat, q)?;
        let free = self.free_latent(&packed, cells)?;
        let residual = unpack(&self.residual_synthesis(&latent, &packed, free.as_ref(), cells)?)?;
        let residual = if shift == (0, 0) { residual } else { residual.rolled(-dy, -dx)? };
        Ok(CodedFrame {
            frame: prediction.add(&residual)?,
            bits: motion_bits.f_add(&coded.bits)?,
            latent,
            inter: Some(InterState { prediction, motion, motion_bits, residual_latent: coded.y_hat.detach(), shift }),
        })
    }

    /// Codes a flow and predicts with what is decoded: the prediction, its flow, and its bits `[N]`.
    fn coded_flow(
        &self,
        prepared: &PreparedModel,
        input: FlowInput,
        q: &Tensor,
        quantiser: &mut Quantiser,
    ) -> Result<(Planes, MotionState, Tensor)> {
        let FlowInput { frame, reference, estimated, prior } = input;
        let codec = self.flow_codec()?;
        let prepared = prepared.flow.as_ref().expect("made with the flow codec");
        let flow4 = estimated.f_pixel_unshuffle(2)?.f_div_scalar(8.0)?;
        let input = Tensor::f_cat(&[flow4, pack(frame)?, pack(reference)?], 1)?;
        let y = codec.analysis.forward(&channels_last(&input)?, q)?;
        let coded = codec.coder.code(prepared, &y, q, (prior, None), quantiser)?;
        let (motion, sigma) = self.flow_field(&codec.coder.dequantise(&coded.y_hat, q)?, q)?;
        let prediction = self.warped(reference, &motion, &sigma)?;
        let state = FlowState { estimated, motion, sigma, latent: coded.y_hat.detach() };
        Ok((prediction.frame, MotionState::Flow(state), coded.bits))
    }
}

fn as_i32(shift: (i64, i64)) -> (i32, i32) {
    (shift.0 as i32, shift.1 as i32)
}
