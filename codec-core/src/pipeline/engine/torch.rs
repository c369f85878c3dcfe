//! Networks on libtorch: the `paper` profile in floats, and the transforms of the `rt` profile on a GPU, with the integers that the
//! processor computes.

use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use super::{Engine, LooksBack, Part, Scaled, check_detail};
use crate::bitstream::Profile;
use crate::detail::DetailMap;
use crate::device::DeviceSpec;
use crate::entropy::{ACTIVATION_FRACTION_BITS, LatentGrid};
use crate::flow::FlowField;
use crate::frame::Frame;
use crate::kernels::flow::{FLOW_CHANNELS, pack_flow};
use crate::model::{Model, load_networks};
use crate::nn::codec::{Branch, FLOW_INPUT, quality_tensor};
use crate::nn::device;
use crate::nn::ops::{Planes, pack, unpack};
use crate::nn::{Networks, Precision, whole};
use crate::quality::QualityGrid;
use crate::{Error, Result};

/// The networks of one stream.
pub struct TorchEngine {
    model: Arc<Model>,
    networks: Networks,
    device: Device,
    precision: Precision,
    threads: usize,
    detail: u8,
    /// What was analysed last, `[1, C, H/16, W/16]`.
    y: Option<Tensor>,
}

impl TorchEngine {
    /// # Errors
    /// As [`device::open`].
    pub fn new(model: &Arc<Model>, spec: &DeviceSpec, threads: usize) -> Result<Self> {
        let device = device::open(spec)?;
        let precision = match model.config.profile {
            Profile::Rt => Precision::Exact,
            Profile::Paper => Precision::Full,
        };
        device::use_threads(threads);
        let networks = tch::no_grad(|| load_networks(model, device, precision))?;
        Ok(Self { model: Arc::clone(model), networks, device, precision, threads, detail: 0, y: None })
    }

    /// Runs on the stream's threads, without gradients.
    fn run<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        device::use_threads(self.threads);
        tch::no_grad(|| work(self))
    }

    fn kind(&self) -> Kind {
        if self.precision == Precision::Exact { Kind::Double } else { Kind::Float }
    }

    /// `[1]`, or `[1, H/16, W/16]` where cells differ.
    fn quality(&self, quality: QualityGrid) -> Result<Tensor> {
        match quality.cells() {
            None => quality_tensor(&[quality.frame()], self.device),
            Some(cells) => Ok(quality_tensor(cells, self.device)?.f_view([1, -1, quality.cols() as i64])?),
        }
    }

    /// A frame as planes.
    fn planes(&self, frame: &Frame) -> Result<Planes> {
        Planes::from_frame(frame, self.device, self.kind())
    }

    /// A latent in quantiser steps.
    fn latent(&self, latent: &LatentGrid) -> Result<Tensor> {
        let size = [1, latent.rows as i64, latent.cols as i64, latent.channels as i64];
        let values = Tensor::f_from_slice(&latent.data)?.f_view(size)?.f_to_device(self.device)?;
        let steps = values.f_to_kind(self.kind())?.f_mul_scalar((-f64::from(ACTIVATION_FRACTION_BITS)).exp2())?;
        Ok(steps.f_permute([0, 3, 1, 2])?)
    }

    fn branch(&self, part: Part) -> Result<&Branch> {
        match part {
            Part::Intra => Ok(&self.networks.intra),
            Part::Flow => self.networks.flow_codec(),
            Part::Residual => Ok(&self.networks.residual),
        }
    }
}

/// A tensor `[1, channels, rows, cols]` as NHWC.
fn to_nhwc(tensor: &Tensor, out: &mut Vec<f32>) -> Result<()> {
    let host = tensor.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?;
    let count = host.numel();
    out.resize(count, 0.0);
    Ok(host.f_view([-1])?.f_copy_data(out, count)?)
}

impl Engine for TorchEngine {
    fn analyse_intra(&mut self, frame: &Frame, quality: QualityGrid) -> Result<()> {
        self.run(|this| {
            let packed = pack(&this.planes(frame)?)?;
            this.y = Some(this.networks.intra.analysis.forward(&packed, &this.quality(quality)?)?);
            Ok(())
        })
    }

    fn analyse_residual(&mut self, frame: &Frame, prediction: &Frame, shift: (i32, i32), quality: QualityGrid) -> Result<()> {
        self.run(|this| {
            let rolled = |frame| this.planes(frame)?.rolled(shift.0.into(), shift.1.into());
            let (frame, prediction) = (rolled(frame)?, rolled(prediction)?);
            let input = Tensor::f_cat(&[pack(&frame.sub(&prediction)?)?, pack(&prediction)?], 1)?;
            this.y = Some(this.networks.residual.analysis.forward(&input, &this.quality(quality)?)?);
            Ok(())
        })
    }

