//! The command line.

use std::path::PathBuf;

use clap::{ArgGroup, Parser};
use ngc_examples::size;

use crate::plan::Part;

/// Transcodes any video that GStreamer reads to NGC in MP4 or Matroska, with its sound, subtitles, tags and chapters.
#[derive(Debug, Parser)]
#[command(name = "ngc-transcode", version, after_help = EXIT_CODES)]
#[command(group = ArgGroup::new("rate").args(["quality", "bitrate", "target_size"]))]
pub struct Args {
    /// The video: a file
    pub input: PathBuf,
    /// The result: .mp4, .m4v or .mov for MP4, .mkv for Matroska
    pub output: PathBuf,
    /// Quality, 0 (best, largest) to 63 (smallest) [default: 38]
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
    /// Begin here: seconds, or hours:minutes:seconds. The first frame is the first that is not shown earlier
    #[arg(long, value_name = "TIME", value_parser = size::time)]
    pub start: Option<gst::ClockTime>,
    /// End here: the first frame that is left out is the first that is not shown earlier
    #[arg(long, value_name = "TIME", value_parser = size::time)]
    pub stop: Option<gst::ClockTime>,
    /// Take the video from files made with --start and --stop instead of encoding it. TIME is what their line of JSON tells as
    /// first_frame_seconds; give all, in order
    #[arg(long, value_name = "TIME=FILE", value_parser = part, conflicts_with_all = ["rate", "set", "start", "stop"])]
    pub part: Vec<Part>,
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

impl Args {
    /// How long the result is, if the input is so long.
    pub fn length(&self, input: Option<gst::ClockTime>) -> Option<gst::ClockTime> {
        let stop = match (self.stop, input) {
            (Some(stop), Some(end)) => Some(stop.min(end)),
            (stop, end) => stop.or(end),
        };
        stop.map(|stop| stop.saturating_sub(self.start.unwrap_or_default()))
    }
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

fn part(text: &str) -> Result<Part, String> {
    let (time, file) = text.split_once('=').ok_or_else(|| format!("{text} is not of the form time=file"))?;
    Ok(Part { time: size::time(time)?, file: file.into() })
}
