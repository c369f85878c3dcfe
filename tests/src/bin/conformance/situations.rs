//! What happens to recordings: times, containers, seeks, several consumers.

use gst::ClockTime;
use gst::prelude::*;
use gst_video::VideoBufferFlags as Flags;
use gst_video::prelude::*;
use ngc_tests::pipes::{Shown, finish, launch, run, shown};

pub const CODECS: [&str; 3] = ["ngcenc", "x264enc", "vp8enc"];
pub const SITUATIONS: [&str; 15] = [
    "frames missing, Matroska",
    "frames missing, MP4",
    "three hours without a frame, Matroska",
    "equal times, Matroska",
    "no times, 25/1, MP4",
    "Matroska to MP4 without coding again",
    "Matroska to MP4 in parts",
    "raw stream to MP4",
    "raw stream: frame 37, then 5",
    "raw stream: keyframe before 25 (it is 20)",
    "one parser: MP4 and preview",
    "one parser: MP4 and Matroska",
    "AVI",
    "flags of mixed interlacing",
    "another size in MP4",
];

struct Codec {
    encoder: &'static str,
    parser: &'static str,
    decoder: &'static str,
    /// It goes into MP4, and has raw streams.
    everywhere: bool,
}

fn codec(name: &str) -> Codec {
    match name {
        "ngcenc" => {
            Codec { encoder: "ngcenc key-int-max=20 scene-cut=false", parser: "ngcparse", decoder: "ngcdec", everywhere: true }
        }
        "x264enc" => Codec {
            encoder: "x264enc tune=zerolatency key-int-max=20 option-string=scenecut=0",
            parser: "h264parse",
            decoder: "avdec_h264 max-threads=1",
            everywhere: true,
        },
        _ => {
            Codec { encoder: "vp8enc deadline=1 keyframe-max-dist=20", parser: "identity", decoder: "vp8dec", everywhere: false }
        }
    }
}

/// Sixty frames that all differ, 25 a second.
const SOURCE: &str =
    "videotestsrc num-buffers=60 pattern=smpte horizontal-speed=3 ! video/x-raw,format=I420,width=64,height=48,framerate=25/1";

/// A cell.
pub fn case(name: &str, situation: &str) -> String {
    let Ok(folder) = folder() else { return "no folder".into() };
    let (codec, place) = (codec(name), format!("{folder}/file"));
    let result = if situation.contains("MP4") || situation.contains("raw") {
        if codec.everywhere { cell(&codec, situation, &folder, &place) } else { Ok("-".into()) }
    } else {
        cell(&codec, situation, &folder, &place)
    };
    let _ = std::fs::remove_dir_all(folder);
    result.unwrap_or_else(|error| format!("error: {}", error.split(" (").next().unwrap_or_default()))
}

