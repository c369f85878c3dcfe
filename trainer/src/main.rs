//! `ngc-trainer`: from photos and clips to a model file, and its measurement.

mod bench;
mod cli;
mod data;
mod eval;
mod export;
mod perceptual;
mod schedule_file;
mod study;
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
