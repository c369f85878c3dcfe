//! `ngc-trainer`: from photos and clips to a model file, and its measurement.

// Parts that only the subcommands with GStreamer use.
#![cfg_attr(not(feature = "gstreamer"), allow(dead_code, unused_imports))]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read what they look at"))]

mod bench;
mod check_coding;
mod cli;
mod data;
mod eval;
mod export;
#[cfg(all(test, feature = "gstreamer"))]
#[path = "../../packaging/pages.rs"]
mod pages;
mod perceptual;
mod schedule_file;
mod stage_file;
#[cfg(feature = "gstreamer")]
mod study;
mod symbol_tables;
#[cfg(test)]
mod testing;
mod train;

use clap::Parser;

fn main() -> std::process::ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ngc-trainer: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
