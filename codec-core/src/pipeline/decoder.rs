//! Units to frames.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::engine;
use super::reconstruct::Reconstructor;
use super::shown::Shown;
use super::times::StageTimes;
use crate::bitstream::{ParsedUnit, SequenceHeader, VideoInfo, parse_unit, prior_cells};
use crate::device::DeviceSpec;
use crate::entropy::{LatentGrid, Scratch, SymbolReader, decode_latent};
use crate::frame::Frame;
use crate::kernels::parallel::beside;
use crate::loopfilter::{FilterCoder, FilterParams};
use crate::model::{Model, ModelId, ModelSource};
use crate::motion::{BlockField, MotionCoder};
use crate::{Error, Limits, Result, threads};

/// Frames whose synthesis is put off at most; each holds its latents.
const MAX_PENDING: usize = 64;

/// How to decode a stream.
#[derive(Clone, Debug, Default)]
pub struct DecoderConfig {
    /// Threads that a frame is worked on with; 0: as many as the process has cores (see [`threads::count`]).
    pub threads: usize,
    pub device: DeviceSpec,
    pub model: ModelSource,
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

/// One decoded frame at display size.
#[derive(Clone, Debug)]
pub struct DecodedFrame {
    pub frame: Frame,
    pub video: VideoInfo,
    pub keyframe: bool,
    pub frame_number: u32,
    /// CRC-32C of the frame's symbols: equal on every machine. 0 for a stand-in.
    pub checksum: u32,
}

/// The frame decoded last, where the decoder keeps it.
#[derive(Debug)]
pub struct Picture<'a> {
    /// At coded size: display size and some padding on the right and at the bottom.
    pub frame: &'a Frame,
    pub video: &'a VideoInfo,
    pub keyframe: bool,
    pub frame_number: u32,
    /// As in [`DecodedFrame`].
    pub checksum: u32,
}

/// A P-frame's motion, parsed.
enum ParsedMotion {
    Blocks(BlockField),
    /// Flow latent and its quality index (`paper` profile).
    Flow(LatentGrid, u8),
}

/// A parsed P-frame.
struct InterFrame {
    motion: ParsedMotion,
    residual: LatentGrid,
    residual_quality: u8,
    shift: (i32, i32),
    filter: Option<FilterParams>,
    /// Its prediction has been made.
    is_prepared: bool,
}

/// What parsing carries from frame to frame besides latents: adaptive models, reset by keyframes.
struct Adaptive {
    motion: MotionCoder,
    filter: FilterCoder,
}

/// What a decoded keyframe leaves for the frames after it.
struct Stream {
    sequence: SequenceHeader,
    last_number: u32,
    /// Filtered picture, `None` where the reconstruction itself is shown.
    shown: Option<Shown>,
    adaptive: Adaptive,
    /// Frames that are parsed and whose synthesis no one has needed yet.
    pending: VecDeque<InterFrame>,
}

/// Decodes one stream. One frame for every unit, in order, without delay.
pub struct Decoder {
    model: Arc<Model>,
    reconstructor: Reconstructor,
    limits: Limits,
    postfilter: bool,
    scratch: Scratch,
    /// `None` until a keyframe.
    stream: Option<Stream>,
    /// The stream's reference is what the encoder had; not so after damage, until a keyframe.
    intact: bool,
    /// Frames that were not taken before the next unit came.
    frames: VecDeque<DecodedFrame>,
    /// Checksum of the stream's picture while it has not been taken.
    untaken: Option<u32>,
}

impl Decoder {
    /// Opens the device and loads the model.
    pub fn new(config: DecoderConfig) -> Result<Self> {
        let threads = threads::count(config.threads);
        let model = Model::load(&config.model)?;
        let engine = engine::open(&model, &config.device, threads)?;
        Ok(Self {
            // Of the least size, until a stream says what it has.
            reconstructor: Reconstructor::new(engine, threads, (1, 1)),
            model,
            limits: config.limits,
            postfilter: true,
            scratch: Scratch::with_threads(threads),
            stream: None,
            intact: false,
            frames: VecDeque::new(),
            untaken: None,
        })
    }

    /// Decodes a unit.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a damaged unit, [`Error::NeedKeyframe`] for a P-frame whose reference is not there,
    /// [`Error::ModelMismatch`] for a stream of another model, [`Error::Limit`], [`Error::Unsupported`]. After any error
    /// decoding goes on at the next keyframe.
    pub fn send_unit(&mut self, data: &[u8]) -> Result<()> {
        let checksum = self.decode(data, false)?;
        self.show()?;
        self.untaken = Some(checksum);
        Ok(())
    }

    /// Decodes a unit whose frame nobody wants any more. Its symbols are checked, and it serves as reference, but the
    /// networks run only if a later frame needs them: with a keyframe next, never.
    ///
    /// # Errors
    /// As [`Self::send_unit`].
    pub fn skip_unit(&mut self, data: &[u8]) -> Result<()> {
        self.decode(data, true).map(|_| ())
    }

