//! The `rt` profile in integers, on the processor.

use std::sync::Arc;

use super::{Engine, Filtered, LooksBack, Part, Predict, Scaled, check_detail};
use crate::detail::DetailMap;
use crate::entropy::LatentGrid;
use crate::flow::FlowField;
use crate::frame::Frame;
use crate::integer::Machine;
use crate::kernels::PACKED_CHANNELS;
use crate::kernels::pack::{PackTarget, pack_frame, pack_residual};
use crate::kernels::unpack::unpack_frame;
use crate::model::{DetailFile, Model};
use crate::quality::QualityGrid;
use crate::rt::{
    AnalysisScratch, Branch, Dequantised, HyperScratch, Networks, Postfilter, PostfilterInput, PostfilterScratch, Share,
    SynthesisScratch,
};
use crate::{Error, Result};

/// Networks that all streams of a model share, and the memory of one stream.
pub struct IntegerEngine {
    model: Arc<Model>,
    machine: Machine,
    /// Whose filter is in use in place of the model's.
    rich: Option<Arc<DetailFile>>,
    detail: u8,
    packed: Vec<i16>,
    /// Rows and columns at 1/8 of what was analysed last.
    size: (usize, usize),
    analysis: AnalysisScratch,
    free: AnalysisScratch,
    /// `packed` and `free` are those of the next prediction.
    prepared: bool,
    hyper: HyperScratch,
    latent: Dequantised,
    synthesis: SynthesisScratch,
    output: Vec<i16>,
    postfilter: PostfilterScratch,
    news: Vec<i16>,
}

impl IntegerEngine {
    /// # Errors
    /// [`Error::Unsupported`] for a model that is not of the `rt` profile.
    pub fn new(model: &Arc<Model>, threads: usize) -> Result<Self> {
        if model.rt.is_none() {
            return Err(Error::Unsupported("only models of the rt profile run in integers".into()));
        }
        Ok(Self {
            model: Arc::clone(model),
            machine: Machine::new(threads),
            rich: None,
            detail: 0,
            packed: Vec::new(),
            size: (0, 0),
            analysis: AnalysisScratch::default(),
            free: AnalysisScratch::default(),
            prepared: false,
            hyper: HyperScratch::default(),
            latent: Dequantised::default(),
            synthesis: SynthesisScratch::default(),
            output: Vec::new(),
            postfilter: PostfilterScratch::default(),
            news: Vec::new(),
        })
    }

    fn networks(model: &Model) -> &Networks {
        model.rt.as_ref().expect("checked when the engine was made")
    }

    /// The filter in use.
    fn filter<'a>(model: &'a Model, rich: Option<&'a DetailFile>) -> Option<&'a Postfilter> {
        rich.map_or_else(|| Self::networks(model).postfilter.as_ref(), |rich| rich.rt.as_ref())
    }

    fn branch(model: &Model, part: Part) -> Result<&Branch> {
        match part {
            Part::Intra => Ok(&Self::networks(model).intra),
            Part::Residual => Ok(&Self::networks(model).residual),
            Part::Flow => Err(no_flow()),
        }
    }
}

fn no_flow() -> Error {
    Error::ModelMismatch("the model has no flow codec: its motion is in blocks".into())
}

/// Rows and columns at 1/8.
fn grid(frame: &Frame) -> (usize, usize) {
    (frame.height() / 8, frame.width() / 8)
}

/// Room for a packed frame of so many channels.
fn target<'a>(buffer: &'a mut Vec<i16>, frame: &Frame, channels: usize, offset: usize) -> PackTarget<'a> {
    let (rows, cols) = grid(frame);
    buffer.resize(rows * cols * channels, 0);
    PackTarget { data: buffer, channels, offset }
}

impl Engine for IntegerEngine {
    fn analyse_intra(&mut self, frame: &Frame, quality: QualityGrid) -> Result<()> {
        let machine = self.machine;
        self.size = grid(frame);
        pack_frame(frame, (0, 0), target(&mut self.packed, frame, PACKED_CHANNELS, 0), machine.threads)?;
        Self::networks(&self.model).intra.analysis.run(machine, &self.packed, self.size, quality, &mut self.analysis);
        Ok(())
    }

    fn analyse_residual(&mut self, frame: &Frame, prediction: &Frame, shift: (i32, i32), quality: QualityGrid) -> Result<()> {
        const CHANNELS: usize = 2 * PACKED_CHANNELS;
        let machine = self.machine;
        self.size = grid(frame);
        pack_residual(frame, prediction, shift, target(&mut self.packed, frame, CHANNELS, 0), machine.threads)?;
        pack_frame(prediction, shift, target(&mut self.packed, frame, CHANNELS, PACKED_CHANNELS), machine.threads)?;
        Self::networks(&self.model).residual.analysis.run(machine, &self.packed, self.size, quality, &mut self.analysis);
        Ok(())
    }

