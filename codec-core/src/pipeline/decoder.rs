//! Units to frames.

mod between;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::config::detail_index;
use super::detail_model::{DetailModel, DetailSource};
use super::engine;
use super::reconstruct::{Reconstructor, Slot, UNSHIFTED};
use super::rest::Rest;
use super::shown::Shown;
use super::stream::{Adaptive, InterFrame, MAX_PENDING, ParsedMotion, ParsedResidual, Stream, decode_detail};
#[cfg(feature = "training")]
use super::times::StageTimes;
use crate::bitstream::{FrameType, ParsedUnit, SequenceHeader, VideoInfo, parse_unit};
use crate::device::DeviceSpec;
use crate::entropy::{LatentContext, Scratch, SymbolReader};
use crate::frame::Frame;
use crate::kernels::parallel::beside;
use crate::model::{Model, ModelId, ModelSource};
use crate::quality::{FrameQuality, QualityGrid};
use crate::{Error, Limits, Result, threads};

/// How to decode a stream.
#[derive(Clone, Debug, Default)]
pub struct DecoderConfig {
    /// Threads that a frame is worked on with, at most [`MAX_THREADS`](crate::MAX_THREADS); 0: as many as the process may run at once.
    /// All streams of the process share one pool. Results do not depend on it.
    pub threads: usize,
    /// Where the networks run.
    pub device: DeviceSpec,
    /// The model that the stream was made with.
    pub model: ModelSource,
    /// Which filter adds the detail that the stream asks for.
    pub detail_model: DetailModel,
    /// A detail file made by `ngc-trainer export --postfilter-alone`, for [`DetailModel::Rich`] and [`DetailModel::Auto`]. It is read when
    /// it is first used.
    pub detail_file: Option<PathBuf>,
    /// Larger streams are refused.
    pub limits: Limits,
}

/// What stands in for a frame that is lost or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concealment {
    /// The last frame again.
    Freeze,
    /// The last frame, moved on as it moved before.
    Predict,
}

/// A decoded picture, where the decoder keeps it.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// At coded size: the display size and some padding on the right and at the bottom.
    pub frame: &'a Frame,
    /// Size, timing and colour of the video.
    pub video: &'a VideoInfo,
    /// Whether it was decoded by itself.
    pub keyframe: bool,
    /// Position in the stream.
    pub frame_number: u32,
    /// CRC-32C of the frame's symbols: equal on every machine. `None` for a stand-in.
    pub checksum: Option<u32>,
}

impl Picture<'_> {
    /// A copy at display size.
    pub fn to_frame(&self) -> Frame {
        let (width, height) = self.video.display_size();
        self.frame.crop_copy(width, height).expect("the coded size is not less than the display size")
    }
}

/// Decodes one stream: every unit becomes one picture at once, in order of display, and nothing is held back. See the [crate's example](crate).
pub struct Decoder {
    model: Arc<Model>,
    threads: usize,
    reconstructor: Reconstructor,
    limits: Limits,
    detail_model: DetailModel,
    detail_source: DetailSource,
    /// The strength of the postfilter in place of the stream's.
    detail: Option<u8>,
    scratch: Scratch,
    /// `None` until a keyframe.
    stream: Option<Stream>,
    /// The stream's reference is what the encoder had; not so after damage, until a keyframe.
    intact: bool,
}

impl Decoder {
    /// Opens the device and loads the model.
    ///
    /// # Errors
    /// What [`Model::load`] says, [`Error::Device`] for a device that cannot be used, and as [`Self::set_detail_model`].
    pub fn new(config: DecoderConfig) -> Result<Self> {
        let threads = threads::count(config.threads);
        let model = Model::load(&config.model)?;
        let engine = engine::open(&model, &config.device, threads)?;
        let mut decoder = Self {
            // Of the least size, until a stream says what it has.
            reconstructor: Reconstructor::new(engine, threads, (1, 1)),
            model,
            threads,
            limits: config.limits,
            detail_model: DetailModel::Fast,
            detail_source: DetailSource::new(config.detail_file),
            detail: None,
            scratch: Scratch::with_threads(threads),
            stream: None,
            intact: false,
        };
        decoder.set_detail_model(config.detail_model)?;
        Ok(decoder)
    }

