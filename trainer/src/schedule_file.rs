//! Whole training schedules in one TOML file: stages as [`stage_file`](crate::stage_file) describes them, one after the other.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use toml::Table;

use crate::stage_file::{Machine, StageFile};
use crate::train::schedule::Budget;

/// A file of stages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Networks that training starts with: `rt` or `paper`.
    pub profile: codec_core::bitstream::Profile,
    /// Keys of all stages, as far as they have a use for them.
    #[serde(default)]
    common: Table,
    stage: Vec<Table>,
}

/// A stage with its place in the schedule.
#[derive(Debug)]
pub struct ScheduledStage {
    pub name: String,
    /// Checkpoint or model that it starts from.
    pub start: PathBuf,
    pub budget: Budget,
    pub file: StageFile,
}

/// Checkpoint of a stage.
pub fn checkpoint(out: &Path, stage: &str) -> PathBuf {
    out.join(stage).join("checkpoint.safetensors")
}

impl Schedule {
    /// # Errors
    /// Naming the file, and the line where TOML can tell.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("schedule {}", path.display()))?;
        let schedule: Self = toml::from_str(&text).with_context(|| format!("schedule {}", path.display()))?;
        if schedule.stage.is_empty() {
            bail!("schedule {}: no [[stage]]", path.display());
        }
        Ok(schedule)
    }

    /// The stages with lengths times `scale`, each with a folder below `out`, the first from `start`.
    ///
    /// A `motion.flow` that starts with `@` is the checkpoint of the stage of that name.
    ///
    /// # Errors
    /// Naming the stage, the key and the cure.
    pub fn stages(&self, out: &Path, start: &Path, scale: f64) -> Result<Vec<ScheduledStage>> {
        let mut stages: Vec<ScheduledStage> = Vec::new();
        for (number, table) in self.stage.iter().enumerate() {
            let called = table.get("name").and_then(toml::Value::as_str);
            let in_stage = || format!("stage {}", called.map_or_else(|| (number + 1).to_string(), str::to_owned));
            let mut file = StageFile::from_tables(&self.common, table).with_context(in_stage)?;
            let Some(name) = file.name.take() else { bail!("{}: no name", in_stage()) };
            if stages.iter().any(|s| s.name == name) {
                bail!("two stages are called {name:?}");
            }
            let known = |wanted: &str| -> Result<PathBuf> {
                if !stages.iter().any(|s| s.name == wanted) {
                    bail!("stage {name}: no stage {wanted:?} comes before it");
                }
                Ok(checkpoint(out, wanted))
            };
            let start = match (&file.from, stages.last()) {
                (Some(from), _) => known(from)?,
                (None, Some(before)) => checkpoint(out, &before.name),
                (None, None) => start.to_owned(),
            };
            if let Some(wanted) = file.motion.flow.as_deref().and_then(|flow| flow.strip_prefix('@')) {
                file.motion.flow = Some(known(wanted)?.display().to_string());
            }
            let budget = match file.budget().with_context(in_stage)? {
                Budget::Steps(steps) => Budget::Steps((steps as f64 * scale).round().max(1.0) as u64),
                Budget::Seconds(seconds) => Budget::Seconds(seconds * scale),
            };
            // Values at fault are found now, not when the stage's turn comes.
            file.plan(budget, Machine { workers: 1, seed: 1 }).with_context(in_stage)?;
            stages.push(ScheduledStage { name, start, budget, file });
        }
        Ok(stages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{FlowSource, Stage};

    fn stages(text: &str, scale: f64) -> Result<Vec<ScheduledStage>> {
        toml::from_str::<Schedule>(text)?.stages(Path::new("o"), Path::new("s"), scale)
    }

    const MACHINE: Machine = Machine { workers: 3, seed: 7 };

    #[test]
    fn stages_build_on_each_other() {
        let text = r#"
            profile = "rt"
            [common]
            steps = 1000
            batch.clips = 4
            clip.lead-in = 3
            [common.optimiser]
            learning-rate = 0.002
            ema = 0.5
            [[stage]]
            name = "a"
            kind = "flow"
            [[stage]]
            name = "b"
            kind = "inter"
            time-budget = "2h"
            batch.clips = 2
            motion.flow = "@a"
            start.residual-from-intra = true
            optimiser.ema = 0.75
        "#;
        let found = stages(text, 0.5).unwrap();
        assert_eq!((found[0].start.as_path(), found[0].budget), (Path::new("s"), Budget::Steps(500)));
        assert_eq!(found[1].start, Path::new("o/a/checkpoint.safetensors"));
        let plan = found[1].file.plan(found[1].budget, MACHINE).unwrap();
        let config = &plan.config;
        assert_eq!(config.budget, Budget::Seconds(3600.0));
        assert_eq!((config.batch, config.learning_rate, config.ema_decay), (2, 0.002, 0.75));
        assert_eq!(config.flow, FlowSource::UFlow("o/a/checkpoint.safetensors".into()));
        assert!(plan.start.residual_from_intra);
        assert!(matches!(&config.stage, Stage::Inter { losses, .. } if losses.lead_in == 3));
        let plan = found[0].file.plan(found[0].budget, MACHINE).unwrap();
        assert_eq!((plan.config.stage, plan.config.batch, plan.config.workers, plan.config.seed), (Stage::Flow, 4, 3, 7));
    }

    #[test]
    fn unknown_stages_and_twins_are_named() {
        let stage = |name: &str, more: &str| format!("[[stage]]\nname = \"{name}\"\nkind = \"inter\"\nsteps = 1\n{more}\n");
        let error = |text: String| stages(&format!("profile = \"rt\"\n{text}"), 1.0).unwrap_err().to_string();
        assert!(error(stage("a", "from = \"b\"")).contains("\"b\""));
        assert!(error(stage("a", "motion.flow = \"@c\"")).contains("\"c\""));
        assert!(error(stage("a", "") + &stage("a", "")).contains("two stages"));
    }

    #[test]
    fn the_schedules_of_the_repository_are_valid() {
        let schedules = [
            include_str!("../schedules/built-in.toml"),
            include_str!("../schedules/rt.toml"),
            include_str!("../schedules/article.toml"),
            include_str!("../schedules/gpu.toml"),
            include_str!("../schedules/continue.toml"),
        ];
        for (text, count) in schedules.into_iter().zip([22, 3, 5, 2, 3]) {
            let stages = stages(text, 1.0).unwrap();
            assert_eq!(stages.len(), count);
            for ScheduledStage { name, file, budget, .. } in stages {
                if let Err(error) = file.plan(budget, MACHINE) {
                    panic!("stage {name}: {error:#}");
                }
            }
        }
    }
}