    fn analyse_flow(&mut self, flow: &FlowField, frame: &Frame, reference: &Frame, quality: u8) -> Result<()> {
        self.run(|this| {
            let (rows, cols) = (frame.height() / 8, frame.width() / 8);
            let mut packed = vec![0.0; rows * cols * FLOW_CHANNELS];
            pack_flow(flow, &mut packed, FLOW_CHANNELS)?;
            let size = [1, rows as i64, cols as i64, FLOW_CHANNELS as i64];
            let flow = Tensor::f_from_slice(&packed)?.f_view(size)?.f_to_device(this.device)?.f_permute([0, 3, 1, 2])?;
            let input = Tensor::f_cat(&[flow, pack(&this.planes(frame)?)?, pack(&this.planes(reference)?)?], 1)?;
            debug_assert_eq!(input.size()[1], FLOW_INPUT);
            this.y = Some(this.networks.flow_codec()?.analysis.forward(&input, &this.quality(QualityGrid::uniform(quality))?)?);
            Ok(())
        })
    }

    fn scale(&mut self, part: Part, quality: QualityGrid, out: &mut Scaled) -> Result<()> {
        self.run(|this| {
            let missing = || Error::InvalidConfig("no latent was analysed".into());
            let branch = this.branch(part)?;
            let scaled = branch.coder.quantiser_domain(this.y.as_ref().ok_or_else(missing)?, &this.quality(quality)?)?;
            to_nhwc(&branch.coder.entropy.hyper_analysis(&scaled)?, &mut out.z)?;
            to_nhwc(&scaled, &mut out.y)
        })
    }

    fn bit_prices(&self, part: Part) -> &[f32] {
        self.branch(part).map_or(&[], |branch| branch.coder.bit_prices())
    }

    fn synthesise_intra(&mut self, latent: &LatentGrid, quality: QualityGrid, out: &mut Frame) -> Result<()> {
        self.run(|this| {
            let (branch, q) = (&this.networks.intra, this.quality(quality)?);
            let y = branch.coder.dequantise(&this.latent(latent)?, &q)?;
            unpack(&branch.synthesis.forward(&y, &q)?)?.write_to(out)
        })
    }

    fn synthesise_residual(
        &mut self,
        latent: &LatentGrid,
        prediction: &Frame,
        shift: (i32, i32),
        quality: QualityGrid,
        out: &mut Frame,
    ) -> Result<()> {
        self.run(|this| {
            let q = this.quality(quality)?;
            let (dy, dx) = (i64::from(shift.0), i64::from(shift.1));
            let prediction = this.planes(prediction)?;
            let packed = pack(&prediction.rolled(dy, dx)?)?;
            let y = this.networks.residual.coder.dequantise(&this.latent(latent)?, &q)?;
            let residual = unpack(&this.networks.residual_synthesis(&y, &packed, &q)?)?.rolled(-dy, -dx)?;
            prediction.add(&residual)?.write_to(out)
        })
    }

    fn predict_flow(&mut self, latent: &LatentGrid, quality: u8, reference: &Frame, out: &mut Frame) -> Result<()> {
        self.run(|this| {
            let q = this.quality(QualityGrid::uniform(quality))?;
            let y = this.networks.flow_codec()?.coder.dequantise(&this.latent(latent)?, &q)?;
            let (motion, sigma) = this.networks.flow_field(&y, &q)?;
            this.networks.warped(&this.planes(reference)?, &motion, &sigma)?.frame.write_to(out)
        })
    }

    fn set_detail(&mut self, detail: u8) -> Result<()> {
        check_detail(&self.model, detail)?;
        self.detail = detail;
        Ok(())
    }

    fn postfilter(&self) -> Option<LooksBack> {
        let postfilter = self.networks.postfilter.as_ref().filter(|_| self.detail > 0)?;
        Some(LooksBack(postfilter.looks_back()))
    }

    fn postfilter_map(
        &mut self,
        decoded: &Frame,
        past: Option<&Frame>,
        quality: QualityGrid,
        detail: Option<&DetailMap>,
        map: &mut Vec<f32>,
    ) -> Result<()> {
        self.run(|this| {
            let missing = || Error::ModelMismatch("the model has no postfilter".into());
            let postfilter = this.networks.postfilter.as_ref().ok_or_else(missing)?;
            let frame = this.planes(decoded)?;
            let news = past.map(|past| pack(&frame.sub(&this.planes(past)?)?)).transpose()?;
            let packed = pack(&frame)?;
            let share = match detail {
                Some(detail) => detail.tensor(packed.device())?,
                None => whole(),
            };
            let share = share.f_mul_scalar(f64::from(this.detail) / 255.0)?;
            to_nhwc(&postfilter.map(&packed, news.as_ref(), &this.quality(quality)?, &share)?, map)
        })
    }
}
