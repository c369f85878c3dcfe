//! Any video to NGC in MP4 or Matroska, with its sound, subtitles, tags and chapters. `ngc-transcode --help` tells the rest.

mod args;
mod budget;
mod container;
mod convert;
mod join;
mod output;
#[cfg(test)]
#[path = "../../../../packaging/pages.rs"]
mod pages;
mod pipeline;
mod plan;
mod probe;
mod progress;
mod rate;
mod report;
mod run;
mod text;
mod verify;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::Parser;
use ngc_examples::{Failure, Interrupt, Kind};

use crate::args::Args;
use crate::budget::Budget;
use crate::container::Container;
use crate::output::Output;
use crate::probe::Media;
use crate::progress::Progress;
use crate::report::Report;

fn main() -> ExitCode {
    let args = Args::parse();
    let mut report = Report::default();
    let result = transcode(&args, &mut report);
    for warning in &report.warnings {
        ngc_examples::say(format_args!("ngc-transcode: warning: {warning}"));
    }
    let result = match result {
        // What asked for a line and does not get it has to know, though the output is there.
        Ok(()) if args.json => ngc_examples::print(report.json(&args.input, &args.output)),
        Ok(()) if !args.quiet => {
            let _ = ngc_examples::print(report.line(&args.output));
            Ok(())
        }
        Err(failure) if args.json => {
            let _ = ngc_examples::print(report::failure(&failure, &args.input, &args.output, &report.warnings));
            Err(failure)
        }
        other => other,
    };
    let Err(failure) = result else { return ExitCode::SUCCESS };
    ngc_examples::say(format_args!("ngc-transcode: {failure}"));
    ExitCode::from(failure.kind as u8)
}

fn transcode(args: &Args, report: &mut Report) -> Result<(), Failure> {
    let interrupt = Interrupt::new();
    ngc_examples::init()?;
    let container = Container::of(&args.output)?;
    // What is wrong with the settings is wrong before the input is looked at.
    rate::check(args)?;
    if let (Some(start), Some(stop)) = (args.start, args.stop)
        && start >= stop
    {
        return Err(Failure::new(Kind::Usage, "--start has to be before --stop"));
    }
    if same_file(args) {
        return Err(Failure::new(Kind::Usage, "input and output are the same file"));
    }
    let output = Output::new(&args.output, args.force)?;
    let source = probe::probe(&args.input, args.target_size.is_some())?;
    let plan = plan::plan(&source, container, args)
        .map_err(|f| Failure::new(f.kind, format!("{}: {}", args.input.display(), f.text)))?;
    report.warnings.extend(plan.warnings.iter().cloned());
    let length = args.length(source.duration);
    let mut budget = args.target_size.map(|size| Budget::new(size, &source, &plan, length)).transpose()?;
    let counters = loop {
        ngc_examples::stable::seed();
        let encoder = ngc_examples::make("ngcenc")?;
        rate::configure(&encoder, args, budget.as_ref().map(Budget::kilobits).or(args.bitrate))?;
        if let Some(budget) = budget {
            budget.steer(&encoder);
        }
        let transcoder = pipeline::build(&args.input, output.part(), &plan, &encoder)?;
        interrupt.check()?;
        let progress = Progress::new(length, args.quiet);
        let mut warnings = Vec::new();
        let result = run::run(&transcoder, &output, &progress, &interrupt, &mut warnings);
        report.elapsed += progress.finish();
        report.passes += 1;
        let next = budget.zip(args.target_size).and_then(|(budget, size)| budget.again(size, output.size(), &encoder));
        if result.is_err() || next.is_none() {
            report.warnings.append(&mut warnings);
            result?;
            break Arc::clone(&transcoder.counters);
        }
        budget = next;
    };
    if let Some(size) = args.target_size.filter(|size| output.size() > *size) {
        report.warnings.push(format!("the file is larger than --target-size {size}: the video cannot be made smaller"));
    }
    ngc_examples::stable::make(output.part())
        .map_err(|e| Failure::new(Kind::Encode, format!("{}: {e}", output.part().display())))?;

    report.frames = counters.frames.load(Ordering::Relaxed);
    if report.frames == 0 {
        let part = if args.start.or(args.stop).is_some() { "in this part" } else { "that can be decoded" };
        return Err(Failure::new(Kind::Input, format!("{}: there are no frames {part}", args.input.display())));
    }
    report.keyframes = counters.keyframes.load(Ordering::Relaxed);
    report.bytes = output.size();
    report.seconds = counters.seconds();
    let start = args.start.map_or(0, |start| start.nseconds());
    report.first_frame = (start + counters.first.load(Ordering::Relaxed)) as f64 / 1e9;
    let last = gst::ClockTime::from_nseconds(counters.last.load(Ordering::Relaxed));
    report.warnings.extend(length.and_then(|length| report.ends_early(last, length)));
    report.audio_tracks = plan.count(Media::Audio);
    report.subtitle_tracks = plan.count(Media::Text);
    report.chapters = plan.chapters.as_ref().map_or(0, |toc| count_chapters(&toc.entries()));
    if args.verify {
        report.verified = Some(verify::verify(args, output.part(), &plan, report.frames, &interrupt)?);
    }
    output.finish()
}

fn count_chapters(entries: &[gst::TocEntry]) -> usize {
    let of = |entry: &gst::TocEntry| match entry.entry_type() {
        gst::TocEntryType::Chapter => 1,
        _ => count_chapters(&entry.sub_entries()),
    };
    entries.iter().map(of).sum()
}

fn same_file(args: &Args) -> bool {
    let real = |path: &std::path::Path| path.canonicalize().ok();
    real(&args.input).is_some_and(|input| real(&args.output) == Some(input))
}

#[test]
fn manual_page_and_completion_are_current() {
    pages::check(<Args as clap::CommandFactory>::command());
}
