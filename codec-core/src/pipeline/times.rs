//! Time spent in each stage of coding, for benchmarks.

use std::time::{Duration, Instant};

/// Total time by stage, in the order in which the stages were first seen.
#[derive(Clone, Debug, Default)]
pub struct StageTimes {
    stages: Vec<(&'static str, Duration)>,
}

impl StageTimes {
    /// Runs `work` and adds its duration to `stage`.
    pub(super) fn measure<T>(&mut self, stage: &'static str, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.add(stage, start.elapsed());
        result
    }

    /// Adds time to `stage`.
    pub(super) fn add(&mut self, stage: &'static str, elapsed: Duration) {
        match self.stages.iter_mut().find(|(name, _)| *name == stage) {
            Some((_, total)) => *total += elapsed,
            None => self.stages.push((stage, elapsed)),
        }
    }

    /// Stages and the time spent in each.
    #[cfg(feature = "training")]
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Duration)> + '_ {
        self.stages.iter().copied()
    }

    /// Starts again from nothing.
    #[cfg(feature = "training")]
    pub fn clear(&mut self) {
        self.stages.clear();
    }
}
