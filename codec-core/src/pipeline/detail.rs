//! Detail maps in the encoder.

use super::engine::LooksBack;
use super::maps::code_within;
use super::reconstruct::{Reconstructor, Slot};
use super::shown::Shown;
use super::symbols::Bound;
use crate::Result;
use crate::bitstream::Profile;
use crate::detail::DetailChooser;
use crate::entropy::SymbolWriter;
use crate::frame::Frame;
use crate::quality::MapCoder;

/// Frames from one comparison with the original to the next.
const PERIOD: u32 = 4;

/// Makes and codes the detail maps of one stream.
pub(super) struct DetailEncoder {
    /// Whether maps are made; where they are not, all places have the stream's strength.
    on: bool,
    /// `None` in streams without maps.
    coder: Option<MapCoder>,
    chooser: DetailChooser,
    /// Its frames have the whole strength everywhere, and no past.
    shown: Option<Shown>,
    /// Frames since the last keyframe.
    since: u32,
}

/// Whether the frames of a stream have detail maps. `detail`: the strength in its header.
pub(super) fn has_maps(profile: Profile, detail: u8) -> bool {
    profile == Profile::Rt && detail > 0
}

impl DetailEncoder {
    pub fn new(on: bool) -> Self {
        Self { on, coder: None, chooser: DetailChooser::default(), shown: None, since: 0 }
    }

    /// Forgets the past: a keyframe comes, of the given display size, in a stream with maps or without.
    pub fn reset(&mut self, has_maps: bool, display: (usize, usize)) {
        self.coder = has_maps.then(|| MapCoder::new(display));
        self.chooser.reset();
        self.shown = None;
        self.since = 0;
    }

    /// What later maps depend on, to go back to with [`Self::restore`].
    pub fn save(&self) -> (Option<MapCoder>, DetailChooser, u32) {
        (self.coder.clone(), self.chooser.clone(), self.since)
    }

    /// Goes back to a state.
    pub fn restore(&mut self, (coder, chooser, since): (Option<MapCoder>, DetailChooser, u32)) {
        (self.coder, self.chooser, self.since) = (coder, chooser, since);
    }

    /// Makes and codes the map of the frame that was just reconstructed, as far as `bound` allows.
    pub fn code(
        &mut self,
        original: &Frame,
        reconstructor: &mut Reconstructor,
        bound: Option<Bound>,
        writer: &mut SymbolWriter,
    ) -> Result<()> {
        let Some(coder) = &mut self.coder else { return Ok(()) };
        let since = self.since;
        self.since += 1;
        if !self.on || !since.is_multiple_of(PERIOD) {
            coder.encode_same(writer);
            return Ok(());
        }
        let (height, width) = reconstructor.grid(1);
        let shown = self.shown.get_or_insert_with(|| Shown::new(width, height));
        shown.update(Slot::Last, LooksBack(false), reconstructor)?;
        let (last, times) = reconstructor.reconstruction(Slot::Last);
        let [original, decoded, shown] = [original, last.frame, shown.frame(Slot::Last)].map(|frame| frame.plane(0));
        let map = times.measure("detail map", || self.chooser.choose(original, decoded, shown, last.display));
        code_within(coder, Some(map.values()), bound, writer);
        Ok(())
    }
}
