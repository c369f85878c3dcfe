//! The encoder's search for block motion.
//!
//! From coarse to fine: pictures at a quarter of the size (an eighth for large ones) are searched exhaustively over a wide window
//! ([`coarse`]), the result is refined at half the size ([`hierarchy`]) and gives candidates at full size, beside the neighbours'
//! vectors, the last frame's and zero. There, [`decide`] chooses vectors and splits in coding order by J = squared error +
//! price * bits, with the coder's own costs and predictors, on a reference that is interpolated once for all ([`quarters`]).

mod around;
mod blend;
mod coarse;
mod costs;
mod decide;
mod goal;
mod hierarchy;
mod interpolate;
mod kernels;
mod polish;
mod quarters;
mod scene;
mod sources;
mod surface;
mod table;
#[cfg(test)]
mod tests;

use super::coding::MotionCosts;
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
    every: Option<(i16, i16)>,
    kernels: Kernels,
    current: Surface,
    quarters: Quarters,
    hierarchy: Hierarchy,
    table: table::Table,
    polish: polish::Polish,
}

impl BlockSearch {
    pub fn new(effort: SearchEffort) -> Self {
        Self {
            effort,
            every: None,
            kernels: Kernels::detect(),
            current: Surface::default(),
            quarters: Quarters::default(),
            hierarchy: Hierarchy::default(),
            table: table::Table::default(),
            polish: polish::Polish::default(),
        }
    }

    /// As [`SearchEffort::Slow`], with every vector of whole samples within a range (columns, rows) for every leaf: what the others
    /// are measured against.
    #[doc(hidden)]
    pub fn exhaustive(range: (i16, i16)) -> Self {
        Self { every: Some(range), ..Self::new(SearchEffort::Slow) }
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
        stage(9);
        self.current.load(current, display);
        self.quarters.load(reference, display, threads);
        let t = |name: &str, values: [usize; 3]| tune(name, values[self.effort as usize]);
        let wide = Reach { columns: t("WC", [24, 32, 48]), rows: t("WR", [16, 24, 40]) };
        let narrow = Reach { columns: t("NC", [8, 16, 16]), rows: t("NR", [6, 12, 12]) };
        let thoroughness = Thoroughness {
            starts: t("STARTS", [1, 1, 3]),
            rounds: [t("R4", [0, 2, 6]), t("R2", [1, 2, 4]), t("R1", [1, 2, 4])],
            rings: t("RING", [1, 1, 4]),
            cell_bits: t("CB", [8, 6, 4]) as f64,
            optimism: t("OPT", [30, 20, 5]) as f64 / 10.0,
            polish_rounds: [t("S2", [0, 0, 2]), t("S1", [0, 1, 2])],
            skip_uniform: t("UNI", [1, 1, 0]) == 1,
            every: None,
        };
        let thoroughness = Thoroughness { every: self.every, ..thoroughness };
        stage(0);
        let whole = self.quarters.whole();
        self.hierarchy.run([&self.current, whole], wide, narrow, price, threads);
        stage(1);
        self.hierarchy.sharpen(current, &self.quarters, t("SH", [1, 1, 3]), price, self.kernels, threads);
        stage(5);
        let inputs = Inputs {
            current,
            display,
            quarters: &self.quarters,
            hierarchy: &self.hierarchy,
            coder: Coder { costs, previous },
            price: price.round() as u64,
            kernels: self.kernels,
            thoroughness,
        };
        for row in (0..field.rows()).step_by(ROOT / CELL) {
            for col in (0..field.cols()).step_by(ROOT / CELL) {
                inputs.decide(&mut self.table, &mut field, row, col);
            }
        }
        stage(2);
        for _ in 0..t("PASSES", [1, 1, 2]) {
            self.polish.run(&inputs, &mut field);
            if t("JOIN", [0, 0, 1]) != 0 {
                self.polish.join(&inputs, &mut field);
            }
        }
        stage(3);
        let (inter_cost, intra_cost) = scene::costs(&self.hierarchy, &field, previous);
        stage(4);
        Found { field, inter_cost, intra_cost }
    }
}

static TUNES: std::sync::Mutex<Vec<(String, usize)>> = std::sync::Mutex::new(Vec::new());

#[doc(hidden)]
pub fn set_tunes(new: &[(String, usize)]) {
    *TUNES.lock().unwrap() = new.to_vec();
}

pub(crate) fn tune(name: &str, default: usize) -> usize {
    TUNES.lock().unwrap().iter().find(|(n, _)| n == name).map_or(default, |(_, v)| *v)
}

fn stage(i: usize) {
    static S: std::sync::Mutex<([f64; 10], Option<std::time::Instant>, usize)> = std::sync::Mutex::new(([f64::MAX; 10], None, 0));
    let mut s = S.lock().unwrap();
    let now = std::time::Instant::now();
    if let Some(last) = s.1 {
        let t = (now - last).as_secs_f64() * 1e3;
        s.0[i] = s.0[i].min(t);
    }
    s.1 = Some(now);
    if i == 4 {
        s.2 += 1;
        if s.2 % 11 == 0 && tune("STAGES", 0) != 0 {
            eprintln!("planes {:.2} hierarchy {:.2} sharpen {:.2} decide {:.2} polish {:.2} scene {:.2}", s.0[0], s.0[1], s.0[5], s.0[2], s.0[3], s.0[4]);
            s.0 = [f64::MAX; 10];
        }
    }
}