    fn analyse_flow(&mut self, _: &FlowField, _: &Frame, _: &Frame, _: u8) -> Result<()> {
        Err(no_flow())
    }

    fn scale(&mut self, part: Part, quality: QualityGrid, predict: Option<Predict>, out: &mut Scaled) -> Result<()> {
        let branch = Self::branch(&self.model, part)?;
        branch.gains.quantiser_domain(self.machine, &self.analysis, quality, &mut out.y);
        if let Some(predict) = predict {
            predict(&mut out.y)?;
        }
        let size = (self.size.0 / 2, self.size.1 / 2);
        branch.hyper.run(self.machine, &out.y, size, &mut self.hyper, &mut out.z);
        Ok(())
    }

    fn bit_prices(&self, part: Part) -> &[f32] {
        Self::branch(&self.model, part).map_or(&[], |branch| &branch.bit_prices)
    }

    fn synthesise_intra(&mut self, latent: &LatentGrid, quality: QualityGrid, out: &mut Frame) -> Result<()> {
        // What was prepared for a frame that turned out to be damaged.
        self.prepared = false;
        let (machine, branch) = (self.machine, &Self::networks(&self.model).intra);
        branch.gains.dequantise(machine, latent, &[], quality, &mut self.latent);
        branch.synthesis.run(machine, &self.latent, None, quality, &mut self.synthesis, &mut self.output);
        unpack_frame(&self.output, None, (0, 0), out, machine.threads)
    }

    fn prepare_residual(&mut self, prediction: &Frame, shift: (i32, i32), quality: QualityGrid) -> Result<()> {
        let (machine, networks) = (self.machine, Self::networks(&self.model));
        pack_frame(prediction, shift, target(&mut self.packed, prediction, PACKED_CHANNELS, 0), machine.threads)?;
        if networks.free_latent() {
            let analysis = &networks.intra.analysis;
            analysis.run_nonlinear(machine, &self.packed, grid(prediction), quality, &mut self.free);
        }
        self.prepared = true;
        Ok(())
    }

    fn synthesise_residual(
        &mut self,
        latent: &LatentGrid,
        prediction: &Frame,
        shift: (i32, i32),
        quality: QualityGrid,
        out: &mut Frame,
    ) -> Result<()> {
        if !std::mem::take(&mut self.prepared) {
            self.prepare_residual(prediction, shift, quality)?;
            self.prepared = false;
        }
        let (machine, networks) = (self.machine, Self::networks(&self.model));
        let free: &[i16] = if networks.free_latent() { &self.free.nonlinear } else { &[] };
        let branch = &networks.residual;
        branch.gains.dequantise(machine, latent, free, quality, &mut self.latent);
        let context = Some(&self.packed[..]);
        branch.synthesis.run(machine, &self.latent, context, quality, &mut self.synthesis, &mut self.output);
        unpack_frame(&self.output, Some(prediction), shift, out, machine.threads)
    }

    fn predict_flow(&mut self, _: &LatentGrid, _: u8, _: &Frame, _: &mut Frame) -> Result<()> {
        Err(no_flow())
    }

    fn set_rich(&mut self, rich: Option<&Arc<DetailFile>>) -> Result<()> {
        self.rich = rich.map(Arc::clone);
        Ok(())
    }

    fn has_postfilter(&self) -> bool {
        Self::filter(&self.model, self.rich.as_deref()).is_some()
    }

    fn set_detail(&mut self, detail: u8) -> Result<()> {
        check_detail(self, &self.model, detail)?;
        self.detail = detail;
        Ok(())
    }

    fn postfilter(&self) -> Option<LooksBack> {
        let postfilter = Self::filter(&self.model, self.rich.as_deref()).filter(|_| self.detail > 0)?;
        Some(LooksBack(postfilter.looks_back()))
    }

    fn postfilter_map(&mut self, filtered: Filtered, map: &mut Vec<f32>) -> Result<()> {
        let Filtered { decoded, past, quality, detail, area } = filtered;
        let machine = self.machine;
        let Some(postfilter) = Self::filter(&self.model, self.rich.as_deref()) else {
            return Err(Error::ModelMismatch("the model has no postfilter".into()));
        };
        pack_frame(decoded, (0, 0), target(&mut self.packed, decoded, PACKED_CHANNELS, 0), machine.threads)?;
        if let Some(past) = past {
            pack_residual(decoded, past, (0, 0), target(&mut self.news, decoded, PACKED_CHANNELS, 0), machine.threads)?;
        }
        let news = past.map(|_| &self.news[..]);
        let factors = detail.map(DetailMap::factors);
        let share = Share::new(quality, self.detail, factors.as_deref());
        let input = PostfilterInput { decoded: &self.packed, news, area, share };
        postfilter.run(machine, input, &mut self.postfilter, map);
        Ok(())
    }
}
