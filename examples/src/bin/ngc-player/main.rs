//! Plays a video: in a window, or as PNG files or a contact sheet where there is none; alone or beside another.

#[cfg(test)]
#[path = "../../../../packaging/pages.rs"]
mod pages;
mod sheet;
mod statistics;
mod window;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ngc_examples::{Failure, Interrupt, Kind};

/// Plays NGC, and whatever else GStreamer decodes.
#[derive(Debug, Parser)]
#[command(name = "ngc-player", version)]
pub struct Args {
    /// The video
    input: PathBuf,
    /// Another one, shown at its right
    #[arg(long, value_name = "FILE")]
    beside: Option<PathBuf>,
    /// Write a picture with frames from all over the video (PNG), and show nothing
    #[arg(long, value_name = "PNG", conflicts_with = "frames")]
    contact_sheet: Option<PathBuf>,
    /// Write each frame as a PNG file into this folder, and show nothing
    #[arg(long, value_name = "FOLDER")]
    frames: Option<PathBuf>,
    /// Frames side by side in the contact sheet, and below each other
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16))]
    columns: u32,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=16))]
    rows: u32,
    /// Print statistics to standard error only, not into the picture
    #[arg(long)]
    no_overlay: bool,
    /// Sound off
    #[arg(long)]
    mute: bool,
    /// Do not show: run through, as fast as it goes
    #[arg(long)]
    no_display: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match play(&args) {
        Ok(line) => {
            let _ = ngc_examples::print(format_args!("ngc-player: {line}"));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            ngc_examples::say(format_args!("ngc-player: {failure}"));
            ExitCode::from(failure.kind as u8)
        }
    }
}

fn play(args: &Args) -> Result<String, Failure> {
    let interrupt = Interrupt::new();
    ngc_examples::init()?;
    let inputs: Vec<_> = std::iter::once(&args.input).chain(&args.beside).cloned().collect();
    if let Some(folder) = &args.frames {
        return sheet::frames(&inputs, folder, &interrupt);
    }
    if let Some(file) = &args.contact_sheet {
        return sheet::contact_sheet(&inputs, file, (args.columns, args.rows), &interrupt);
    }
    // Some sinks that GStreamer would try crash where there is none.
    let display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    if !display && !args.no_display {
        let text = "there is no display: use --contact-sheet FILE.png, --frames FOLDER or --no-display";
        return Err(Failure::new(Kind::Usage, text));
    }
    window::play(args, &inputs, &interrupt)
}

#[test]
fn manual_page_and_completion_are_current() {
    pages::check(<Args as clap::CommandFactory>::command());
}
