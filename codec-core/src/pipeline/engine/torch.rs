//! Networks on libtorch: the `paper` profile in floats, and the transforms of the `rt` profile on a GPU, with the integers that the
//! processor computes.

mod sent;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use super::{Engine, Filtered, LooksBack, Part, Predict, Scaled, check_detail};
use crate::bitstream::Profile;
use crate::detail::DetailMap;
use crate::device::DeviceSpec;
use crate::entropy::{ACTIVATION_FRACTION_BITS, LatentGrid};
use crate::flow::FlowField;
use crate::frame::Frame;
use crate::kernels::flow::{FLOW_CHANNELS, pack_flow};
use crate::kernels::sharpen::CHANNELS;
use crate::model::{DetailFile, Model, load_detail, load_networks};
use crate::nn::codec::{Branch, FLOW_INPUT};
use crate::nn::device;
use crate::nn::frames::set_samples;
use crate::nn::ops::{Planes, pack, unpack};
use crate::nn::transfer::{Staging, upload};
use crate::nn::{Networks, Postfilter, Precision, whole};
use crate::quality::QualityGrid;
use crate::rt::Share;
use crate::{Error, Result};
use sent::{Parcel, Sent, frame_quality};

/// The networks of one stream.
pub struct TorchEngine {
    model: Arc<Model>,
    networks: Networks,
    device: Device,
    precision: Precision,
    threads: usize,
    detail: u8,
    /// The filter of a detail file that was loaded.
    rich: Option<Rich>,
    /// It is in use in place of the model's.
    is_rich: bool,
    /// What was analysed last, `[1, C, H/16, W/16]`.
    y: Option<Tensor>,
    /// The next prediction and what is made of it.
    prepared: Option<Prepared>,
    staging: Stagings,
}

/// The filter of a detail file on the device.
struct Rich {
    file: Arc<DetailFile>,
    filter: Postfilter,
}

/// A P-frame's prediction on the device, and what does not depend on the latent.
struct Prepared {
    prediction: Planes,
    /// Shifted.
    packed: Tensor,
    free: Option<Tensor>,
    q: Tensor,
}

/// For each kind of transfer that may be on its way while another starts. Between two uploads of one kind, unless the first is of no use
/// any more, lies a download of what came of it.
#[derive(Default)]
struct Stagings {
    analysed: Staging,
    prediction: Staging,
    latent: Staging,
    shown: Staging,
    received: Staging,
}

impl TorchEngine {
    /// # Errors
    /// As [`device::open`].
    pub fn new(model: &Arc<Model>, spec: &DeviceSpec, threads: usize) -> Result<Self> {
        let device = device::open(spec)?;
        let precision = match model.config.profile {
            Profile::Rt if device::is_slow_at_64_bits(device)? => Precision::ExactBytes,
            Profile::Rt => Precision::Exact,
            Profile::Paper => Precision::Full,
        };
        Self::with_precision(model, device, precision, threads)
    }

    fn with_precision(model: &Arc<Model>, device: Device, precision: Precision, threads: usize) -> Result<Self> {
        device::use_threads(threads);
        let networks = tch::no_grad(|| load_networks(model, device, precision))?;
        let (model, staging) = (Arc::clone(model), Stagings::default());
        Ok(Self {
            model,
            networks,
            device,
            precision,
            threads,
            detail: 0,
            rich: None,
            is_rich: false,
            y: None,
            prepared: None,
            staging,
        })
    }

