//! What a decoder keeps of a stream from frame to frame.

use std::collections::VecDeque;

use super::detail::has_maps;
use super::reconstruct::{Reconstructor, Slot, moved_prior};
use super::rest::RestCoder;
use super::shown::Shown;
use crate::Result;
use crate::bitstream::{Profile, SequenceHeader};
use crate::detail::DetailMap;
use crate::entropy::{LatentGrid, SymbolReader};
use crate::loopfilter::{FilterCoder, FilterParams};
use crate::motion::{BlockField, MotionCoder};
use crate::quality::{FrameQuality, MapCoder};

/// Frames whose synthesis is put off at most; each holds its latents.
pub(super) const MAX_PENDING: usize = 64;

/// A P-frame's motion, parsed.
pub(super) enum ParsedMotion {
    Blocks(BlockField),
    /// Flow latent and its quality index (`paper` profile).
    Flow(LatentGrid, u8),
}

/// A parsed P-frame.
pub(super) struct InterFrame {
    pub motion: ParsedMotion,
    pub residual: ParsedResidual,
    pub detail: Option<DetailMap>,
    /// Its prediction has been made.
    pub is_prepared: bool,
    /// A B-frame comes between it and its reference.
    pub is_ahead: bool,
}

/// A parsed B-frame.
pub(super) struct BetweenFrame {
    pub motion: BlockField,
    pub residual: ParsedResidual,
}

/// What makes a picture of a prediction.
pub(super) struct ParsedResidual {
    /// `None`: the prediction is the picture.
    pub latent: Option<LatentGrid>,
    pub quality: FrameQuality,
    pub shift: (i32, i32),
    pub filter: Option<FilterParams>,
}

impl ParsedResidual {
    /// The latent, as the prior of one whose grid is shifted by `shift`.
    pub fn prior(&self, shift: (i32, i32)) -> Option<LatentGrid> {
        self.latent.as_ref().map(|latent| moved_prior(latent, self.shift, shift))
    }

    fn reconstruct(self, slot: Slot, reconstructor: &mut Reconstructor) -> Result<()> {
        match self.latent {
            Some(latent) => reconstructor.residual(slot, latent, self.quality, self.shift)?,
            None => reconstructor.rest(slot, self.quality),
        }
        reconstructor.filter(slot, self.filter.as_ref());
        Ok(())
    }
}

impl BetweenFrame {
    /// Makes the picture, after those around it.
    pub fn reconstruct(self, reconstructor: &mut Reconstructor) -> Result<()> {
        reconstructor.predict_between(self.motion)?;
        self.residual.reconstruct(Slot::Between, reconstructor)
    }
}

/// What parsing carries from frame to frame besides latents: adaptive models, reset by keyframes.
pub(super) struct Adaptive {
    /// Quality maps; none in the `paper` profile.
    pub maps: Option<MapCoder>,
    pub motion: MotionCoder,
    pub rest: RestCoder,
    pub filter: FilterCoder,
    /// Detail maps; none in streams without them.
    pub detail: Option<MapCoder>,
}

impl Adaptive {
    /// At a keyframe of a stream of the given profile, display size and detail.
    pub fn new(profile: Profile, display: (usize, usize), detail: u8) -> Self {
        Self {
            maps: (profile == Profile::Rt).then(|| MapCoder::new(display)),
            motion: MotionCoder::new(display.0, display.1),
            rest: RestCoder::new(),
            filter: FilterCoder::new(display),
            detail: has_maps(profile, detail).then(|| MapCoder::new(display)),
        }
    }

    /// Reads the quality map of a frame, whose quality index is given.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt).
    pub fn decode_quality(&mut self, index: u8, reader: &mut SymbolReader) -> Result<FrameQuality> {
        if let Some(maps) = &mut self.maps {
            maps.decode(reader)?;
        }
        Ok(FrameQuality { index, map: self.maps.as_ref().and_then(MapCoder::map).cloned(), rest: None })
    }
}

/// Reads the detail map of a frame.
///
/// # Errors
/// [`Error::Corrupt`](crate::Error::Corrupt).
pub(super) fn decode_detail(coder: &mut Option<MapCoder>, reader: &mut SymbolReader) -> Result<Option<DetailMap>> {
    let Some(coder) = coder else { return Ok(None) };
    coder.decode(reader)?;
    Ok(coder.map().cloned().map(DetailMap::new))
}

/// What a decoded keyframe leaves for the frames after it.
pub(super) struct Stream {
    pub sequence: SequenceHeader,
    pub last_number: u32,
    /// Which frame that is.
    pub slot: Slot,
    /// CRC-32C of the last frame's symbols, `None` for a stand-in.
    pub checksum: Option<u32>,
    /// Filtered picture, `None` where the reconstruction itself is shown.
    pub shown: Option<Shown>,
    pub adaptive: Adaptive,
    /// Frames that are parsed and whose synthesis no one has needed yet.
    pub pending: VecDeque<InterFrame>,
}

impl Stream {
    /// Temporal priors of the next frame's flow and residual latents; the residual is shifted by `shift`.
    pub fn priors(&self, reconstructor: &Reconstructor, shift: (i32, i32)) -> (Option<LatentGrid>, Option<LatentGrid>) {
        let flow = match self.pending.back().map(|last| &last.motion) {
            Some(ParsedMotion::Flow(latent, _)) => Some(latent.clone()),
            _ => reconstructor.flow_prior().cloned(),
        };
        let residual = self.pending.iter().rev().find_map(|frame| frame.residual.prior(shift));
        (flow, residual.or_else(|| reconstructor.residual_prior(shift)))
    }

    /// Runs the synthesis that was put off.
    pub fn catch_up(&mut self, reconstructor: &mut Reconstructor) -> Result<()> {
        while let Some(frame) = self.pending.pop_front() {
            match frame.motion {
                ParsedMotion::Blocks(field) if frame.is_prepared => reconstructor.accept(field),
                ParsedMotion::Blocks(field) => reconstructor.predict_blocks(field)?,
                ParsedMotion::Flow(latent, quality) => reconstructor.predict_flow(latent, quality)?,
            }
            if frame.is_ahead {
                reconstructor.keep_earlier();
            }
            frame.residual.reconstruct(Slot::Last, reconstructor)?;
            reconstructor.set_detail(frame.detail);
        }
        Ok(())
    }
}
