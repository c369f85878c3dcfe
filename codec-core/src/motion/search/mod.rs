//! The encoder's search for block motion.
//!
//! From coarse to fine: pictures at a quarter of the size (an eighth for large ones) are searched exhaustively over a wide window
//! ([`coarse`]), the result is refined at half the size ([`hierarchy`]) and gives candidates at full size, beside the neighbours'
//! vectors, the last frame's and zero. There, [`decide`] chooses vectors and splits in coding order by J = squared error +
//! price * bits, with the coder's own costs and predictors, on a reference that is interpolated once for all ([`quarters`]).

mod coarse;
mod costs;
mod decide;
mod hierarchy;
mod interpolate;
mod kernels;
mod quarters;
mod scene;
mod surface;
#[cfg(test)]
mod tests;

use super::coding::{MotionCosts, Surroundings};
use super::{BlockField, CELL, ROOT};
use crate::frame::Plane;
use costs::Coder;
use decide::{Inputs, Thoroughness};
use hierarchy::{Hierarchy, Reach};
use kernels::Kernels;
use quarters::Quarters;
use surface::Surface;

/// How much time a search takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchEffort {
    /// About 3 ms for 640x360 on one AVX2 core.
    Fast,
    /// About 8 ms.
    Medium,
    /// About 30 ms.
    Slow,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub field: BlockField,
    /// What is left to code after prediction from the reference, and what there would be without one: sums of transformed absolute
    /// differences at half the size, without the blocks' means. Only their ratio means something; in a new scene, prediction
    /// is no cheaper.
    pub inter_cost: u64,
    pub intra_cost: u64,
}

/// The search, with its buffers.
pub struct BlockSearch {
    effort: SearchEffort,
    kernels: Kernels,
    current: Surface,
    quarters: Quarters,
    hierarchy: Hierarchy,
    scene: scene::Scene,
}

impl BlockSearch {
    pub fn new(effort: SearchEffort) -> Self {
        Self {
            effort,
            kernels: Kernels::detect(),
            current: Surface::default(),
            quarters: Quarters::default(),
            hierarchy: Hierarchy::default(),
            scene: scene::Scene::default(),
        }
    }

    /// Finds the motion from `current` to `reference`, luma planes of the coded size (multiples of [`ROOT`]), of which the upper
    /// left `display` part (width, height) counts. `previous`: the last P-frame's field. `lambda`: weight of the mean squared error
    /// on \[0, 1\] against bits per pixel, as [`crate::quality::lambda`] gives it. `costs`: of the coder as it is before this frame. `threads`: how many threads of the current rayon
    /// pool may take part; the result does not depend on it.
    ///
    /// # Panics
    /// If the planes differ in size, are of no coded size, or `display` is empty or larger than they are.
    #[allow(clippy::too_many_arguments)]
    pub fn search(
        &mut self,
        current: &Plane,
        reference: &Plane,
        display: (usize, usize),
        previous: Option<&BlockField>,
        costs: &MotionCosts,
        lambda: f64,
        threads: usize,
    ) -> Found {
        let size = (current.width, current.height);
        assert!(size == (reference.width, reference.height), "planes of different sizes");
        assert!(display.0 > 0 && display.1 > 0 && display.0 <= size.0 && display.1 <= size.1, "{display:?} of {size:?}");
        let mut field = BlockField::still(size.0, size.1);
        let previous = previous.filter(|p| (p.rows(), p.cols()) == (field.rows(), field.cols()));
        // A free bit would make trees as deep as they can be; a price beyond this allows none anyway.
        let price = (255.0 * 255.0 / lambda).clamp(1.0, 1e6);
        self.current.load(current, display);
        self.quarters.load(reference, display, threads);
        let (reach, thoroughness) = match self.effort {
            SearchEffort::Fast => (Reach { columns: 24, rows: 16 }, Thoroughness { starts: 1, rounds: [2, 1, 1] }),
            SearchEffort::Medium => (Reach { columns: 32, rows: 24 }, Thoroughness { starts: 1, rounds: [3, 2, 2] }),
            SearchEffort::Slow => (Reach { columns: 48, rows: 40 }, Thoroughness { starts: 3, rounds: [6, 4, 4] }),
        };
        let whole = self.quarters.whole();
        self.hierarchy.run(&self.current, whole, previous, reach, price, self.kernels, threads);
        let inputs = Inputs {
            current,
            display,
            quarters: &self.quarters,
            hierarchy: &self.hierarchy,
            coder: Coder { costs, surroundings: Surroundings::new(display, previous) },
            price: price.round() as u64,
            kernels: self.kernels,
            thoroughness,
        };
        for row in (0..field.rows()).step_by(ROOT / CELL) {
            for col in (0..field.cols()).step_by(ROOT / CELL) {
                inputs.decide(&mut field, row, col);
            }
        }
        let (inter_cost, intra_cost) = self.scene.costs(&self.hierarchy, &field, previous);
        Found { field, inter_cost, intra_cost }
    }
}
