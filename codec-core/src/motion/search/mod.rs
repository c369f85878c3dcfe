//! The encoder's search for block motion.
//!
//! In: a frame's luma, the reference's, and what the coder's choices cost. Out: a field, and what the prediction leaves.
//!
//! From coarse to fine: pictures at an eighth of the size (a quarter for small ones) are searched exhaustively over a wide window
//! ([`coarse`]), then those at a quarter and at half the size around what was found ([`hierarchy`]). That gives candidates at full
//! size, beside the neighbours' vectors, the last frame's and zero, whose errors are worked out for whole roots ([`table`]). From
//! them [`decide`] chooses vectors and splits in coding order by J = squared error + price * bits, with the coder's own costs and
//! predictors, on a reference that is interpolated once for all ([`quarters`]). At last [`polish`] goes over all leaves again and
//! decides by the overlapped prediction ([`blend`]), and [`golden`] decides what leaves take from the golden frame.
//!
//! B-frames are searched by [`between`]: what they take from the frame after them is decided together with vectors and splits.

mod around;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod between;
mod blend;
mod coarse;
mod coded;
mod costs;
mod decide;
mod goal;
mod golden;
mod hierarchy;
mod interpolate;
mod kernels;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pair;
mod polish;
mod presets;
mod quarters;
mod scene;
mod sources;
mod surface;
mod survey;
mod table;
#[cfg(test)]
mod tests;
mod wavefront;
mod window;
mod worth;

use super::BlockField;
use super::coding::{MotionCoder, Surroundings};
use crate::frame::Plane;
use coded::Ceiling;
use costs::Coder;
use decide::{Inputs, Thoroughness};
use hierarchy::Hierarchy;
use kernels::Kernels;
use presets::Preset;
use quarters::Quarters;
use surface::Surface;
use wavefront::Wavefront;

pub use survey::{Survey, SurveyedBlock};
pub use worth::Lambda;

/// How much time a search takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchEffort {
    /// Least time.
    Fast,
    /// About twice as long.
    Medium,
    /// About five times as long.
    Slow,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The motion.
    pub field: BlockField,
    /// What is left to code after prediction from the reference, and what there would be without one: sums of transformed absolute
    /// differences at half the size, without the blocks' means. In a new scene, prediction is no cheaper.
    pub inter_cost: u64,
    /// See [`Self::inter_cost`].
    pub intra_cost: u64,
}

/// The search, with its buffers.
pub struct BlockSearch {
    effort: SearchEffort,
    every: Option<(i16, i16)>,
    kernels: Kernels,
    current: Surface,
    quarters: Quarters,
    golden: Quarters,
    /// The frame after a B-frame.
    later: Quarters,
    hierarchy: Hierarchy,
    roots: Wavefront<Tools>,
}

/// What a thread works on roots with.
#[derive(Default)]
struct Tools {
    table: table::Table,
    polish: polish::Polish,
    golden: golden::GoldenPass,
    between: between::Between,
}

impl BlockSearch {
    /// A search with empty buffers.
    pub fn new(effort: SearchEffort) -> Self {
        Self {
            effort,
            every: None,
            kernels: Kernels::detect(),
            current: Surface::default(),
            quarters: Quarters::default(),
            golden: Quarters::default(),
            later: Quarters::default(),
            hierarchy: Hierarchy::default(),
            roots: Wavefront::default(),
        }
    }

    /// As [`SearchEffort::Slow`], with every vector of whole samples within a range (columns, rows) for every leaf: what the others
    /// are measured against.
    #[doc(hidden)]
    pub fn exhaustive(range: (i16, i16)) -> Self {
        Self { every: Some(range), ..Self::new(SearchEffort::Slow) }
    }

    /// Takes the luma plane of the golden frame, of which the upper left `display` part counts. Searches use it until there is another
    /// one.
    pub fn set_golden(&mut self, golden: &Plane, display: (usize, usize), threads: usize) {
        self.golden.load(golden, display, threads);
    }