    /// Runs on the stream's threads, without gradients.
    fn run<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        device::use_threads(self.threads);
        tch::no_grad(|| work(self))
    }

    /// Sends what an analysis reads.
    fn send(&mut self, parcel: Parcel, staging: impl FnOnce(&mut Stagings) -> &mut Staging) -> Result<Sent> {
        parcel.send(staging(&mut self.staging), self.device, self.precision)
    }

    /// Receives a frame.
    fn receive(&mut self, frame: &Planes, out: &mut Frame) -> Result<()> {
        set_samples(out, self.staging.received.download(&frame.to_samples()?)?)
    }

    /// The filter in use.
    fn filter(&self) -> Option<&Postfilter> {
        match &self.rich {
            Some(rich) if self.is_rich => Some(&rich.filter),
            _ => self.networks.postfilter.as_ref(),
        }
    }

    fn branch(&self, part: Part) -> Result<&Branch> {
        match part {
            Part::Intra => Ok(&self.networks.intra),
            Part::Flow => self.networks.flow_codec(),
            Part::Residual => Ok(&self.networks.residual),
        }
    }

    fn prepare(&mut self, prediction: &Frame, (dy, dx): (i32, i32), quality: QualityGrid) -> Result<Prepared> {
        let parcel = Parcel::default().frame(prediction).quality(quality);
        let mut sent = self.send(parcel, |staging| &mut staging.prediction)?;
        let (prediction, q) = (sent.frame(prediction)?, sent.quality(quality)?);
        let packed = pack(&prediction.rolled(dy.into(), dx.into())?)?;
        Ok(Prepared { free: self.networks.free_latent(&packed, &q)?, prediction, packed, q })
    }
}

/// A latent as the integers of a hyper-analysis have it.
fn fixed(y: &Tensor) -> Result<Tensor> {
    let one = f64::from(1u32 << ACTIVATION_FRACTION_BITS);
    Ok(y.f_mul_scalar(one)?.f_round()?.f_clamp(f64::from(i16::MIN), f64::from(i16::MAX))?.f_div_scalar(one)?)
}

/// A tensor `[1, channels, rows, cols]` as 32-bit floats in the order of NHWC.
fn flat(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.f_permute([0, 2, 3, 1])?.f_reshape([-1])?.f_to_kind(Kind::Float)?)
}

impl Engine for TorchEngine {
    fn analyse_intra(&mut self, frame: &Frame, quality: QualityGrid) -> Result<()> {
        self.run(|this| {
            let parcel = Parcel::default().frame(frame).quality(quality);
            let mut sent = this.send(parcel, |staging| &mut staging.analysed)?;
            let packed = pack(&sent.frame(frame)?)?;
            this.y = Some(this.networks.intra.analysis.forward(&packed, &sent.quality(quality)?)?);
            Ok(())
        })
    }

    fn analyse_residual(&mut self, frame: &Frame, prediction: &Frame, shift: (i32, i32), quality: QualityGrid) -> Result<()> {
        self.run(|this| {
            let parcel = Parcel::default().frame(frame).frame(prediction).quality(quality);
            let mut sent = this.send(parcel, |staging| &mut staging.analysed)?;
            let mut rolled = |frame| sent.frame(frame)?.rolled(shift.0.into(), shift.1.into());
            let (frame, prediction) = (rolled(frame)?, rolled(prediction)?);
            let input = Tensor::f_cat(&[pack(&frame.sub(&prediction)?)?, pack(&prediction)?], 1)?;
            this.y = Some(this.networks.residual.analysis.forward(&input, &sent.quality(quality)?)?);
            Ok(())
        })
    }

    fn analyse_flow(&mut self, flow: &FlowField, frame: &Frame, reference: &Frame, quality: u8) -> Result<()> {
        self.run(|this| {
            let (rows, cols) = (frame.height() / 8, frame.width() / 8);
            let mut packed = vec![0.0; rows * cols * FLOW_CHANNELS];
            pack_flow(flow, &mut packed, FLOW_CHANNELS)?;
            let size = [1, rows as i64, cols as i64, FLOW_CHANNELS as i64];
            let flow = upload(&Tensor::f_from_slice(&packed)?, this.device)?.f_view(size)?.f_permute([0, 3, 1, 2])?;
            let parcel = Parcel::default().frame(frame).frame(reference);
            let mut sent = this.send(parcel, |staging| &mut staging.analysed)?;
            let input = Tensor::f_cat(&[flow, pack(&sent.frame(frame)?)?, pack(&sent.frame(reference)?)?], 1)?;
            debug_assert_eq!(input.size()[1], FLOW_INPUT);
            let q = frame_quality(quality, this.device)?;
            this.y = Some(this.networks.flow_codec()?.analysis.forward(&input, &q)?);
            Ok(())
        })
    }

