//! Sends NGC over RTP: a file, or a test picture; with packets lost on purpose, and keyframes when the receiver asks for one.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use gst::prelude::*;
use ngc_examples::{Failure, Interrupt, Kind, loss, rtp, size};
use serde_json::json;

/// Sends NGC over RTP to rtp-receive. Ports: PORT for packets, PORT+1 for sender reports, PORT+3 for what the receiver sends back.
#[derive(Debug, Parser)]
#[command(name = "rtp-send", version)]
struct Args {
    /// A video; without, a test picture
    input: Option<PathBuf>,
    /// Where to
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    #[arg(long, default_value_t = 5004, value_parser = clap::value_parser!(u16).range(1..65530))]
    port: u16,
    /// Share of packets that are thrown away, such as 5%
    #[arg(long, default_value = "0", value_parser = loss::share)]
    loss: f64,
    /// Which packets those are
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// kbit/s, or as 500k, 2M
    #[arg(short, long, default_value = "200", value_parser = size::kilobits)]
    bitrate: u32,
    /// Size and rate of the test picture
    #[arg(long, default_value = "320x180@25", value_parser = picture)]
    test_picture: (u32, u32, u32),
    /// Do not send packets again that the receiver misses
    #[arg(long)]
    no_retransmission: bool,
    /// Stop after so many seconds
    #[arg(long)]
    seconds: Option<u64>,
    /// Print one line of JSON at the end
    #[arg(long)]
    json: bool,
}

fn picture(text: &str) -> Result<(u32, u32, u32), String> {
    let parts: Option<Vec<u32>> = text.split(['x', '@']).map(|part| part.parse().ok()).collect();
    match parts.as_deref() {
        Some(&[w, h, rate]) if w > 0 && h > 0 && rate > 0 => Ok((w, h, rate)),
        _ => Err(format!("{text} is not of the form 320x180@25")),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    match send(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("rtp-send: {failure}");
            ExitCode::from(failure.kind as u8)
        }
    }
}

fn pipeline(args: &Args) -> Result<gst::Pipeline, Failure> {
    let source = match &args.input {
        Some(_) => "filesrc name=file ! decodebin ! videoconvert ! queue".to_owned(),
        None => {
            let (w, h, rate) = args.test_picture;
            format!(
                "videotestsrc is-live=true pattern=smpte horizontal-speed=3 ! video/x-raw,format=I420,width={w},height={h},framerate={rate}/1"
            )
        }
    };
    // The host is a property, not text. The session is made before its pads ask for what sends packets again.
    let pipeline = rtp::launch(&format!(
        "rtpbin name=rtp {source} ! ngcenc name=encoder rate-control=cbr bitrate={} key-int-max=0 lookahead=0 speed-preset=fast \
         ! ngcparse ! rtpgstpay name=pay pt=96 mtu=1400 config-interval=1  udpsink name=packets port={} \
         rtp.send_rtcp_src_0 ! udpsink name=reports port={} sync=false async=false \
         udpsrc port={} ! rtp.recv_rtcp_sink_0",
        args.bitrate,
        args.port,
        args.port + 1,
        args.port + 3,
    ))?;
    for name in ["packets", "reports"] {
        rtp::element(&pipeline, name)?.set_property("host", &args.host);
    }
    if let Some(input) = &args.input {
        rtp::element(&pipeline, "file")?.set_property("location", input);
    }
    let bin = rtp::element(&pipeline, "rtp")?;
    if !args.no_retransmission {
        rtp::retransmission(&bin, "request-aux-sender", "rtprtxsend");
    }
    let wrong = |e: gst::glib::BoolError| Failure::new(Kind::Usage, e.to_string());
    rtp::element(&pipeline, "pay")?.link_pads(Some("src"), &bin, Some("send_rtp_sink_0")).map_err(wrong)?;
    bin.link_pads(Some("send_rtp_src_0"), &rtp::element(&pipeline, "packets")?, Some("sink")).map_err(wrong)?;
    rtp::quick_feedback(&bin);
    bin.connect("request-pt-map", false, |_| rtp::CAPS.parse::<gst::Caps>().ok().map(|caps| caps.to_value()));
    Ok(pipeline)
}

fn send(args: &Args) -> Result<(), Failure> {
    let interrupt = Interrupt::new();
    ngc_examples::init()?;
    if let Some(input) = &args.input {
        ngc_examples::readable(input)?;
    }
    let pipeline = pipeline(args)?;
    let counts = Arc::new(loss::Counts::default());
    loss::lose(&rtp::pad(&pipeline, "packets", "sink")?, args.loss, args.seed, &counts);
    let requests = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&requests);
    rtp::on_keyframe_request(&rtp::pad(&pipeline, "encoder", "src")?, move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let encoder = rtp::element(&pipeline, "encoder")?;
    let _ = pipeline.set_state(gst::State::Playing);
    let report = |json: bool| {
        let stats = encoder.property::<gst::Structure>("stats");
        let number = |name: &str| stats.get::<u64>(name).unwrap_or(0);
        let (frames, keyframes) = (number("frames"), number("keyframes"));
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (packets, lost, bytes, asked) = (of(&counts.packets), of(&counts.lost), of(&counts.bytes), of(&requests));
        if json {
            let line = json!({"frames": frames, "keyframes": keyframes, "packets": packets, "lost": lost, "bytes": bytes, "requests": asked});
            println!("{line}");
        } else {
            eprintln!(
                "rtp-send: {frames} frames, {keyframes} keyframes, {asked} asked for, {packets} packets, {lost} of them lost, {bytes} bytes"
            );
        }
    };
    let result = follow(&pipeline, args.seconds, &interrupt, || report(false));
    let _ = pipeline.set_state(gst::State::Null);
    if args.json && result.is_ok() {
        report(true);
    }
    result
}

/// Until the end, a signal, or the time is up; calls `report` every second.
fn follow(pipeline: &gst::Pipeline, seconds: Option<u64>, interrupt: &Interrupt, report: impl Fn()) -> Result<(), Failure> {
    let bus = pipeline.bus().ok_or_else(|| Failure::new(Kind::Encode, "no bus"))?;
    let (start, mut printed) = (Instant::now(), 0);
    while !interrupt.came() && seconds.is_none_or(|seconds| start.elapsed() < Duration::from_secs(seconds)) {
        let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
        match bus.timed_pop_filtered(gst::ClockTime::from_mseconds(50), &wanted).as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Error(error)) => return Err(Failure::from_message(error, Kind::Encode)),
            Some(_) => return Ok(()),
            None => {}
        }
        if start.elapsed().as_secs() > printed {
            printed = start.elapsed().as_secs();
            report();
        }
    }
    Ok(())
}
