//! The command line.

use std::path::PathBuf;

use clap::{ArgGroup, Parser};
use ngc_examples::size;

/// Transcodes any video that GStreamer reads to NGC in MP4 or Matroska, with its sound, subtitles, tags and chapters.
#[derive(Debug, Parser)]
#[command(name = "ngc-transcode", version, after_help = EXIT_CODES)]
#[command(group = ArgGroup::new("rate").args(["quality", "bitrate", "target_size"]))]
pub struct Args {
    /// The video: a file
    pub input: PathBuf,
    /// The result: .mp4, .m4v or .mov for MP4, .mkv for Matroska
    pub output: PathBuf,
    /// Quality, 0 (best, largest) to 63 (smallest) [default: 32]
    #[arg(short, long, value_parser = clap::value_parser!(u32).range(0..=63))]
    pub quality: Option<u32>,
    /// Average bitrate of the video in kbit/s, or as 500k, 2M
    #[arg(short, long, value_parser = size::kilobits)]
    pub bitrate: Option<u32>,
    /// Size of the whole file, such as 20MB; the bitrate follows from the duration
    #[arg(long, value_name = "SIZE", value_parser = size::bytes)]
    pub target_size: Option<u64>,
    /// Any property of ngcenc, such as speed-preset=slow; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = property)]
    pub set: Vec<(String, String)>,
    /// Leave sound out
    #[arg(long)]
    pub no_audio: bool,
    /// Leave subtitles out
    #[arg(long)]
    pub no_subtitles: bool,
    /// Decode the result and compare it with the input: frames, times, colours, PSNR
    #[arg(long)]
    pub verify: bool,
    /// Lowest luma PSNR in dB, over all frames, that --verify accepts
    #[arg(long, value_name = "DB", default_value_t = 20.0)]
    pub psnr_floor: f64,
    /// Replace the output if it exists
    #[arg(short, long)]
    pub force: bool,
    /// Print one line of JSON about the result, or the failure, to standard output
    #[arg(long)]
    pub json: bool,
    /// No progress bar
    #[arg(long)]
    pub quiet: bool,
}

const EXIT_CODES: &str = "\
Exit status:
  0    done
  2    wrong command line
  3    the input cannot be read, or holds no video
  4    a GStreamer plugin is missing
  5    encoding or writing failed
  6    the output exists (see --force), or is being written by another process
  7    the result did not stand up to --verify; it is not kept
  130  interrupted

The output gets its name only when it is whole. Before that it is .NAME.part in the same folder.";

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text} is not of the form name=value"))?;
    Ok((name.into(), value.into()))
}