    /// Turns the postfilter, which is on at first, on or off from the next frame on. Without it frames are shown as later ones are
    /// predicted from them: sooner, and nearer to the original by PSNR. A recurrent filter that is turned on, or whose last frame
    /// was skipped, starts afresh: it takes some frames until its pictures are those of a decoder that showed them all.
    pub fn set_postfilter(&mut self, on: bool) {
        self.postfilter = on;
    }

    /// The next frame, a copy at display size; `None` if there is none yet.
    pub fn receive_frame(&mut self) -> Option<DecodedFrame> {
        self.keep_untaken();
        self.frames.pop_front()
    }

    /// The frame of the last unit or of [`Self::conceal`], in place, if it has not been taken: takes it without a copy. It
    /// stays until the next unit.
    pub fn take_picture(&mut self) -> Option<Picture<'_>> {
        let checksum = self.untaken.take()?;
        self.picture().map(|picture| Picture { checksum, ..picture })
    }

    /// The frame shown last, whether it has been taken or not; its checksum is not known any more (0).
    pub fn picture(&self) -> Option<Picture<'_>> {
        let stream = self.stream.as_ref()?;
        Some(Picture {
            frame: stream.shown.as_ref().map_or(self.reconstructor.reference(), Shown::frame),
            video: &stream.sequence.video,
            keyframe: self.intact && self.reconstructor.is_intra(),
            frame_number: stream.last_number,
            checksum: 0,
        })
    }

    /// Copies a frame that is still wanted before its place is used again.
    fn keep_untaken(&mut self) {
        let frame = self.take_picture().and_then(|picture| {
            let (width, height) = (picture.video.width as usize, picture.video.height as usize);
            Some(DecodedFrame {
                frame: picture.frame.crop_copy(width, height).ok()?,
                video: picture.video.clone(),
                keyframe: picture.keyframe,
                frame_number: picture.frame_number,
                checksum: picture.checksum,
            })
        });
        self.frames.extend(frame);
    }

    /// Makes a stand-in for a frame that could not be decoded, to be taken like a frame; false if nothing was decoded before.
    /// It is not what the encoder had, so decoding goes on at the next keyframe.
    pub fn conceal(&mut self, how: Concealment) -> Result<bool> {
        self.keep_untaken();
        self.intact = false;
        let Some(stream) = &mut self.stream else { return Ok(false) };
        stream.catch_up(&mut self.reconstructor)?;
        if how == Concealment::Predict {
            self.reconstructor.extrapolate()?;
        }
        stream.last_number = stream.last_number.wrapping_add(1);
        self.show()?;
        self.untaken = Some(0);
        Ok(true)
    }

    /// Ends the stream. Nothing is held back at present, so there is nothing to wait for.
    pub fn flush(&mut self) {}

    /// Something before the next unit is missing: unless that is a keyframe, it cannot be decoded.
    pub fn lose_reference(&mut self) {
        self.intact = false;
    }

    /// Drops frames not received, forgets the past and waits for a keyframe.
    pub fn reset(&mut self) {
        self.frames.clear();
        self.untaken = None;
        self.stream = None;
        self.intact = false;
    }

    /// Whether the next unit must be a keyframe.
    pub fn needs_keyframe(&self) -> bool {
        !self.intact
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Time spent in each stage so far.
    pub fn times(&mut self) -> &mut StageTimes {
        &mut self.reconstructor.times
    }

    /// Makes the picture of the last frame.
    fn show(&mut self) -> Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let Some(looks_back) = self.reconstructor.engine.postfilter().filter(|_| self.postfilter) else {
            stream.shown = None;
            return Ok(());
        };
        let (height, width) = self.reconstructor.grid(1);
        let shown = stream.shown.get_or_insert_with(|| Shown::new(width, height));
        shown.update(looks_back, &mut self.reconstructor)
    }

    /// Decodes a unit into the stream and gives back the checksum of its symbols. `lazily`: leave synthesis for later.
    fn decode(&mut self, data: &[u8], lazily: bool) -> Result<u32> {
        self.keep_untaken();
        let intact = std::mem::replace(&mut self.intact, false);
        let unit = parse_unit(data, &self.limits)?;
        let checksum = if unit.header.is_keyframe() {
            self.decode_intra(&unit)?
        } else {
            let needed = Error::NeedKeyframe { frame_number: unit.header.frame_number };
            let number = match &self.stream {
                Some(stream) if intact => unit.header.number_after(stream.last_number).ok_or(needed)?,
                _ => return Err(needed),
            };
            self.decode_inter(&unit, number, lazily)?
        };
        self.intact = true;
        Ok(checksum)
    }

    fn decode_intra(&mut self, unit: &ParsedUnit) -> Result<u32> {
        let sequence = unit.sequence.clone().ok_or_else(|| Error::Corrupt("a keyframe without sequence header".into()))?;
        self.check_model(&sequence)?;
        let (width, height) = sequence.video.coded_size();
        let (width, height) = (width as usize, height as usize);
        let quality = unit.header.quality;
        let mut reader = SymbolReader::new(unit.payload)?;
        // Parsed and checked before anything of the last picture is given up.
        let latent = decode_latent(
            &self.model.intra_entropy,
            &self.model.tables,
            quality,
            height / 16,
            width / 16,
            None,
            &mut reader,
            &mut self.scratch,
        )?;
        let display = sequence.video.display_size();
        let mut adaptive = Adaptive { motion: MotionCoder::new(display.0, display.1), filter: FilterCoder::new(display) };
        let filter = adaptive.filter.decode(&mut reader)?;
        let checksum = reader.finish()?;
        self.reconstructor.engine.set_detail(sequence.detail)?;
        self.stream = None;
        self.reconstructor.resize(display);
        self.reconstructor.intra(&latent, quality)?;
        self.reconstructor.filter(filter.as_ref());
        let last_number = unit.header.frame_number;
        self.stream = Some(Stream { sequence, last_number, shown: None, adaptive, pending: VecDeque::new() });
        Ok(checksum)
    }

    fn decode_inter(&mut self, unit: &ParsedUnit, number: u32, lazily: bool) -> Result<u32> {
        let stream = self.stream.as_mut().expect("checked by the caller");
        let shift = stream.sequence.shift_of(number);
        let (quality, residual_quality) = (unit.header.quality, unit.header.residual_quality);
        let (rows, cols) = self.reconstructor.grid(16);
        let (flow_prior, residual_prior) = stream.priors(&self.reconstructor, shift);
        let (model, scratch, adaptive) = (&self.model, &mut self.scratch, &mut stream.adaptive);
        let start = Instant::now();
        let mut reader = SymbolReader::new(unit.payload)?;
        // Everything is parsed and checked before anything is reconstructed. The prediction, which damage in what follows it leaves
        // unused, may be made meanwhile.
        let motion = match &model.flow_entropy {
            Some(entropy) => {
                let prior = flow_prior.as_ref();
                let latent = decode_latent(entropy, &model.tables, quality, rows, cols, prior, &mut reader, scratch)?;
                ParsedMotion::Flow(latent, quality)
            }
            None => ParsedMotion::Blocks(adaptive.motion.decode(&mut reader)?),
        };
        let filter_coder = &mut adaptive.filter;
        let parse = move || -> Result<_> {
            let residual = decode_latent(
                &model.residual_entropy,
                &model.tables,
                residual_quality,
                rows,
                cols,
                residual_prior.as_ref(),
                &mut reader,
                scratch,
            )?;
            let filter = filter_coder.decode(&mut reader)?;
            Ok(((residual, filter, reader.finish()?), start.elapsed()))
        };
        let early = !lazily && stream.pending.is_empty() && self.reconstructor.is_parallel();
        let (parsed, prepared) = match &motion {
            ParsedMotion::Blocks(field) if early => {
                let reconstructor = &mut self.reconstructor;
                let (prepared, parsed) = beside(|| reconstructor.prepare(field, shift, residual_quality), parse);
                (parsed, Some(prepared))
            }
            _ => (parse(), None),
        };
        let ((residual, filter, checksum), elapsed) = parsed?;
        self.reconstructor.times.add("entropy", elapsed);
        let is_prepared = prepared.transpose()?.is_some();
        let frame = InterFrame { motion, residual, residual_quality, shift, filter, is_prepared };
        stream.pending.push_back(frame);
        stream.last_number = number;
        if !lazily || stream.pending.len() > MAX_PENDING {
            stream.catch_up(&mut self.reconstructor)?;
        }
        Ok(checksum)
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

impl Stream {
    /// Temporal priors of the next frame's flow and residual latents; the residual is shifted by `shift`.
    fn priors(&self, reconstructor: &Reconstructor, shift: (i32, i32)) -> (Option<LatentGrid>, Option<LatentGrid>) {
        match self.pending.back() {
            Some(last) => {
                let (dy, dx) = prior_cells(last.shift, shift);
                let flow = match &last.motion {
                    ParsedMotion::Flow(latent, _) => Some(latent.clone()),
                    ParsedMotion::Blocks(_) => None,
                };
                (flow, Some(last.residual.rolled(dy, dx)))
            }
            None => (reconstructor.flow_prior().cloned(), reconstructor.residual_prior(shift)),
        }
    }

    /// Runs the synthesis that was put off.
    fn catch_up(&mut self, reconstructor: &mut Reconstructor) -> Result<()> {
        while let Some(frame) = self.pending.pop_front() {
            match frame.motion {
                ParsedMotion::Blocks(field) if frame.is_prepared => reconstructor.accept(field),
                ParsedMotion::Blocks(field) => reconstructor.predict_blocks(field)?,
                ParsedMotion::Flow(latent, quality) => reconstructor.predict_flow(latent, quality)?,
            }
            reconstructor.residual(frame.residual, frame.residual_quality, frame.shift)?;
            reconstructor.filter(frame.filter.as_ref());
        }
        Ok(())
    }
}