    fn scale(&mut self, part: Part, quality: QualityGrid, predict: Option<Predict>, out: &mut Scaled) -> Result<()> {
        self.run(|this| {
            let missing = || Error::InvalidConfig("no latent was analysed".into());
            let q = if quality.is_uniform() {
                frame_quality(quality.frame(), this.device)?
            } else {
                this.send(Parcel::default().quality(quality), |staging| &mut staging.latent)?.quality(quality)?
            };
            let y = this.branch(part)?.coder.quantiser_domain(this.y.as_ref().ok_or_else(missing)?, &q)?;
            let y = match predict {
                Some(predict) => {
                    // Blocks are predicted one after the other, which is for the processor.
                    let (_, c, h, w) = y.size4()?;
                    let mut values: Vec<f32> = this.staging.received.download(&flat(&y)?)?.to_vec();
                    predict(&mut values)?;
                    upload(&Tensor::f_from_slice(&values)?.f_view([1, h, w, c])?, this.device)?.f_permute([0, 3, 1, 2])?
                }
                None => y,
            };
            let coder = &this.branch(part)?.coder;
            let seen = if this.precision.is_fixed() { fixed(&y)? } else { y.shallow_clone() };
            let (z, y) = (flat(&coder.entropy.hyper_analysis(&seen)?)?, flat(&y)?);
            let values = this.staging.received.download::<f32>(&Tensor::f_cat(&[&z, &y], 0)?)?;
            let (of_z, of_y) = values.split_at(z.numel());
            out.z.clear();
            out.z.extend_from_slice(of_z);
            out.y.clear();
            out.y.extend_from_slice(of_y);
            Ok(())
        })
    }

    fn bit_prices(&self, part: Part) -> &[f32] {
        self.branch(part).map_or(&[], |branch| branch.coder.bit_prices())
    }

    fn synthesise_intra(&mut self, latent: &LatentGrid, quality: QualityGrid, out: &mut Frame) -> Result<()> {
        self.run(|this| {
            // What was prepared for a frame that turned out to be damaged.
            this.prepared = None;
            let parcel = Parcel::default().latent(latent).quality(quality);
            let mut sent = this.send(parcel, |staging| &mut staging.latent)?;
            let (y, q) = (sent.latent(latent)?, sent.quality(quality)?);
            let branch = &this.networks.intra;
            let y = branch.coder.dequantise(&y, &q)?;
            let frame = unpack(&branch.synthesis.forward(&y, &q)?)?;
            this.receive(&frame, out)
        })
    }

    fn prepare_residual(&mut self, prediction: &Frame, shift: (i32, i32), quality: QualityGrid) -> Result<()> {
        self.run(|this| {
            this.prepared = Some(this.prepare(prediction, shift, quality)?);
            Ok(())
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
            let prepared = this.prepared.take().map_or_else(|| this.prepare(prediction, shift, quality), Ok)?;
            let Prepared { prediction, packed, free, q } = prepared;
            let mut sent = this.send(Parcel::default().latent(latent), |staging| &mut staging.latent)?;
            let y = this.networks.residual.coder.dequantise(&sent.latent(latent)?, &q)?;
            let (dy, dx) = (i64::from(shift.0), i64::from(shift.1));
            let residual = unpack(&this.networks.residual_synthesis(&y, &packed, free.as_ref(), &q)?)?.rolled(-dy, -dx)?;
            this.receive(&prediction.add(&residual)?, out)
        })
    }

    fn predict_flow(&mut self, latent: &LatentGrid, quality: u8, reference: &Frame, out: &mut Frame) -> Result<()> {
        self.run(|this| {
            let mut sent = this.send(Parcel::default().latent(latent).frame(reference), |staging| &mut staging.latent)?;
            let (y, reference) = (sent.latent(latent)?, sent.frame(reference)?);
            let q = frame_quality(quality, this.device)?;
            let y = this.networks.flow_codec()?.coder.dequantise(&y, &q)?;
            let (motion, sigma) = this.networks.flow_field(&y, &q)?;
            let prediction = this.networks.warped(&reference, &motion, &sigma)?.frame;
            this.receive(&prediction, out)
        })
    }

