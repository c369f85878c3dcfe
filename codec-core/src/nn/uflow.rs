//! UFlow: a flow network of the PWC kind that learns without labels (Jonschkowski et al., "What Matters in Unsupervised
//! Optical Flow", 2020). Encoder only; its training belongs to the trainer.

use tch::{Device, Kind, Tensor};

use super::activation::act;
use super::layers::{Conv, ConvConfig};
use super::ops::warp;
use super::params::{Builder, ParamStore, Scope};
use super::role::Network;
use super::transfer::{download, upload};
use crate::flow::{FlowEstimator, FlowField};
use crate::frame::Plane;
use crate::{Error, Result};

/// Pyramid levels; level l has 1/2^l of the resolution.
const LEVELS: usize = 5;
/// The flow comes out at this level: 1/4.
const FINEST: usize = 2;
const FEATURES: i64 = 32;
const CONTEXT: i64 = 32;
/// Matching costs are taken for displacements up to this many samples of a level.
const REACH: i64 = 4;
/// Sides of the input must be multiples of this.
const MULTIPLE: usize = 1 << LEVELS;

fn conv(p: Scope, cin: i64, cout: i64, stride: i64, dilation: i64) -> Result<Conv> {
    Conv::new(p, cin, cout, ConvConfig { kernel: 3, stride, dilation, ..Default::default() })
}

/// Three convolutions a level, the first one halves the size.
#[derive(Debug)]
struct Pyramid(Vec<[Conv; 3]>);

impl Pyramid {
    fn new(mut p: Scope) -> Result<Self> {
        let level = |i: usize, mut p: Scope| -> Result<[Conv; 3]> {
            let cin = if i == 0 { 1 } else { FEATURES };
            Ok([
                conv(p.sub("0"), cin, FEATURES, 2, 1)?,
                conv(p.sub("1"), FEATURES, FEATURES, 1, 1)?,
                conv(p.sub("2"), FEATURES, FEATURES, 1, 1)?,
            ])
        };
        Ok(Self((0..LEVELS).map(|i| level(i, p.sub(i))).collect::<Result<_>>()?))
    }

    /// Features of levels 1 to 5.
    fn forward(&self, image: &Tensor) -> Result<Vec<Tensor>> {
        let mut levels: Vec<Tensor> = Vec::new();
        for convs in &self.0 {
            let input = levels.last().unwrap_or(image).shallow_clone();
            levels.push(convs.iter().try_fold(input, |x, c| act(&c.forward(&x)?))?);
        }
        Ok(levels)
    }
}

/// Densely connected flow decoder of one level.
#[derive(Debug)]
struct Decoder {
    dense: Vec<Conv>,
    flow: Conv,
}

impl Decoder {
    fn new(mut p: Scope, cin: i64) -> Result<Self> {
        let mut width = cin;
        let mut dense = Vec::new();
        for (i, cout) in [128, 128, 96, 64, CONTEXT].into_iter().enumerate() {
            dense.push(conv(p.sub(format!("dense.{i}")), width, cout, 1, 1)?);
            width += cout;
        }
        Ok(Self { flow: conv(p.sub("flow"), CONTEXT, 2, 1, 1)?, dense })
    }

    /// Context and flow correction.
    fn forward(&self, input: Tensor) -> Result<(Tensor, Tensor)> {
        let (mut all, mut last) = (input.shallow_clone(), input);
        for layer in &self.dense {
            last = act(&layer.forward(&all)?)?;
            all = Tensor::f_cat(&[all, last.shallow_clone()], 1)?;
        }
        let flow = self.flow.forward(&last)?;
        Ok((last, flow))
    }
}

/// The network: feature pyramids, matching costs, decoders from coarse to fine, dilated refinement.
#[derive(Debug)]
pub struct UFlow {
    pyramid: Pyramid,
    decoders: Vec<Decoder>,
    context_up: Vec<Conv>,
    refinement: Vec<Conv>,
}

impl UFlow {
    fn new(mut p: Scope) -> Result<Self> {
        let costs = (2 * REACH + 1) * (2 * REACH + 1);
        let (mut decoders, mut context_up) = (Vec::new(), Vec::new());
        for level in (FINEST..=LEVELS).rev() {
            let coarser = if level == LEVELS { 0 } else { CONTEXT + 2 };
            decoders.push(Decoder::new(p.sub(format!("decoder.{level}")), costs + FEATURES + coarser)?);
            if level > FINEST {
                context_up.push(conv(p.sub(format!("context_up.{level}")), CONTEXT, CONTEXT, 1, 1)?);
            }
        }
        let mut refinement = Vec::new();
        let mut width = CONTEXT + 2;
        for (i, (cout, dilation)) in [(128, 1), (128, 2), (128, 4), (96, 8), (64, 16), (32, 1), (2, 1)].into_iter().enumerate() {
            refinement.push(conv(p.sub(format!("refinement.{i}")), width, cout, 1, dilation)?);
            width = cout;
        }
        Ok(Self { pyramid: Pyramid::new(p.sub("pyramid"))?, decoders, context_up, refinement })
    }

    /// The network on the parameters of `store` (names below `uflow.`), which must hold them all.
    pub fn load(store: &mut ParamStore, device: Device) -> Result<Self> {
        Self::new(Builder::load(store, device).network(Network::FlowEstimator))
    }

