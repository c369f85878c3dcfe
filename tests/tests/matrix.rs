//! Sizes, formats, frame rates and lengths, from raw video to raw video.

use gst::prelude::*;

fn init() {
    // Registering a plugin again frees the factories of elements that live.
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstngc::plugin_register_static().unwrap();
    });
}

/// Runs a pipeline that ends in `appsink name=out`; gives back the caps and times of the frames.
fn run(text: &str) -> Vec<(gst_video::VideoInfo, gst::ClockTime)> {
    init();
    let pipeline = gst::parse::launch(text).unwrap().downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut frames = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let info = gst_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        frames.push((info, sample.buffer().unwrap().pts().unwrap()));
    }
    let error = pipeline.bus().unwrap().pop_filtered(&[gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null).unwrap();
    assert!(error.is_none(), "{text}: {error:?}");
    frames
}

const CODEC: &str = "ngcenc threads=1 device=cpu ! ngcparse ! ngcdec threads=1 device=cpu ! appsink name=out sync=false";

#[test]
fn sizes_formats_and_rates() {
    let all = ["I420", "NV12", "YV12", "GRAY8", "RGB", "Y444", "I420_10LE"];
    let rates = ["30/1", "30000/1001", "0/1"];
    for (width, height, formats) in [
        (1, 1, &all[..]),
        (2, 2, &all[..]),
        (17, 13, &all[..]),
        (65, 49, &all[..]),
        (640, 361, &all[..1]),
        (1280, 720, &all[..1]),
    ] {
        for format in formats {
            for rate in rates {
                // videotestsrc gives times for an unknown rate no more than it gives one, so these come from another rate.
                let source = if rate == "0/1" {
                    format!(
                        "videotestsrc num-buffers=2 ! video/x-raw,format={format},width={width},height={height},framerate=30/1 ! capssetter join=true caps=video/x-raw,framerate=0/1"
                    )
                } else {
                    format!(
                        "videotestsrc num-buffers=2 ! video/x-raw,format={format},width={width},height={height},framerate={rate}"
                    )
                };
                let frames = run(&format!("{source} ! videoconvert ! {CODEC}"));
                let what = format!("{width}x{height} {format} {rate}");
                assert_eq!(frames.len(), 2, "{what}");
                for (info, _) in &frames {
                    assert_eq!((info.width(), info.height()), (width, height), "{what}");
                    assert_eq!(format!("{}/{}", info.fps().numer(), info.fps().denom()), rate, "{what}");
                }
            }
        }
    }
}

#[test]
fn streams_of_no_one_or_two_frames_end() {
    for count in 0..3 {
        let source = format!("videotestsrc num-buffers={count} ! video/x-raw,width=64,height=48");
        assert_eq!(run(&format!("{source} ! {CODEC}")).len(), count);
    }
}

#[test]
fn a_late_start_keeps_its_times() {
    let frames = run(&format!(
        "videotestsrc num-buffers=5 timestamp-offset=5000000000 ! video/x-raw,width=64,height=48,framerate=25/1 ! {CODEC}"
    ));
    let times: Vec<u64> = frames.iter().map(|(_, time)| time.mseconds()).collect();
    assert_eq!(times, [5000, 5040, 5080, 5120, 5160]);
}

#[test]
fn gaps_and_segments_pass() {
    init();
    // Two inputs one after the other, each with a segment and a size of its own.
    let frames = run(&format!(
        "concat name=c ! {CODEC} \
         videotestsrc num-buffers=3 ! video/x-raw,format=I420,width=64,height=48,framerate=25/1 ! c. \
         videotestsrc num-buffers=4 ! video/x-raw,format=I420,width=96,height=64,framerate=25/1 ! c."
    ));
    let sizes: Vec<u32> = frames.iter().map(|(info, _)| info.width()).collect();
    assert_eq!(sizes, [64, 64, 64, 96, 96, 96, 96]);
    // A gap where a frame would be.
    let frames = run(&format!(
        "videotestsrc num-buffers=8 ! video/x-raw,width=64,height=48,framerate=25/1 ! identity drop-probability=0.4 ! {CODEC}"
    ));
    assert!((1..=8).contains(&frames.len()));
    assert!(frames.windows(2).all(|pair| pair[0].1 < pair[1].1));
}

#[test]
fn a_stream_of_another_model_is_refused_with_the_cure() {
    init();
    // The same model under another identity: one more word in its metadata.
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other.safetensors");
    let bytes = std::fs::read(ngc_tests::repository("models/rt.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
    let mut header = header.trim_end().replacen("\"__metadata__\":{", "\"__metadata__\":{\"copy\":\"yes\",", 1).into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let file = [&(header.len() as u64).to_le_bytes()[..], &header, &bytes[8 + length..]].concat();
    std::fs::write(&other, file).unwrap();
    let text = format!(
        "videotestsrc num-buffers=2 ! video/x-raw,width=64,height=48 ! ngcenc device=cpu model-file={} ! ngcdec device=cpu ! fakesink",
        other.display()
    );
    let pipeline = gst::parse::launch(&text).unwrap();
    let _ = pipeline.set_state(gst::State::Playing);
    let bus = pipeline.bus().unwrap();
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(30), &[gst::MessageType::Error]).expect("an error");
    pipeline.set_state(gst::State::Null).unwrap();
    let gst::MessageView::Error(error) = message.view() else { unreachable!() };
    assert!(error.error().message().contains("model-file"), "{}", error.error().message());
}
