//! Long runs in short: random events, memory, leaked objects. `NGC_LONG=1` takes longer.

use std::process::Command;

use gst::prelude::*;

fn long() -> bool {
    std::env::var_os("NGC_LONG").is_some()
}

/// Runs a test of this file that is ignored otherwise in a process of its own.
fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("G_DEBUG", "fatal_warnings").env("OMP_NUM_THREADS", "1");
    command
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    text
}

fn play(description: &str) {
    gst::init().unwrap();
    gstngc::plugin_register_static().unwrap();
    let pipeline = gst::parse::launch(description).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(600), &[gst::MessageType::Eos, gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null).unwrap();
    assert!(matches!(message.map(|m| m.type_()), Some(gst::MessageType::Eos)));
}

#[test]
fn random_events_do_no_harm() {
    let text = output(&mut child("soak"));
    assert!(text.contains("frames_out"), "{text}");
}

#[test]
#[ignore = "run by random_events_do_no_harm"]
fn soak() {
    let seconds = if long() { 600 } else { 10 };
    let outcome = ngc_tests::soak::run(seconds, 7).unwrap();
    println!("{seconds} s: {outcome:?}");
    assert!(outcome.events > 10 && outcome.frames_out > outcome.frames_in / 2, "{outcome:?}");
}

#[test]
fn nothing_is_leaked() {
    let mut command = child("leaks");
    command.env("GST_TRACERS", "leaks(check-refs=true)").env("GST_DEBUG", "GST_TRACER:7").env("GST_DEBUG_NO_COLOR", "1");
    let text = output(&mut command);
    let (formats, alive): (Vec<&str>, Vec<&str>) =
        text.lines().filter(|line| line.contains("object-alive, type-name=")).partition(|line| line.contains("new format"));
    assert!(alive.is_empty(), "{alive:#?}");
    assert!(!formats.is_empty(), "the leaks tracer did not run:\n{text}");
}

#[test]
#[ignore = "run by nothing_is_leaked"]
fn leaks() {
    play(
        "videotestsrc num-buffers=12 ! video/x-raw,width=96,height=64 ! ngcenc threads=1 device=cpu ! ngcparse ! ngcdec threads=1 device=cpu ! fakesink",
    );
    // An encoder that never gets a frame, and one that fails to start.
    play("videotestsrc num-buffers=0 ! video/x-raw,width=96,height=64 ! ngcenc device=cpu ! fakesink");
    let failing = gst::parse::launch("videotestsrc num-buffers=2 ! ngcenc model-file=/nowhere/model ! fakesink").unwrap();
    let _ = failing.set_state(gst::State::Playing);
    let _ = failing.state(gst::ClockTime::from_seconds(10));
    failing.set_state(gst::State::Null).unwrap();
    drop(failing);
    // SAFETY: nothing of GStreamer is used after this.
    unsafe { gst::deinit() };
}

#[test]
fn memory_does_not_grow() {
    let text = output(&mut child("memory"));
    println!("{text}");
}

fn resident_bytes() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 4096.0
}

#[test]
#[ignore = "run by memory_does_not_grow"]
fn memory() {
    let (frames, settled) = if long() { (10_000, 1000) } else { (400, 150) };
    gst::init().unwrap();
    gstngc::plugin_register_static().unwrap();
    let pipeline = gst::parse::launch(&format!(
        "videotestsrc num-buffers={frames} pattern=ball ! video/x-raw,format=I420,width=320,height=180 \
         ! ngcenc threads=1 device=cpu key-int-max=100 ! ngcparse ! ngcdec threads=1 device=cpu ! appsink name=out sync=false"
    ))
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let (mut count, mut before) = (0, 0.0);
    while sink.pull_sample().is_ok() {
        count += 1;
        if count == settled {
            before = resident_bytes();
        }
    }
    let growth = (resident_bytes() / before - 1.0) * 100.0;
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(count, frames);
    println!("{:.0} MiB after {settled} frames, {growth:+.2} % after {frames}", before / (1 << 20) as f64);
    assert!(growth < 2.0, "{growth:.2} %");
}