    /// As [`Self::load`], creating the parameters that `store` lacks.
    pub fn init(store: &mut ParamStore, device: Device) -> Result<Self> {
        Self::new(Builder::init(store, device).network(Network::FlowEstimator))
    }

    /// Backward flow `[N, 2, H/4, W/4]` in full-resolution pixels: current(p) is like previous(p + flow). Images are
    /// `[N, 1, H, W]`, value/255 - 0.5, sides multiples of 32.
    pub fn forward(&self, current: &Tensor, previous: &Tensor) -> Result<Tensor> {
        let (a, b) = (self.pyramid.forward(&current.f_mul_scalar(2.0)?)?, self.pyramid.forward(&previous.f_mul_scalar(2.0)?)?);
        let mut coarser: Option<(Tensor, Tensor)> = None;
        for (step, level) in (FINEST..=LEVELS).rev().enumerate() {
            let (fa, fb) = (&a[level - 1], &b[level - 1]);
            let (_, _, h, w) = fa.size4()?;
            let (input, flow_up) = match coarser.take() {
                None => (Tensor::f_cat(&[costs(fa, fb)?, fa.shallow_clone()], 1)?, None),
                Some((context, flow)) => {
                    let flow = flow.f_upsample_bilinear2d([h, w], false, None, None)?.f_mul_scalar(2.0)?;
                    let context = self.context_up[step - 1].forward(&context.f_upsample_nearest2d([h, w], None, None)?)?;
                    let moved = warp(fb, &flow)?;
                    (Tensor::f_cat(&[costs(fa, &moved)?, fa.shallow_clone(), context, flow.shallow_clone()], 1)?, Some(flow))
                }
            };
            let (context, correction) = self.decoders[step].forward(input)?;
            let flow = match flow_up {
                Some(flow) => flow.f_add(&correction)?,
                None => correction,
            };
            coarser = Some((context, flow));
        }
        let (context, flow) = coarser.expect("there are levels");
        let mut x = Tensor::f_cat(&[context, flow.shallow_clone()], 1)?;
        for (i, layer) in self.refinement.iter().enumerate() {
            x = layer.forward(&x)?;
            if i + 1 < self.refinement.len() {
                x = act(&x)?;
            }
        }
        // A sample of this level is four pixels wide.
        Ok(flow.f_add(&x)?.f_mul_scalar(f64::from(1 << FINEST))?)
    }
}

/// Zero mean and unit deviation over channels and positions of both maps together, as UFlow normalises before matching.
fn normalised(a: &Tensor, b: &Tensor) -> Result<(Tensor, Tensor)> {
    let both = Tensor::f_stack(&[a, b], 0)?;
    let (mean, deviation) = (both.f_mean(Kind::Float)?, both.f_std(true)?.f_add_scalar(1e-6)?);
    Ok((a.f_sub(&mean)?.f_div(&deviation)?, b.f_sub(&mean)?.f_div(&deviation)?))
}

/// Mean products of features at all displacements up to [`REACH`], `[N, 81, h, w]`.
fn costs(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (a, b) = normalised(a, b)?;
    let (_, _, h, w) = a.size4()?;
    let padded = b.f_constant_pad_nd([REACH; 4])?;
    let mut maps = Vec::new();
    for dy in 0..=2 * REACH {
        for dx in 0..=2 * REACH {
            let moved = padded.f_narrow(2, dy, h)?.f_narrow(3, dx, w)?;
            let dims: &[i64] = &[1];
            maps.push(a.f_mul(&moved)?.f_mean_dim(dims, true, Kind::Float)?);
        }
    }
    act(&Tensor::f_cat(&maps, 1)?)
}

/// [`UFlow`] as the encoder's flow estimator.
pub struct UFlowEstimator {
    network: UFlow,
    device: Device,
}

impl UFlowEstimator {
    /// For planes that are estimated on a device.
    pub fn new(network: UFlow, device: Device) -> Self {
        Self { network, device }
    }
}

impl FlowEstimator for UFlowEstimator {
    fn estimate(&mut self, current: &Plane, previous: &Plane, _lambda: f64) -> Result<FlowField> {
        let (rows, cols) = (current.height, current.width);
        if (rows, cols) != (previous.height, previous.width) || !rows.is_multiple_of(MULTIPLE) || !cols.is_multiple_of(MULTIPLE) {
            return Err(Error::InvalidConfig(format!(
                "flow of {cols}x{rows}: both planes need the same size, a multiple of {MULTIPLE}"
            )));
        }
        let image = |plane: &Plane| -> Result<Tensor> {
            let bytes: Vec<u8> = (0..rows).flat_map(|row| &plane.row(row)[..cols]).copied().collect();
            let tensor = upload(&Tensor::f_from_slice(&bytes)?.f_view([1, 1, rows as i64, cols as i64])?, self.device)?;
            Ok(tensor.f_to_kind(Kind::Float)?.f_div_scalar(255.0)?.f_sub_scalar(0.5)?)
        };
        let flow = tch::no_grad(|| self.network.forward(&image(current)?, &image(previous)?))?;
        Ok(FlowField { rows: rows / 4, cols: cols / 4, data: download(&flow.f_permute([0, 2, 3, 1])?)? })
    }
}
