//! What each effort takes on.

use super::SearchEffort;
use super::decide::Thoroughness;
use super::hierarchy::Reach;

/// The settings of an effort.
pub(super) struct Preset {
    /// How far the coarsest level searches, and the finer ones around what it found.
    pub wide: Reach,
    pub narrow: Reach,
    /// Rounds of sub-sample refinement of the hierarchy's vectors.
    pub sharpening: usize,
    pub thoroughness: Thoroughness,
    /// Passes over all leaves that decide again by the overlapped prediction.
    pub passes: usize,
    /// Whether these also try to join leaves.
    pub joins: bool,
}

impl Preset {
    pub fn of(effort: SearchEffort) -> Self {
        match effort {
            SearchEffort::Fast => Self {
                wide: Reach { columns: 16, rows: 12 },
                narrow: Reach { columns: 8, rows: 6 },
                sharpening: 1,
                thoroughness: Thoroughness {
                    starts: 1,
                    rounds: [0, 1, 1],
                    rings: 1,
                    cell_bits: 8.0,
                    optimism: 3.0,
                    polish_rounds: [0, 0],
                    golden_rounds: [0, 0, 0],
                    alike: Some(4),
                    every: None,
                },
                passes: 1,
                joins: false,
            },
            SearchEffort::Medium => Self {
                wide: Reach { columns: 24, rows: 16 },
                narrow: Reach { columns: 16, rows: 12 },
                sharpening: 2,
                thoroughness: Thoroughness {
                    starts: 1,
                    rounds: [2, 2, 2],
                    rings: 1,
                    cell_bits: 6.0,
                    optimism: 2.0,
                    polish_rounds: [1, 1],
                    golden_rounds: [0, 0, 1],
                    alike: Some(2),
                    every: None,
                },
                passes: 1,
                joins: true,
            },
            SearchEffort::Slow => Self {
                wide: Reach { columns: 48, rows: 40 },
                narrow: Reach { columns: 32, rows: 24 },
                sharpening: 3,
                thoroughness: Thoroughness {
                    starts: 3,
                    rounds: [6, 4, 4],
                    rings: 8,
                    cell_bits: 1.0,
                    optimism: 0.5,
                    polish_rounds: [2, 2],
                    golden_rounds: [3, 2, 2],
                    alike: None,
                    every: None,
                },
                passes: 3,
                joins: true,
            },
        }
    }
}