    fn is_gpu(&self) -> bool {
        self.device.is_cuda()
    }

    fn set_rich(&mut self, rich: Option<&Arc<DetailFile>>) -> Result<()> {
        if let Some(file) = rich.filter(|file| self.rich.as_ref().is_none_or(|rich| !Arc::ptr_eq(&rich.file, file))) {
            // In plain floats: nothing is predicted from what it shows.
            let filter = self.run(|this| load_detail(file, this.device, Precision::Full))?;
            self.rich = Some(Rich { file: Arc::clone(file), filter });
        }
        self.is_rich = rich.is_some();
        Ok(())
    }

    fn has_postfilter(&self) -> bool {
        self.filter().is_some()
    }

    fn set_detail(&mut self, detail: u8) -> Result<()> {
        check_detail(self, &self.model, detail)?;
        self.detail = detail;
        Ok(())
    }

    fn postfilter(&self) -> Option<LooksBack> {
        let postfilter = self.filter().filter(|_| self.detail > 0)?;
        Some(LooksBack(postfilter.looks_back()))
    }

    fn postfilter_map(&mut self, filtered: Filtered, map: &mut Vec<f32>) -> Result<()> {
        let Filtered { decoded, past, quality, detail, area } = filtered;
        self.run(|this| {
            let mut parcel = Parcel::default().frame(decoded);
            if let Some(past) = past {
                parcel = parcel.frame(past);
            }
            let mut sent = this.send(parcel.quality(quality).area(area), |staging| &mut staging.shown)?;
            let frame = sent.frame(decoded)?;
            let news = past.map(|past| pack(&frame.sub(&sent.frame(past)?)?)).transpose()?;
            let (packed, q, awake) = (pack(&frame)?, sent.quality(quality)?, sent.area(area)?);
            let missing = || Error::ModelMismatch("there is no postfilter".into());
            let host = this.model.rt.as_ref().and_then(|networks| networks.postfilter.as_ref()).filter(|_| !this.is_rich);
            let Some(host) = host else {
                let factors = detail.map(|map| upload(&Tensor::f_from_slice(&map.factors())?, this.device)).transpose()?;
                let (_, _, rows, cols) = packed.size4()?;
                let factors = factors.map_or_else(|| Ok(whole()), |factors| factors.f_view([1, 1, rows, cols]))?;
                let share = factors.f_mul_scalar(f64::from(this.detail) / 255.0)?;
                let float = |x: Tensor| x.f_to_kind(Kind::Float);
                let (packed, news) = (float(packed)?, news.map(float).transpose()?);
                let filter = this.filter().ok_or_else(missing)?;
                let values = flat(&filter.map(&packed, (news.as_ref(), awake.as_ref()), &q, &share)?)?;
                let values = this.staging.received.download::<f32>(&values)?;
                map.resize(values.len(), 0.0);
                let channels = values.len() / (rows * cols) as usize;
                for cell in area.cells() {
                    let values = &values[cell * channels..][..channels];
                    map[cell * channels..][..channels].copy_from_slice(values);
                }
                return Ok(());
            };
            let postfilter = this.networks.postfilter.as_ref().ok_or_else(missing)?;
            let received = &mut this.staging.received;
            let written = postfilter.integers(&packed, (news.as_ref(), awake.as_ref()), &q)?;
            let channels = written.size4()?.1 as usize;
            let cells = received.download::<i16>(&written.f_permute([0, 2, 3, 1])?)?;
            let factors = detail.map(DetailMap::factors);
            let share = Share::new(quality, this.detail, factors.as_deref());
            let carry = (channels > CHANNELS).then_some(|cell: usize| &cells[cell * channels..][CHANNELS..channels]);
            host.map(|cell| &cells[cell * channels..][..CHANNELS], carry, (share, area), map);
            Ok(())
        })
    }
}
