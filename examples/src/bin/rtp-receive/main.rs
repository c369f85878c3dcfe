//! Receives NGC over RTP, shows it, asks for keyframes when something was lost, and tells how it goes.

mod outages;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use gst::prelude::*;
use ngc_examples::{Failure, Interrupt, Kind, rtp};
use serde_json::{Value, json};

use crate::outages::Outages;

/// What stands in for damaged pictures.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Conceal {
    Freeze,
    Predict,
}

/// Receives NGC from rtp-send. Ports: PORT for packets, PORT+1 for sender reports, PORT+3 of the sender for what is sent back.
#[derive(Debug, Parser)]
#[command(name = "rtp-receive", version)]
struct Args {
    #[arg(long, default_value_t = 5004, value_parser = clap::value_parser!(u16).range(1..65530))]
    port: u16,
    /// The sender, which hears requests for keyframes
    #[arg(long, default_value = "127.0.0.1")]
    sender: String,
    /// Milliseconds that packets may be late or out of order (jitter buffer)
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    latency: u32,
    /// What stands in for damaged pictures
    #[arg(long, value_enum, default_value = "freeze")]
    conceal: Conceal,
    /// Decode, and show nothing
    #[arg(long)]
    no_display: bool,
    /// Stop after so many seconds
    #[arg(long)]
    seconds: Option<u64>,
    /// Print one line of JSON at the end
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match receive(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("rtp-receive: {failure}");
            ExitCode::from(failure.kind as u8)
        }
    }
}

/// What is counted while it runs.
#[derive(Debug, Default)]
struct Counts {
    outages: Mutex<Outages>,
    requests: AtomicU64,
    jitter_buffer: Mutex<Option<gst::Element>>,
}

impl Counts {
    fn json(&self) -> Value {
        let outages = self.outages.lock().map(|o| o.clone()).unwrap_or_default();
        let stats = self.jitter_buffer.lock().ok().and_then(|j| j.as_ref().map(|j| j.property::<gst::Structure>("stats")));
        let packets = |name: &str| stats.as_ref().and_then(|s| s.get::<u64>(name).ok()).unwrap_or(0);
        json!({
            "frames": outages.frames,
            "damaged_frames": outages.damaged,
            "outages": outages.count,
            "longest_outage_ms": outages.longest as f64 / 1e6,
            "mean_outage_ms": outages.mean(),
            "packets": packets("num-pushed"),
            "lost_packets": packets("num-lost"),
            "late_packets": packets("num-late"),
            "requests": self.requests.load(Ordering::Relaxed),
        })
    }
}

fn pipeline(args: &Args, counts: &Arc<Counts>) -> Result<gst::Pipeline, Failure> {
    let sink = if args.no_display { "fakesink sync=false" } else { "autovideosink" };
    let conceal = match args.conceal {
        Conceal::Freeze => "freeze",
        Conceal::Predict => "predict",
    };
    let pipeline = rtp::launch(&format!(
        "rtpbin name=rtp latency={} udpsrc port={} caps=\"{}\" ! rtp.recv_rtp_sink_0 udpsrc port={} ! rtp.recv_rtcp_sink_0 \
         rtp.send_rtcp_src_0 ! udpsink name=back port={} sync=false async=false \
         rtpgstdepay name=depay ! ngcparse ! ngcdec name=decoder conceal={conceal} ! videoconvert ! {sink}",
        args.latency,
        args.port,
        rtp::CAPS,
        args.port + 1,
        args.port + 3,
    ))?;
    rtp::element(&pipeline, "back")?.set_property("host", &args.sender);
    let bin = rtp::element(&pipeline, "rtp")?;
    rtp::quick_feedback(&bin);
    let target = rtp::pad(&pipeline, "depay", "sink")?;
    bin.connect_pad_added(move |_, pad| {
        if pad.name().starts_with("recv_rtp_src_") && !target.is_linked() {
            let _ = pad.link(&target);
        }
    });
    let shared = Arc::clone(counts);
    bin.connect("new-jitterbuffer", false, move |values| {
        if let (Some(element), Ok(mut place)) =
            (values.get(1).and_then(|v| v.get::<gst::Element>().ok()), shared.jitter_buffer.lock())
        {
            *place = Some(element);
        }
        None
    });
    Ok(pipeline)
}

fn receive(args: &Args) -> Result<(), Failure> {
    let interrupt = Interrupt::new();
    ngc_examples::init()?;
    let counts = Arc::new(Counts::default());
    let pipeline = pipeline(args, &counts)?;
    let shared = Arc::clone(&counts);
    rtp::pad(&pipeline, "decoder", "src")?.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let (Some(buffer), Ok(mut outages)) = (info.buffer(), shared.outages.lock()) {
            let time = buffer.pts().map_or(0, |t| t.nseconds());
            outages.frame(time, buffer.flags().contains(gst::BufferFlags::CORRUPTED));
        }
        gst::PadProbeReturn::Ok
    });
    let shared = Arc::clone(&counts);
    rtp::on_keyframe_request(&rtp::pad(&pipeline, "depay", "sink")?, move || {
        shared.requests.fetch_add(1, Ordering::Relaxed);
    });
    let _ = pipeline.set_state(gst::State::Playing);
    let result = follow(&pipeline, args.seconds, &interrupt, || {
        let now = counts.json();
        eprintln!(
            "rtp-receive: {} frames, {} damaged; {} outages, mean {:.0} ms, longest {} ms; {} packets, {} lost, {} late; {} requests",
            now["frames"],
            now["damaged_frames"],
            now["outages"],
            now["mean_outage_ms"].as_f64().unwrap_or(0.0),
            now["longest_outage_ms"],
            now["packets"],
            now["lost_packets"],
            now["late_packets"],
            now["requests"],
        );
    });
    let last = counts.json();
    let _ = pipeline.set_state(gst::State::Null);
    if args.json && result.is_ok() {
        println!("{last}");
    }
    result
}

/// Until a signal, or the time is up; calls `report` every second.
fn follow(pipeline: &gst::Pipeline, seconds: Option<u64>, interrupt: &Interrupt, report: impl Fn()) -> Result<(), Failure> {
    let bus = pipeline.bus().ok_or_else(|| Failure::new(Kind::Input, "no bus"))?;
    let (start, mut printed) = (Instant::now(), 0);
    while !interrupt.came() && seconds.is_none_or(|seconds| start.elapsed() < Duration::from_secs(seconds)) {
        let message = bus.timed_pop_filtered(gst::ClockTime::from_mseconds(50), &[gst::MessageType::Error]);
        if let Some(gst::MessageView::Error(error)) = message.as_ref().map(|m| m.view()) {
            return Err(Failure::from_message(error, Kind::Input));
        }
        if start.elapsed().as_secs() > printed {
            printed = start.elapsed().as_secs();
            report();
        }
    }
    Ok(())
}