fn folder() -> std::io::Result<String> {
    let folder = std::env::temp_dir().join(format!("ngc-conformance-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    Ok(folder.display().to_string())
}

fn cell(codec: &Codec, situation: &str, folder: &str, place: &str) -> Result<String, String> {
    let Codec { encoder, parser, decoder, .. } = codec;
    let frame = |n: u64| 40 * n * ClockTime::MSECOND;
    let write = |text: &str| run(&format!("{text} ! filesink location={place}"));
    let read = |demuxer: &str| shown(&format!("filesrc location={place} ! {demuxer} {parser} ! {decoder}"));
    let (matroska, mp4) = ("matroskademux !", "qtdemux !");
    Ok(match situation {
        "frames missing, Matroska"
        | "frames missing, MP4"
        | "three hours without a frame, Matroska"
        | "equal times, Matroska" => {
            let numbers: &[u64] = match situation {
                "three hours without a frame, Matroska" => &[0, 1, 270_000, 270_001],
                "equal times, Matroska" => &[0, 1, 1, 1, 2, 2, 3, 4],
                _ => &[0, 1, 2, 10, 11, 12, 13, 20],
            };
            let times: Vec<_> = numbers.iter().map(|&n| Some(frame(n))).collect();
            let (muxer, demuxer) = if situation.contains("MP4") { ("mp4mux", mp4) } else { ("matroskamux", matroska) };
            feed(codec, &times, "", Flags::empty(), &format!("{parser} ! {muxer} ! filesink location={place}"))?;
            let found = read(demuxer)?;
            let worst = found.iter().zip(&times).map(|(f, t)| f.time.absdiff(t.unwrap_or_default())).max().unwrap_or_default();
            format!("{} of {} frames, {} ms off", found.len(), times.len(), worst.mseconds())
        }
        "no times, 25/1, MP4" => {
            feed(codec, &[None; 8], "", Flags::empty(), &format!("{parser} ! mp4mux ! filesink location={place}"))?;
            format!("{} of 8 frames", read(mp4)?.len())
        }
        "Matroska to MP4 without coding again" => {
            run(&format!("{SOURCE} ! {encoder} ! {parser} ! matroskamux ! filesink location={folder}/m"))?;
            write(&format!("filesrc location={folder}/m ! matroskademux ! {parser} ! mp4mux"))?;
            format!("{} of 60 frames", read(mp4)?.len())
        }
        "Matroska to MP4 in parts" => {
            run(&format!("{SOURCE} ! {encoder} ! {parser} ! matroskamux ! filesink location={folder}/m"))?;
            run(&format!(
                "filesrc location={folder}/m ! matroskademux ! {parser} ! splitmuxsink max-size-time=800000000 location={folder}/part%d"
            ))?;
            let parts = std::fs::read_dir(folder)
                .map_err(|e| e.to_string())?
                .flatten()
                .filter(|e| e.path().display().to_string().contains("/part"));
            format!("{} files", parts.count())
        }
        "raw stream to MP4" => {
            run(&format!("{SOURCE} ! {encoder} ! {} ! filesink location={folder}/m", raw(parser)))?;
            write(&format!("filesrc location={folder}/m ! {parser} ! mp4mux"))?;
            format!("{} of 60 frames", read(mp4)?.len())
        }
        "raw stream: frame 37, then 5" | "raw stream: keyframe before 25 (it is 20)" => {
            write(&format!("{SOURCE} ! {encoder} ! {}", raw(parser)))?;
            let (seeks, flags): (&[u64], _) =
                if situation.contains("37") { (&[37, 5], gst::SeekFlags::ACCURATE) } else { (&[25], gst::SeekFlags::KEY_UNIT) };
            seek(&format!("filesrc location={place} ! {parser} ! {decoder}"), seeks, flags)
        }
        "one parser: MP4 and preview" => {
            tee(codec, &format!("{decoder} ! fakesink"), place)?;
            format!("{} of 60 frames", read(mp4)?.len())
        }
        "one parser: MP4 and Matroska" => {
            tee(codec, &format!("matroskamux ! filesink location={folder}/m"), place)?;
            "both".into()
        }
        "AVI" => {
            write(&format!("{SOURCE} ! {encoder} ! {parser} ! avimux"))?;
            let frames = shown(&format!("filesrc location={place} ! decodebin"));
            frames.map_or("written, and nothing reads it".into(), |frames| format!("{} of 60 frames", frames.len()))
        }
        "flags of mixed interlacing" => {
            let times: Vec<_> = (0..4).map(|n| Some(frame(n))).collect();
            let flags = Flags::INTERLACED | Flags::TFF;
            feed(codec, &times, ",interlace-mode=mixed", flags, &format!("{parser} ! matroskamux ! filesink location={place}"))?;
            let pipeline =
                launch(&format!("filesrc location={place} ! matroskademux ! {parser} ! {decoder} ! appsink name=out sync=false"));
            let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().ok_or("no sink")?;
            pipeline.set_state(gst::State::Playing).map_err(|e| e.to_string())?;
            let found = std::iter::from_fn(|| sink.pull_sample().ok()).filter_map(|s| Some(s.buffer()?.video_flags() & flags));
            let kept = found.zip([Flags::empty(), flags].into_iter().cycle()).filter(|(found, wanted)| found == wanted).count();
            let _ = pipeline.set_state(gst::State::Null);
            format!("{kept} of 4 frames")
        }
        _ => {
            let caps = |width: i32| format!("video/x-raw,format=I420,width={width},height=48,framerate=25/1");
            let part = |width| format!("videotestsrc num-buffers=3 ! {} ! c. ", caps(width));
            write(&format!("{} {} concat name=c ! {encoder} ! {parser} ! mp4mux", part(64), part(96)))?;
            let frames = read(mp4)?;
            format!("{} of 6 frames", frames.len())
        }
    })
}

/// What makes a raw stream of an encoder's output.
fn raw(parser: &str) -> &'static str {
    if parser == "h264parse" { "h264parse ! video/x-h264,stream-format=byte-stream" } else { "ngcparse ! video/x-ngc" }
}

/// Encodes frames with the given times; every other one has the flags.
fn feed(codec: &Codec, times: &[Option<ClockTime>], caps: &str, flags: Flags, tail: &str) -> Result<(), String> {
    let pipeline = launch(&format!(
        "appsrc name=in format=time caps=video/x-raw,format=I420,width=64,height=48,framerate=25/1{caps} ! {} ! {tail}",
        codec.encoder
    ));
    let source = pipeline.by_name("in").and_downcast::<gst_app::AppSrc>().ok_or("no source")?;
    let _ = pipeline.set_state(gst::State::Playing);
    for (number, time) in times.iter().enumerate() {
        let mut buffer = gst::Buffer::from_mut_slice(vec![number as u8 * 20; 64 * 48 * 3 / 2]);
        let target = buffer.get_mut().ok_or("a new buffer")?;
        target.set_pts(*time);
        if number % 2 == 1 {
            target.set_video_flags(flags);
        }
        if source.push_buffer(buffer).is_err() {
            break;
        }
    }
    let _ = source.end_of_stream();
    finish(&pipeline)
}

/// One parser into MP4 and `other`.
fn tee(codec: &Codec, other: &str, place: &str) -> Result<(), String> {
    let Codec { encoder, parser, .. } = codec;
    run(&format!(
        "{SOURCE} ! {encoder} ! {parser} ! tee name=t ! queue ! mp4mux ! filesink location={place} t. ! queue ! {other}"
    ))
}

/// The frames that are shown, paused, after seeks to others.
fn seek(source: &str, frames: &[u64], flags: gst::SeekFlags) -> String {
    let pipeline = launch(&format!("{source} ! videoconvert ! appsink name=out sync=false"));
    let Some(sink) = pipeline.by_name("out").and_downcast::<gst_app::AppSink>() else { return "no sink".into() };
    let _ = pipeline.set_state(gst::State::Paused);
    let wait = || pipeline.state(ClockTime::from_seconds(20));
    let _ = wait();
    let found: Vec<_> = frames
        .iter()
        .map(|&frame| {
            let sought = pipeline.seek_simple(gst::SeekFlags::FLUSH | flags, 40 * frame * ClockTime::MSECOND);
            let _ = wait();
            let sample = sink.try_pull_preroll(ClockTime::from_seconds(20)).filter(|_| sought.is_ok());
            sample.map_or("none".into(), |sample| format!("{}", (Shown::of(&sample).time.mseconds() + 20) / 40))
        })
        .collect();
    let _ = pipeline.set_state(gst::State::Null);
    found.join(", ")
}
