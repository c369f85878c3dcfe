//! `--verify`: decodes the result beside the input.

use std::path::Path;

use ngc_examples::reader::{Reader, psnr};
use ngc_examples::{Failure, Interrupt, Kind};
use serde_json::{Value, json};

use crate::args::Args;
use crate::plan::Plan;
use crate::probe::{self, Media, Source};

/// Difference between times that is put down to a container's units, in nanoseconds.
const TIME_TOLERANCE: u64 = 1_500_000;

/// Most that sound may move against the pictures, in nanoseconds: one frame at 25 a second.
const SOUND_TOLERANCE: u64 = 40_000_000;

/// Compares frames one by one: their number, size, times and luma. Tracks are counted.
///
/// # Errors
/// [`Kind::Verify`] with what is wrong.
pub fn verify(args: &Args, result: &Path, plan: &Plan, frames: u64, interrupt: &Interrupt) -> Result<Value, Failure> {
    let wrong = |text: String| Failure::new(Kind::Verify, format!("verification: {text}"));
    let within = |f: Failure| if f.kind == Kind::Interrupted { f } else { wrong(f.text) };
    let (before, after) = (probe::probe(&args.input, true)?, probe::probe(result, true)?);
    let offsets = tracks(&before, &after, plan).map_err(within)?;
    let input = Reader::new(&args.input, true, plan.span, interrupt)?;
    let output = Reader::new(result, false, after.span(None, None), interrupt)?;
    let (mut count, mut error, mut worst, mut late, mut shift) = (0u64, 0f64, 0f64, 0u64, None);
    loop {
        interrupt.check()?;
        let (before, after) = (input.next_frame().map_err(within)?, output.next_frame().map_err(within)?);
        let (before, after) = match (before, after) {
            (Some(before), Some(after)) => (before, after),
            (None, None) => break,
            (Some(_), None) => return Err(wrong(format!("it ends after {count} frames, the input goes on"))),
            (None, Some(_)) => return Err(wrong(format!("it goes on after the input's {count} frames"))),
        };
        let size = |f: &ngc_examples::reader::Frame| (f.info.width(), f.info.height());
        if size(&before) != size(&after) {
            return Err(wrong(format!("frame {count} has {:?} pixels, not {:?}", size(&after), size(&before))));
        }
        if before.info.colorimetry() != after.info.colorimetry() {
            let (a, b) = (after.info.colorimetry(), before.info.colorimetry());
            return Err(wrong(format!("frame {count} has the colorimetry {a}, not {b}")));
        }
        // Containers may leave out what comes before the first frame of any track.
        let time = |f: &ngc_examples::reader::Frame| f.time.nseconds() as i64;
        let shift = *shift.get_or_insert(time(&after) - time(&before));
        late = late.max((time(&after) - time(&before)).abs_diff(shift));
        if late > TIME_TOLERANCE {
            return Err(wrong(format!("frame {count} is shown at {}, not at {}", after.time, before.time)));
        }
        let difference = before.luma_error(&after)?;
        error += difference;
        worst = worst.max(difference);
        count += 1;
    }
    if count != frames {
        return Err(wrong(format!("{count} frames can be decoded of {frames}")));
    }
    let shift = shift.unwrap_or(0);
    let sound = offsets.iter().map(|offset| offset.abs_diff(shift)).max();
    if let Some(sound) = sound.filter(|&sound| sound > SOUND_TOLERANCE) {
        return Err(wrong(format!("sound and picture are {} ms further apart than in the input", sound / 1_000_000)));
    }
    let mean = psnr(error / count.max(1) as f64);
    if mean < args.psnr_floor {
        return Err(wrong(format!("the luma PSNR is {mean:.2} dB, below {} (--psnr-floor)", args.psnr_floor)));
    }
    Ok(json!({
        "frames": count,
        "psnr_y": round(mean),
        "worst_frame_psnr_y": round(psnr(worst)),
        "largest_time_difference_ms": late as f64 / 1e6,
        "largest_sound_difference_ms": sound.map(|sound| sound as f64 / 1e6),
    }))
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Every track that was kept is there, and holds something if it held something. How far the beginnings and ends of the tracks of
/// sound were moved, in nanoseconds.
fn tracks(before: &Source, after: &Source, plan: &Plan) -> Result<Vec<i64>, Failure> {
    for (media, name) in [(Media::Video, "video"), (Media::Audio, "sound"), (Media::Text, "subtitles")] {
        let (wanted, there) = (plan.count(media), after.streams.iter().filter(|s| s.media == media).count());
        if wanted != there {
            return Err(Failure::new(Kind::Verify, format!("{there} tracks of {name}, not {wanted}")));
        }
    }
    let kept = plan.tracks.iter().filter(|t| t.stream.media == Media::Audio);
    let kept = kept.filter_map(|t| before.streams.iter().find(|s| s.id == t.stream.id));
    let mut offsets = Vec::new();
    for (before, after) in kept.zip(after.streams.iter().filter(|s| s.media == Media::Audio)) {
        if (after.buffers == 0) != (before.buffers == 0) {
            return Err(Failure::new(Kind::Verify, "a track of sound is empty"));
        }
        let start = plan.span.map_or(0, |span| span.start.nseconds() as i64);
        let stop = plan.span.and_then(|span| span.stop).map_or(i64::MAX, |stop| stop.nseconds() as i64);
        // Nothing is heard before zero.
        let within = |time: i64| time.min(stop).saturating_sub(start).max(0);
        let moved = |before: Option<i64>, after: Option<i64>| before.zip(after).map(|(b, a)| a.max(0) - within(b));
        offsets.extend(moved(before.first, after.first));
        offsets.extend(moved(before.end, after.end));
    }
    Ok(offsets)
}
