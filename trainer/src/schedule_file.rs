//! Whole training schedules in one TOML file.
//!
//! A stage's keys are the options of `ngc-trainer train`, so there is nothing that only one of the two can do.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use toml::{Table, Value};

/// A file of stages.
#[derive(Debug, Deserialize)]
pub struct Schedule {
    /// Networks that training starts with: `rt` or `paper`.
    pub profile: codec_core::bitstream::Profile,
    /// Options of all stages.
    #[serde(default)]
    common: Table,
    stage: Vec<StageTable>,
}

#[derive(Debug, Deserialize)]
struct StageTable {
    name: String,
    kind: String,
    /// Stage to start from in place of the one before.
    from: Option<String>,
    #[serde(flatten)]
    options: Table,
}

/// A stage as a command line.
#[derive(Debug, PartialEq)]
pub struct StageCommand {
    pub name: String,
    /// Arguments after `ngc-trainer`.
    pub arguments: Vec<String>,
}

/// Where the stages find their data and leave their runs.
pub struct Folders<'a> {
    pub data: &'a Path,
    /// One folder per stage is made in it.
    pub out: &'a Path,
    /// Start of the first stage.
    pub start: &'a Path,
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

    /// The stages as command lines, with lengths times `scale`.
    ///
    /// A value that starts with `@` is the checkpoint of the stage of that name.
    ///
    /// # Errors
    /// Naming the stage and the option at fault.
    pub fn commands(&self, folders: &Folders, scale: f64) -> Result<Vec<StageCommand>> {
        let mut commands: Vec<StageCommand> = Vec::new();
        for stage in &self.stage {
            let known = |name: &str| -> Result<PathBuf> {
                if !commands.iter().any(|c| c.name == name) {
                    bail!("stage {}: no stage {name:?} comes before it", stage.name);
                }
                Ok(checkpoint(folders.out, name))
            };
            let start = match (&stage.from, commands.last()) {
                (Some(from), _) => known(from)?,
                (None, Some(before)) => checkpoint(folders.out, &before.name),
                (None, None) => folders.start.to_owned(),
            };
            let mut arguments = vec!["train".to_owned(), stage.kind.clone()];
            let mut option = |name: &str, value: &str| arguments.extend([format!("--{name}"), value.to_owned()]);
            option("data", &folders.data.display().to_string());
            option("out", &folders.out.join(&stage.name).display().to_string());
            option("init", &start.display().to_string());
            let mut options = self.common.clone();
            options.extend(stage.options.clone());
            for (name, value) in &options {
                let in_stage = || format!("stage {}: {name}", stage.name);
                let value = match (name.as_str(), value) {
                    ("steps", Value::Integer(steps)) => ((*steps as f64 * scale).round().max(1.0) as u64).to_string(),
                    ("time-budget", Value::String(time)) => {
                        let seconds =
                            crate::train::schedule::parse_seconds(time).map_err(anyhow::Error::msg).with_context(in_stage)?;
                        format!("{}s", seconds * scale)
                    }
                    (_, Value::String(text)) => match text.strip_prefix('@') {
                        Some(name) => known(name)?.display().to_string(),
                        None => text.clone(),
                    },
                    (_, Value::Integer(number)) => number.to_string(),
                    (_, Value::Float(number)) => number.to_string(),
                    (_, Value::Boolean(true)) => {
                        arguments.push(format!("--{name}"));
                        continue;
                    }
                    (_, Value::Boolean(false)) => continue,
                    _ => bail!("{}: neither text, number nor truth value", in_stage()),
                };
                arguments.extend([format!("--{name}"), value]);
            }
            if commands.iter().any(|c| c.name == stage.name) {
                bail!("two stages are called {:?}", stage.name);
            }
            commands.push(StageCommand { name: stage.name.clone(), arguments });
        }
        Ok(commands)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    fn commands(text: &str, scale: f64) -> Result<Vec<StageCommand>> {
        let folders = Folders { data: Path::new("d"), out: Path::new("o"), start: Path::new("s") };
        toml::from_str::<Schedule>(text)?.commands(&folders, scale)
    }

    #[test]
    fn stages_become_command_lines() {
        let text = r#"
            profile = "rt"
            [common]
            lr = 0.001
            batch = 4
            [[stage]]
            name = "a"
            kind = "flow"
            steps = 1000
            [[stage]]
            name = "b"
            kind = "inter"
            time-budget = "2h"
            batch = 2
            flow = "@a"
            residual-from-intra = true
        "#;
        let found = commands(text, 0.5).unwrap();
        let line = |i: usize| found[i].arguments.join(" ");
        assert_eq!(line(0), "train flow --data d --out o/a --init s --batch 4 --lr 0.001 --steps 500");
        let expected = "train inter --data d --out o/b --init o/a/checkpoint.safetensors --lr 0.001 --batch 2 \
                        --time-budget 3600s --flow o/a/checkpoint.safetensors --residual-from-intra";
        let sorted = |text: &str| {
            let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            words.sort();
            words
        };
        assert_eq!(sorted(&line(1)), sorted(expected));
    }

    #[test]
    fn unknown_stages_are_named() {
        let text = "profile = \"rt\"\n[[stage]]\nname = \"a\"\nkind = \"inter\"\nfrom = \"b\"";
        assert!(commands(text, 1.0).unwrap_err().to_string().contains("\"b\""));
    }
    #[test]
    fn the_schedules_of_the_repository_are_command_lines_that_train_takes() {
        for text in [include_str!("../schedules/rt.toml"), include_str!("../schedules/article.toml")] {
            let stages = commands(text, 1.0).unwrap();
            assert!(stages.len() >= 3);
            for StageCommand { name, arguments } in stages {
                let line = std::iter::once("ngc-trainer".to_owned()).chain(arguments);
                if let Err(error) = Cli::try_parse_from(line) {
                    panic!("stage {name}: {error}");
                }
            }
        }
    }
}