    /// Decodes a unit.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a damaged unit, [`Error::NeedKeyframe`] for a frame whose reference is not there,
    /// [`Error::ModelMismatch`] for a stream of another model, [`Error::Limit`], [`Error::Unsupported`]. After any error
    /// decoding goes on at the next keyframe.
    pub fn decode(&mut self, unit: &[u8]) -> Result<Picture<'_>> {
        threads::inside(self.threads, || {
            self.decode_here(unit, false)?;
            self.show()
        })?;
        Ok(self.picture().expect("a unit that was decoded leaves a picture"))
    }

    /// Decodes a unit whose frame nobody wants any more. Its symbols are checked, and it serves as reference, but the
    /// networks run only if a later frame needs them: with a keyframe next, never.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn skip(&mut self, unit: &[u8]) -> Result<()> {
        threads::inside(self.threads, || self.decode_here(unit, true))
    }

    /// The postfilter's strength from the next frame on, 0..=1 (values beyond are taken for the nearest); `None`, as at first: what the
    /// stream asks for. Where the stream says how much detail belongs where, that multiplies it. At 0 the filter is left out, and frames
    /// are shown as later ones are predicted from them: sooner, and nearer to the original by PSNR. A recurrent filter that is turned
    /// on, or whose last frame was skipped, starts afresh: it takes some frames until its pictures are those of a decoder that showed
    /// them all. Without effect where there is no postfilter.
    pub fn set_detail(&mut self, detail: Option<f32>) {
        self.detail = detail.map(detail_index);
    }

    /// The postfilter from the next frame on. A detail file is read the first time that it is needed, and kept.
    ///
    /// # Errors
    /// For [`DetailModel::Rich`], [`Error::InvalidConfig`] without a detail file, [`Error::ModelMissing`] if it cannot be read,
    /// [`Error::ModelMismatch`] if it is damaged, of another kind or for another profile, and [`Error::Unsupported`] if it is of another
    /// version. [`DetailModel::Auto`] takes the model's own filter where there is no file or it cannot be used. After an error
    /// the filter stays as it was.
    pub fn set_detail_model(&mut self, which: DetailModel) -> Result<()> {
        if which == self.detail_model {
            return Ok(());
        }
        let is_gpu = self.reconstructor.engine.is_gpu();
        let rich = self.detail_source.choose(which, self.model.config.profile, is_gpu)?;
        self.reconstructor.engine.set_rich(rich.as_ref())?;
        self.detail_model = which;
        Ok(())
    }

    /// The frame shown last.
    fn picture(&self) -> Option<Picture<'_>> {
        let stream = self.stream.as_ref()?;
        Some(Picture {
            frame: stream.shown.as_ref().map_or(self.reconstructor.frame(stream.slot), |shown| shown.frame(stream.slot)),
            video: &stream.sequence.video,
            keyframe: self.intact && stream.slot == Slot::Last && self.reconstructor.is_intra(),
            frame_number: stream.last_number,
            checksum: stream.checksum,
        })
    }

    /// Makes a stand-in for a frame that could not be decoded; `None` if nothing was decoded before. It is not what the encoder had, so
    /// decoding goes on at the next keyframe.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] and [`Error::Device`], where the networks run on a device.
    pub fn conceal(&mut self, how: Concealment) -> Result<Option<Picture<'_>>> {
        threads::inside(self.threads, || self.conceal_here(how))?;
        Ok(self.picture())
    }

    fn conceal_here(&mut self, how: Concealment) -> Result<()> {
        self.intact = false;
        let Some(stream) = &mut self.stream else { return Ok(()) };
        stream.catch_up(&mut self.reconstructor)?;
        // Behind a B-frame, the frame after it is there.
        let is_there = std::mem::replace(&mut stream.slot, Slot::Last) == Slot::Between;
        if how == Concealment::Predict && !is_there {
            self.reconstructor.extrapolate()?;
        }
        stream.last_number = stream.last_number.wrapping_add(1);
        stream.checksum = None;
        self.show()
    }

    /// Something before the next unit is missing: unless that is a keyframe, it cannot be decoded.
    pub fn lose_reference(&mut self) {
        self.intact = false;
    }

    /// Forgets the past and waits for a keyframe.
    pub fn reset(&mut self) {
        self.stream = None;
        self.intact = false;
    }

    /// Whether the next unit must be a keyframe.
    pub fn needs_keyframe(&self) -> bool {
        !self.intact
    }

    /// The model that it decodes with.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Time spent in each stage so far.
    #[cfg(feature = "training")]
    pub fn times(&mut self) -> &mut StageTimes {
        &mut self.reconstructor.times
    }

    /// Makes the picture of the last frame.
    fn show(&mut self) -> Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let engine = &mut self.reconstructor.engine;
        let wanted = match self.detail_model {
            DetailModel::Off => 0,
            _ => self.detail.filter(|_| engine.has_postfilter()).unwrap_or(stream.sequence.detail),
        };
        engine.set_detail(wanted)?;
        let Some(looks_back) = self.reconstructor.engine.postfilter() else {
            stream.shown = None;
            return Ok(());
        };
        let (height, width) = self.reconstructor.grid(1);
        let shown = stream.shown.get_or_insert_with(|| Shown::new(width, height));
        shown.set_filter(self.detail_model, wanted);
        shown.update(stream.slot, looks_back, &mut self.reconstructor)
    }

    /// Decodes a unit into the stream, on the calling thread and those that it splits work over. `lazily`: leave synthesis for later.
    fn decode_here(&mut self, data: &[u8], lazily: bool) -> Result<()> {
        let intact = std::mem::replace(&mut self.intact, false);
        let unit = parse_unit(data, &self.limits)?;
        if unit.header.is_keyframe() {
            self.decode_intra(&unit)?;
        } else {
            let needed = Error::NeedKeyframe { frame_number: unit.header.frame_number };
            let number = match &self.stream {
                Some(stream) if intact => unit.header.number_after(stream.last_number).ok_or(needed)?,
                _ => return Err(needed),
            };
            match (unit.header.frame_type, self.shows_next()) {
                (FrameType::Show, true) => self.decode_show(&unit, number, lazily)?,
                (FrameType::Show, false) => return Err(Error::Corrupt("no frame waits to be shown".into())),
                (_, true) => return Err(Error::Corrupt("a frame that waits to be shown is passed over".into())),
                (_, false) => self.decode_inter(&unit, number, lazily)?,
            }
        }
        self.intact = true;
        Ok(())
    }

    fn decode_intra(&mut self, unit: &ParsedUnit) -> Result<()> {
        let sequence = unit.sequence.clone().ok_or_else(|| Error::Corrupt("a keyframe without sequence header".into()))?;
        self.check_model(&sequence)?;
        let (width, height) = sequence.video.coded_size();
        let (width, height) = (width as usize, height as usize);
        let display = sequence.video.display_size();
        let mut adaptive = Adaptive::new(self.model.config.profile, display, sequence.detail);
        let mut reader = SymbolReader::new(unit.payload)?;
        // Parsed and checked before anything of the last picture is given up.
        let quality = adaptive.decode_quality(unit.header.quality, &mut reader)?;
        let cells = quality.cells(UNSHIFTED);
        let context = LatentContext {
            model: &self.model.intra_entropy,
            quality: cells.grid(),
            rows: height / 16,
            cols: width / 16,
            prior: None,
        };
        let latent = context.decode(&mut reader, &mut self.scratch)?;
        let filter = adaptive.filter.decode(&mut reader)?;
        let detail = decode_detail(&mut adaptive.detail, &mut reader)?;
        let checksum = Some(reader.finish()?);
        // Whether the model has what the stream asks for.
        self.reconstructor.engine.set_detail(sequence.detail)?;
        self.stream = None;
        self.reconstructor.resize(display);
        self.reconstructor.intra(&latent, quality)?;
        self.reconstructor.filter(Slot::Last, filter.as_ref());
        self.reconstructor.set_detail(detail);
        let last_number = unit.header.frame_number;
        let (slot, pending) = (Slot::Last, VecDeque::new());
        self.stream = Some(Stream { sequence, last_number, slot, checksum, shown: None, adaptive, pending });
        Ok(())
    }

    fn decode_inter(&mut self, unit: &ParsedUnit, number: u32, lazily: bool) -> Result<()> {
        let stream = self.stream.as_mut().expect("checked by the caller");
        let is_ahead = unit.header.frame_type == FrameType::Pair;
        let later = if is_ahead { number.wrapping_add(1) } else { number };
        let shift = stream.sequence.shift_of(later);
        let (rows, cols) = self.reconstructor.grid(16);
        let (flow_prior, residual_prior) = stream.priors(&self.reconstructor, shift);
        let (model, scratch, adaptive) = (&self.model, &mut self.scratch, &mut stream.adaptive);
        let start = Instant::now();
        let mut reader = SymbolReader::new(unit.payload)?;
        let mut residual_quality = adaptive.decode_quality(unit.header.residual_quality, &mut reader)?;
        // Everything is parsed and checked before anything is reconstructed. The prediction, which damage in what follows it leaves
        // unused, may be made meanwhile.
        let motion = match &model.flow_entropy {
            Some(_) if is_ahead => return Err(Error::Corrupt("a pair in a stream of the paper profile".into())),
            Some(entropy) => {
                let (index, prior) = (unit.header.quality, flow_prior.as_ref());
                let quality = QualityGrid::uniform(index);
                let context = LatentContext { model: entropy, quality, rows, cols, prior };
                ParsedMotion::Flow(context.decode(&mut reader, scratch)?, index)
            }
            None => ParsedMotion::Blocks(adaptive.motion.decode(&mut reader)?),
        };
        let rest = match motion {
            ParsedMotion::Blocks(_) => adaptive.rest.decode((rows, cols), &mut reader)?,
            ParsedMotion::Flow(..) => Rest::Areas(None),
        };
        let rests = rest == Rest::Frame;
        if let Rest::Areas(map) = rest {
            residual_quality.rest = map;
        }
        let cells = residual_quality.cells(shift);
        let grid = cells.grid();
        let (filter_coder, detail_coder) = (&mut adaptive.filter, &mut adaptive.detail);
        let mut parse = || -> Result<_> {
            let (quality, prior) = (grid, residual_prior.as_ref());
            let context = LatentContext { model: &model.residual_entropy, quality, rows, cols, prior };
            let latent = if rests { None } else { Some(context.decode(&mut reader, scratch)?) };
            let filter = filter_coder.decode(&mut reader)?;
            let detail = decode_detail(detail_coder, &mut reader)?;
            Ok(((latent, filter, detail), start.elapsed()))
        };
        let early = !lazily && !rests && stream.pending.is_empty() && self.reconstructor.is_parallel();
        let (parsed, prepared) = match &motion {
            ParsedMotion::Blocks(field) if early => {
                let reconstructor = &mut self.reconstructor;
                let (prepared, parsed) = beside(|| reconstructor.prepare(field, shift, grid), parse);
                (parsed, Some(prepared))
            }
            _ => (parse(), None),
        };
        let ((latent, filter, detail), elapsed) = parsed?;
        let residual = ParsedResidual { latent, quality: residual_quality, shift, filter };
        self.reconstructor.times.add("entropy", elapsed);
        let between = if is_ahead {
            let b_shift = stream.sequence.shift_of(number);
            let prior = residual.prior(b_shift).or_else(|| stream.priors(&self.reconstructor, b_shift).1);
            let quality = FrameQuality { index: unit.header.b_quality, rest: None, ..residual.quality.clone() };
            let start = Instant::now();
            let frame = self.parse_between(quality, b_shift, prior.as_ref(), &mut reader)?;
            self.reconstructor.times.add("entropy", start.elapsed());
            Some(frame)
        } else {
            None
        };
        let checksum = Some(reader.finish()?);
        let is_prepared = prepared.transpose()?.is_some();
        let frame = InterFrame { motion, residual, detail, is_prepared, is_ahead };
        let stream = self.stream.as_mut().expect("checked by the caller");
        stream.pending.push_back(frame);
        (stream.last_number, stream.checksum) = (number, checksum);
        stream.slot = if is_ahead { Slot::Between } else { Slot::Last };
        if !lazily || stream.pending.len() > MAX_PENDING {
            stream.catch_up(&mut self.reconstructor)?;
        }
        match between {
            // One that nobody wants serves for nothing else.
            Some(frame) if !lazily => frame.reconstruct(&mut self.reconstructor),
            _ => Ok(()),
        }
    }

    fn check_model(&self, sequence: &SequenceHeader) -> Result<()> {
        if sequence.model_id == self.model.id.short() {
            return Ok(());
        }
        let mut wanted = [0; 32];
        wanted[..16].copy_from_slice(&sequence.model_id);
        Err(Error::ModelMismatch(format!(
            "the stream was made with model {}, this decoder has {}; give the stream's model file (property model-file)",
            ModelId(wanted),
            self.model.id
        )))
    }
}