    /// Finds the motion from `current` to `reference`, luma planes of the coded size (multiples of 64), of which the upper
    /// left `display` part (width, height) counts. `coder`: as it is before this frame. The golden frame is used if there is one of
    /// this size, and if the coder does not say that it is `reference` itself.
    /// `threads`: how many threads of the current rayon pool may take part; the result does not depend on it.
    ///
    /// # Panics
    /// If the planes differ in size, are of no coded size, or `display` is empty or larger than they are.
    pub fn search<'l>(
        &mut self,
        current: &Plane,
        reference: &Plane,
        display: (usize, usize),
        coder: &MotionCoder,
        lambda: impl Into<Lambda<'l>>,
        threads: usize,
    ) -> Found {
        let (preset, lambda) = (Preset::of(self.effort), lambda.into());
        self.follow(current, reference, display, lambda, &preset, threads);
        let mut field = BlockField::still(current.width, current.height);
        let costs = coder.costs();
        let previous = coder.previous().filter(|p| (p.rows(), p.cols()) == (field.rows(), field.cols()));
        let has_golden = self.golden.whole().size() == display && coder.track().is_apart();
        let track = has_golden.then(|| coder.track());
        let coder = Coder { costs: &costs, surroundings: Surroundings::new(display, previous) };
        let inputs = Inputs {
            current,
            display,
            quarters: &self.quarters,
            golden: track.map(|_| &self.golden),
            hierarchy: &self.hierarchy,
            coder,
            kernels: self.kernels,
            thoroughness: Thoroughness { every: self.every, ..preset.thoroughness },
            price: 0,
            ceiling: Ceiling::of(0),
        };
        let cols = field.cols();
        let at = |row, col| inputs.at_price(lambda.price_at(root_number(row, col, cols)));
        self.roots.run(&mut field, threads, |tools, field, row, col| at(row, col).decide(&mut tools.table, field, row, col));
        for _ in 0..preset.passes {
            self.roots.run(&mut field, threads, |tools, field, row, col| tools.polish.run(&at(row, col), field, row, col));
            if preset.joins {
                self.roots.run(&mut field, threads, |tools, field, row, col| tools.polish.join(&at(row, col), field, row, col));
            }
        }
        if let Some(track) = track {
            self.roots.run(&mut field, threads, |tools, field, row, col| tools.golden.run(&at(row, col), track, field, row, col));
        }
        let (inter_cost, intra_cost) = scene::costs(&self.hierarchy, &field, previous, threads);
        Found { field, inter_cost, intra_cost }
    }

    /// Finds the motion of a B-frame to the frames before and after it, `planes`. `coder`: of this frame. The rest as in [`Self::search`].
    ///
    /// # Panics
    /// As [`Self::search`].
    pub fn search_between<'l>(
        &mut self,
        current: &Plane,
        planes: [&Plane; 2],
        display: (usize, usize),
        coder: &MotionCoder,
        lambda: impl Into<Lambda<'l>>,
        threads: usize,
    ) -> BlockField {
        let (preset, lambda) = (Preset::of(self.effort), lambda.into());
        self.follow(current, planes[0], display, lambda, &preset, threads);
        self.later.load(planes[1], display, threads);
        let mut field = BlockField::still(current.width, current.height);
        let costs = coder.costs();
        let previous = coder.previous().filter(|p| (p.rows(), p.cols()) == (field.rows(), field.cols()));
        let (coder, track) = (Coder { costs: &costs, surroundings: Surroundings::new(display, previous) }, coder.track());
        let inputs = Inputs {
            current,
            display,
            quarters: &self.quarters,
            golden: Some(&self.later),
            hierarchy: &self.hierarchy,
            coder,
            kernels: self.kernels,
            thoroughness: preset.thoroughness,
            price: 0,
            ceiling: Ceiling::of(0),
        };
        let cols = field.cols();
        let at = |row, col| inputs.at_price(lambda.price_at(root_number(row, col, cols)));
        self.roots.run(&mut field, threads, |Tools { table, between, .. }, field, row, col| {
            between.decide(&at(row, col), track, table, field, row, col);
        });
        for _ in 0..preset.passes {
            self.roots
                .run(&mut field, threads, |tools, field, row, col| tools.between.polish(&at(row, col), track, field, row, col));
            if preset.joins {
                self.roots
                    .run(&mut field, threads, |tools, field, row, col| tools.between.join(&at(row, col), track, field, row, col));
            }
        }
        field
    }

    /// Loads both planes and follows the motion from coarse to fine. Arguments and panics as in [`Self::search`].
    fn follow(
        &mut self,
        current: &Plane,
        reference: &Plane,
        display: (usize, usize),
        lambda: Lambda,
        preset: &Preset,
        threads: usize,
    ) {
        let size = (current.width, current.height);
        assert!(size == (reference.width, reference.height), "planes of different sizes");
        assert!(display.0 > 0 && display.1 > 0 && display.0 <= size.0 && display.1 <= size.1, "{display:?} of {size:?}");
        let price = lambda.price();
        self.current.load(current, display, threads);
        self.quarters.load(reference, display, threads);
        let whole = self.quarters.whole();
        self.hierarchy.run([&self.current, whole], preset.wide, preset.narrow, price, threads);
        self.hierarchy.sharpen(current, &self.quarters, preset.sharpening, price, self.kernels, threads);
    }
}

/// The number of the root that starts at a cell, in a field of `cols` cells a row.
fn root_number(row: usize, col: usize, cols: usize) -> usize {
    row / table::SIDE * (cols / table::SIDE) + col / table::SIDE
}
