//! Units to frames.

use std::collections::VecDeque;
use std::rc::Rc;

use super::reconstruct::Reconstructor;
use super::times::StageTimes;
use crate::bitstream::{ParsedUnit, SequenceHeader, VideoInfo, parse_unit};
use crate::device::{self, DeviceSpec};
use crate::entropy::{Scratch, SymbolReader, decode_latent};
use crate::frame::Frame;
use crate::model::{Model, ModelId, ModelSource};
use crate::{Error, Limits, Result};

/// How to decode a stream.
#[derive(Clone, Debug, Default)]
pub struct DecoderConfig {
    /// Threads of the networks; 0: automatic, which is 1 (see [`device::AUTO_THREADS`]).
    pub threads: usize,
    pub device: DeviceSpec,
    pub model: ModelSource,
    pub limits: Limits,
}

/// One decoded frame at display size.
#[derive(Clone, Debug)]
pub struct DecodedFrame {
    pub frame: Frame,
    pub video: VideoInfo,
    pub keyframe: bool,
    pub frame_number: u32,
    /// CRC-32C of the frame's symbols: equal on every machine.
    pub checksum: u32,
}

/// What a decoded keyframe leaves for the frames after it.
struct Stream {
    sequence: SequenceHeader,
    reconstructor: Reconstructor,
    last_number: u32,
}

/// Decodes one stream. One frame for every unit, in order, without delay.
pub struct Decoder {
    model: Rc<Model>,
    threads: usize,
    limits: Limits,
    scratch: Scratch,
    /// `None` until a keyframe, and again after damage.
    stream: Option<Stream>,
    times: StageTimes,
    frames: VecDeque<DecodedFrame>,
}

// SAFETY: tensors may move between threads; what keeps the decoder from it is that decoder and reconstructor share the
// model. No other owner of that `Rc` exists, so both always move together.
unsafe impl Send for Decoder {}

impl Decoder {
    /// Opens the device and loads the model.
    pub fn new(config: DecoderConfig) -> Result<Self> {
        let device = device::open(&config.device)?;
        let threads = if config.threads == 0 { device::AUTO_THREADS } else { config.threads };
        device::use_threads(threads);
        Ok(Self {
            model: Rc::new(Model::load(&config.model, device)?),
            threads,
            limits: config.limits,
            scratch: Scratch::default(),
            stream: None,
            times: StageTimes::default(),
            frames: VecDeque::new(),
        })
    }

    /// Decodes a unit.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a damaged unit, [`Error::NeedKeyframe`] for a P-frame whose reference is not there,
    /// [`Error::ModelMismatch`] for a stream of another model, [`Error::Limit`], [`Error::Unsupported`]. After any error
    /// decoding goes on at the next keyframe.
    pub fn send_unit(&mut self, data: &[u8]) -> Result<()> {
        device::use_threads(self.threads);
        let _no_grad = tch::no_grad_guard();
        let stream = self.stream.take();
        let unit = parse_unit(data, &self.limits)?;
        let (stream, frame) =
            if unit.header.is_keyframe() { self.decode_intra(stream, &unit)? } else { self.decode_inter(stream, &unit)? };
        self.stream = Some(stream);
        self.frames.push_back(frame);
        Ok(())
    }

    /// The next frame, `None` if there is none yet.
    pub fn receive_frame(&mut self) -> Option<DecodedFrame> {
        self.frames.pop_front()
    }

    /// Ends the stream. Nothing is held back at present, so there is nothing to wait for.
    pub fn flush(&mut self) {}

    /// Drops frames not received and waits for a keyframe.
    pub fn reset(&mut self) {
        self.frames.clear();
        self.stream = None;
    }

    /// Whether the next unit must be a keyframe.
    pub fn needs_keyframe(&self) -> bool {
        self.stream.is_none()
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Time spent in each stage since the last keyframe.
    pub fn times(&mut self) -> &mut StageTimes {
        match &mut self.stream {
            Some(stream) => &mut stream.reconstructor.times,
            None => &mut self.times,
        }
    }

    fn decode_intra(&mut self, previous: Option<Stream>, unit: &ParsedUnit) -> Result<(Stream, DecodedFrame)> {
        let sequence = unit.sequence.clone().ok_or_else(|| Error::Corrupt("a keyframe without sequence header".into()))?;
        self.check_model(&sequence)?;
        let (width, height) = sequence.video.coded_size();
        let (width, height) = (width as usize, height as usize);
        let mut reconstructor = match previous {
            Some(stream) if stream.reconstructor.grid(1) == (height, width) => stream.reconstructor,
            _ => Reconstructor::new(Rc::clone(&self.model), width, height),
        };
        let quality = unit.header.quality;
        let (rows, cols) = reconstructor.grid(16);
        let mut reader = SymbolReader::new(unit.payload)?;
        let (model, scratch) = (&self.model, &mut self.scratch);
        let latent = reconstructor.times.measure("entropy", || {
            decode_latent(&model.intra_entropy, &model.tables, quality, rows, cols, None, &mut reader, scratch)
        })?;
        let checksum = reader.finish()?;
        reconstructor.intra(&latent, quality)?;
        let stream = Stream { sequence, reconstructor, last_number: unit.header.frame_number };
        let frame = stream.output(true, checksum)?;
        Ok((stream, frame))
    }

    fn decode_inter(&mut self, stream: Option<Stream>, unit: &ParsedUnit) -> Result<(Stream, DecodedFrame)> {
        let lost = || Error::NeedKeyframe { frame_number: unit.header.frame_number };
        let mut stream = stream.ok_or_else(lost)?;
        let number = unit.header.number_after(stream.last_number).ok_or_else(lost)?;
        let shift = stream.sequence.shift_of(number);
        let quality = unit.header.quality;
        let reconstructor = &mut stream.reconstructor;
        let (rows, cols) = reconstructor.grid(16);
        let flow_prior = reconstructor.flow_prior().cloned();
        let residual_prior = reconstructor.residual_prior(shift);
        let (model, scratch) = (&self.model, &mut self.scratch);
        // Everything is parsed and checked before anything is reconstructed.
        let (flow, residual, checksum) = reconstructor.times.measure("entropy", || -> Result<_> {
            let mut reader = SymbolReader::new(unit.payload)?;
            let flow = decode_latent(
                &model.flow_entropy,
                &model.tables,
                quality,
                rows,
                cols,
                flow_prior.as_ref(),
                &mut reader,
                scratch,
            )?;
            let residual = decode_latent(
                &model.residual_entropy,
                &model.tables,
                quality,
                rows,
                cols,
                residual_prior.as_ref(),
                &mut reader,
                scratch,
            )?;
            Ok((flow, residual, reader.finish()?))
        })?;
        reconstructor.predict(flow, quality)?;
        reconstructor.residual(residual, quality, shift)?;
        stream.last_number = number;
        let frame = stream.output(false, checksum)?;
        Ok((stream, frame))
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
    fn output(&self, keyframe: bool, checksum: u32) -> Result<DecodedFrame> {
        let video = self.sequence.video.clone();
        Ok(DecodedFrame {
            frame: self.reconstructor.reference().crop_copy(video.width as usize, video.height as usize)?,
            video,
            keyframe,
            frame_number: self.last_number,
            checksum,
        })
    }
}
