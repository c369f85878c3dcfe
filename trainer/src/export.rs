//! From a checkpoint to a model file.

use std::path::Path;

use anyhow::{Context, Result};
use codec_core::Networks;
use codec_core::model::write_model;
use tch::Device;

use crate::train::checkpoint::Checkpoint;

/// Writes the averaged weights of a checkpoint as a model file, with the integer entropy networks made from them.
///
/// # Errors
/// Naming the tensor that does not fit its integer range, or the file that cannot be written.
pub fn export(checkpoint: &Checkpoint, out: &Path, notes: &str) -> Result<()> {
    let mut params = checkpoint.averaged_params();
    let model = &checkpoint.progress.model;
    let networks = Networks::load(&mut params, model, Device::Cpu)?;
    let hours = (checkpoint.progress.earlier_seconds + checkpoint.progress.seconds) / 3600.0;
    let mut metadata = vec![("training_hours", format!("{hours:.2}"))];
    if !notes.is_empty() {
        metadata.push(("notes", notes.to_owned()));
    }
    let bytes = tch::no_grad(|| write_model(model, &params, &networks, &metadata))?;
    let partial = out.with_extension("partial");
    std::fs::write(&partial, &bytes).with_context(|| format!("cannot write {}", partial.display()))?;
    std::fs::rename(&partial, out).with_context(|| format!("cannot write {}", out.display()))?;
    println!("{}: {} bytes, {hours:.2} h of training", out.display(), bytes.len());
    Ok(())
}
